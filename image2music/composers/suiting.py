"""The music that suits a scene: tempo, mode, meter, mood, instruments and figures, each with its reason.

The planner writes to it, recall looks for tunes that agree with it, and albums are planned from it. It depends on the
scene alone, whoever saw it, so what it says can be found again from a row. A table of settings (`_SETTINGS`: water,
animals, roads ...) says which instruments each asks for and why; the words of a scene choose among them by stems, and
their votes, weighted by how sure the scene is, choose the ensembles. The links are this project's musical judgement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Literal, TypeVar

from image2music.images.features import class_names
from image2music.images.kinds import MOTIONS, all_kinds
from image2music.images.scene import Scene
from image2music.music.instruments import instrument_of
from image2music.music.planning.plan import Family
from image2music.music.planning.vocabulary import DRUM_KIT

Character = Literal["calm", "flowing", "playful", "grand", "dark", "driving"]
SuitingMode = Literal["major", "minor", "either"]


@dataclass(frozen=True)
class Ensemble:
    """Instruments that suit together, and why: General MIDI programs from 0, melody first, bass last.

    `DRUM_KIT` may stand before the last one.
    """

    programs: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class SuitingMusic:
    """What music suits a scene, widest choice first.

    `slowest` to `fastest` with `qpm` between them are quarter notes a minute. `moods` are words that captions of music
    use, strongest first. `ensembles` stand best first; `unsuitable` programs (128: a drum kit) never come.
    `reasons` are plain English clauses that say why, for people.
    """

    character: Character
    qpm: float
    slowest: float
    fastest: float
    mode: SuitingMode
    meters: tuple[str, ...]
    moods: tuple[str, ...]
    ensembles: tuple[Ensemble, ...]
    unsuitable: frozenset[int]
    families: tuple[Family, ...]
    reasons: tuple[str, ...]


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


@dataclass(frozen=True)
class _Setting:
    """What one kind of scene asks for: its words, manner (a character, or none) and instruments with clauses."""

    name: str
    words: tuple[str, ...]
    manner: str
    instruments: tuple[tuple[int, str], ...]


# name; words that speak of it (kinds, groups, places and free words, as stems); manner; instruments, the most telling
# first, each with what it is there for. A word stands in one setting alone, longer phrases go first.
_TABLE = """
water; water lake river stream creek pond pool fountain canal reflection raindrop rain drop dew waterfall cascade
  swimming dam ice harbour; flowing; harp: ripples on water, strings: the breadth of the water, piano: falling drops,
  flute: the air above the water, vibraphone: glints of light, guitar: small waves
sea; sea coast ocean beach shore sand tide surf wave island bay sailing boat ship sail harbor lighthouse; flowing;
  strings: the long swell, guitar: the lapping of waves, flute: the sea wind, harp: spray and foam,
  accordion: life by the shore, oboe: the far horizon, electric piano: sun on the sea
under water; coral reef fish shark whale sea_creature jellyfish underwater diver diving; flowing;
  vibraphone: light under water, harp: things that drift, pad: the depth, marimba: bubbles, flute: a gliding fin
mountains; mountain cliff valley volcano summit peak ridge hill landscape rock canyon glacier geyser; grand;
  strings: the wide land, horn: the call across a valley, oboe: a lonely height, guitar: the path up,
  flute: thin clear air, piano: stone and distance
fields; meadow field grass pasture countryside farm hay wheat rural; flowing; guitar: the open field,
  flute: wind in the grass, strings: the wide sky over it, clarinet: a warm afternoon, piano: quiet, harp: swaying stems
woods; forest tree wood jungle leaf branch plant foliage fern moss mushroom bamboo nature; flowing;
  flute: air among leaves, harp: light through branches, strings: deep green, clarinet: the warmth of wood,
  guitar: a walk among trees, piano: stillness
flowers; flower garden blossom petal bloom rose tulip bouquet pot honeycomb; flowing; flute: an opening flower,
  strings: soft petals, harp: a scent that spreads, clarinet: soft colour, guitar: sun in the garden, piano: fine detail
insects; insect butterfly dragonfly bee spider spider_web beetle ant moth ladybird; playful;
  pizzicato strings: small quick legs, flute: wings, clarinet: a curious turn, harp: a web of fine threads,
  marimba: tiny steps, vibraphone: shimmer on wings
