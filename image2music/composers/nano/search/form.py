"""The form of a tune: sections and phrases, and for every bar its chords, its place in the line and what it is made of.

Eight forms (arch, song, verse and refrain, path, variations, rondo, strophes, binary) fit any length. What a bar is
made of is an idea in a small language, words joined by `+` of which the search takes the best:

    M0 M1 N0 N1   a bar of the first or second theme as it is
    =7 ~7         bar 7 (from 0) again, or varied
    ^7            bar 7 on other degrees: a sequence
    >0a >1b       the first or second half of a theme's bar in double values
    m0 n1         a theme's bar moved; with a letter between: i inverted, f its head twice, o ornamented, x varied,
                  d shortened, s off the beat, g broken up
    cad           a bar that closes the phrase
    lead          a bar that runs into the next one
    rest          none
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from image2music.composers.nano.gestures import DeviceName
from image2music.composers.nano.sketch import Purpose
from image2music.composers.suiting import Character
from image2music.music.theory import Tonality

FormName = Literal[
    "arch", "song", "verse and refrain", "path", "variations", "rondo", "strophes", "binary", "miniature"
]
Close = Literal["half", "full", "imperfect", "deceptive", "open"]
"""How a phrase ends: on the dominant; on the tonic; on the tonic with another note on top; beside it; nowhere."""


@dataclass(slots=True)
class BarTask:
    """What one bar of the line has to be. `bar` counts from 0; `height` is 0 to 1 in the singer's range.

    `close` stands in a phrase's last bar. `starts` marks a phrase's first bar, `peak` the climax, `near` what lies
    around it, `last` the bar where the tune comes to rest. Bars before a `settled` one are final, as it looks back.
    """

    bar: int
    chords: str
    key: str
    idea: str
    height: float
    section: int
    singer: int
    close: Close | None = None
    starts: bool = False
    peak: bool = False
    near: bool = False
    last: bool = False
    settled: bool = False


@dataclass(slots=True)
class FormSection:
    """A section: bars `first` to `last` (from 0), how much louder than the start it is, and its share of the tempo.

    From bar `answers_from` on the lead that does not have the tune answers it; None: it rests throughout.
    """

    purpose: Purpose
    name: str
    first: int
    last: int
    louder: int
    pace: float = 1.0
    answers_from: int | None = None


@dataclass
class Form:
    """A form in bars. `theme`, `other` and `back` are the bars where first theme, second theme and return begin.

    `silent` bars have a stop in all voices; `payoff` is where the device is heard.
    """

    name: FormName
    device: DeviceName
    key: Tonality
    away: Tonality
    tasks: list[BarTask] = field(default_factory=list)
    sections: list[FormSection] = field(default_factory=list)
    theme: int = 0
    other: int | None = None
    back: int | None = None
    peak: int = 0
    payoff: int = 0
    silent: tuple[int, ...] = ()

    @property
    def reunion(self) -> range:
        """The bars in which what was heard alone may sound together: the return, or the way to the climax."""
        section = self.sections[self.tasks[self.payoff if self.back is None else self.back].section]
        return range(section.first if self.back is None else self.back, min(section.last, section.first + 3) + 1)

    @property
    def says_device(self) -> bool:
        """Whether the bars' ideas carry the device; what two voices carry together is another matter."""
        if self.device in ("shrink", "silence"):
            return bool(self.silent)
        if self.device == "call":
            return len({task.singer for task in self.tasks if task.section == self.tasks[self.theme].section}) > 1
        sign = {"inversion": "mi0", "augmentation": ">"}.get(self.device)
        return sign is not None and any(sign in task.idea for task in self.tasks)

    def section_of(self, purpose: Purpose) -> FormSection | None:
        """Return the first section of a purpose."""
        return next((one for one in self.sections if one.purpose == purpose), None)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of a form: least, usual and most bars; `spare` tells what goes first in a short tune (0: never)."""

    purpose: Purpose
    least: int
    usual: int
    most: int
    spare: int = 0


_I, _S, _A, _C, _D, _R, _X, _K = (
    Phrase("intro", 1, 2, 3, 1), Phrase("statement", 2, 4, 6), Phrase("again", 3, 4, 6, 4),
    Phrase("contrast", 3, 4, 6, 5), Phrase("drive", 2, 4, 5, 3), Phrase("return", 3, 4, 5, 6),
    Phrase("climax", 4, 5, 8), Phrase("coda", 2, 3, 4),
)  # fmt: skip
FORMS: dict[FormName, tuple[Phrase, ...]] = {
    "arch": (_I, _S, _A, _C, _D, _R, _X, _K),
    "song": (_I, _S, _A, _C, Phrase("return", 3, 4, 5, 3), _X, _K),
    "verse and refrain": (_I, _S, _C, _A, _X, _K),
    "path": (_I, _S, _C, _D, _X, _K),
    "variations": (_I, _S, _A, _C, _X, _K),
    "rondo": (_S, _C, _R, _D, _X, _K),
    "strophes": (_I, _S, _A, _R, _X, _K),
    "binary": (_I, _S, _A, _C, _X, _K),
    "miniature": (Phrase("statement", 1, 2, 4), Phrase("climax", 1, 2, 7, 1)),
}
_FORM_CHANCES: dict[Character, dict[FormName, float]] = {
    "calm": {"arch": 2, "song": 3, "path": 1.5, "variations": 2, "verse and refrain": 1, "strophes": 3, "binary": 1},
    "flowing": {
        "arch": 2, "song": 2, "path": 1.5, "verse and refrain": 2, "variations": 1, "strophes": 2, "binary": 2,
    },
    "playful": {"arch": 1, "song": 2, "rondo": 3, "verse and refrain": 2, "variations": 1, "strophes": 1, "binary": 3},
    "grand": {"arch": 3, "song": 2, "path": 1.5, "variations": 1, "verse and refrain": 1, "strophes": 1, "binary": 2},
    "dark": {"arch": 2, "path": 2, "variations": 2, "song": 1, "strophes": 2, "binary": 1},
    "driving": {"arch": 2, "verse and refrain": 3, "rondo": 2, "path": 1.5, "song": 1, "binary": 2},
}  # fmt: skip
"""How often a character has each form."""
_UNFIT: dict[DeviceName, tuple[FormName, ...]] = {
    "combine": ("strophes", "variations"), "shrink": ("strophes", "binary", "variations"),
}  # fmt: skip
"""Forms in which a device does not come about: they have no second theme, or nothing that drives."""


_HEIGHTS: dict[Purpose, tuple[float, float, float]] = {
    "intro": (0.3, 0.3, 0.3), "statement": (0.34, 0.52, 0.4), "again": (0.38, 0.62, 0.42),
    "contrast": (0.42, 0.68, 0.6), "drive": (0.5, 0.78, 0.62), "return": (0.45, 0.7, 0.62),
    "climax": (0.66, 1.0, 0.46), "coda": (0.46, 0.44, 0.38),
}  # fmt: skip
"""Where a phrase begins, its top and where it ends, in the singer's range."""
LOUDER: dict[Purpose, int] = {
    "intro": -1, "statement": 0, "again": 1, "contrast": -1, "drive": 1, "return": 1, "climax": 2, "coda": -1,
}  # fmt: skip
"""How many steps louder than the beginning a phrase is."""
SECTION_NAMES: dict[Purpose, str] = {
    "intro": "intro", "statement": "A", "again": "A", "contrast": "B", "drive": "B", "return": "A", "climax": "A",
    "coda": "coda",
}  # fmt: skip
_UNEVEN = 0.5
"""How often a phrase gets a bar more or less than usual before the rest is fitted to the whole."""


