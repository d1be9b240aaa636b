"""A plan in parts, for models of a few billion parameters: form from lists, numbered chords, the motif.

What there is to choose from keeps to what is wished for, by code; what a model chose badly, or not at all, is drawn by
lot from the same lists. Roles, figures, dynamics and the climax are the planner's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from image2music.abc.checker import read_motif
from image2music.composers.base import PlanningRequest, opening_abc
from image2music.composers.chat import steps
from image2music.composers.chat.answers import json_in
from image2music.composers.chat.bar_by_bar import (
    InKey,
    SmallDraft,
    SmallQuestion,
    bar_misfit,
    bars_of_answer,
    how_to_write,
)
from image2music.composers.chat.manuscript import OpenLine, bars_in, by_place, form_of
from image2music.composers.constrained.forms import JsonForm
from image2music.composers.prompts import fill
from image2music.errors import ModelError
from image2music.music.instruments import instrument_of
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import apply_to_request, unmet
from image2music.music.planning.harmony import cadences_of, degree_symbol, nearest_symbol, tonic_symbol
from image2music.music.planning.plan import Motif, Plan, Section
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.vocabulary import mood_vocabulary, plain, players_of
from image2music.music.theory import Tonality, read_chord, read_tonality
from image2music.types import Description

# ---------------------------------------------------------------- what a model chooses from

_MOODS = (
    "calm", "tender", "dreamy", "playful", "bright", "joyful", "majestic", "nostalgic", "mysterious", "melancholy",
    "sad", "dark", "tense", "dramatic", "energetic", "angry",
)  # fmt: skip
_KEYS = ("C", "D", "Eb", "F", "G", "A", "Bb", "Am", "Bm", "Cm", "Dm", "Em", "F#m", "Gm", "Ddor", "Gmix")
_METERS = ("4/4", "3/4", "6/8", "2/4")
_FORMS: dict[str, tuple[int, ...]] = {
    "A B A' coda": (4, 4, 4, 4),
    "A A' B A''": (4, 4, 4, 4),
    "A B A'": (4, 4, 8),
    "A A' B A'' coda": (4, 4, 4, 4, 4),
    "A B A' C A''": (4, 4, 4, 4, 4),
    "A A' B A'' C coda": (4, 4, 4, 4, 4, 4),
}
"""Sections with their usual bars. The planner finds for each what it is there for, from the climax backwards."""
_PLAYERS = {
    "melody": (73, 71, 68, 40, 74, 75, 65, 60, 21),
    "middle": (46, 24, 0, 48, 4, 11, 12),
    "bass": (42, 43, 70, 32, 33),
}
"""General MIDI programs that carry, accompany and ground a tune well."""
_DEGREES = {
    "major": "I ii iii IV V vi I/3 V/3 ii7 V7 vi7 Imaj7 IVmaj7 iv bVII II7 III7",
    "minor": "i iv V v bIII bVI bVII i/3 V/3 bIII/3 V7 i7 iv7 bVImaj7 iim7b5 IV bII",
    "dorian": "i ii bIII IV v bVII i/3 bIII/3 i7 IV7 bIIImaj7",
    "mixolydian": "I ii IV v vi bVII I/3 IV/3 I7 ii7 v7",
}
"""The chords of each mode: triads, inversions, sevenths, then those from elsewhere."""
_LONGEST = {"A": 80, "B": 80, "end": 80, "idea": 160, "title": 60}
_SLOWEST, _FASTEST, _SLOWER, _QUICKER = 50, 80, 60, 72
"""A still picture's tempo lies from 50 to 80 quarter notes a minute, a wild one's from 110 to 152."""
_CODA_TEMPO = 0.9


class PlanDraft(SmallDraft):
    """A plan in the making: what the model chose, or by lot where it chose nothing that can be used."""

    def __init__(self, one: PlanningRequest) -> None:
        super().__init__(one.request, one.take)
        self.one = one
        self._seed = steps.seed_of(self.request, "small plan", self.take)
        self._rng = np.random.Generator(np.random.Philox([self._seed]))
        scene = self.request.description.scene
        self._felt = (
            None if scene is None or scene.valence is None or scene.arousal is None else (scene.valence, scene.arousal)
        )
        self.options = self._options()
        examples = fill("small/examples").splitlines()
        self._copied: dict[str, str] = json.loads(examples[self._seed % len(examples)])
        self._texts = _seen_in(self.request.description)
        self._example, self._said = self._drawn(), self._drawn()
        if scene is not None:
            self._said["mood"] = _one_of(scene.mood, self.options["mood"]) or self._said["mood"]
        self._low, self._high = self._tempos()
        self._qpm = self._low + (self._high - self._low) * mood_vocabulary()[self._said["mood"]][1]
        self._chords: dict[int, str] = {}
        self._motif = ""

    # ------------------------------------------------------------ form

    def _kept(self, request: PlanRequest) -> PlanRequest:
        """Return a request with what must be kept; of two demands that contradict, the first one counts."""
        for wanted in reversed(self.request.constraints):
            request = apply_to_request(request, wanted)
        return request

    def _options(self) -> dict[str, tuple[str, ...]]:
        """Return what there is to choose from, by what is asked."""
        wanted = self.request.constraints
        bars = {form: self._kept(PlanRequest(bars=sum(parts))).bars for form, parts in _FORMS.items()}
        options = {
            "mood": tuple(mood for mood in _MOODS if self._is_wished(mood)) or _MOODS,
            "key": _as_far_as_kept(_KEYS, lambda key: self._kept(PlanRequest(key=key)).key),
            "meter": _as_far_as_kept(_METERS, lambda meter: self._kept(PlanRequest(meter=meter)).meter),
            "form": tuple(form for form, parts in _FORMS.items() if 2 * len(parts) <= bars[form]) or ("A",),
        }
        if not any(one.players or one.suggested for one in wanted):
            refused = {program for one in wanted for program in one.without}
            for part, programs in _PLAYERS.items():
                names = tuple(instrument_of(program).name for program in programs if program not in refused)
                options |= {part: names} if names else {}
        return options

    def _is_wished(self, mood: str) -> bool:
        valence, arousal = mood_vocabulary()[mood]
        return all(
            ends is None or ends[0] <= value <= ends[1]
            for one in self.request.constraints
            for value, ends in ((valence, one.valence), (arousal, one.arousal))
        )

    def _drawn(self) -> dict[str, str]:
        """Draw one of each list; the key is bright or dark as the picture is."""
        drawn = {}
        for name, options in self.options.items():
            if name == "key" and self._felt is not None:
                dark = round(self._felt[0], 3) < 0
                options = tuple(one for one in options if _tonality(one).is_minor == dark) or options
            drawn[name] = options[int(self._rng.integers(len(options)))]
        return drawn

    def _tempos(self) -> tuple[float, float]:
        """Return the slowest and the fastest tempo that suit the picture and what is wished."""
        arousal = None if self._felt is None else self._felt[1]
        low = round(_SLOWEST + _SLOWER * (arousal or 0.0))
        high = round(_FASTEST + _QUICKER * (1.0 if arousal is None else arousal))
        for ends in (one.qpm for one in reversed(self.request.constraints) if one.qpm is not None):
            inside = max(low, ends[0]), min(high, ends[1])
            low, high = inside if inside[0] <= inside[1] else ends  # type: ignore[assignment]
        return low, high

    def ask_form(self) -> SmallQuestion:
        """Ask for what each part shows, and for a choice from each list that leaves one."""
        chosen = {name: options for name, options in self.options.items() if len(options) > 1}
        low, high = -(-self._low // 1), self._high // 1
        example: dict[str, Any] = {name: self._copied[name] for name in _LONGEST}
        properties: dict[str, Any] = {name: {"type": "string", "maxLength": _LONGEST[name]} for name in example}
        lines = [f"{name}: one of {', '.join(options)}." for name, options in chosen.items()]
        for name, options in chosen.items():
            example[name], properties[name] = self._example[name], _enum(options)
        if low < high:
            example["qpm"] = int(self._qpm)
            properties["qpm"] = {"type": "integer", "minimum": int(low), "maximum": int(high)}
            lines.append(f"qpm: quarter notes a minute, from {low:g} to {high:g}.")
        wishes = steps.wishes_said(self.request)
        text = fill("small/form", wishes=wishes, example=_line(example), choices="\n".join(lines), remark=self.remark)
        return SmallQuestion("form", text, _object_form("form", properties))

    def take_form(self, answer: str) -> str:
        """Take what of an answer is on the lists."""
        shape = _shape(answer)
        for name, options in self.options.items():
            self._said[name] = _one_of(shape.get(name), options) or self._said[name]
        for name, most in _LONGEST.items():
            value = shape.get(name.lower())
            if isinstance(value, str) and value not in self._copied.values():  # the example shows another picture
                self._texts[name] = _clip(value, most) or self._texts[name]
        with suppress(TypeError, ValueError):  # what is no number leaves the tempo as it is
            said = float(shape.get("qpm", self._qpm))
            self._qpm = min(max(said, self._low), self._high) if said == said else self._qpm
        return "" if shape else "it held no JSON object"

    # ------------------------------------------------------------ the planner's part

    @cached_property
    def wanted(self) -> PlanRequest:
        """What the planner is asked for, by the choices that were made."""
        mood = mood_vocabulary()[self._said["mood"]]
        felt = mood if self._felt is None else tuple((a + b) / 2 for a, b in zip(mood, self._felt, strict=True))
        named = [players_of(self._said[part])[0][0] for part in _PLAYERS if part in self._said]
        parts = _FORMS.get(self._said["form"], (16,))
        request = PlanRequest(
            title=self._texts["title"],
            idea=self._texts["idea"],
            key=self._said["key"],
            meter=self._said["meter"],
            qpm=float(round(self._qpm)),
            bars=sum(parts),
            valence=round(felt[0], 3),
            arousal=round(felt[1], 3),
            seed=self._seed,
        )
        request = self._kept(replace(request, programs=tuple(named)) if named else request)
        if any(one.players and one.others_may_play for one in self.request.constraints):
            request = replace(request, programs=_joined(request.programs))
        return replace(request, sections=_ends(parts, request.bars))

    @cached_property
    def skeleton(self) -> Plan:
        """The planner's own plan."""
        return by_place(plan_tune(self.wanted))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the sections, as the form has them."""
        names = tuple(self._said["form"].split())
        plain_names = tuple(section.name for section in self.skeleton.sections)
        return names if len(names) == len(plain_names) else plain_names

    @cached_property
    def shows(self) -> tuple[str, ...]:
        """What in the picture each section stands for."""
        where = {"A": "A", "B": "B", "C": "B"}
        return tuple(self._texts[where.get(name[0], "end")] for name in self.names)

    @cached_property
    def returning(self) -> dict[int, int]:
        """The bars that come back, with those that they were before."""
        first: dict[str, int] = {}
        found: dict[int, int] = {}
        for name, section in zip(self.names, self.skeleton.sections, strict=True):
            letter = name.rstrip("'")
            start = first.setdefault(letter, section.first)
            length = self.skeleton.section_at(start).last - start + 1
            if start != section.first:
                found |= {section.first + at: start + at for at in range(min(len(section.bars), length))}
        return found

    @cached_property
    def opening(self) -> tuple[str, ...]:
        """The bars that the album begins the tune with."""
        if self.request.album is None:
            return ()
        return InKey(self.skeleton).placed(bars_in(opening_abc(self.request.album)))

    # ------------------------------------------------------------ chords

    @cached_property
    def _symbols(self) -> tuple[str, ...]:
        tonality = _tonality(self.skeleton.key)
        family = tonality.mode if tonality.mode in _DEGREES else "minor" if tonality.is_minor else "major"
        symbols = [degree_symbol(degree, tonality) for degree in _DEGREES[family].split()]
        return tuple(symbol for symbol in dict.fromkeys(symbols) if nearest_symbol(symbol) == symbol)

    @cached_property
    def _home(self) -> str:
        return tonic_symbol(_tonality(self.skeleton.key))

    @cached_property
    def _dominant(self) -> str:
        tonality = _tonality(self.skeleton.key)
        return degree_symbol("v" if tonality.mode in _SOFT else "V", tonality)

    @cached_property
    def _open_bars(self) -> tuple[int, ...]:
        """The bars whose chords are asked for: those that do not come back."""
        return tuple(bar for bar in range(1, self.skeleton.bars + 1) if bar not in self.returning)

    def ask_chords(self) -> SmallQuestion:
        """Ask for a chord for each bar that is new, by its number."""
        plan, symbols = self.skeleton, self._symbols
        other = plan_tune(replace(self.wanted, seed=self._seed + 1)).harmony
        shown = {str(bar): first if (first := other[bar - 1].split()[0]) in symbols else self._home
                 for bar in self._open_bars}  # fmt: skip
        parts = "\n".join(f"{name}, bars {one.first}-{one.last}: {shows}" for name, one, shows in self._sections())
        text = fill(
            "small/chords",
            key=plan.key,
            meter=plan.meter,
            mood=self._said["mood"],
            parts=parts,
            example=_line(shown),
            chords=", ".join(symbols),
            dominant=self._dominant,
            home=self._home,
            remark=self.remark,
        )
        return SmallQuestion("chords", text, _object_form("chords", {bar: _enum(symbols) for bar in shown}))

    def take_chords(self, answer: str) -> str:
        """Take the chords that can be read, for bars that are open."""
        shape = _shape(answer)
        inner = next((value for value in shape.values() if isinstance(value, list | dict)), None)
        if isinstance(inner, list):
            shape = {str(bar): chord for bar, chord in zip(self._open_bars, inner, strict=False)}
        elif isinstance(inner, dict):
            shape = inner
        for bar in self._open_bars:
            said = str(shape.get(str(bar), shape.get(f"bar {bar}", ""))).replace("|", " ").split()[:2]
            chords = [symbol for one in said if (symbol := nearest_symbol(one)) is not None]
            if chords:
                self._chords[bar] = " ".join(chords)
        missing = [bar for bar in self._open_bars if bar not in self._chords]
        if 2 * len(missing) <= len(self._open_bars):
            return ""
        return f"it had no chord for the bars {', '.join(map(str, missing))}"

    @cached_property
    def harmony(self) -> tuple[str, ...]:
        """The chords of all bars: the model's, those that come back, and the ends of sections as cadences."""
        plan = self.skeleton
        chosen = {**dict(enumerate(plan.harmony, 1)), **self._chords}
        for bar, text in enumerate(self.opening, 1):
            chosen[bar] = InKey(plan).fitting(text, (chosen[bar], self._home, *self._symbols))
        chords = [chosen[self.returning.get(bar, bar)] for bar in chosen]
        tonic = _tonality(plan.key).pitch_class
        for name, section, _ in self._sections():
            wanted = "full" if section.last == plan.bars or name.endswith("'") else "half"
            heard = [read_chord(one) for text in chords[: section.last] for one in text.split()]
            if wanted not in cadences_of(heard, tonic):
                ends = [self._dominant] if wanted == "half" else [self._dominant, self._home]
                ends = ends[-len(section.bars) :]
                chords[section.last - len(ends) : section.last] = ends
        return tuple(chords)

    def _sections(self) -> list[tuple[str, Section, str]]:
        return list(zip(self.names, self.skeleton.sections, self.shows, strict=True))

    # ------------------------------------------------------------ motif

    @cached_property
    def _sketched(self) -> Plan:
        """The plan without its motif."""
        return replace(self.skeleton, harmony=self.harmony, climax=None)

    def ask_motif(self) -> SmallQuestion:
        """Ask for the first bars of the tune, with their chords."""
        plan, line = self._sketched, self._motif_line
        key = InKey(plan)
        low, high = key.middle
        other = plan.bars // 2 if plan.bars > 3 else 0
        example = [key.by_rule(other + bar, low, high) for bar in line.bars]
        text = fill(
            "small/motif",
            key=plan.key,
            meter=plan.meter,
            qpm=f"{plan.qpm:g}",
            mood=self._said["mood"],
            part=self.shows[0],
            chords=key.chords_shown(line.bars, low, high),
            how=how_to_write(plan, low, high),
            example=line.prefix + " | ".join(example) + " |",
            prefix=line.prefix.strip(),
            remark=self.remark,
        )
        return SmallQuestion("motif", text, form_of(plan, [line]))

    @property
    def _motif_line(self) -> OpenLine:
        return OpenLine(1, 1, min(2, self.skeleton.bars))

    def take_motif(self, answer: str) -> str:
        """Take the motif where it is full, in range and fits its chords."""
        plan, line = self._sketched, self._motif_line
        found = bars_of_answer(answer, plan, line)
        if len(found) < len(line.bars):
            return f"it did not hold {len(line.bars)} bars of music"
        low, high = InKey(plan).middle
        for bar, text in found.items():
            if why := bar_misfit(plan, bar, text, plan.voices[0].low, max(high, low)):
                return f"bar {bar} {why.what}"
        self._motif = " | ".join(found[bar] for bar in line.bars)
        return ""

    # ------------------------------------------------------------ the plan

    @cached_property
    def plan(self) -> Plan:
        """The whole plan, which the checks find no fault in."""
        key = InKey(self._sketched)
        opening = self.opening or tuple(bars_in(self._motif))
        low, high = key.middle
        opening = opening or tuple(key.by_rule(bar, low, high) for bar in self._motif_line.bars)
        motif = Motif(" | ".join(opening), " | ".join(self.harmony[: len(opening)]))
        bar = self.skeleton.climax.bar if self.skeleton.climax else self.skeleton.bars
        request = replace(self.wanted, harmony=self.harmony, climax=(bar, key.peak(bar, motif.abc)))
        plan = by_place(plan_tune(request))
        sections = tuple(
            replace(
                section,
                name=name,
                picture_part=shows,
                qpm=round(section.qpm * _CODA_TEMPO) if name == "coda" else section.qpm,
                new=_new(name),
            )
            for section, name, shows in zip(plan.sections, self.names, self.shows, strict=True)
        )
        plan = replace(plan, sections=sections)
        for candidate in (replace(plan, motif=motif), plan, self.skeleton):
            checked = check_plan(candidate, read_motif)
            if not checked.faults:
                break
        return checked.plan

    def again(self) -> Plan:
        """Return the better one of the plan before and the planner's own."""
        before = self.one.previous or self.plan
        misses = [
            (len(check_plan(plan, read_motif).faults), sum(len(unmet(one, plan)) for one in self.request.constraints))
            for plan in (before, self.skeleton)
        ]
        return before if misses[0] <= misses[1] else self.skeleton


