"""Checks ABC: what the parser could not read, bars that are not full, voices that do not fit together.

The codes, their severities and meanings are in `abc_codes.CODES`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter

from image2music.notation.abc_findings import Findings
from image2music.notation.abc_lengths import Length, spoken
from image2music.notation.abc_parser import ParsedAbc, parse
from image2music.notation.abc_tokens import Head
from image2music.notation.abc_tree import BarLine, Event, Tune, Voice
from image2music.notation.bar_lengths import wrong_bars
from image2music.notation.diagnostic import Diagnostic


def check(text: str) -> list[Diagnostic]:
    """All findings in an ABC text of one or more tunes, sorted by place.

    Never raises for any text; linear in its length. A tune is right if no finding is an error.
    """
    return check_parsed(parse(text))


def check_parsed(parsed: ParsedAbc) -> list[Diagnostic]:
    """As `check`, for a text that is parsed already."""
    findings = Findings()
    findings.diagnostics.extend(parsed.diagnostics)
    for tune in parsed.tunes:
        _check_tune(tune, findings)
    return sorted(findings.diagnostics, key=lambda finding: (finding.line, finding.column))


def _check_tune(tune: Tune, findings: Findings) -> None:
    sections = {voice.id: _section_lines(voice) for voice in tune.voices.values()}
    for voice in tune.voices.values():
        for wrong in wrong_bars(voice):
            bar = wrong.bar
            findings.add(wrong.code, wrong.message, bar.line, bar.column, voice.id, bar.number)
        _check_ties(voice, findings)
        _check_repeats(voice, sections[voice.id], findings)
        if voice.bars[-1].closing is None:
            last = voice.bars[-1]
            message = f"the last bar of voice {voice.id} has no bar line, as if the tune were cut off: end it with |]"
            findings.add("missing-bar-line", message, last.line, last.column, voice.id, last.number)
    if len(tune.voices) > 1:
        _check_voices(tune, sections, findings)


def _section_lines(voice: Voice) -> list[BarLine]:
    """The bar lines that end or begin sections; all with repeats and endings are among them."""
    return [line for line in voice.elements if type(line) is BarLine and line.is_section]


def _check_voices(tune: Tune, sections: dict[str, list[BarLine]], findings: Findings) -> None:
    """Voices must be of one length and repeat at the same places."""
    voices = list(tune.voices.values())
    counts = Counter(voice.length for voice in voices)
    # Most voices are right; where as many say one thing as another, the longest is.
    model = max(voices, key=lambda voice: (counts[voice.length], voice.length))
    for voice in voices:
        if voice.length != model.length:
            _add_unequal(voice, model, findings)
    marks = _repeat_marks(sections[voices[0].id])
    for voice in voices[1:]:
        if voice.length == voices[0].length and _repeat_marks(sections[voice.id]) != marks:
            bar = voice.bars[0]
            message = f"voice {voice.id} has repeats at other places than voice {voices[0].id}: give both the same"
            findings.add("repeats-differ", message, bar.line, bar.column, voice.id, bar.number)


def _add_unequal(voice: Voice, model: Voice, findings: Findings) -> None:
    """A finding at the first bar that differs from the same bar of `model`, or at the last where bars are missing."""
    bar = voice.bars[-1]
    if len(voice.bars) == len(model.bars):
        pairs = zip(voice.bars, model.bars, strict=True)
        bar = next((mine for mine, other in pairs if mine.length != other.length), bar)
    ends_early = voice.length < model.length
    amount = spoken(model.length - voice.length if ends_early else voice.length - model.length)
    message = (
        f"voice {voice.id} ends {amount} {'before' if ends_early else 'after'} voice {model.id} "
        f"({len(voice.bars)} bars against {len(model.bars)}): "
        f"{'fill it up with notes or rests' if ends_early else 'shorten it'}"
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
        message = "this note is tied, but the next has another pitch: tie to the same note, or write a slur ( )"
        findings.add("tie-not-continued", message, bar.line, column, voice.id, bar.number)


def _next_event(voice: Voice, index: int, layer: int) -> Event | None:
    """The next note, None where an ending or a repeat lies between or nothing follows in the layer."""
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
