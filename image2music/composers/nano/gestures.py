"""What the search builds with, from what is seen: a device, figures that picture something, the theme's shape, air.

A mirror asks for an inversion, a road for a canon, falling rain for plucked drops. Tables of words (stems, so that free
English words count beside the kinds and places of the embedded default) say what asks for what; the words of a scene
vote by where they stand and how sure they are. The links are this project's musical judgement, and none is made for a
single picture. Every device keeps a small weight, so that like pictures need not get like pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, Literal, TypeVar, get_args

from image2music.composers.nano.sketch import Purpose
from image2music.composers.scene_words import HeardClause, heard_in, known_phrases, stems_in
from image2music.images.kinds import all_kinds
from image2music.images.scene import Scene
from image2music.music.planning.plan import FAMILIES, Family

DeviceName = Literal["inversion", "augmentation", "shrink", "combine", "call", "silence", "canon"]
"""What a listener hears without being told and that pays off later.

inversion: the theme comes back upside down. augmentation: the tune slowed. shrink: a cell that gets shorter until a
stop. combine: two tunes that turn out to fit together. call: a call that is answered higher. silence: the tune breaks
off and comes back. canon: a second voice follows the first in its steps.
"""
DEVICES: tuple[DeviceName, ...] = get_args(DeviceName)
DEVICE_WORDS: dict[DeviceName, str] = {
    "inversion": "the theme comes back upside down",
    "augmentation": "the theme comes back in notes twice as long",
    "shrink": "a cell of the theme gets shorter until everything stops, and the theme comes back whole",
    "combine": "two tunes turn out to fit together",
    "call": "one voice calls and another answers, higher at the end",
    "silence": "the tune breaks off into silence and comes back",
    "canon": "a second voice follows the first in its steps",
}
"""What a plan says of its device."""
ThemeShape = Literal["arch", "rise", "fall", "wave", "leaping", "still"]
THEME_SHAPES: tuple[ThemeShape, ...] = get_args(ThemeShape)
FormHint = Literal["through-composed", "mirror", "refrain", "any"]
"""through-composed: by the stations of the eye; mirror: the end turns back to the start; refrain: what comes again."""


@dataclass(frozen=True)
class PicturedFigure:
    """A figure that pictures something: its families, a figure's name (empty: any of these families), where it goes.

    Without `purposes` it may stand anywhere. `accents` asks for accents and sudden loud chords in the figure.
    """

    families: tuple[Family, ...]
    name: str
    purposes: tuple[Purpose, ...]
    weight: float
    reason: str
    accents: bool = False


@dataclass(frozen=True)
class Gestures:
    """What the search may build with, each with its reason, a noun phrase in English.

    `devices` has all of `DEVICES`, strongest first, weights that add up to 1. `figures` stand strongest first. `space`
    is how much rest and air the music has, 0 (crowded) to 1. `stations` counts the places that the eye visits.
    """

    devices: tuple[tuple[DeviceName, float, str], ...]
    figures: tuple[PicturedFigure, ...]
    shape: ThemeShape
    shape_reason: str
    start_low: bool
    space: float
    form_hint: FormHint
    stations: int


_DEVICE_TABLE = """
inversion; 1; what the {} turns over; mirror* reflect* symmetr* kaleidoscop* upside inverted
inversion; .8; what the {} gives back from below; water lake pond pool puddle canal glass window shiny bubble ice
inversion; .45; two like halves in the {}; butterfly dragonfly portrait mask face bridge arch dome leaf snowflake eye
inversion; .5; lines that turn about in the {}; drawing spiral curl circle swirl* knot shell dome
augmentation; .9; the slow light of the {}; sunset sunrise dusk dawn twilight golden_hour evening low_warm_sun glow*
augmentation; .8; the wideness of the {}; space planet galax* nebula universe desert horizon sea ocean plain prairie
  steppe savanna* canyon glacier outer_space sand_dune dune panorama
augmentation; .75; the age of the {}; castle cathedral temple ruin* pyramid monument ancient statue fossil dinosaur
  church column palace abbey monastery old_wall stone_wall armour
augmentation; .6; the size of the {}; vast* endless* immens* huge giant towering elephant whale mountain cliff turtle
  camel volcano infinit*
augmentation; .4; the slow way of the {}; astronaut cloud sky tree forest river ship balloon cow sheep snail shadow
  fog mist
