from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from image2music.abc.expression import perform_abc
from image2music.abc.playback import abc_to_midi
from image2music.errors import ConfigError
from image2music.music.render import decode
from pipelines.cli import notation

RIGHT = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\nCDEF GABc | c8 |]\n"
WRONG = "X:1\nT:t\nM:4/4\nL:1/8\nK:C\nCDEF GAB | c8 | c8 |]\n"


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    notation.add_parsers(parser.add_subparsers(required=True))
    args = parser.parse_args([str(word) for word in words])
    code: int = args.run(args)
    return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.abc").write_text(RIGHT)
    (tmp_path / "in" / "deep" / "b.abc").write_text(WRONG)
    return tmp_path


@pytest.fixture
def midi(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    path.write_bytes(abc_to_midi(RIGHT))
    return path


def test_check_prints_file_line_column_severity_code_and_message(folder: Path, capsys) -> None:
    assert run("check", folder / "in" / "deep" / "b.abc") == 1
    assert capsys.readouterr().out == (
        f"{folder}/in/deep/b.abc:6:1: error bar-too-short "
        "bar 1 of voice 1 holds 7/8 of 4/4: 1/8 too short, add notes or rests, such as z at its end\n"
    )


def test_check_is_silent_and_exits_0_where_all_is_right(folder: Path, capsys) -> None:
    assert run("check", folder / "in" / "a.abc") == 0
    assert capsys.readouterr().out == ""


def test_check_walks_folders_and_prints_one_json_list(folder: Path, capsys) -> None:
    assert run("check", "--json", folder / "in") == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding["file"].endswith("in/deep/b.abc")
    assert (finding["line"], finding["column"], finding["voice"], finding["bar"]) == (6, 1, "1", 1)
    assert (finding["code"], finding["severity"]) == ("bar-too-short", "error")


def test_check_fix_writes_mended_files_and_leaves_the_given_ones(folder: Path, capsys) -> None:
    assert run("check", folder / "in", "--fix", folder / "out") == 0
    assert (folder / "out" / "a.abc").read_text() == RIGHT
    assert (folder / "out" / "b.abc").read_text() == WRONG.replace("GAB |", "GAB z |")
    assert (folder / "in" / "deep" / "b.abc").read_text() == WRONG
    assert "info mended-bar" in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [
        RIGHT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + RIGHT.encode(),
        RIGHT.replace("T:t", "T:Où").encode("latin-1"),
        RIGHT.encode("utf-16"),
    ],
)
def test_check_reads_other_encodings_and_line_ends(data: bytes, tmp_path: Path, capsys) -> None:
    (tmp_path / "x.abc").write_bytes(data)
    assert run("check", tmp_path / "x.abc") == 0
    assert capsys.readouterr().out == ""


def test_midi_writes_one_file_a_tune(folder: Path) -> None:
    (folder / "in" / "c.abc").write_text(RIGHT + "\n" + RIGHT.replace("X:1", "X:2"))
    assert run("midi", folder / "in", "-o", folder / "out") == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.mid", "b.mid", "c.mid", "c_2.mid"]


def test_midi_is_exact_or_as_it_is_performed(folder: Path) -> None:
    tune = folder / "in" / "a.abc"
    assert run("midi", tune, "-o", folder / "exact") == 0
    assert run("midi", tune, "--expressive", "-o", folder / "performed") == 0
    assert (folder / "exact" / "a.mid").read_bytes() == abc_to_midi(tune.read_text())
    assert (folder / "performed" / "a.mid").read_bytes() == perform_abc(tune.read_text())


def test_midi_writes_sound_where_that_is_asked_for(folder: Path) -> None:
    tune = folder / "in" / "a.abc"
    for kbps in (24, 96):
        assert run("midi", tune, "--sound", "opus", "--kbps", str(kbps), "-o", folder / str(kbps)) == 0
    small, large = (folder / kbps / "a.opus" for kbps in ("24", "96"))
    assert decode(small.read_bytes())[1] == 48_000
    assert 2.5 * small.stat().st_size < large.stat().st_size


