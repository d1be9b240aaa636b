"""Filters and copies in the index, as a person meets them on the command line."""

import json
import os
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_midi
from image2music.settings import ComposeSettings, LoopSettings
from pipelines.cli.main import main

INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--embedder", "fake"]
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
NOT_RED = ["--where", "caption <> 'red'"]


def rows():
    return {row["description"]: row for row in pq.read_table("out/compositions").to_pylist()}


def captions(row):
    return [reference["caption"] for reference in row["references"]]


def add_tune(name, abc, **line):
    with open(f"midi/{name}", "wb") as file:
        file.write(abc_to_midi(abc))
    with open("captions.json", "a", encoding="utf-8") as file:
        file.write(json.dumps({"location": name, **line}) + "\n")


def test_references_come_from_the_tunes_that_pass(indexed):
    assert main([*COMPOSE, "--top_k", "1", *NOT_RED]) == 0
    assert captions(rows()["red"]) != ["red"]
    assert "red" not in {caption for row in rows().values() for caption in captions(row)}
    assert captions(rows()["blue"]) == ["blue"]


def test_rows_of_a_filter_are_rows_of_other_settings(indexed, capsys):
    main(COMPOSE)
    assert main([*COMPOSE, *NOT_RED]) == 1
    assert "holds compositions of other settings" in capsys.readouterr().err


def test_without_a_filter_the_settings_have_the_hash_that_they_always_had():
    settings = ComposeSettings("composer@1", "embedder@1", "prompts", 3, LoopSettings(), 0)
    assert settings.hash == "c0695db7f4170722d869cc3024da890fbdf851c1bab61b8aa82cd091fa2cdb84"
    assert replace(settings, where="bars < 9").hash != settings.hash


def test_a_refresh_searches_through_the_filter(indexed, capsys):
    filtered = [*COMPOSE, "--top_k", "1", *NOT_RED]
    main(filtered)
    with open("midi/red.mid", "wb") as file:
        file.write(abc_to_midi(two_voice_tune(99)))
    main([*INDEX, "--update"])
    capsys.readouterr()
    assert main([*filtered, "--refresh"]) == 0
    assert "0 composed again, 3 kept" in capsys.readouterr().out


def test_a_plan_names_the_filter_and_how_many_tunes_pass(indexed, capsys):
    capsys.readouterr()
    assert main([*COMPOSE, *NOT_RED, "--plan"]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["where"] == "caption <> 'red'"
    assert said["index"].endswith("2 tunes")


@pytest.mark.parametrize("where", ["tempo < 100", "bars < 0", ""])
def test_a_filter_that_cannot_work_is_one_line_and_nothing_is_written(indexed, capsys, where):
    assert main([*COMPOSE, "--where", where]) == 1
    err = capsys.readouterr().err
    assert f"the filter {where!r}" in err
    assert err.count("\n") == 1
    assert not os.path.exists("out")


def test_instruments_of_the_captions_file_can_be_filtered(world):
    add_tune("march.mid", two_voice_tune(7), caption="a march", instrument_summary=["Drums", "Tuba"])
    main(INDEX)
    assert main([*COMPOSE, "--where", "tempo_qpm < 100 and array_has(instruments, 'Drums')"]) == 0
    assert {tuple(captions(row)) for row in rows().values()} == {("a march",)}


def test_the_same_music_in_another_key_is_a_duplicate_and_one_reference(world, capsys):
    higher = two_voice_tune(50).replace("K:C\n", "K:C transpose=2\n")
    assert higher != two_voice_tune(50)
    add_tune("again.mid", higher, caption="red")
    main(INDEX)
    capsys.readouterr()
    main(["index", "--index", "tunes.lance", "--stats"])
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["tunes"] == "4"
    assert said["duplicates"].startswith("1 with the music of another, 1 with the caption")
    main([*COMPOSE, "--top_k", "2"])
    assert captions(rows()["red"])[0] == "red"
    assert captions(rows()["red"]).count("red") == 1
    assert len(captions(rows()["red"])) == 2
