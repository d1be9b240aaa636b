"""Repairs of what cannot be read, or is read otherwise than it was meant: fields, notes, brackets, marks and words.

Each rule proposes whole texts for one finding, the likeliest first; nothing is judged here. What may be notes is never
deleted together with a sign beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial

from image2music.abc.ast import Event, Tune
from image2music.abc.fields import key_of_words, meter_of_words, tempo_of_words
from image2music.abc.lexer import BROKEN, CHORD, MUSIC, NOTE, REST, read_note, read_tuplet
from image2music.abc.repairs.bars import Place, Proposal, Rule, edited, meter_of, written_length
from image2music.music.theory import Length

# --- fields


def _value(place: Place, letter: str) -> tuple[int, str] | None:
    """Length and text of the value of a field, which the place begins; None where another field stands there."""
    text, offset = place.text, place.offset
    if text[offset - 2 : offset] != f"{letter}:":
        return None
    inline = text[offset - 3 : offset - 2] == "[" and "]" in place.rest
    value = place.rest.split("]", 1)[0] if inline else place.rest.split("%", 1)[0]
    return len(value.rstrip()), value.strip()


def _meters(tune: Tune | None) -> list[str]:
    """The meter that most bars of a tune hold, most frequent first."""
    lengths: dict[Length, int] = {}
    for voice in tune.voices.values() if tune is not None else ():
        for bar in voice.bars:
            lengths[bar.length] = lengths.get(bar.length, 0) + 1
    best = sorted(lengths, key=lambda length: -lengths[length])[:1]
    return [meter for length in best if (meter := meter_of(length)) is not None]


def _field_values(place: Place, letter: str, values: Callable[[str], list[str]]) -> Iterator[Proposal]:
    found = _value(place, letter)
    if found is not None:
        size, value = found
        for new in values(value):
            yield place.put(0, size, new)


def _bad_meter(place: Place) -> Iterator[Proposal]:
    def values(value: str) -> list[str]:
        spoken = meter_of_words(value)
        return [*([spoken] if spoken else []), *_meters(place.tune), "4/4", "none"]

    yield from _field_values(place, "M", values)


def _bad_tempo(place: Place) -> Iterator[Proposal]:
    def values(value: str) -> list[str]:
        new = tempo_of_words(value, value) or "1/4=120"
        words = re.search(r'"[^"]*"', value)
        return [f"{words[0]} {new}" if words else new, "1/4=120"]

    yield from _field_values(place, "Q", values)


def _bad_voice(place: Place) -> Iterator[Proposal]:
    found = _value(place, "V")
    if found is None:
        return
    heard = place.tune.voices if place.tune is not None else {}
    for name in re.findall(r"^V:[ \t]*(\S+)", place.text, re.MULTILINE):
        if name not in heard:
            yield place.put(0, 0, name)
            break
    inline = place.text[place.offset - 3 : place.offset - 2] == "["
    yield place.put(-3, found[0] + 1, "") if inline else place.without_line()


def _free_number(place: Place) -> Iterator[Proposal]:
    found = _value(place.moved(place.start + 2), "X")
    if found is not None:
        used = {int(number) for number in re.findall(r"^X:[ \t]*([0-9]{1,9})", place.text, re.MULTILINE)}
        free = next(number for number in range(1, len(used) + 2) if number not in used)
        yield place.moved(place.start + 2).put(0, found[0], str(free))


def _missing_reference(place: Place) -> Iterator[Proposal]:
    yield place.moved(place.start).put(0, 0, "X:1\n")


def _missing_key(place: Place) -> Iterator[Proposal]:
    yield place.moved(place.start).put(0, 0, "K:C\n")
    if place.tune is not None:
        head = place.text[: place.tune.end].rstrip()
        yield Proposal(f"{head}\nK:C\n{place.text[place.tune.end :]}")


def _missing_meter(place: Place) -> Iterator[Proposal]:
    if place.tune is not None:
        for meter in (*_meters(place.tune), "none"):
            start = place.tune.music_start
            message = f"no M: line, so bars cannot be checked: write the meter in the header, M:{meter}"
            yield Proposal(edited(place.text, [(start, start, f"M:{meter}\n")]), message)


def _voice_empty(place: Place) -> Iterator[Proposal]:
    """Remove a voice that only the header names; give one that the music names bars of rest."""
    name = re.escape(place.finding.voice or "")
    body = place.tune.music_start if place.tune is not None else 0
    inside = re.compile(rf"^V:[ \t]*{name}(?![^\s%]).*$|\[V:[ \t]*{name}[ \t]*\]", re.MULTILINE)
    named = inside.search(place.text, body, place.tune.end) if place.tune is not None else None
    if named is None or place.tune is None:
        yield place.without_line()
        return
    bars = max((voice.bars[-1].number for voice in place.tune.voices.values() if voice.bars), default=1)
    rests = f"Z{bars} |]"
    yield Proposal(
        edited(place.text, [(named.end(), named.end(), f" {rests}" if named[0][0] == "[" else f"\n{rests}")])
    )
    yield Proposal(edited(place.text, [(named.start(), named.end(), "")]))


def _bad_midi(place: Place) -> Iterator[Proposal]:
    line = place.text[place.start : place.end]
    inline = list(re.finditer(r"\[I:[ \t]*MIDI[^\]]*\]", line))
    if len(inline) == 1 and not line.startswith("%%"):
        yield place.moved(place.start).put(*inline[0].span(), "")
    elif not inline:
        yield place.without_line()


def _upper_case(place: Place) -> Iterator[Proposal]:
    yield place.put(0, 1, place.text[place.offset].upper())


def _misplaced(place: Place) -> Iterator[Proposal]:
    found = _value(place, "X")
    if found is not None:
        yield place.put(-3, found[0] + 1, "")


def _bad_inline(place: Place) -> Iterator[Proposal]:
    match = re.match(r"\[[A-Za-z]:[^\[\]]*\]", place.rest)
    if match is not None:
        yield place.cut(match.end())


def _blank_line(place: Place) -> Iterator[Proposal]:
    match = re.compile(r"(?:[ \t\f\v]*(?:\r\n|\r|\n))+").match(place.text, place.start)
    if match is not None:
        yield Proposal(edited(place.text, [(*match.span(), "")]))


def _outside(place: Place) -> Iterator[Proposal]:
    """Put % before every line of a block of text."""
    match = re.compile(r"(?:(?!X:)[^\r\n]+(?:\r\n|\r|\n|$))+").match(place.text, place.start)
    if match is not None:
        said = "".join(f"% {line}" for line in match[0].splitlines(keepends=True))
        yield Proposal(edited(place.text, [(*match.span(), said)]))


# --- notes, chords and rests


def _needed(place: Place) -> str | None:
    """The length that would fill the bar, as it is written behind the event at the place."""
    bar, event = place.bar, place.event()
    if bar is None or bar.expected is None or event is None:
        return None
    return written_length(bar.expected - (bar.length - event.duration), event.grace_unit)


def _with_length(token: str, length: str) -> str:
    if token[0] == "[":
        return re.sub(r"[0-9/]+", "", token[: token.rindex("]")]) + "]" + length
    return re.sub(r"[0-9/]+$", "", token) + length


def _length(place: Place) -> Iterator[Proposal]:
    token = place.token()
    if token is None or token.lastindex not in (NOTE, CHORD, REST):
        return
    text = token[token.lastindex]
    for length in (_needed(place), ""):
        if length is not None:
            name = "z" + text[1:] if text[0] in "ZX" and length else text
            yield place.put(0, len(token[0]), _with_length(name, length))


def _odd_divisor(place: Place) -> Iterator[Proposal]:
    """`C4/3` as the one note of a tuplet, `(3:2:1C2`; neighbours of the same kind as one tuplet."""
    at, ratio = place.offset, 0
    tokens: list[str] = []
    while (token := MUSIC.match(place.text, at, place.end)) is not None and token.lastindex in (NOTE, CHORD, REST):
        plain = re.fullmatch(r"(.*?[A-Ga-gzx,'\]])([0-9]*)/([0-9]+)", token[token.lastindex])
        if plain is None or "/" in plain[1]:
            break
        odd = int(plain[3])
        while odd % 2 == 0 and odd:
            odd //= 2
        if odd < 3 or odd > 64 or (ratio or odd) != odd or (len(tokens) == odd):
            break
        ratio, power = odd, 1 << (odd.bit_length() - 1)
        value = Fraction(int(plain[2] or 1), int(plain[3])) * odd / power
        number = "" if value.numerator == 1 else str(value.numerator)
        tokens.append(plain[1] + (number if value.denominator == 1 else f"{number}/{value.denominator}"))
        at = token.end()
    if not ratio:
        return
    behind = MUSIC.match(place.text, at, place.end)
    before = place.text[place.start : place.offset].rstrip()[-1:]
    if (before in "<>" and before) or (behind is not None and behind.lastindex == BROKEN):
        return
    power = 1 << (ratio.bit_length() - 1)
    yield place.put(0, at - place.offset, f"({ratio}:{power}:{len(tokens)}" + "".join(tokens))


_ONE_NOTE = re.compile(r"(?:\^\^|__|=|[\^_](?:[0-9]?/[0-9]?)?)?[A-Ga-g][,']*")


def _renote(place: Place, change: Callable[[str], str]) -> Iterator[Proposal]:
    token = place.token()
    if token is not None and token.lastindex in (NOTE, CHORD):
        text = token[token.lastindex]
        yield place.put(0, len(text), _ONE_NOTE.sub(lambda match: change(match[0]), text))


def _in_range(place: Place) -> Iterator[Proposal]:
    low, high = -1, 9  # MIDI's C is in octave -1

    def change(note: str) -> str:
        octave = read_note(note).heads[0].octave
        bare = note.rstrip(",'")
        if low <= octave <= high:
            return note
        marks = (low if octave < low else high) - (5 if bare[-1].islower() else 4)
        return bare + ("'" * marks if marks > 0 else "," * -marks)

    yield from _renote(place, change)


def _naturals(place: Place) -> Iterator[Proposal]:
    yield from _renote(place, lambda note: re.sub(r"^(?:[\^_][0-9]?/[0-9]?|[\^_][0-9])", "=", note))


def _one_length(place: Place) -> Iterator[Proposal]:
    token = place.token()
    if token is None or token.lastindex != CHORD:
        return
    inside, outside = token[CHORD][1:].rsplit("]", 1)
    lengths = re.findall(rf"{_ONE_NOTE.pattern}([0-9/]*)", inside)
    new = re.sub(rf"({_ONE_NOTE.pattern})[0-9/]*", lambda match: match[1] + lengths[0], inside)
    yield place.put(0, len(token[CHORD]), f"[{new}]{outside}")


def _empty_chord(place: Place) -> Iterator[Proposal]:
    token, bar = place.token(), place.bar
    if token is None or token.lastindex != CHORD:
        return
    yield place.cut(len(token[CHORD]))
    events = [] if bar is None or place.tune is None else place.tune.voices[place.finding.voice or ""].elements
    unit = next((e.grace_unit for e in reversed(events) if isinstance(e, Event) and e.start < place.offset), None)
    missing = (bar.expected or 0) - bar.length if bar is not None else 0
    rest = written_length(missing, unit) if unit is not None and missing > 0 else None
    if rest is not None:
        yield place.put(0, len(token[CHORD]), f"z{rest}")


def _out_of_tune_tie(place: Place) -> Iterator[Proposal]:
    token = place.token()
    if token is None or token.lastindex not in (NOTE, CHORD):
        return
    size = len(token[token.lastindex])
    outer = re.match(r"[ \t]*\.?-", place.rest[size:])
    if outer is not None:
        yield place.put(size, size + outer.end(), "")
    if token.lastindex == CHORD:
        yield place.put(0, size, token[CHORD].replace("-", ""))


# --- brackets and marks

_NOTES_BEHIND = re.compile(r"[ \t]*(?:\^\^|__|=|[\^_](?:[0-9]?/[0-9]?)?)?[A-Ga-g][,']*[0-9]*(?:/+[0-9]*)?-?")
_WORD_BEHIND = re.compile(r"[A-G][#b]?(?:m|min|maj|dim|aug|sus|add)?[0-9]{0,2}(?:/[A-G][#b]?)?(?=[\s|]|$)|[^\s|\"]+")
_MARK = re.compile(r"[A-Za-z0-9().<>]{1,20}?(?=[\s|]|$)")


def _closing(place: Place, sign: str) -> Iterator[Proposal]:
    """Close behind the notes up to a blank; remove the sign; close behind two, three or four notes."""
    ends: list[int] = []
    at = 1
    while (match := _NOTES_BEHIND.match(place.rest, at)) is not None and len(ends) < 6:
        at = match.end()
        ends.append(at)
    run = re.match(r"[^\s|\]{}\[\"!]*", place.rest[1:])
    first = 1 + run.end() if run is not None else 1
    order = [end for end in ends if end == first] + [0] + [end for end in ends if end != first]
    for end in order:
        yield place.put(end, end, sign) if end else place.cut()


def _unclosed_chord(place: Place) -> Iterator[Proposal]:
    """Close it as all signs are, or in front of what is the chord's length (`[CEG]4`); keep only the notes in it."""
    inside = re.match(r"\[[A-Ga-g,'^_=]+(?=[0-9/])", place.rest)
    if inside is not None:
        yield place.put(inside.end(), inside.end(), "]")
    closed = re.match(r"\[([^\[\]|]*)\]", place.rest)
    if closed is not None:
        yield place.put(1, closed.end(1), "".join(_NOTES_BEHIND.findall(closed[1])))
    yield from _closing(place, "]")


