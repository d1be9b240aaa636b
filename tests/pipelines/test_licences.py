"""Licences and sources of tunes, from captions to rows; tables that people change, or that an earlier release made."""

import json
import shutil
from pathlib import Path

import lance
import lancedb
import pyarrow.parquet as pq
import pytest

from image2music.index.table import open_index
from pipelines.cli.main import main

RELEASE_1 = Path(__file__).parents[1] / "fixtures" / "release_1"
INDEX = ["index", "--index", "tunes.lance"]
UPDATE = [*INDEX, "--captions", "captions.json", "--midi_root", "midi", "--update"]
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


def rows():
    return sorted(lance.dataset("tunes.lance").to_table().to_pylist(), key=lambda row: row["location"])


def columns(*names):
    return {row["location"]: tuple(row[name] for name in names) for row in rows()}


def captions(**more):
    lines = [
        {"location": f"{name}.mid", "caption": name, "genre": ["pop"]} | more.get(name, {})
        for name in ("red", "green", "blue")
    ]
    Path("captions.json").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def licensed(indexed):
    """The index brought up to captions that name licences: of one tune `licence`, of another `license`."""
    captions(red={"licence": "CC0", "source": "https://example.org/red"}, green={"license": "PD"})
    assert main(UPDATE) == 0
    return indexed


def test_captions_may_name_licence_and_source_and_rows_cite_them(licensed):
    assert columns("licence", "source") == {
        "red.mid": ("CC0", "https://example.org/red"),
        "green.mid": ("PD", None),
        "blue.mid": (None, None),
    }
    assert main([*COMPOSE, "--where", "licence in ('CC0', 'PD')"]) == 0
    made = pq.read_table("out/compositions").to_pylist()
    cited = {one["location"]: (one["licence"], one["source"]) for row in made for one in row["references"]}
    assert cited == {"red.mid": ("CC0", "https://example.org/red"), "green.mid": ("PD", None)}
    for row in made:
        assert [one["licence"] for one in row["rights"]["references"]] == [one["licence"] for one in row["references"]]


def test_the_paper_chain_cites_them_too(licensed):
    assert main([*COMPOSE, "--protocol", "paper", "--where", "licence = 'CC0'"]) == 0
    made = pq.read_table("out/compositions").to_pylist()
    assert {one["source"] for row in made for one in row["references"]} == {"https://example.org/red"}


