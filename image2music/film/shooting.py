"""A reel made into a film: shots encoded one by one in a folder of work, from which a film that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL.Image import Image

from image2music.abc.musicxml import abc_to_music_xml
from image2music.failures import counted
from image2music.film.camera import HELD, fit_of, path_over
from image2music.film.encode import FPS, QUALITY, SOUND_KBPS, join_shots, write_shot
from image2music.film.frames import Planes, Size, Still, blended, canvas_of, longest_side, title_card
from image2music.film.reel import Reel, ReelPart
from image2music.film.sound import FilmSound, make_sound
from image2music.film.strip import ScoreStrip, bars_between, staves_in, strip_height, strip_of, words_on_strip
from image2music.film.timing import Shot, shots
from image2music.music.engraving import TextFont, unwritten_scripts
from image2music.music.render import RATE, SoundRenderer

FILM_VERSION = 1
"""Raise it when the same rows would give other frames or another sound: what was encoded before is not used then."""

_PROCESSOR_SECONDS = 0.45
"""What a second of film takes for each million pixels of a frame (docs/films.md)."""
_PROCESSORS_AT_WORK = 2
"""One makes the frames, the others encode them faster than that."""
_MEGABYTES = (0.07, 0.4)
"""How large a second of film gets for each million pixels of a frame: soft pictures and sharp ones."""

FindPicture = Callable[[ReelPart, int], Image | None]
"""From a part and the length in pixels that its longer side needs to its picture, upright; None where it is gone."""


@dataclass(frozen=True)
class FilmStyle:
    """How a film looks: width and height in pixels (even numbers), cards with titles, a strip of the score, a font."""

    size: Size
    titles: bool = False
    score: bool = False
    font: TextFont | None = None


@dataclass(frozen=True)
class FilmMade:
    """What became of a reel. `kept` shots had been encoded before; `gone` are places of pictures that were missing."""

    frames: int
    shots: int
    kept: int
    gone: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / FPS


@dataclass(frozen=True, eq=False)
class _Staged:
    """A part ready to be filmed: its picture, and the card before it until frame `uncovered`."""

    still: Still
    card: Planes | None
    appears: int
    uncovered: int
    fade: int

    def at(self, frame: int, size: Size) -> Planes:
        """Return what it shows in a frame of the film."""
        if self.card is not None and frame < self.uncovered - self.fade:
            return self.card
        seen = self.still.seen((frame - self.appears) / FPS, size)
        if self.card is None or frame >= self.uncovered:
            return seen
        return blended(self.card, seen, (frame - self.uncovered + self.fade + 1) / (self.fade + 1))


class _Stage:
    """Prepares the parts of a reel, each once: a shot shows its own part and the next one."""

    def __init__(self, reel: Reel, style: FilmStyle, find: FindPicture, made: Sequence[Shot]) -> None:
        self._reel, self._find, self._made, self._font = reel, find, made, style.font
        self._music_xml = abc_to_music_xml(reel.abc) if style.score else b""
        self._strip_height = strip_height(style.size, staves_in(self._music_xml)) if style.score else 0
        self.size = (style.size[0], style.size[1] - self._strip_height)
        titles = "".join(part.title for part in reel.parts)
        boxes = unwritten_scripts(titles + words_shown(reel, style), style.font)
        self._letters = [style.font.digest if style.font else "", boxes]
        self._pictures: dict[int, Image | None] = {}
        self.gone: dict[int, str] = {}

    def picture(self, at: int) -> Image | None:
        """Return a part's picture; those before it are not needed any more."""
        if at not in self._pictures:
            self._pictures = {other: image for other, image in self._pictures.items() if other >= at - 1}
            part = self._reel.parts[at]
            self._pictures[at] = self._find(part, longest_side(self.size))
            if self._pictures[at] is None:
                self.gone[at] = next(iter(part.places), part.image_id)
        return self._pictures[at]

    def staged(self, at: int) -> _Staged:
        """Return a part ready to be filmed."""
        part, shot, image = self._reel.parts[at], self._made[at], self.picture(at)
        appears = shot.first - (self._made[at - 1].fade if at else 0)
        card = part.card
        uncovered = shot.first + round(card.seconds * FPS) if card else 0
        if image is None:
            plain = title_card(None, self.size, part.title, font=self._font)
            still = Still(plain, HELD)
        else:
            lead = (shot.first - appears) / FPS
            stops = [replace(stop, seconds=stop.seconds + lead) for stop in part.stops]
            fit = fit_of(image.size, self.size)
            still = Still(
                canvas_of(image, self.size, fit),
                path_over(stops, (shot.last - appears) / FPS, fit, outward=at % 2 == 1),
            )
        words = title_card(image, self.size, card.title, card.subtitle, self._font) if card else None
        return _Staged(still, words, appears, uncovered, round(card.upbeat * FPS) if card else 0)

    def strip(self, at: int) -> ScoreStrip | None:
        """Return the strip of score under a part."""
        if not self._strip_height:
            return None
        bars, part, shot = self._reel.bars, self._reel.parts[at], self._made[at]
        first, last = (bars.quarters[bar] if bar < len(bars.quarters) else None for bar in part.bars)
        whole = first == 0.0 and last is None
        score = self._music_xml if whole else bars_between(self._music_xml, *part.bars)
        begin = first or 0.0
        size = (self.size[0], self._strip_height)
        frames = (shot.first, shot.last)
        return strip_of(score, lambda quarters: bars.second_of(begin + quarters), frames, size, FPS, self._font)

    def name_of(self, at: int) -> str:
        """Return the name of a shot's file: it tells all that its frames depend on."""
        shot = self._made[at]
        shown = [at, at + 1] if shot.fade else [at]
        seen = [
            {"found": self.picture(one) is not None, "shot": asdict(self._made[one]), **asdict(self._reel.parts[one])}
            for one in shown
        ]
        lead = self._made[at - 1].fade if at else 0
        score = [self._reel.abc, hashlib.sha256(self._reel.midi).hexdigest()] if self._strip_height else []
        frame = [self.size, self._strip_height, at % 2, lead]
        content = [FILM_VERSION, dict(QUALITY), FPS, frame, seen, score, self._letters]
        return f"shot-{_digest(content)}.mp4"

    def frames(self, at: int) -> Iterator[Planes]:
        """Yield the frames of a shot."""
        shot = self._made[at]
        here, strip = self.staged(at), self.strip(at)
        after = self.staged(at + 1) if shot.fade else None
        for frame in range(shot.first, shot.last):
            seen = here.at(frame, self.size)
            share = shot.share_of_next(frame)
            if after is not None and share > 0:
                seen = blended(seen, after.at(frame, self.size), share)
            yield strip.under(seen, frame) if strip is not None else seen


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def words_shown(reel: Reel, style: FilmStyle) -> str:
    """Return the words that a film shows: those of its cards, and of the strip of its score.

    Raises:
        AbcError, NotationError: the score cannot be written.
    """
    cards = [part.card for part in reel.with_cards().parts if part.card is not None] if style.titles else []
    words = "".join(card.title + card.subtitle for card in cards)
    return words + (words_on_strip(abc_to_music_xml(reel.abc)) if style.score else "")


