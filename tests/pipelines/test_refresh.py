import json
import os
import shutil

import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_midi
from image2music.index.table import open_index
from image2music.storage import output
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
COMPOSE += ["--top_k", "1"]
REFRESH = ["compose", "--index", "tunes.lance", "--output", "out", "--composer", "fake", "--top_k", "1", "--refresh"]
UPDATE = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--update"]


def rows(folder="out/compositions"):
    return {row["description"]: row for row in pq.read_table(folder).to_pylist()}


def without(row, *names):
    return {name: value for name, value in row.items() if name not in ("seconds", "composed_at", *names)}


@pytest.fixture
def changed(indexed, stand_ins):
    """Composed with one version of the index, in whose next one the red tune is another."""
    assert main(COMPOSE) == 0
    (indexed / "midi" / "red.mid").write_bytes(abc_to_midi(two_voice_tune(99)))
    assert main(UPDATE) == 0
    stand_ins.calls.clear()
    return indexed


def test_only_rows_whose_references_changed_are_composed_again(changed, stand_ins):
    before = rows()
    assert main(REFRESH) == 0
    assert {size for call, size in stand_ins.calls if call in ("look", "write")} == {1}
    after = rows()
    version = open_index("tunes.lance").version
    assert {row["index_version"] for row in after.values()} == {version}
    for colour in ("green", "blue"):
        assert without(after[colour], "index_version") == without(before[colour], "index_version")
        assert after[colour]["composed_at"] == before[colour]["composed_at"]
    assert after["red"]["references"][0]["row_hash"] != before["red"]["references"][0]["row_hash"]


def test_the_rows_are_those_of_a_fresh_run(changed):
    assert main(REFRESH) == 0
    assert main([*COMPOSE[:6], "fresh", *COMPOSE[7:]]) == 0
    fresh = rows("fresh/compositions")
    assert {name: without(row) for name, row in rows().items()} == {name: without(row) for name, row in fresh.items()}


def test_the_earlier_generation_is_kept(changed):
    before, record = rows(), (changed / "out" / "run.json").read_bytes()
    main(REFRESH)
    (earlier,) = (changed / "out" / "generations").iterdir()
    assert rows(earlier / "compositions") == before
    assert (earlier / "run.json").read_bytes() == record
    counts = json.loads((changed / "out" / "run.json").read_text())["counts"]
    assert counts == {"rows": 3, "kept": 2, "composed": 1, "failed": 0, "wishes_unmet": 0}
    assert not (changed / "out" / ".refresh").exists()


def test_a_plan_says_how_many_and_what_they_cost_and_writes_nothing(changed, stand_ins, capsys):
    before = sorted(os.walk("out"))
    capsys.readouterr()
    assert main([*REFRESH, "--plan"]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["compose"].startswith("1 again")
    assert said["keep"].startswith("2, of which 0")
    assert said["cost"].startswith("about ")
    assert sorted(os.walk("out")) == before
    assert stand_ins.calls == []


def test_a_second_refresh_has_nothing_to_do(changed, stand_ins, capsys):
    main(REFRESH)
    stand_ins.calls.clear()
    capsys.readouterr()
    assert main(REFRESH) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert stand_ins.calls == []
    assert len(list((changed / "out" / "generations").iterdir())) == 1


def test_a_picture_that_is_gone_keeps_its_row_and_is_a_failure(changed):
    before = rows()["red"]
    os.remove("pictures/red.png")
    assert main([*REFRESH, "--max_failures", "1"]) == 3
    assert rows()["red"] == before
    (failure,) = pq.read_table("out/failures").to_pylist()
    assert (failure["stage"], failure["reason"]) == ("refresh", "picture_missing")


def test_a_place_that_holds_another_picture_by_now_gives_no_row(changed):
    before = rows()["red"]
    shutil.copy("pictures/blue.png", "pictures/red.png")
    assert main([*REFRESH, "--max_failures", "1"]) == 3
    assert rows()["red"] == before
    assert len(rows()) == 3
    (failure,) = pq.read_table("out/failures").to_pylist()
    assert (failure["uri"], failure["reason"]) == ("pictures/red.png", "picture_replaced")


@pytest.mark.parametrize("step", range(1, 6))
def test_a_refresh_that_is_killed_while_it_moves_folders_is_finished_by_the_next_run(changed, monkeypatch, step):
    real, calls = os.replace, []

    def killed(source, target):
        if (changed / "out" / ".refresh" / "complete.json").exists():
            calls.append(source)
            if len(calls) == step:
                raise KeyboardInterrupt
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output.os, "replace", killed)
        patch.chdir(changed)
        main([*REFRESH[:4], str(changed / "out"), *REFRESH[5:]])
    main(REFRESH)
    assert {row["index_version"] for row in rows().values()} == {open_index("tunes.lance").version}
    assert len(pq.read_table("out/compositions")) == 3
    (earlier,) = (changed / "out" / "generations").iterdir()
    assert len(rows(earlier / "compositions")) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "1"], "holds compositions of other settings"),
        (["--output", "nothing"], "holds no compositions to refresh"),
        (["--overwrite"], "give one of them"),
    ],
)
def test_what_cannot_work_is_one_line_on_stderr(changed, capsys, change, message):
    capsys.readouterr()
    assert main([*REFRESH, *change]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_hints_and_parts_of_albums_outlive_a_refresh(indexed):
    (indexed / "shop.csv").write_text("image,id,hint\nred.png,R1,red\n")
    assert main([*COMPOSE, "--album", "--catalog", "shop.csv"]) == 0
    (indexed / "midi" / "red.mid").write_bytes(abc_to_midi(two_voice_tune(99)))
    assert main(UPDATE) == 0
    before = pq.read_table("out/compositions").to_pylist()
    assert main([*REFRESH, "--album"]) == 0
    after = {row["image_id"]: row for row in pq.read_table("out/compositions").to_pylist()}
    changed = [row for row in before if row["composed_at"] != after[row["image_id"]]["composed_at"]]
    assert [row["catalog_id"] for row in changed] == ["R1"]
    for row in before:
        for name in ("catalog_id", "hint", "album_part", "description"):
            assert after[row["image_id"]][name] == row[name]
    assert len(pq.read_table("out/albums").to_pylist()[0]["image_ids"]) == 3
