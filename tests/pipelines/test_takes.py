import json
import os
import shutil
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune
from job_processes import start, wait_for

from image2music.abc.playback import abc_to_midi
from image2music.errors import ConfigError
from image2music.index.table import open_index
from image2music.settings import picture_seed
from image2music.storage import output
from image2music.storage.datasets import Dataset
from pipelines.cli.main import main
from pipelines.jobs.refresh import chosen_ids
from pipelines.runtime import job

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
AGAIN = [*COMPOSE, "--again", "--ids"]
UPDATE = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--update"]
HOW = ("seconds", "composed_at")


SOME = [
    {"image_id": "abcdef0123", "catalog_id": "SKU-014"},
    {"image_id": "abcdef0145", "catalog_id": None},
    {"image_id": "bb", "catalog_id": None},
]


def rows(folder="out/compositions"):
    read = [row for _, table in Dataset(str(folder)).tables() for row in table.to_pylist()]
    found = {row["description"]: row for row in read}
    assert len(found) == len(read)
    return found


def same_row(one, other, *but):
    return {k: v for k, v in one.items() if k not in but} == {k: v for k, v in other.items() if k not in but}


def generations():
    return sorted(Path("out/generations").glob("*"))


@pytest.fixture
def composed(indexed):
    """Three rows, by colour."""
    assert main(COMPOSE) == 0
    return rows()