shrink; 1; the rush of the {}; storm thunder* lightning tornado hurricane avalanche explosion explod* race racing
  race_car stampede traffic rush_hour chase chasing eruption erupt*
shrink; .7; what comes nearer in the {}; approach* train car truck motorbike rocket warplane tank shark running
  gallop* fast_movement speed* hurr* rush* wave_break* crash* fire flame
shrink; .5; what draws together in the {}; tunnel corridor perspective vanishing spiral staircase stair countdown
  clock hourglass spider web spider_web net hunt* crowd* busy
combine; 1; two that belong together, as the {}; couple pair lover twin wedding duet dance dancer dancing embrac*
  kiss* mother friend hug together
combine; .7; many kinds side by side in the {}; garden flower market bouquet meal fruit vegetable stall orchestra band
  family picnic collage feast basket shop kitchen food meadow coral_reef musical_instrument dessert
combine; .4; colours that meet in the {}; paint* colourful colorful mosaic rainbow palette pattern drawing fabric toy
call; 1; a call, as from the {}; bird songbird parrot rooster chicken call calling shout* singing singer song horn
  trumpet bell lighthouse wolf howl* gull seabird whistle owl telephone siren
call; .7; the echo of the {}; mountain valley summit peak canyon cliff hill cave gorge echo
call; .5; somebody who looks up, the {}; dog cat fox monkey squirrel deer horse child baby animal seal penguin bear
  panda
call; .4; light and dark that answer each other, the {}; contrast* shadow window
silence; 1; the hush of the {}; still* silen* quiet* hush* snow night moon moonlight star starry starlight frost*
  asleep sleep* empty abandon* lonely desert* grave winter
silence; .7; what is held back in the {}; fog mist haze hazy tension tense danger* threat* weapon prison guillotine
  shark shadow* spider dark* waiting mask ruin*
silence; .6; the calm of the {}; vase cup coffee tea book candle chair bottle bowl stone pebble lamp clock feather
  close_up table room still_life wine kitchenware
canon; 1; one after the other, the {}; row line_of path procession parade march* queue railway track fence repeat*
  column colonnade stair staircase steps footprint footstep arcade tile stripe* pattern follow* herd flock convoy
  alley
canon; .65; the steady order of the {}; street road texture bridge shelf shelves honeycomb brick window grid vineyard
  orchard stone_wall escalator house tower bookcase train bicycle wheel city
canon; .45; what comes again and again in the {}; wave ripple raindrop rain sand leaf leaves grass plant field petal
  forest bookshop
"""

_FIGURE_TABLE = """
wave; ripple; .9; what flows in the {}; wave ripple water lake river stream pond pool fountain canal swimming boat
wave; swell; .9; the swell of the {}; sea ocean surf tide sea_coast coast ship sail sailing whale beach
tremolo; ! tremolo; 1; the flash of the {}; lightning thunder* storm explosion explod* firework; drive climax contrast
tremolo; tremolo; .7; the dread of the {}; war weapon shark snake ghost skull guillotine volcano battle tornado shadow
pizzicato; drops; 1; the falling drops of the {}; rain raindrop drop dew drizzle drip* bubble icicle snowflake
pizzicato; tiptoe; .7; small steps, those of the {}; insect ant beetle spider mouse cat kitten squirrel rabbit
  ladybird songbird chicken lizard paw
pulse ostinato; ; .8; the steps of the {}; walk* step march* hik* procession parade path pedestrian crowd* run running
  runner climb*
ostinato; clockwork; 1; the wheels of the {}; wheel bicycle clock machine* gear mill engine watch carousel train
  railway factory motorbike robot laboratory electronics
arpeggio; bells; .9; the bells of the {}; bell church cathedral tower clock chapel monastery christmas temple
arpeggio; cascade; .9; the fall of the {}; waterfall cascade wind windy breeze leaves_falling feather falling glacier
arpeggio; harp sweep; .7; the wings of the {}; wing bird butterfly dragonfly fly* flight kite balloon angel parachute
  gull
waltz; ; .8; the dance of the {}; dance* dancer dancing waltz wedding ballroom ballet carousel skat*
offbeat; ; .7; the swing of the {}; party carnival festival fair circus band jazz bar cafe coffee market street city
  toy