def phrase_lengths(phrases: Sequence[Phrase], bars: int, rng: random.Random) -> list[tuple[Purpose, int]] | None:
    """Return purposes with bars that add up, or None where the form cannot have so few.

    What can be spared goes first; then phrases become shorter or longer, drawn by lot, so that not all have four bars.
    A tune that is longer than the form can be says its middle more than once.
    """
    chosen = list(phrases)
    while sum(one.usual for one in chosen) > bars + 2 and any(one.spare for one in chosen):
        chosen.remove(min((one for one in chosen if one.spare), key=lambda one: one.spare))
    while sum(one.most for one in chosen) < bars:
        middle = [one for one in phrases if one.purpose in ("again", "contrast")] or [_A]
        at = next((n for n, one in enumerate(chosen) if one.purpose in ("return", "climax")), len(chosen))
        chosen[at:at] = middle
    lengths = [one.usual for one in chosen]
    # Not all have four bars even where they would add up.
    odd = [n for n, one in enumerate(chosen) if one.purpose in ("again", "contrast", "drive", "climax")]
    if odd and rng.random() < _UNEVEN:
        at = odd[int(rng.random() * len(odd))]
        lengths[at] += rng.choice((-1, 1))
    order = sorted(range(len(chosen)), key=lambda n: (rng.random(), n))
    while sum(lengths) != bars:
        grow = sum(lengths) < bars
        able = [n for n in order if (lengths[n] < chosen[n].most if grow else lengths[n] > chosen[n].least)]
        if not able:
            return None
        # What has changed least changes next.
        at = min(able, key=lambda n: (abs(lengths[n] - chosen[n].usual), order.index(n)))
        lengths[at] += 1 if grow else -1
    return [(one.purpose, length) for one, length in zip(chosen, lengths, strict=True)]