def test_stats_count_tunes_by_licence(licensed, capsys):
    capsys.readouterr()
    assert main([*INDEX, "--stats"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("licence")]
    assert sorted(line.removeprefix("licence").strip().split(", ")) == ["CC0 1", "PD 1", "not known 1"]


def test_the_hash_of_a_row_covers_them_and_a_row_without_has_the_hash_it_always_had(indexed):
    before = columns("row_hash")
    captions(red={"licence": "CC0"})
    assert main(UPDATE) == 0
    changed = {location for location, found in columns("row_hash").items() if found != before[location]}
    assert changed == {"red.mid"}


def test_licences_are_filled_in_without_reading_a_note(indexed, monkeypatch):
    monkeypatch.setattr("transforms.midi.captioned_tune", lambda *_: pytest.fail("converted again"))
    captions(red={"licence": "CC0"}, green={"licence": "CC0"}, blue={"source": "a book"})
    assert main(UPDATE) == 0
    assert columns("licence", "source")["blue.mid"] == (None, "a book")


def test_a_table_whose_captions_name_none_has_no_such_columns_however_it_is_made(indexed):
    captions(red={"source": "a book"})
    for way in ([], ["--runner=FnApiRunner"]):
        assert main([*UPDATE[:-1], "--embedder", "fake", *way]) == 0
        assert "source" in open_index("tunes.lance").schema.names
        assert "licence" not in open_index("tunes.lance").schema.names


def test_a_line_that_names_none_leaves_what_somebody_wrote_into_the_table(licensed):
    lancedb.connect(".").open_table("tunes").update(where="location = 'blue.mid'", values={"licence": "CC BY 4.0"})
    captions()
    assert main(UPDATE) == 0
    assert columns("licence") == {"red.mid": ("CC0",), "green.mid": ("PD",), "blue.mid": ("CC BY 4.0",)}


@pytest.fixture
def earlier(indexed):
    """An index as the release before made it, and as captions without licences make it today."""
    assert not {"licence", "source"} & set(open_index("tunes.lance").schema.names)
    return indexed


def test_a_table_without_the_columns_is_read_and_searched(earlier, capsys):
    for asking in ("--stats", "--history"):
        assert main([*INDEX, asking]) == 0
    assert main(COMPOSE) == 0
    made = pq.read_table("out/compositions").to_pylist()
    assert {one["licence"] for row in made for one in row["references"]} == {None}
    assert main([*COMPOSE, "--where", "licence = 'CC0'"]) == 1
    assert "the columns are tune_id, location" in capsys.readouterr().err


def test_an_update_without_licences_changes_nothing_of_such_a_table(earlier, capsys):
    version = open_index("tunes.lance").version
    capsys.readouterr()
    assert main(UPDATE) == 0
    assert "0 new, 0 changed, 0 removed, 3 unchanged" in capsys.readouterr().out
    assert open_index("tunes.lance").version == version


def test_an_update_with_licences_adds_the_columns_and_converts_nothing(earlier, monkeypatch):
    monkeypatch.setattr("transforms.midi.captioned_tune", lambda *_: pytest.fail("converted again"))
    before = columns("abc", "row_hash")
    captions(red={"licence": "CC0"})
    assert main(UPDATE) == 0
    assert columns("licence") == {"red.mid": ("CC0",), "green.mid": (None,), "blue.mid": (None,)}
    assert columns("abc", "row_hash")["green.mid"] == before["green.mid"]


def test_a_removed_tune_leaves_such_a_table_too_and_another_embedder_embeds_it(earlier):
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    assert main([*INDEX, "--embedder", "fake:other"]) == 0
    assert {row["embedder_id"] for row in rows()} == {"other-embedder@1"}
    assert main(COMPOSE) == 0


def test_a_column_that_a_user_adds_by_plain_lancedb_goes_through_every_command(earlier, capsys):
    tunes = lancedb.connect(".").open_table("tunes")
    tunes.add_columns({"licence": "cast(null as string)", "stars": "cast(3 as bigint)"})
    tunes.update(where="location = 'red.mid'", values={"licence": "CC0"})
    for asking in ("--stats", "--history"):
        assert main([*INDEX, asking]) == 0
    assert main([*COMPOSE, "--where", "licence = 'CC0' and stars > 2"]) == 0
    made = pq.read_table("out/compositions").to_pylist()
    assert {(one["location"], one["licence"]) for row in made for one in row["references"]} == {("red.mid", "CC0")}
    captions(green={"caption": "emerald"})
    assert main(UPDATE) == 0
    assert columns("licence", "stars") == {"red.mid": ("CC0", 3), "green.mid": (None, 3), "blue.mid": (None, 3)}


def test_a_column_of_that_name_with_other_values_is_one_true_line(earlier, capsys):
    lancedb.connect(".").open_table("tunes").add_columns({"licence": "cast(1 as bigint)"})
    for command in ([*INDEX, "--stats"], COMPOSE, UPDATE):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "the column licence of tunes.lance holds int64, where texts belong" in said and said.count("\n") == 1
    tunes = lancedb.connect(".").open_table("tunes")
    tunes.alter_columns({"path": "licence", "rename": "my_licence"})  # as the line says
    assert main([*INDEX, "--stats"]) == 0
    assert main([*COMPOSE, "--where", "my_licence = 1"]) == 0


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The folder in which the release before ran."""
    shutil.copytree(RELEASE_1, tmp_path / "release")
    monkeypatch.chdir(tmp_path / "release")
    return tmp_path / "release"


def test_the_index_of_the_release_before_takes_all_of_it(release, capsys):
    assert main([*INDEX, "--embedder", "fake"]) == 0
    lancedb.connect(".").open_table("tunes").add_columns({"licence": "cast('PD' as string)"})
    assert main([*INDEX, "--stats"]) == 0
    assert "PD 6" in capsys.readouterr().out
    assert main([*COMPOSE, "--overwrite", "--where", "licence = 'PD'", "--max_failures", "2"]) in (0, 3)
    assert main(UPDATE) == 3
    assert {row["licence"] for row in rows()} == {"PD"}
    assert main([*INDEX, "--remove", rows()[0]["location"]]) == 0
    assert len(rows()) == 5
