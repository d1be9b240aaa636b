import hashlib
import json
import re
import shutil

import pyarrow.parquet as pq
import pytest
from PIL import Image

from image2music.loop import chain
from pipelines.cli.main import main
from schemas.composition import composition_schema
from schemas.failure import FAILURE_SCHEMA

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


def rows(folder="out/compositions"):
    return sorted(pq.read_table(folder).to_pylist(), key=lambda row: row["image_uri"])


def without_times(row):
    return {name: value for name, value in row.items() if name not in ("seconds", "composed_at")}


def test_each_picture_becomes_a_row(indexed):
    assert main(COMPOSE) == 0
    blue, _, _ = rows()
    assert pq.read_table("out/compositions").schema.names == composition_schema(8).names
    assert blue["image_id"] == hashlib.sha256((indexed / "pictures" / "blue.png").read_bytes()).hexdigest()
    assert (blue["image_uri"], blue["album"], blue["width"], blue["height"]) == ("pictures/blue.png", "pictures", 12, 8)
    assert (blue["description"], blue["motivation"]) == ("blue", "It is blue.")
    assert blue["midi"].startswith(b"MThd")
    assert (blue["composer_id"], blue["embedder_id"]) == ("fake-composer@1", "fake-embedder@1")
    assert blue["rounds"][0]["purpose"] == "draft"
    assert blue["attention"][0]["weights"] == [pytest.approx(0.1, abs=1e-3)] * 6
    assert blue["seconds"] > 0


def test_references_are_found_by_description_and_by_picture(indexed):
    main([*COMPOSE, "--top_k", "2"])
    best = rows()[0]["references"][0]
    assert (best["caption"], best["matched_by"]) == ("blue", "both")
    assert best["similarity_text"] == pytest.approx(1.0)


def test_identical_bytes_are_composed_once_with_every_place(indexed):
    shutil.copy("pictures/red.png", "pictures/album/copy without ending")
    assert main(COMPOSE) == 0
    assert len(rows()) == 3
    assert rows()[0]["image_uris"] == ["pictures/album/copy without ending", "pictures/red.png"]
    assert rows()[0]["album"] == "pictures/album"


def test_a_file_name_need_not_be_utf8(indexed):
    shutil.copy("pictures/red.png", b"pictures/album/caf\xe9.png")
    assert main([*COMPOSE, "--images", "pictures/album"]) == 0
    assert rows()[0]["image_uri"] == "pictures/album/caf\\xe9.png"


def test_a_file_that_is_no_picture_is_written_and_the_others_are_done(indexed, capsys):
    (indexed / "pictures" / "notes.jpg").write_text("no picture")
    assert main([*COMPOSE, "--max_failures", "1", "--batch_size", "4"]) == 3
    assert len(rows()) == 3
    (failure,) = rows_of_failures()
    assert (failure["stage"], failure["uri"]) == ("describe", "pictures/notes.jpg")
    assert pq.read_table("out/failures").schema.names == FAILURE_SCHEMA.names
    assert "3 composed, 0 there before, 1 failed" in capsys.readouterr().out


def rows_of_failures():
    return pq.read_table("out/failures").to_pylist()


def test_more_failures_than_the_bound_is_exit_code_1_and_says_so(indexed, capsys):
    (indexed / "pictures" / "notes.jpg").write_text("no picture")
    assert main(COMPOSE) == 1
    assert "1 of 4 pictures failed, more than --max_failures allows" in capsys.readouterr().err
    assert len(rows()) == 3
    assert json.loads((indexed / "out" / "run.json").read_text())["state"] == "failed"


def test_a_rerun_does_only_what_is_missing(indexed, stand_ins):
    main(COMPOSE)
    Image.new("RGB", (5, 5), (9, 9, 99)).save("pictures/new.png")
    stand_ins.calls.clear()
    assert main(COMPOSE) == 0
    assert stand_ins.calls[0] == ("look", 1)
    assert len(rows()) == 4


def test_a_failure_that_is_mended_is_forgotten(indexed):
    (indexed / "pictures" / "late.png").write_text("still copying")
    assert main(COMPOSE) == 1
    Image.new("RGB", (5, 5), (9, 9, 99)).save("pictures/late.png")
    assert main(COMPOSE) == 0
    assert list((indexed / "out" / "failures").iterdir()) == []


def test_other_settings_are_refused_in_one_line(indexed, capsys):
    main(COMPOSE)
    capsys.readouterr()
    assert main([*COMPOSE, "--seed", "1"]) == 1
    err = capsys.readouterr().err
    assert "--overwrite" in err
    assert err.count("\n") == 1


def test_overwrite_keeps_the_earlier_generation(indexed):
    main(COMPOSE)
    before = rows()
    assert main([*COMPOSE, "--seed", "1", "--overwrite"]) == 0
    (earlier,) = (indexed / "out" / "generations").iterdir()
    assert rows(earlier / "compositions") == before
    assert {row["seed"] for row in rows()} == {1}