birds; bird songbird parrot duck swan gull wading_bird game_bird chicken ostrich feather wing nest owl; playful;
  flute: birdsong, clarinet: a call that is answered, harp: wingbeats, pizzicato strings: hopping steps,
  strings: air under wings, celesta: a small bright voice
birds of prey; bird_of_prey eagle falcon hawk; grand; horn: a high circling flight, strings: wide air, flute: wings,
  harp: wingbeats, piano: distance
animals; animal dog puppy cat kitten pet rabbit small_mammal monkey panda squirrel fox frog turtle bear fur lizard
  zoo hamster wild_dog snake; playful; clarinet: an animal's curious look, pizzicato strings: soft paws,
  bassoon: a good-humoured walk, guitar: company, flute: a quick turn of the head, marimba: light steps
large animals; elephant big_cat lion tiger horse cow sheep farm_animal goat donkey camel deer herd horse_cart; flowing;
  clarinet: an animal's calm breath, guitar: open country, horn: size and dignity, bassoon: a heavy gait,
  strings: the wide land, kalimba: warm plains
food; food fruit vegetable meal dessert drink coffee tea cup wine cake bread cheese plate bottle breakfast kitchenware
  kitchen_appliance cook berry apple cafe restaurant bar kitchen; playful; guitar: a table in good company,
  clarinet: a warm taste, vibraphone: the shine of glass, acoustic bass: ease, marimba: small round things,
  electric piano: warmth, pizzicato strings: a light bite
home; room furniture chair sofa bed house window door home curtain lamp candle book shelf interior indoors sleep
  table; calm; piano: a quiet room, clarinet: warmth indoors, celesta: lamplight, strings: comfort,
  electric piano: soft light, vibraphone: evening, guitar: being at home
small things; object tool writing box clock pen pencil bubble button coin key umbrella tent other_thing paper brush
  cosmetics stationery desk thing scale; playful; pizzicato strings: small things at hand, marimba: neat edges,
  celesta: something small and fine, vibraphone: smooth surfaces, clarinet: a closer look, piano: order
play; toy child kid baby boy girl playground doll teddy puppet game carousel smile laugh; playful;
  clarinet: a playful turn, pizzicato strings: tiptoe, celesta: toys, glockenspiel: bright eyes, flute: laughter,
  music box: childhood, marimba: skipping
shapes; texture pattern abstract drawing shape surface geometric illustration graphic line curve colour color wall
  stone_wall design painting art graffiti close_up material background gradient; calm; electric piano: smooth shapes,
  pad: colour without an edge, vibraphone: even spacing, marimba: a repeated pattern, cello: a long curve,
  synth bass: flat ground
circuits; electronics laboratory machine computer screen phone keyboard circuit robot technology camera network
  server; calm; electric piano: glowing screens, marimba: steady signals, pad: humming current,
  synth lead: a bright line, synth bass: switched current, vibraphone: metal and glass
city; city street shop cinema building tower skyline skyscraper architecture town market office apartment square
  station subway bridge structure; flowing; electric piano: city light, clarinet: a walk down the street,
  electric bass: steps on the pavement, vibraphone: lit windows, strings: lines of buildings, guitar: people passing,
  pad: glass and air
roads; road truck lorry van vehicle highway bus train railway rail track car traffic garage caravan pickup; walking;
  steel guitar: the open road, harmonica: a long way to go, electric bass: turning wheels, guitar: travelling,
  electric piano: passing lights, strings: distance, drum kit: the steady pace
speed; motorbike race racing rocket aircraft warplane plane speed skate rally motorcycle parachute; driving;
  electric guitar: speed, electric bass: the engine, strings: the rush of air, synth lead: a bright trail,
  drum kit: the driving beat, horn: height, electric piano: metal
sport; sport ball_game winter_sport gymnastics athlete player stadium football tennis baseball ski skier runner match
  surfer; driving; strings: a body in flight, trumpet: the winner's call, electric guitar: strength, flute: lightness,
  drum kit: the beat of the match, electric bass: running feet, piano: quick steps
