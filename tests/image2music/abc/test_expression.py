import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.expression import perform_abc
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_midi, abc_to_score
from image2music.music.midi import read_midi
from image2music.music.score import seconds_at

HEAD = "X:1\nM:4/4\nL:1/4\nQ:1/4=100\nK:C\n"


def performed(music, head=HEAD):
    return read_midi(perform_abc(head + music + "\n"))


def loudness_of(music, head=HEAD):
    return performed(music, head).tracks[0].velocities.tolist()


def beats(music):
    track = performed(music).tracks[0]
    return (track.durations / 480).tolist()


def mean_over(music, place, times=40):
    """The mean velocity of the note at `place` of a bar that is repeated: what is drawn cancels out."""
    track = performed("| ".join([music] * times) + " |").tracks[0]
    size = len(track) // times
    return float(track.velocities[place::size].mean())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["C", "E2", "z", ".G", "!accent!c", "(de)", "[CEG]", "!p!A", "!f!B", "!crescendo(!c",
                         "!crescendo)!e", "{d}c", "!fermata!g2", "C-C", "(3cde"]),
        min_size=1, max_size=24,
    ),
    st.sampled_from(["4/4", "3/4", "6/8", "5/4", "12/8"]),
)  # fmt: skip
def test_no_note_begins_elsewhere_and_none_is_lost(tokens, meter):
    abc = f"X:1\nM:{meter}\nL:1/8\nQ:1/4=90\nK:C\n" + " ".join(["C", *tokens]) + " |]\n"
    exact, played = read_midi(abc_to_midi(abc)), read_midi(perform_abc(abc))
    for before, after in zip(exact.tracks, played.tracks, strict=True):
        assert np.array_equal(before.onsets, after.onsets)
        assert np.array_equal(before.pitches, after.pitches)
        assert (np.abs(after.durations - before.durations) <= np.maximum(24, before.durations)).all()
    assert played.meters == exact.meters and played.keys == exact.keys
    assert perform_abc(abc) == perform_abc(abc)


def test_the_exact_score_knows_nothing_of_it():
    abc = HEAD + "!p!.C !accent!E (G c) | c4 |]\n"
    score = abc_to_score(abc)
    assert set(score.tracks[0].velocities.tolist()) == {60}
    assert score.tracks[0].durations.tolist() == [480, 480, 480, 480, 1920]
    assert len(score.tempos) == 1


def test_strong_beats_are_louder_than_weak_ones():
    first, second, third = (mean_over("C D/D/ C D", place) for place in (0, 1, 3))
    assert first > third > second - 0.01
    assert mean_over("C D/D/ C D", 1) > mean_over("C D/D/ C D", 2)


def test_a_compound_bar_has_two_beats():
    def mean(place):
        track = performed("CDE CDE |" * 40, "X:1\nM:6/8\nL:1/8\nK:C\n").tracks[0]
        return float(track.velocities[place::6].mean())

    assert mean(0) > mean(3) > mean(1)
    assert mean(3) - mean(4) > 1.5


def test_the_top_of_a_line_is_louder_and_its_last_note_softer():
    phrases = [loudness_of(f"!mf!C D E F | G A {top} A | G F E D | C4 |]")[6] for top in ("c'", "A")]
    assert phrases[0] > phrases[1]
    line = loudness_of("!mf!C D E F | G A c A | G F E D | C4 |]")
    assert line[-1] < min(line[4:8])


def test_a_loud_end_is_not_softened():
    assert loudness_of("C D E F | !ff!c4 |]")[-1] > 95


def test_an_accent_is_heard():
    plain = loudness_of("!p!C D E F | C D E F |]")
    accented = loudness_of("!p!C !accent!D E F | C LD E !>!F |]")
    louder = [after - before for before, after in zip(plain, accented, strict=True)]
    assert louder == [0, 14, 0, 0, 0, 14, 0, 14 + 3]  # an end with an accent is not made softer


def test_a_swell_leads_to_what_is_said_behind_it():
    low, *between, high = (
        np.mean(loudness_of(f"!p!!crescendo(!{'C D E F | ' * 7}C D E !crescendo)!F | !f!G A G A |]")[at : at + 4])
        for at in (0, 8, 16, 24, 32)
    )
    assert low < between[0] < between[1] < between[2] < high


