from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.parser import parse
from image2music.composers.nano.melody import (
    Melody,
    Note,
    body_text,
    drawable,
    key_words,
    melody_key,
    signature,
    without_pickups,
)
from image2music.composers.nano.reading import read_melody
from image2music.composers.nano.vocabulary import Vocabulary, controls_of
from image2music.music.theory import MODES


@st.composite
def melodies(draw: st.DrawFn) -> Melody:
    """Melodies in full bars of 4/4 with straight notes, broken pairs and triplets."""
    pitches = st.one_of(st.none(), st.integers(-9, 16))
    shapes = st.lists(
        st.sampled_from(
            [
                (Fraction(2),),
                (Fraction(1), Fraction(1)),
                (Fraction(3, 2), Fraction(1, 2)),
                (Fraction(1, 2), Fraction(3, 2)),
                (Fraction(2, 3),) * 3,
            ]
        ),
        min_size=4,
        max_size=4,
    )

    def bar() -> tuple[Note, ...]:
        lengths = [length for shape in draw(shapes) for length in shape]
        return tuple(Note(abs(draw(pitches) or 0) if n.denominator == 3 else draw(pitches), n) for n in lengths)

    bars = tuple(bar() for _ in range(draw(st.integers(1, 5))))
    ends = frozenset({len(bars) - 1} | draw(st.sets(st.integers(0, len(bars) - 1), max_size=2)))
    if not any(note.pitch is not None for bar in bars for note in bar):
        bars = ((Note(0, Fraction(8)),), *bars[1:])
    return Melody("4/4", Fraction(1, 8), draw(st.integers(0, 11)), draw(st.sampled_from(MODES)), bars, ends)


def as_abc(melody: Melody) -> str:
    key = melody_key(melody.tonic, melody.mode)
    return f"X:1\nM:{melody.meter}\nL:{melody.unit}\nK:{key}\n{body_text(melody)}\n"


@given(melodies())
def test_what_is_written_reads_back_the_same(melody: Melody) -> None:
    tune = parse(as_abc(melody)).tunes[0]

    assert read_melody(tune, next(iter(tune.voices.values()))) == melody


@given(melodies())
def test_tokens_decode_to_the_same_bars(melody: Melody) -> None:
    vocabulary = Vocabulary()

    assert vocabulary.decode_bars(vocabulary.encode_melody(melody)) == (melody.bars, melody.section_ends)


@given(melodies())
def test_a_plan_survives_its_tokens(melody: Melody) -> None:
    controls = controls_of(melody, kind="reel", tempo="fast")
    vocabulary = Vocabulary()

    assert vocabulary.decode_controls(vocabulary.encode_controls(controls)) == controls


def test_modes_share_the_signature_of_their_major_key() -> None:
    a, d, e, g = 9, 2, 4, 7

    assert [signature(d, "dorian"), signature(a, "mixolydian"), signature(e, "minor"), signature(g, "major")] == [
        0,
        2,
        1,
        1,
    ]
    assert (melody_key(d, "dorian"), melody_key(a, "mixolydian"), melody_key(e, "minor")) == ("Ddor", "Amix", "Em")
    assert key_words(1, "major") == "Db major"


def test_dropping_pickups_leaves_full_bars() -> None:
    tune = parse("X:1\nM:4/4\nL:1/8\nK:G\nD | G4 B4 | d4 G3 || D | B4 d4 | g4 G3 |]\n").tunes[0]
    melody = read_melody(tune, tune.voices["1"])
    assert melody is not None

    full = without_pickups(melody)

    assert full is not None
    assert body_text(full) == "G4 B4 | d4 G4 || B4 d4 | g4 G4 |]"


@given(st.integers(1, 128).map(lambda n: Fraction(n, 8)))
def test_drawable_parts_sum_up_and_have_at_most_two_dots(length: Fraction) -> None:
    parts = drawable(length)

    assert sum(parts) == length
    assert all(part.numerator in (1, 2, 4, 8, 16, 3, 6, 12, 7, 14) for part in parts)


def test_lengths_that_need_a_tie() -> None:
    assert [drawable(Fraction(n)) for n in (3, 5, 7, 9, 10)] == [[3], [4, 1], [7], [6, 3], [8, 2]]