def _unopened(place: Place, sign: str) -> Iterator[Proposal]:
    """Remove the sign, or open behind the last blank or bar line."""
    yield place.cut()
    before = place.text[place.start : place.offset]
    run = re.search(r"[^\s|\[\]{}()\"!:]+$", before)
    if run is not None:
        yield place.put(-len(run[0]), -len(run[0]), sign)


def _unclosed_string(place: Place) -> Iterator[Proposal]:
    yield place.cut()
    match = _WORD_BEHIND.match(place.rest, 1)
    if match is not None:
        yield place.put(match.end(), match.end(), '"')


def _unclosed_decoration(place: Place) -> Iterator[Proposal]:
    match = _MARK.match(place.rest, 1)
    if match is not None and not re.fullmatch(r"[A-Ga-gz0-9]+", match[0]):
        yield place.put(match.end(), match.end(), "!")
    yield place.cut()
    if match is not None:
        yield place.put(match.end(), match.end(), "!")


def _unclosed_slur(place: Place) -> Iterator[Proposal]:
    """Close behind the last note of the bar, if there are two; else remove the sign."""
    voice, bar = place.voice, place.bar
    if voice is not None and bar is not None and bar.closing is not None:
        inside = [e for e in voice.elements if isinstance(e, Event) and place.offset < e.start < bar.closing.start]
        if len(inside) > 1:
            end = inside[-1].end
            yield Proposal(edited(place.text, [(end, end, ")")]))
    yield place.cut()


