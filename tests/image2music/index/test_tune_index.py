import numpy as np
import pyarrow as pa
import pytest

from image2music.errors import TuneIndexError
from image2music.index import maintenance
from image2music.index.maintenance import finalize
from image2music.index.table import commit, index_schema, open_index, write_fragments

SCHEMA = index_schema(4, embedder_id="fake@1", embedder_spec="fake")


def row(tune_id, vector):
    return {
        "tune_id": tune_id,
        "location": f"{tune_id}.mid",
        "caption": tune_id,
        "abc": "X:1\nK:C\nC|",
        "key": "C",
        "meter": "4/4",
        "tempo_qpm": 120.0,
        "metrics": {"polyphony": 1.0},
        "music_id": f"music of {tune_id}",
        "vector": np.array(vector, dtype=np.float32) / np.linalg.norm(vector),
        "embedder_id": "fake@1",
        "row_hash": "hash",
    }


@pytest.fixture
def uri(tmp_path):
    uri = str(tmp_path / "tunes.lance")
    rows = [row("north", [1, 0, 0, 0]), row("east", [0, 1, 0, 0]), row("northeast", [1, 1, 0, 0])]
    commit(uri, write_fragments(uri, rows[:1], SCHEMA) + write_fragments(uri, rows[1:], SCHEMA), SCHEMA)
    return uri


def test_a_table_of_an_earlier_release_is_replaced(tmp_path):
    uri = str(tmp_path / "tunes.lance")
    earlier = SCHEMA.remove(SCHEMA.get_field_index("image"))
    rows = [row("south", [-1, 0, 0, 0])]
    commit(uri, write_fragments(uri, rows, earlier), earlier)
    with pytest.raises(TuneIndexError, match="earlier release"):
        open_index(uri)

    commit(uri, write_fragments(uri, rows, SCHEMA, "overwrite"), SCHEMA)

    assert open_index(uri).rows == 1


def test_nearest_tunes_come_first_with_their_cosine(uri):
    hits = open_index(uri).search(np.array([1, 0, 0, 0], dtype=np.float32), k=2)
    assert [hit.tune_id for hit in hits] == ["north", "northeast"]
    assert [hit.similarity for hit in hits] == pytest.approx([1.0, 0.5**0.5])
    assert hits[0].metrics.polyphony == 1.0
    assert hits[0].metrics.pitch_range is None


def test_many_searches_at_once_find_what_each_finds_alone(uri):
    queries = np.eye(4, dtype=np.float32)[:3]
    index = open_index(uri)
    assert index.search_many(queries, k=2) == [index.search(query, k=2) for query in queries]
    assert [hits[0].tune_id for hits in index.search_many(queries, k=1)[:2]] == ["north", "east"]


def test_of_equally_near_tunes_the_smaller_ids_are_taken(tmp_path):
    uri = str(tmp_path / "ties.lance")
    rows = [row(name, [1, 0, 0, 0]) for name in "dbca"]
    commit(uri, write_fragments(uri, rows, SCHEMA), SCHEMA)
    assert [hit.tune_id for hit in open_index(uri).search(rows[0]["vector"], k=2)] == ["a", "b"]


def test_more_tunes_than_there_are_is_all_of_them(uri):
    assert len(open_index(uri).search(np.array([1, 0, 0, 0], dtype=np.float32), k=10)) == 3


def test_the_table_says_who_embedded_it(uri):
    index = open_index(uri)
    assert (index.embedder_id, index.embedder_spec, index.dim, index.rows) == ("fake@1", "fake", 4, 3)


def test_lancedb_opens_it_as_a_table(uri, tmp_path):
    import lancedb

    assert lancedb.connect(str(tmp_path)).open_table("tunes").count_rows() == 3


def test_a_second_commit_replaces_all_rows_and_leaves_earlier_readers_alone(uri):
    before = open_index(uri)
    commit(uri, write_fragments(uri, [row("south", [-1, 0, 0, 0])], SCHEMA), SCHEMA)
    query = np.array([1, 0, 0, 0], dtype=np.float32)
    assert [hit.tune_id for hit in open_index(uri).search(query, k=5)] == ["south"]
    assert len(before.search(query, k=5)) == 3


def test_fragments_that_were_not_committed_are_not_rows(uri):
    write_fragments(uri, [row("lost", [0, 0, 1, 0])], SCHEMA)
    assert open_index(uri).rows == 3


def test_many_rows_get_a_vector_index_that_finds_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "VECTOR_INDEX_FROM", 500)
    uri = str(tmp_path / "many.lance")
    vectors = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    rows = [row(f"{number:03}", vector) for number, vector in enumerate(vectors)]
    commit(uri, write_fragments(uri, rows, SCHEMA), SCHEMA)
    finalize(uri, "build")

    import lance

    assert {index.name for index in lance.dataset(uri).describe_indices()} == {"tune_id_idx", "vector_idx"}
    query = rows[7]["vector"]
    exact = sorted(rows, key=lambda row: -float(row["vector"] @ query))[:5]
    assert [hit.tune_id for hit in open_index(uri).search(query, k=5)] == [row["tune_id"] for row in exact]


@pytest.mark.parametrize("name", ["nothing.lance", "folder"])
def test_no_table_is_said_in_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(TuneIndexError, match=r"no tune index at .*; make one with") as caught:
        open_index(str(tmp_path / name))
    assert caught.value.reason == "index_missing"


def test_some_other_table_is_refused(tmp_path):
    import lance

    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "other.lance"))
    with pytest.raises(TuneIndexError, match="not one that"):
        open_index(str(tmp_path / "other.lance"))
