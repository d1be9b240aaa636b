"""Words in which people ask for music, in English, German, French, Spanish and Italian, and what they ask for.

Tempo words are ranges in quarter notes a minute, instruments General MIDI programs (those of one line are as good as
each other), moods valence (-1 to 1) and arousal (0 to 1), styles what a plan of that style has. All of them are this
project's choice, near what music dictionaries say. Words are stored without accents and capitals: see `plain`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from image2music.music.instruments import instrument_named
from image2music.music.planning.plan import FAMILIES, Family

DRUM_KIT = 128
"""Stands for drums beside General MIDI's programs 0-127: in a plan, a voice with the role `drums`."""


def plain(text: str) -> str:
    """Return a text in small letters, without accents, with single blanks."""
    spelt = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss"))
    return " ".join("".join(sign for sign in spelt if not unicodedata.combining(sign)).split())


_TEMPOS = """
30 45: larghissimo
35 50: grave
40 60: largo, getragen, sehr langsam, very slow, tres lent, muy lento
45 66: lento, lent, lentement, despacio
50 80: slow, langsam, ruhig, schleppend, calmly, sleepy, lent et calme
58 72: larghetto
55 76: adagio, adagietto
60 88: relaxed, gentle, unhurried, tranquillo, gemachlich, tranquille
70 100: andante, walking, gehend, allant, pausado, walking pace
76 106: andantino
88 116: moderato, moderate, medium, mid, midtempo, mid-tempo, massig, maessig, modere, moderado, steady
100 128: allegretto, con moto, bewegt, anime, animado, mosso, flowing
116 156: allegro, lively, lebhaft, brisk, upbeat, zugig, flott, vif, vivo, ligero, munter
120 170: fast, quick, schnell, rasch, rapide, vite, rapido, veloce, driving, energetic
136 176: vivace, spirited
160 205: presto, very fast, very quick, sehr schnell, tres vite, tres vif, muy rapido, furioso
180 220: prestissimo, as fast as possible
"""

_INSTRUMENTS = """
0 1 2: piano, pianoforte, grand piano, klavier, flugel, upright piano, keys
3: honky-tonk piano, honky tonk, saloon piano
4 5: electric piano, e-piano, rhodes, fender rhodes
6: harpsichord, cembalo, clavecin, clavicembalo, clave
7: clavinet, clavichord
8: celesta, celeste
9: glockenspiel, bells
10: music box, spieluhr, boite a musique, caja de musica
11: vibraphone, vibes, vibraphon, vibrafon
12: marimba
13: xylophone, xylophon, xilofono
14: tubular bells, church bells, chimes, glocken, cloches
15: dulcimer, zither, hackbrett, hammered dulcimer
19 16 20: organ, orgel, orgue, organo, pipe organ, church organ, kirchenorgel
16 18: hammond, hammond organ, rock organ
20: harmonium, reed organ
21: accordion, akkordeon, accordeon, acordeon, fisarmonica, squeezebox
22: harmonica, mundharmonika, blues harp
23 21: bandoneon, tango accordion
24 25: guitar, acoustic guitar, gitarre, guitare, guitarra, chitarra, nylon guitar, classical guitar, spanish guitar
25: steel guitar, steel-string guitar
26 27 28 29: electric guitar, e-gitarre, guitare electrique, guitarra electrica
30 29: distorted guitar, distortion guitar, rock guitar, overdriven guitar
24: ukulele, lute, laute, mandolin
33 32 34 35: bass guitar, electric bass, e-bass, bass
32 43: double bass, upright bass, acoustic bass, kontrabass, contrebasse, contrabajo, contrabass
38 39: synth bass
40: violin, geige, violine, violon, violino
40 110: fiddle
41: viola, bratsche, alto
42: cello, violoncello, violoncelle, violonchelo, celli
45: pizzicato strings, pizzicato
48 49 50 51 44: strings, streicher, cordes, cuerdas
48 49 50 51 44: archi, string ensemble, string orchestra, string section, string pad
46: harp, harfe, harpe, arpa
47: timpani, kettledrums, pauken, timbales
52 53 54: choir, chor, choeur, coro, voices, vocals, chorus, humming
56 59: trumpet, trompete, trompette, trompeta, tromba, cornet
57: trombone, posaune, trombon
58: tuba
60: horn, french horn, waldhorn, cor, trompa, corno
61 62: brass, brass section, blechblaser, cuivres, metales, ottoni
65 66 64 67: saxophone, sax, saxophon, saxofon
64: soprano sax, soprano saxophone
65: alto sax, alto saxophone
66: tenor sax, tenor saxophone
67: baritone sax, baritone saxophone
68: oboe, hautbois
69: english horn, cor anglais, englischhorn
70: bassoon, fagott, basson, fagot, fagotto
71: clarinet, klarinette, clarinette, clarinete, clarinetto
72: piccolo, piccoloflote
73: flute, flote, querflote, flauta, flauto
74: recorder, blockflote, flute a bec, flauta dulce
75: pan flute, panflote, panpipes, flute de pan
77: shakuhachi
78: whistle, tin whistle
79: ocarina
80 81 82 83 84: synth, synthesizer, synth lead, lead synth, lead
89 88 90 91 94 95: pad, synth pad, pads, warm pad
104: sitar
105: banjo
106: shamisen
107: koto
108: kalimba, mbira, thumb piano
109: bagpipe, bagpipes, dudelsack, cornemuse, gaita
114: steel drums, steel pan, steelpan
116 117: taiko
128: drums, drum kit, drum set, percussion, schlagzeug, batterie, bateria, batteria, drumset
"""

