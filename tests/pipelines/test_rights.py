"""The command `rights`: passports of rows on a disk or in a store, of this release and the one before."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.cli.main import main

RELEASE_1 = Path(__file__).parents[1] / "fixtures" / "release_1"
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


def rows(output="out"):
    return {row["description"]: row for row in pq.read_table(f"{output}/compositions").to_pylist()}


def passports(capsys, *options, output="out"):
    capsys.readouterr()
    assert main(["rights", "--input", output, *options]) == 0
    return capsys.readouterr().out


def test_a_row_says_who_made_it_under_which_licences_and_how_much_it_shares(indexed):
    assert main([*COMPOSE, "--composer_licence", "house rules"]) == 0
    for row in rows().values():
        rights = row["rights"]
        assert rights["made_by_ai"]
        assert rights["digital_source_type"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
        assert (rights["composer"], rights["composer_licence"]) == ("fake-composer@1", "house rules")
        assert rights["embedder_licence"] is None
        assert [one["tune_id"] for one in rights["references"]] == [one["tune_id"] for one in row["references"]]
        run = rights["copied_run"]
        assert run is None or run["location"] in {one["location"] for one in row["references"]}
    assert json.loads(Path("out/run.json").read_text())["licences"] == {"composer": "house rules", "embedder": None}


def test_a_licence_that_is_given_later_makes_no_row_anew(indexed, stand_ins):
    assert main(COMPOSE) == 0
    before = rows()
    assert main([*COMPOSE, "--composer_licence", "house rules"]) == 0
    assert rows() == before


def test_a_passport_is_printed_for_each_row_or_for_those_that_are_named(indexed, capsys):
    assert main(COMPOSE) == 0
    red = rows()["red"]
    text = passports(capsys)
    assert len(text.split("\n\n")) == 3
    (one,) = passports(capsys, "--ids", red["image_id"][:8]).split("\n\n")
    assert one.splitlines()[0] == red["title"]
    assert "trainedAlgorithmicMedia" in one and "fake-composer; licence: not known" in one
    assert all(reference["location"] in one for reference in red["references"])
    lines = passports(capsys, "--json").splitlines()
    assert {json.loads(line)["image_id"] for line in lines} == {row["image_id"] for row in rows().values()}


@pytest.mark.parametrize("options", [[], ["--top_k", "1", "--seed", "7", "--where", "caption <> 'blue'"]])
def test_the_command_of_a_passport_makes_the_same_tune_again(indexed, capsys, options):
    assert main([*COMPOSE, *options]) == 0
    red = rows()["red"]
    said = passports(capsys, "--ids", red["image_id"])
    command, version = re.search(
        r"^again +image2music (.+)  \(needs version (\d+) of the index\)$", said, re.M
    ).groups()
    assert int(version) == red["index_version"]
    assert main(shlex.split(command)) == 0
    (again,) = rows("AGAIN").values()
    for name in ("abc", "midi", "plan", "settings_hash", "seed", "rights"):
        assert again[name] == red[name], name


def test_another_take_is_made_again_by_its_own_seed(indexed, capsys):
    assert main(COMPOSE) == 0
    red = rows()["red"]["image_id"]
    assert main([*COMPOSE, "--again", "--ids", red]) == 0
    said = passports(capsys, "--ids", red)
    command = re.search(r"^again +image2music (.+)  \(", said, re.M)[1]
    assert "--seed 1" in command
    assert main(shlex.split(command)) == 0
    assert rows("AGAIN")["red"]["abc"] == rows()["red"]["abc"]


def test_the_command_holds_only_what_changes_a_tune(indexed, capsys):
    more = ["--prune", "--album", "--chapter_gap", "3h", "--keep", "--log_json", "log.jsonl", "--top_k", "1"]
    assert main([*COMPOSE, *more]) == 0
    command = re.search(r"^again +image2music (.+?)  \(", passports(capsys), re.M)[1]
    assert {word for word in shlex.split(command) if word.startswith("--")} == {
        "--images", "--index", "--output", "--seed", "--composer", "--top_k",
    }  # fmt: skip
    assert main(shlex.split(command)) == 0


def test_a_row_is_found_by_its_catalog_id_which_the_passport_names(indexed, capsys):
    (indexed / "shop.csv").write_text("image,id\nred.png,SKU-014\n")
    assert main([*COMPOSE, "--catalog", "shop.csv"]) == 0
    (one,) = passports(capsys, "--ids", "SKU-014").split("\n\n")
    assert re.search(r"^catalog_id +SKU-014$", one, re.M)
    assert passports(capsys).count("catalog_id") == 1


def test_a_row_that_was_pruned_or_replaced_has_a_passport_that_says_where_it_lies(indexed, capsys):
    assert main(COMPOSE) == 0
    red, blue = rows()["red"], rows()["blue"]
    assert main([*COMPOSE, "--again", "--ids", blue["image_id"]]) == 0
    for place in red["image_uris"]:
        Path(place).unlink()
    assert main([*COMPOSE, "--prune", "all"]) == 0
    (gone,) = passports(capsys, "--ids", red["image_id"]).split("\n\n")
    assert re.search("^lies in +out/generations/pruned$", gone, re.M)
    now, before = passports(capsys, "--ids", blue["image_id"]).split("\n\n")
    assert "lies in" not in now
    assert re.search("^lies in +out/generations/takes$", before, re.M)
    lines = passports(capsys, "--json", "--ids", blue["image_id"]).splitlines()
    assert [json.loads(line)["lies_in"] for line in lines] == ["out", "out/generations/takes"]


def test_a_generation_knows_the_runs_into_the_output_above_it(indexed, capsys):
    assert main(COMPOSE) == 0
    for place in rows()["red"]["image_uris"]:
        Path(place).unlink()
    assert main([*COMPOSE, "--prune", "all"]) == 0
    assert not Path("out/generations/pruned/run.json").exists()
    said = passports(capsys, output="out/generations/pruned")
    assert "no record" not in said and "--composer fake " in said and "lies in" not in said


def test_where_no_record_of_the_run_is_left_the_row_alone_says_what_it_can(indexed, capsys):
    assert main(COMPOSE) == 0
    Path("out/run.json").unlink()
    said = passports(capsys)
    assert "--composer fake-composer" in said
    assert "the run's own options, of which no record is left" in said


def test_rows_of_the_release_before_have_a_passport_too(tmp_path, capsys):
    shutil.copytree(RELEASE_1, tmp_path / "release")
    said = passports(capsys, output=str(tmp_path / "release" / "out"))
    assert len(said.split("\n\n")) == 3
    assert said.count("trainedAlgorithmicMedia") == 3
    assert said.count("licence: Apache-2.0; learned from music in the public domain or under CC0") == 3
    assert "notes in a row at most" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "nowhere"], "nowhere holds no compositions"),
        (
            ["--input", "out", "--ids", "00000000"],
            "--ids: no row has the catalog_id '00000000'",
        ),
        (
            ["--input", "out", "--ids", "x"],
            "or an image_id that begins so (at least 4 hex digits)",
        ),
        ([], "the following arguments are required: --input"),
    ],
)
def test_what_cannot_work_is_one_line(indexed, capsys, options, message):
    assert main(COMPOSE) == 0
    capsys.readouterr()
    assert main(["rights", *options]) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
