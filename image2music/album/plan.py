"""Plan an album as one piece: a key for each chapter, an arc of tempo, one motif, a theme for near-duplicates.

Order and chapters follow the times at which the pictures were taken (`chapters`). All else is planned from what the
embedded default sees in its pictures and the music that suits each of them, so the plan is the same whatever model
composes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import numpy as np
from PIL import Image

from image2music.album.chapters import chapters_of, ordered, valence_of
from image2music.composers.suiting import Ensemble, SuitingMusic, suiting_music
from image2music.embedders.conse import load_conse
from image2music.images.scene import Scene
from image2music.images.sources import is_web, member_of
from image2music.images.taken import Taken, believed, taken_by_name, with_offset
from image2music.music.instruments import instrument_of
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.music.similarity import METERS, AlbumMode, make_answer, make_motif, opening_of
from image2music.settings import picture_seed
from image2music.types import AlbumPart

_HASH_SIDE = 8
_MOST_BITS = 8
_MOST_COLOUR = 24.0
_COLOUR_SIDE = 128
_MOST_THINGS = 6


@dataclass(frozen=True)
class ImageSummary:
    """What the plan needs of a picture, in about 500 bytes.

    `place` is where the picture lies. `scene` is what is seen, without eye path, light and colours.
    print: the 64 bits of `difference_hash`. colour: mean R, G and B, 0-255. `exif` and `sidecar` say when it was taken,
    where they do; `file_time` when its file changed, in seconds since 1970, None where a file tells nothing.
    """

    image_id: str
    place: str
    scene: Scene
    print: int
    colour: tuple[float, float, float]
    exif: Taken | None = None
    sidecar: Taken | None = None
    file_time: int | None = None

    @property
    def told(self) -> Taken | None:
        """When it was taken: by its EXIF data, else by the file beside it, else by its name."""
        if self.exif is not None:
            return with_offset(self.exif, self.sidecar)
        return self.sidecar or taken_by_name(_name_of(self.place))


def _name_of(place: str) -> str:
    member = member_of(place)
    name = place.partition("?")[0] if is_web(place) else place
    return os.path.basename(name if member is None else member.name)


def glance_at(image_id: str, place: str, image: Image.Image) -> ImageSummary:
    """Summarise an upright RGB picture as the embedded default sees it.

    Raises:
        ModelError: its networks are not installed (`model_not_installed`).
    """
    return image_summary(image_id, place, image, load_conse().look([image])[0].scene)


def image_summary(image_id: str, place: str, image: Image.Image, scene: Scene) -> ImageSummary:
    """Summarise an upright RGB picture in which `scene` is seen."""
    small = image.copy()
    small.thumbnail((_COLOUR_SIDE, _COLOUR_SIDE))
    pixels = np.asarray(small, dtype=np.uint8)
    red, green, blue = (round(float(value), 1) for value in pixels.reshape(-1, 3).mean(0))
    return ImageSummary(image_id, place, _without_details(scene), difference_hash(image), (red, green, blue))


def _without_details(scene: Scene) -> Scene:
    """Return what music is chosen by."""
    return replace(scene, things=scene.things[:_MOST_THINGS], eye_path=(), light="", palette=())


def summary_as_json(summary: ImageSummary) -> str:
    """Write a summary down for a later run, but for whose it is."""
    scene = {name: value for name, value in asdict(summary.scene).items() if value not in ("", (), None)}
    said = {"scene": scene, "print": summary.print, "colour": summary.colour}
    taken = {name: getattr(summary, name) for name in ("exif", "sidecar")}
    said |= {name: one.text for name, one in taken.items() if one is not None}
    said |= {} if summary.file_time is None else {"file": summary.file_time}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=True)


def summary_of_json(text: str, image_id: str, place: str) -> ImageSummary:
    """Return the inverse of `summary_as_json`."""
    said = json.loads(text)
    scene = {"subject": ""} | said["scene"]
    scene["things"] = tuple((name, share) for name, share in scene.get("things", ()))
    red, green, blue = said["colour"]
    exif = Taken.of_text(said["exif"], "exif") if "exif" in said else None
    sidecar = Taken.of_text(said["sidecar"], "sidecar") if "sidecar" in said else None
    colour = (red, green, blue)
    return ImageSummary(image_id, place, Scene(**scene), said["print"], colour, exif, sidecar, said.get("file"))


def difference_hash(image: Image.Image) -> int:
    """Return the 64 bits of dHash (Krawetz 2013): whether each cell of a grid is brighter than its left neighbour.

    Scaling, compression and exposure hardly change it.
    """
    grey = np.asarray(image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), dtype=np.int16)
    bits = (np.diff(grey, axis=1) > 0).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def near_duplicates(one: ImageSummary, other: ImageSummary) -> bool:
    """Tell whether two pictures are near-duplicates: frames of one burst, other sizes or compressions of one picture.

    At most 8 of 64 bits differ, and the mean colours by at most 24 of 255 in any channel.
    """
    colours = max(abs(a - b) for a, b in zip(one.colour, other.colour, strict=True))
    return (one.print ^ other.print).bit_count() <= _MOST_BITS and colours <= _MOST_COLOUR


_RECIPE = "album-3"
"""Raise it with every change here that changes a plan."""


def album_recipe(gap: float | None = None) -> str:
    """Name what an album is planned by, and whose eyes see its pictures: part of the settings of a run with albums.

    `gap` are the seconds that make a chapter, where they were asked for.
    """
    eyes = load_conse()
    recipe = f"{_RECIPE}+{eyes.id}+{eyes.scene_id}"
    return recipe if gap is None else f"{recipe}+gap-{gap:g}"


LARGEST_STEP = 1.15
"""Tempos of neighbours differ by at most this factor."""
_LOOK_BACK = 64
_BRIGHTER, _DARKER = 0.08, -0.08
_TONICS: dict[AlbumMode, tuple[int, ...]] = {"major": (0, 2, 5, 7, 9), "minor": (2, 4, 7, 9, 11)}
_DIGITS = 6
"""Decimals of sums that decide."""

# Share of the album gone by, and how much faster than suits its pictures it is then.
_ARC = ((0.0, 0.65, 1.0), (0.93, 1.08, 0.92))
TonicAndMode = tuple[int, AlbumMode]
Pair = tuple[int, int]


def plan_album(glances: Sequence[ImageSummary], seed: int, gap: float | None = None) -> dict[str, AlbumPart]:
    """What each picture's tune takes over, by image_id. The order of `glances` does not matter.

    `gap` are the seconds between two pictures that make a chapter, None for what suits the album.
    """
    times = believed([one.told for one in glances], [one.file_time for one in glances])
    order, clocks = ordered([(one.place, one.image_id) for one in glances], times)
    pictures = [glances[at] for at in order]
    scenes = [one.scene for one in pictures]
    suiting = [suiting_music(scene) for scene in scenes]
    themes = themes_of(pictures)
    bounds = chapters_of(scenes, themes, clocks, gap)
    valences = [valence_of(scene) for scene in scenes]
    valence = fmean(valences)
    # The first picture's id, so that pictures added behind it leave the motif as it is.
    own_seed = picture_seed(seed, pictures[0].image_id)
    rng = np.random.Generator(np.random.Philox([own_seed, 3]))
    mode = mode_of_most(suiting, valences)
    home: TonicAndMode = (int(rng.choice(_TONICS[mode])), mode)
    meter = meter_of_most(suiting, rng)
    programs = programs_for(suiting, rng)
    motif = make_motif(meter, rising=mode == "major", seed=own_seed)
    moods = [round(fmean(valences[a:b]) - valence, _DIGITS) for a, b in bounds]
    chapters = [number for number, (a, b) in enumerate(bounds) for _ in range(a, b)]
    keys, firsts = chapter_keys(home, moods), [pictures[a].image_id[:12] for a, _ in bounds]
    tempos = tempo_arc(suiting, [a for a, _ in bounds])
    sizes = Counter(themes)
    parts = {}
    for number, picture, theme, chapter, qpm in zip(order, pictures, themes, chapters, tempos, strict=True):
        (tonic, key_mode), taken = keys[chapter], times[number]
        answer = make_answer(motif, meter, key_mode, seed=int(theme, 16)) if sizes[theme] > 1 else None
        opening = opening_of(motif, answer)
        parts[picture.image_id] = AlbumPart(
            tonic, key_mode, meter, qpm, programs, theme, motif, opening, firsts[chapter], taken
        )
    return parts


def themes_of(pictures: Sequence[ImageSummary]) -> list[str]:
    """Return each picture's theme: the short id of the first picture that it is a near-duplicate of, or its own."""
    firsts: list[ImageSummary] = []
    themes = []
    for picture in pictures:
        like = next((first for first in reversed(firsts[-_LOOK_BACK:]) if near_duplicates(first, picture)), None)
        if like is None:
            firsts.append(picture)
        themes.append((like or picture).image_id[:12])
    return themes


