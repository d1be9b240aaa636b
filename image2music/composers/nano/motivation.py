"""Why a tune of nano's sounds as it does, in 120 to 170 words: facts from scene and plan, and what is assumed.

It says what is seen; pace, key and meter; the device with its bars and what prompted it; who sings where, and what the
others do; what the sections stand for; the event in the harmony and the highest note; what references lent. Sentences
give way where there are too many words, the most telling stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

from image2music.composers.base import ExplainRequest
from image2music.composers.nano.gestures import device_called, gestures_of
from image2music.composers.suiting import SuitingMusic, instrument_called, suiting_music
from image2music.images.scene import Scene
from image2music.images.words import colour_in, describe_scene, listed
from image2music.music.planning.plan import FIGURE_ROLES, Family, Plan, Role, Section, pitch_name
from image2music.music.theory import read_tonality

FEWEST_WORDS, MOST_WORDS = 120, 170


def motivate(request: ExplainRequest) -> str:
    """Return the motivation of the tune that stands; without a plan it speaks of the picture alone."""
    scene = request.request.description.scene or Scene(subject="")
    plan, music = request.plan, suiting_music(scene)
    if plan is None:
        return " ".join(_seen(scene, path=True))
    tries = [_told(request, plan, scene, music, parts) for parts in (_MOST_PARTS, 3, 2)]
    fitting = (told for told in tries if _words([one for one in told if one[0]]) <= MOST_WORDS)
    return " ".join(_shortened(next(fitting, tries[-1])))


def _told(request: ExplainRequest, plan: Plan, scene: Scene, music: SuitingMusic, parts: int) -> list[tuple[int, str]]:
    """Return all sentences, each with how much it matters, 0 for what only fills up; `parts` of the form are named."""
    follows = _follows_the_eye(plan, scene)
    told: list[tuple[int, str]] = [
        *zip((9, 2, 1), _seen(scene, path=not follows), strict=False),
        (9, _pace(scene, plan, music, request)),
        (9, _device(plan, scene)),
        (8, _singers(plan, music)),
        (7, _players(plan, music)),
        (7, _form(plan, follows, parts)),
        (8, _event(plan)),
        (5, _peak(plan)),
        (9, _lent(plan)),
        (6, _assumed(request)),
        (0, _dynamics(plan)),
        (0, _ending(plan)),
    ]
    return [(rank, text) for rank, text in told if text]


def _shortened(told: Sequence[tuple[int, str]]) -> list[str]:
    """Leave out what matters least until few enough words are left; what fills up comes where there are too few."""
    kept = [(rank, text) for rank, text in told if rank]
    extra = [(rank, text) for rank, text in told if not rank]
    while _words(kept) > MOST_WORDS and len(kept) > 1:
        least = min(rank for rank, _ in kept)
        kept.remove(next(one for one in reversed(kept) if one[0] == least))
    for one in extra:
        if _words(kept) < FEWEST_WORDS and _words([*kept, one]) <= MOST_WORDS:
            kept.append(one)
    return [text for _, text in kept]


def _words(told: Sequence[tuple[int, str]]) -> int:
    return sum(len(text.split()) for _, text in told)


# ---------------------------------------------------------------- what is seen


def _seen(scene: Scene, path: bool) -> list[str]:
    """Say what there is, then light and colours, then where the eye goes."""
    first = describe_scene(scene).split(". ")[0].rstrip(".")
    colours = [word for name in scene.palette if (word := colour_in(name, "en"))]
    tones = f"the colours are {listed(colours, 'en')}" if len(colours) > 1 else ""
    tones = tones or (f"nearly everything is {colours[0]}" if colours else "")
    light = f"it is {scene.light.split(',')[0].strip()}" if scene.light else ""
    stations = scene.eye_path[:3] if path else ()
    eye = f"the eye goes from {' to '.join(stations)}" if len(stations) > 1 else ""
    told = (first, " and ".join(one for one in (light, tones) if one), eye)
    return [f"{_capital(one)}." for one in told if one]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_MANNERS = {
    "calm": "takes its time", "flowing": "flows", "playful": "is playful", "grand": "has a broad stride",
    "dark": "keeps to the shadows", "driving": "drives on",
}  # fmt: skip
_MOVES = {
    "still": "everything keeps still", "gentle movement": "it moves a little", "plain movement": "it plainly moves",
    "fast movement": "it moves fast",
}  # fmt: skip


def _pace(scene: Scene, plan: Plan, music: SuitingMusic, request: ExplainRequest) -> str:
    tonality = read_tonality(plan.key)
    key = plan.key if tonality is None else f"{tonality.tonic} {tonality.mode}"
    pace = f"at {round(plan.qpm)} quarter notes a minute"
    if request.request.album is not None:
        return f"Its album asks for {key}, {plan.meter}, and the motif it opens with; it goes {pace}."
    moves = _MOVES.get(scene.motion, "")
    why = " and ".join(one for one in (moves, f"the mood is {scene.mood}" if scene.mood else "") if one)
    because = f"As {why}, the" if why else "The"
    return f"{because} music {_MANNERS[music.character]}, {pace} in {key} and {plan.meter}."


def _assumed(request: ExplainRequest) -> str:
    if request.request.plan is not None or request.request.album is not None:
        return "That this music suits is an assumption, not something that the picture says."
    drawn = "key and meter were drawn by lot from those that suit, which is an assumption"
    wishes = "; what was wished for goes first" if request.request.constraints else ""
    return f"{_capital(drawn)}{wishes}."


# ---------------------------------------------------------------- device and harmony


def _device(plan: Plan, scene: Scene) -> str:
    if plan.device is None or not plan.device.what:
        return ""
    name, section = device_called(plan.device.what), plan.section_at(plan.device.payoff_bar)
    reasons = {device: reason for device, _, reason in gestures_of(scene).devices}
    prompted = f", prompted by {reasons[name]}" if name is not None and reasons[name] else ""
    where = _bars(min(plan.device.payoff_bar, section.last), section.last)
    return f"The idea that pays off: {plan.device.what.rstrip('.')} ({where}){prompted}."


def _event(plan: Plan) -> str:
    if plan.surprise is None or not plan.surprise.what:
        return ""
    why = f": {plan.surprise.why.rstrip('.')}" if plan.surprise.why else ""
    return f"In bar {plan.surprise.bar} comes {plan.surprise.what.rstrip('.')}{why}."


def _peak(plan: Plan) -> str:
    if plan.climax is None:
        return ""
    return f"The highest note, {pitch_name(plan.climax.pitch)}, comes in bar {plan.climax.bar}."


def _lent(plan: Plan) -> str:
    """Say what references lent: every clause of the plan's texts that cites one, in the marks of `borrowing`."""
    texts = [plan.idea, plan.style, *(section.new for section in plan.sections)]
    clauses = dict.fromkeys(found.strip() for text in texts for found in _CITED.findall(text))
    return f"{_capital('; '.join(list(clauses)[:_MOST_LOANS]))}." if clauses else ""