def _seen_in(description: Description) -> dict[str, str]:
    """Return what a model would say of the sections and the title, taken from what was seen."""
    scene = description.scene
    subject = (scene.subject if scene is not None else "") or description.text
    path = [subject] if scene is None or not scene.eye_path else list(scene.eye_path)
    named = scene.things[0][0] if scene is not None and scene.things else _clip(subject, 30)
    texts = dict(zip(("A", "B", "end"), (path[0], path[len(path) // 2], path[-1]), strict=True))
    texts |= {"idea": "", "title": named[:1].upper() + named[1:]}
    return {name: _clip(text, _LONGEST[name]) for name, text in texts.items()}


_SOFT = frozenset({"dorian", "mixolydian", "phrygian", "locrian"})
"""Modes whose fifth degree has no leading tone."""


def _new(name: str) -> str:
    if name == "coda":
        return "fewer notes, slower"
    return "opens as before, ends otherwise" if name.endswith("'") else "" if name == "A" else "the motif upside down"


def _as_far_as_kept(options: Sequence[str], kept: Callable[[str], str]) -> tuple[str, ...]:
    """Return the options that may stay, or else those that they become."""
    became = {option: kept(option) for option in options}
    return tuple(one for one in options if became[one] == one) or tuple(dict.fromkeys(became.values()))


def _tonality(key: str) -> Tonality:
    tonality = read_tonality(key)
    assert tonality is not None
    return tonality


def _joined(programs: tuple[int, ...]) -> tuple[int, ...]:
    """Give players who are asked for, and who may be joined by others, the company that they need."""
    melody, middle, bass = (players[0] for players in _PLAYERS.values())
    if len(programs) > 1:
        return programs
    only = instrument_of(programs[0])
    if only.comfortable_high <= _BASS_TOP:
        return melody, middle, only.program
    return (melody, only.program) if only.chords >= _CHORDAL else (only.program, middle, bass)


_BASS_TOP, _CHORDAL = 60, 5


def _ends(parts: Sequence[int], bars: int) -> tuple[int, ...]:
    """Return the last bars of sections that share so many bars as their lengths do, at whole phrases if possible."""
    total, step = sum(parts), next(step for step in (4, 2, 1) if bars >= step * len(parts) or step == 1)
    ends: list[int] = []
    for at in range(1, len(parts)):
        share = 2 * bars * sum(parts[:at]) + total * step
        ends.append(max(share // (2 * total * step) * step, (ends[-1] if ends else 0) + step))
    return tuple(ends)


# ---------------------------------------------------------------- answers


def _line(shape: Mapping[str, Any]) -> str:
    return json.dumps(shape, ensure_ascii=False)


def _object_form(name: str, properties: Mapping[str, Any]) -> JsonForm:
    shape = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return JsonForm.of(name, {**shape, "additionalProperties": False})


def _enum(options: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(options)}


def _shape(answer: str) -> dict[str, Any]:
    """Return the object of an answer, its names in small letters; empty where there is none."""
    try:
        found = json_in(answer)
    except ModelError:
        return {}
    return {plain(name): value for name, value in found.items()}


def _one_of(value: object, options: Sequence[str]) -> str | None:
    """Return the option that a value names, however it is spelt."""
    text = plain(str(value)).replace("\u2019", "'")
    spelt = {text, plain(str(read_tonality(str(value)) or ""))}
    players = players_of(text) if text else ()
    spelt |= {plain(instrument_of(program).name) for group in players[:1] for program in group if program < 128}
    return next((option for option in options if plain(option) in spelt), None)


def _clip(text: str, most: int) -> str:
    """Return the first words of a text in one line."""
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()
    while len(" ".join(words)) > most and len(words) > 1:
        words.pop()
    return " ".join(words)[:most].rstrip(" .,;:")
