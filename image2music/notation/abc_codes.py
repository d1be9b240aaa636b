"""The one table of diagnostic codes: how severe each is and what it means. Codes are stable; messages may change."""

from __future__ import annotations

from image2music.notation.diagnostic import Severity

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

CODES: dict[str, tuple[Severity, str]] = {
    # The text as a whole
    "empty-text": (ERROR, "there is nothing to read"),
    "text-too-long": (ERROR, "the text is longer than the checker reads"),
    "too-many-findings": (ERROR, "the findings after the first 500 are left out"),
    "no-music": (ERROR, "a tune without a note or a rest"),
    "text-outside-tune": (WARNING, "prose, fences or other text before, between or after tunes"),
    "blank-line": (ERROR, "a blank line inside a tune ends it for every reader, the music after it is lost"),
    "duplicate-reference": (WARNING, "two tunes of a file with the same X: number"),
    # The header
    "missing-reference": (ERROR, "no X: line; readers skip the tune"),
    "missing-key": (ERROR, "no K: line; it ends the header"),
    "missing-meter": (WARNING, "no M: line; bars cannot be checked and play as free meter"),
    "bad-reference": (WARNING, "X: without a number"),
    "bad-meter": (ERROR, "an M: that cannot be read"),
    "bad-unit": (ERROR, "an L: that cannot be read"),
    "bad-tempo": (ERROR, "a Q: that cannot be read or is out of range"),
    "tempo-without-number": (WARNING, "a Q: with words alone; plays at 120"),
    "bad-key": (ERROR, "a K: that cannot be read"),
    "bad-voice": (ERROR, "a V: without a voice name"),
    "unknown-field": (WARNING, "a letter and colon that is no field of ABC 2.1; it is left out"),
    "lowercase-field": (ERROR, "a header field in lower case, such as k: for K:"),
    "misplaced-field": (WARNING, "a field that has no meaning where it stands"),
    "late-header": (WARNING, "a header field after the K: that ends the header"),
    "bad-parts": (WARNING, "a P: order that cannot be played as written"),
    "unknown-directive": (INFO, "a %% line that is left out"),
    "forbidden-directive": (WARNING, "a %% line that reads files or defines code; it is left out"),
    "bad-midi-directive": (WARNING, "a %%MIDI line with a value outside its range"),
    # Notes
    "bad-length": (ERROR, "a length with a zero or too many digits"),
    "length-out-of-range": (ERROR, "a note longer than 64 whole notes"),
    "odd-divisor": (WARNING, "a length such as C4/3; most readers take powers of two only, write a tuplet"),
    "pitch-out-of-range": (ERROR, "a pitch outside MIDI's 0 to 127, or octave marks beyond reason"),
    "microtone": (WARNING, "a quarter tone; plays as the natural"),
    "empty-chord": (ERROR, "[] without notes"),
    "chord-lengths-differ": (WARNING, "notes of different lengths in one chord; the first counts"),
    "unclosed-chord": (ERROR, "a [ without its ]"),
    "unopened-chord": (ERROR, "a ] without its ["),
    "unclosed-grace": (ERROR, "a { without its }"),
    "unopened-grace": (ERROR, "a } without its {"),
    "bad-grace": (ERROR, "something other than notes between { and }"),
    "unclosed-string": (ERROR, 'a " without its partner on the line'),
    "unclosed-decoration": (ERROR, "a ! without its partner"),
    "unclosed-slur": (WARNING, "a ( without its )"),
    "unopened-slur": (WARNING, "a ) without its ("),
    "bad-tuplet": (ERROR, "a tuplet with impossible numbers"),
    "short-tuplet": (ERROR, "a tuplet that the bar ends before its notes are there"),
    "bad-broken-rhythm": (ERROR, "a < or > without a note on both sides"),
    "stray-tie": (WARNING, "a - without a note before it"),
    "tie-not-continued": (WARNING, "a tie whose next note has another pitch"),
    "stray-accidental": (ERROR, "an accidental that stands before no note"),
    "text-in-music": (ERROR, "words where music should be"),
    "unexpected-character": (ERROR, "a character that means nothing in music"),
    "bad-inline-field": (ERROR, "an inline field that cannot be read"),
    # Bars, repeats and voices
    "bar-too-short": (ERROR, "a bar that holds less than the meter asks"),
    "bar-too-long": (ERROR, "a bar that holds more than the meter asks"),
    "overlay-length": (ERROR, "an & layer that does not fill its bar"),
    "missing-bar-line": (WARNING, "the last bar has no bar line"),
    "repeat-not-closed": (WARNING, "a |: without its :|"),
    "bad-ending": (ERROR, "an ending number that cannot be read"),
    "ending-without-repeat": (WARNING, "a first ending without a :| behind it"),
    "voices-unequal": (ERROR, "voices of different total length"),
    "voice-empty": (WARNING, "a voice that is named but has no music"),
    "repeats-differ": (WARNING, "voices with repeats at different bars; they play apart"),
}
"""code -> (severity, meaning)."""
