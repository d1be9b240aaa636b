from hypothesis import given
from hypothesis import strategies as st

from image2music.index.search import Hit, merge
from image2music.music.metrics import Metrics

NO_METRICS = Metrics(*[None] * 8)


def hit(tune_id, similarity, music=None):
    return Hit(tune_id, "hash", f"{tune_id}.mid", "a caption", "X:1", NO_METRICS, music or tune_id, similarity)


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


def test_copies_of_one_music_count_once_and_the_better_ranked_stands_for_it():
    merged = merge([hit("b", 0.9), hit("copy", 0.8, "waltz")], [hit("original", 0.3, "waltz")])
    (waltz,) = (reference for reference in merged if reference.matched_by == "both")
    assert (waltz.tune_id, waltz.similarity_text, waltz.similarity_image) == ("original", 0.8, 0.3)
    assert len(merged) == 2


def test_of_copies_with_one_rank_that_of_the_description_stands():
    (waltz,) = merge([hit("z", 0.9, "waltz")], [hit("a", 0.9, "waltz")])
    assert (waltz.tune_id, waltz.matched_by) == ("z", "both")


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5),
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5),
)
def test_the_order_is_that_of_the_summed_reciprocal_ranks(by_text, by_image):
    def score(tune_id):
        return sum(1 / (61 + ids.index(tune_id)) for ids in (by_text, by_image) if tune_id in ids)

    merged = merge([hit(tune_id, 0.5) for tune_id in by_text], [hit(tune_id, 0.1) for tune_id in by_image])
    scores = [score(reference.tune_id) for reference in merged]
    assert scores == sorted(scores, reverse=True)
    assert {reference.tune_id for reference in merged} == {*by_text, *by_image}