cycling; bicycle bike cyclist scooter walk walking hike hiker stall; walking; guitar: an easy ride,
  clarinet: whistling on the way, accordion: a turn of the wheel, pizzicato strings: spokes, acoustic bass: pedals
flight; sky cloud air wind kite glider balloon; flowing; strings: the open sky,
  flute: the wind up there, pad: height, harp: drifting, horn: far sight, piano: light, guitar: an easy breeze
night; night moon moonlight star aurora; calm; piano: the quiet of the night,
  strings: darkness, electric piano: lights in the dark, vibraphone: stars, celesta: starlight, pad: the night sky,
  clarinet: a low voice
space; outer_space galaxy planet astronaut nebula space earth universe; grand; pad: endless space,
  strings: slow orbits, celesta: far stars, choir pad: wonder, horn: a great step, electric piano: instruments' lights
dusk; sunset sunrise dusk dawn silhouette evening; flowing; strings: the last light, guitar: the end of a day,
  piano: long shadows, electric piano: warm glow, pad: the fading sky, horn: the sinking sun
snow; snow winter frost snowy icicle christmas; calm; celesta: snowflakes, strings: a white blanket,
  piano: cold clear air, harp: crystals, flute: breath in the cold, glockenspiel: sparkling frost
storm; storm thunder lightning tornado fire smoke flame explosion hurricane; dark;
  tremolo strings: gathering storm, horn: thunder far off, cello: dark weight, strings: driving clouds,
  bassoon: a low growl, piano: sudden light
faith; church temple cathedral chapel monastery mosque cross grave tomb; calm; strings: a high vault,
  choir: voices inside, harp: light through glass, oboe: a single voice, cello: old stone, flute: an echo,
  church organ: the nave
history; castle monument ruin statue palace fortress armour sword knight ancient antique column horseman; grand;
  strings: old walls, horn: past glory, guitar: an old song, cello: worn stone, oboe: memory, harp: tales, flute: time
desert; desert dune cactus savanna savannah drought dry; flowing; guitar: heat and distance, strings: endless sand,
  flute: the hot wind, oboe: a lonely line, kalimba: dry warmth, pad: shimmering air
war; weapon tank warship gun soldier army military guillotine prison war battle shipwreck; dark; horn: a warning,
  tremolo strings: dread, cello: grief, strings: weight, trumpet: a far signal, piano: emptiness
decay; rubbish mask medicine abandoned ruined broken poverty decay sad grief cry tear hospital skull pumpkin_lantern;
  dark; piano: what is missing, cello: a heavy heart, viola: a bare voice, oboe: a lament, strings: greyness,
  clarinet: memory
party; wedding crowd carnival parade festival celebration fair dance dancer firework circus cheer; driving;
  trumpet: the celebration, piano: dancing feet, drum kit: the beat of the feast, strings: the throng,
  accordion: the fair, clarinet: laughter, brass: the band, acoustic bass: the dance
music; stage musical_instrument musician guitarist band concert singer drum guitar piano violin; flowing;
  electric piano: stage light, acoustic bass: the player's pulse, guitar: playing together,
  piano: the music that is seen, drum kit: the stage, tenor saxophone: a solo, violin: a song
people; people person man woman face portrait figure group family couple friend clothing hand hair eye lady human
  model dress; flowing; strings: feeling, piano: a person's thoughts, guitar: someone close by, flute: a look,
  clarinet: a voice, cello: warmth, harp: grace
labour; worker farmer craftsman fisherman seller vendor labour job build construction; walking; guitar: a day's work,
  clarinet: whistling at work, harmonica: rest after it, double bass: steady steps, accordion: the neighbourhood
East; pagoda japan china kimono geisha zen lantern asian; calm; koto: an old house in the East, flute: bamboo,
  harp: still water, shakuhachi: breath, strings: mist, vibraphone: bells
old pictures; black_and_white; calm; piano: a picture without colours, clarinet: another time, strings: grey tones,
  cello: shadow, vibraphone: light and dark
