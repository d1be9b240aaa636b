from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.errors import MidiError
from image2music.evaluation.measures import muspy_metrics
from image2music.music.metrics import EXPLANATIONS, METRIC_NAMES, metrics_of_midi, metrics_of_score
from image2music.music.score import Score
from tests.image2music.music.midi_making import TICKS, midi, scale, score, track

notes = st.lists(
    st.tuples(st.integers(0, 24), st.integers(0, 8), st.integers(30, 90)).map(lambda n: (n[0] / 4, n[1] / 4, n[2])),
    max_size=30,
)


@settings(max_examples=120, deadline=None)
@given(notes, notes, notes)
def test_every_metric_is_what_muspy_gives_for_the_same_notes(one: list, two: list, drums: list) -> None:
    piece = score(track(one), track(two, channel=1), track(drums, channel=9))
    ours, theirs = metrics_of_score(piece).as_dict(), muspy_metrics(piece)
    assert ours == {name: value if value is None else pytest.approx(value, abs=1e-6) for name, value in theirs.items()}


def test_a_c_major_scale_has_known_metrics() -> None:
    values = metrics_of_midi(midi(scale())).as_dict()
    assert values["pitch_range"] == 12
    assert (values["n_pitches_used"], values["n_pitch_classes_used"]) == (8, 7)
    assert (values["polyphony"], values["scale_consistency"]) == (1.0, 1.0)
    assert values["pitch_entropy"] == pytest.approx(3.0)


def test_a_held_note_fills_its_beats_and_silence_leaves_them_empty() -> None:
    # Quarters 0 to 3 sound, 4 to 7 are silent, 8 sounds; ends count, so the fourth is touched by the first note.
    held = metrics_of_score(score(track([(0, 3.5, 60), (8, 0.5, 60)])))
    assert held.empty_beat_rate == pytest.approx(4 / 9)


def test_drums_alone_have_beats_but_no_pitch() -> None:
    drums = metrics_of_score(score(track([(0, 1, 36), (1, 1, 38)], channel=9)))
    assert drums.empty_beat_rate == 0.0
    assert (drums.n_pitches_used, drums.n_pitch_classes_used) == (0.0, 0.0)
    assert {drums.pitch_range, drums.polyphony, drums.scale_consistency, drums.pitch_entropy} == {None}


def test_nothing_at_all_is_undefined_rather_than_an_error() -> None:
    assert metrics_of_score(Score(TICKS, ())).empty_beat_rate is None


def test_a_file_without_notes_says_so() -> None:
    with pytest.raises(MidiError) as caught:
        metrics_of_midi(midi([]))
    assert caught.value.reason == "no_notes"


def test_each_metric_is_explained() -> None:
    assert tuple(EXPLANATIONS) == METRIC_NAMES
    assert "sounds" in EXPLANATIONS["empty_beat_rate"]
