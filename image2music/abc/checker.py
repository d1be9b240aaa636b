"""Check a parsed tune: bars that are not full, repeats, ties, and voices that do not fit together.

Bars are summed exactly, per voice. A bar may be short only where a section starts or ends, and only if another bar
there completes it: the last bar of a section together with the pick-up that is played next must make one bar. A pick-up
that nothing completes is accepted in front of a tune whose sections end in full bars, if it is at most two thirds
of a bar or if all of several voices have it: an excerpt, or a tune whose repeat is not written.
Codes, severities and meanings are in `diagnostics.CODES`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from image2music.abc.ast import Bar, BarLine, Event, Tune, Voice
from image2music.abc.diagnostics import Diagnostic, Findings, Severity, apply_repair, repair_between
from image2music.abc.lexer import Head
from image2music.abc.parser import ParsedAbc, parse
from image2music.abc.playback import first_tune, tune_to_score
from image2music.abc.repairs.bars import Place, Proposal
from image2music.abc.repairs.signs import SIGN_RULES
from image2music.abc.repairs.voices import VOICE_RULES, differing_pick_ups
from image2music.errors import AbcError
from image2music.music.planning.harmony import MotifNote
from image2music.music.theory import TICKS_PER_QUARTER, Length, spoken

CHECK_VERSION = 2
"""Raise it when the parser or the checker judges, or plays, a tune otherwise."""

REPAIRABLE = frozenset({*SIGN_RULES, *VOICE_RULES})
"""The codes whose findings carry a repair where one is known."""

MAX_REPAIRED_CHARS = 16_384
"""Findings of a longer text carry no repairs: it is no single tune. Nor do more findings than are told."""

MAX_REREAD_CHARS = 262_144
"""How much is read again, in characters, to try repairs; findings after that carry none."""
_MOST_PROPOSALS = 8
_MOST_FOLLOWING = 2
_MOST_HIDDEN = 2
"""Errors of the same bar that one repair mends as well, where it would bring them to light."""
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class BarFinding:
    """A bar of the wrong length."""

    bar: Bar
    code: str
    message: str


def shared_pickup(tune: Tune) -> Length | None:
    """Return the length of the first bar where it is the same in all of several voices and no other bar is wrong."""
    lengths = {voice.bars[0].length for voice in tune.voices.values()}
    if len(lengths) != 1 or len(tune.voices) == 1:
        return None
    for voice in tune.voices.values():
        first, *others = voice.bars
        if len(first.lengths) > 1 or first.flawed or not others or any(map(_differs, others)):
            return None
    (length,) = lengths
    return length


def wrong_bars(voice: Voice, pickup: Length | None = None) -> Iterator[BarFinding]:
    """Return the bars of `voice` whose length is not what their meter asks, in order.

    `pickup` is the length of a first bar that counts as a pick-up whatever follows (`shared_pickup`).
    """
    bars = voice.bars
    suspects = [index for index, bar in enumerate(bars) if _differs(bar)]
    if not suspects:
        return
    excused = _excused(bars, suspects)
    if pickup is not None and 0 < bars[0].length == pickup < (bars[0].expected or 0):
        excused.add(0)
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
    """Return the suspects that are pick-ups, or that a pick-up completes."""
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
    """Return the bars that may sound right behind bar `index`, if a section ends with it."""
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
    """Accept a pick-up at the start that nothing completes, if all sections end in full bars."""
    if 0 not in short or 0 in excused or len(bars) < 2:
        return
    expected = bars[0].expected or 0
    if bars[0].length * 3 <= expected * 2 and not any(index in short for index in range(1, len(bars))):
        excused.add(0)


def check(text: str) -> list[Diagnostic]:
    """Return all findings in an ABC text of one or more tunes, sorted by place.

    Never raises for any text; linear in its length. A tune is right if no finding is an error. Where one is, findings
    carry repairs (`check_parsed`).
    """
    return check_parsed(parse(text))


def check_parsed(parsed: ParsedAbc, *, repairs: bool | None = None) -> list[Diagnostic]:
    """As `check`, for a text that is parsed already.

    To find a repair, the text is read again for each that is tried. So, unless `repairs` says always or never, the
    findings carry them only where one is an error.
    """
    findings = Findings()
    findings.diagnostics.extend(parsed.diagnostics)
    for tune in parsed.tunes:
        findings.start_tune()
        _check_tune(tune, findings)
    found = sorted(findings.diagnostics, key=lambda finding: (finding.line, finding.column))
    if repairs is None:
        repairs = any(one.severity is Severity.ERROR for one in found)
    if not repairs or len(parsed.text) > MAX_REPAIRED_CHARS:
        return found
    codes = {one.code for one in found}
    return found if "too-many-findings" in codes or codes.isdisjoint(REPAIRABLE) else _Repairs(parsed, found).all()


def count_severe(findings: Iterable[Diagnostic]) -> tuple[int, int]:
    """Return the numbers of errors and of warnings."""
    counts = Counter(finding.severity for finding in findings)
    return counts[Severity.ERROR], counts[Severity.WARNING]


def count_faults(abc: str, voices: int, bars: int) -> tuple[str, ...]:
    """Hold a tune's voices and bars, as they are written, against a plan's.

    A pick-up is not counted as a bar, and `Z4` counts as four.

    Returns:
        A sentence for each difference, such as `voice 2 has 23 bars, the plan asks for 24: write one more`; none where
        all is right. A text without music has no voices.
    """
    tune = next((tune for tune in parse(abc).tunes if tune.has_music), None)
    heard = list(tune.voices.values()) if tune is not None else []
    faults = []
    if len(heard) != voices:
        named = f" ({', '.join(voice.id for voice in heard)})" if heard else ""
        advice = _so_many(voices - len(heard), "voice")
        has = f"the tune has {_counted(len(heard), 'voice')}{named}"
        faults.append(f"{has}, the plan asks for {voices}: {advice}")
    for voice in heard:
        first, last = voice.bars[0], voice.bars[-1]
        has_pickup = len(voice.bars) > 1 and first.length < (first.expected or 0)
        count = last.number + last.count - 1 - int(has_pickup)
        if count != bars:
            behind = " behind its pick-up" if has_pickup else ""
            has = f"voice {voice.id} has {_counted(count, 'bar')}{behind}"
            faults.append(f"{has}, the plan asks for {bars}: {_so_many(bars - count, 'bar')}")
    return tuple(faults)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _so_many(missing: int, what: str) -> str:
    """What to do about so many voices or bars, which are too many where they are negative."""
    if missing < 0:
        return f"take {_counted(-missing, what)} out"
    return f"write {'one' if missing == 1 else missing} more {what}{'' if missing == 1 else 's'}"


class _Repairs:
    """Try what the rules propose for each finding, and keep what leaves the fewest errors."""

    def __init__(self, parsed: ParsedAbc, found: list[Diagnostic]) -> None:
        self.parsed = parsed
        self.found = found
        self.before = count_severe(found)
        self.left = MAX_REREAD_CHARS
        self.read: dict[str, tuple[ParsedAbc, list[Diagnostic]]] = {}

    def all(self) -> list[Diagnostic]:
        """Return the findings, with a repair where one is found; errors come first."""
        order = sorted(range(len(self.found)), key=lambda index: self.found[index].severity is not Severity.ERROR)
        repaired = {index: self._repaired(self.found[index]) for index in order}
        known = [finding for finding in repaired.values() if finding.repair is not None]
        return [self._with_cause(repaired[index], known) for index in range(len(self.found))]

    def _with_cause(self, finding: Diagnostic, known: list[Diagnostic]) -> Diagnostic:
        """Give a voice that ends apart the repair of the bar that makes it so, whichever voice that is in."""
        if finding.repair is not None or finding.code != "voices-unequal":
            return finding
        for other in known:
            if other.severity is Severity.ERROR and other.repair is not None:
                read = self._read(apply_repair(self.parsed.text, other.repair))
                if read and not any((one.code, one.voice) == (finding.code, finding.voice) for one in read[1]):
                    message = f"{finding.message.partition(': ')[0]}: {other.message}"
                    return replace(finding, message=message, repair=other.repair)
        return finding

    def _repaired(self, finding: Diagnostic) -> Diagnostic:
        self.left -= len(self.parsed.text)
        if self.left < 0 or finding.code not in REPAIRABLE:
            return finding
        best: tuple[tuple[int, int], str, str] | None = None
        for depth in (0, _MOST_HIDDEN if finding.severity is Severity.ERROR else 0):
            for proposal in islice(_proposals(self.parsed, finding), _MOST_PROPOSALS):
                followed = self._followed(proposal.text, finding, depth)
                if followed is not None and (best is None or followed[0] < best[0]):
                    best = *followed, proposal.message or finding.message
                if best is not None and best[0][0] == 0 and best[0][1] <= self.before[1]:
                    break
            if best is not None:
                _, text, message = best
                return replace(finding, message=message, repair=repair_between(self.parsed.text, text))
        return finding

    def _followed(self, text: str, finding: Diagnostic, depth: int) -> tuple[tuple[int, int], str] | None:
        """Return what is left to mend in a text, and the text, if that is less; what hid in the bar is mended too."""
        read = self._read(text)
        if read is None:
            return None
        parsed, found = read
        counts = count_severe(found)
        if self._is_better(counts, finding):
            return counts, text
        hidden = next((one for one in found if _is_beside(one, finding)), None) if depth else None
        if hidden is None:
            return None
        for proposal in islice(_proposals(parsed, hidden), _MOST_FOLLOWING):
            followed = self._followed(proposal.text, hidden, depth - 1)
            if followed is not None:
                return followed
        return None

    def _is_better(self, counts: tuple[int, int], finding: Diagnostic) -> bool:
        if finding.severity is Severity.ERROR:
            return counts[0] < self.before[0]
        return counts[0] <= self.before[0] and sum(counts) < sum(self.before)

    def _read(self, text: str) -> tuple[ParsedAbc, list[Diagnostic]] | None:
        if text not in self.read:
            if self.left < len(text) or text == self.parsed.text:
                return None
            self.left -= len(text)
            parsed = parse(text)
            self.read[text] = parsed, check_parsed(parsed, repairs=False)
        return self.read[text]


def _is_beside(one: Diagnostic, finding: Diagnostic) -> bool:
    return one.severity is Severity.ERROR and (one.voice, one.bar) == (finding.voice, finding.bar)


def _proposals(parsed: ParsedAbc, finding: Diagnostic) -> Iterator[Proposal]:
    text = parsed.text
    tune = next((tune for tune in reversed(parsed.tunes) if tune.line <= finding.line), None)
    start, end = _line_bounds(text, finding.line)
    place = Place(text, start + finding.column - 1, start, end, tune, finding)
    for rules in (SIGN_RULES, VOICE_RULES):
        if finding.code in rules:
            yield from rules[finding.code](place)


def _line_bounds(text: str, line: int) -> tuple[int, int]:
    """Return where a line, from 1, begins and ends, as the parser counts lines."""
    ends = islice(_LINE_END.finditer(text), max(line - 2, 0), line)
    found = [(match.start(), match.end()) for match in ends]
    start = (1 if text.startswith("\ufeff") else 0) if line == 1 else found.pop(0)[1]
    return start, found[0][0] if found else len(text)


def read_motif(abc: str, key: str, meter: str) -> tuple[MotifNote, ...]:
    """Read a motif: bars of ABC at L:1/8 in a key and a meter, with or without a last bar line.

    Returns:
        Its notes, sorted by onset.

    Raises:
        AbcError: `bad_motif` with the checker's first error, `no_music` where it has no note.
    """
    body = abc.strip().rstrip("|]: ")
    parsed = parse(f"X:1\nT:Motif\nM:{meter}\nL:1/8\nK:{key}\n{body} |]\n")
    wrong = next((one.message for one in check_parsed(parsed, repairs=False) if one.severity is Severity.ERROR), None)
    # The checker takes a short bar in front for a pick-up.
    bars = [bar for tune in parsed.tunes for voice in tune.voices.values() for bar in voice.bars]
    wrong = wrong or next((_finding(bar, "1").message for bar in bars if _differs(bar)), None)
    if wrong is not None:
        raise AbcError(wrong, reason="bad_motif")
    (track, *_) = tune_to_score(first_tune(parsed)).tracks
    rows = zip(track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), strict=True)
    return tuple(
        MotifNote(pitch, Fraction(onset, TICKS_PER_QUARTER), Fraction(length, TICKS_PER_QUARTER))
        for onset, length, pitch in rows
    )


def _check_tune(tune: Tune, findings: Findings) -> None:
    sections = {voice.id: _section_lines(voice) for voice in tune.voices.values()}
    pickup = shared_pickup(tune)
    wrong_numbers: dict[str, list[int]] = {}
    for voice in tune.voices.values():
        for wrong in wrong_bars(voice, pickup):
            bar = wrong.bar
            wrong_numbers.setdefault(voice.id, []).append(bar.number)
            findings.add(wrong.code, wrong.message, bar.line, bar.column, voice.id, bar.number)
        _check_ties(voice, findings)
        _check_repeats(voice, sections[voice.id], findings)
        if voice.bars[-1].closing is None:
            last = voice.bars[-1]
            message = f"the last bar of voice {voice.id} has no bar line, as if the tune were cut off: end it with |]"
            findings.add("missing-bar-line", message, last.line, last.column, voice.id, last.number)
    if len(tune.voices) > 1:
        _check_voices(tune, sections, wrong_numbers, findings)


def _section_lines(voice: Voice) -> list[BarLine]:
    """Return the bar lines that end or begin sections; all with repeats and endings are among them."""
    return [line for line in voice.elements if type(line) is BarLine and line.is_section]


def _check_voices(
    tune: Tune, sections: dict[str, list[BarLine]], wrong: dict[str, list[int]], findings: Findings
) -> None:
    """Voices must be of one length and repeat at the same places; `wrong` are the bars of each that are not full."""
    voices = list(tune.voices.values())
    counts = Counter(voice.length for voice in voices)
    # Most voices are right; where as many say one thing as another, the longest is.
    model = max(voices, key=lambda voice: (counts[voice.length], voice.length))
    begin_alike = len({voice.bars[0].length for voice in voices}) == 1
    pick_ups = None if begin_alike else differing_pick_ups(tune)
    for voice in voices:
        if voice.length != model.length:
            cause = pick_ups.message if pick_ups is not None else ""
            first = " and ".join(filter(None, (_bar_to_mend(one, wrong) for one in (voice, model))))
            _add_unequal(voice, model, cause, first, findings)
    if pick_ups is not None and len(counts) == 1:
        voice = min(voices, key=lambda voice: voice.bars[0].length)
        bar = voice.bars[0]
        findings.add("pickup-alone", pick_ups.message, bar.line, bar.column, voice.id, bar.number)
    marks = _repeat_marks(sections[voices[0].id])
    for voice in voices[1:]:
        if voice.length == voices[0].length and _repeat_marks(sections[voice.id]) != marks:
            bar = voice.bars[0]
            message = f"voice {voice.id} has repeats at other places than voice {voices[0].id}: give both the same"
            findings.add("repeats-differ", message, bar.line, bar.column, voice.id, bar.number)


def _bar_to_mend(voice: Voice, wrong: dict[str, list[int]]) -> str:
    """Name the first bar of a voice that is not full or could not be read; "" where there is none."""
    numbers = [*wrong.get(voice.id, []), *(bar.number for bar in voice.bars if bar.flawed)]
    return f"bar {min(numbers)} of voice {voice.id}" if numbers else ""


def _add_unequal(voice: Voice, model: Voice, cause: str, first: str, findings: Findings) -> None:
    """A finding at the first bar that differs from the same bar of `model`, or at the last where bars are missing.

    Where pick-ups are the cause, that is told, at the voice's first bar; `first` names bars to be mended before.
    """
    bar = voice.bars[-1]
    if cause:
        bar = voice.bars[0]
        findings.add("voices-unequal", cause, bar.line, bar.column, voice.id, bar.number)
        return
    if len(voice.bars) == len(model.bars):
        pairs = zip(voice.bars, model.bars, strict=True)
        bar = next((mine for mine, other in pairs if mine.length != other.length), bar)
    ends_early = voice.length < model.length
    amount = spoken(model.length - voice.length if ends_early else voice.length - model.length)
    message = (
        f"voice {voice.id} ends {amount} {'before' if ends_early else 'after'} voice {model.id} "
        f"({len(voice.bars)} bars against {len(model.bars)}): "
        f"{f'mend {first} first' if first else 'fill it up with notes or rests' if ends_early else 'shorten it'}"
    )
    findings.add("voices-unequal", message, bar.line, bar.column, voice.id, bar.number)


def _repeat_marks(sections: list[BarLine]) -> list[tuple[Length, int, tuple[int, ...]]]:
    return [(line.onset, line.repeats, line.ending) for line in sections if line.repeats or line.ending]


def _check_repeats(voice: Voice, sections: list[BarLine], findings: Findings) -> None:
    """Every `|:` needs its `:|`, and so does every first ending."""
    opened: BarLine | None = None
    first_ending: BarLine | None = None
    for line in sections:
        if line.ending and first_ending is not None and not line.repeats:
            message = "the first ending runs into the second: write :| where the repeat ends"
            _add_at(voice, first_ending, "ending-without-repeat", message, findings)
        first_ending = line if 1 in line.ending else None
        if line.repeats:
            opened = None
        if line.opens_repeat:
            opened = line
    if opened is not None:
        message = "this |: is never closed: write :| where the repeat ends"
        _add_at(voice, opened, "repeat-not-closed", message, findings)


def _add_at(voice: Voice, line: BarLine, code: str, message: str, findings: Findings) -> None:
    """A finding in the bar behind a bar line."""
    bar = voice.bars[min(bisect_left(voice.bars, line.start, key=lambda bar: bar.start), len(voice.bars) - 1)]
    findings.add(code, message, bar.line, bar.column, voice.id, bar.number)


def _check_ties(voice: Voice, findings: Findings) -> None:
    """A tie must lead to a note of the same letter and octave."""
    tied = [index for index, event in enumerate(voice.elements) if type(event) is Event and event.ties]
    for index in tied:
        event = voice.elements[index]
        assert isinstance(event, Event)
        following = _next_event(voice, index, event.layer)
        if following is None or not _lost_ties(event, following):
            continue
        bar = voice.bars[max(bisect_right(voice.bars, event.start, key=lambda bar: bar.start) - 1, 0)]
        column = event.start - bar.start + bar.column
        message = (
            "this note is tied, but the next has another pitch: remove the -, tie to the same note, or write a slur"
        )
        findings.add("tie-not-continued", message, bar.line, column, voice.id, bar.number)


def _next_event(voice: Voice, index: int, layer: int) -> Event | None:
    """Return the next note, None where an ending or a repeat lies between or nothing follows in the layer."""
    for element in voice.elements[index + 1 : index + 40]:
        if isinstance(element, BarLine) and (element.ending or element.repeats):
            return None
        if isinstance(element, Event) and element.layer == layer:
            return element
    return None


def _lost_ties(event: Event, following: Event) -> bool:
    places = {(head.step, head.octave) for head in following.heads}

    def is_lost(index: int, head: Head) -> bool:
        return bool(event.ties >> index & 1) and (head.step, head.octave) not in places

    lost = [is_lost(index, head) for index, head in enumerate(event.heads)]
    return all(lost) if event.ties == (1 << len(event.heads)) - 1 else any(lost)
