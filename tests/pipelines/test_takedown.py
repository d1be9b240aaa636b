"""Tunes that have to leave: out of the index, out of updates, out of the rows that cited them."""

import json
import os
import shutil

import lance
import pyarrow.parquet as pq
import pytest

from image2music.index.table import open_index
from pipelines.cli.main import main

INDEX = ["index", "--index", "tunes.lance"]
SOURCES = ["--captions", "captions.json", "--midi_root", "midi"]
UPDATE = [*INDEX, *SOURCES, "--update"]
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


def locations(version=None):
    return sorted(lance.dataset("tunes.lance", version=version).to_table(columns=["location"])["location"].to_pylist())


def tune_id(location):
    rows = lance.dataset("tunes.lance").to_table(columns=["tune_id"], filter=f"location = '{location}'")
    return rows["tune_id"].to_pylist()[0]


def cited():
    return {one["location"] for row in pq.read_table("out/compositions").to_pylist() for one in row["references"]}


def test_a_removed_tune_leaves_in_a_version_of_its_own_and_is_told(indexed, capsys):
    gone, before = tune_id("red.mid"), open_index("tunes.lance").version
    capsys.readouterr()
    assert main([*INDEX, "--remove", gone[:8]]) == 0
    said = capsys.readouterr().out
    assert f"removed {gone}  red.mid" in said
    assert "2 tunes are left in tunes.lance" in said
    assert locations() == ["blue.mid", "green.mid"]
    assert locations(before) == ["blue.mid", "green.mid", "red.mid"]
    assert json.loads((indexed / "tunes.lance.removed.json").read_text())["removed"][0]["tune_id"] == gone


def test_neither_an_update_nor_a_build_brings_it_back_until_somebody_lets_it_in(indexed, capsys):
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    for command in (UPDATE, [*INDEX, *SOURCES, "--embedder", "fake"], [*INDEX, *SOURCES, "--embedder", "fake",
                    "--runner=FnApiRunner"]):  # fmt: skip
        capsys.readouterr()
        assert main(command) == 0
        assert locations() == ["blue.mid", "green.mid"]
        assert "1 tune stays out, for it was removed" in capsys.readouterr().out
    assert main([*INDEX, "--bring_back", "red.mid"]) == 0
    assert locations() == ["blue.mid", "green.mid"]
    assert main(UPDATE) == 0
    assert locations() == ["blue.mid", "green.mid", "red.mid"]


