"""Names of files: what every system takes, one for each row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.errors import ConfigError
from image2music.storage.names import NAME_FIELDS, check_name_pattern, file_names


def row(id="a", title="Air", **columns):
    return {
        "image_id": id * 64, "image_uri": "s3://bucket/sea/IMG 1.jpg", "catalog_id": None, "album": "s3://bucket/sea",
        "title": title, "key": "Am", "tempo_qpm": 92.4,
    } | columns  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{image_id}", "a" * 16),
        ("{catalog_id}-{title}", f"{'a' * 16}-Air"),
        ("{album}/{stem} in {key} at {tempo}", "sea/IMG 1 in Am at 92"),
        ("{{tune}}", "{tune}"),
    ],
)
def test_a_pattern_is_filled_from_the_row(pattern, name):
    check_name_pattern(pattern)
    assert file_names(pattern, [row()]) == {"a" * 64: name}


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("A/B: C?", "A_B_ C_"),
        ("..", "a" * 16),
        ("con", "_con"),
        ("LPT1.x", "_LPT1.x"),
        (" .hidden. ", "hidden"),
        ("tab\there\n", "tab_here_"),
        ("é" * 100, "é" * 60),
        ("", "a" * 16),
        ("-rf", "rf"),
        ("= 0", "0"),
        (".=.- x", "x"),
    ],
)
def test_what_a_system_refuses_is_replaced(title, name):
    assert file_names("{title}", [row(title=title)])["a" * 64] == name


def test_rows_of_one_name_get_their_ids_whatever_their_order():
    rows = [row("a", "Air"), row("b", "air"), row("c", "Song")]
    expected = {"a" * 64: "Air-aaaaaaaa", "b" * 64: "air-bbbbbbbb", "c" * 64: "Song"}
    assert file_names("{title}", rows) == expected == file_names("{title}", rows[::-1])


TITLES = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(st.dictionaries(st.integers(0, 2**64 - 1), TITLES, max_size=8), st.sampled_from(["{title}", "{title}/x", "x"]))
def test_names_are_safe_and_no_two_are_one(titles, pattern):
    rows = [row(title=title, image_id=f"{id:064x}") for id, title in titles.items()]
    names = file_names(pattern, rows).values()
    assert len({name.casefold() for name in names}) == len(titles)
    for name in names:
        for part in name.split("/"):
            assert 0 < len(part.encode()) < 220
            assert part.strip(" .") == part
            assert not set(part) & set('<>:"\\|?*\0\n')


@pytest.mark.parametrize("pattern", ["{colour}", "{title!r}", "{title:>9}", "{title", "", "/x", "a//b", "../x", "{0}"])
def test_a_pattern_that_cannot_be_filled_is_one_line(pattern):
    with pytest.raises(ConfigError) as refused:
        check_name_pattern(pattern)
    assert "\n" not in str(refused.value)


def test_every_field_can_be_filled():
    assert file_names("{" + "}{".join(NAME_FIELDS) + "}", [row()])
