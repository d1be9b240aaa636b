import errno
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import FakeComposer
from PIL import Image

from image2music.loop import chain
from image2music.rows import now
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


@pytest.fixture
def meanwhile(monkeypatch):
    """Makes something happen while the first tunes are written."""

    def arrange(happen):
        write = FakeComposer.write

        def composing(self, requests):
            happen()
            return write(self, requests)

        monkeypatch.setattr(FakeComposer, "write", composing)

    return arrange


def one_line_of(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


def rows():
    return pq.read_table("out/compositions").num_rows


def test_a_full_disk_ends_the_job_in_one_line_and_leaves_nothing_half_written(indexed, monkeypatch, capsys):
    write = pq.write_table

    def full(table, path, **options):
        write(table.slice(0, 1), path, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    assert main(COMPOSE) == 1
    assert "No space left on device" in one_line_of(capsys)
    assert [*Path("out").rglob("*part-*")] == []
    monkeypatch.setattr(pq, "write_table", write)
    assert main(COMPOSE) == 0
    assert rows() == 3


@pytest.mark.parametrize("folder", ["out", "out/compositions"])
def test_rows_that_are_removed_while_the_job_runs_are_not_called_done(indexed, meanwhile, capsys, folder):
    main(COMPOSE)
    Image.new("RGB", (5, 5), (9, 9, 99)).save("pictures/new.png")
    meanwhile(lambda: shutil.rmtree(folder))
    capsys.readouterr()
    assert main(COMPOSE) == 1
    assert "out holds 1 row and should hold 4" in one_line_of(capsys)


def test_an_index_that_is_removed_ends_with_every_picture_accounted_for(indexed, monkeypatch, capsys):
    look = FakeComposer.look

    def looking(self, images, language="en"):
        shutil.rmtree("tunes.lance", ignore_errors=True)
        return look(self, images, language)

    monkeypatch.setattr(FakeComposer, "look", looking)
    assert main(COMPOSE) == 1
    assert "0 composed, 0 there before, 3 failed" in capsys.readouterr().out


def failures():
    rows = pq.read_table("out/failures").to_pylist()
    return {os.path.basename(row["uri"]): (row["stage"], row["reason"]) for row in rows}


def test_a_composer_that_raises_at_one_picture_costs_that_picture_only(indexed, monkeypatch):
    write = FakeComposer.write

    def composing(self, requests):
        if any(asked.request.description.text == "red" for asked in requests):
            raise ValueError("invalid literal for int() with base 10: '+-5'")
        return write(self, requests)

    monkeypatch.setattr(FakeComposer, "write", composing)
    assert main([*COMPOSE, "--max_failures", "1"]) == 3
    assert failures() == {"red.png": ("compose", "unexpected_ValueError")}
    assert rows() == 2


def test_code_of_ours_that_raises_at_one_tune_costs_that_picture_only_and_its_reason_is_kept(indexed, monkeypatch):
    examine = chain.examine

    def raising(raw, references, plan):
        if "BROKEN" in raw:
            raise ValueError("invalid literal for int() with base 10: '+-5'")
        return examine(raw, references, plan)

    write = FakeComposer.write

    def composing(self, requests):
        tunes = write(self, requests)
        return [
            tune.replace("T:", "T:BROKEN ") if asked.request.description.text == "red" else tune
            for asked, tune in zip(requests, tunes, strict=True)
        ]

    monkeypatch.setattr(FakeComposer, "write", composing)
    monkeypatch.setattr(chain, "examine", raising)
    for _ in range(2):  # and again on a rerun
        assert main([*COMPOSE, "--max_failures", "1"]) == 3
        assert failures() == {"red.png": ("compose", "unexpected_ValueError")}
        assert rows() == 2


def test_halves_of_surrogate_pairs_in_a_models_texts_cost_no_row(indexed, monkeypatch):
    look, explain = FakeComposer.look, FakeComposer.explain
    monkeypatch.setattr(
        FakeComposer,
        "look",
        lambda self, images, language: [replace(d, text=f"{d.text} \ud800") for d in look(self, images, language)],
    )
    monkeypatch.setattr(
        FakeComposer,
        "explain",
        lambda self, asked: [replace(e, motivation="\ud800 calm") for e in explain(self, asked)],
    )
    assert main(COMPOSE) == 0
    row, *_ = pq.read_table("out/compositions").sort_by("image_uri").to_pylist()
    assert (row["description"], row["motivation"]) == ("blue ?", "? calm")


def test_a_captions_line_that_no_parser_takes_is_that_lines_failure(indexed, capsys):
    with open("captions.json", "a", encoding="utf-8") as file:
        file.write(f'{{"location": "red.mid", "caption": {"[" * 100_000}\n')
    command = "index --captions captions.json --midi_root midi --index other.lance --embedder fake"
    assert main(command.split()) == 3
    assert "captions.json:4" in capsys.readouterr().out


def test_pictures_may_lie_in_a_folder_that_cannot_be_written(indexed):
    os.chmod("pictures", 0o555)
    assert main(COMPOSE) == 0
    assert rows() == 3


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0], ids=["back", "ahead"])
def test_a_clock_that_jumps_changes_nothing(indexed, meanwhile, monkeypatch, jump):
    import time

    clock = time.time
    meanwhile(lambda: monkeypatch.setattr(time, "time", lambda: clock() + jump))
    assert main(COMPOSE) == 0
    assert rows() == 3


def test_a_clock_that_was_set_back_does_not_bring_an_earlier_row_back(indexed, monkeypatch):
    catalog = indexed / "shop.csv"
    catalog.write_text("image,id,hint\nred.png,1,a fire\n")
    assert main([*COMPOSE, "--catalog", "shop.csv"]) == 0
    catalog.write_text("image,id,hint\nred.png,1,a rose\n")
    monkeypatch.setattr("transforms.shards.now", lambda: now() - timedelta(days=1))
    assert main([*COMPOSE, "--catalog", "shop.csv"]) == 0
    assert rows() == 3
    assert "a rose" in pq.read_table("out/compositions").column("hint").to_pylist()
