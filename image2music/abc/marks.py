"""What stands beside the notes of ABC, as MusicXML: dynamics, swells, pedal, articulation, ornaments, chord symbols.

Source: ABC standard 2.1, 4.14 and 4.18; MusicXML 4.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement

from image2music.abc.music_line import VELOCITIES

_SUDDEN = frozenset(("sf", "sfz", "fz", "sffz", "fp", "rfz", "rf", "sfp"))
_WEDGES = {"crescendo(": "crescendo", "<(": "crescendo", "diminuendo(": "diminuendo", ">(": "diminuendo"}
_WEDGE_ENDS = frozenset(("crescendo)", "<)", "diminuendo)", ">)"))
_ARTICULATIONS = {
    "accent": "accent",
    ">": "accent",
    "emphasis": "accent",
    "marcato": "strong-accent",
    "^": "strong-accent",
    "staccato": "staccato",
    "tenuto": "tenuto",
    "staccatissimo": "staccatissimo",
    "wedge": "staccatissimo",
    "breath": "breath-mark",
}
_ORNAMENTS = {
    "trill": "trill-mark",
    "mordent": "mordent",
    "lowermordent": "mordent",
    "pralltriller": "inverted-mordent",
    "uppermordent": "inverted-mordent",
    "turn": "turn",
    "invertedturn": "inverted-turn",
}
_CHORD = re.compile(r"([A-G])([#b♯♭]?)([^/\s]{0,12})(?:/([A-G])([#b♯♭]?))?")
_KINDS = {
    "": "major", "maj": "major", "M": "major", "m": "minor", "min": "minor", "-": "minor", "7": "dominant",
    "maj7": "major-seventh", "M7": "major-seventh", "m7": "minor-seventh", "min7": "minor-seventh",
    "-7": "minor-seventh", "mM7": "major-minor", "dim": "diminished", "o": "diminished", "°": "diminished",
    "dim7": "diminished-seventh", "o7": "diminished-seventh", "°7": "diminished-seventh", "m7b5": "half-diminished",
    "ø": "half-diminished", "aug": "augmented", "+": "augmented", "6": "major-sixth", "m6": "minor-sixth",
    "9": "dominant-ninth", "maj9": "major-ninth", "m9": "minor-ninth", "sus": "suspended-fourth",
    "sus4": "suspended-fourth", "sus2": "suspended-second", "5": "power",
}  # fmt: skip
_MOST_SLURS = 16
"""MusicXML tells so many apart that are open at once."""
_ALTERS = {"#": "1", "♯": "1", "b": "-1", "♭": "-1"}


class OpenSigns:
    """What goes on over several notes of a voice: a swell, the pedal, slurs by their numbers."""

    def __init__(self) -> None:
        self.has_wedge = self.has_pedal = False
        self.slurs: list[int] = []

    def directions(self, names: Sequence[str]) -> Iterator[Element]:
        """Yield the elements that stand before a note or rest with these marks: `direction` and `harmony`."""
        for name in names:
            if name.startswith('"'):
                yield from _harmony(name.strip('"'))
            elif name in VELOCITIES or name in _SUDDEN:
                yield _direction("below", "dynamics", name)
            elif name in _WEDGE_ENDS:
                yield from self._wedge_end()
            elif name in _WEDGES:
                yield from self._wedge_end()
                self.has_wedge = True
                yield _direction("below", "wedge", type=_WEDGES[name])
        yield from self._pedal(up="ped-up" in names, down="ped" in names)

    def at_the_end(self) -> Iterator[Element]:
        """Yield what ends the swell and the pedal that are open at the end of the voice."""
        yield from self._wedge_end()
        yield from self._pedal(up=True, down=False)

    def _wedge_end(self) -> Iterator[Element]:
        if self.has_wedge:
            self.has_wedge = False
            yield _direction("below", "wedge", type="stop")

    def _pedal(self, *, up: bool, down: bool) -> Iterator[Element]:
        if self.has_pedal and (up or down):
            yield _direction("below", "pedal", type="stop", line="yes", sign="no")
        if down:
            yield _direction("below", "pedal", type="start", line="yes", sign="no")
        self.has_pedal = down or (self.has_pedal and not up)

    def slur_elements(self, names: Sequence[str], *, is_first: bool, is_last: bool) -> Iterator[Element]:
        """Yield the `slur` elements of a note; of several tied together they begin at the first, end at the last."""
        if is_last:
            for _ in range(min(names.count(")"), len(self.slurs))):
                yield Element("slur", type="stop", number=str(self.slurs.pop()))
        if is_first:
            for _ in range(min(names.count("("), _MOST_SLURS - len(self.slurs))):
                number = next(number for number in range(1, _MOST_SLURS + 1) if number not in self.slurs)
                self.slurs.append(number)
                yield Element("slur", type="start", number=str(number))


def note_marks(names: Sequence[str], *, is_first: bool, is_last: bool) -> Iterator[Element]:
    """Yield the `notations` of a note that are its own: ornaments, articulations, arpeggio, fermata."""
    for group, table in (("ornaments", _ORNAMENTS), ("articulations", _ARTICULATIONS)):
        wanted = dict.fromkeys(table[name] for name in names if name in table) if is_first else {}
        if wanted:
            element = Element(group)
            for tag in wanted:
                SubElement(element, tag)
            yield element
    if is_first and "arpeggio" in names:
        yield Element("arpeggiate")
    if is_last and "fermata" in names:
        yield Element("fermata")


def _direction(placement: str, tag: str, inside: str = "", **attributes: str) -> Element:
    direction = Element("direction", placement=placement)
    element = SubElement(SubElement(direction, "direction-type"), tag, attributes)
    if inside:
        SubElement(element, inside)
    return direction


def _harmony(symbol: str) -> Iterator[Element]:
    found = _CHORD.fullmatch(symbol)
    if found is None:
        return
    step, alter, kind, bass, bass_alter = found.groups()
    harmony = Element("harmony")
    _step(harmony, "root", step, alter)
    SubElement(harmony, "kind", text=kind).text = _KINDS.get(kind, "other")
    if bass:
        _step(harmony, "bass", bass, bass_alter)
    yield harmony


def _step(harmony: Element, name: str, step: str, alter: str) -> None:
    element = SubElement(harmony, name)
    SubElement(element, f"{name}-step").text = step
    if alter:
        SubElement(element, f"{name}-alter").text = _ALTERS[alter]