pulse ostinato; ; .9; the gallop of the {}; horse gallop* rider cavalry zebra antelope horse_cart race stampede cowboy
pulse ostinato; ; .8; the drive of the {}; car truck race_car traffic road highway aircraft rocket warplane tank
  sport* ball_game winter_sport
pad chorale; ; .7; the breadth of the {}; sky cloud space planet galax* horizon desert plain mountain panorama
  landscape outer_space fog mist
chorale; ; .7; the solemn {}; church cathedral monument temple castle statue palace grave procession mountain armour
broken; rocking; .7; the swaying of the {}; cradle boat swing hammock grass meadow flower baby sleep* rocking field
  reed branch tree plant
alberti; murmur; .6; the murmur of the {}; forest leaf leaves crowd* people bee honeycomb jungle insect stream
pad wave; ; .6; the stillness of the {}; night moon star starry starlight snow still* quiet* sleep* candle evening
  dusk sunset
alberti broken; ; .6; the order of the {}; room furniture house window book kitchenware pattern texture tile fabric
  toy
ostinato; ; .6; the repetition of the {}; pattern texture repeat* stripe* row stair fence honeycomb circuit drawing
"""

_SHAPE_TABLE = """
rise; .9; the way up, the {}; rocket climb* tower rising rise* sunrise dawn balloon tree flame fire staircase stair
  steeple lighthouse jump* smoke kite skyscraper aircraft tall fountain summit growing soar* lift* upward* takeoff
  volcano
fall; .9; the way down, the {}; sunset dusk waterfall rain raindrop falling fall* autumn sinking snowfall tear weep*
  dive diving descend* shipwreck evening icicle snow drop* wilt* low_warm_sun cascade parachute
arch; .8; the curve of the {}; hill bridge arch mountain rainbow dune valley dome horizon landscape elephant whale
  moon gate tunnel castle
wave; .9; the waves of the {}; wave sea ocean river ripple swim* boat swell meadow field grass snake curl* swirl* hair
  sea_coast cloth fabric sail
leaping; .9; the leaps of the {}; jump* leap* dog cat squirrel frog monkey rabbit child playful playground danc* ball
  ball_game sport* gymnastics bird songbird insect horse circus goat kitten puppy kangaroo clown
still; .9; the stillness of the {}; still* calm lake pond night space stone statue silent silence empty fog mist
  desert portrait vase candle meditat* sleep* moon star starry
"""

T = TypeVar("T")


@dataclass(frozen=True)
class _Rule(Generic[T]):
    target: T
    weight: float
    reason: str


@dataclass(frozen=True)
class _Lexicon(Generic[T]):
    """Rules by the stems of their words; a word that ends in `*` stands for all that begin so."""

    words: Mapping[tuple[str, ...], tuple[_Rule[T], ...]]
    beginnings: tuple[tuple[str, _Rule[T]], ...]
    longest: int

    def rules_for(self, stems: tuple[str, ...]) -> tuple[_Rule[T], ...]:
        """Return the rules of a phrase: those of its words, or of a single word's beginning."""
        known = self.words.get(stems, ())
        if len(stems) > 1:
            return known
        return (*known, *(rule for beginning, rule in self.beginnings if stems[0].startswith(beginning)))


@dataclass
class _Votes(Generic[T]):
    """How much asks for a target: the most telling word counts whole, each other one a share, up to a bound."""

    best: float = 0.0
    others: float = 0.0
    reason: str = ""

    def add(self, weight: float, reason: str) -> None:
        """Count one more word."""
        if weight > self.best:
            self.best, self.others, self.reason = weight, self.others + self.best, reason
        else:
            self.others += weight

    @property
    def total(self) -> float:
        return round(self.best + min(_MOST_OTHERS, _OTHERS * self.others), _DIGITS)


_OTHERS, _MOST_OTHERS = 0.25, 0.4
_DIGITS = 4


def gestures_of(scene: Scene) -> Gestures:
    """Return what a piece for a scene may build with; a scene that says nothing has plain gestures, all devices alike.

    It depends on the scene alone.
    """
    heard = heard_in(scene)
    shape, why = _shape_of(scene, heard)
    stations = len(dict.fromkeys(place for place in scene.eye_path if place))
    devices = _devices_of(scene, heard, stations)
    return Gestures(
        devices=devices,
        figures=_figures_of(scene, heard),
        shape=shape,
        shape_reason=why,
        start_low=_starts_low(scene, shape),
        space=_space_of(scene, heard),
        form_hint=_form_of(devices, stations),
        stations=stations,
    )