@pytest.mark.parametrize(("opening", "closing", "way"), [("crescendo(", "crescendo)", 1), (">(", ">)", -1)])
def test_a_swell_to_nowhere_is_one_step_and_stays(opening, closing, way):
    plain = loudness_of("!mp!C D E F | C D E F | C D E F |]")
    swelled = loudness_of(f"!mp!!{opening}!C D E F | C D E !{closing}!F | C D E F |]")
    assert swelled[0] == plain[0]
    assert way * (swelled[4] - plain[4]) > 4
    assert [swelled[at] - plain[at] for at in (8, 9, 10)] == [14 * way] * 3


def test_fortissimo_leaves_room_for_accents():
    loud = loudness_of("!fff!C D !accent!E F | C4 |]")
    assert max(loud) <= 126 and loud[2] > loud[1]


def test_staccato_is_short_a_slur_overlaps_and_tenuto_lasts():
    assert beats(".C !staccatissimo!D !tenuto!E F |]") == pytest.approx([0.55, 0.35, 1, 1], abs=0.01)
    assert beats("(C D E) F | (C C) D2 |]") == pytest.approx([1.05, 1.05, 1, 1, 1, 1, 2], abs=0.001)


def test_a_redefined_letter_is_no_accent():
    head = HEAD.replace("K:C", "U:L = !trill!\nK:C")
    assert loudness_of("C LD E F |]", head) == loudness_of("C D E F |]")


def controls_of(music):
    file = mido.MidiFile(file=io.BytesIO(perform_abc(HEAD + music + "\n")))
    found, now = [], 0
    for message in file.tracks[1]:
        now += message.time
        if message.type == "control_change":
            found.append((now / 480, message.control, message.value))
    return found


def test_the_pedal_goes_down_and_up_where_the_text_says_so():
    assert controls_of("!ped!C D !ped-up!E F |]") == [(0, 64, 127), (2, 64, 0)]
    assert controls_of("!ped!C D !ped-up!!ped!E F |]") == [(0, 64, 127), (2, 64, 0), (2.05, 64, 127), (4, 64, 0)]
    assert controls_of("C D E F |]") == []


def tempos(music, head=HEAD):
    return [(change.tick / 480, round(change.qpm, 1)) for change in performed(music, head).tempos]


def test_phrases_breathe_and_the_end_slows():
    assert tempos("C D E F | " * 8) == [(0, 100), (15, 97), (16, 100), (26, 95), (28, 88)]
    four = "C D E F | C D E F | C D E F | C D E F"
    assert tempos(f"{four} || {four} |]") == [(0, 100), (14, 97), (15, 93), (16, 100), (26, 95), (28, 88)]


def test_where_a_tempo_is_written_nothing_is_added():
    music = "C D E F | " * 3 + "[Q:1/4=80] C D E F | [Q:1/4=100]" + "C D E F | " * 2 + "[Q:1/4=70] C D E F | c4 |]"
    assert tempos(music) == [(0, 100), (12, 80), (16, 100), (24, 70)]


def test_a_groove_keeps_time():
    drums = "V:1\nV:2 perc\n%%MIDI channel 10\n[V:1] " + "C D E F | " * 8 + "\n[V:2] " + "C C C C | " * 8
    assert tempos(drums) == [(0, 100), (26, 95), (28, 88)]


def test_a_fermata_holds():
    assert (3, 60) in tempos("C D E !fermata!F | C D E F | C D E F |]")


def test_a_performance_is_hardly_longer_than_the_text():
    music = "C D E F | " * 16
    exact, played = abc_to_score(HEAD + music), performed(music)
    times = [seconds_at(64, score.tempos, score.ticks_per_quarter) for score in (exact, played)]
    assert times[0] < times[1] < 1.03 * times[0]


def test_in_a_tune_without_dynamics_the_first_voice_leads():
    abc = "V:1\nV:2\n[V:1] " + "c d e f | " * 4 + "\n[V:2] " + "C D E F | " * 4
    first, second = (track.velocities.mean() for track in performed(abc).tracks)
    assert 4 < first - second < 8


def test_marks_are_kept_by_the_parser_beside_the_notes():
    (tune,) = parse(HEAD + "(.C !p!D) !fermata! E z |]\n").tunes
    (voice,) = tune.voices.values()
    assert [name for _, name in voice.marks] == ["(", "staccato", "p", ")", "fermata"]
