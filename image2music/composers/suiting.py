"""The music that suits a scene: tempo, mode, meter, mood, instruments and figures, each with its reason.

The planner writes to it, recall looks for tunes that agree with it, and albums are planned from it. It depends on the
scene alone, whoever saw it, so what it says can be found again from a row. The settings that a scene speaks of
(`scene_words`: water, animals, roads ...) ask for instruments; their votes, weighted by how sure the scene is, choose
the ensembles among those that blend.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Literal

from image2music.composers.scene_words import all_settings, flat_stems, setting_votes
from image2music.images.scene import Scene
from image2music.music.instruments import instrument_of
from image2music.music.planning.plan import Family
from image2music.music.planning.vocabulary import DRUM_KIT

Character = Literal["calm", "flowing", "playful", "grand", "dark", "driving"]
SuitingMode = Literal["major", "minor", "either"]
BandJob = Literal["lead", "second", "sustained", "figure", "drums", "bass", "ground"]
"""What an instrument is there for; `lead` and `second` sing in turn, `ground` has figure and bass."""


@dataclass(frozen=True)
class Ensemble:
    """Instruments that suit together, and why: General MIDI programs from 0, melody first, bass last.

    `DRUM_KIT` may stand before the last one. `jobs` say what each is there for (empty: nobody has thought about it).
    """

    programs: tuple[int, ...]
    reason: str
    jobs: tuple[BandJob, ...] = ()


@dataclass(frozen=True)
class SuitingMusic:
    """What music suits a scene, widest choice first.

    `slowest` to `fastest` with `qpm` between them are quarter notes a minute. `moods` are words that captions of music
    use, strongest first. `meter_chances` has rarer meters too, and adds up to 1. `ensembles` stand best first;
    `unsuitable` programs (128: a drum kit) never come.
    `reasons` are plain English clauses that say why, for people. `tuneless` are programs whose tones are too short for
    the long notes of such a tune.
    """

    character: Character
    qpm: float
    slowest: float
    fastest: float
    mode: SuitingMode
    meters: tuple[str, ...]
    meter_chances: tuple[tuple[str, float], ...]
    moods: tuple[str, ...]
    ensembles: tuple[Ensemble, ...]
    unsuitable: frozenset[int]
    families: tuple[Family, ...]
    reasons: tuple[str, ...]
    tuneless: frozenset[int] = frozenset()


_PROGRAMS = {
    "piano": 0, "electric piano": 4, "harpsichord": 6, "celesta": 8, "glockenspiel": 9, "music box": 10,
    "vibraphone": 11, "marimba": 12, "xylophone": 13, "bells": 14, "dulcimer": 15, "rock organ": 18,
    "church organ": 19, "accordion": 21, "harmonica": 22, "guitar": 24, "steel guitar": 25, "jazz guitar": 26,
    "electric guitar": 27, "overdriven guitar": 29, "acoustic bass": 32, "electric bass": 33, "synth bass": 38,
    "violin": 40, "viola": 41, "cello": 42, "double bass": 43, "tremolo strings": 44, "pizzicato strings": 45,
    "harp": 46, "strings": 48, "choir": 52, "trumpet": 56, "trombone": 57, "tuba": 58, "muted trumpet": 59,
    "horn": 60, "brass": 61, "tenor saxophone": 66, "oboe": 68, "English horn": 69, "bassoon": 70, "clarinet": 71,
    "piccolo": 72, "flute": 73, "recorder": 74, "pan flute": 75, "shakuhachi": 77, "whistle": 78, "synth lead": 81,
    "pad": 89, "choir pad": 91, "koto": 107, "kalimba": 108, "fiddle": 110, "steel drums": 114, "drum kit": DRUM_KIT,
}  # fmt: skip
_SPELLED = {"pad": "synthesizer pad", "choir pad": "synthesizer choir", "synth lead": "synthesizer lead",
            "synth bass": "synthesizer bass", "steel guitar": "steel-string guitar", "drum kit": "drums"}  # fmt: skip
_NAMES = {program: _SPELLED.get(name, name) for name, program in _PROGRAMS.items()}
_ALIKE = {
    **dict.fromkeys((1, 2, 3), 0), 5: 4, **dict.fromkeys((16, 17), 18), 20: 19, 28: 27, 30: 29, 34: 33, 35: 33,
    36: 33, 37: 33, 39: 38, **dict.fromkeys((49, 50, 51), 48), **dict.fromkeys((53, 54), 52), 62: 61, 63: 61,
    **dict.fromkeys((64, 65, 67), 66), **dict.fromkeys((80, *range(82, 88)), 81),
    **dict.fromkeys((88, 90, *range(92, 96)), 89),
}  # fmt: skip
"""Programs that people call by another's name, as three string ensembles are strings."""


