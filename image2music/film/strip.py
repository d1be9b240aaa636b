"""A strip of the score that moves under the picture, with a mark over the notes that are heard."""

from __future__ import annotations

import io
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from xml.etree.ElementTree import Element, fromstring, tostring

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.film.frames import Bytes, Planes, Size
from image2music.music.engraving import TextFont, engrave, page_as_png

_PAPER, _INK = 218.0, 24.0
_NEUTRAL = 128
_MARK_BLUE, _MARK_RED = 34, -14
"""How far the mark turns the paper's colour, in steps of U and V."""
_MARK_SHADE = 0.16
_ANCHOR = 0.3
"""Where the mark stays while the strip moves, in widths of the frame."""
_MARGIN = 0.02
_SMOOTH_SECONDS = 1.5
_STAFF, _OUTER, _HIGHEST = 0.085, 0.04, 0.36
_WORDS = ("part-name", "part-abbreviation", "words", "rehearsal")


def strip_height(size: Size, staves: int) -> int:
    """Return how many pixels of a film's height a strip of so many staves takes; an even number."""
    share = min(_HIGHEST, _OUTER + _STAFF * staves)
    return 2 * round(share * min(size) / 2)


def staves_in(music_xml: bytes) -> int:
    """Return the number of parts of a score."""
    return len(fromstring(music_xml).findall("part"))


def words_on_strip(music_xml: bytes) -> str:
    """Return the words that an engraved line of a score shows: names of parts, and what stands above the notes."""
    score = fromstring(music_xml)
    return "".join(entry.text or "" for tag in _WORDS for entry in score.iter(tag))


def bars_between(music_xml: bytes, first: int, last: int) -> bytes:
    """Return bars `first` to `last` - 1 of a score, counted from 0, with the clef, key and meter that hold there."""
    score = fromstring(music_xml)
    for part in score.findall("part"):
        holds: dict[str, Element] = {}
        for number, measure in enumerate(part.findall("measure")):
            if number == first and holds:
                _put_before(measure, holds)
            for attributes in measure.findall("attributes"):
                holds.update({entry.tag: entry for entry in attributes})
            if not first <= number < last:
                part.remove(measure)
    return tostring(score, encoding="utf-8", xml_declaration=True)


def _put_before(measure: Element, holds: dict[str, Element]) -> None:
    """Let a bar begin with what held before it, but for what it says itself."""
    head = measure.find("attributes")
    own = {entry.tag for entry in head} if head is not None and measure[0] is head else set()
    whole = Element("attributes")
    order = ("divisions", "key", "time", "staves", "clef", "staff-details", "transpose")
    entries = {tag: deepcopy(entry) for tag, entry in holds.items() if tag not in own}
    if own and head is not None:
        entries |= {entry.tag: entry for entry in head}
        measure.remove(head)
    whole.extend(sorted(entries.values(), key=lambda entry: order.index(entry.tag) if entry.tag in order else 99))
    measure.insert(0, whole)


@dataclass(frozen=True, eq=False)
class ScoreStrip:
    """A line of score, uint8[h, w] in the range of video, and where it stands in each frame from `first` on.

    `left` is the place of the frame's left edge on the line and `mark` that of the notes that are heard, in pixels of
    the line; float64[frames] each.
    """

    line: Bytes
    first: int
    left: NDArray[np.float64]
    mark: NDArray[np.float64]

    def under(self, picture: Planes, frame: int) -> Planes:
        """Return a frame: the picture above, the strip as it is in that frame below."""
        import cv2

        width, height = picture.size[0], self.line.shape[0]
        at = min(max(0, frame - self.first), len(self.left) - 1)
        move = np.array([[1.0, 0.0, self.left[at]], [0.0, 1.0, 0.0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        paper = cv2.warpAffine(
            self.line, move, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=_PAPER
        )
        u = np.full((height // 2, width // 2), _NEUTRAL, np.uint8)
        v = u.copy()
        self._mark(paper, u, v, self.mark[at] - self.left[at])
        return Planes(np.vstack([picture.y, paper]), np.vstack([picture.u, u]), np.vstack([picture.v, v]))

    def _mark(self, paper: Bytes, u: Bytes, v: Bytes, place: float) -> None:
        reach = paper.shape[0] / 40
        first, last = (2 * round(edge / 2) for edge in (place - 2 * reach, place + 2 * reach))
        first, last = max(0, first), min(paper.shape[1], last)
        if last <= first:
            return
        columns = np.arange(first, last) + 0.5
        share = np.clip(2 - np.abs(columns - place) / reach, 0, 1)
        paper[:, first:last] = np.rint(paper[:, first:last] * (1 - _MARK_SHADE * share))
        halves = share.reshape(-1, 2).mean(axis=1)
        u[:, first // 2 : last // 2] = np.rint(_NEUTRAL + _MARK_BLUE * halves)
        v[:, first // 2 : last // 2] = np.rint(_NEUTRAL + _MARK_RED * halves)


def strip_of(
    music_xml: bytes,
    second_of: Callable[[float], float],
    frames: tuple[int, int],
    size: Size,
    fps: int,
    font: TextFont | None = None,
) -> ScoreStrip:
    """Engrave a score on one line and place it for frames `frames[0]` to `frames[1]` - 1.

    Args:
        music_xml: of `abc_to_music_xml`, or a part of it.
        second_of: from quarters since its beginning to seconds of the film.
        frames: which it is seen in.
        size: width and height of the strip.
        fps: frames a second.
        font: for words, where others have no letters.

    Raises:
        NotationError: nothing can be engraved.
    """
    engraving = engrave(music_xml, "line")
    scale = size[1] / engraving.height
    page = page_as_png(engraving.pages[0], max(1, round(engraving.width * scale)), font)
    with Image.open(io.BytesIO(page)) as image:
        grey = np.asarray(image.convert("L").resize((image.width, size[1])), np.float32) / 255
    line = np.rint(_INK + (_PAPER - _INK) * grey).astype(np.uint8)
    starts: dict[float, float] = {}
    for note in engraving.notes:
        starts[note.start] = min(note.x, starts.get(note.start, note.x))
    end = max((note.end for note in engraving.notes), default=0.0)
    head = engraving.height * 0.02
    seconds = [second_of(start) for start in starts] + [second_of(end)]
    places = [(x + head) * scale for x in starts.values()] + [line.shape[1] - head * scale]
    times = np.arange(*frames) / fps
    mark = np.interp(times, seconds, places)
    return ScoreStrip(line, frames[0], _left_edges(mark, line.shape[1], size[0], fps), mark)


def _left_edges(mark: NDArray[np.float64], length: int, width: int, fps: int) -> NDArray[np.float64]:
    """Return where the strip stands: it follows the mark with an even motion and rests at both of its ends."""
    margin = _MARGIN * width
    if length + 2 * margin <= width:
        return np.full(len(mark), (length - width) / 2)
    smooth = mark
    reach = round(_SMOOTH_SECONDS * fps)
    for _ in range(2):
        padded = np.pad(smooth, reach, mode="reflect", reflect_type="odd") if len(smooth) > reach else smooth
        if len(padded) > len(smooth):
            sums = np.cumsum(np.concatenate([[0.0], padded]))
            smooth = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    return np.clip(smooth - _ANCHOR * width, -margin, length + margin - width)
