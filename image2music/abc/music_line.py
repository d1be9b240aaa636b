"""Reads the tokens of one music line into the current voice."""

from __future__ import annotations

import re
from typing import Protocol

from image2music.abc import lexer as tokens
from image2music.abc.ast import Bar, BarLine, Sound, Span
from image2music.abc.builder import MAX_EVENT, MAX_REST_BARS, VoiceBuilder
from image2music.abc.diagnostics import Findings, about_character, about_note, about_words, words_at
from image2music.abc.lexer import (
    BLANKS,
    MUSIC,
    TOKENS,
    ReadToken,
    TokenMusic,
    read_bar_line,
    read_ending,
    read_grace,
    read_note,
    read_note_group,
    read_rest,
    read_tuplet,
)
from image2music.music.theory import scaled

VELOCITIES = {
    "pppp": 20, "ppp": 30, "pp": 45, "p": 60, "mp": 75, "mf": 90, "f": 105, "ff": 115, "fff": 122, "ffff": 127,
}  # fmt: skip
NOT_NOTES = re.compile(r"\"[^\"]*\"|![^!\s]*!|%.*")
"""What a line of music may hold beside notes: annotations, chord symbols, decorations, a comment."""
_NO_NOTES = frozenset("hijklmnopqrstvwHIJKLMNOPQRSTVWY")
_SHORT_DECORATIONS = {".": "staccato", "L": "accent", "H": "fermata", "T": "trill"}
_PLUS_DECORATION = re.compile(r"\+[^+\s|]{1,40}\+")
"""What `I:decoration +` makes of plus signs (ABC 2.1, 4.14); names of decorations are read so in any case."""
_FREE = "[I-KNQ-RU-Wh-tw]"
_OTHER_MARK = r"(?=[\^_=\[{\"!.~(])"
_DECORATED_RUN = re.compile(
    rf"(?:{_FREE}[HLMOPSTuv]?[A-Ga-gzxZX]{{1,32}}){{1,32}}(?:{_FREE}?{_OTHER_MARK})?|{_FREE}{_OTHER_MARK}"
)
_ALONE = re.compile(rf"{_FREE}[ \t]+(?:[\^_=]|[A-Ga-gzxZX](?![A-Za-z])|\[)")
"""Letters that ABC 2.1 leaves free (4.16), each before notes; anything longer than one letter is a word."""


class LinePosition(Protocol):
    """The line that is read, from 1, and the offset of its first character."""

    line: int
    start: int


class MusicContext(Protocol):
    """What a line needs from the tune around it."""

    findings: Findings
    spans: list[Span]
    user_symbols: set[str]
    plus_decorations: bool

    @property
    def position(self) -> LinePosition:
        """Where reading is."""

    def current(self) -> VoiceBuilder:
        """Return the voice that music goes to now."""

    def inline_field(self, letter: str, value: str, start: int) -> None:
        """Handle `[K:G]` and the like."""


def looks_like_prose(line: str) -> bool:
    """Say whether a line without bar lines is words for people: three words or more, most of them not made of notes."""
    if "|" in line or "[" in line:
        return False
    words = [word for word in NOT_NOTES.sub(" ", line).split() if word.strip(".,;:!?()'\"").isalpha()]
    strange = [word for word in words if not _NO_NOTES.isdisjoint(word)]
    if all(_DECORATED_RUN.fullmatch(word) for word in strange):
        return False
    return len(strange) >= 3 and 2 * len(strange) > len(words)