def as_clock(seconds: float) -> str:
    """Return a length as players show it: 9:05, or 1:02:30 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def film_forecast(pictures: int, seconds: float, size: Size, processors: int) -> str:
    """Return how long a film is, and about how large it gets and how long that takes on so many processors."""
    megapixels = size[0] * size[1] / 1e6
    sizes = [seconds * (SOUND_KBPS / 8000 + each * megapixels) for each in _MEGABYTES]
    least, most = (max(1, int(float(f"{size:.1g}"))) for size in sizes)
    large = f"{least} to {most} MB by what they show" if least < most else f"about {most} MB"
    minutes = seconds * _PROCESSOR_SECONDS * megapixels / min(_PROCESSORS_AT_WORK, processors) / 60
    many = counted(pictures, "picture")
    return f"film of {many}, {as_clock(seconds)} long, {large}, {_minutes(minutes)} to write"


def _minutes(minutes: float) -> str:
    return f"about {minutes:.0f} min" if minutes >= 1 else "less than a minute"


def shoot(
    reel: Reel,
    style: FilmStyle,
    find: FindPicture,
    renderer: SoundRenderer,
    work: Path,
    target: Path,
    tell: Callable[[str], None] = lambda line: None,
) -> FilmMade:
    """Make a film, and remove the folder of work when it is whole.

    Args:
        reel: what it shows when.
        style: how it looks.
        find: opens its pictures.
        renderer: plays its music.
        work: a folder for what is done already; the same reel goes on from what lies there.
        target: the MP4 file.
        tell: is told how long the film gets, and how far it is after each picture.

    Raises:
        ConfigError: PyAV is missing.
        AbcError, MidiError, NotationError: the music cannot be played or engraved.
        OutputError: a file cannot be written.
    """
    reel = reel.with_cards() if style.titles else reel
    for folder in (work, target.parent):
        folder.mkdir(parents=True, exist_ok=True)
    sound = _sound_of(reel, renderer, work)
    seconds = len(sound) / RATE
    reel, made = _cut(reel, seconds)
    stage = _Stage(reel, style, find, made)
    tell(film_forecast(len(made), made[-1].last / FPS, style.size, os.cpu_count() or 1))
    files, kept, written, begun = [], 0, 0, time.monotonic()
    for at in range(len(made)):
        path = work / stage.name_of(at)
        kept += path.exists()
        if not path.exists():
            write_shot(path, stage.frames(at), style.size)
            written += made[at].frames
        files.append(path)
        left = made[-1].last - made[at].last
        if left:
            to_go = (time.monotonic() - begun) * left / max(1, written) / 60
            tell(f"{at + 1} of {counted(len(made), 'picture')}" + (f", {_minutes(to_go)} to go" if written else ""))
    frames = made[-1].last
    join_shots(target, files, frames, sound, reel.chapters, reel.tags)
    shutil.rmtree(work, ignore_errors=True)
    return FilmMade(frames, len(made), kept, tuple(stage.gone[at] for at in sorted(stage.gone)))


def _cut(reel: Reel, seconds: float) -> tuple[Reel, tuple[Shot, ...]]:
    """Return the parts that have frames, and their shots."""
    while True:
        starts, upbeats = [part.start for part in reel.parts], [part.upbeat for part in reel.parts]
        made = shots(starts, upbeats, seconds, FPS)
        if all(shot.frames for shot in made) or len(made) == 1:
            return reel, made
        kept = tuple(part for part, shot in zip(reel.parts, made, strict=True) if shot.frames)
        reel = replace(reel, parts=kept or reel.parts[:1])


def _sound_of(reel: Reel, renderer: SoundRenderer, work: Path) -> FilmSound:
    """Return the music of a reel, as long as it has to be; from an earlier run where that made it."""
    content = [FILM_VERSION, hashlib.sha256(reel.midi).hexdigest(), renderer.name, reel.length_s, reel.loop]
    path = work / f"sound-{_digest(content)}.f32"
    if path.exists():
        return FilmSound(path)
    if reel.length_s is not None:
        half_made = path.with_suffix(".part")
        half_made.write_bytes(renderer.render_exactly(reel.midi, reel.length_s, reel.loop).tobytes())
        half_made.replace(path)
        return FilmSound(path)
    return make_sound(reel.midi, reel.bars.quarters, renderer, path)
