"""Pitches as they stand on the page: under key, accidentals, clef, `%%MIDI transpose` and dynamics."""

from __future__ import annotations

from image2music.notation.abc_fields import Key
from image2music.notation.abc_tokens import Head
from image2music.notation.abc_tree import Change, Event, Sound, Tune, Voice

DEFAULT_VELOCITY = 90
_SEMITONES = (0, 2, 4, 5, 7, 9, 11)


class PitchReader:
    """Reads pitches in written order: key, accidentals, transposition and sound as they stand on the page."""

    def __init__(self, tune: Tune, voice: Voice) -> None:
        self.alterations = tune.key.alterations
        self.octave_shift = self.transpose = voice.settings.transpose
        self.velocity = DEFAULT_VELOCITY
        self.program = 0
        self.channel: int | None = 9 if voice.settings.percussion else None
        self.accidentals: dict[int, int] = {}
        self.layer = 0
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
            self.transpose = self.octave_shift + number
        elif what == "octave":
            self.transpose += number - self.octave_shift
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
            self.accidentals.clear()

    def pitches(self, event: Event) -> tuple[list[int], list[int]]:
        """The MIDI pitches of an event's heads and those of its grace notes; they may lie outside 0-127."""
        if event.layer != self.layer:
            self.layer = event.layer
            self.accidentals.clear()
        grace = [self.pitch(head) for note in event.grace for head in note.heads] if event.grace else []
        return [self.pitch(head) for head in event.heads], grace

    def pitch(self, head: Head) -> int:
        """The MIDI pitch; an accidental holds for its letter in every octave to the end of the bar (ABC 2.1)."""
        alter = head.accidental
        if alter is None:
            alter = self.accidentals.get(head.step)
            if alter is None:
                alter = self.alterations[head.step]
        else:
            self.accidentals[head.step] = alter
        return 12 * (head.octave + 1) + _SEMITONES[head.step] + alter + self.transpose
