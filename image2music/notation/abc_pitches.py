"""Pitches as they stand on the page: under key, accidentals, clef, `%%MIDI transpose` and dynamics."""

from __future__ import annotations

from collections.abc import Iterable

from image2music.notation.abc_fields import Key
from image2music.notation.abc_tokens import Head
from image2music.notation.abc_tree import Change, Event, Sound, Tune, Voice

DEFAULT_VELOCITY = 90
_NATURALS = (12, 14, 16, 17, 19, 21, 23)
"""The MIDI pitches of C D E F G A B in octave 0."""


class PitchReader:
    """Reads pitches in written order: key, accidentals, transposition and sound as they stand on the page."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.alterations = tune.key.alterations
        self.octave_shift = self.transpose = voice.settings.transpose
        self.velocity = DEFAULT_VELOCITY
        self.program = 0
        self.channel: int | None = 9 if voice.settings.percussion else None
        self.layer = 0
        self.in_key: list[int] = []
        """Pitch of each step in octave 0 under the key and the transposition."""
        self.in_bar: list[int] = []
        """As `in_key`, with the accidentals met in this bar."""
        self._use_key()
        for sound in tune.sounds:
            self.set_sound(sound)

    def set_sound(self, sound: Sound) -> None:
        """Applies one `%%MIDI` setting or dynamic mark."""
        what, number = sound
        if what == "program":
            self.program = number
        elif what == "channel":
            self.channel = number
        elif what == "transpose":
            self._transpose(self.octave_shift + number)
        elif what == "octave":
            self._transpose(self.transpose + number - self.octave_shift)
            self.octave_shift = number
        elif what == "velocity":
            self.velocity = number

    def change(self, change: Change) -> None:
        """Applies a change of key or sound; others do not touch pitches."""
        value = change.value
        if isinstance(value, Sound):
            self.set_sound(value)
        elif isinstance(value, Key):
            self.alterations = value.alterations
            self._use_key()

    def bar_line(self) -> None:
        """Forgets the accidentals of the bar."""
        self.in_bar = self.in_key.copy()

    def pitches(self, event: Event) -> tuple[list[int], list[int]]:
        """The MIDI pitches of an event's heads and those of its grace notes; they may lie outside 0-127."""
        if event.layer != self.layer:
            self.layer = event.layer
            self.bar_line()
        grace = self._pitches([head for note in event.grace for head in note.heads]) if event.grace else []
        return self._pitches(event.heads), grace

    def _pitches(self, heads: Iterable[Head]) -> list[int]:
        """The MIDI pitches; an accidental holds for its letter in every octave to the end of the bar (ABC 2.1)."""
        in_bar = self.in_bar
        found = []
        for step, octave, accidental, _ in heads:
            if accidental is not None:
                in_bar[step] = _NATURALS[step] + accidental + self.transpose
            found.append(in_bar[step] + 12 * octave)
        return found

    def _use_key(self) -> None:
        self.in_key = [
            natural + alter + self.transpose for natural, alter in zip(_NATURALS, self.alterations, strict=True)
        ]
        self.bar_line()

    def _transpose(self, semitones: int) -> None:
        """Moves to another transposition; accidentals stay in force."""
        shift = semitones - self.transpose
        self.transpose = semitones
        self.in_key = [pitch + shift for pitch in self.in_key]
        self.in_bar = [pitch + shift for pitch in self.in_bar]