"""


@cache
def _settings() -> tuple[_Setting, ...]:
    found = []
    for entry in re.sub(r"\n\s+", " ", _TABLE.strip()).split("\n"):
        name, words, manner, instruments = (part.strip() for part in entry.split(";"))
        votes = tuple(tuple(map(str.strip, one.split(":"))) for one in instruments.split(","))
        found.append(
            _Setting(
                name,
                tuple(word.replace("_", " ") for word in words.split()),
                manner,
                tuple((_PROGRAMS[who], why) for who, why in votes),
            )
        )
    return tuple(found)


@cache
def _setting_of_phrase() -> Mapping[tuple[str, ...], _Setting]:
    return {_stems(word): setting for setting in _settings() for word in setting.words}


@cache
def _wider() -> Mapping[str, str]:
    """Map what a classifier may name to the kind that it belongs to, and kinds to their groups."""
    classes = class_names()
    kinds = {classes[index]: kind.name for kind in all_kinds() for index in kind.classes}
    return kinds | {kind.name: kind.group for kind in all_kinds()}


_LONGEST_PHRASE = 3
_SINGULAR = {"men": "man", "women": "woman", "children": "child", "leaves": "leaf", "people": "people"}


_NEGATIONS = frozenset(("no", "not", "without", "never", "neither", "nor"))
_NEGATED = 3
"""Words that a negation takes out, itself with them."""


def stems_in(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the stems of a text's words, clause by clause; what it says not to be there is left out."""
    return tuple(tuple(_stem(word) for word in words) for words in _clauses(text))


@lru_cache(maxsize=4096)
def _clauses(text: str) -> tuple[tuple[str, ...], ...]:
    clauses: list[tuple[str, ...]] = []
    for part in re.split(r"[,;:.!?()]+", text.lower()):
        words = re.findall(r"[^\W\d_]+", part)
        for at, word in enumerate(words):
            if word in _NEGATIONS:
                words[at : at + _NEGATED] = [""] * len(words[at : at + _NEGATED])
        clauses.append(tuple(word for word in words if word))
    return tuple(clause for clause in clauses if clause)


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem for clause in stems_in(text) for stem in clause)


def _stem(word: str) -> str:
    """Return a word's singular, roughly: what matters is that a table's word and a scene's come out the same."""
    if word in _SINGULAR:
        return _SINGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")) else word


Found = TypeVar("Found")


def spoken(
    stems: tuple[str, ...], known: Callable[[tuple[str, ...]], Found | None], longest: int = _LONGEST_PHRASE
) -> Iterator[tuple[Found, tuple[int, int]]]:
    """Yield what is known of the phrases in a clause and where each stands, longest phrases first."""
    at = 0
    while at < len(stems):
        for length in range(min(longest, len(stems) - at), 0, -1):
            if found := known(stems[at : at + length]):
                yield found, (at, at + length)
                at += length - 1
                break
        at += 1


def _spoken_of(text: str) -> Iterator[_Setting]:
    """Yield the settings that a text speaks of."""
    for clause in stems_in(text):
        for setting, _ in spoken(clause, _setting_of_phrase().get):
            yield setting


@dataclass(frozen=True)
class Heard:
    """A clause of a scene: its words and their stems, one each, and how much it counts (0 to 1).

    `about` is what its adjectives belong to (`mood`, `light`, `movement`), empty where it names things or places.
    """

    words: tuple[str, ...]
    stems: tuple[str, ...]
    weight: float
    about: str = ""


def heard_in(scene: Scene) -> tuple[Heard, ...]:
    """Return all that a scene says in words, each with the weight of its place; a thing is its kind and group too."""
    said: list[tuple[str, float, str]] = []
    for name, confidence in scene.things:
        weight = confidence
        said.append((name, weight, ""))
        while name in _wider() and _wider()[name] != name:
            name, weight = _wider()[name], _GROUP * weight
            said.append((name, weight, ""))
    said.append((scene.subject, _SUBJECT, ""))
    said += [(place, _LATER_PLACE if number else _PLACE, "") for number, place in enumerate(scene.place.split(","))]
    said += [(text, _LAYER, "") for text in (scene.far, scene.middle, scene.near, scene.focal_point, *scene.eye_path)]
    # The embedded default's word for motion stands for a number, and says of most pictures that they are still.
    motion = "" if scene.motion in MOTIONS else scene.motion
    said += [(motion, _MOTION, "movement"), (scene.light, _LIGHT, "light"), (scene.mood, _LIGHT, "mood")]
    return tuple(
        Heard(words, tuple(_stem(word) for word in words), round(weight, _DIGITS), about)
        for text, weight, about in said
        for words in _clauses(text)
    )