def _bad_grace(place: Place) -> Iterator[Proposal]:
    match = re.match(r"\{([^{}]*)\}", place.rest)
    if match is not None:
        notes = "".join(note.strip() for note in _NOTES_BEHIND.findall(match[1]))
        yield place.put(0, match.end(), "{" + notes + "}" if notes else "")
        yield place.cut(match.end())


def _tuplet(place: Place) -> Iterator[Proposal]:
    """Write the notes plain, or as a tuplet of as many as there are."""
    tuplet = re.compile(r"\([0-9]{1,4}(?::[0-9]{0,4}){0,2}")
    here = tuplet.match(place.text, place.offset)
    bar = place.bar
    if here is None and bar is not None and place.tune is not None:
        before = list(tuplet.finditer(place.text, place.tune.music_start, bar.end))
        here = before[-1] if before else None
    if here is None:
        return
    (start, end), notes = here.span(), 0
    at = end
    while (token := MUSIC.match(place.text, at)) is not None and token.lastindex in (NOTE, CHORD, REST) and notes < 9:
        at, notes = token.end(), notes + 1
    length = re.search(r"[0-9]*(?:/+[0-9]*)?[ \t]*$", place.text[end:at])
    numbers = read_tuplet(here[0], bar is not None and bar.meter.is_compound)
    signs = [f"({numbers[0]}:{numbers[1]}:{notes}"] if numbers is not None and notes else []
    if numbers is not None and length is not None and 0 < notes < numbers[2]:
        rests = f"z{length[0].strip()}" * (numbers[2] - notes)
        yield Proposal(edited(place.text, [(at - len(length[0]) + len(length[0].rstrip()), at, f"{rests} ")]))
    for sign in (*signs, "", *(f"({number}" for number in (3, 2, 4, 5) if notes >= number)):
        yield Proposal(edited(place.text, [(start, end, sign)]))


