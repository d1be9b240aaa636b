"""From rows to what a film shows when: its parts, each one picture, the stops of the view, cards, and chapters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError
from image2music.failures import counted
from image2music.film.camera import Stop, attention_point, section_point
from image2music.film.encode import FPS, FilmChapter
from image2music.film.timing import TimedBars, bars_in_time
from image2music.rights import RIGHTS_COLUMNS, file_tags

FILM_COLUMNS = tuple(
    dict.fromkeys((*RIGHTS_COLUMNS, "image_id", "image_uri", "image_uris", "title", "abc", "midi", "plan", "attention"))
)
"""Columns of schemas/composition.py that a film is made of."""

CARD_SECONDS = 3.0
"""How long a card stands at least; it goes at a bar line."""
_LONGEST_CARD = 0.6

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TitleCard:
    """Words before a picture: until `seconds` of its part, the last `upbeat` of them fading into the picture."""

    title: str
    subtitle: str
    seconds: float
    upbeat: float


@dataclass(frozen=True)
class ReelPart:
    """A picture from its bar line on.

    `start` is when that is in the film, in seconds, and `upbeat` how long the picture fades in before; `stops` count
    from `start`. `bars` are the bars of the tune from which to which it is seen, as they are played, from 0. `heading`
    is the title of a chapter that begins with it.
    """

    image_id: str
    places: tuple[str, ...]
    title: str
    start: float
    upbeat: float
    stops: tuple[Stop, ...]
    bars: tuple[int, int]
    heading: str = ""
    card: TitleCard | None = None


@dataclass(frozen=True)
class Reel:
    """A film before it is made. `length_s` is how long it has to be; None: as long as its music sounds."""

    name: str
    title: str
    abc: str
    midi: bytes
    bars: TimedBars
    parts: tuple[ReelPart, ...]
    chapters: tuple[FilmChapter, ...]
    tags: Mapping[str, str]
    length_s: float | None = None
    loop: bool = False

    def with_cards(self) -> Reel:
        """Return it with words where it and its chapters begin, but where there is no time to read them."""
        ends = [part.start for part in self.parts[1:]] + [self.bars.seconds[-1]]
        parts = []
        for number, (part, end) in enumerate(zip(self.parts, ends, strict=True)):
            words = [self.title] if number == 0 else []
            words += [part.heading] if part.heading and part.heading not in words else []
            parts.append(replace(part, card=self._card(words, part.start, end)) if any(words) else part)
        return replace(self, parts=tuple(parts))

    def _card(self, words: Sequence[str], start: float, end: float) -> TitleCard | None:
        longest = start + _LONGEST_CARD * (end - start)
        fitting = [at for at, here in enumerate(self.bars.seconds) if start < here <= longest]
        long = [at for at in fitting if self.bars.seconds[at] >= start + CARD_SECONDS]
        if not fitting:
            return None
        at = long[0] if long else fitting[-1]
        seconds = self.bars.seconds[at] - start
        return TitleCard(words[0], words[1] if len(words) > 1 else "", seconds, min(self.bars.beats[at], seconds / 2))


def tune_reel(row: Row, name: str = "") -> Reel:
    """Return the film of one row: its picture, the view going where the composer looked as each section begins.

    `name` is that of its file; the beginning of its image_id without one.

    Raises:
        AbcError, MidiError: the tune cannot be played.
    """
    bars = bars_in_time(row["abc"], row["midi"])
    plan = row.get("plan") or {}
    sections = plan.get("sections") or []
    starts = [bars.seconds[bars.place_of(section["first"])] for section in sections]
    part = ReelPart(row["image_id"], _places(row), row["title"], 0.0, 0.0, _stops(row, starts), (0, len(bars.numbers)))
    return Reel(
        name or row["image_id"][:16],
        row["title"],
        row["abc"],
        row["midi"],
        bars,
        (part,),
        _marks([(row["title"], 0.0)]),
        file_tags(row),
        plan.get("length_s"),
        bool(plan.get("loop")),
    )


def album_reel(album: Row, rows: Mapping[str, Row]) -> Reel:
    """Return the film of an album's book: a picture for each tune, from the bar line at which the tune begins.

    Args:
        album: a row of schemas/album.py.
        rows: rows of its compositions by image_id; a picture without one is shown, its view goes to its middle.

    Raises:
        AbcError, MidiError: the book cannot be played.
    """
    bars = bars_in_time(album["abc"], album["midi"])
    firsts = [bars.place_of(start) for start in album["starts"]]
    parts = []
    pictures = zip(album["image_ids"], album["image_uris"], album["titles"], firsts, strict=True)
    for number, (image_id, uri, title, first) in enumerate(pictures):
        row = rows.get(image_id, {})
        # The first picture is there from the beginning.
        start, first = (bars.seconds[first], first) if number else (0.0, 0)
        last = firsts[number + 1] if number + 1 < len(firsts) else len(bars.numbers)
        starts = [bars.seconds[at] - start for at in _section_bars(row, first) if at < last]
        places = tuple(dict.fromkeys((uri, *_places(row))))
        parts.append(ReelPart(image_id, places, title, start, bars.beats[first], _stops(row, starts), (first, last)))
    named = [(part.title or album["title"], part.start) for part in parts]
    chapters = [chapter for chapter in album.get("chapters") or [] if chapter["first"] < len(parts)]
    if len(chapters) > 1:
        named = [(chapter["title"] or named[chapter["first"]][0], named[chapter["first"]][1]) for chapter in chapters]
        for chapter in chapters:
            parts[chapter["first"]] = replace(parts[chapter["first"]], heading=chapter["title"] or "")
    return Reel(
        album["book"].rpartition("/")[2],
        album["title"],
        album["abc"],
        album["midi"],
        bars,
        tuple(parts),
        _marks(named),
        _album_tags(album, rows),
    )


def _marks(named: Iterable[tuple[str, float]]) -> tuple[FilmChapter, ...]:
    """Return chapters by their titles and seconds, in order of time: a list to choose from, no two lines of it alike.

    The first begins with the film. Of those that would begin in one frame the last is there, whose picture is seen;
    a title that was there already gets a number.
    """
    by_frame = {round(seconds * FPS) if at else 0: title for at, (title, seconds) in enumerate(named)}
    marks: dict[str, FilmChapter] = {}
    for frame, title in by_frame.items():
        said, number = title, 1
        while said in marks:
            number += 1
            said = f"{title} ({number})"
        marks[said] = FilmChapter(said, frame / FPS)
    return tuple(marks.values())


def _places(row: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys((row["image_uri"], *row["image_uris"]))) if row else ()


def _section_bars(row: Row, first: int) -> list[int]:
    """Return the bars of a book, from 0, with which the sections of one of its tunes begin; `first` is the tune's."""
    sections = (row.get("plan") or {}).get("sections") or []
    if not sections:
        return []
    try:
        numbers = [start.number for start in abc_to_score(row["abc"]).bar_starts]
    except AbcError:
        return []
    return [first + numbers.index(section["first"]) for section in sections if section["first"] in numbers]