class MusicLine:
    """Read one line; a fresh object per line keeps what is only true within it."""

    def __init__(self, context: MusicContext, text: str) -> None:
        self.context = context
        self.text = text
        self.base = context.position.start
        self.builder = context.current()
        self.span_start = context.position.start
        self.skip_until = 0

    def read(self) -> None:
        """Read every token of the line."""
        text = self.text
        base = self.base
        at = len(text) - len(text.lstrip(BLANKS))
        builder = self.builder
        line_tokens = iter(TOKENS.findall(text, at))
        for token in line_tokens:
            start = at
            at += len(token)
            known = builder.soundings.get(token)
            if known is not None:
                heads, length, ties, size = known
                if builder.open_bar is None:
                    self.open_bar(start)
                builder.add_event(heads, length, ties, base + start, base + start + size)
            elif token[0] == "|":
                self.bar_line(token.rstrip(BLANKS), start)
            else:
                self.unknown(token, start)
                builder = self.builder
                while at < self.skip_until:
                    at += len(next(line_tokens, text))
        self.flush(base + len(text))

    def unknown(self, token: str, start: int) -> None:
        """Read a token that is not remembered, or whose meaning depends on what stands around it."""
        match = MUSIC.match(self.text, start)
        assert match is not None and match.lastindex is not None
        kind = match.lastindex
        text = match[kind]
        if kind == tokens.NOTE:
            self.sound(read_note(text), token, text, start)
        elif kind == tokens.CHORD:
            self.sound(read_note_group(text), token, text, start)
        elif kind == tokens.BAR:
            self.bar_line(text, start)
        elif kind == tokens.REST:
            self.rest(token, text, start)
        elif kind == tokens.FIELD:
            self.inline_field(text, start)
        else:
            self.other(kind, text, start)

    def report(self, code: str, message: str, start: int) -> None:
        """Report a finding at column `start` of this line, in the current voice and bar."""
        builder = self.builder
        line = self.context.position.line
        self.context.findings.add(code, message, line, start + 1, builder.voice.id, builder.bar_number)

    def flaw(self, code: str, message: str, start: int) -> None:
        """Report a finding that makes the bar's length meaningless; only the first of a bar is told."""
        bar = self.open_bar(start)
        if not bar.flawed:
            self.report(code, message, start)
        bar.flawed = True

    def open_bar(self, start: int) -> Bar:
        """Return the open bar of the current voice, opened here where there is none."""
        return self.builder.start_bar(self.base + start, self.context.position.line, start + 1)

    def flush(self, end: int) -> None:
        """Give the characters since the last flush to the current voice and bar."""
        start = self.span_start
        if end > start:
            builder = self.builder
            self.context.spans.append(Span(start, end, builder.voice.id, builder.bar_number))
        self.span_start = end

    # --- what sounds

    def sound(self, spelling: TokenMusic, token: str, text: str, start: int) -> None:
        """Add a note or a chord that was not met with this unit length before."""
        builder = self.builder
        self.open_bar(start)
        length = scaled(builder.unit, spelling.numerator, spelling.denominator)
        if spelling.problem:
            self.problem(spelling.problem, text, start)
        elif length > MAX_EVENT:
            self.flaw("length-out-of-range", f"{text} lasts more than 64 whole notes: shorten it", start)
            length = builder.unit
        else:
            builder.soundings.remember(token, ReadToken(spelling.heads, length, spelling.ties, len(text)))
        if spelling.heads:
            base = self.base
            builder.add_event(spelling.heads, length, spelling.ties, base + start, base + start + len(text))

    def problem(self, code: str, text: str, start: int) -> None:
        """Say what is wrong inside one note, chord or rest."""
        if code == "bad-length":
            self.flaw(code, about_note(code, text), start)
        else:
            self.report(code, about_note(code, text), start)

    def rest(self, token: str, text: str, start: int) -> None:
        """Add a rest: `z`, `x` (in unit lengths) or `Z`, `X` (in bars)."""
        builder = self.builder
        spelling = read_rest(text)
        self.open_bar(start)
        base = self.base
        if spelling.problem:
            self.problem(spelling.problem, text, start)
        if text[0] in "ZX":
            count = spelling.numerator
            if spelling.denominator != 1 or count > MAX_REST_BARS:
                self.flaw("bad-length", f"{text[:24]} is not a number of bars from 1 to {MAX_REST_BARS}", start)
                count = 1
            builder.rest_bars(count, base + start, base + start + len(text))
            return
        length = scaled(builder.unit, spelling.numerator, spelling.denominator)
        if length > MAX_EVENT:
            self.flaw("length-out-of-range", f"{text} lasts more than 64 whole notes: shorten it", start)
            length = builder.unit
        elif not spelling.problem:
            builder.soundings.remember(token, ReadToken((), length, 0, len(text)))
        builder.add_event((), length, 0, base + start, base + start + len(text))

    # --- what structures

    def bar_line(self, text: str, start: int) -> None:
        """Read a bar line: `|`, `||`, `|]`, `[|`, `|:`, `:|`, `::` with or without an ending's number behind."""
        builder = self.builder
        sign = read_bar_line(text)
        ending = self.ending(sign.ending, start + len(text) - len(sign.ending)) if sign.ending else ()
        if builder.tuplet_left and builder.open_bar is not None:
            self.short_tuplet(start)
        if builder.broken is not None and builder.open_bar is not None:
            self.flaw("bad-broken-rhythm", "< or > needs a note on both sides: the bar ends behind it", start)
        end = self.base + start + len(text)
        bar_line = BarLine(0, self.base + start, sign.repeats, sign.opens_repeat, sign.is_section, ending)
        number = builder.bar_number
        if builder.close_bar(bar_line, end) is not None:
            self.context.spans.append(Span(self.span_start, end, builder.voice.id, number))
            self.span_start = end

    def short_tuplet(self, start: int) -> None:
        """Report a tuplet that its bar line cuts."""
        builder = self.builder
        q, p = builder.tuplet
        left = builder.tuplet_left
        notes = "note" if left == 1 else "notes"
        place = builder.tuplet_start - self.base
        self.flaw(
            "short-tuplet",
            f"the tuplet ({p}:{q} still wants {left} {notes} when the bar ends: complete it or write plain notes",
            place if 0 <= place <= start else start,
        )

    def ending(self, text: str, start: int) -> tuple[int, ...]:
        """Read `1`, `1,3`, `1-3`: the passes that play what follows."""
        passes, problem = read_ending(text)
        if problem:
            self.report("bad-ending", problem, start)
        return passes

    def inline_field(self, text: str, start: int) -> None:
        """Read `[V:2]`, `[K:G]`, ..."""
        letter = text[1]
        if letter == "V":
            self.flush(self.base + start)
        self.context.inline_field(letter, text[3:-1], start)
        self.builder = self.context.current() if letter == "V" else self.builder

    def other(self, kind: int, text: str, start: int) -> None:
        """Read the rarer tokens."""
        builder = self.builder
        if kind in (tokens.SPACER, tokens.COMMENT, tokens.CONTINUATION):
            return
        if kind == tokens.STRING:
            builder.mark(text)
            return
        if kind == tokens.DECORATION:
            name = text.strip("!+") if len(text) > 2 else self.short_decoration(text)
            builder.mark(name)
            velocity = VELOCITIES.get(name)
            if velocity is not None and len(text) > 2:
                builder.add_change(Sound("velocity", velocity), self.base + start)
        elif kind == tokens.TIE:
            self.tie(start)
        elif kind == tokens.SLUR_OPEN:
            builder.slurs.append((self.context.position.line, start + 1, builder.bar_number))
            builder.mark("(")
        elif kind == tokens.SLUR_CLOSE:
            if not builder.close_slur():
                self.report("unopened-slur", "this ) closes no slur: remove it or open the slur with (", start)
        elif kind == tokens.TUPLET:
            self.tuplet(text, start)
        elif kind == tokens.BROKEN:
            if not builder.break_rhythm(text):
                self.flaw("bad-broken-rhythm", f"{text[:8]} needs one note on each side: write A>B or A<B", start)
        elif kind == tokens.GRACE:
            self.grace(text, start)
        elif kind == tokens.ENDING:
            self.variant(text, start)
        elif kind == tokens.OVERLAY:
            if not builder.start_overlay():
                self.report(
                    "overlay-length", "& stands before any note of its bar: write the first layer before it", start
                )
        else:
            self.junk(text, start)

    def short_decoration(self, text: str) -> str:
        """Return the name of a decoration of one character; "" where U: gives it another meaning."""
        return "" if text in self.context.user_symbols else _SHORT_DECORATIONS.get(text, "")

    def variant(self, text: str, start: int) -> None:
        """Read `[1`: an ending that starts here, whether or not a bar line stands before it."""
        digits = text[1:].strip()
        ending = () if digits.startswith('"') else self.ending(digits, start)
        offset = self.base + start
        number = self.builder.bar_number
        line = BarLine(0, offset, 0, False, True, ending)
        if self.builder.close_bar(line, offset) is not None and offset > self.span_start:
            self.context.spans.append(Span(self.span_start, offset, self.builder.voice.id, number))
            self.span_start = offset

    def tie(self, start: int) -> None:
        """Tie every head of the event before it."""
        last = self.builder.last
        if last is None or not last.heads:
            self.report("stray-tie", "this - ties no note: put it right behind a note, C-", start)
            return
        last.ties = (1 << len(last.heads)) - 1

    def grace(self, text: str, start: int) -> None:
        """Keep grace notes (`{gab}`) for the next event."""
        notes, problem = read_grace(text)
        if problem:
            self.report("bad-grace", f"{text[:24]} holds something other than notes: write {{gab}}", start)
        self.builder.grace += notes

    def tuplet(self, text: str, start: int) -> None:
        """Start a tuplet `(p:q:r`."""
        numbers = read_tuplet(text, self.builder.meter.is_compound)
        if numbers is None:
            self.flaw(
                "bad-tuplet", f"{text[:16]} is no tuplet: write (p:q:r, p notes in the time of q, as (3:2:3", start
            )
            return
        if self.builder.tuplet_left:
            self.open_bar(start)
            self.short_tuplet(start)
        self.builder.start_tuplet(*numbers, self.base + start)

    # --- what cannot be read

    def stands_before_note(self, start: int) -> bool:
        """Say whether a letter without a meaning is a decoration of the note behind it, and not the start of a word."""
        text = self.text
        if _ALONE.match(text, start) and not text[max(start - 1, 0) : start].isalpha():
            return True
        run = _DECORATED_RUN.match(text, start)
        if run is None or (start and text[start - 1] in "HLMOPSTuv"):
            return False
        behind = text[run.end() : run.end() + 1]
        return not (behind.isalpha() or (behind == "'" and text[run.end() + 1 : run.end() + 2].isalpha()))

    def junk(self, text: str, start: int) -> None:
        """Report a character that starts no token."""
        if text.isalpha() and text.isascii():
            if text in self.context.user_symbols:
                return
            if self.stands_before_note(start):
                message = f"{text} is no decoration: write !name!, or define it with U:, the note is played without it"
                self.report("unknown-decoration", message, start)
                return
            words = words_at(self.text, start)
            self.flaw("text-in-music", about_words(words), start)
            self.skip_until = start + len(words.split()[0])
            return
        plus = _PLUS_DECORATION.match(self.text, start) if self.context.plus_decorations else None
        if plus is not None:
            self.skip_until = plus.end()
            return
        if text in "!*" and not self.text[start + 1 :].strip():
            # Older ABC breaks lines of the score so.
            return
        self.flaw(*about_character(text), start)
        if text == '"':
            place = self.text.find("|", start)
            self.skip_until = place if place >= 0 else len(self.text)