def test_midi_says_of_a_file_with_errors_that_it_is_played_as_it_stands(folder: Path, capsys) -> None:
    assert run("midi", folder / "in", "-o", folder / "out") == 0
    told = capsys.readouterr().err
    assert told.startswith(f"{folder}/in/deep/b.abc: 1 error, played as it stands; ")
    assert "image2music check" in told
    assert told.count("\n") == 1


def test_a_tune_of_rests_does_not_keep_the_others_of_its_file_back(folder: Path, capsys) -> None:
    (folder / "c.abc").write_text(RIGHT.replace("CDEF GABc | c8", "z8 | z8") + "\n" + RIGHT.replace("X:1", "X:2"))
    assert run("midi", folder / "c.abc", "-o", folder / "out") == 1
    assert [path.name for path in (folder / "out").iterdir()] == ["c.mid"]
    assert "tune X:1" in capsys.readouterr().err


def test_files_of_one_name_do_not_overwrite_each_other(folder: Path) -> None:
    (folder / "in" / "deep" / "a.abc").write_text(WRONG)
    assert run("midi", folder / "in", "-o", folder / "out") == 0
    first, second = (folder / "out" / "a.mid").read_bytes(), (folder / "out" / "a_2.mid").read_bytes()
    assert (first, second) == (abc_to_midi(RIGHT), abc_to_midi(WRONG))


def test_a_second_run_writes_the_same_names(folder: Path) -> None:
    for _ in range(2):
        assert run("midi", folder / "in", "-o", folder / "out") == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.mid", "b.mid"]


def test_abc_of_one_file_goes_to_stdout(midi: Path, capsys) -> None:
    assert run("abc", midi) == 0
    assert capsys.readouterr().out.startswith("X:1\nT:song\n")


def test_abc_of_several_files_needs_a_folder(midi: Path) -> None:
    with pytest.raises(ConfigError, match="-o DIR"):
        run("abc", midi, midi.parent / "other.mid")


def test_abc_follows_links_whatever_the_ending_and_writes_what_check_finds_right(midi: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "linked.bin").symlink_to(midi)
    (tmp_path / "links" / "round").symlink_to(tmp_path / "links")
    assert run("abc", tmp_path / "links", "-o", tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["linked.abc"]
    assert run("check", tmp_path / "out") == 0


def test_an_excerpt_is_abc_too(midi: Path, tmp_path: Path) -> None:
    assert run("abc", midi, "--excerpt", "-o", tmp_path / "out") == 0
    assert run("check", tmp_path / "out") == 0


@pytest.mark.parametrize("command", ["abc", "midi", "check"])
def test_a_bad_file_is_one_line_on_stderr_and_the_others_are_done(
    command: str, midi: Path, folder: Path, capsys
) -> None:
    good = midi if command == "abc" else folder / "in" / "a.abc"
    bad = folder / "bad"
    bad.write_bytes(b"\0nothing\nto\nplay" if command != "check" else b"MThd")
    extra = [] if command == "check" else ["-o", folder / "out"]
    assert run(command, folder / "missing", bad, good, *extra) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in errors] == [str(folder / "missing"), str(bad)]
    if command != "check":
        assert len(list((folder / "out").iterdir())) == 1


