from fakes import two_voice_tune
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.playback import abc_to_score
from image2music.music.similarity import longest_shared_run, longest_shared_with_others, melody

STEPS = st.tuples(st.integers(0, 2), st.integers(1, 2))
MELODIES = st.lists(st.lists(STEPS, max_size=14), min_size=1, max_size=6)


@given(MELODIES)
@settings(max_examples=150, deadline=None)
def test_one_sort_finds_what_comparing_all_pairs_finds(melodies):
    pairs = [
        max((longest_shared_run([line], [other]) for j, other in enumerate(melodies) if j != i), default=0)
        for i, line in enumerate(melodies)
    ]
    assert longest_shared_with_others(melodies) == pairs


def test_a_transposed_copy_shares_every_note():
    tune = two_voice_tune(1)
    higher = tune.replace("K:C", "K:C transpose=5")
    lines = [melody(abc_to_score(abc)) for abc in (tune, higher)]
    assert longest_shared_with_others(lines) == [16, 16]


def test_the_melody_is_the_highest_part():
    assert len(melody(abc_to_score(two_voice_tune(1)))) == 15