def test_a_removal_that_was_killed_after_its_list_was_written_is_finished_by_the_next_update(indexed, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("image2music.index.takedown.replace_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*INDEX, "--remove", "red.mid"]) != 0
    assert len(locations()) == 3
    assert main(UPDATE) == 0
    assert locations() == ["blue.mid", "green.mid"]


def test_going_back_to_an_earlier_version_does_not_bring_it_back(indexed, capsys):
    version = open_index("tunes.lance").version
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    capsys.readouterr()
    assert main([*INDEX, "--restore", str(version)]) == 0
    assert "but for 1 that was removed since: 2 tunes" in capsys.readouterr().out
    assert locations() == ["blue.mid", "green.mid"]


def test_a_list_of_tunes_is_read_from_a_file_and_the_same_command_can_be_given_again(indexed, capsys):
    (indexed / "claims.txt").write_text(f"red.mid\n\n{tune_id('blue.mid')}\n")
    assert main([*INDEX, "--remove", "@claims.txt"]) == 0
    assert locations() == ["green.mid"]
    capsys.readouterr()
    assert main([*INDEX, "--remove", "@claims.txt"]) == 0
    assert capsys.readouterr().out.count("was removed before") == 2


def test_copies_of_the_same_music_are_named_and_stay(indexed, capsys):
    data = (indexed / "midi" / "red.mid").read_bytes()
    (indexed / "midi" / "copy.mid").write_bytes(data.replace(b"\xff\x2f\x00", b"\xff\x2f\x00") + b"\x00")
    with open("captions.json", "a") as file:
        file.write('{"location": "copy.mid", "caption": "copy"}\n')
    assert main(UPDATE) == 0
    capsys.readouterr()
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    assert f"stays, the same music: {tune_id('copy.mid')}  copy.mid" in capsys.readouterr().out


def test_a_refresh_leaves_no_row_that_cites_it(indexed, capsys):
    assert main(COMPOSE) == 0
    assert "red.mid" in cited()
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    assert main([*COMPOSE, "--refresh"]) == 0
    assert cited() and "red.mid" not in cited()
    rights = pq.read_table("out/compositions")["rights"].to_pylist()
    assert "red.mid" not in {one["location"] for right in rights for one in right["references"]}
    # The earlier generation still holds its ABC: whoever must purge deletes that folder.
    (earlier,) = os.listdir("out/generations")
    earlier = pq.read_table(f"out/generations/{earlier}/compositions").to_pylist()
    assert "red.mid" in {one["location"] for row in earlier for one in row["references"]}


def test_a_refresh_names_rows_that_still_cite_it_because_their_picture_is_gone(indexed, capsys):
    assert main(COMPOSE) == 0
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    os.remove("pictures/green.png")
    capsys.readouterr()
    main([*COMPOSE, "--refresh", "--max_failures", "1"])
    rows = {row["description"]: row for row in pq.read_table("out/compositions").to_pylist()}
    assert f"cites tunes that were removed: {rows['green']['image_id']}" in capsys.readouterr().out


def test_a_purge_leaves_one_version_and_nothing_of_the_tune_on_the_disk(indexed, capsys):
    assert main([*INDEX, "--remove", "red.mid", "--purge"]) == 0
    assert "nothing can be restored" in capsys.readouterr().out
    dataset = lance.dataset("tunes.lance")
    assert len(dataset.versions()) == 1
    assert locations() == ["blue.mid", "green.mid"]
    assert all(fragment.num_deletions == 0 for fragment in dataset.get_fragments())
    stored = b"".join(path.read_bytes() for path in (indexed / "tunes.lance" / "data").iterdir())
    assert b"green.mid" in stored
    assert b"red.mid" not in stored
    assert main(COMPOSE) == 0


def test_a_purge_can_come_later(indexed):
    assert main([*INDEX, "--remove", "red.mid"]) == 0
    assert len(lance.dataset("tunes.lance").versions()) > 1
    assert main([*INDEX, "--remove", "red.mid", "--purge"]) == 0
    assert len(lance.dataset("tunes.lance").versions()) == 1


def test_the_last_tune_can_be_taken_down_too(indexed, capsys):
    assert main([*INDEX, "--remove", "red.mid", "green.mid", "blue.mid"]) == 0
    assert "0 tunes are left" in capsys.readouterr().out
    assert main(COMPOSE) == 1
    assert "has no rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--remove", "nothing.mid"], "no tune of tunes.lance has the location or the tune_id 'nothing.mid'"),
        (["--remove", "abcd"], "of which 8 digits are enough; nothing was changed"),
        (["--remove", "@nowhere.txt"], "nowhere.txt cannot be read"),
        (["--bring_back", "red.mid"], "no tune of the list of tunes removed from tunes.lance has"),
        (["--purge", "--stats"], "--purge goes with --remove"),
        (["--remove", "red.mid", "--stats"], "not allowed with argument"),
    ],
)
def test_what_cannot_work_is_one_line_and_changes_nothing(indexed, capsys, options, message):
    version = open_index("tunes.lance").version
    assert main([*INDEX, *options]) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert open_index("tunes.lance").version == version


def test_a_list_that_cannot_be_read_stops_an_update(indexed, capsys):
    (indexed / "tunes.lance.removed.json").write_text("{")
    assert main(UPDATE) == 1
    assert "the list of removed tunes, cannot be read" in capsys.readouterr().err


def test_what_lies_beside_a_table_is_no_picture_and_no_tune(indexed):
    shutil.copytree("tunes.lance", "pictures/tunes.lance")
    (indexed / "pictures" / "tunes.lance.removed.json").write_text("{}")
    assert main(COMPOSE) == 0
    assert len(pq.read_table("out/compositions")) == 3