_MOST_LOANS = 3
_CITED = re.compile(r"[^;«]*«[^»]*»[^;«]*")


# ---------------------------------------------------------------- who plays


_DOES: dict[Role, str] = {
    "melody": "has the tune", "bass": "has the bass", "counter": "sings against it", "answer": "answers",
    "hold": "holds long notes", "parallel": "goes along in thirds and sixths", "double": "doubles it",
    "drums": "keeps the beat", "rest": "waits",
}  # fmt: skip
_FIGURES: dict[Family, str] = {
    "wave": "rising and falling waves", "broken": "broken chords", "alberti": "Alberti figures",
    "waltz": "waltz steps", "offbeat": "chords off the beat", "pulse": "repeated chords", "pad": "held chords",
    "ostinato": "an ostinato", "tremolo": "tremolo", "chorale": "chorale chords", "arpeggio": "arpeggios",
    "pizzicato": "plucked notes", "drums": "drum strokes",
}  # fmt: skip
_MANY = {"has the": "have the", "accompanies": "accompany", "sings": "sing", "answers": "answer", "goes": "go",
         "holds": "hold", "doubles": "double", "keeps": "keep", "waits": "wait", "its own bass": "their own bass",
         }  # fmt: skip


def _singers(plan: Plan, music: SuitingMusic) -> str:
    """Say which instruments have the tune in which bars, and what each was chosen for."""
    reasons = _reasons_of(music)
    bars: dict[int, list[int]] = {}
    for bar in range(1, plan.bars + 1):
        if voice := plan.melody_at(bar):
            bars.setdefault(voice, []).append(bar)
    said: list[str] = []
    for voice, own in bars.items():
        name = _name(plan, voice)
        why = f", {'' if said else 'chosen '}for {reasons[name]}," if name in reasons else ""
        whole = len(own) == plan.bars
        sings = "sing" if _is_many(name) else "sings"
        where = "throughout" if whole else f"in bars {_spans(own)}"
        said.append(f"the {name}{why} {sings} {'the tune ' if not said else ''}{where}")
    return f"{_capital('; '.join(said))}." if said else ""


def _name(plan: Plan, voice: int) -> str:
    planned = plan.voice(voice)
    if any(planned.id == part.voice and part.role == "drums" for s in plan.sections for part in s.parts):
        return "drums"
    return instrument_called(planned.program, planned.name)


def _spans(bars: Sequence[int]) -> str:
    """Write 1, 2, 3, 9 as `1 to 3 and 9`."""
    runs = [[bars[0]]]
    for before, bar in pairwise(bars):
        if bar == before + 1:
            runs[-1].append(bar)
        else:
            runs.append([bar])
    return listed([str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs], "en")


