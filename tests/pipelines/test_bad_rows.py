"""A captions file as the world may hand it over: each bad line is a counted failure, and the job finishes."""

import json
import os
import tracemalloc

import lance
import pyarrow.parquet as pq
import pytest

from image2music.types import CaptionedMidi, Failure
from pipelines.cli.main import main
from transforms import midi

INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--embedder", "fake"]

MIDICAPS = [
    "location",
    "caption",
    "genre",
    "genre_prob",
    "mood",
    "mood_prob",
    "key",
    "time_signature",
    "tempo",
    "tempo_word",
    "duration",
    "duration_word",
    "chord_summary",
    "chord_summary_occurence",
    "instrument_summary",
    "instrument_numbers_sorted",
    "all_chords",
    "all_chords_timestamps",
    "test_set",
]


def line(location, caption="x", **others):
    return json.dumps({"location": location, "caption": caption, **others})


LINES = {
    "red.mid and nothing but nulls beside": json.dumps(dict.fromkeys(MIDICAPS) | json.loads(line("red.mid", "red"))),
    "every field is null": json.dumps(dict.fromkeys(MIDICAPS)),
    "no caption": line("blue.mid", None),
    "caption of another kind": line("blue.mid", ["blue"]),
    "location of another kind": line({"path": "blue.mid"}),
    "no object": '"blue.mid"',
    "cut": '{"location": "blue.mid", "caption": "bl',
    "brackets without end": "[" * 100_000,
    "a number of many digits": '{"location": "blue.mid", "caption": "blue", "tempo": ' + "9" * 10_000 + "}",
    "bytes that are no text": '{"location": "\x00\ufffd',
    "a line of another length": line("blue.mid", "very " * 100_000),
    "an empty line": "",
    "upwards": line("../../etc/passwd"),
    "upwards in the middle": line("lmd/../../../etc/passwd"),
    "absolute": line("/etc/passwd"),
    "a link out": line("out.mid"),
    "a linked folder out": line("elsewhere/secret.mid"),
    "missing": line("missing.mid"),
    "a folder": line("folder"),
    "a pipe": line("pipe.mid"),
    "a NUL": line("a\0.mid"),
    "a name that is too long": line("a" * 5000),
    "green.mid by a link inside": line("inside.mid", "green"),
    "the same location once more": line("red.mid", "scarlet"),
    "no MIDI": line("text.mid"),
    "an empty file": line("empty.mid"),
    "a MIDI file without notes": line("silent.mid"),
}

REASONS = {
    "every field is null": "bad_caption_line",
    "no caption": "bad_caption_line",
    "caption of another kind": "bad_caption_line",
    "location of another kind": "bad_caption_line",
    "no object": "bad_caption_line",
    "a NUL": "bad_caption_line",
    "a name that is too long": "bad_caption_line",
    "cut": "bad_json",
    "brackets without end": "bad_json",
    "a number of many digits": "bad_json",
    "bytes that are no text": "bad_json",
    "a line of another length": "line_too_long",
    "upwards": "outside_midi_root",
    "upwards in the middle": "outside_midi_root",
    "absolute": "outside_midi_root",
    "out.mid": "outside_midi_root",
    "elsewhere/secret.mid": "outside_midi_root",
    "missing.mid": "unreadable_file",
    "folder": "unreadable_file",
    "pipe.mid": "unreadable_file",
    "red.mid": "duplicate_tune",
    "text.mid": "not_midi",
    "empty.mid": "not_midi",
    "silent.mid": "no_notes",
}
"""By name of the line where it is refused as such, by location where its file is."""


@pytest.fixture
def bad(world, tmp_path, monkeypatch):
    """The lines above in a captions file, and the files that they name."""
    monkeypatch.setattr(midi, "LONGEST_LINE", 200_000)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.mid").write_bytes((world / "midi" / "red.mid").read_bytes() + b"secret")
    folder = world / "midi"
    (folder / "out.mid").symlink_to(tmp_path / "outside" / "secret.mid")
    (folder / "elsewhere").symlink_to(tmp_path / "outside")
    (folder / "inside.mid").symlink_to("green.mid")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe.mid")
    (folder / "text.mid").write_text("not MIDI at all")
    (folder / "empty.mid").touch()
    header = b"MThd\0\0\0\6\0\0\0\1\0\x60"
    (folder / "silent.mid").write_bytes(header + b"MTrk\0\0\0\4\0\xff\x2f\0")
    (world / "captions.json").write_text("\n".join(LINES.values()) + "\n", encoding="utf-8")
    return world


def reasons():
    names = list(LINES)
    found = {}
    for row in pq.read_table("tunes.lance.failures").to_pylist():
        captions = row["uri"].startswith("captions.json:")
        found[names[int(row["uri"].split(":")[1]) - 1] if captions else row["uri"]] = row["reason"]
    return found


def locations():
    return sorted(lance.dataset("tunes.lance").to_table()["location"].to_pylist())


def test_each_bad_line_is_a_failure_with_its_reason_and_the_others_are_rows(bad):
    assert main(INDEX) == 3
    assert locations() == ["inside.mid", "red.mid"]
    assert reasons() == REASONS


def test_an_update_says_the_same(bad):
    main(INDEX)
    built = reasons()
    assert main([*INDEX, "--update"]) == 3
    assert locations() == ["inside.mid", "red.mid"]
    assert reasons() == built


def test_a_line_without_end_is_passed_over_in_little_memory(tmp_path):
    path = tmp_path / "captions.json"
    with open(path, "w", encoding="utf-8") as file:
        file.write(line("first.mid") + "\n" + '{"location": "')
        for _ in range(64):
            file.write("a" * (1 << 20))
        file.write('", "caption": "x"}\n' + line("last.mid") + "\n")
    tracemalloc.start()
    try:
        first, long, last = midi.read_captions(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (first, last) == (CaptionedMidi("first.mid", "x"), CaptionedMidi("last.mid", "x"))
    assert isinstance(long, Failure)
    assert (long.reason, long.uri) == ("line_too_long", f"{path}:2")
    assert peak < 40 << 20


@pytest.mark.parametrize("change", [[], ["--update"]], ids=["build", "update"])
@pytest.mark.parametrize(
    "text", ['[{"location": "red.mid", "caption": "red"}]', "\n[\n {\n"], ids=["one line", "pretty"]
)
def test_a_captions_file_that_is_one_array_is_one_line(indexed, capsys, change, text):
    (indexed / "array.json").write_text(text)
    capsys.readouterr()
    index = ["index", "--captions", "array.json", "--midi_root", "midi", "--index", "tunes.lance"]
    assert main([*index, *change]) == 1
    err = capsys.readouterr().err
    assert err == "image2music: array.json is one JSON array; write one object a line, as jq -c '.[]' array.json does\n"


def test_a_line_that_is_not_utf_8_is_read_as_latin_1(tmp_path):
    text = '{"location": "a.mid", "caption": "caf\u00e9"}'
    lines = [text.encode("latin-1"), text.encode()]
    (tmp_path / "captions.json").write_bytes(b"\n".join(lines))
    captions = [source.caption for source in midi.read_captions(str(tmp_path / "captions.json"))]
    assert captions == ["caf\u00e9", "caf\u00e9"]