def _broken(place: Place) -> Iterator[Proposal]:
    here = re.match(r"[<>]+", place.rest)
    if here is not None:
        yield place.cut(here.end())
        return
    before = re.search(r"([<>]+)[^<>]*$", place.text[place.start : place.offset])
    if before is not None:
        yield Proposal(edited(place.text, [(place.start + before.start(1), place.start + before.end(1), "")]))


def _stray_accidental(place: Place) -> Iterator[Proposal]:
    sign = re.match(r"[\^_=]+", place.rest)
    size = sign.end() if sign is not None else 1
    behind = re.match(r"[ \t]+(?=[A-Ga-g])", place.rest[size:])
    before = re.search(r"(?<![\^_=])[A-Ga-g][,']*[0-9/]*[ \t]?$", place.text[place.start : place.offset])
    if behind is not None and before is None:
        yield place.put(size, size + behind.end(), "")
    if before is not None and sign is not None:
        at = place.start + before.start()
        yield Proposal(edited(place.text, [(at, at, sign[0]), (place.offset, place.offset + size, "")]))
    yield place.cut(size)
    yield from _lost_note(place, size)


def _words(place: Place) -> Iterator[Proposal]:
    """Take words out of the music: the whole line, what stands in parentheses, or the words that are not notes."""
    line = place.text[place.start : place.end]
    if line.startswith("```"):
        yield place.without_line()
        return
    if place.offset == place.start and "|" not in line:
        yield place.moved(place.start).put(0, 0, "% ")
    opening = line.rfind("(", 0, place.offset - place.start)
    around = re.compile(r"\([A-Za-z ,.']*\)").match(line, opening) if opening >= 0 else None
    if around is not None and place.start + around.end() > place.offset:
        yield Proposal(edited(place.text, [(place.start + around.start(), place.start + around.end(), "")]))
    bar = re.match(r"[^|\[\]]*", place.rest)
    stretch = bar[0] if bar is not None else ""
    strange = re.compile(r"(?<![A-Za-z\"!])(?=[A-Za-z]*[h-wyH-WY])[A-Za-z][A-Za-z']*[.,;:!?]*")
    yield place.put(0, len(stretch), strange.sub("", stretch))
    word = re.match(r"[A-Za-z]+[.,;:!?]*", place.rest)
    if word is not None:
        yield place.put(0, word.end(), f'"^{word[0]}"')
        yield place.cut(word.end())