def device_called(words: str) -> DeviceName | None:
    """Return the device that a plan's words are for; None for others, a person's or another composer's."""
    return next((name for name, said in DEVICE_WORDS.items() if words.startswith(said)), None)


# ---------------------------------------------------------------- devices

_EVEN = 0.1
"""What each device weighs where nothing asks for it; the strongest weigh about 1."""
_SMALLEST = 0.024
"""The share that a device keeps, before all add up to 1, however much is asked of others."""
_CROWD, _FEW = 6, 3
_STILL, _LIVELY, _SAD = 0.3, 0.6, -0.2
_LONG_PATH = 4


def _devices_of(scene: Scene, heard: Sequence[HeardClause], stations: int) -> tuple[tuple[DeviceName, float, str], ...]:
    votes = _count(_device_lexicon(), heard)
    for device, weight, reason in _seen_otherwise(scene, heard, stations):
        votes.setdefault(device, _Votes()).add(weight, reason)
    weights = {device: _EVEN + (votes[device].total if device in votes else 0.0) for device in DEVICES}
    least = _SMALLEST * sum(weights.values())
    weights = {device: max(weight, least) for device, weight in weights.items()}
    whole = sum(weights.values())
    found = [
        (device, round(weights[device] / whole, _DIGITS), votes[device].reason if device in votes else "")
        for device in DEVICES
    ]
    return tuple(sorted(found, key=lambda one: (-one[1], DEVICES.index(one[0]))))


def _seen_otherwise(scene: Scene, heard: Sequence[HeardClause], stations: int) -> list[tuple[DeviceName, float, str]]:
    """Return what is asked for by numbers: persons, kinds of things, stations of the eye, and feeling."""
    people = scene.people or 0
    found: list[tuple[DeviceName, float, str]] = []
    if people == 1:
        wide = _is_wide(heard)
        found.append(("call", 0.8 if wide else 0.4, f"a single figure{' in a wide place' if wide else ''}"))
    elif people == 2:
        found.append(("combine", 1.0, "two people"))
    elif people >= _CROWD:
        found += [("canon", 0.6, "a crowd in which one follows another"), ("combine", 0.6, "the many of a crowd")]
    elif people >= _FEW:
        found.append(("combine", 0.7, "people together"))
    groups: dict[str, str] = {}
    for name, confidence in scene.things:
        if round(confidence, 3) >= _SURE_OF_BOTH:
            groups.setdefault(_group_of(name), name)
    if len(groups) >= 2 and people != 2:
        first, second = list(groups.values())[:2]
        found.append(("combine", 0.55, f"two kinds of things, {first} and {second}"))
    if stations > _LONG_PATH:
        found.append(("canon", 0.35, "the eye that is led from place to place"))
    if "toward the middle" in f" {scene.light} ".replace("towards", "toward"):
        found.append(("inversion", 0.35, "light that falls off alike to all sides"))
    arousal, valence = _felt(scene)
    if arousal <= _STILL:
        found += [("silence", 0.3, "the stillness of the picture"), ("augmentation", 0.3, "the rest in the picture")]
    elif arousal >= _LIVELY:
        found += [("shrink", 0.4, "the excitement of the picture"), ("combine", 0.25, "how much goes on at once")]
    if "fast" in scene.motion:
        found.append(("shrink", 0.6, "the speed in the picture"))
    if valence <= _SAD:
        found.append(("silence", 0.35, f"the {scene.mood or 'sad'} mood"))
    return found


_SURE_OF_BOTH = 0.45


def _felt(scene: Scene) -> tuple[float, float]:
    """Return arousal and valence, rounded; what is unknown is ordinary."""
    return (
        0.4 if scene.arousal is None else round(scene.arousal, 3),
        0.2 if scene.valence is None else round(scene.valence, 3),
    )


def _group_of(name: str) -> str:
    return _groups().get(name, name)


@cache
def _groups() -> Mapping[str, str]:
    return {kind.name: kind.group for kind in all_kinds()} | {"person": "people", "clothing": "people"}


_WIDE = "landscape desert sea beach mountain field meadow sky snow outdoor ocean shore hill valley plain space coast"
_CROWDED = "city street crowd market shop texture pattern forest jungle traffic kitchen room indoor party machine"
_AIRY = "sky snow desert night space fog mist sea moon empty horizon silence still mountain lake"


