"""The sentences about what stands in a music line and cannot be read: what it is, and what to write instead."""

from __future__ import annotations

import re

_WORDS = re.compile(r"[A-Za-z]+(?:[ ,.']+[A-Za-z]+)*")

_CHARACTERS = {
    "[": ("unclosed-chord", "this [ opens a chord that is not closed: write ] behind its last note"),
    "]": ("unopened-chord", "this ] closes no chord: remove it or open the chord with ["),
    "{": ("unclosed-grace", "this { is not closed on its line: write } behind the grace notes"),
    "}": ("unopened-grace", "this } closes no grace notes: remove it or open them with {"),
    '"': ("unclosed-string", 'this " is not closed on its line: write " behind the text'),
    "!": ("unclosed-decoration", "this ! is not closed: write !name! as in !trill!"),
}

_HINTS = {
    "#": "write a sharp before the letter, ^C",
    "♯": "write a sharp before the letter, ^C",
    "♭": "write a flat before the letter, _B",
    "♮": "write a natural before the letter, =B",
    "+": "write chords in square brackets, [CEG]",
    "\\": "a backslash may only end a line",
}

_NOTES = {
    "bad-length": "the length of {} cannot be read: write a number, or a fraction such as 3/2",
    "pitch-out-of-range": "{} is outside MIDI's range: use fewer octave marks",
    "odd-divisor": "{}: divisors of a length are powers of two: write a tuplet such as (3CDE",
    "microtone": "the quarter tone in {} plays as a natural: use ^, _ or =",
    "empty-chord": "{} holds no note: put notes in it or remove it",
    "chord-lengths-differ": "{}: all notes of a chord last as long as the first: give it one length",
}


def about_character(text: str) -> tuple[str, str]:
    """Code and sentence for a character that starts no token."""
    if text in _CHARACTERS:
        return _CHARACTERS[text]
    if text in "^_=":
        return "stray-accidental", f"{text} stands before no note: accidentals come before the letter, ^C"
    shown = text if text.isprintable() else f"U+{ord(text):04X}"
    return "unexpected-character", f"{shown} means nothing in music: {_HINTS.get(text, 'remove it')}"


def about_note(problem: str, text: str) -> str:
    """The sentence for a note, chord or rest with a problem."""
    return _NOTES[problem].format(text if len(text) <= 24 else text[:21] + "...")


def words_at(line: str, start: int) -> str:
    """The words that begin at a letter, at most 60 characters of them."""
    match = _WORDS.match(line, start, start + 60)
    return match[0] if match is not None else line[start]


def about_words(words: str) -> str:
    """The sentence for words where music should be."""
    shown = words if len(words) <= 30 else words[:27] + "..."
    return f'{shown!r} is no music: remove it, or put words behind % or in "^..."'