def _stops(row: Row, starts: Sequence[float]) -> tuple[Stop, ...]:
    attention = row.get("attention") or []
    whole = attention_point([entry for entry in attention if entry["kind"] == "all"])
    sections = (row.get("plan") or {}).get("sections") or []
    points = [section_point(section, attention) or whole for section in sections[: len(starts)]]
    return tuple(Stop(start, point) for start, point in zip(starts, points, strict=True)) or (Stop(0.0, whole),)


def _album_tags(album: Row, rows: Mapping[str, Row]) -> dict[str, str]:
    """Return what the file of a book says of itself: what its first tune says, for all of them.

    Its day is that of the last picture whose time is known; where none is, that of composing.
    """
    row = next((rows[id] for id in album["image_ids"] if id in rows), None)
    tags = file_tags(
        {
            "image_id": album["image_ids"][0],
            "seed": 0,
            "composed_at": album["bound_at"],
            "composer_id": album["composer_id"],
            "settings_hash": album["settings_hash"],
            **(row or {}),
            "title": album["title"],
        }
    )
    count = len(album["image_ids"])
    made_by = tags["comment"].partition(";")[0]
    music = f"{counted(count, 'tune')} composed by {tags['artist']}"
    tags["comment"] = f"{made_by}; {music} for {counted(count, 'picture')}"
    taken = [moment for moment in album.get("taken_at") or () if moment is not None]
    if taken:
        tags["date"] = max(taken).date().isoformat()
    return tags | {"album": album["title"]}