def peak_at(length: int) -> int:
    """Return the place of the highest note's bar in a climax of so many bars."""
    return min(length - 2, max(1, (length - 1) // 2)) if length > 2 else 0


def height_at(purpose: Purpose, at: int, length: int) -> float:
    """Return how high bar `at` of a phrase lies, from 0 to 1: it rises to its top and comes down."""
    low, top, end = _HEIGHTS[purpose]
    t = at / max(1, length - 1)
    rising = 0.62 if purpose != "climax" else (peak_at(length) + 0.01) / max(1, length - 1)
    if t < rising:
        return round(low + (top - low) * t / rising, 3)
    return round(top + (end - top) * (t - rising) / max(0.01, 1 - rising), 3)


def draw_form(
    bars: int, character: Character, device: DeviceName, rng: random.Random, *, through: bool,
    timed: bool = False, loop: bool = False,
) -> tuple[FormName, list[tuple[Purpose, int]]]:  # fmt: skip
    """Draw a form that suits a character and can have the device, with its phrases.

    `through` asks for a path. What is `timed` may be one phrase or far longer than usual; a `loop` has neither intro
    nor coda.
    """
    if timed and bars <= _ONE_PHRASE:
        return "miniature", [("statement", bars)]
    if (timed or loop) and bars < _SHORTEST:
        found = phrase_lengths(_TWO_PHRASES, bars, rng)
        return "miniature", found or [("statement", bars)]
    if timed and bars >= LONG:
        found = phrase_lengths(_episodes(bars, rng, loop=loop), bars, rng)
        if found is not None:
            return "rondo", found
    unfit = _UNFIT.get(device, ())
    chances = {name: chance for name, chance in _FORM_CHANCES[character].items() if name not in unfit}
    if through:
        chances["path"] = chances.get("path", 0) + 3
    names = list(chances)
    while names and bars >= _SHORTEST:
        name = rng.choices(names, [chances[one] for one in names])[0]
        phrases = [one for one in FORMS[name] if not (loop and one.purpose in ("intro", "coda"))]
        if (found := phrase_lengths(phrases, bars, rng)) is not None:
            return name, found
        names.remove(name)
    found = phrase_lengths(FORMS["miniature"], bars, rng)
    return "miniature", found or [("statement", bars)]


_SHORTEST = 8
"""Bars below which a tune is a miniature."""
LONG = 44
"""Bars from which on a tune that is to last some time is a chain of episodes around its theme."""
_ONE_PHRASE = 4
_TWO_PHRASES = (Phrase("statement", 2, 3, 4), Phrase("climax", 3, 3, 5))
_NEAR, _FAR, _WORKED = (_C, _A), (_C, _C, _D, _R, _A), (_C, _D, _R)
"""Episodes: a short contrast and the theme; another theme twice, a way back and the theme twice; the theme worked
out."""


def _episodes(bars: int, rng: random.Random, *, loop: bool) -> list[Phrase]:
    """Return the phrases of a long tune: theme, episodes that come back to it from ever new places, climax, coda."""
    opening, closing = [] if loop else [_I], [_X] if loop else [_X, _K]
    order = rng.choice(((_NEAR, _FAR, _WORKED, _FAR), (_FAR, _WORKED, _NEAR, _FAR), (_NEAR, _WORKED, _FAR, _NEAR)))
    chosen, number = [*opening, _S, _A], 0
    while True:
        episode = order[number % len(order)]
        left = bars - sum(one.usual for one in (*chosen, *closing))
        if left < sum(one.usual for one in episode):
            break
        chosen += episode
        number += 1
    if left >= sum(one.usual for one in _NEAR):
        chosen += _NEAR
    elif left >= _C.usual:
        chosen.append(_C)
    return [*chosen, *closing]
