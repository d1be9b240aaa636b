"""After a twentieth of the tunes changed, exactly the pictures whose references changed are composed again."""

import json

import lance
import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import FakeEmbedder, two_voice_tune, unit
from PIL import Image

from image2music.abc.playback import abc_to_midi
from image2music.index.table import open_index
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

TUNES, PICTURES, TOP_K = 100, 40, 2
INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance"]
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
COMPOSE += ["--top_k", str(TOP_K)]


def write_captions(captions):
    with open("captions.json", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"location": name, "caption": text}) + "\n" for name, text in captions.items())


def write_tune(path, seed):
    path.write_bytes(abc_to_midi(two_voice_tune(seed, bars=2)))


@pytest.fixture
def captions(tmp_path, monkeypatch):
    """The captions of a hundred tunes, in whose folder the test runs, with forty pictures of as many colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        FakeEmbedder,
        "embed_images",
        lambda self, images: np.array([unit(str(image.getpixel((0, 0)))) for image in images]),
    )
    for folder in ("midi", "pictures"):
        (tmp_path / folder).mkdir()
    for number in range(TUNES):
        write_tune(tmp_path / "midi" / f"{number}.mid", number)
    for number in range(PICTURES):
        colour = tuple(int(part) for part in np.random.default_rng(number).integers(0, 256, 3))
        Image.new("RGB", (8, 8), colour).save(tmp_path / "pictures" / f"{number}.png")
    return {f"{number}.mid": f"tune number {number}" for number in range(TUNES)}


def rows():
    return {row["image_id"]: row for row in pq.read_table("out/compositions").to_pylist()}


def tunes_of(version):
    return lance.dataset("tunes.lance", version=version).to_table(columns=["tune_id", "row_hash", "vector"]).to_pylist()


def references_by_brute_force(tunes, row):
    """row_hash of every reference, best first, from all cosines and the written rule."""
    score, first = {}, {}
    for search in ("description_embedding", "image_embedding"):
        query = np.array(row[search], dtype=np.float64)
        nearest = sorted(tunes, key=lambda tune: (-float(np.array(tune["vector"]) @ query), tune["tune_id"]))
        for rank, tune in enumerate(nearest[:TOP_K], start=1):  # no two of these tunes are the same music
            score[tune["row_hash"]] = score.get(tune["row_hash"], 0) + 1 / (60 + rank)
            first.setdefault(tune["row_hash"], (search != "description_embedding", tune["tune_id"]))
    return sorted(score, key=lambda found: (-score[found], first[found]))


def test_exactly_the_pictures_with_other_references_are_composed_again(captions, tmp_path, stand_ins, capsys):
    write_captions(captions)
    assert main([*INDEX, "--embedder", "fake"]) == 0
    assert main(COMPOSE) == 0
    before, old = rows(), tunes_of(open_index("tunes.lance").version)

    for number in (11, 22):  # two tunes with other notes, one with another caption, one gone, one new
        write_tune(tmp_path / "midi" / f"{number}.mid", 1000 + number)
    write_tune(tmp_path / "midi" / "new.mid", 2000)
    captions["33.mid"] = "a caption of its own"
    del captions["44.mid"]
    write_captions(captions | {"new.mid": "tune number 44"})
    assert main([*INDEX, "--update"]) == 0
    version = open_index("tunes.lance").version
    new = tunes_of(version)

    expected = {
        key for key, row in before.items() if references_by_brute_force(old, row) != references_by_brute_force(new, row)
    }
    assert 2 <= len(expected) <= PICTURES // 2
    for key, row in before.items():
        assert [found["row_hash"] for found in row["references"]] == references_by_brute_force(old, row), key

    stand_ins.calls.clear()
    capsys.readouterr()
    assert main([*COMPOSE, "--refresh", "--plan"]) == 0
    assert f"{len(expected)} again, for their references changed" in capsys.readouterr().out
    assert stand_ins.calls == []

    assert main([*COMPOSE, "--refresh"]) == 0
    after = rows()
    assert sum(size for call, size in stand_ins.calls if call == "look") == len(expected)
    assert {key for key, row in after.items() if row["composed_at"] != before[key]["composed_at"]} == expected
    for key, row in after.items():
        assert [found["row_hash"] for found in row["references"]] == references_by_brute_force(new, row), key
        if key not in expected:
            assert row == before[key] | {"index_version": version}
