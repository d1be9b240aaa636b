import re
import shutil

import pytest
from chat_server import serving
from PIL import Image

from pipelines.cli.main import main
from pipelines.jobs import dry_run
from pipelines.jobs.dry_run import SAMPLE, memory_line, sample_size, time_line
from pipelines.options.compose import ComposeOptions
from pipelines.runtime.options import ArrayPart

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


def test_a_dry_run_sends_nothing_to_a_server_and_calculates_its_calls(indexed, plan, stand_ins, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        remote = ["--composer", f"openai:{server.url}#model", "--protocol", "paper"]
        lines = plan(*remote)
        priced = plan(*remote, "--price", "2,10", "--max_cost", "0.06")
        assert server.seen == []
    assert lines["sample"] == "none: the composer is behind a server, and a dry run sends nothing there"
    assert lines["calls"] == "about 12, each with its picture"
    assert re.fullmatch(r"about [\d,]+ in and 2,417 out, and up to [\d,]+ in again, for .*", lines["tokens"])
    assert lines["money"] == "unknown: --price IN,OUT (dollars a million tokens) makes it money"
    expected = r"about \$0\.07, up to \$0\.09 where .*; --max_cost 0\.06 is enough for about 2 of 3 pictures"
    assert re.fullmatch(expected, priced["money"])
    assert not (indexed / "out").exists()


def test_a_dry_run_opens_no_picture_of_the_web(indexed, plan):
    (indexed / "list.txt").write_text("http://127.0.0.1:9/a.png\n")
    lines = plan("--images", "@list.txt", "--allow_web", "any")
    assert lines["sample"] == "none: all pictures are on servers, and a dry run opens none of them"


def test_plan_is_the_old_name_of_dry_run(indexed, capsys):
    main([*COMPOSE, "--plan"])
    assert "to do" in capsys.readouterr().out
    assert not (indexed / "out").exists()


@pytest.fixture
def plan(indexed, capsys):
    """The lines of a plan by their names."""

    def read(*options):
        capsys.readouterr()
        assert main([*COMPOSE, "--dry_run", *options]) == 0
        return {line[:12].strip(): line[12:] for line in capsys.readouterr().out.splitlines()}

    return read


def test_a_plan_changes_nothing(indexed, plan):
    lines = plan("--log_json", "log.jsonl")
    assert not (indexed / "out").exists()
    assert not (indexed / "log.jsonl").exists()
    assert (lines["pictures"], lines["to do"], lines["skipped"]) == ("3 files", "3 files", "0 files with a row")
    assert "3 tunes" in lines["index"]


def test_what_has_a_row_is_skipped_and_what_failed_is_tried_again(indexed, plan):
    (indexed / "pictures" / "late.png").write_text("still copying")
    main(COMPOSE)
    Image.new("RGB", (5, 5), (9, 9, 99)).save("pictures/new.png")
    lines = plan()
    assert (lines["to do"], lines["skipped"]) == ("2 files, 1 of them failed before", "3 files with a row")


def test_when_all_is_done_nothing_is_measured(plan):
    main(COMPOSE)
    assert plan().keys().isdisjoint({"sample", "time", "disk", "process"})


def test_time_disk_and_memory_come_from_a_sample(plan, stand_ins):
    lines = plan("--workers", "2")
    assert lines["sample"].startswith("1 of 3 pictures composed to measure, 0 failed, ")
    assert lines["time"].endswith(" with 2 workers, once models are loaded")
    assert "GB free in out" in lines["disk"]
    assert lines["process"].endswith("GB of memory by the sample, for each of 2 workers")
    assert ("write", 1) in stand_ins.calls
    assert lines.keys().isdisjoint({"store", "machines", "limit"})


@pytest.mark.parametrize(("pictures", "composed"), [(1, 1), (3, 1), (10, 3), (23, 7), (24, SAMPLE), (10_000, SAMPLE)])
def test_a_sample_is_a_third_of_few_pictures(pictures, composed):
    assert sample_size(pictures) == composed


def test_a_sample_of_failures_foretells_no_time(indexed, plan):
    for picture in (indexed / "pictures").glob("*.png"):
        picture.write_bytes(b"no picture")
    lines = plan()
    assert lines["sample"] == "1 of 3 pictures composed to measure, 1 failed"
    assert lines["time"] == "unknown, for none of the sample could be composed"


@pytest.mark.parametrize(
    ("options", "cores", "said"),
    [
        ({}, 4, "about 100 s with 1 worker"),
        ({"workers": 2}, 4, "about 60 s with 2 workers"),
        ({"workers": 4}, 2, "about 60 s with 4 workers, of which 2 can work at a time"),
        ({"workers": 8, "slice_size": 5}, 8, "about 50 s with 8 workers, of which 2 can work at a time"),
        ({"part": ArrayPart(1, 5)}, 4, "about 20 s for each of 5 parts"),
        ({"cluster": "tcp://host:8786"}, 4, "about 100 s of one worker"),
    ],
)
def test_the_time_is_that_of_the_command_as_it_was_typed(monkeypatch, options, cores, said):
    monkeypatch.setattr(dry_run, "_cores", lambda: cores)
    monkeypatch.setattr(dry_run, "duration", lambda seconds: f"{seconds:g} s")
    typed = ComposeOptions(images="/pictures", index="/tunes.lance", output="/out", **options)
    assert time_line(typed, 10, options.get("slice_size", 2), 10.0).startswith(f"{said}, once ")


def test_a_disk_that_is_too_small_is_named(plan, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert plan()["disk"].endswith("NOT ENOUGH")


def test_more_workers_than_cores_or_than_memory_holds_are_named(plan):
    lines = plan("--workers", "999")
    assert lines["workers"].startswith("999, TOO MANY for ")
    assert "workers" not in plan()
    gigabyte = 1 << 30
    assert memory_line(3, gigabyte, 2 * gigabyte + 1).endswith("; NOT ENOUGH: 2.0 GB are free, which is enough for 2")
    assert memory_line(2, gigabyte, 2 * gigabyte) == "1.0 GB of memory by the sample, for each of 2 workers"
    assert memory_line(1, gigabyte, None) == "1.0 GB of memory by the sample"
    assert memory_line(999, gigabyte, None).endswith("for each of 999 workers")


def test_what_a_run_would_refuse_is_in_the_plan(plan):
    main(COMPOSE)
    assert "Add one of them, or name another --output" in plan("--seed", "1")["refused"]
    moved, kept = plan("--seed", "1", "--overwrite"), plan("--seed", "1", "--keep")
    assert "refused" not in moved | kept
    assert moved["earlier"] == "--overwrite: all rows move to out/generations, and all 3 pictures are composed anew"
    assert kept["earlier"] == "--keep: 3 rows of other settings or rules stay as they are; 0 pictures are composed"
    assert (moved["to do"], kept["to do"]) == ("3 files", "0 files")
