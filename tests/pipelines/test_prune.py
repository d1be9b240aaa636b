"""`compose --prune`: rows whose pictures are gone are put away, never lost, and never by mistake."""

import os
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from job_processes import noise_pictures
from PIL import Image

from image2music.storage.datasets import Dataset
from image2music.storage.output import open_output
from image2music.storage.pruned import pruned_rows
from pipelines.cli.main import main
from pipelines.jobs.prune import coverage
from pipelines.runtime.environment import EXIT_INTERRUPTED

COMPOSE = ["compose", "--images", "photos", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
ASIDE = "out/generations/pruned"


@pytest.fixture(scope="module")
def composed_once(made_once, tmp_path_factory):
    """Thirty pictures that were composed; the first lies in two places."""
    home = tmp_path_factory.mktemp("composed") / "world"
    shutil.copytree(made_once, home)
    noise_pictures(home / "photos", 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        shutil.copy("photos/00000.png", "photos/again.png")
        assert main(COMPOSE) == 0
    return home


@pytest.fixture
def photos(composed_once, tmp_path, monkeypatch):
    """The folder of these pictures, in a world of its own."""
    home = tmp_path / "world"
    shutil.copytree(composed_once, home)
    monkeypatch.chdir(home)
    return home / "photos"


def rows(folder="out"):
    return {row["image_id"]: row for row in open_output(folder).compositions.read(["image_id", "image_uris", "abc"])}


def whole_rows(folder="out"):
    return {row["image_id"]: row for row in pq.read_table(f"{folder}/compositions").to_pylist()}


def places(folder="out"):
    return {uri for row in rows(folder).values() for uri in row["image_uris"]}


def counts():
    return open_output("out").run.read()["counts"]


def pruned():
    return counts()["pruned"]


def test_the_row_of_a_picture_that_is_gone_is_moved_to_a_generation_of_its_own(photos, capsys):
    before = whole_rows()
    (photos / "00007.png").unlink()
    assert main([*COMPOSE, "--prune"]) == 0
    assert "1 row of a picture that is gone was moved to out/generations/pruned" in capsys.readouterr().out
    assert (len(rows()), pruned()) == (29, 1)
    assert before == whole_rows() | whole_rows(ASIDE)
    assert main(["export", "--input", ASIDE, "--output", "there"]) == 0
    assert len([*Path("there").glob("*.abc"), *Path("there").glob("*.mid")]) == 2


def test_status_counts_pruned_rows_until_their_pictures_are_back(photos, capsys):
    shutil.move(photos / "00007.png", "kept.png")
    main([*COMPOSE, "--prune"])
    capsys.readouterr()
    main(["status", "out"])
    assert "pruned 1" in " ".join(capsys.readouterr().out.split())
    shutil.move("kept.png", photos / "00007.png")
    assert main([*COMPOSE, "--prune"]) == 0
    assert pruned_rows(open_output("out")) == 0


def test_rows_that_were_put_away_are_restored_by_copying_their_shards(photos):
    before = rows()
    os.rename(photos / "00007.png", "kept.png")
    main([*COMPOSE, "--prune"])
    os.rename("kept.png", photos / "00007.png")
    shutil.copytree(f"{ASIDE}/compositions", "out/compositions", dirs_exist_ok=True)
    assert rows() == before
    assert main(COMPOSE) == 0
    assert counts()["composed"] == 0


def test_without_the_option_nothing_goes(photos):
    (photos / "00007.png").unlink()
    assert main(COMPOSE) == 0
    assert len(rows()) == 30
    assert "pruned" not in counts()


def test_a_row_that_has_lost_one_of_its_places_keeps_the_others(photos):
    (photos / "00000.png").unlink()
    assert main([*COMPOSE, "--prune"]) == 0
    assert (len(rows()), pruned()) == (30, 0)
    (row,) = [row for row in whole_rows().values() if "photos/again.png" in row["image_uris"]]
    assert (row["image_uri"], row["image_uris"]) == ("photos/again.png", ["photos/again.png"])


@pytest.mark.parametrize("way", [[], ["--runner=FnApiRunner"]])
def test_a_picture_that_was_moved_keeps_its_row_with_its_new_place(photos, way):
    (photos / "trip").mkdir()
    (photos / "00007.png").rename(photos / "trip" / "first.png")
    assert main([*COMPOSE, "--prune", *way]) == 0
    assert (len(rows()), pruned()) == (30, 0)
    (row,) = [row for row in whole_rows().values() if row["image_uri"] == "photos/trip/first.png"]
    assert row["album"] == "photos/trip"


@pytest.mark.parametrize("way", [[], ["--runner=FnApiRunner"]])
def test_where_another_picture_lies_now_the_row_of_the_earlier_one_goes(photos, way):
    (earlier,) = [id for id, row in rows().items() if row["image_uris"] == ["photos/00007.png"]]
    Image.new("RGB", (9, 9), "pink").save(photos / "00007.png")
    assert main([*COMPOSE, "--prune", *way]) == 0
    assert earlier not in rows() and rows(ASIDE).keys() == {earlier}
    assert (len(rows()), "photos/00007.png" in places()) == (30, True)


def test_more_than_a_tenth_goes_only_with_all(photos, capsys):
    for number in range(4, 8):
        (photos / f"{number:05}.png").unlink()
    assert main([*COMPOSE, "--prune"]) == 1
    assert "4 of 30 rows have lost their pictures, more than a tenth" in capsys.readouterr().err
    assert len(rows()) == 30
    assert main([*COMPOSE, "--prune", "all"]) == 0
    assert (len(rows()), len(rows(ASIDE))) == (26, 4)


def test_pictures_outside_of_what_the_run_looks_at_are_not_missed(photos):
    shutil.copytree("pictures", "more")
    for path in (photos / "00007.png", photos / "00008.png"):
        path.unlink()
    assert main([*COMPOSE, "--prune", "all", "--images", "more"]) == 0
    assert {"photos/00007.png", "photos/00008.png"} <= places()
    assert main([*COMPOSE, "--prune", "--images", "photos/0000*.png"]) == 0
    assert not {"photos/00007.png", "photos/00008.png"} & places()


def test_a_place_that_one_run_does_not_look_at_keeps_the_row(photos):
    os.mkdir("elsewhere")
    shutil.copy("photos/00007.png", "elsewhere/00007.png")
    with open("list", "w") as file:
        print("photos/00007.png\nelsewhere/00007.png", file=file)
    for path in ("out/compositions", "out/.places"):
        shutil.rmtree(path)
    assert main([*COMPOSE, "--images", "@list"]) == 0
    os.unlink("photos/00007.png")
    assert main([*COMPOSE, "--prune", "all"]) == 0
    assert "elsewhere/00007.png" in places() and "photos/00007.png" not in places()


def test_a_list_misses_what_is_gone_and_not_what_it_does_not_name(photos):
    with open("list", "w") as file:
        print("photos/00001.png\nphotos/00002.png", file=file)
    (photos / "00002.png").unlink()
    (photos / "00003.png").unlink()
    assert main([*COMPOSE, "--prune", "--images", "@list", "--max_failures", "1"]) == 3
    assert (len(rows()), len(rows(ASIDE))) == (28, 2)


def test_an_empty_listing_is_no_reason(photos, capsys):
    for path in photos.iterdir():
        path.unlink()
    assert main([*COMPOSE, "--prune", "all"]) == 1
    assert "no pictures" in capsys.readouterr().err
    assert len(rows()) == 30


def test_where_nobody_can_tell_nothing_goes(photos, monkeypatch, capsys):
    (photos / "00007.png").unlink()

    def stale(path):
        raise OSError(116, "Stale file handle", path)

    monkeypatch.setattr("pipelines.jobs.prune.os.lstat", stale)
    assert main([*COMPOSE, "--prune", "all"]) == 1
    assert "nothing is pruned, for nobody can tell what is gone" in capsys.readouterr().err
    assert len(rows()) == 30


def test_a_dry_run_names_them_and_does_nothing(photos, capsys):
    (photos / "00007.png").unlink()
    (photos / "again.png").unlink()
    assert main([*COMPOSE, "--prune", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert (
        "prune       at most 1 row; those of pictures that were only moved stay" in said
        and " photos/00007.png" in said
        and "1 row has lost some" in said
    )
    assert len(rows()) == 30 and not os.path.exists(ASIDE)


@pytest.mark.parametrize("step", ["append_table", "replace_all", "finish_replacing"])
def test_a_kill_in_the_middle_loses_nothing_and_the_same_command_goes_on(photos, monkeypatch, step):
    before = rows()
    for number in (7, 8):
        (photos / f"{number:05}.png").unlink()
    work, calls = getattr(Dataset, step), []

    def killed(self, *more):
        if self.uri.endswith("compositions") and os.path.exists("out/.pruning.json"):
            calls.append(self.uri)
            if len(calls) == (2 if step == "finish_replacing" else 1):
                raise KeyboardInterrupt
        return work(self, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, step, killed)
        assert main([*COMPOSE, "--prune"]) == EXIT_INTERRUPTED
    assert rows(ASIDE) | rows() == before
    assert main([*COMPOSE, "--prune"]) == 0
    assert os.listdir("out/generations") == ["pruned"]
    assert rows(ASIDE) | rows() == before
    assert (len(rows()), len(rows(ASIDE))) == (28, 2)


@pytest.mark.parametrize(
    "other", [["--refresh"], ["--again", "--ids", "0" * 8], ["--slice", "1/2"]], ids=lambda other: other[0]
)
def test_it_goes_by_a_listing_of_all_pictures(world, other, capsys):
    assert main([*COMPOSE, "--prune", *other]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_members_of_a_tar_file_go_where_it_has_them_no_longer_and_not_where_it_broke(indexed):
    noise_pictures(indexed / "loose", 12)

    def pack(names):
        with tarfile.open("photos.tar", "w") as tar:
            for name in names:
                tar.add(f"loose/{name}", name)

    names = sorted(os.listdir("loose"))
    pack(names)
    compose = [*COMPOSE, "--images", "photos.tar"]
    assert main(compose) == 0
    pack(names[:-1])
    whole = Path("photos.tar").read_bytes()
    Path("photos.tar").write_bytes(whole[: len(whole) // 2 + 100])
    main([*compose, "--prune", "all", "--max_failures", "99"])
    assert len(rows()) == 12
    Path("photos.tar").write_bytes(whole)
    assert main([*compose, "--prune"]) == 0
    assert len(rows()) == 11


def test_albums_are_bound_without_them(indexed):
    noise_pictures(indexed / "photos" / "sea", 10)
    noise_pictures(indexed / "photos" / "wood", 4)
    Image.new("RGB", (9, 9), "pink").save("photos/wood/pink.png")
    compose = [*COMPOSE, "--album"]
    assert main(compose) == 0
    os.unlink("photos/wood/pink.png")
    assert main([*compose, "--prune"]) == 0
    albums = {row["album"]: row for row in open_output("out").albums.read(["album", "image_uris"])}
    assert sum(len(row["image_uris"]) for row in albums.values()) == len(rows()) == 10


def test_what_a_run_looks_at():
    assert coverage("photos/", [])("photos/sea/1.jpg")
    assert coverage("./photos", [])("photos/a.tar#1.jpg")
    assert not coverage("photos", [])("photos 2/1.jpg")
    assert coverage("photos/*.jpg", [])("photos/1.jpg")
    assert not coverage("photos/*.jpg", [])("photos/sea/1.jpg")
    assert coverage("photos/**/*.jpg", [])("photos/sea/far/1.jpg")
    assert coverage("s3://bucket/photos", [])("s3://bucket/photos/1.jpg")
    assert not coverage("s3://bucket/photos", [])("photos/1.jpg")
    assert coverage("@list", ["photos/1.jpg"])("photos/2.jpg")
    assert not coverage("@list", ["photos/1.jpg"])("photos/sea/2.jpg")
