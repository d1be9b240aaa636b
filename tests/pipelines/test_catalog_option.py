import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_midi
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
COMPOSE += ["--catalog", "shop.csv"]
UPDATE = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--update"]


@pytest.fixture
def shop(indexed):
    write("red.png,R1,blue", "gone.png,G1,")
    return indexed


def write(*rows):
    Path("shop.csv").write_text("\n".join(["image,id,hint", *rows]), encoding="utf-8")


def rows():
    return {Path(row["image_uri"]).stem: row for row in pq.read_table("out/compositions").to_pylist()}


def test_ids_and_hints_are_carried_through(shop):
    assert main(COMPOSE) == 0
    red, green = rows()["red"], rows()["green"]
    assert (red["catalog_id"], red["hint"], red["description"]) == ("R1", "blue", "blue. red")
    assert (green["catalog_id"], green["hint"], green["description"]) == (None, None, "green")


def test_wishes_are_carried_through_and_a_second_run_has_nothing_to_do(shop, capsys):
    Path("shop.csv").write_text("image,tempo,style\nred.png,slow,waltz\n", encoding="utf-8")
    assert main(COMPOSE) == 0
    wishes = {name: row["wishes"] for name, row in rows().items()}
    none = dict.fromkeys(("mood", "instruments", "bars", "length"))
    assert wishes == {"red": {"tempo": "slow", "style": "waltz", **none}, "green": None, "blue": None}
    before = rows()
    assert main(COMPOSE) == 0
    assert rows() == before


def test_a_hint_takes_part_in_the_search(shop, monkeypatch):
    asked = []
    from fakes import FakeEmbedder

    embed = FakeEmbedder.embed_texts
    monkeypatch.setattr(FakeEmbedder, "embed_texts", lambda self, texts: asked.extend(texts) or embed(self, texts))
    main(COMPOSE)
    assert "blue. red" in asked


def test_what_does_not_fit_is_counted_and_told(shop, capsys):
    main(COMPOSE)
    out = capsys.readouterr().out
    assert "2 rows in the catalogue" in out
    assert "1 row without a picture: gone.png" in out
    assert "2 pictures without a row: pictures/blue.png, pictures/green.png" in out
    counts = json.loads(Path("out/run.json").read_text())["counts"]
    assert (counts["catalog_rows_without_picture"], counts["pictures_without_catalog_row"]) == (1, 2)


def test_rows_that_do_not_keep_a_wish_are_counted_and_one_is_named(indexed, capsys):
    """So do an array job, other takes and a refresh; and nothing is said where nobody wishes."""
    compose = [*COMPOSE, "--protocol", "plan"]

    def ends(command):
        assert main(command) == 0
        counts = json.loads(Path("out/run.json").read_text())["counts"]
        return counts["wishes_unmet"], [line for line in capsys.readouterr().out.splitlines() if "a wish" in line]

    write("red.png,SKU-1,", "green.png,SKU-2,")
    assert ends(compose) == (0, [])
    Path("shop.csv").write_text("image,id,mood\nred.png,SKU-1,zzz\ngreen.png,SKU-2,zzz\n", encoding="utf-8")
    number, (line,) = ends(compose)
    assert number == 2
    assert line.startswith("2 rows do not keep a wish, such as SKU-2: mood 'zzz' is not known")
    shutil.rmtree("out")
    assert [main([*compose, "--slice", f"{part}/2"]) for part in (1, 2)] == [0, 0]
    assert ends(["finish", "out"]) == (2, [line])
    again = [word for word in compose if word not in ("--catalog", "shop.csv")]
    assert ends([*again, "--again", "--ids", "SKU-1"]) == (2, [line])
    for seed, colour in enumerate(("red", "green", "blue")):
        Path("midi", f"{colour}.mid").write_bytes(abc_to_midi(two_voice_tune(seed + 90)))
    assert main(UPDATE) == 0
    assert ends([*again, "--refresh"]) == (2, [line])


def test_only_pictures_whose_row_in_the_catalogue_changed_are_composed_again(shop, stand_ins):
    main(COMPOSE)
    before = rows()
    write("red.png,R1,blue", "green.png,G1,leaf")
    stand_ins.calls.clear()
    assert main(COMPOSE) == 0
    assert stand_ins.calls[0] == ("look", 1)
    assert len(pq.read_table("out/compositions")) == 3
    assert (rows()["green"]["catalog_id"], rows()["green"]["description"]) == ("G1", "leaf. green")
    assert rows()["red"] == before["red"]


def test_the_first_place_with_an_id_speaks_for_equal_bytes(shop):
    shutil.copy("pictures/red.png", "pictures/album/a.png")
    main(COMPOSE)
    (row,) = [row for row in rows().values() if row["catalog_id"]]
    assert row["image_uris"] == ["pictures/album/a.png", "pictures/red.png"]


def test_a_refresh_keeps_ids_and_hints(shop, capsys):
    main(COMPOSE)
    refresh = ["compose", "--refresh", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
    assert main([*refresh, "--catalog", "shop.csv"]) == 1
    assert "leave --catalog away" in capsys.readouterr().err
    assert main(refresh) == 0
    assert rows()["red"]["catalog_id"] == "R1"


@pytest.mark.parametrize("rows", [["lost.png,1,", "gone.png,2,"], []], ids=["others", "none"])
def test_a_catalogue_that_names_no_picture_ends_the_job_before_it_begins(indexed, capsys, rows):
    write(*rows)
    assert main(COMPOSE) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"image2music: none of the {len(rows)} rows of the catalogue")
    assert err.count("\n") == 1
    assert not Path("out").exists()
