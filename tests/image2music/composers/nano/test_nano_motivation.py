from types import SimpleNamespace

import pytest

from image2music.composers.nano.explaining import motivate

SEEN = SimpleNamespace(brightness=0.5, contrast=0.5, subject="lake", mood="calm")
PLAN = dict.fromkeys(("density", "range", "leaps"), "middle")
PLAN |= {"tempo": "slow", "mode": "major", "tonic": "C", "kind": "air", "meter": "3/4"}


def last_sentence(*captions):
    references = tuple(SimpleNamespace(caption=caption) for caption in captions)
    request = SimpleNamespace(request=SimpleNamespace(album=None, references=references))
    return motivate(SEEN, PLAN, request, n_references=2)[-1].text


@pytest.mark.parametrize(
    ("captions", "end"),
    [
        ((), "by leaps as well as steps."),
        (("A waltz. It is slow.",), "one tune from the index were in its ear, the nearest of them “A waltz”."),
        (("", "A reel."), "2 tunes from the index were in its ear."),
    ],
)
def test_the_nearest_tune_is_named_by_its_caption_where_it_has_one(captions, end):
    assert last_sentence(*captions).endswith(end)