@cache
def _stem_set(words: str) -> frozenset[str]:
    return frozenset(stem for clause in stems_in(words) for stem in clause)


def _share_of(words: str, heard: Sequence[HeardClause]) -> float:
    """Return the weight of the most telling of some words, 0 where none is heard."""
    known = _stem_set(words)
    return max((one.weight for one in heard if any(stem in known for stem in one.stems)), default=0.0)


def _is_wide(heard: Sequence[HeardClause]) -> bool:
    return round(_share_of(_WIDE, heard), 3) >= 0.3


def _form_of(devices: Sequence[tuple[DeviceName, float, str]], stations: int) -> FormHint:
    if stations >= _LONG_PATH:
        return "through-composed"
    strongest, weight, reason = devices[0]
    if not reason or weight < 1.5 / len(DEVICES):
        return "any"
    return "mirror" if strongest == "inversion" else "refrain" if strongest in ("canon", "combine") else "any"


# ---------------------------------------------------------------- figures, shape, air

_MOST_FIGURES = 6
_LEAST = 0.15


def _figures_of(scene: Scene, heard: Sequence[HeardClause]) -> tuple[PicturedFigure, ...]:
    found: list[PicturedFigure] = []
    arousal, _ = _felt(scene)
    votes = _count(_figure_lexicon(), heard)
    for plain, vote in sorted(votes.items(), key=lambda item: (-item[1].total, _figure_rules().index(item[0]))):
        families, name, purposes, accents = plain
        weight = round(vote.total * _fits(families, arousal), _DIGITS)
        if weight >= _LEAST:
            found.append(PicturedFigure(families, name, purposes, weight, vote.reason, accents))
    return tuple(sorted(found, key=lambda figure: -figure.weight)[:_MOST_FIGURES])


_RESTLESS = frozenset(("pulse", "ostinato", "tremolo", "offbeat"))
_RESTFUL = frozenset(("pad", "chorale"))


def _fits(families: Sequence[Family], arousal: float) -> float:
    """Return how well figures go with how much moves: a herd that grazes doesn't gallop."""
    if _RESTLESS.issuperset(families):
        return min(1.0, max(0.4, 0.4 + 2 * (arousal - 0.15)))
    if _RESTFUL.issuperset(families):
        return min(1.0, max(0.4, 1.0 - 2 * (arousal - 0.4)))
    return 1.0


def _shape_of(scene: Scene, heard: Sequence[HeardClause]) -> tuple[ThemeShape, str]:
    votes = _count(_shape_lexicon(), heard)
    arousal, _ = _felt(scene)
    if arousal <= 0.2:
        votes.setdefault("still", _Votes()).add(0.25, "the stillness of the picture")
    if arousal >= 0.7:
        votes.setdefault("leaping", _Votes()).add(0.25, "the excitement of the picture")
    if not votes:
        return "arch", "no direction in the picture, as most tunes rise and fall"
    best = min(votes, key=lambda shape: (-votes[shape].total, THEME_SHAPES.index(shape)))
    return best, votes[best].reason


_LOW_START = frozenset(("bottom", "foot", "ground", "foreground", "floor", "below"))
_HIGH_START = frozenset(("top", "sky", "above", "upper", "ceiling", "high"))


def _starts_low(scene: Scene, shape: ThemeShape) -> bool:
    """Return whether the theme starts low: where it rises, and else where the eye starts at the bottom."""
    if shape in ("rise", "fall"):
        return shape == "rise"
    first = {stem for clause in stems_in(scene.eye_path[0] if scene.eye_path else scene.focal_point) for stem in clause}
    return not first & _HIGH_START if not first & _LOW_START else True


def _space_of(scene: Scene, heard: Sequence[HeardClause]) -> float:
    arousal, _ = _felt(scene)
    space = 0.45 + 0.7 * (0.4 - arousal)
    space += 0.25 * _share_of(_AIRY, heard) - 0.25 * _share_of(_CROWDED, heard)
    space -= 0.05 * max(0, len(scene.things) - 2)
    if (scene.people or 0) >= _CROWD:
        space -= 0.15
    return round(min(1.0, max(0.0, space)), 3)


# ---------------------------------------------------------------- tables


