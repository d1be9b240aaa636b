"""A tune as a page plays and draws it: its notes in seconds, a piano roll, and the engraved score made small.

Verovio's SVG takes a quarter of a megabyte a tune, most of it ids, drawings of nothing and long numbers. `drawn_score`
keeps what is seen and which note is which, compresses it, and the page's script unpacks it: about a tenth is left.
"""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from xml.etree import ElementTree

from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.parser import parse
from image2music.abc.playback import bars_as_played
from image2music.errors import NotationError
from image2music.music.engraving import Engraving, engrave
from image2music.music.midi import read_midi
from image2music.music.render import PlayedTrack, played_tracks
from image2music.music.score import TempoChange, seconds_at
from image2music.music.theory import QUARTER

ROLL_WIDTH, ROLL_HEIGHT = 1000, 160


@dataclass(frozen=True)
class Playback:
    """A tune in seconds. `bars` are (start, number of the bar as written, from 1); a repeated bar occurs twice."""

    seconds: float
    tracks: tuple[PlayedTrack, ...]
    bars: tuple[tuple[float, int], ...]


def playback(midi: bytes, abc: str) -> Playback:
    """Return the notes of a MIDI file and the bars of the ABC that it was made from.

    Raises:
        MidiError: as `read_midi`.
    """
    score = read_midi(midi)
    tracks = played_tracks(score)
    end = max(start + duration for track in tracks for start, duration, _, _ in track.notes)
    bars = tuple(
        (round(seconds_at(quarters, score.tempos, score.ticks_per_quarter), 4), number)
        for quarters, number in played_bars(abc)
    )
    return Playback(round(end, 4), tracks, bars)


def played_bars(abc: str) -> Iterator[tuple[float, int]]:
    """Yield (quarters from the beginning, bar number from 1) of every bar of the first voice, as it is played."""
    tune = next((tune for tune in parse(abc).tunes if tune.has_music), None)
    return iter(()) if tune is None else ((float(at / QUARTER), number) for at, number in bars_as_played(tune))


def piano_roll(playback: Playback) -> list[tuple[int, str]]:
    """Return (place, SVG path) of each pitched part of a tune, 1000 wide and 160 high, with a rectangle for each note.

    Places count the parts from 0, drums included, which have no path.
    """
    pitched = [(place, track) for place, track in enumerate(playback.tracks) if not track.is_drum]
    pitches = [pitch for _, track in pitched for _, _, pitch, _ in track.notes]
    if not pitches or playback.seconds <= 0:
        return []
    lowest, step = min(pitches), ROLL_HEIGHT / (max(pitches) - min(pitches) + 1)
    scale = ROLL_WIDTH / playback.seconds
    return [(place, _path(track.notes, lowest, step, scale)) for place, track in pitched]


