from image2music.failures import batch_with_fallback


def shout(words):
    if "" in words:
        raise ValueError("nothing to shout")
    return [word.upper() for word in words]


def test_a_good_batch_is_asked_once():
    sizes = []

    def count(words):
        sizes.append(len(words))
        return words

    assert batch_with_fallback(count, ["a", "b", "c"]) == ["a", "b", "c"]
    assert sizes == [3]


def test_one_bad_element_costs_only_itself():
    first, second, third = batch_with_fallback(shout, ["a", "", "c"])
    assert (first, third) == ("A", "C")
    assert str(second) == "nothing to shout"


def test_too_few_answers_are_asked_again_one_by_one():
    assert batch_with_fallback(lambda words: words[:1], ["a", "b"]) == ["a", "b"]


def test_a_model_that_never_answers_is_named_for_each_element():
    answers = batch_with_fallback(lambda words: [], ["a", "b"])
    assert [answer.reason for answer in answers] == ["wrong_number_of_answers"] * 2


def test_an_empty_batch_is_not_asked():
    assert batch_with_fallback(shout, []) == []
