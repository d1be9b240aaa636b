"""What a scene speaks of: its words by their stems, and the settings (water, animals, roads ...) that they stand for.

A table of settings says which words speak of each, its manner, and which instruments it asks for and why. A scene's
words choose among them by stems, so that free English words count beside the kinds and places of the embedded default;
each votes by where it stands and how sure the scene is. The links are this project's musical judgement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeVar

from image2music.images.features import class_names
from image2music.images.kinds import MOTIONS, all_kinds
from image2music.images.scene import Scene


@dataclass(frozen=True)
class SceneSetting:
    """What one kind of scene asks for: its words, manner (a character, or none) and instruments with clauses."""

    name: str
    words: tuple[str, ...]
    manner: str
    instruments: tuple[tuple[str, str], ...]


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
def all_settings() -> tuple[SceneSetting, ...]:
    """Return every setting, in the order of the table."""
    found = []
    for entry in re.sub(r"\n\s+", " ", _TABLE.strip()).split("\n"):
        name, words, manner, instruments = (part.strip() for part in entry.split(";"))
        votes = tuple(tuple(map(str.strip, one.split(":"))) for one in instruments.split(","))
        found.append(
            SceneSetting(
                name,
                tuple(word.replace("_", " ") for word in words.split()),
                manner,
                tuple((who, why) for who, why in votes),
            )
        )
    return tuple(found)


@cache
def _setting_of_phrase() -> Mapping[tuple[str, ...], SceneSetting]:
    return {flat_stems(word): setting for setting in all_settings() for word in setting.words}


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


def flat_stems(text: str) -> tuple[str, ...]:
    """Return the same as one row."""
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


def known_phrases(
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


def _spoken_of(text: str) -> Iterator[SceneSetting]:
    """Yield the settings that a text speaks of."""
    for clause in stems_in(text):
        for setting, _ in known_phrases(clause, _setting_of_phrase().get):
            yield setting


@dataclass(frozen=True)
class HeardClause:
    """A clause of a scene: its words and their stems, one each, and how much it counts (0 to 1)."""

    words: tuple[str, ...]
    stems: tuple[str, ...]
    weight: float


def heard_in(scene: Scene) -> tuple[HeardClause, ...]:
    """Return all that a scene says in words, each with the weight of its place; a thing is its kind and group too."""
    said: list[tuple[str, float]] = []
    for name, confidence in scene.things:
        weight = confidence
        said.append((name, weight))
        while name in _wider() and _wider()[name] != name:
            name, weight = _wider()[name], _GROUP * weight
            said.append((name, weight))
    said.append((scene.subject, _SUBJECT))
    said += [(place, _LATER_PLACE if number else _PLACE) for number, place in enumerate(scene.place.split(","))]
    said += [(text, _LAYER) for text in (scene.far, scene.middle, scene.near, scene.focal_point, *scene.eye_path)]
    # The embedded default's word for motion stands for a number, and says of most pictures that they are still.
    motion = "" if scene.motion in MOTIONS else scene.motion
    said += [(motion, _MOTION), (scene.light, _LIGHT), (scene.mood, _LIGHT)]
    return tuple(
        HeardClause(words, tuple(_stem(word) for word in words), round(weight, _DIGITS))
        for text, weight in said
        for words in _clauses(text)
    )


_SUBJECT, _LAYER, _GROUP, _PLACE, _LATER_PLACE, _MOTION, _LIGHT = 0.7, 0.3, 0.7, 0.6, 0.45, 0.5, 0.4
"""How much a word counts by where it stands; a thing counts by its confidence, its group by a share of that."""
_DIGITS = 3
_CROWD = 6
"""Persons that make a crowd."""


def setting_votes(scene: Scene) -> dict[str, float]:
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
    named = {flat_stems(name) for name, _ in scene.things}
    if flat_stems(scene.subject) not in named:
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
