"""A tune that lasts a given time: its tempos, as the text writes them, are made slower or faster together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from image2music.abc.ast import StateChange, Tune
from image2music.abc.parser import parse
from image2music.abc.playback import first_tune
from image2music.abc.reading_order import play_order
from image2music.errors import AbcError
from image2music.music.score import TempoChange, micros_of, seconds_at
from image2music.music.theory import DEFAULT_QPM, TICKS_PER_QUARTER, Length, Tempo, ticks

_NEAR_MICROS = 16.0
"""How far a length may be off: less than a sample of 48 kHz."""
_ROUNDS = 3
_HEADER = re.compile(r"^Q:[^\n%]*", re.MULTILINE)
_INLINE = re.compile(r"Q:[^\]\n%]*")
_BEAT = re.compile(r"((?:[0-9]{1,3}\s*/\s*[0-9]{1,3}\s*)+)=")
_FRACTION = re.compile(r"([0-9]+)\s*/\s*([0-9]+)")
_BEFORE_BAR = re.compile(r"\s*(?:\[V:[^\]]*\]\s*)?")
_MOST_PLACES = 7


@dataclass(frozen=True, slots=True)
class _Field:
    """A tempo that is written at `start` to `end` of the text, and how many ticks are played at it."""

    start: int
    end: int
    qpm: float
    ticks: int


def abc_lasting(abc: str, seconds: float, slowest: float, fastest: float) -> str:
    """Return a tune with tempos at which it lasts `seconds`, in proportions as they were.

    Played with whole microseconds a quarter note, as MIDI has it, it is less than a sample of 48 kHz off; a tempo
    gets as many decimals as that takes. A tune that has that length comes back as it is.

    Args:
        abc: a tune without errors.
        seconds: how long it is to last, repeats played out.
        slowest: quarter notes a minute that its tempo may have at least.
        fastest: and at most.

    Raises:
        AbcError: no tempo between these gives that length (`wrong_length`); as `playback.abc_to_score`.
    """
    for _ in range(_ROUNDS):
        tune = first_tune(parse(abc))
        fields = _fields(abc, tune)
        now = sum(field.ticks * micros_of(field.qpm) for field in fields) / TICKS_PER_QUARTER / 1e6
        if abs(now - seconds) * 1e6 <= _NEAR_MICROS:
            break
        main = max(fields, key=lambda field: field.ticks)
        if not slowest <= round(main.qpm * now / seconds, 6) <= fastest:
            raise AbcError(_too_long_or_short(now, seconds, main.qpm), reason="wrong_length")
        changed = _changed(abc, fields, now, seconds)
        abc = _with_last_bar(changed) if changed == abc else changed
    return abc


def abc_seconds(abc: str) -> float:
    """Return how long a tune lasts, repeats played out and rests at its end included.

    Raises:
        AbcError: as `playback.abc_to_score`.
    """
    tune = first_tune(parse(abc))
    changes, end = _changes(tune)
    tempos = [TempoChange(tick, _qpm_of(tune, changes[tick])) for tick in sorted(changes)]
    return seconds_at(end / TICKS_PER_QUARTER, tempos, TICKS_PER_QUARTER)


def _too_long_or_short(now: float, seconds: float, qpm: float) -> str:
    way = "shorter" if now > seconds else "longer"
    return (
        f"the tune lasts {now:.1f} seconds at {qpm:g} quarter notes a minute and is to last {seconds:g}: "
        f"write a {way} one, about {seconds / now:.2g} times as many bars"
    )


def _changes(tune: Tune) -> tuple[dict[int, StateChange | None], int]:
    """Return what sets the tempo from each tick on, as played, and the tick at which the tune ends.

    None stands for the header, at tick 0.
    """
    changes: dict[int, StateChange | None] = {0: None}
    end = 0
    for voice in tune.voices.values():
        position: Length = 0
        elements = voice.elements
        for first, last in play_order(elements, tune.parts):
            shift = position - elements[first].onset
            for element in elements[first:last]:
                if type(element) is StateChange and isinstance(element.value, Tempo):
                    changes[ticks(element.onset + shift)] = element
            position = (elements[last].onset if last < len(elements) else voice.length) + shift
        end = max(end, ticks(position))
    return changes, end


def _qpm_of(tune: Tune, change: StateChange | None) -> float:
    """Return the tempo that a change sets, or the header where it is None."""
    value = tune.tempo if change is None else change.value
    return value.qpm if isinstance(value, Tempo) and value.qpm else DEFAULT_QPM


def _fields(abc: str, tune: Tune) -> list[_Field]:
    """Return the tempos that are written, the one in the header first; where none is, an empty place for it."""
    changes, end = _changes(tune)
    played: dict[int, int] = {}
    edges = sorted({0, *(tick for tick in changes if tick < end)})
    for tick, after in zip(edges, [*edges[1:], end], strict=True):
        played[id(changes[tick])] = played.get(id(changes[tick]), 0) + after - tick
    header = list(_HEADER.finditer(abc, tune.start, tune.music_start))
    start, stop = header[-1].span() if header else (tune.music_start, tune.music_start)
    found = [_Field(start, stop, _qpm_of(tune, None), played.get(id(None), 0))]
    for voice in tune.voices.values():
        for element in voice.elements:
            if type(element) is StateChange and isinstance(element.value, Tempo):
                place = _INLINE.search(abc, element.start)
                assert place is not None
                found.append(_Field(*place.span(), _qpm_of(tune, element), played.get(id(element), 0)))
    return found


def _changed(abc: str, fields: list[_Field], now: float, seconds: float) -> str:
    """Write all tempos anew; the one that holds for the shortest time makes up for the rounding of the others."""
    heard = [at for at, field in enumerate(fields) if field.ticks]
    last = min(heard, key=lambda at: (fields[at].ticks, -at))
    micros = [micros_of(field.qpm * now / seconds) for field in fields]
    others = sum(field.ticks * micros[at] for at, field in enumerate(fields) if at != last)
    micros[last] = max(1, round((round(seconds * 1e6 * TICKS_PER_QUARTER) - others) / fields[last].ticks))
    for field, micro in sorted(zip(fields, micros, strict=True), key=lambda one: -one[0].start):
        text = _written(abc[field.start : field.end], micro, field.ticks / TICKS_PER_QUARTER)
        abc = abc[: field.start] + text + ("" if field.end > field.start else "\n") + abc[field.end :]
    return abc


def _written(old: str, micros: int, quarters: float) -> str:
    """Write a tempo that holds for so many quarters, in the beat, and with the words, of the one before."""
    words = " ".join(re.findall(r'"[^"]*"', old))
    beat = _BEAT.search(old)
    name = " ".join(beat[1].split()) if beat else "1/4"
    unit = sum(4 * int(n) / int(d) for n, d in _FRACTION.findall(name))
    places = range(_MOST_PLACES + 1)
    numbers = (f"{6e7 / micros / unit:.{n}f}" for n in places)
    near = (text for text in numbers if float(text) and abs(6e7 / float(text) / unit - micros) * quarters < 1)
    number = next(near, f"{6e7 / micros / unit:.{_MOST_PLACES}f}")
    return f"Q:{words} {name}={number}" if words else f"Q:{name}={number}"


def _with_last_bar(abc: str) -> str:
    """Write the tempo of the first voice's last bar before it, so that it can be another one."""
    tune = first_tune(parse(abc))
    voice = next(voice for voice in tune.voices.values() if voice.bars)
    number = next(bar.number for bar in reversed(voice.bars) if bar.length)
    span = next(span for span in tune.spans if (span.voice, span.bar) == (voice.id, number))
    before = _BEFORE_BAR.match(abc, span.start)
    start = span.start if before is None else before.end()
    changes, _ = _changes(tune)
    tempo = _qpm_of(tune, changes[max(changes)])
    return f"{abc[:start]}[Q:1/4={tempo:.6f}]{abc[start:]}"
