"""Searches over a table with a vector index and over one without, held against numpy."""

import lance
import numpy as np
import pytest

from image2music.errors import ConfigError
from image2music.index import maintenance, search
from image2music.index.maintenance import finalize
from image2music.index.table import commit, index_schema, narrowed, open_index, write_fragments

DIM, ROWS = 16, 3000
SCHEMA = index_schema(DIM, embedder_id="fake@1", embedder_spec="fake")


def clustered(rows, seed):
    """Unit vectors around 40 centres: what captions look like to an embedder."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, DIM))
    vectors = centres[random.integers(0, 40, rows)] + 0.6 * random.normal(size=(rows, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tune(number, vector, music):
    return {
        "tune_id": f"{number:05}",
        "location": f"{number}.mid",
        "caption": "a caption",
        "abc": f"X:{number}",
        "key": "C",
        "meter": "4/4",
        "tempo_qpm": 60.0 + number % 100,
        "genre": ["rock", "pop"][: number % 3],
        "instruments": ["Drums"] if number % 2 else [],
        "metrics": {"polyphony": 1.0},
        "music_id": str(music),
        "vector": vector,
        "embedder_id": "fake@1",
        "row_hash": f"hash {number}",
    }


def table(uri, vectors, music=None):
    rows = [tune(number, vector, music[number] if music else number) for number, vector in enumerate(vectors)]
    commit(uri, write_fragments(uri, rows, SCHEMA), SCHEMA)
    finalize(uri, "build")
    return open_index(uri)


@pytest.fixture(scope="module")
def vectors():
    return clustered(ROWS, seed=1)


@pytest.fixture(scope="module", params=["exact", "HNSW"])
def index(request, tmp_path_factory, vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maintenance, "VECTOR_INDEX_FROM", 1000 if request.param == "HNSW" else 10**6)
        made = table(str(tmp_path_factory.mktemp(request.param) / "tunes.lance"), vectors)
    assert maintenance.kind(made.dataset()).startswith(request.param)
    return made


def best(vectors, query, k, among):
    order = sorted(among, key=lambda number: (-float(vectors[number] @ query), number))
    return [f"{number:05}" for number in order[:k]]


def test_a_filter_comes_before_the_search(index, vectors):
    queries = clustered(20, seed=2)
    rock_with_drums = [n for n in range(ROWS) if n % 3 and n % 2 and 60 + n % 100 < 63]
    filtered = narrowed(index, "tempo_qpm < 63 and array_has(genre, 'rock') and array_has(instruments, 'Drums')")
    assert filtered.rows == len(rock_with_drums) < 30
    found = filtered.search_many(queries, k=5)
    assert [[hit.tune_id for hit in hits] for hits in found] == [best(vectors, q, 5, rock_with_drums) for q in queries]
    assert [filtered.search(query, k=5) for query in queries] == found


def test_many_vectors_are_held_against_every_row(index, vectors, monkeypatch):
    monkeypatch.setattr(search, "_BLOCK", 500)
    monkeypatch.setattr(search, "MOST_QUERIES", 30)
    queries = clustered(70, seed=5)
    found = index.search_all(queries, k=5)
    assert [[hit.tune_id for hit in hits] for hits in found] == [best(vectors, q, 5, range(ROWS)) for q in queries]
    pairs = list(zip(queries[:10], queries[10:20], strict=True))
    assert index.references_of_all(pairs, 3) == index.references(pairs, 3)


def test_a_filter_comes_before_a_search_of_all(index, vectors):
    queries = clustered(20, seed=6)
    filtered = narrowed(index, "tempo_qpm < 63")
    passing = [number for number in range(ROWS) if 60 + number % 100 < 63]
    found = [[hit.tune_id for hit in hits] for hits in filtered.search_all(queries, k=5)]
    assert found == [best(vectors, query, 5, passing) for query in queries]


def test_a_block_that_the_filter_empties_counts_for_nothing(index, vectors, monkeypatch):
    monkeypatch.setattr(search, "_BLOCK", 100)
    queries = clustered(3, seed=7)
    found = narrowed(index, "tune_id >= '02990'").search_all(queries, k=5)
    assert [[hit.tune_id for hit in hits] for hits in found] == [
        best(vectors, query, 5, range(2990, ROWS)) for query in queries
    ]


def test_a_filter_holds_for_references_and_ids_too(index):
    filtered = narrowed(index, "tune_id < '00003'")
    (query,) = clustered(1, seed=3)
    assert {reference.tune_id for reference in filtered.references([(query, query)], k=9)[0]} == {
        "00000",
        "00001",
        "00002",
    }
    assert len(filtered.nearest_ids(query, 9)) == len(filtered.nearest_ids(query, 9, exact=True)) == 3


@pytest.mark.parametrize(
    ("where", "reason", "message"),
    [
        (
            "tempo < 100",
            "bad_where",
            "No field named tempo. Did you mean 'tempo_qpm'; the columns are tune_id, location,",
        ),
        ("tempo_qpm <", "bad_where", "sql parser error"),
        ("tempo_qpm = 'fast'", "bad_where", "could not convert to literal of type 'Float64'"),
        ("tempo_qpm", "bad_where", "does not return a boolean"),
        ("tempo_qpm < 100; drop table tunes", "bad_where", "it must be one condition"),
        ("  ", "bad_where", "it must be one condition"),
        ("tempo_qpm < 100 * random()", "bad_where", "the same rows through each time"),
        ("caption = 'nothing; like; random() this'", "where_finds_nothing", "lets none of the 3000 tunes"),
    ],
)
def test_a_filter_that_cannot_work_is_refused_before_anything_runs(index, where, reason, message):
    with pytest.raises(ConfigError) as caught:
        narrowed(index, where)
    assert caught.value.reason == reason
    assert message in str(caught.value)
    assert "/rust/" not in str(caught.value)


def test_copies_of_one_music_come_once_and_others_take_their_places(tmp_path, vectors):
    music = [0] * 100 + list(range(1, ROWS - 99))  # the first hundred are one music
    near = vectors.copy()
    near[:100] = vectors[0]
    index = table(str(tmp_path / "copies.lance"), near, music)
    hits = index.search(vectors[0], k=3)
    assert [hit.tune_id for hit in hits] == ["00000", *best(vectors, vectors[0], 2, range(100, ROWS))]
    assert hits == index.search_many(np.stack([vectors[0], vectors[7]]), k=3)[0]


def test_of_copies_the_nearest_stands_for_the_music(tmp_path):
    vectors = np.eye(DIM, dtype=np.float32)[:3]
    index = table(str(tmp_path / "two.lance"), vectors, ["waltz", "waltz", "reel"])
    query = np.zeros(DIM, dtype=np.float32)
    query[:3] = 0.6, 0.7, 0.387
    assert [hit.tune_id for hit in index.search(query, k=3)] == ["00001", "00002"]


def test_among_very_many_equally_near_tunes_the_smallest_ids_are_taken(tmp_path, vectors):
    index = table(str(tmp_path / "ties.lance"), np.repeat(vectors[:1], 300, axis=0))
    assert [hit.tune_id for hit in index.search(vectors[0], k=3)] == ["00000", "00001", "00002"]


def test_an_index_of_an_earlier_release_is_refused(tmp_path, vectors):
    uri = str(tmp_path / "old.lance")
    table(uri, vectors[:3])
    lance.dataset(uri).drop_columns(["music_id"])
    with pytest.raises(Exception, match="made by an earlier release") as caught:
        open_index(uri)
    assert caught.value.reason == "index_outdated"