def instrument_called(program: int, name: str = "") -> str:
    """Return what people call an instrument (`strings`, `guitar`); one without such a name by its own `name`."""
    plain = name.lower().partition(" (")[0]
    return _NAMES.get(_ALIKE.get(program, program), plain)


# ---------------------------------------------------------------- what it asks of the music

_DIGITS = 3
_STILL, _LIVELY, _WILD = 0.35, 0.55, 0.7
_SAD = -0.2
_SLOWEST, _FASTEST = 60.0, 132.0
_LOW, _HIGH = (0.1, 76.0), (0.7, 104.0)
"""Two points (arousal, quarter notes a minute) of the gentle slope on which the tempo of a picture lies."""
_WIDTH = 1.2
_HURRY = {"driving": 22.0, "walking": 8.0, "playful": 4.0}
"""Quarter notes a minute that a manner adds where a setting of it is surely there."""


def _manners(votes: Mapping[str, float]) -> dict[str, float]:
    """Return how strongly each manner is there."""
    found: dict[str, float] = {}
    for setting in all_settings():
        if setting.name in votes:
            found[setting.manner] = max(found.get(setting.manner, 0.0), votes[setting.name])
    return found


def _character(manners: Mapping[str, float], valence: float, arousal: float) -> Character:
    if valence < _SAD or (manners.get("dark", 0.0) >= 0.4 and valence < 0.1):
        return "dark"
    if arousal >= _WILD or (manners.get("driving", 0.0) >= 0.4 and arousal >= _STILL):
        return "driving"
    if manners.get("grand", 0.0) >= 0.4 and arousal >= _STILL:
        return "grand"
    if manners.get("playful", 0.0) >= 0.3 and valence > 0 and arousal >= 0.3:
        return "playful"
    return "calm" if arousal < _STILL else "flowing"


def _tempo(manners: Mapping[str, float], arousal: float, motion: str) -> float:
    slope = (_HIGH[1] - _LOW[1]) / (_HIGH[0] - _LOW[0])
    hurry = sum(_HURRY.get(manner, 0.0) * min(1.0, vote * 1.5) for manner, vote in manners.items())
    if {"fast", "racing", "rushing", "running"} & set(flat_stems(motion)):
        hurry += 8.0
    return round(min(max(_LOW[1] + slope * (arousal - _LOW[0]) + hurry, _SLOWEST), _FASTEST), _DIGITS)


