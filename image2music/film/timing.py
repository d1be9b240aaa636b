"""When a film's pictures change: bar lines and upbeats of a tune in seconds, and from these to whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from image2music.abc.playback import abc_to_score
from image2music.music.midi import read_midi
from image2music.music.score import MeterChange, Score, seconds_at


@dataclass(frozen=True)
class TimedBars:
    """The bars of a tune in the order they are played, repeats played out; one entry a bar in each column.

    `numbers` are the bars as they are written, from 1; `quarters` and `seconds` tell where each begins, from the
    beginning of the tune, and `beats` how long the upbeat before that bar line is, a beat of the meter, in seconds; 0
    before the first. `performed` is the tune as it is played.
    """

    numbers: tuple[int, ...]
    quarters: tuple[float, ...]
    seconds: tuple[float, ...]
    beats: tuple[float, ...]
    performed: Score

    def second_of(self, quarters: float) -> float:
        """Return when so many quarters have passed, in seconds, as the tune is performed."""
        return seconds_at(quarters, self.performed.tempos, self.performed.ticks_per_quarter)

    def place_of(self, number: int) -> int:
        """Return where a written bar is played first; for one that is not there, the last bar before it."""
        if number in self.numbers:
            return self.numbers.index(number)
        return max((at for at, here in enumerate(self.numbers) if here <= number), default=0)

    def following(self, seconds: float) -> int | None:
        """Return the first bar that begins at `seconds` or later; None behind the last bar line."""
        return next((at for at, here in enumerate(self.seconds) if here >= seconds - 1e-6), None)


def bars_in_time(abc: str, midi: bytes) -> TimedBars:
    """Return the bars of a tune; the text tells where they begin, the MIDI file how fast they are played.

    Raises:
        AbcError, MidiError: one of them cannot be read.
    """
    written, performed = abc_to_score(abc), read_midi(midi)
    starts = [(start.tick / written.ticks_per_quarter, start.number) for start in written.bar_starts] or [(0.0, 1)]
    quarters = tuple(at for at, _ in starts)
    seconds = tuple(seconds_at(at, performed.tempos, performed.ticks_per_quarter) for at in quarters)
    before = [max(0.0, at - _beat_before(at, written)) for at in quarters]
    beats = tuple(
        here - seconds_at(at, performed.tempos, performed.ticks_per_quarter)
        for here, at in zip(seconds, before, strict=True)
    )
    return TimedBars(tuple(number for _, number in starts), quarters, seconds, beats, performed)


def _beat_before(quarters: float, score: Score) -> float:
    """Return the beat of the meter before a bar line, in quarters: three eighths in 6/8, 9/8 and 12/8."""
    ticks = quarters * score.ticks_per_quarter
    changes = score.meters or (MeterChange(0, 4, 4),)
    meter = next((change for change in reversed(changes) if change.tick < ticks), changes[0])
    in_threes = meter.denominator >= 8 and meter.numerator % 3 == 0 and meter.numerator > 3
    return (3 if in_threes else 1) * 4 / meter.denominator


@dataclass(frozen=True)
class Shot:
    """One part in frames: alone or fading out in `first` to `last` - 1; the next part fades in over the last `fade`."""

    first: int
    last: int
    fade: int

    @property
    def frames(self) -> int:
        """How many it has."""
        return self.last - self.first

    def share_of_next(self, frame: int) -> float:
        """Return how much of the next part is seen in a frame, 0 to 1: it would be 1 in frame `last`."""
        return max(0, frame - (self.last - self.fade) + 1) / (self.fade + 1)


def shots(starts: Sequence[float], upbeats: Sequence[float], seconds: float, fps: int) -> tuple[Shot, ...]:
    """Return a shot for each part of a film, round(seconds * fps) frames together.

    Args:
        starts: bar lines at which the parts begin, in seconds, ascending. The first part begins with the film.
        upbeats: how long each part fades in before it begins, in seconds; the first does not.
        seconds: of the film.
        fps: frames a second.

    A part begins in the frame nearest to its bar line. Parts that begin behind the end of the film, and all but the
    last of those that would begin in the same frame, have no frames. No part fades in for longer than half of the shot
    before it.
    """
    total = round(seconds * fps)
    edges = [0, *(min(total, max(0, round(start * fps))) for start in starts[1:]), total]
    fades = [round(upbeat * fps) for upbeat in upbeats[1:]]
    made: list[Shot] = []
    for at, (first, last) in enumerate(pairwise(edges)):
        fade = fades[at] if at < len(fades) and last < total else 0
        made.append(Shot(first, last, min(fade, (last - first) // 2)))
    return tuple(made)
