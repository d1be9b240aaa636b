import pytest

from schemas.dictionary import TARGET, markdown, sections


def test_the_page_is_up_to_date():
    assert TARGET.read_text(encoding="utf-8") == markdown(), "run `make docs`"


@pytest.mark.parametrize("place", sections())
def test_every_column_stands_on_the_page_with_its_meaning(place):
    meaning, fields = sections()[place]
    own = markdown().partition(f"## {place}\n")[2].partition("\n## ")[0]
    assert meaning in own
    assert all(f"| `{field.name}` |" in own and field.metadata[b"meaning"].decode() in own for field in fields)


@pytest.mark.parametrize(
    "line",
    [
        "| `tempo_qpm` | double | quarter notes a minute | tempo at the start |",
        "| `image_embedding` | float[dim] |  | of the picture, unit length |",
        "| `metrics.polyphony` | double? | pitches at once, mean over time with sound |  |",
        "| `rounds[].diagnostics[].bar` | int32? |  | bar of the voice, from 1; null outside the music |",
    ],
)
def test_nested_fields_units_and_lengths_are_told(line):
    assert line in markdown()
