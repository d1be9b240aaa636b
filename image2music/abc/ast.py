"""The syntax tree of an ABC text: tunes, their voices, and in each voice its events, bar lines and changes.

Offsets are character offsets into the text as it was given to `parser.parse`. Lengths and onsets are in length units
(`music.theory`), from the voice's start, in written order (repeats are not played out here).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from image2music.abc.lexer import GraceNote, Head
from image2music.music.theory import C_MAJOR, COMMON_TIME, Key, Length, Meter, Tempo


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """What V: or K: says about sound: semitones to add, percussion, and the shown name.

    `clef` (`treble-8`: -12), `octave` (`octave=-1`: -12) and `transposition` (`transpose=2`) are in semitones, None
    where the field does not name them.
    """

    clef: int | None = None
    octave: int | None = None
    transposition: int | None = None
    percussion: bool = False
    name: str = ""

    @property
    def transpose(self) -> int:
        """Semitones to add in all."""
        return (self.clef or 0) + (self.octave or 0) + (self.transposition or 0)

    def over(self, other: VoiceSettings) -> VoiceSettings:
        """Add what K: says to what V: says."""
        return VoiceSettings(
            (self.clef or 0) + (other.clef or 0),
            (self.octave or 0) + (other.octave or 0),
            (self.transposition or 0) + (other.transposition or 0),
            self.percussion or other.percussion,
            self.name,
        )


@dataclass(slots=True)
class Event:
    """A note, a chord (several heads) or a rest (no heads).

    `ties` has bit i set where head i is tied to the next event. `layer` counts the `&` overlays of the bar from 0.
    """

    heads: tuple[Head, ...]
    onset: Length
    duration: Length
    start: int
    end: int
    layer: int
    ties: int
    grace: tuple[GraceNote, ...]
    grace_unit: Length


@dataclass(slots=True)
class BarLine:
    """A bar line. `ending` holds the passes that play what follows, () where it starts no ending.

    `repeats` is how often the section before it is played again (`:|` 1, `::|` 2).
    """

    onset: Length
    start: int
    repeats: int
    opens_repeat: bool
    is_section: bool
    ending: tuple[int, ...]


@dataclass(slots=True)
class StateChange:
    """From `onset` on another key, meter, tempo, program, channel, volume or transposition; or a part's name."""

    onset: Length
    start: int
    value: Key | Meter | Tempo | Sound | PartMark


class Sound(NamedTuple):
    """A setting of the sound: `what` is program, channel (from 0), velocity, drum, or what semitones are added for.

    Semitones are added for a clef, an octave or a transposition (K: and V:), and by transpose (`%%MIDI transpose`). A
    drum is 128 · the pitch that is written + the pitch that is played on the drum channel.
    """

    what: str
    number: int


class PartMark(NamedTuple):
    """P: in the music: the part of that name starts here."""

    name: str


@dataclass(slots=True)
class Bar:
    """One bar of one voice.

    `number` counts from 1 within the voice. `lengths` holds the length of each `&` layer. `expected` is the meter's
    length times `count` (bars of a `Z4` rest), None where the meter is free. `flawed` says that something in the bar
    could not be read, so that its length says nothing.
    """

    number: int
    onset: Length
    start: int
    line: int
    column: int
    expected: Length | None
    meter: Meter
    opening: BarLine | None
    lengths: list[Length] = field(default_factory=list)
    closing: BarLine | None = None
    end: int = 0
    n_events: int = 0
    count: int = 1
    flawed: bool = False

    @property
    def length(self) -> Length:
        """The longest layer."""
        return max(self.lengths, default=0)


Element = Event | BarLine | StateChange


@dataclass(slots=True)
class Voice:
    """One voice of a tune; `elements` in written order.

    `marks` are decorations by their long names, texts and chord symbols in their quotes, and slurs as `(` and `)`, each
    with how many elements stand before it: a `)` belongs to the last note before it, all others to the next.
    """

    id: str
    settings: VoiceSettings
    line: int
    elements: list[Element] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    length: Length = 0
    marks: list[tuple[int, str]] = field(default_factory=list)


class Span(NamedTuple):
    """The characters `start` to `end` belong to bar `bar` (from 1) of voice `voice`."""

    start: int
    end: int
    voice: str
    bar: int


@dataclass(slots=True)
class Tune:
    """One tune. `fields` holds the header's text by field letter, in order, e.g. `{"T": ["The Rover"]}`."""

    start: int
    line: int
    end: int = 0
    music_start: int = 0
    reference: str = ""
    fields: dict[str, list[str]] = field(default_factory=dict)
    meter: Meter = COMMON_TIME
    has_meter: bool = False
    unit: Length | None = None
    key: Key = C_MAJOR
    has_key: bool = False
    tempo: Tempo | None = None
    parts: str = ""
    sounds: list[Sound] = field(default_factory=list)
    voices: dict[str, Voice] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The first T: line, "" where there is none."""
        return self.header("T")

    @property
    def last_bar(self) -> int:
        """The number of the last bar of the longest voice as written, repeats not played; 0 without music."""
        return max((span.bar for span in self.spans), default=0)

    def header(self, letter: str) -> str:
        """Return the first value of a header field (`T`, `M`, `K`), without its comment; "" where there is none."""
        return self.fields.get(letter, [""])[0]

    @property
    def has_music(self) -> bool:
        """Whether any voice holds a note or a rest."""
        return any(voice.bars for voice in self.voices.values())

    def span_at(self, offset: int) -> Span | None:
        """Return the voice and bar that the character at `offset` belongs to, None outside the music."""
        index = bisect_right(self.spans, offset, key=lambda span: span.start) - 1
        if index < 0 or offset >= self.spans[index].end:
            return None
        return self.spans[index]
