"""Whether bars are full: exact sums per voice, with pick-ups and the bars that complete them recognised.

A bar may be short only where a section starts or ends, and only if another bar there completes it: the last bar of a
section together with the pick-up that is played next must make one bar. A pick-up that nothing completes is accepted
in front of a tune whose sections end in full bars, if it is at most half a bar.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from image2music.notation.abc_lengths import spoken
from image2music.notation.abc_tree import Bar, Voice


@dataclass(frozen=True, slots=True)
class BarFinding:
    """A bar of the wrong length."""

    bar: Bar
    code: str
    message: str


def wrong_bars(voice: Voice) -> Iterator[BarFinding]:
    """The bars of `voice` whose length is not what their meter asks, in order."""
    bars = voice.bars
    suspects = [index for index, bar in enumerate(bars) if _differs(bar)]
    if not suspects:
        return
    excused = _excused(bars, suspects)
    for index in suspects:
        bar = bars[index]
        if index not in excused and not bar.flawed:
            yield _finding(bar, voice.id)


def _differs(bar: Bar) -> bool:
    expected = bar.expected
    if expected is None:
        return False
    return bar.lengths.count(expected) != len(bar.lengths)


def _finding(bar: Bar, voice_id: str) -> BarFinding:
    expected = bar.expected or 0
    wrong = next(length for length in bar.lengths if length != expected)
    layer = bar.lengths.index(wrong)
    too_short = wrong < expected
    amount = spoken(expected - wrong if too_short else wrong - expected)
    code = "bar-too-short" if too_short else "bar-too-long"
    meter = str(bar.meter) if bar.count == 1 else f"{bar.count} bars of {bar.meter}"
    advice = "add notes or rests" if too_short else "shorten or remove notes"
    if layer or bar.lengths[0] == expected:
        code = "overlay-length"
        place = f"layer {layer + 1} of bar {bar.number} of voice {voice_id}"
    else:
        place = f"bar {bar.number} of voice {voice_id}"
    side = "too short" if too_short else "too long"
    return BarFinding(bar, code, f"{place} holds {spoken(wrong)} of {meter}: {amount} {side}, {advice}")


def _excused(bars: list[Bar], suspects: list[int]) -> set[int]:
    """The suspects that are pick-ups, or that a pick-up completes."""
    starts = [index for index in range(len(bars)) if _starts_section(bars, index)]
    short = {index for index in suspects if bars[index].length < (bars[index].expected or 0)}
    excused: set[int] = set()
    for index in short:
        for other in _played_next(bars, index, starts):
            # A bar may be both: the end of one section whose start is another's end.
            if other != index and _completes(bars[index], bars[other]):
                excused.update({index, other} & short)
    _excuse_pick_up(bars, short, excused)
    return excused


def _completes(first: Bar, second: Bar) -> bool:
    return first.length + second.length == first.expected


def _starts_section(bars: list[Bar], index: int) -> bool:
    opening = bars[index].opening
    return index == 0 or (opening is not None and opening.is_section)


def _played_next(bars: list[Bar], index: int, starts: list[int]) -> Iterator[int]:
    """The bars that may sound right behind bar `index`, if a section ends with it."""
    closing = bars[index].closing
    is_last = index + 1 == len(bars)
    if not is_last and (closing is None or not closing.is_section):
        return
    if not is_last:
        yield index + 1
    # A repeat goes back to a section's start; the end of the tune pairs with the tune's start.
    last = bisect_right(starts, index)
    yield from reversed(starts[max(0, last - 6) : last])
    yield 0


def _excuse_pick_up(bars: list[Bar], short: set[int], excused: set[int]) -> None:
    """Accepts a pick-up at the start that nothing completes, if all sections end in full bars."""
    if 0 not in short or 0 in excused or len(bars) < 2:
        return
    expected = bars[0].expected or 0
    if bars[0].length * 2 <= expected and not any(index in short for index in range(1, len(bars))):
        excused.add(0)