_SIGNS = {"♯": "^", "#": "^", "♭": "_", "♮": "="}
_SIGN_BEFORE = re.compile(r"([♯♭♮#])([A-Ga-g])")
_SIGN_BEHIND = re.compile(r"(?<![\^_=])([A-Ga-g])([♯♭♮#])")


def with_accidentals_before(text: str) -> str:
    """Write `F#`, `B♭` and `♯F` as ABC has them: `^F`, `_B`, `^F`."""
    text = _SIGN_BEHIND.sub(lambda match: _SIGNS[match[2]] + match[1], text)
    return _SIGN_BEFORE.sub(lambda match: _SIGNS[match[1]] + match[2], text)


def _unexpected(place: Place) -> Iterator[Proposal]:
    """Mend a character, and the same one in the rest of its bar."""
    start = max(place.offset - 1, place.start)
    bar = re.match(r"[^|]*", place.text[start : place.end])
    stretch = bar[0] if bar is not None else ""
    character = place.text[place.offset]
    chords = re.sub(r"\+((?:[\^_=]*[A-Ga-g][,']*[0-9/]*){2,8})\+", r"[\1]", stretch)
    for new in (with_accidentals_before(stretch), chords, stretch.replace(character, "")):
        if new != stretch:
            yield Proposal(edited(place.text, [(start, start + len(stretch), new)]))
    yield from _lost_note(place, 0 if character in "0123456789/,'" else 1)


