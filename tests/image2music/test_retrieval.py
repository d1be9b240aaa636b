from image2music.notation.metrics import Metrics
from image2music.retrieval import Hit, merge

NO_METRICS = Metrics(*[None] * 8)


def hit(tune_id, similarity):
    return Hit(tune_id, "hash", f"{tune_id}.mid", "a caption", "X:1", NO_METRICS, similarity)


def test_all_hits_are_kept_and_marked_by_what_found_them():
    merged = merge([hit("a", 0.9), hit("b", 0.8)], [hit("b", 0.3), hit("c", 0.2)])
    assert [(reference.tune_id, reference.matched_by) for reference in merged] == [
        ("b", "both"),
        ("a", "text"),
        ("c", "image"),
    ]


def test_similarities_stay_with_the_search_that_made_them():
    (reference,) = merge([], [hit("c", 0.2)])
    assert (reference.similarity_text, reference.similarity_image) == (None, 0.2)


def test_ranks_count_and_similarities_do_not():
    merged = merge([hit("a", 0.9), hit("b", 0.1)], [hit("b", 0.02), hit("c", 0.01)])
    assert merged[0].tune_id == "b"


def test_on_a_tie_the_description_comes_first():
    assert [reference.tune_id for reference in merge([hit("z", 0.5)], [hit("a", 0.5)])] == ["z", "a"]
