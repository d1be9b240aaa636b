"""Another embedder over a table that is there: the same tunes, other vectors, and no MIDI file is read."""

import shutil

import lance
import lancedb
import pytest
from fakes import EMBEDDERS, FakeEmbedder, unit

from image2music.index.table import open_index
from pipelines.cli.main import main

OTHER = ["index", "--index", "tunes.lance", "--embedder", "fake:other"]
UPDATE = ["index", "--index", "tunes.lance", "--captions", "captions.json", "--midi_root", "midi", "--update"]
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
OF_EMBEDDER = ("vector", "embedder_id", "row_hash")


class WideEmbedder(FakeEmbedder):
    """Vectors of 16 numbers."""

    id, dim = "wide-embedder@1", 16

    def embed_texts(self, texts):
        import numpy as np

        both = [np.concatenate([unit(text), unit(text)]) / np.sqrt(2) for text in texts]
        return np.array(both, dtype=np.float32).reshape(len(texts), 16)


class BrokenEmbedder(FakeEmbedder):
    id = "broken-embedder@1"

    def embed_texts(self, texts):
        if "red" in texts:
            raise ValueError("cannot read red")
        return super().embed_texts(texts)


@pytest.fixture(autouse=True)
def more_embedders(monkeypatch):
    monkeypatch.setitem(EMBEDDERS, "wide", WideEmbedder)
    monkeypatch.setitem(EMBEDDERS, "broken", BrokenEmbedder)


def rows(version=None):
    dataset = lance.dataset("tunes.lance", version=version)
    return sorted(dataset.to_table().to_pylist(), key=lambda row: row["tune_id"])


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


def test_every_tune_stays_as_it_is_but_for_its_vector_although_the_midi_files_are_gone(indexed, capsys):
    shutil.rmtree("midi")
    before = rows()
    assert main(OTHER) == 0
    assert "no MIDI was read" in capsys.readouterr().out
    assert [without(row, *OF_EMBEDDER) for row in rows()] == [without(row, *OF_EMBEDDER) for row in before]
    assert {row["embedder_id"] for row in rows()} == {"other-embedder@1"} == {open_index("tunes.lance").embedder_id}
    assert main(COMPOSE) == 0


def test_vectors_may_have_another_length_and_the_old_ones_can_be_gone_back_to(indexed, capsys):
    before, version = rows(), open_index("tunes.lance").version
    assert main([*OTHER[:-1], "fake:wide"]) == 0
    assert open_index("tunes.lance").dim == 16
    assert main(["index", "--index", "tunes.lance", "--restore", str(version)]) == 0
    assert rows() == before
    assert open_index("tunes.lance").embedder_id == "fake-embedder@1"


def test_the_rows_are_those_of_a_build_by_that_embedder(indexed):
    assert main(OTHER) == 0
    again = rows()
    assert main([*UPDATE[:-1], "--embedder", "fake:other"]) == 0
    assert rows() == again


def test_an_update_by_another_embedder_embeds_again_and_then_updates(indexed):
    (indexed / "captions.json").write_text('{"location": "red.mid", "caption": "crimson"}\n')
    assert main([*UPDATE, "--embedder", "fake:other"]) == 0
    assert [(row["caption"], row["embedder_id"]) for row in rows()] == [("crimson", "other-embedder@1")]


def test_a_column_that_a_user_added_stays(indexed):
    tunes = lancedb.connect(".").open_table("tunes")
    tunes.add_columns({"stars": "cast(null as int)"})
    tunes.update(where="location = 'red.mid'", values={"stars": 5})
    assert main([*OTHER[:-1], "fake:wide"]) == 0
    assert {row["location"]: row["stars"] for row in rows()} == {"red.mid": 5, "green.mid": None, "blue.mid": None}


def test_the_same_embedder_does_nothing(indexed, capsys):
    version = open_index("tunes.lance").version
    assert main([*OTHER[:-1], "fake"]) == 0
    assert "embedded by fake-embedder@1 already" in capsys.readouterr().out
    assert open_index("tunes.lance").version == version


def test_compose_refuses_another_embedder_and_names_the_command_that_works(indexed, capsys):
    assert main([*COMPOSE, "--embedder", "fake:other"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("embed it again: image2music index --index tunes.lance --embedder fake:other\n")
    assert said.count("\n") == 1


def test_a_row_that_cannot_be_embedded_leaves_the_table_as_it_was(indexed, capsys):
    before = rows()
    assert main([*OTHER[:-1], "fake:broken"]) == 1
    assert "1 of 3 tunes could not be embedded, and the table is as it was" in capsys.readouterr().err
    assert rows() == before


def test_tunes_with_pictures_need_the_folder_of_these(indexed, capsys):
    shutil.copy("pictures/red.png", "midi/red.png")
    (indexed / "captions.json").write_text('{"location": "red.mid", "image": "red.png"}\n')
    assert main(UPDATE) == 0
    assert main(OTHER) == 1
    assert "tunes.lance: 1 tune has a picture, which is read again: give --midi_root" in capsys.readouterr().err
    (indexed / "midi" / "red.mid").unlink()
    assert main([*OTHER, "--midi_root", "midi"]) == 0
    assert [row["embedder_id"] for row in rows()] == ["other-embedder@1"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["index", "--index", "nothing.lance", "--embedder", "fake"], "no tune index at nothing.lance"),
        ([*OTHER, "--runner=FnApiRunner"], "a table is embedded again in slices"),
    ],
)
def test_what_cannot_work_is_one_line(indexed, capsys, command, message):
    assert main(command) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