_METERS: dict[Character, tuple[str, ...]] = {
    "calm": ("3/4", "4/4", "6/8"), "flowing": ("6/8", "3/4", "4/4"), "playful": ("2/4", "6/8", "4/4", "3/4"),
    "grand": ("4/4", "3/4"), "dark": ("4/4", "3/4", "6/8"), "driving": ("4/4", "2/4", "6/8"),
}  # fmt: skip
_METER_CHANCES: dict[Character, Mapping[str, float]] = {
    "calm": {"3/4": 0.28, "4/4": 0.26, "6/8": 0.2, "12/8": 0.09, "9/8": 0.08, "5/4": 0.09},
    "flowing": {"6/8": 0.28, "3/4": 0.24, "4/4": 0.18, "12/8": 0.12, "9/8": 0.11, "5/4": 0.07},
    "playful": {"2/4": 0.26, "6/8": 0.24, "4/4": 0.2, "3/4": 0.18, "9/8": 0.06, "5/4": 0.06},
    "grand": {"4/4": 0.45, "3/4": 0.23, "12/8": 0.15, "5/4": 0.09, "9/8": 0.08},
    "dark": {"4/4": 0.34, "3/4": 0.24, "6/8": 0.12, "5/4": 0.14, "12/8": 0.1, "9/8": 0.06},
    "driving": {"4/4": 0.5, "2/4": 0.16, "6/8": 0.12, "12/8": 0.1, "5/4": 0.12},
}
_METER_LEANS: Mapping[str, tuple[str, ...]] = {
    "water": ("6/8", "9/8", "12/8"), "sea": ("6/8", "9/8", "12/8"), "flight": ("6/8", "9/8", "12/8"),
    "party": ("3/4", "6/8", "2/4"), "play": ("2/4", "6/8"), "music": ("3/4", "4/4"), "city": ("4/4", "2/4"),
    "roads": ("4/4", "2/4"), "cycling": ("2/4", "6/8"), "faith": ("4/4", "3/4"), "circuits": ("5/4", "4/4"),
    "shapes": ("5/4", "3/4"), "storm": ("12/8", "5/4"), "space": ("5/4", "12/8"), "large animals": ("6/8", "9/8"),
    "flowers": ("3/4", "9/8"), "history": ("4/4", "3/4"), "war": ("4/4", "2/4"), "decay": ("5/4", "3/4"),
}  # fmt: skip
"""Meters that are likelier by half where a setting is surely there: waves in threes, steps in twos."""
_LEAN = 0.5
_MOODS: dict[Character, tuple[str, ...]] = {
    "calm": ("calm", "relaxing", "meditative", "soft", "melodic"),
    "flowing": ("melodic", "relaxing", "dreamy", "love", "nature"),
    "playful": ("happy", "fun", "children", "melodic", "positive"),
    "grand": ("epic", "inspiring", "film", "uplifting", "melodic"),
    "dark": ("dark", "sad", "emotional", "drama", "film"),
    "driving": ("energetic", "upbeat", "motivational", "action", "powerful"),
}
_FAMILIES: dict[Character, tuple[Family, ...]] = {
    "calm": ("arpeggio", "wave", "pad", "chorale", "broken"),
    "flowing": ("wave", "broken", "arpeggio", "waltz", "alberti"),
    "playful": ("offbeat", "pizzicato", "alberti", "waltz", "broken"),
    "grand": ("chorale", "broken", "arpeggio", "pulse", "pad"),
    "dark": ("chorale", "pulse", "tremolo", "broken", "pad"),
    "driving": ("pulse", "ostinato", "offbeat", "tremolo", "broken"),
}

_PRIOR: dict[bool | None, tuple[str, ...]] = {
    None: ("piano", "electric guitar", "strings", "electric bass", "electric piano", "clarinet", "marimba", "brass"),
    False: ("strings", "piano", "guitar", "flute", "harp", "vibraphone", "electric piano", "clarinet"),
    True: ("strings", "guitar", "clarinet", "piano", "flute", "pizzicato strings", "marimba", "electric piano"),
}
"""What suits most pictures, driving ones (None), still ones and others; it fills up where a scene says little."""
_PRIOR_WEIGHT = 0.3
_FADING = 0.86
"""How much less each further instrument of a setting counts."""
_COMMONNESS = 0.2
"""How much less one counts that many settings ask for: what tells a picture from others goes first."""

_GENTLE = 0.5
"""How much what gentle settings ask for counts in driving music: people in a race are no portrait."""

_EFFECTS = frozenset({55, *range(119, 128)})
_HARSH = frozenset({29, 30, 36, 37, 105, 104, 106, 109, 111})
_LOUD = frozenset({DRUM_KIT, 47, *range(56, 60), *range(61, 68), *range(80, 88), 116, 117, 118})
_SOLEMN = frozenset({16, 17, 18, 19, 20})
_TENDER = frozenset({9, 10, 46, 52, 53, 54, 8})
_MERRY = frozenset({3, 9, 10, 13, 21, 22, 72, 74, 78, 79, 82, 114})
_KEPT_OUT: dict[Character, frozenset[int]] = {
    "calm": _LOUD | _SOLEMN, "flowing": _LOUD | _SOLEMN, "playful": _LOUD | _SOLEMN | {52, 53, 54},
    "grand": _SOLEMN | _MERRY, "dark": _MERRY, "driving": _TENDER | _SOLEMN,
}  # fmt: skip
"""Programs that plainly don't suit a character, unless a setting that is there asks for them."""


Asked = dict[int, tuple[float, str]]
"""Program to how much it is asked for, and what for."""


