"""The vector index over a table's life, held against exact search."""

from datetime import timedelta

import lance
import numpy as np
import pytest

from image2music.index import maintenance
from image2music.index.maintenance import cleanup, finalize, kind, reindex, restore
from image2music.index.table import commit, index_schema, open_index, replace_rows, write_fragments

pytestmark = pytest.mark.slow

DIM, ROWS = 16, 6000
SCHEMA = index_schema(DIM, embedder_id="fake@1", embedder_spec="fake")
NOW = timedelta(0)


@pytest.fixture(autouse=True)
def from_a_few_hundred_rows(monkeypatch):
    monkeypatch.setattr(maintenance, "VECTOR_INDEX_FROM", 400)


def vectors(first, last, centres=60):
    """Unit vectors around centres: what captions look like to an embedder."""
    random = np.random.default_rng(first)
    middles = np.random.default_rng(99).normal(size=(centres, DIM))
    found = middles[random.integers(0, centres, last - first)] + 0.5 * random.normal(size=(last - first, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def fragments(uri, first, last):
    """Tunes with the numbers from `first` to `last` as their ids."""
    texts = ("location", "caption", "abc", "key", "meter", "embedder_id", "row_hash")
    rows = [
        {
            **dict.fromkeys(texts, "x"),
            **{"tune_id": f"{number:05}", "music_id": str(number)},
            **{"tempo_qpm": 60.0, "metrics": {}, "vector": vector},
        }
        for number, vector in zip(range(first, last), vectors(first, last), strict=True)
    ]
    return write_fragments(uri, rows, SCHEMA)


def update(uri, first, last, removed=()):
    """New rows in place of removed ones, as an update commits them; says what became of the vector index."""
    replace_rows(uri, open_index(uri).version, fragments(uri, first, last), [f"{number:05}" for number in removed])
    done = reindex(lance.dataset(uri))
    finalize(uri, "update")
    return done


def recall(index, k=5):
    queries = vectors(777_777, 777_877)
    found = [(index.nearest_ids(query, k), index.nearest_ids(query, k, exact=True)) for query in queries]
    return sum(len(set(near) & set(right)) for near, right in found) / sum(len(right) for _, right in found)


@pytest.fixture
def uri(tmp_path):
    uri = str(tmp_path / "tunes.lance")
    commit(uri, fragments(uri, 0, ROWS), SCHEMA)
    finalize(uri, "build")
    return uri


def test_a_build_is_searched_by_a_graph_that_misses_next_to_nothing(uri):
    assert kind(lance.dataset(uri)) == "HNSW, 0 rows came after it was made"
    assert recall(open_index(uri)) >= 0.99


def test_after_small_updates_the_graph_is_the_same_and_new_rows_are_in_a_second_one(uri):
    for step in range(4):
        first = ROWS + 60 * step
        assert update(uri, first, first + 60, removed=range(30 * step, 30 * step + 30)) == "extended"
    assert kind(lance.dataset(uri)) == "HNSW, 240 rows came after it was made"
    assert maintenance.unindexed(lance.dataset(uri), "vector_idx") == 0
    index = open_index(uri)
    assert index.search(vectors(ROWS, ROWS + 60)[7], 1)[0].tune_id == f"{ROWS + 7:05}"
    assert f"{7:05}" not in index.nearest_ids(vectors(0, ROWS)[7], 20)
    assert recall(index) >= 0.99


def test_it_is_trained_anew_when_a_fifth_of_the_rows_came_later(uri):
    assert update(uri, ROWS, ROWS + 1000) == "extended"
    assert update(uri, ROWS + 1000, ROWS + 2000) == "trained"
    assert kind(lance.dataset(uri)).endswith(" 0 rows came after it was made")
    assert recall(open_index(uri)) >= 0.99


def test_it_is_made_anew_when_most_of_its_rows_went(uri):
    assert update(uri, ROWS, ROWS + 1, removed=range(5500)) == "trained"
    assert kind(lance.dataset(uri)) == "HNSW, 0 rows came after it was made"


def test_graphs_that_were_joined_find_the_same(uri):
    replace_rows(uri, open_index(uri).version, fragments(uri, ROWS, ROWS + 60), [])
    lance.dataset(uri).optimize.optimize_indices()  # what Lance does when nobody tells it otherwise
    assert update(uri, ROWS + 60, ROWS + 61) == "extended"
    assert recall(open_index(uri)) >= 0.99


def test_when_nothing_changed_nothing_is_done(uri):
    before = lance.dataset(uri).version
    assert reindex(lance.dataset(uri)) == "nothing"
    assert finalize(uri, "update") == before == lance.dataset(uri).version


def test_a_reader_of_an_earlier_version_searches_it_while_the_index_moves_on(uri):
    reader = open_index(uri)
    query = vectors(0, ROWS)[11]
    before = reader.search(query, 5)
    assert before[0].tune_id == "00011"
    update(uri, ROWS, ROWS + 60, removed=[11])
    update(uri, ROWS + 60, ROWS + 2060)
    cleanup(lance.dataset(uri), kept_for=NOW)
    assert reader.search(query, 5) == before
    assert open_index(uri).search(query, 5)[0].tune_id != "00011"


def test_tidying_drops_old_versions_without_a_tag_and_none_with_one(uri):
    update(uri, ROWS, ROWS + 60)
    tagged = {tag["version"] for tag in lance.dataset(uri).tags.list().values()}
    assert {found["version"] for found in lance.dataset(uri).versions()} > tagged
    cleanup(lance.dataset(uri))
    assert {found["version"] for found in lance.dataset(uri).versions()} > tagged  # too young to go
    cleanup(lance.dataset(uri), kept_for=NOW)
    assert {found["version"] for found in lance.dataset(uri).versions()} == tagged
    (build,) = (name for name in lance.dataset(uri).tags.list() if name.startswith("build-"))
    restore(uri, build)
    assert open_index(uri).rows == ROWS
    assert recall(open_index(uri)) >= 0.99


def test_the_many_files_of_workers_are_few_when_the_graph_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "MOST_FILES_OF_A_BUILD", 3)
    uri = str(tmp_path / "tunes.lance")
    commit(uri, [one for step in range(5) for one in fragments(uri, 100 * step, 100 * step + 100)], SCHEMA)
    finalize(uri, "build")
    dataset = lance.dataset(uri)
    assert len(dataset.get_fragments()) == 1
    assert kind(dataset) == "HNSW, 0 rows came after it was made"
    assert open_index(uri).search(vectors(300, 400)[3], 1)[0].tune_id == "00303"


def test_many_small_files_are_written_together_and_found_as_before(uri, monkeypatch):
    monkeypatch.setattr(maintenance, "MOST_SMALL_FILES", 3)
    for step in range(4):
        update(uri, ROWS + 10 * step, ROWS + 10 * step + 10, removed=[step])
    dataset = lance.dataset(uri)
    assert len(dataset.get_fragments()) < 4
    assert dataset.count_rows() == ROWS + 36
    index = open_index(uri)
    assert index.search(vectors(ROWS + 30, ROWS + 40)[3], 1)[0].tune_id == f"{ROWS + 33:05}"
    assert recall(index) >= 0.99