_SUBJECT, _LAYER, _GROUP, _PLACE, _LATER_PLACE, _MOTION, _LIGHT = 0.7, 0.3, 0.7, 0.6, 0.45, 0.5, 0.4
"""How much a word counts by where it stands; a thing counts by its confidence, its group by a share of that."""
_DIGITS = 3
_CROWD = 6
"""Persons that make a crowd."""


def _votes_of(scene: Scene) -> dict[str, float]:
    """Return how strongly each setting is there, strongest first."""
    votes: dict[str, float] = {}

    def count(text: str, weight: float) -> bool:
        found = list(_spoken_of(text))
        for setting in found:
            votes[setting.name] = max(votes.get(setting.name, 0.0), weight)
        return bool(found)

    for name, confidence in scene.things:
        weight, known = confidence, count(name, confidence)
        while not known and name in _wider() and _wider()[name] != name:
            name, weight = _wider()[name], _GROUP * weight
            known = count(name, weight)
    named = {_stems(name) for name, _ in scene.things}
    if _stems(scene.subject) not in named:
        count(scene.subject, _SUBJECT)
    for number, place in enumerate(scene.place.split(",")):
        count(place, _LATER_PLACE if number else _PLACE)
    for layer in (scene.far, scene.middle, scene.near, scene.focal_point):
        count(layer, _LAYER)
    if scene.people:
        votes.setdefault("people", _PLACE)
    if scene.people and scene.people >= _CROWD:
        votes.setdefault("party", _GROUP)
    return dict(sorted(((name, round(vote, _DIGITS)) for name, vote in votes.items()), key=lambda one: -one[1]))


# ---------------------------------------------------------------- what it asks of the music

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
    for setting in _settings():
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
    if {"fast", "racing", "rushing", "running"} & set(_stems(motion)):
        hurry += 8.0
    return float(round(min(max(_LOW[1] + slope * (arousal - _LOW[0]) + hurry, _SLOWEST), _FASTEST)))


_METERS: dict[Character, tuple[str, ...]] = {
    "calm": ("3/4", "4/4", "6/8"), "flowing": ("6/8", "3/4", "4/4"), "playful": ("2/4", "6/8", "4/4", "3/4"),
    "grand": ("4/4", "3/4"), "dark": ("4/4", "3/4", "6/8"), "driving": ("4/4", "2/4", "6/8"),
}  # fmt: skip
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

_PRIOR: dict[bool, tuple[str, ...]] = {
    False: ("strings", "piano", "guitar", "flute", "harp", "vibraphone", "electric piano", "clarinet"),
    True: ("strings", "guitar", "clarinet", "piano", "flute", "pizzicato strings", "marimba", "electric piano"),
}
"""What suits most pictures, still ones and others; it fills up where a scene says little."""
_PRIOR_WEIGHT = 0.3
_FADING = 0.86
"""How much less each further instrument of a setting counts."""
_COMMONNESS = 0.2
"""How much less one counts that many settings ask for: what tells a picture from others goes first."""

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


def suiting_music(scene: Scene) -> SuitingMusic:
    """Return the music that suits a scene; what it leaves open is neither glad nor sad, neither still nor wild."""
    valence = 0.1 if scene.valence is None else round(scene.valence, _DIGITS)
    arousal = 0.4 if scene.arousal is None else round(scene.arousal, _DIGITS)
    votes = _votes_of(scene)
    manners = _manners(votes)
    character = _character(manners, valence, arousal)
    asked = _asked_for(votes, character)
    unsuitable = _EFFECTS | (
        (_HARSH | _KEPT_OUT[character]) - {program for program, vote in asked.items() if vote[0] >= 0.3}
    )
    qpm = _tempo(manners, arousal, scene.motion)
    return SuitingMusic(
        character=character,
        qpm=qpm,
        slowest=float(round(qpm / _WIDTH)),
        fastest=float(round(qpm * _WIDTH)),
        mode=_mode(manners, valence),
        meters=_METERS[character],
        moods=_MOODS[character],
        ensembles=_ensembles(_with_prior(asked, arousal), unsuitable, arousal),
        unsuitable=frozenset(unsuitable),
        families=_FAMILIES[character],
        reasons=_reasons(votes, character, qpm),
    )