@dataclass(frozen=True)
class Leanings:
    """What a scene leans to, before any choice: what changes in it, even by little, changes something here.

    `bright` runs from -1 (plainly minor) to 1 (plainly major), `mode` is what comes of it. `instruments` says how much
    each program is asked for and what for, `settings` how surely each setting is there, surest first.
    """

    character: Character
    qpm: float
    mode: SuitingMode
    bright: float
    instruments: Mapping[int, tuple[float, str]]
    settings: Mapping[str, float]


@lru_cache(maxsize=1024)
def leanings_of(scene: Scene) -> Leanings:
    """Return what a scene leans to; what it leaves open is neither glad nor sad, neither still nor wild."""
    valence = 0.1 if scene.valence is None else round(scene.valence, _DIGITS)
    arousal = 0.4 if scene.arousal is None else round(scene.arousal, _DIGITS)
    votes = setting_votes(scene)
    manners = _manners(votes)
    character = _character(manners, valence, arousal)
    dark = manners.get("dark", 0.0)
    return Leanings(
        character,
        _tempo(manners, arousal, scene.motion),
        _mode(manners, valence),
        round(min(1.0, max(-1.0, valence - 0.5 * dark)), _DIGITS),
        _asked_for(votes, character),
        votes,
    )


@lru_cache(maxsize=512)
def suiting_music(scene: Scene) -> SuitingMusic:
    """Return the music that suits a scene."""
    leanings = leanings_of(scene)
    character, votes, asked = leanings.character, leanings.settings, leanings.instruments
    qpm = float(round(leanings.qpm))
    arousal = 0.4 if scene.arousal is None else round(scene.arousal, _DIGITS)
    unsuitable = _EFFECTS | (
        (_HARSH | _KEPT_OUT[character]) - {program for program, vote in asked.items() if vote[0] >= 0.3}
    )
    tuneless = frozenset[int]() if character in ("playful", "driving") else _SHORT
    return SuitingMusic(
        character=character,
        qpm=qpm,
        slowest=float(round(qpm / _WIDTH)),
        fastest=float(round(qpm * _WIDTH)),
        mode=leanings.mode,
        meters=_METERS[character],
        meter_chances=_meter_chances(character, votes),
        moods=_MOODS[character],
        ensembles=_ensembles(
            _with_prior(asked, None if character == "driving" else arousal >= 0.4), unsuitable, tuneless
        ),
        unsuitable=frozenset(unsuitable),
        families=_FAMILIES[character],
        reasons=_reasons(votes, character, qpm),
        tuneless=tuneless,
    )