# ---------------------------------------------------------------- what suits most pictures

_WHOLE_VOTE = 60
"""Of it halves, thirds, quarters and so on are whole numbers, so that sums are the same in any order."""


def mode_of_most(suiting: Sequence[SuitingMusic], valences: Sequence[float]) -> AlbumMode:
    """Return the mode that suits more pictures; one that either suits counts by its valence."""
    clear = {"major": 1.0, "minor": -1.0}
    votes = [clear.get(one.mode, valence) for one, valence in zip(suiting, valences, strict=True)]
    return "major" if round(fmean(votes), _DIGITS) >= 0 else "minor"


def meter_of_most(suiting: Sequence[SuitingMusic], rng: np.random.Generator) -> str:
    """Return the meter that suits most pictures, their first one counting most; of equals one is drawn."""
    votes = dict.fromkeys(METERS, 0)
    for one in suiting:
        for rank, meter in enumerate((meter for meter in one.meters if meter in votes), 1):
            votes[meter] += _WHOLE_VOTE // rank
    equals = [meter for meter in METERS if votes[meter] == max(votes.values())]
    return equals[int(rng.integers(len(equals)))]


def programs_for(suiting: Sequence[SuitingMusic], rng: np.random.Generator) -> Pair:
    """Return melody and accompaniment that are unsuitable to no picture, and of those what suits most pictures.

    Two programs are taken of each ensemble. A picture votes for the programs of its first ensemble, and less for those
    that only a later one has. Where each pair is unsuitable to some picture, the pairs that are so to the fewest are
    left. Of those with nearly the most votes one is drawn.
    """
    anywhere = suiting_music(Scene("")).ensembles
    asked = [ensemble for one in suiting for ensemble in one.ensembles]
    pairs = list(dict.fromkeys(_pair_of(ensemble.programs) for ensemble in (*asked, *anywhere)))
    refused = Counter(program for one in suiting for program in one.unsuitable)
    votes: Counter[int] = Counter()
    for one in suiting:
        votes.update(_votes(one.ensembles))
    fewest = min(_worst(pair, refused) for pair in pairs)
    left = {pair: sum(votes[program] for program in pair) for pair in pairs if _worst(pair, refused) == fewest}
    enough = _NEARLY * max(left.values())
    nearly = [pair for pair, vote in left.items() if 10 * vote >= enough]
    return nearly[int(rng.integers(len(nearly)))]


