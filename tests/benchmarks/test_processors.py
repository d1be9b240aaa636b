from benchmarks.processors import EXACT, NUMBERS, NUMBERS_WITHIN, compare

ROW = {name: "the same" for name in EXACT} | {name: [0.25, 0.5] for name in NUMBERS}


def test_numbers_may_differ_a_little_and_texts_not_at_all():
    near = {"picture": ROW | {"image_embedding": [0.25, 0.5 + NUMBERS_WITHIN / 2]}}
    assert compare({"picture": ROW}, near).is_promised
    far = {"picture": ROW | {"image_embedding": [0.25, 0.5 + NUMBERS_WITHIN * 2]}}
    assert not compare({"picture": ROW}, far).is_promised
    assert compare({"picture": ROW}, {"picture": ROW | {"abc": "another"}}).other == {"abc": 1}


def test_numbers_inside_of_columns_are_compared_as_numbers():
    ours = {"picture": ROW | {"references": [{"tune_id": "a", "similarity_text": 0.5}]}}
    near = {"picture": ROW | {"references": [{"tune_id": "a", "similarity_text": 0.5001}]}}
    other = {"picture": ROW | {"references": [{"tune_id": "b", "similarity_text": 0.5}]}}
    assert compare(ours, near).is_promised
    assert compare(ours, other).other == {"references": 1}


def test_a_picture_that_is_missing_is_a_difference():
    assert not compare({"picture": ROW}, {}).is_promised