def _path(notes: Sequence[tuple[float, float, int, int]], lowest: int, step: float, scale: float) -> str:
    height = max(1.0, step - 0.5)
    parts = []
    for start, duration, pitch, _ in notes:
        left, top = start * scale, ROLL_HEIGHT - (pitch - lowest + 1) * step
        width = max(1.0, duration * scale - 1)
        parts.append(f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    return "".join(parts)


@dataclass(frozen=True)
class DrawnScore:
    """An engraved score for a page: one `svg`, where `data-n` numbers the notes, `data-bar` the bars from 1.

    `notes` are (number of the note, start, end) in seconds of the tune's sound, in order of start; a note inside a
    repeat stands there once for each time. Classes `v0`, `v1`, ... are the staves from above.
    """

    svg: str
    notes: tuple[tuple[int, float, float], ...]

    def packed(self) -> str:
        """Return svg and notes as JSON, compressed (zlib) and in base64: what the page's script unpacks."""
        text = json.dumps({"svg": self.svg, "notes": self.notes}, separators=(",", ":"), ensure_ascii=False)
        return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


@lru_cache(maxsize=32)
def music_xml_of(abc: str) -> bytes:
    """Return `abc_to_music_xml`, cached: a page hands it out and draws it."""
    return abc_to_music_xml(abc)


@lru_cache(maxsize=32)
def drawn_score(abc: str, midi: bytes) -> DrawnScore | None:
    """Engrave a tune; `midi` is its performance, whose tempos turn the score's quarters into seconds.

    Cached, for one tune may stand on two pages. None where Verovio reads no score in it: notes are shown over time.

    Raises:
        AbcError: there is no music in the text.
        MidiError: as `read_midi`.
    """
    try:
        engraving = engrave(music_xml_of(abc), "screen")
    except NotationError:
        return None
    played = read_midi(midi)
    return screen_score(engraving, played.tempos, played.ticks_per_quarter)


def screen_score(engraving: Engraving, tempos: Sequence[TempoChange], ticks_per_quarter: int) -> DrawnScore:
    """Return an engraving of one page with what a page needs of it, its notes in seconds by `tempos`."""
    numbers = {id: number for number, id in enumerate(dict.fromkeys(note.id for note in engraving.notes))}

    def seconds(quarters: float) -> float:
        return round(seconds_at(quarters, tempos, ticks_per_quarter), 2)

    notes = tuple((numbers[note.id], seconds(note.start), seconds(note.end)) for note in engraving.notes)
    return DrawnScore(_Slimmed(numbers).page(engraving.pages[0]), notes)


_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_KEPT_CLASSES = {"tempo", "dynam", "dir", "mNum", "label", "ending", "reh", "rest"}
"""Kinds of signs that the style sheet speaks of; notes, staves and bars are numbered instead."""
_KEPT = {"x", "y", "cx", "cy", "rx", "ry", "d", "points", "width", "height", "stroke-width", "transform", "font-size",
         "font-family", "font-style", "font-weight", "text-anchor", "stroke-dasharray", "stroke-linecap",
         "stroke-linejoin", "fill", "fill-opacity", "stroke", "stroke-opacity"}  # fmt: skip


class _Slimmed:
    """Writes an SVG page of Verovio's anew: no ids, no groups that say nothing, notes and bars numbered."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = numbers
        self._bar = 0
        self._staff = 0

    def page(self, svg: str) -> str:
        """Return the page as one `svg` element without a size of its own."""
        root = ElementTree.fromstring(svg)
        inner = root.find(f"{_SVG}svg")
        assert inner is not None
        defs = "".join(self._glyph(glyph) for glyph in root.iter(f"{_SVG}defs") for glyph in glyph)
        drawn = "".join(map(self._element, inner))
        return f'<svg viewBox="{inner.get("viewBox")}"><defs>{defs}</defs>{drawn}</svg>'

    def _glyph(self, glyph: ElementTree.Element) -> str:
        return f'<g id="{_code(glyph.get("id", ""))}">{"".join(map(self._element, glyph))}</g>'

    def _element(self, it: ElementTree.Element) -> str:
        tag = it.tag.removeprefix(_SVG)
        if tag in ("desc", "style", "title", "defs"):
            return ""
        kinds = it.get("class", "").split()
        if tag == "g":
            return self._group(it, kinds)
        kept = ((name, value) for name, value in it.attrib.items() if name in _KEPT)
        attributes = "".join(f' {name}="{_escaped(_short(value))}"' for name, value in kept)
        if _HREF in it.attrib:
            attributes = f' href="#{_code(it.attrib[_HREF][1:])}"{attributes}'
        inside = _escaped(it.text or "") + "".join(self._element(child) + _escaped(child.tail or "") for child in it)
        if not inside:
            return f"<{tag}{attributes}/>"
        return f"<{tag}{attributes}>{inside}</{tag}>" if attributes or tag != "tspan" else inside

    def _group(self, it: ElementTree.Element, kinds: Sequence[str]) -> str:
        if "placeholder" in kinds:
            return ""
        attributes = ""
        if "measure" in kinds:
            self._bar, self._staff = self._bar + 1, 0
            attributes = f' data-bar="{self._bar}"'
        elif "staff" in kinds:
            attributes, self._staff = f' class="v{self._staff}"', self._staff + 1
        elif "system" in kinds:
            attributes = ' class="system"'
        elif "note" in kinds and it.get("id") in self._numbers:
            attributes = f' data-n="{self._numbers[it.get("id", "")]}"'
        elif found := _KEPT_CLASSES.intersection(kinds):
            attributes = f' class="{min(found)}"'
        if it.get("transform"):
            attributes += f' transform="{_short(it.attrib["transform"])}"'
        inside = "".join(map(self._element, it))
        return f"<g{attributes}>{inside}</g>" if inside and attributes else inside


def _code(id: str) -> str:
    """Return the id of a glyph without the part that is the page's own."""
    return id.partition("-")[0]


_FRACTION = re.compile(r"(\d+\.\d)\d+")
_SCALE = re.compile(r"scale\(([\d.]+), \1\)")


def _short(value: str) -> str:
    return _FRACTION.sub(r"\1", value) if "scale" not in value else _SCALE.sub(r"scale(\1)", value)


def _escaped(text: str) -> str:
    return html.escape(text) if text.strip() else ""