_NEARLY = 8
"""Pairs with so many tenths of the most votes suit as well, so that not all albums sound alike."""


def _worst(pair: Pair, refused: Mapping[int, int]) -> int:
    return max(refused.get(program, 0) for program in pair)


def _votes(ensembles: Sequence[Ensemble]) -> dict[int, int]:
    """Return a program's share of a picture's vote: by the first ensemble that has it."""
    votes: dict[int, int] = {}
    for rank, ensemble in enumerate(ensembles, 1):
        for program in ensemble.programs:
            votes.setdefault(program, _WHOLE_VOTE // rank)
    return votes


_SELF_ACCOMPANIED = 5
"""Notes at once from which on an instrument carries all that is under a melody."""


def _pair_of(programs: Sequence[int]) -> Pair:
    """Return an ensemble's melody, and of the others one that has chords and bass alone; else its bass."""
    melody, *others = [one for one in programs if one != DRUM_KIT] or [0]
    full = (one for one in others if instrument_of(one).chords >= _SELF_ACCOMPANIED)
    return melody, next(full, others[-1] if others else melody)


# ---------------------------------------------------------------- keys


def chapter_keys(home: TonicAndMode, moods: Sequence[float]) -> list[TonicAndMode]:
    """Return a key for each chapter, at most one sign away from home, where the album begins and ends.

    `moods` holds each chapter's valence less the album's. Brighter ones go to the dominant (from minor: the relative
    major), darker ones to the relative minor (from minor: the subdominant), others to the nearest key left.
    """
    if len(moods) == 1:
        return [home]
    keys = [home]
    for mood in moods[1:-1]:
        keys.append(next(key for key in _away(home, mood) if key != keys[-1]))
    return [*keys, home]


def _away(home: TonicAndMode, mood: float) -> tuple[TonicAndMode, TonicAndMode]:
    """Return the two keys that a chapter may go to, the fitting one first; the second avoids a repetition."""
    tonic, mode = home
    minor: AlbumMode = "minor"
    major: AlbumMode = "major"
    fourth, fifth = ((tonic + 5) % 12, mode), ((tonic + 7) % 12, mode)
    relative = ((tonic + 9) % 12, minor) if mode == major else ((tonic + 3) % 12, major)
    brighter, darker = (fifth, relative) if mode == major else (relative, fourth)
    if mood > _BRIGHTER:
        return brighter, fourth if mode == major else fifth
    if mood < _DARKER:
        return darker, fourth if mode == major else fifth
    return (fourth, fifth) if mode == major else (fifth, fourth)


# ---------------------------------------------------------------- tempo


def tempo_arc(suiting: Sequence[SuitingMusic], starts: Sequence[int] = (0,)) -> list[int]:
    """Return quarter notes a minute for each picture: what suits it, rising until two thirds, then falling.

    `starts` are the first pictures of chapters, each of which takes an equal share of the arc, long or short.

    None leaves the tempos that suit its picture but for the sake of gentle steps.
    """
    n = len(suiting)
    shares = {start: at / len(starts) for at, start in enumerate(starts)} | {n - 1: 1.0}
    gone = np.interp(range(n), list(shares), list(shares.values())) if n > 1 else np.array([0.5])
    arc = np.interp(gone, *_ARC)
    wanted = [
        round(round(min(one.fastest, max(one.slowest, one.qpm * float(a))), _DIGITS))
        for one, a in zip(suiting, arc, strict=True)
    ]
    # From a picture in the middle of them both ways: a wild first picture does not quicken what follows.
    start = wanted.index(sorted(wanted)[(len(wanted) - 1) // 2])
    return [*gentle(wanted[start::-1])[:0:-1], *gentle(wanted[start:])]


def gentle(tempos: Sequence[int]) -> list[int]:
    """Return the tempos with steps limited to the factor `LARGEST_STEP`, up or down."""
    calmed = list(tempos[:1])
    for qpm in tempos[1:]:
        before = calmed[-1]
        calmed.append(min(int(before * LARGEST_STEP), max(-int(-before // LARGEST_STEP), qpm)))
    return calmed