_ENSEMBLES = """
string quartet, streichquartett, quatuor a cordes, cuarteto de cuerdas = violin + violin + viola + cello
string trio, streichtrio = violin + viola + cello
string duo = violin + cello
piano trio, klaviertrio, trio con piano = violin + cello + piano
piano quartet, klavierquartett = violin + viola + cello + piano
piano quintet, klavierquintett = violin + violin + viola + cello + piano
string quintet, streichquintett = violin + violin + viola + cello + cello
wind quintet, woodwind quintet, blaserquintett = flute + oboe + clarinet + horn + bassoon
woodwinds, wind trio, holzblaser = flute + clarinet + bassoon
brass quintet, blechblaserquintett = trumpet + trumpet + horn + trombone + tuba
brass quartet = trumpet + horn + trombone + tuba
brass band = trumpet + horn + trombone + tuba
saxophone quartet, sax quartet = soprano sax + alto sax + tenor sax + baritone sax
jazz trio, piano bass and drums = piano + double bass + drums
jazz quartet = tenor sax + piano + double bass + drums
jazz combo, jazz band = trumpet + tenor sax + piano + double bass + drums
rock band, band = electric guitar + distortion guitar + bass guitar + drums
orchestra, orchester, orchestre, orquesta, full orchestra = flute + horn + strings + cello + contrabass
chamber orchestra = oboe + strings + cello + contrabass
flute quartet = flute + violin + viola + cello
guitar duo = guitar + guitar
piano four hands = piano + piano
"""

_MOODS = """
0.8 0.75: happy, happiness, joyful, joyous, joy, cheerful, merry, glad
0.8 0.75: jolly, frohlich, gluecklich, glucklich, joyeux, alegre, felice
0.85 0.9: ecstatic, exuberant, euphoric, jubilant, elated, exhilarating
0.7 0.85: excited, exciting, celebratory, festive, festlich, lively, vibrant, party, fun
0.6 0.7: playful, bouncy, bubbly, funny, humorous, quirky
0.6 0.7: comical, whimsical, verspielt, mischievous, cute, light-hearted
0.6 0.65: bright, hope, sunny, optimistic, hopeful, uplifting, inspiring, positive, hoffnungsvoll
0.6 0.8: triumphant, victorious, heroic, proud, glorious, powerful
0.5 0.8: energetic, upbeat, dynamic, vigorous, driving, spirited, energisch
0.5 0.3: warm, tender, loving, love, romantic, affectionate, sweet, intimate, zartlich, romantico, cosy, cozy
0.45 0.15: peaceful, peace, calm, serene, serenity, tranquil, relaxed, relaxing, restful
0.45 0.15: quiet, soothing, ruhig, friedlich, calme, tranquilo, gentle, soft
0.3 0.15: dreamy, meditative, contemplative, floating, ethereal, sleepy, still, vertraumt, reverent, spiritual
0.35 0.45: pastoral, graceful, elegant, innocent, carefree, easygoing, content, noble
0.2 0.35: nostalgic, nostalgia, wistful, bittersweet, sentimental
0.2 0.35: longing, yearning, nostalgisch, reflective, thoughtful
0.2 0.6: majestic, grand, solemn and grand, ceremonial, stately, epic, adventurous, cinematic, awe, magnificent
0.1 0.5: mysterious, mystery, magical, curious, enigmatic, exotic, mystical, geheimnisvoll, surreal
-0.4 0.3: melancholy, melancholic, pensive, somber, sombre, solemn, wehmutig, melancolico, melancolique
-0.6 0.25: sad, sadness, sorrow, sorrowful, mournful, gloomy, lonely
-0.6 0.25: depressing, traurig, triste, grieving, grief, heartbroken, bleak
-0.7 0.2: desolate, hopeless, funereal, tragic
-0.4 0.65: dramatic, drama, tense, tension, suspenseful, nervous, anxious, restless, uneasy, unruhig, urgent, stormy
-0.6 0.6: dark, ominous, eerie, scary, haunting, spooky, sinister, creepy, duster, menacing, foreboding, threatening
-0.6 0.9: angry, anger, aggressive, furious, violent, frightening, terrifying, chaotic, fierce, wutend, frantic, horror
-0.3 0.85: intense, agitated, passionate, turbulent, wild, raging
"""