def _count(lexicon: _Lexicon[T], heard: Sequence[HeardClause]) -> dict[T, _Votes[T]]:
    """Let each word that is heard vote once, where it says most; longest phrases go first."""
    told: dict[tuple[T, tuple[str, ...]], tuple[float, str]] = {}
    for one in heard:
        for rules, (first, last) in known_phrases(one.stems, lexicon.rules_for, lexicon.longest):
            for rule in rules:
                phrase = one.stems[first:last]
                weight = round(rule.weight * one.weight, _DIGITS)
                if weight > told.get((rule.target, phrase), (0.0, ""))[0]:
                    told[rule.target, phrase] = weight, _named(rule.reason, " ".join(one.words[first:last]))
    votes: dict[T, _Votes[T]] = {}
    for (target, _), (weight, reason) in told.items():
        votes.setdefault(target, _Votes()).add(weight, reason)
    return votes


_BARE = frozenset(("outer space", "space", "gymnastics"))
"""Names that have no article."""


_ADJECTIVE_ENDS = ("ing", "ed", "less", "ous", "ful", "ly", "y")
_ADJECTIVES = frozenset((
    "still", "silent", "quiet", "calm", "tense", "vast", "endless", "immense", "huge", "giant", "tall", "dark",
    "upside", "ancient",
))  # fmt: skip
_NOUNS = frozenset((
    "building", "gallery", "city", "sky", "lily", "butterfly", "dragonfly", "bee", "family", "valley", "abbey", "pony",
    "drawing", "painting",
))  # fmt: skip


def _named(reason: str, words: str) -> str:
    """Put what is seen into a reason; words that are no noun are said of the picture."""
    last = words.split()[-1]
    if last in _ADJECTIVES or (last.endswith(_ADJECTIVE_ENDS) and last not in _NOUNS and last not in _kind_names()):
        words = "picture"
    return reason.replace("the {}", "{}" if words in _BARE else "the {}").format(words)


@cache
def _kind_names() -> frozenset[str]:
    return frozenset(kind.name for kind in all_kinds())


def _rows(table: str) -> list[tuple[str, ...]]:
    lines = table.strip().replace("\n  ", " ").split("\n")
    return [tuple(cell.strip() for cell in line.split(";")) for line in lines]


def _lexicon(rules: Sequence[tuple[_Rule[T], str]]) -> _Lexicon[T]:
    words: dict[tuple[str, ...], tuple[_Rule[T], ...]] = {}
    beginnings: list[tuple[str, _Rule[T]]] = []
    for rule, named in rules:
        for word in named.split():
            if word.endswith("*"):
                beginnings.append((word[:-1].rpartition("_")[2], rule))
            else:
                (stems,) = stems_in(word.replace("_", " "))
                words[stems] = (*words.get(stems, ()), rule)
    return _Lexicon(words, tuple(beginnings), max(map(len, words)))


@cache
def _device_lexicon() -> _Lexicon[DeviceName]:
    named = {name: name for name in DEVICES}
    return _lexicon(
        [
            (_Rule(named[device], float(weight), reason), words)  # type: ignore[index]
            for device, weight, reason, words in _rows(_DEVICE_TABLE)
        ]
    )


_PlainFigure = tuple[tuple[Family, ...], str, tuple[Purpose, ...], bool]


@cache
def _figure_rules() -> tuple[_PlainFigure, ...]:
    return tuple(dict.fromkeys(_plain_figure(row) for row in _rows(_FIGURE_TABLE)))


def _plain_figure(row: tuple[str, ...]) -> _PlainFigure:
    asked = row[0].split()
    purposes = tuple(row[5].split()) if len(row) > 5 else ()
    families = tuple(family for family in FAMILIES if family in asked)
    return families, row[1].removeprefix("!").strip(), purposes, row[1].startswith("!")  # type: ignore[return-value]


@cache
def _figure_lexicon() -> _Lexicon[_PlainFigure]:
    return _lexicon([(_Rule(_plain_figure(row), float(row[2]), row[3]), row[4]) for row in _rows(_FIGURE_TABLE)])


@cache
def _shape_lexicon() -> _Lexicon[ThemeShape]:
    named = {name: name for name in THEME_SHAPES}
    return _lexicon(
        [
            (_Rule(named[shape], float(weight), reason), words)  # type: ignore[index]
            for shape, weight, reason, words in _rows(_SHAPE_TABLE)
        ]
    )