def _meter_chances(character: Character, votes: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    chances = dict(_METER_CHANCES[character])
    for setting, meters in _METER_LEANS.items():
        for meter in meters:
            if meter in chances:
                chances[meter] *= 1 + _LEAN * votes.get(setting, 0.0)
    whole = sum(chances.values())
    found = [(meter, round(chance / whole, _DIGITS)) for meter, chance in chances.items()]
    return tuple(sorted(found, key=lambda one: (-one[1], one[0])))


def _mode(manners: Mapping[str, float], valence: float) -> SuitingMode:
    if valence < _SAD / 2 or (manners.get("dark", 0.0) >= 0.4 and valence < 0.2):
        return "minor"
    return "major" if valence > 0.25 else "either"


def _asked_for(votes: Mapping[str, float], character: Character) -> Asked:
    """Add up what the settings ask for; the clause is that of the setting that asks most."""
    total: dict[int, float] = {}
    clauses: dict[int, tuple[float, str]] = {}
    for setting in all_settings():
        fitting = 1.0 if character != "driving" or setting.manner in ("driving", "walking", "playful") else _GENTLE
        for place, (name, clause) in enumerate(setting.instruments):
            program = _PROGRAMS[name]
            vote = fitting * votes.get(setting.name, 0.0) * _FADING**place
            if vote > 0 and (program != DRUM_KIT or character == "driving"):
                total[program] = total.get(program, 0.0) + vote
                clauses[program] = max(clauses.get(program, (0.0, "")), (vote, clause), key=lambda one: one[0])
    common = _settings_of_program()
    return {
        program: (round(vote / common[program] ** _COMMONNESS, _DIGITS), clauses[program][1])
        for program, vote in total.items()
    }


@cache
def _settings_of_program() -> Mapping[int, int]:
    """Count the settings that ask for each program."""
    return Counter(_PROGRAMS[name] for setting in all_settings() for name, _ in setting.instruments)


def _with_prior(asked: Mapping[int, tuple[float, str]], lively: bool | None) -> Asked:
    filled = dict(asked)
    for place, name in enumerate(_PRIOR[lively]):
        vote, clause = filled.get(_PROGRAMS[name], (0.0, ""))
        filled[_PROGRAMS[name]] = (round(vote + _PRIOR_WEIGHT * _FADING**place, _DIGITS), clause)
    return filled


# ---------------------------------------------------------------- ensembles

_WORLDS: tuple[frozenset[int], ...] = tuple(
    frozenset(_PROGRAMS[name.strip()] for name in world.split(","))
    for world in (
        # An orchestra and its sections; a salon; a village; a club; a stage; a studio; a nursery; islands; the East.
        "strings, violin, viola, cello, double bass, tremolo strings, pizzicato strings, harp, flute, piccolo, oboe,"
        "English horn, clarinet, bassoon, horn, trumpet, trombone, tuba, brass, piano, celesta, glockenspiel, bells,"
        "choir, church organ",
        "piano, guitar, strings, violin, viola, cello, double bass, flute, recorder, oboe, English horn, clarinet,"
        "bassoon, horn, harp, pizzicato strings, celesta, vibraphone, marimba, music box, harpsichord, accordion,"
        "acoustic bass, dulcimer",
        "guitar, steel guitar, flute, whistle, recorder, pan flute, fiddle, violin, accordion, harmonica, clarinet,"
        "cello, double bass, acoustic bass, dulcimer, kalimba, pizzicato strings, marimba, harp, bassoon, oboe,"
        "strings",
        "piano, electric piano, vibraphone, jazz guitar, guitar, electric guitar, acoustic bass, double bass,"
        "electric bass, clarinet, tenor saxophone, flute, trumpet, muted trumpet, trombone, brass, drum kit,"
        "rock organ, accordion, marimba, harmonica",
        "electric guitar, overdriven guitar, steel guitar, piano, electric piano, rock organ, electric bass,"
        "synth bass, synth lead, drum kit, brass, trumpet, pad, tenor saxophone, strings, harmonica, marimba",
        "pad, choir pad, synth lead, synth bass, electric bass, electric piano, vibraphone, piano, strings, cello,"
        "marimba, celesta, harp, flute, oboe, horn, guitar, kalimba, choir, clarinet, violin, drum kit",
        "celesta, glockenspiel, music box, marimba, xylophone, vibraphone, pizzicato strings, harp, clarinet, bassoon,"
        "flute, piccolo, piano, electric piano, kalimba, recorder, guitar, acoustic bass, accordion",
        "steel drums, marimba, vibraphone, guitar, kalimba, acoustic bass, electric bass, flute, trumpet, drum kit",
        "koto, shakuhachi, pan flute, flute, harp, strings, cello, vibraphone, bells, pizzicato strings, piano",
    )
)
"""Instruments that blend: a band comes out of one of these."""
_KIN: Mapping[int, tuple[tuple[int, float], ...]] = {
    _PROGRAMS[name]: tuple((_PROGRAMS[other], share) for other, share in kin)
    for name, kin in (
        ("cello", (("strings", 0.75), ("piano", 0.4), ("tremolo strings", 0.6))),
        ("violin", (("strings", 0.7),)),
        ("viola", (("strings", 0.55),)),
        ("double bass", (("strings", 0.45), ("pizzicato strings", 0.5), ("brass", 0.4))),
        ("acoustic bass", (("guitar", 0.45), ("vibraphone", 0.45), ("clarinet", 0.35), ("marimba", 0.35))),
        ("electric bass", (("electric guitar", 0.6), ("drum kit", 0.7), ("electric piano", 0.4))),
        ("synth bass", (("synth lead", 0.6), ("pad", 0.35))),
        ("bassoon", (("clarinet", 0.4), ("oboe", 0.4))),
    )
}
"""Who comes along with whom, and with what share of its vote: a family has its lower members."""
_COMES_ALONG = "a voice that goes with the others"
_MOST_ENSEMBLES, _MOST_PAIRS, _MOST_ALIKE, _MOST_BOWED, _MOST_LED = 8, 1, 2, 3, 4
_BASSES = (42, 43, 32, 33, 38, 70, 57, 58)
_NO_LEAD = frozenset({DRUM_KIT, 32, 33, 38, 43, 44, 58, 18, 19, 14, 52, 88, 89, 91})
_RHYTHM = frozenset((18, 27, 29, 32, 33, 38, 61, 66, 81))
"""Instruments one of which a drum kit needs beside it."""
_BOWED = frozenset((40, 41, 42, 43, 44, 48))
_SHORT = frozenset({9, 10, 12, 13, 45, 47, 108, 115})
"""Instruments whose tones are over at once: glockenspiel, music box, marimba, xylophone, pizzicato and their like."""
_CHORDAL = 5
"""Notes at once from which on an instrument gives figure and bass alone."""
_PART = 3
"""Notes at once from which on one has a figure or holds chords."""
_JOBS: tuple[tuple[BandJob, ...], ...] = (
    ("lead", "ground"), ("lead", "second", "ground"), ("lead", "figure", "bass"), ("lead", "second", "figure", "bass"),
    ("lead", "second", "sustained", "ground"), ("lead", "second", "sustained", "figure", "bass"),
)  # fmt: skip
_CHOICE: Mapping[BandJob, int] = {"lead": 5, "second": 5, "sustained": 3, "figure": 4, "bass": 2, "ground": 4}
"""How many of the best for each job are tried."""
_CONTRAST, _SINGING, _WANTED, _LEADING, _ACCOMPANIED = 0.01, 0.03, 0.02, 0.07, 0.03
"""What it is worth that the singers are of two kinds; that one of them holds its notes; that somebody is there whom
the scene asks for; that the one it asks for most has the tune; that keys, a harp or a guitar accompany it."""


def _ensembles(asked: Asked, unsuitable: frozenset[int], tuneless: frozenset[int]) -> tuple[Ensemble, ...]:
    """Put together what is asked for most: two that sing in turn, over figure and bass, out of one world.

    The last band at most has two instruments, three have more than one with a bow; no pair of lead and lowest comes
    more than twice, no lead more than four times.
    """
    asked = _with_kin(asked, unsuitable)
    votes = {program: vote for program, (vote, _) in asked.items() if program not in unsuitable}
    best = sorted(votes, key=lambda program: (-votes[program], program))
    bands = {band: jobs for wanted in _JOBS for band, jobs in _bands(wanted, best, tuneless)}
    told = {program for program in votes if asked[program][1] not in ("", _COMES_ALONG)}

    def worth(band: tuple[int, ...]) -> float:
        singers = [instrument_of(program) for program in band[:2] if program != DRUM_KIT]
        extra = _CONTRAST * len({one.kind for one in singers}) + _SINGING * any(one.sustains for one in singers)
        mean = sum(votes[program] for program in band) / len(band)
        wanted = _WANTED * (not told.isdisjoint(band)) + _LEADING * votes[band[0]]
        wanted += _ACCOMPANIED * any(_strikes_chords(one) for one in band[1:])
        return round(mean + extra + wanted, _DIGITS)

    chosen: list[tuple[int, ...]] = []
    for band in sorted(bands, key=lambda band: (-worth(band), band)):
        ends = sum((band[0], band[-1]) == (other[0], other[-1]) for other in chosen)
        pairs = sum(len(other) == 2 for other in chosen)
        bowed = sum(len(_BOWED & set(other)) > 1 for other in chosen)
        led = sum(band[0] == other[0] for other in chosen)
        alike = any(set(band) == set(other) for other in chosen)
        crowded = (len(band) == 2 and pairs >= _MOST_PAIRS) or (len(_BOWED & set(band)) > 1 and bowed >= _MOST_BOWED)
        if not alike and not crowded and ends < _MOST_ALIKE and led < _MOST_LED:
            chosen.append(band)
        if len(chosen) == _MOST_ENSEMBLES:
            break
    chosen.sort(key=lambda band: len(band) == 2)
    return tuple(Ensemble(band, _band_reason(band, asked), bands[band]) for band in chosen)


def _with_kin(asked: Asked, unsuitable: frozenset[int]) -> Asked:
    """Return what is asked for with lower relations; where tenderness is out of place, none with a bow comes along."""
    found = dict(asked)
    for program, kin in _KIN.items():
        if program in _BOWED and unsuitable >= _TENDER - set(asked):
            continue
        vote = round(max((share * asked[other][0] for other, share in kin if other in asked), default=0.0), _DIGITS)
        if vote > found.get(program, (0.0, ""))[0]:
            found[program] = vote, found.get(program, (0.0, ""))[1] or _COMES_ALONG
    return found


def _bands(
    jobs: tuple[BandJob, ...], best: Sequence[int], tuneless: frozenset[int]
) -> Iterator[tuple[tuple[int, ...], tuple[BandJob, ...]]]:
    """Yield bands for some jobs, with what each instrument is there for; drums come where they are asked for."""
    options = [
        [p for p in best if _can(p, job) and not (job in ("lead", "second") and p in tuneless)][: _CHOICE[job]]
        for job in jobs
    ]
    drummed: tuple[BandJob, ...] = (*jobs[:-1], "drums", jobs[-1])
    for band in product(*options):
        if len(set(band)) < len(band) or not (shared := _shared_worlds(band)):
            continue
        if DRUM_KIT in best and not _RHYTHM.isdisjoint(band) and shared & _worlds_of(DRUM_KIT):
            if _BOWED.isdisjoint((band[0], band[-1])):  # beside drums strings have neither tune nor bass
                yield (*band[:-1], DRUM_KIT, band[-1]), drummed
        else:
            yield band, jobs


def _shared_worlds(band: Sequence[int]) -> int:
    shared = -1
    for program in band:
        shared &= _worlds_of(program)
    return shared


def blends(band: Sequence[int]) -> bool:
    """Return whether instruments (a drum kit may be among them) come out of one world."""
    return bool(_shared_worlds([_ALIKE.get(program, program) for program in band]))


@cache
def _worlds_of(program: int) -> int:
    """Return the worlds of an instrument, a bit each."""
    return sum(1 << number for number, world in enumerate(_WORLDS) if program in world)


_KINDS = (range(8), range(8, 16), range(24, 32), range(32, 40), range(40, 52), range(52, 55), range(56, 64),
          range(64, 68), range(68, 80), range(80, 104))  # fmt: skip
"""Programs of one kind: keys, mallets, guitars, basses, strings, voices, brass, saxophones, woodwinds, synthesizers."""


def suits_like(program: int, music: SuitingMusic) -> bool:
    """Return whether an instrument is one that suits a scene, or of its kind."""
    asked = {one for ensemble in music.ensembles for one in ensemble.programs}
    kin = next((kind for kind in _KINDS if program in kind), range(program, program + 1))
    return program not in music.unsuitable and not asked.isdisjoint(kin)


def _can(program: int, job: BandJob) -> bool:
    """Return whether an instrument does a job well."""
    if program == DRUM_KIT:
        return job == "drums"
    if job in ("lead", "second"):
        return program not in _NO_LEAD and not (job == "second" and program in _BASSES[1:5])
    if job == "bass":
        return program in _BASSES
    if job == "ground":
        return accompanies_alone(program)
    instrument = instrument_of(program)
    return instrument.chords >= _PART and (job == "figure" or instrument.sustains)


def _strikes_chords(program: int) -> bool:
    return program != DRUM_KIT and accompanies_alone(program) and not instrument_of(program).sustains


def accompanies_alone(program: int) -> bool:
    """Return whether an instrument can have figure and bass at once."""
    instrument = instrument_of(program)
    return instrument.chords >= _CHORDAL and instrument.comfortable_low <= 48


def _band_reason(band: Sequence[int], asked: Asked) -> str:
    said = [f"{_called(one)} for {clause}" for one in band if (clause := asked[one][1]) not in ("", _COMES_ALONG)]
    return "; ".join(said) or " and ".join(_called(program) for program in band) + " suit most pictures"


def _called(program: int) -> str:
    name = _NAMES[program]
    if name.endswith("strings") or name in ("bells", "steel drums", "brass", "drums"):
        return name
    return f"{'an' if name[0] in 'aeioE' else 'a'} {name}"


def _reasons(votes: Mapping[str, float], character: Character, qpm: float) -> tuple[str, ...]:
    manner = f"{character} music at about {qpm:g} quarter notes a minute"
    return (f"{', '.join(list(votes)[:2])}: {manner}" if votes else manner,)