def _bars(first: int, last: int) -> str:
    return f"bar {first}" if first == last else f"bars {first} to {last}"


def _players(plan: Plan, music: SuitingMusic) -> str:
    """Say what the other instruments do; one that has figure and bass is said once."""
    reasons, singing = _reasons_of(music), {_name(plan, plan.melody_at(b)) for b in _sung(plan)}
    told: dict[str, list[tuple[Role, str, str]]] = {}
    for voice in plan.voices:
        name = _name(plan, voice.id)
        if name in singing:
            continue
        role = "drums" if name == "drums" else voice.role
        figures = _figures(plan, voice.id) if role in FIGURE_ROLES else ("", "")
        told.setdefault(name, []).append((role, *figures))
    said: list[str] = []
    for name, parts in told.items():
        own_bass = {role for role, *_ in parts} >= {"figure", "bass"}
        verbs = []
        for role, most, contrast in parts:
            under = " over its own bass" if role == "bass+figure" or (role == "figure" and own_bass) else ""
            if role in FIGURE_ROLES:
                verbs.append(f"accompanies{most}{under}{contrast}")
            elif role != "bass" or not own_bass:
                verbs.append(_DOES[role])
        does = listed(list(dict.fromkeys(verbs)), "en")
        if _is_many(name):
            for one, many in _MANY.items():
                does = does.replace(one, many)
        why = f", for {reasons[name]}," if name in reasons else ""
        said.append(f"the {name}{why} {does}")
    return f"{_capital('; '.join(said))}." if said else ""


def _sung(plan: Plan) -> list[int]:
    return [bar for bar in range(1, plan.bars + 1) if plan.melody_at(bar)]


def _is_many(name: str) -> bool:
    return name.endswith(("strings", "drums", "bells"))


def _reasons_of(music: SuitingMusic) -> dict[str, str]:
    """Return what each instrument of the suitable ensembles is there for."""
    clauses = [clause for one in music.ensembles for clause in one.reason.split("; ") if " for " in clause]
    found: dict[str, str] = {}
    for clause in clauses:
        name, _, why = clause.partition(" for ")
        found.setdefault(name.removeprefix("a ").removeprefix("an "), why)
    return found


def _figures(plan: Plan, voice: int) -> tuple[str, str]:
    """Say in what figures a voice accompanies most of the time, and where it first has the next commonest."""
    parts: list[tuple[Family, Section]] = [
        (part.family, section)
        for section in plan.sections
        for part in section.parts
        if part.voice == voice and part.family is not None
    ]
    bars: Counter[Family] = Counter()
    for family, section in parts:
        bars[family] += section.last - section.first + 1
    if not bars:
        return "", ""
    (most, _), *others = bars.most_common(2)
    if not others:
        return f" in {_FIGURES[most]}", ""
    place = next(section for family, section in parts if family == others[0][0])
    return f" in {_FIGURES[most]}", f", with {_FIGURES[others[0][0]]} in {_bars(place.first, place.last)}"


# ---------------------------------------------------------------- form


_LOUD = {"pp": "very soft", "p": "soft", "mp": "rather soft", "mf": "rather loud", "f": "loud", "ff": "very loud"}
_MOST_PARTS = 4


def _follows_the_eye(plan: Plan, scene: Scene) -> bool:
    parts = tuple(dict.fromkeys(section.picture_part for section in plan.sections if section.picture_part))
    return len(parts) > 1 and parts[:3] == tuple(dict.fromkeys(scene.eye_path))[: len(parts[:3])]


def _form(plan: Plan, follows: bool, most: int) -> str:
    """Say what each section stands for."""
    letters = ", ".join(section.name for section in plan.sections if section.name)
    said: list[str] = []
    for part, alike in groupby(plan.sections, key=lambda section: section.picture_part):
        sections = tuple(alike)
        if part:
            verb = "" if said else "stand " if sections[-1].last > sections[0].first else "stands "
            said.append(f"{_bars(sections[0].first, sections[-1].last)} {verb}for {part}")
    if not said:
        return f"The form is {letters}." if letters else ""
    goes = " goes where the eye goes" if follows else ""
    return f"The form ({letters}){goes}: {'; '.join(said[:most])}."


def _dynamics(plan: Plan) -> str:
    steps = list(dict.fromkeys(_LOUD[section.dynamic] for section in plan.sections))
    return f"It begins {steps[0]}" + (f" and grows and sinks between {' and '.join(steps[:2])}." if steps[1:] else ".")


def _ending(plan: Plan) -> str:
    slower = plan.sections[-1].qpm < plan.sections[0].qpm
    pace = f", at {round(plan.sections[-1].qpm)} quarter notes a minute" if slower else ""
    return f"{_capital(plan.ending.rstrip('.'))}{pace}." if plan.ending else ""