_STYLES = """
waltz, walzer, valse, vals | 3/4 | 66 190 | | waltz, offbeat | 40 0 43
march, marsch, marche, marcha, military | 4/4 2/4 | 100 132 | | offbeat, pulse | 56 60 58
polka | 2/4 | 104 160 | major | offbeat | 21 24 32
mazurka, polonaise | 3/4 | 96 150 | | waltz, offbeat | 40 0
minuet, menuett | 3/4 | 84 132 | | broken, waltz, alberti | 40 6
baroque, barock | 4/4 3/4 | 60 132 | | broken, ostinato, arpeggio, pulse | 68 6 42
classical, klassik, mozart | 4/4 3/4 2/4 6/8 | 60 160 | | alberti, broken, pulse | 40 0 42
romantic, chopin, nocturne | 4/4 3/4 6/8 12/8 | 46 120 | | wave, broken, arpeggio | 0
impressionist, debussy | 4/4 3/4 6/8 | 46 110 | | wave, arpeggio, pad | 73 46 42
hymn, chorale, choral, church, kirchenlied | 4/4 3/4 | 60 104 | | chorale, pad | 52 19
lullaby, wiegenlied, berceuse, cradle song, nana | 3/4 6/8 | 50 88 | major mixolydian | wave, broken, waltz | 73 46 42
siciliana, barcarolle, pastorale | 6/8 12/8 | 46 100 | | wave, broken, arpeggio | 68 46 42
jig, gigue | 6/8 | 100 180 | | offbeat, broken, pulse | 110 24 32
reel, hornpipe | 4/4 2/2 | 100 200 | major dorian mixolydian | broken, offbeat, pulse | 110 24 32
folk, celtic, irish, traditional, volkslied | 4/4 3/4 6/8 2/4 | 60 150 | | broken, arpeggio, offbeat | 73 24 42
country, bluegrass, americana | 4/4 2/4 | 80 150 | major mixolydian | offbeat, broken | 105 25 32
blues | 4/4 12/8 | 56 120 | | pulse, offbeat, ostinato | 65 0 32
ragtime, rag | 2/4 4/4 | 80 140 | major | offbeat | 3
jazz, swing, bebop, big band | 4/4 3/4 | 80 220 | | offbeat, pulse, pad | 66 0 32
cool jazz, jazz ballad, lounge | 4/4 3/4 | 50 110 | | pad, offbeat, broken | 66 0 32
bossa, bossa nova, samba | 4/4 2/4 | 84 150 | | offbeat, ostinato | 73 24 32
tango, milonga | 4/4 2/4 | 84 136 | minor | offbeat, pulse, ostinato | 40 21 32
habanera, flamenco | 2/4 3/4 4/4 6/8 | 60 140 | minor phrygian | ostinato, offbeat, tremolo | 24
salsa, latin, cuban, rumba, mambo | 4/4 | 90 190 | | ostinato, offbeat | 56 0 32
reggae, ska | 4/4 | 64 160 | | offbeat | 26 16 33
rock, punk, metal, hard rock | 4/4 | 96 190 | | pulse, ostinato | 29 30 33
pop, ballad, power ballad, singer-songwriter | 4/4 6/8 | 60 132 | | broken, pad, pulse, arpeggio | 73 0 33
electronic, edm, techno, house, dance, trance, synthwave | 4/4 | 100 160 | | pulse, ostinato, arpeggio | 81 89 38
hip hop, hip-hop, lofi, lo-fi, trap | 4/4 | 60 100 | | ostinato, pad, broken | 4 89 33
funk, soul, disco, rnb, r&b | 4/4 | 84 130 | | ostinato, offbeat, pulse | 65 4 36
ambient, new age, drone, soundscape | 4/4 3/4 6/8 | 40 84 | | pad, arpeggio, wave | 73 89 42
minimal, minimalist, minimalism | 4/4 3/4 6/8 7/8 5/4 | 80 160 | | ostinato, pulse, arpeggio | 71 0 42
film, film score, cinematic, soundtrack, filmmusik | 4/4 3/4 6/8 | 50 150 | | ostinato, pad, tremolo, wave | 40 60 48 43
epic, trailer, heroic | 4/4 3/4 6/8 12/8 | 80 160 | | ostinato, tremolo, pulse | 60 48 43
fantasy, fairy tale, magical | 4/4 3/4 6/8 | 60 130 | | arpeggio, wave, ostinato, pad | 73 46 48 42
horror, thriller, suspense | 4/4 3/4 5/4 | 50 150 | minor phrygian locrian | tremolo, ostinato, pad | 68 44 42
circus, fairground, carousel | 2/4 4/4 3/4 | 96 180 | major | offbeat, waltz | 56 21 58
video game, game, chiptune, 8-bit, 8 bit | 4/4 3/4 | 96 180 | | arpeggio, ostinato, pulse | 80 81 38
gospel, spiritual | 4/4 3/4 12/8 | 56 130 | major mixolydian | chorale, pulse, broken | 52 0 32
gregorian, medieval, chant | 4/4 3/4 6/8 | 50 120 | dorian minor mixolydian phrygian | pad, ostinato, chorale | 52 19
renaissance, madrigal | 4/4 3/4 2/2 | 60 132 | dorian mixolydian minor major | chorale, broken, pulse | 74 24 42
klezmer, balkan, gypsy | 4/4 2/4 7/8 | 90 180 | minor phrygian dorian | offbeat, pulse | 71 21 43
christmas, carol, weihnachten, noel | 4/4 3/4 6/8 | 60 140 | major | chorale, broken, pad | 73 14 48 42
children, nursery rhyme, kinderlied | 4/4 2/4 3/4 6/8 | 80 140 | major | broken, alberti, offbeat | 74 10 0
"""


