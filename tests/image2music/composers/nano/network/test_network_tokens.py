"""A sketch as rows: what each row says, and that nothing is lost but what the docstrings name."""

from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.nano.network.tokens import (
    BAR_ROW,
    BASS_AT,
    CHORD_AT,
    CHORD_KINDS,
    CHORD_ROW,
    FIRST,
    HARMONY,
    HEAD_ROW,
    KIND,
    LENGTHS,
    LONGEST_BAR,
    LOWEST_STEP,
    METERS,
    NOTE_ROW,
    NUMBER,
    PITCH_AT,
    PLACE,
    REST,
    SECOND,
    bar_events,
    chord_symbols,
    encode_sketch,
    home_pitch,
    pitch_symbol,
)
from image2music.composers.nano.sketch import Sketch, SketchBar, bar_ticks


def sketch(*bars, key="D", meter="4/4", chords=("D",)):
    return Sketch(
        key, meter, 90.0, "calm", tuple(SketchBar(chords, notes, 0, "statement", "mf", 1, 73) for notes in bars)
    )


def sung(rows):
    """Onset in the piece, length and step above the tonic of every note, by adding up lengths."""
    found, at, bar, carried = [], 0, -1, 0
    for row in rows:
        if row[KIND] == BAR_ROW:
            bar, at = bar + 1, carried
        if row[KIND] == NOTE_ROW:
            length = LENGTHS[row[SECOND] - 1]
            if row[FIRST] != REST:
                found.append((bar, at, length, int(row[FIRST]) - PITCH_AT + LOWEST_STEP))
            at += length
            carried = max(0, at - 48)
    return found


def test_a_bar_is_its_line_its_head_its_chords_and_its_notes():
    rows = encode_sketch(sketch(((0, 12, 74), (12, 36, 69)), chords=("D", "A7")))
    assert rows[6:, KIND].tolist() == [BAR_ROW, HEAD_ROW, CHORD_ROW, CHORD_ROW, NOTE_ROW, NOTE_ROW, 5]
    assert sung(rows) == [(0, 0, 12, 12), (0, 12, 36, 7)]


def test_transposed_tunes_have_the_same_rows():
    low = sketch(((0, 24, 62), (24, 24, 69)), key="D", chords=("D", "Em7/G"))
    high = sketch(((0, 24, 64), (24, 24, 71)), key="E", chords=("E", "F#m7/A"))
    assert (encode_sketch(low) == encode_sketch(high)).all()


def test_a_note_held_over_the_bar_line_is_not_struck_again():
    rows = encode_sketch(sketch(((0, 36, 62), (36, 24, 64)), ((12, 36, 66),)))
    assert sung(rows) == [(0, 0, 36, 0), (0, 36, 24, 2), (1, 12, 36, 4)]
    second = rows[(rows[:, NUMBER] == 1) & (rows[:, KIND] == BAR_ROW)]
    assert second[0, PLACE] == METERS.index("4/4") * (LONGEST_BAR + 1) + 12


def test_each_note_sees_the_chord_where_the_next_one_begins():
    rows = encode_sketch(sketch(((0, 24, 62), (24, 24, 64)), chords=("D", "A")))
    d, a = (chord_symbols(symbol, 2)[0] - CHORD_AT for symbol in ("D", "A"))
    assert rows[rows[:, KIND] == NOTE_ROW, HARMONY].tolist() == [a, a]
    assert rows[rows[:, KIND] == CHORD_ROW, HARMONY].tolist() == [d, d]
    assert not rows[rows[:, KIND] == HEAD_ROW, HARMONY].any(), "a head must not tell the chord that comes"


def test_chords_are_degrees_with_their_bass():
    first, bass = chord_symbols("F#m7b5/A", 4)
    assert divmod(first - CHORD_AT - 1, len(CHORD_KINDS)) == (2, CHORD_KINDS.index("half"))
    assert bass == BASS_AT + 3
    assert chord_symbols("", 0) == (CHORD_AT, 0)


def test_what_is_not_known_is_zero():
    rows = encode_sketch(sketch(((0, 48, 62),)), unknown=frozenset({"tempo", "purpose", "dynamic"}))
    known = encode_sketch(sketch(((0, 48, 62),)))
    head, told = rows[rows[:, KIND] == HEAD_ROW][0], known[known[:, KIND] == HEAD_ROW][0]
    assert head[9:11].tolist() == [0, 0] and (told[9:11] > 0).all()
    assert rows[3, FIRST] == known[3, FIRST] - 3


@given(st.lists(st.tuples(st.integers(0, 47), st.integers(1, 60), st.integers(20, 110)), max_size=12))
def test_events_fill_the_bar_whatever_the_notes(notes):
    events = bar_events(notes, 0, 48, 60)
    ends = [after for _, _, after in events]
    assert ends == sorted(set(ends)) and ends[-1] >= 48
    assert all(end <= 48 for end in ends[:-1])
    starts = {onset for onset, _, _ in notes}
    assert {0, *ends[:-1]} >= starts


@given(st.integers(0, 127), st.sampled_from(["C", "F#m", "Ebmix", "Bdor"]))
def test_pitches_fold_by_octaves_only(pitch, key):
    step = pitch_symbol(pitch, home_pitch(key)) - PITCH_AT + LOWEST_STEP
    assert (step - pitch + home_pitch(key)) % 12 == 0
    assert step == pitch - home_pitch(key) or not -24 <= pitch - home_pitch(key) <= 36


def test_the_home_is_the_tonic_nearest_to_middle_c():
    assert [home_pitch(key) for key in ("C", "F", "G", "F#m", "Bb")] == [60, 65, 55, 66, 58]
    assert all(bar_ticks(meter) <= LONGEST_BAR for meter in METERS)