def _lost_note(place: Place, size: int) -> Iterator[Proposal]:
    """What stands behind a lost note letter goes with the sign before it, or its length becomes that of a rest."""
    behind = re.match(r"[,']*([0-9/]*)", place.rest[size:])
    if behind is not None and behind[0]:
        yield place.put(0, size + behind.end(), f"z{behind[1]}")
        yield place.cut(size + behind.end())


def _bad_ending(place: Place) -> Iterator[Proposal]:
    """Number the ending as it comes: 2 behind a repeat's end, else 1."""
    bracket = re.match(r"\[[ ]?", place.rest)
    at = bracket.end() if bracket is not None else 0
    digits = re.match(r"[0-9][0-9,\-.]*", place.rest[at:])
    if digits is None:
        return
    before = place.text[: place.offset].rstrip(" \t|]")
    order = ("2", "1") if before.endswith(":") else ("1", "2")
    for number in order:
        yield place.put(at, at + digits.end(), number)


def _overlay_sign(place: Place) -> Iterator[Proposal]:
    if place.rest.startswith("&"):
        yield place.cut()


SIGN_RULES: dict[str, Rule] = {
    "text-outside-tune": _outside,
    "blank-line": _blank_line,
    "duplicate-reference": _free_number,
    "missing-reference": _missing_reference,
    "missing-key": _missing_key,
    "missing-meter": _missing_meter,
    "bad-reference": _free_number,
    "bad-meter": _bad_meter,
    "bad-unit": partial(_field_values, letter="L", values=lambda _: ["1/8", "1/16", "1/4", "1/2"]),
    "bad-tempo": _bad_tempo,
    "tempo-without-number": _bad_tempo,
    "bad-key": partial(_field_values, letter="K", values=lambda value: [key_of_words(value, value), "C"]),
    "bad-voice": _bad_voice,
    "unknown-field": lambda place: iter([place.without_line()]),
    "lowercase-field": _upper_case,
    "misplaced-field": _misplaced,
    "forbidden-directive": lambda place: iter([place.without_line()]),
    "bad-midi-directive": _bad_midi,
    "bad-length": _length,
    "length-out-of-range": _length,
    "odd-divisor": _odd_divisor,
    "pitch-out-of-range": _in_range,
    "microtone": _naturals,
    "empty-chord": _empty_chord,
    "chord-lengths-differ": _one_length,
    "unclosed-chord": _unclosed_chord,
    "unopened-chord": partial(_unopened, sign="["),
    "unclosed-grace": partial(_closing, sign="}"),
    "unopened-grace": partial(_unopened, sign="{"),
    "bad-grace": _bad_grace,
    "unclosed-string": _unclosed_string,
    "unclosed-decoration": _unclosed_decoration,
    "unclosed-slur": _unclosed_slur,
    "unopened-slur": lambda place: iter([place.cut()]),
    "bad-tuplet": _tuplet,
    "short-tuplet": _tuplet,
    "bad-broken-rhythm": _broken,
    "stray-tie": lambda place: iter([place.cut()]),
    "tie-not-continued": _out_of_tune_tie,
    "stray-accidental": _stray_accidental,
    "unknown-decoration": lambda place: iter([place.cut()]),
    "text-in-music": _words,
    "unexpected-character": _unexpected,
    "bad-inline-field": _bad_inline,
    "bad-ending": _bad_ending,
    "overlay-length": _overlay_sign,
    "voice-empty": _voice_empty,
}
"""Code -> what proposes repairs for it."""