def test_a_folder_without_a_file_of_the_kind_is_told(midi: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no ABC files"):
        run("check", tmp_path)


def test_of_a_folder_only_the_files_of_the_kind_are_taken(folder: Path, midi: Path, capsys) -> None:
    mixed = folder / "in"
    (mixed / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (mixed / "song.mid").write_bytes(midi.read_bytes())
    (mixed / "._a.abc").write_bytes(b"\0\5\x16\7")
    (mixed / "notes.txt").write_text("Buy milk.\n")
    (mixed / "tune.txt").write_text("% a comment\n" + RIGHT)
    (mixed / "tune").write_bytes(RIGHT.replace("\n", "\r\n").encode())
    (mixed / "riff").write_bytes(midi.read_bytes())
    assert run("check", mixed) == 1
    out, err = capsys.readouterr()
    assert {line.split(":")[0] for line in out.splitlines()} == {f"{mixed}/deep/b.abc"}
    assert err == "5 other files left out: no ABC\n"
    assert run("midi", mixed, "-o", folder / "midi") == 0
    assert sorted(path.name for path in (folder / "midi").iterdir()) == ["a.mid", "b.mid", "tune.mid", "tune_2.mid"]
    assert run("abc", mixed, "-o", folder / "abc") == 0
    assert sorted(path.name for path in (folder / "abc").iterdir()) == ["riff.abc", "song.abc"]


def test_a_file_that_is_named_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / ".tune.jpg").write_text(RIGHT)
    assert run("check", tmp_path / ".tune.jpg") == 0


LEAPING = "X:1\nM:4/4\nL:1/4\nK:C\nV:1\nV:2\n[V:1] GAGE|Cdfe|EFGF|EDC2|]\n[V:2] C4|D2C2|C2B,2|C4|]\n"
PLAN = {
    "bars": 4,
    "voices": [{"program": 0}, {"program": 0}],
    "sections": [{"bars": "1-4", "qpm": 120, "roles": {"1": "melody", "2": "bass"}}],
    "harmony": ["C", "F", "C", "C"],
}


@pytest.fixture
def leaping(tmp_path: Path) -> Path:
    (tmp_path / "tunes").mkdir()
    (tmp_path / "tunes" / "a.abc").write_text(LEAPING)
    (tmp_path / "tunes" / "b.mid").write_bytes(abc_to_midi(LEAPING))
    (tmp_path / "tunes" / "notes.txt").write_text("no tune")
    return tmp_path / "tunes"


def test_listen_prints_the_worst_places_of_abc_and_midi(leaping: Path, capsys) -> None:
    assert run("listen", leaping) == 0
    out, err = capsys.readouterr()
    for name in ("a.abc", "b.mid"):
        assert f"{leaping}/{name}: bar 2 beat 2: voice 1 leaps up 14 semitones from C4 to D5" in out
    assert err == "1 other file left out: no ABC or MIDI\n"


def test_listen_prints_one_json_object_a_file(leaping: Path, capsys) -> None:
    assert run("listen", "--json", leaping) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert list(first) == ["path", "critic", "faults", "features"]
    assert first["path"] == f"{leaping}/a.abc"
    assert first["faults"] == second["faults"]
    (fault,) = first["faults"]
    assert {name: fault[name] for name in ("kind", "bar", "beat", "voices")} == {
        "kind": "leap", "bar": 2, "beat": 2.0, "voices": [1]
    }  # fmt: skip
    assert first["features"]["polyphony"] == second["features"]["polyphony"] > 1


def test_listen_holds_a_tune_against_its_plan(leaping: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    assert run("listen", "--json", "--against", tmp_path / "plan.json", leaping / "a.abc") == 0
    heard = json.loads(capsys.readouterr().out)
    assert ("chord", 2) in [(fault["kind"], fault["bar"]) for fault in heard["faults"]]
    assert 0 < heard["features"]["adherence"] < 1
    assert run("listen", "--against", tmp_path / "plan.json", leaping / "a.abc") == 0
    assert "not as planned: other chords sound than planned in bar 2" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", '{"voices": 3}', None])
def test_listen_says_what_is_wrong_with_a_plan(text: str | None, leaping: Path, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigError, match=r"cannot read the plan .*plan\.json: "):
        run("listen", "--against", tmp_path / "plan.json", leaping)


def test_listen_goes_on_behind_a_bad_file_and_exits_1(leaping: Path, capsys) -> None:
    (leaping / "aa.abc").write_text("nothing\n")
    (leaping / "ab.mid").write_bytes(b"MThd")
    assert run("listen", "--json", leaping) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert [line.split(":")[0] for line in err.splitlines()[1:]] == [f"{leaping}/aa.abc", f"{leaping}/ab.mid"]


def test_where_nothing_sounds_there_is_no_critic_and_every_voice_is_empty(tmp_path: Path, capsys) -> None:
    (tmp_path / "rests.abc").write_text("X:1\nM:4/4\nL:1/4\nK:C\nz4 | z4 |]\n")
    assert run("listen", "--json", tmp_path / "rests.abc") == 0
    heard = json.loads(capsys.readouterr().out)
    assert heard["critic"] is None
    assert [fault["kind"] for fault in heard["faults"]] == ["empty_voice"]