def _mode(manners: Mapping[str, float], valence: float) -> SuitingMode:
    if valence < _SAD / 2 or (manners.get("dark", 0.0) >= 0.4 and valence < 0.2):
        return "minor"
    return "major" if valence > 0.25 else "either"


Asked = dict[int, tuple[float, str]]
"""Program to how much it is asked for, and what for."""


def _asked_for(votes: Mapping[str, float], character: Character) -> Asked:
    """Add up what the settings ask for; the clause is that of the setting that asks most."""
    total: dict[int, float] = {}
    clauses: dict[int, tuple[float, str]] = {}
    for setting in _settings():
        for place, (program, clause) in enumerate(setting.instruments):
            vote = votes.get(setting.name, 0.0) * _FADING**place
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
    return Counter(program for setting in _settings() for program, _ in setting.instruments)


def _with_prior(asked: Asked, arousal: float) -> Asked:
    filled = dict(asked)
    for place, name in enumerate(_PRIOR[arousal >= 0.4]):
        vote, clause = filled.get(_PROGRAMS[name], (0.0, ""))
        filled[_PROGRAMS[name]] = (round(vote + _PRIOR_WEIGHT * _FADING**place, _DIGITS), clause)
    return filled


# ---------------------------------------------------------------- ensembles

_MOST_ENSEMBLES = 8
_BASSES = (42, 43, 32, 33, 38, 70, 57, 58)
_NO_LEAD = frozenset({DRUM_KIT, 32, 33, 38, 43, 44, 58, 18, 19, 14, 52, 88, 89, 91})
_CHORDAL = 5
"""Notes at once from which on an instrument gives figure and bass alone."""


def _ensembles(asked: Asked, unsuitable: frozenset[int], arousal: float) -> tuple[Ensemble, ...]:
    """Put together what is asked for most: a melody over an instrument with chords, a second line or bass with it."""
    votes = {program: vote for program, (vote, _) in asked.items() if program not in unsuitable}
    best = sorted(votes, key=lambda program: (-votes[program], program))
    drums = (DRUM_KIT,) if DRUM_KIT in votes else ()
    melodic = [program for program in best if program != DRUM_KIT]
    leads = [program for program in melodic if program not in _NO_LEAD][:5]
    chordal = [program for program in melodic if _accompanies(program)][:4]
    basses = [program for program in melodic if program in _BASSES][:1]
    bands = [(lead, *drums, below) for lead, below in product(leads, chordal) if lead != below]
    bands += [(a, b, c) for a, b, c in product(leads, melodic[:5], chordal) if len({a, b, c}) == 3 and b not in _BASSES]
    bands += [(a, b, *drums, c) for a, b, c in product(leads, chordal, basses) if len({a, b, c}) == 3]

    def worth(band: tuple[int, ...]) -> float:
        return round(sum(votes[program] for program in band) / len(band) + 0.02 * len(band), _DIGITS)

    chosen: list[tuple[int, ...]] = []
    for band in sorted(bands, key=lambda band: (-worth(band), band)):
        if all(set(band) != set(other) for other in chosen):
            chosen.append(band)
    return tuple(Ensemble(band, _band_reason(band, asked)) for band in chosen[:_MOST_ENSEMBLES])


def _accompanies(program: int) -> bool:
    instrument = instrument_of(program)
    return instrument.chords >= _CHORDAL and instrument.comfortable_low <= 48


def _band_reason(band: Sequence[int], asked: Asked) -> str:
    said = [f"{_called(program)} for {clause}" for program in band if (clause := asked[program][1])]
    return "; ".join(said) or " and ".join(_called(program) for program in band) + " suit most pictures"


def _called(program: int) -> str:
    name = _NAMES[program]
    if name.endswith("strings") or name in ("bells", "steel drums", "brass", "drums"):
        return name
    return f"{'an' if name[0] in 'aeioE' else 'a'} {name}"


def _reasons(votes: Mapping[str, float], character: Character, qpm: float) -> tuple[str, ...]:
    manner = f"{character} music at about {qpm:g} quarter notes a minute"
    return (f"{', '.join(list(votes)[:2])}: {manner}" if votes else manner,)