def test_rows_of_earlier_rules_are_gone_on_with_only_by_keep_or_overwrite(indexed, monkeypatch, capsys):
    main(COMPOSE)
    before = rows()
    monkeypatch.setattr("image2music.loop.chain.LOOP_VERSION", 99)
    Image.new("RGB", (5, 5), (9, 9, 99)).save("pictures/new.png")
    capsys.readouterr()
    assert main(COMPOSE) == 1
    assert capsys.readouterr().err == (
        "image2music: out holds compositions of other settings or rules. --keep: 3 rows of other settings or rules "
        "stay as they are; 1 picture is composed. --overwrite: all rows move to out/generations, and all 4 pictures "
        "are composed anew. Add one of them, or name another --output\n"
    )
    assert main([*COMPOSE, "--keep"]) == 0
    assert capsys.readouterr().err.startswith("image2music: --keep: 3 rows of other settings or rules stay as they are")
    kept = {row["image_id"]: row for row in rows()}
    assert [kept[row["image_id"]] for row in before] == before
    assert len(kept) == 4
    assert len({row["settings_hash"] for row in rows()}) == 2
    main(["status", "out"])
    assert re.search(r"by settings +[0-9a-f]{12} 3, [0-9a-f]{12} 1\n", capsys.readouterr().out)
    assert main([*COMPOSE, "--overwrite"]) == 0
    assert "--overwrite: all rows move to out/generations" in capsys.readouterr().err
    assert len({row["settings_hash"] for row in rows()}) == 1


@pytest.mark.parametrize(
    "version",
    [
        "image2music.loop.chain.LOOP_VERSION",
        "image2music.loop.chain.AUTOFIX_VERSION",
        "image2music.loop.chain.CHECK_VERSION",
        "image2music.loop.chain.COPY_VERSION",
    ],
)
def test_every_rule_that_changes_rows_is_in_their_settings(version, monkeypatch):
    before = chain.rules_version()
    monkeypatch.setattr(version, 99)
    assert chain.rules_version() != before


@pytest.mark.parametrize("other", [["--batch_size", "1"], ["--direct_num_workers", "2"]])
def test_the_same_settings_give_the_same_rows_whatever_batch_and_workers(indexed, other):
    main(COMPOSE)
    main([*COMPOSE[:6], "other", *COMPOSE[7:], *other])
    assert [without_times(row) for row in rows()] == [without_times(row) for row in rows("other/compositions")]


def test_pictures_go_through_the_models_in_real_batches(indexed, stand_ins):
    main([*COMPOSE, "--batch_size", "2"])
    assert sorted(size for call, size in stand_ins.calls if call == "write") == [1, 2]


def test_the_closing_table(indexed, capsys):
    main(COMPOSE)
    out = capsys.readouterr().out.splitlines()
    assert out[0].split("  ")[0] == "picture"
    assert out[1].startswith("blue.png")
    assert "blue.mid (both)" in out[1]
    assert "out/compositions" in out[-1]


def test_the_run_is_on_record_and_status_reads_it(indexed, capsys):
    main(COMPOSE)
    record = json.loads((indexed / "out" / "run.json").read_text())
    assert (record["state"], record["counts"]["composed"], record["settings"]["top_k"]) == ("done", 3, 3)
    assert set(record["seconds"]) == {"total", "identify", "describe", "embed", "retrieve", "compose"}
    capsys.readouterr()
    assert main(["status", "out"]) == 0
    assert "done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--images", "nowhere"], "there is no folder or file nowhere"),
        (["--images", "pictures/album"], "no pictures in pictures/album"),
        (["--index", "nothing.lance"], "no tune index at nothing.lance"),
        (["--embedder", "fake:other"], "was made with the embedder fake-embedder@1"),
        (["--embedder", "nonsense"], "is not one of conse"),
        (["--composer", "nonsense"], "is not one of nano"),
        (["--output", "captions.json/out"], "cannot write to captions.json/out"),
        (["--top_k", "0"], "--top_k must be 1 or more"),
        (["--top_k", "many"], "invalid int value: 'many'"),
        (["--rounds", "-1"], "--rounds must be 0 or more"),
        (["--topk", "3"], "there is no option --topk 3"),
    ],
)
def test_what_cannot_work_is_one_line_on_stderr(indexed, capsys, change, message):
    assert main([*COMPOSE, *change]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_an_index_made_with_another_revision_of_its_embedder_is_refused(indexed, capsys, monkeypatch):
    monkeypatch.setattr("fakes.FakeEmbedder.id", "fake-embedder@2")
    assert main(COMPOSE) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].endswith(
        "fake is fake-embedder@2; to embed it again: image2music index --index tunes.lance --embedder fake"
    )


def test_status_of_nothing(world, capsys):
    assert main(["status", "out"]) == 1
    assert "nothing has run there yet" in capsys.readouterr().err
