"""An output and an index of the release before this one are read, or refused in one line that is true.

tests/fixtures/release_1/README.md says how they were made. Each test works on a copy.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from pipelines.cli.main import main

FIXTURE = Path(__file__).parent / "fixtures" / "release_1"
COMPOSE = "compose --images pictures --index tunes.lance --album --max_failures 1"
REFRESH = "compose --refresh --index tunes.lance --album --max_failures 1"
PICTURES = 3


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The folder in which the earlier release ran, as the current one."""
    home = tmp_path / "release"
    shutil.copytree(FIXTURE, home)
    monkeypatch.chdir(home)
    return home


def run(command: str) -> int:
    return main(command.split())


def rows(output: Path) -> list[dict]:
    return ds.dataset(output / "compositions").to_table().to_pylist()


def ways_out(message: str, command: str) -> list[str]:
    """The commands that a refusal asks for: with an option that it names, and without --refresh where it says so."""
    lines = message.splitlines()
    assert len(lines) == 1 and lines[0].startswith("image2music: "), message
    options = sorted(set(re.findall(r"--(?:keep|overwrite)\b", lines[0])))
    assert options, f"does not say what to do: {message}"
    return [f"{COMPOSE if 'without --refresh' in message else command} {option}" for option in options]


@pytest.fixture
def embedded_again(release, capsys):
    """The same, after the command that a refusal of the index names: the release before had another embedder."""
    assert run(f"{COMPOSE} --output fresh") == 1
    refusal = capsys.readouterr().err
    assert len(refusal.splitlines()) == 1
    command = re.search(r"to embed it again: image2music (.+)$", refusal.strip())
    assert command, refusal
    assert run(command[1]) == 0
    return release


def test_status_says_what_the_run_did(release, capsys):
    assert run("status out") == 0
    assert re.search(r"rows now +3\n", capsys.readouterr().out)


def test_a_report_shows_every_row(release):
    assert run("report --input out --output pages") == 0
    assert len(list((release / "pages" / "pictures").glob("*.html"))) == PICTURES


def test_rows_are_exported(release):
    assert run("export --input out --output files --formats abc,midi,musicxml") == 0
    exported = {path.suffix for path in (release / "files").rglob("*") if path.is_file()}
    assert {".abc", ".mid", ".musicxml"} <= exported


def test_rows_are_scored(release):
    assert run("score --input out") == 0
    measures = json.loads((release / "out" / "score.json").read_text())["systems"]["out"]
    assert (measures["tunes"], measures["measures"]["valid_repaired"]["mean"]) == (PICTURES, 1.0)


def test_the_index_is_described_and_updated(release, capsys):
    assert run("index --stats --index tunes.lance") == 0
    assert run("index --history --index tunes.lance") == 0
    assert "build-2" in capsys.readouterr().out
    assert run("index --update --captions captions.json --midi_root midi --index tunes.lance") == 3
    assert "0 new, 0 changed, 0 removed, 6 unchanged" in capsys.readouterr().out


@pytest.mark.slow
def test_the_index_is_composed_from_once_it_is_embedded_again(embedded_again):
    assert run(f"{COMPOSE} --output fresh") == 3
    assert len(rows(embedded_again / "fresh")) == PICTURES
    assert {one["location"] for row in rows(embedded_again / "fresh") for one in row["references"]}


@pytest.mark.slow
@pytest.mark.parametrize("command", [COMPOSE, REFRESH], ids=["again", "refresh"])
def test_the_output_is_gone_on_with_or_refused_with_what_to_do(embedded_again, capsys, command):
    release = embedded_again
    earlier = {row["image_id"]: row["abc"] for row in rows(release / "out")}
    code = run(f"{command} --output out")
    said = capsys.readouterr().err
    if code in (0, 3):
        assert {row["image_id"]: row["abc"] for row in rows(release / "out")} == earlier
        return
    assert code == 1
    assert {row["image_id"]: row["abc"] for row in rows(release / "out")} == earlier
    for way_out in ways_out(said, command):
        shutil.rmtree(release / "out")
        shutil.copytree(FIXTURE / "out", release / "out")
        assert run(f"{way_out} --output out") in (0, 3), f"{said.strip()}: {way_out} does not do it"
        assert {row["image_id"] for row in rows(release / "out")} == earlier.keys()
