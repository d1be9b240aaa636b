import gzip
import hashlib
import json

import lance
import pyarrow.parquet as pq

from image2music.index.table import open_index
from pipelines.cli.main import main

INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--embedder", "fake"]


def rows(uri="tunes.lance"):
    return sorted(lance.dataset(uri).to_table().to_pylist(), key=lambda row: row["location"])


def add_line(world, line):
    with open(world / "captions.json", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def failures():
    return sorted(pq.read_table("tunes.lance.failures").to_pylist(), key=lambda row: row["uri"])


def test_each_captioned_file_becomes_a_row(world, capsys):
    assert main(INDEX) == 0
    first = rows()[0]
    midi = (world / "midi" / "blue.mid").read_bytes()
    assert first["tune_id"] == hashlib.sha256(midi).hexdigest()
    assert (first["location"], first["caption"], first["genre"], first["mood"]) == ("blue.mid", "blue", ["pop"], [])
    assert (first["meter"], first["tempo_qpm"], first["bars"], first["voices"]) == ("4/4", 96.0, 4, 2)
    assert first["abc"].startswith("X:1")
    assert first["metrics"]["polyphony"] > 0
    assert first["embedder_id"] == "fake-embedder@1"
    assert "3 tunes in tunes.lance" in capsys.readouterr().out


def test_bad_lines_and_bad_files_are_written_and_the_others_are_done(world, capsys):
    (world / "midi" / "text.mid").write_text("not MIDI at all")
    add_line(world, "{")
    add_line(world, '{"location": "../secret.mid", "caption": "x"}')
    add_line(world, '{"location": "missing.mid", "caption": "x"}')
    add_line(world, '{"location": "text.mid", "caption": "x"}')
    assert main(INDEX) == 3
    assert len(rows()) == 3
    found = [(row["stage"], row["uri"], row["reason"]) for row in failures()]
    assert found[:3] == [
        ("captions", "captions.json:4", "bad_json"),
        ("captions", "captions.json:5", "outside_midi_root"),
        ("identify", "missing.mid", "unreadable_file"),
    ]
    assert found[3][:2] == ("convert", "text.mid")
    assert "4 lines of the captions gave no tune" in capsys.readouterr().out


def test_the_same_bytes_stand_once_in_the_table(world):
    (world / "midi" / "again.mid").write_bytes((world / "midi" / "red.mid").read_bytes())
    add_line(world, '{"location": "again.mid", "caption": "red once more"}')
    assert main(INDEX) == 3
    assert [row["location"] for row in rows()] == ["again.mid", "blue.mid", "green.mid"]
    assert [(row["reason"], row["uri"]) for row in failures()] == [("duplicate_tune", "red.mid")]


def test_running_again_replaces_the_rows_as_a_new_version(world):
    main(INDEX)
    before = open_index("tunes.lance")
    lines = (world / "captions.json").read_text(encoding="utf-8").splitlines()
    (world / "captions.json").write_text(lines[0].replace('"red"', '"crimson"') + "\n", encoding="utf-8")
    assert main(INDEX) == 0
    assert [row["caption"] for row in rows()] == ["crimson"]
    assert open_index("tunes.lance").version > before.version
    assert len(lance.dataset("tunes.lance", version=before.version).to_table()) == 3


def test_a_row_hash_changes_with_its_row_only(world):
    main(INDEX)
    before = {row["location"]: row["row_hash"] for row in rows()}
    text = (world / "captions.json").read_text(encoding="utf-8")
    (world / "captions.json").write_text(text.replace('"caption": "red"', '"caption": "crimson"'), encoding="utf-8")
    main(INDEX)
    changed = [row["location"] for row in rows() if row["row_hash"] != before[row["location"]]]
    assert changed == ["red.mid"]


def test_when_nothing_can_be_indexed_the_table_stays_as_it_was(world, capsys):
    main(INDEX)
    (world / "captions.json").write_text("{\n", encoding="utf-8")
    assert main(INDEX) == 1
    assert len(rows()) == 3
    told = capsys.readouterr().err
    assert "none of the files gave a tune" in told
    assert "captions.json:1: captions: bad_json: not a line of JSON" in told
    assert json.loads((world / "tunes.lance.run.json").read_text())["state"] == "failed"


def test_a_captions_file_may_be_compressed(world):
    main(INDEX)
    before = rows()
    (world / "captions.json.gz").write_bytes(gzip.compress((world / "captions.json").read_bytes()))
    assert main([word.replace("captions.json", "captions.json.gz") for word in INDEX]) == 0
    assert rows() == before


def test_a_captions_file_without_lines_is_called_so(world, capsys):
    (world / "captions.json").write_text("")
    assert main(INDEX) == 1
    assert "captions.json has no lines" in capsys.readouterr().err


def test_the_run_is_on_record(world):
    main(INDEX)
    record = json.loads((world / "tunes.lance.run.json").read_text())
    assert (record["state"], record["counts"]["convert.done"], record["index"]["rows"]) == ("done", 3, 3)
    assert record["versions"]["apache-beam"]