@pytest.mark.slow
class TestAnotherTake:
    def test_the_named_row_alone_is_composed_with_another_seed(self, composed, stand_ins):
        red, stand_ins.calls = composed["red"], []
        assert main([*AGAIN, red["image_id"]]) == 0
        assert {size for _, size in stand_ins.calls} == {1}
        after = rows()
        for colour in ("green", "blue"):
            assert after[colour] == composed[colour]
        take = after["red"]
        assert (red["seed"], take["seed"]) == (0, 1)
        assert take["abc"] == two_voice_tune(picture_seed(1, red["image_id"]) + 100) != red["abc"]
        changed = {name for name in red if red[name] != take[name]}
        assert changed <= {
            "seed",
            "abc",
            "title",
            "midi",
            "motivation",
            "metrics",
            "critic",
            "rounds",
            "attention",
            "rights",
            *HOW,
        }
        assert take["settings_hash"] == red["settings_hash"]

    def test_takes_count_on_and_each_is_kept(self, composed):
        for number in (1, 2, 3):
            assert main([*AGAIN, composed["red"]["image_id"][:8]]) == 0
            assert rows()["red"]["seed"] == number
        kept = [rows(folder / "compositions") for folder in generations()]
        assert [list(found) for found in kept] == [["red"]] * 3
        assert [found["red"]["seed"] for found in kept] == [0, 1, 2]
        assert kept[0]["red"] == composed["red"]
        assert all(json.loads((folder / "run.json").read_text())["command"] == "compose" for folder in generations())

    def test_the_ordinary_command_leaves_takes_alone(self, composed, stand_ins, capsys):
        main([*AGAIN, composed["red"]["image_id"]])
        before, stand_ins.calls = rows(), []
        capsys.readouterr()
        assert main(COMPOSE) == 0
        assert "0 composed, 3 there before, 0 failed" in capsys.readouterr().out
        assert (rows(), stand_ins.calls) == (before, [])

    def test_a_refresh_keeps_the_seeds_of_takes(self, composed, indexed):
        main([*AGAIN, f"{composed['red']['image_id']},{composed['blue']['image_id']}"])
        takes = rows()
        (indexed / "midi" / "red.mid").write_bytes(abc_to_midi(two_voice_tune(99)))
        main(UPDATE)
        assert main([*COMPOSE, "--refresh"]) == 0
        after = rows()
        assert {row["index_version"] for row in after.values()} == {open_index("tunes.lance").version}
        assert {colour: row["seed"] for colour, row in after.items()} == {"red": 1, "green": 0, "blue": 1}
        assert after["red"]["references"] != takes["red"]["references"]
        assert after["red"]["abc"] == takes["red"]["abc"]

    def test_a_file_names_rows_one_a_line(self, composed, indexed):
        names = [composed["red"]["image_id"], "", f"  {composed['green']['image_id'][:12].upper()}  "]
        (indexed / "ids.txt").write_text("\r\n".join(names), encoding="utf-8-sig")
        assert main([*AGAIN, "ids.txt"]) == 0
        assert {colour: row["seed"] for colour, row in rows().items()} == {"red": 1, "green": 1, "blue": 0}

    def test_the_closing_table_begins_with_what_this_run_composed(self, composed, monkeypatch, capsys):
        monkeypatch.setattr(job, "MOST_ROWS", 1)
        for row in composed.values():
            capsys.readouterr()
            assert main([*AGAIN, row["image_id"]]) == 0
            _, first, more, *_ = capsys.readouterr().out.splitlines()
            assert first.startswith(os.path.basename(row["image_uri"]))
            assert more == "… and 2 more"

    def test_status_and_run_json_count_takes(self, composed, capsys):
        main([*AGAIN, f"{composed['red']['image_id']},{composed['blue']['image_id']}"])
        counts = json.loads(Path("out/run.json").read_text())["counts"]
        assert counts == {"rows": 3, "kept": 1, "composed": 2, "failed": 0, "wishes_unmet": 0}
        capsys.readouterr()
        assert main(["status", "out"]) == 0
        said = dict(line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines() if "takes" in line)
        assert said == {"takes": "2"}

    def test_a_dry_run_says_how_many_and_writes_nothing(self, composed, stand_ins, capsys):
        before, stand_ins.calls = sorted(os.walk("out")), []
        capsys.readouterr()
        assert main([*AGAIN, composed["red"]["image_id"], "--dry_run"]) == 0
        said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert (said["compose"], said["keep"]) == ("1 again, with another seed", "2, as they are")
        assert sorted(os.walk("out")) == before
        assert stand_ins.calls == []

    def test_a_picture_that_is_gone_or_replaced_keeps_its_row_and_is_a_failure(self, composed):
        os.remove("pictures/red.png")
        shutil.copy("pictures/blue.png", "pictures/green.png")
        ids = ",".join(row["image_id"] for row in composed.values())
        assert main([*AGAIN, ids, "--max_failures", "2"]) == 3
        after = rows()
        assert (after["red"], after["green"]) == (composed["red"], composed["green"])
        assert after["blue"]["seed"] == 1
        failures = {(row["stage"], row["reason"]) for row in pq.read_table("out/failures").to_pylist()}
        assert failures == {("again", "picture_missing"), ("again", "picture_replaced")}
        for place in after["blue"]["image_uris"]:
            os.remove(place)
        assert main([*AGAIN, after["blue"]["image_id"], "--max_failures", "1"]) == 3
        assert len(generations()) == 1

    def test_hints_and_parts_of_albums_stay_and_albums_are_bound_anew(self, indexed):
        (indexed / "shop.csv").write_text("image,id,hint\nred.png,R1,red\n")
        assert main([*COMPOSE, "--album", "--catalog", "shop.csv"]) == 0
        read = {row["catalog_id"]: row for row in pq.read_table("out/compositions").to_pylist()}
        book = Path("out/books").glob("*/album.abc")
        before = next(book).read_text()
        assert main([*AGAIN, "R1", "--album"]) == 0
        after = {row["catalog_id"]: row for row in pq.read_table("out/compositions").to_pylist()}
        assert after["R1"]["seed"] == 1
        assert same_row(
            after["R1"],
            read["R1"],
            "seed",
            "abc",
            "title",
            "midi",
            "motivation",
            "metrics",
            "critic",
            "rounds",
            "rights",
            *HOW,
        )
        assert next(Path("out/books").glob("*/album.abc")).read_text() != before

    def test_rows_of_other_settings_need_keep(self, composed, capsys):
        red = composed["red"]["image_id"]
        capsys.readouterr()
        assert main([*AGAIN, red, "--top_k", "2"]) == 1
        assert "holds compositions of other settings" in capsys.readouterr().err
        assert main([*AGAIN, red, "--top_k", "2", "--keep"]) == 0
        after = rows()
        assert after["red"]["settings_hash"] != after["blue"]["settings_hash"] == composed["red"]["settings_hash"]

    @pytest.mark.parametrize("step", range(1, 9))
    def test_what_is_killed_while_takes_are_put_in_place_is_finished_by_the_same_command(self, composed, indexed, step):
        real, calls, ids = os.replace, [], f"{composed['red']['image_id']},{composed['blue']['image_id']}"

        def killed(source, target):
            if (indexed / "out" / ".refresh" / "complete.json").exists():
                calls.append(source)
                if len(calls) == step:
                    raise KeyboardInterrupt
            real(source, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(output.os, "replace", killed)
            main([*AGAIN, ids])
        seeds = {colour: row["seed"] for colour, row in rows().items()}
        assert seeds in ({"red": 0, "green": 0, "blue": 0}, {"red": 1, "green": 0, "blue": 1})
        if len(calls) >= step:
            assert main([*AGAIN, ids]) == 0
        assert {colour: row["seed"] for colour, row in rows().items()} == {"red": 1, "green": 0, "blue": 1}
        (earlier,) = generations()
        found = rows(earlier / "compositions")
        assert found == {colour: composed[colour] for colour in ("red", "blue")}
        assert main([*AGAIN, ids]) == 0
        assert {colour: row["seed"] for colour, row in rows().items()} == {"red": 2, "green": 0, "blue": 2}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                ["--ids", "0123456789abcdef"],
                "no row has the catalog_id '0123456789abcdef'",
            ),
            (
                ["--ids", "0123456"],
                "or an image_id that begins so (at least 8 hex digits)",
            ),
            (["--ids", "chosen.txt"], "--ids: there is no file chosen.txt, nor a row with this catalog_id"),
            (["--ids", ","], "--ids: there is no id in ,"),
        ],
    )
    def test_ids_that_no_row_has_are_one_line_before_anything_runs(self, composed, stand_ins, capsys, options, message):
        before, stand_ins.calls = sorted(os.walk("out")), []
        capsys.readouterr()
        assert main([*COMPOSE, "--again", *options]) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
        assert (sorted(os.walk("out")), stand_ins.calls) == (before, [])


