"""Beam's vector sink with the tune index behind it."""

import apache_beam as beam
import lance
import pytest
from apache_beam.ml.rag.ingestion.base import VectorDatabaseWriteTransform
from apache_beam.ml.rag.types import Content, EmbeddableItem, Embedding
from fakes import DIM, unit

from image2music.index.table import index_schema, open_index
from transforms.shards import TuneIndexConfig, TuneUpdateConfig

SCHEMA = index_schema(DIM, embedder_id="fake@1", embedder_spec="fake")


def item(name, caption="a caption"):
    """What any pipeline that embeds may hand over: plain lists of floats do."""
    texts = dict.fromkeys(("tune_id", "location", "abc", "music_id", "row_hash"), name)
    others = {"key": "C", "meter": "4/4", "tempo_qpm": 96.0, "embedder_id": "fake@1"}
    return EmbeddableItem(
        Content(text=caption),
        id=name,
        metadata=texts | others | {"caption": caption},
        embedding=Embedding(dense_embedding=unit(caption).tolist()),
    )


def write(config, items):
    with beam.Pipeline("FnApiRunner") as pipeline:
        pipeline | beam.Create(items) | VectorDatabaseWriteTransform(config)


def rows(uri):
    return {row["tune_id"]: row["caption"] for row in lance.dataset(uri).to_table().to_pylist()}


@pytest.fixture
def uri(tmp_path):
    uri = str(tmp_path / "tunes.lance")
    write(TuneIndexConfig(uri, SCHEMA), [item("a"), item("b"), item("c")])
    return uri


def test_items_become_rows_with_their_ids_and_vectors(uri):
    assert rows(uri) == dict.fromkeys("abc", "a caption")
    (found,) = {tuple(vector) for vector in lance.dataset(uri).to_table()["vector"].to_pylist()}
    assert found == tuple(unit("a caption"))


def test_a_whole_index_replaces_all_rows(uri):
    write(TuneIndexConfig(uri, SCHEMA), [item("d")])
    assert list(rows(uri)) == ["d"]


def test_an_update_replaces_removes_and_adds(uri):
    version = open_index(uri).version
    write(TuneUpdateConfig(uri, SCHEMA, version, frozenset("c")), [item("b", "another"), item("d")])
    assert rows(uri) == {"a": "a caption", "b": "another", "d": "a caption"}


def test_without_items_the_table_stays_as_it_was(uri):
    before = open_index(uri).version
    write(TuneIndexConfig(uri, SCHEMA), [])
    assert open_index(uri).version == before