@dataclass(frozen=True, slots=True)
class StyleRules:
    """What a plan of a style has: one of the meters, modes (none: any) and figures, a tempo in the range.

    `programs` are its usual instruments, melody first, bass last; a plan may have others.
    """

    meters: tuple[str, ...]
    qpm: tuple[float, float]
    modes: tuple[str, ...]
    families: tuple[Family, ...]
    programs: tuple[int, ...]


@cache
def tempo_words() -> Mapping[str, tuple[float, float]]:
    """Return the range of each tempo word."""
    return {word: (low, high) for (low, high), word in _numbered(_TEMPOS)}


@cache
def mood_vocabulary() -> Mapping[str, tuple[float, float]]:
    """Return valence and arousal of each mood word."""
    return {word: (valence, arousal) for (valence, arousal), word in _numbered(_MOODS)}


@cache
def instrument_words() -> Mapping[str, tuple[tuple[int, ...], ...]]:
    """Return, by name, one group of programs for each player; those of a group are as good as each other."""
    words: dict[str, tuple[tuple[int, ...], ...]] = {}
    for numbers, word in _numbered(_INSTRUMENTS):
        words.setdefault(word, (tuple(map(int, numbers)),))
    for line in _ENSEMBLES.strip().splitlines():
        names, _, players = line.partition("=")
        groups = tuple(group for player in players.split("+") for group in words[player.strip()])
        words |= {name.strip(): groups for name in names.split(",")}
    return words


def players_of(name: str) -> tuple[tuple[int, ...], ...]:
    """Return the groups of programs of an instrument or ensemble, also by General MIDI's own name; () if unknown."""
    words, name = instrument_words(), plain(name)
    for spelt in (
        name,
        name.removesuffix("s"),
        name.removesuffix("n"),
        name.removesuffix("e"),
        name.removesuffix("es"),
    ):
        if spelt in words:
            return words[spelt]
    named = instrument_named(name)
    return () if named is None else ((named.program,),)


@cache
def style_words() -> Mapping[str, StyleRules]:
    """Return the rules of each style."""
    styles: dict[str, StyleRules] = {}
    for line in _STYLES.strip().splitlines():
        names, meters, qpm, modes, families, programs = (cell.strip() for cell in line.split("|"))
        low, high = map(float, qpm.split())
        kinds = {family: family for family in FAMILIES}
        rules = StyleRules(
            meters=tuple(meters.split()),
            qpm=(low, high),
            modes=tuple(modes.split()),
            families=tuple(kinds[cast(Family, one.strip())] for one in families.split(",")),
            programs=tuple(map(int, programs.split())),
        )
        styles |= {name.strip(): rules for name in names.split(",")}
    return styles


def _numbered(table: str) -> list[tuple[tuple[float, ...], str]]:
    """Read lines of numbers, a colon and words."""
    lines = (line.partition(":") for line in table.strip().splitlines())
    return [
        (tuple(map(float, numbers.split())), word.strip()) for numbers, _, words in lines for word in words.split(",")
    ]