@pytest.mark.process
def test_takes_of_a_killed_run_are_gone_on_with(indexed):
    slow = [*COMPOSE[:-1], "fake:0.4", "--batch_size", "1"]
    assert main(slow) == 0
    before = rows()
    ids = ",".join(row["image_id"] for row in before.values())
    running = start([*slow, "--again", "--ids", ids], indexed)
    wait_for(lambda: json.loads(Path("out/run.json").read_text()).get("takes"))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert rows() == before
    assert main([*slow, "--again", "--ids", ids]) == 0
    assert {row["seed"] for row in rows().values()} == {1}
    (earlier,) = generations()
    assert rows(earlier / "compositions") == before


@pytest.mark.parametrize(
    "bad",
    [
        ["--again"],
        ["--ids", "0123456789abcdef"],
        ["--again", "--ids", "0123456789abcdef", "--refresh"],
        ["--again", "--ids", "0123456789abcdef", "--overwrite"],
        ["--again", "--ids", "0123456789abcdef", "--catalog", "shop.csv"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_one_line(bad, capsys):
    assert main([*COMPOSE, *bad]) == 1
    err = capsys.readouterr().err
    assert "--again" in err
    assert err.count("\n") == 1


def test_a_beginning_that_several_rows_have_is_refused():
    with pytest.raises(Exception, match="several rows have an image_id that begins with abcdef01"):
        chosen_ids("abcdef01", SOME)
    assert chosen_ids("abcdef012,abcdef0145", SOME) == {"abcdef0123", "abcdef0145"}


def test_a_catalog_id_names_its_rows_and_wins_where_it_is_the_beginning_of_another_id():
    assert chosen_ids("SKU-014", SOME) == {"abcdef0123"}
    assert chosen_ids("abcdef0145", [*SOME, {"image_id": "cc", "catalog_id": "abcdef0145"}]) == {"cc"}
    with pytest.raises(ConfigError, match="no row has the catalog_id 'sku-014'"):
        chosen_ids("sku-014", SOME)


def test_a_catalog_id_of_several_rows_names_them_all():
    assert chosen_ids("SET", [{"image_id": id, "catalog_id": "SET"} for id in ("aa", "bb")]) == {"aa", "bb"}


def test_what_a_file_names_and_no_row_has_is_one_line_and_left_out(tmp_path, capsys):
    (tmp_path / "again.txt").write_text("SKU-014\n00000000\nSKU-099\n")
    assert chosen_ids(str(tmp_path / "again.txt"), SOME) == {"abcdef0123"}
    said = capsys.readouterr().err
    assert said.endswith("again.txt names what no row has (any more), left out: 00000000, SKU-099\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["", "\n \n", "00000000\n"])
def test_a_file_that_names_no_row_is_nothing_to_do(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    Path("again.txt").write_text(text)
    assert main([*AGAIN, "again.txt"]) == 0
    assert capsys.readouterr().out == "nothing to do: no row of out is named in again.txt\n"
    assert [path.name for path in tmp_path.iterdir()] == ["again.txt"]
