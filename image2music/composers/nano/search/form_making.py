"""How a form is made: phrase by phrase, its harmony, its singers and the ideas of its bars.

The dice are the seed's; a plan that somebody else made gives phrases and chords instead.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from image2music.composers.nano.gestures import DeviceName
from image2music.composers.nano.pools import HarmonicRole, HarmonicStyle
from image2music.composers.nano.search.form import (
    LOUDER,
    SECTION_NAMES,
    BarTask,
    Close,
    Form,
    FormName,
    FormSection,
    draw_form,
    height_at,
    peak_at,
)
from image2music.composers.nano.search.harmony import (
    Harmonist,
    comes_home,
    fits_notes,
    flow_cost,
    is_strange,
    key_away,
    moved,
    smoothest,
)
from image2music.composers.nano.sketch import Note, Purpose, bar_ticks, beat_ticks
from image2music.composers.suiting import Character
from image2music.music.planning.harmony import tonic_symbol
from image2music.music.theory import Tonality, fifths_of, read_chord

_FAR_FROM, _STAYS = 22, 0.4
_SETTLING: tuple[Purpose, ...] = ("again", "return", "climax", "coda", "drive")
_PACES: dict[Purpose, tuple[float, ...]] = {"contrast": (1.0, 1.06, 0.94), "coda": (0.92,)}
_GROWING = 0.6
"""The share of contrasts that are made from the theme; the others have a theme of their own."""
_CODAS_THAT_CLOSE, _TONICS_HELD = 0.92, 0.4
"""The share of codas that end by the dominant, and of these that hold the tonic for two bars.

Others stay on the tonic, or come to it from the fourth degree."""
_RETURNS: frozenset[Purpose | None] = frozenset({"again", "return", "climax"})
_TIME_TO_COME_BACK = 3
"""The bars of a contrast that has no time for more than one bar of home's dominant."""
_CLIMAX_ROLES: tuple[HarmonicRole, ...] = ("climax", "sequence", "open", "close")
"""Where the harmony of a climax comes from: a foreign chord before every highest note would be a mannerism."""


class FormMaker:
    """Builds one form; the dice are the seed's."""

    def __init__(
        self, key: Tonality, bars: int, character: Character, device: DeviceName, rng: random.Random, *,
        leads: int, style: HarmonicStyle = "classic", through: bool = False, opening: Sequence[Sequence[Note]] = (),
        meter: str = "4/4",
    ) -> None:  # fmt: skip
        self.rng, self.character, self.leads, self.opening, self.meter = rng, character, leads, opening, meter
        self.harmonist = Harmonist(style, rng)
        name, phrases = draw_form(bars, character, device, rng, through=through)
        # A short tune has no time to go far and come back.
        away = key if bars < _FAR_FROM and rng.random() < _STAYS else key_away(key, rng)
        self._begin(name, key, away, device)
        self.has_drive = any(purpose == "drive" for purpose, _ in phrases)
        for number, (purpose, length) in enumerate(phrases):
            self._phrase(purpose, length, following=phrases[number + 1][0] if number + 1 < len(phrases) else None)
        self._finish()

    @classmethod
    def given(
        cls, key: Tonality, phrases: Sequence[tuple[Purpose, int]], chords: Sequence[str], character: Character,
        device: DeviceName, rng: random.Random,
    ) -> FormMaker:  # fmt: skip
        """Return the maker of a form whose phrases and chords are there already, for one lead."""
        maker = cls.__new__(cls)
        maker.rng, maker.character, maker.leads, maker.opening, maker.meter = rng, character, 1, (), "4/4"
        maker.harmonist = Harmonist("classic", rng)
        maker._begin("arch", key, key, device)
        maker.has_drive = any(purpose == "drive" for purpose, _ in phrases)
        for purpose, length in phrases:
            maker._phrase(purpose, length, given=chords)
        maker._finish()
        return maker

    def _begin(self, name: FormName, key: Tonality, away: Tonality, device: DeviceName) -> None:
        self.form = Form(name, device, key, away)
        may_be_low = self.leads > 1 and self.character in ("calm", "flowing", "dark")
        self.singer = self.rng.randrange(self.leads) if may_be_low else 0
        self.has_other = device != "inversion" and name not in ("variations", "miniature")
        self.theme_chords: tuple[str, ...] = ()
        self.second = 0
        self.grows = device not in ("combine", "silence", "shrink") and name != "verse and refrain"
        self.grows = self.grows and self.rng.random() < _GROWING

    # ------------------------------------------------------------ phrases

    def _phrase(
        self, purpose: Purpose, length: int, *, following: Purpose | None = None, given: Sequence[str] = ()
    ) -> None:
        first, form = len(form_tasks := self.form.tasks), self.form
        pace = self.rng.choice(_PACES.get(purpose, (1.0,)))
        if self.character == "driving" and purpose == "contrast":
            pace = self.rng.choice((1.0, 0.94))
        section = FormSection(purpose, SECTION_NAMES[purpose], first, first + length - 1, self._louder(purpose), pace)
        if purpose not in ("intro", "statement", "contrast"):
            section.answers_from = first
        form.sections.append(section)
        ideas, close = self._ideas(purpose, length, first)
        if given:
            chords, key = tuple(given[first : first + length]), form.key
        else:
            chords, key = self._harmony(purpose, length, close)
        back = self._way_back(chords, key) if purpose == "contrast" and following in _RETURNS and not given else ()
        chords = (*chords[: length - len(back)], *back)
        singers = self._singers(purpose, length)
        for at, (idea, text) in enumerate(zip(ideas, chords, strict=True)):
            here = key if at < length - len(back) else form.key
            task = BarTask(
                first + at, text, str(here), idea, height_at(purpose, at, length), len(form.sections) - 1, singers[at]
            )
            task.close = close if at == length - 1 and idea != "rest" else None
            task.starts = at == 0 and idea != "rest"
            task.near = purpose == "climax"
            task.settled = "^" in idea or (at == 0 and purpose in _SETTLING)
            form_tasks.append(task)
        if purpose == "climax":
            form.peak = first + peak_at(length)

    def _louder(self, purpose: Purpose) -> int:
        if purpose == "contrast":
            return 0 if self.character in ("calm", "dark") else self.rng.choice((-1, -1, 0))
        if purpose == "climax" and self.character == "calm":
            return 1
        if purpose == "coda" and self.character in ("driving", "grand", "playful"):
            return 1
        return LOUDER[purpose]

    def _harmony(self, purpose: Purpose, length: int, close: Close) -> tuple[tuple[str, ...], Tonality]:
        home, away, before = self.form.key, self.form.away, self._before()
        draw, ending = partial(self.harmonist.phrase, before=before), partial(self.harmonist.close, home)
        if purpose == "intro":
            return (draw("intro", 2, home) * 2)[:length], home
        if purpose == "statement":
            role: HarmonicRole = "open" if close == "half" else "imperfect" if close == "imperfect" else "close"
            self.theme_chords = self._theme_harmony(role, length)
            return self.theme_chords, home
        if purpose == "again" and self.form.name == "binary":
            return draw("close", length, away), away
        if purpose == "again":
            roles: dict[Close, HarmonicRole] = {
                "full": "close", "imperfect": "imperfect", "deceptive": "deceptive", "half": "open",
            }  # fmt: skip
            begins = self.form.name == "variations" or self.opening or (length >= 4 and self.rng.random() < 0.5)
            return draw(roles.get(close, "close"), length, home, head=self.theme_chords[:2] if begins else ()), home
        if purpose == "contrast":
            if self.form.device == "combine" and self.theme_chords and away.is_minor == home.is_minor:
                chords = (self.theme_chords * 2)[:length]
                return tuple(moved(one, fifths_of(away.tonic) - fifths_of(home.tonic)) for one in chords), away
            return draw("middle", length, away), away
        if purpose == "drive":
            ways = [draw("sequence", 4, home)[: length - 2] for _ in range(3)] if length > 2 else [()]
            after = self.theme_chords[0] if self.theme_chords else ""
            back = [
                (*way, *self.harmonist.dominant(min(2, length), home, before=(before, *way)[-1], after=after))
                for way in ways
            ]
            return smoothest(back, home, before=before, after=after), home
        if purpose == "return":
            if self.form.name == "rondo":
                return draw("close", length, home, head=self.theme_chords[:2]), home
            return (self.theme_chords * 2)[:length] if self.theme_chords else draw("open", length, home), home
        if purpose == "climax":
            if length == 1:
                return ending(2)[-1:], home
            way = length - (length + 1) // 2
            ways = [(self.theme_chords * 2)[:way]] if self._climax_returns() else self._ways_up(way)
            ends = [ending(4)[way - length :] for _ in range(3)]
            return smoothest([(*up, *end) for up in ways for end in ends], home, before=before), home
        if self.rng.random() < _CODAS_THAT_CLOSE:
            if length > 2 and self.rng.random() < _TONICS_HELD:
                return (*ending(length - 1, before=before), tonic_symbol(home)), home
            return ending(length, before=before), home
        drawn = [draw("coda", length, home) for _ in range(4)]
        return next((chords for chords in drawn if comes_home(chords, home)), ending(length, before=before)), home

    def _before(self) -> str:
        """Return the last chord so far."""
        return self.form.tasks[-1].chords if self.form.tasks else ""

    def _ways_up(self, bars: int) -> list[tuple[str, ...]]:
        """Draw what may lead up to the highest note."""
        drawn = [self.harmonist.phrase(self.rng.choice(_CLIMAX_ROLES), max(2, bars), self.form.key) for _ in range(3)]
        return [chords[:bars] for chords in drawn]

    def _way_back(self, chords: Sequence[str], key: Tonality) -> tuple[str, ...]:
        """Return the bars in which a contrast leads back to the home key's dominant, none where it has no time."""
        if len(chords) < _TIME_TO_COME_BACK or self.form.device == "combine" or not self.theme_chords:
            return ()
        bars = 2 if len(chords) > _TIME_TO_COME_BACK else 1
        return self.harmonist.dominant(bars, self.form.key, before=chords[-bars - 1], after=self.theme_chords[0])

    def _theme_harmony(self, role: HarmonicRole, length: int) -> tuple[str, ...]:
        """Draw what the theme stands on: one chord a bar to begin with, and what an opening fits."""
        home, bar, beat = self.form.key, bar_ticks(self.meter), beat_ticks(self.meter)
        tries = 12 if self.opening else 4
        drawn = [self.harmonist.phrase(role, length, home, before=self._before()) for _ in range(tries)]

        def cost(chords: tuple[str, ...]) -> float:
            foreign = sum(
                fits_notes(text, str(home), notes, bar, beat) for text, notes in zip(chords, self.opening, strict=False)
            )
            plain = sum(" " in text for text in chords[:2]) + sum(is_strange(text, str(home)) for text in chords[:2])
            abroad = read_chord(chords[0].split()[0]).root != home.pitch_class
            return round(foreign + 0.7 * plain + 1.0 * abroad + flow_cost(chords, str(home)), 6)

        return min(drawn, key=cost)

    def _climax_returns(self) -> bool:
        """Whether the climax begins with the theme, as no return has come before."""
        return self.form.section_of("return") is None and self.form.name in ("song", "variations", "rondo")

    def _singers(self, purpose: Purpose, length: int) -> list[int]:
        if self.leads < 2:
            return [0] * length
        first, other = self.singer, 1 - self.singer
        if purpose == "contrast":
            return [other] * length
        if purpose == "statement" and self.form.device == "call" and length >= 4:
            return [first] * 2 + [other] * (length - 2)
        if purpose == "again" and self.form.name in ("variations", "song") and self.rng.random() < 0.5:
            return [other] * length
        if purpose in ("return", "climax"):
            return [0] * length
        if purpose == "coda" and self.rng.random() < 0.3:
            return [other] * length
        return [first] * length

    # ------------------------------------------------------------ ideas

    def _ideas(self, purpose: Purpose, length: int, first: int) -> tuple[list[str], Close]:
        make = {
            "intro": self._intro, "statement": self._statement, "again": self._again, "contrast": self._contrast,
            "drive": self._drive, "return": self._return, "climax": self._climax, "coda": self._coda,
        }[purpose]  # fmt: skip
        ideas, close = make(length, first)
        # A plan that somebody else made may have shorter or longer phrases than the forms here.
        fitted = ideas if len(ideas) <= length else [*ideas[: length - 1], ideas[-1]]
        return [*fitted[:-1], *["mx0+mx1"] * (length - len(fitted)), fitted[-1]], close

    def _intro(self, length: int, first: int) -> tuple[list[str], Close]:
        return ["rest"] * length, "open"

    def _statement(self, length: int, first: int) -> tuple[list[str], Close]:
        self.form.theme = first
        sequence = [f"^{first}", f"^{first + 1}" if length > 5 else "mf0+mf1"]
        middle = self.rng.choice((["m0+mo0", "mf0+mf1"], ["m1+mx0+mi0", "mx0+mf0"], ["mf0+mf1", "mx1+m1"], sequence))
        ideas = ["M0", "M1", *middle][: max(1, length - 1)]
        while len(ideas) < length - 1:
            ideas.append("mx0+mx1+mf1")
        last_of_all = self.form.name == "miniature" and length <= 2
        close: Close = (
            "imperfect" if self.form.name == "strophes" and length > 3 and self.rng.random() < 0.5 else "half"
        )
        return [*ideas, "cad+mx1" if length > 2 else "cad"][-length:] if length > 1 else ["cad"], (
            "full" if last_of_all else close
        )

    def _again(self, length: int, first: int) -> tuple[list[str], Close]:
        theme, device = self.form.theme, self.form.device
        close: Close = self.rng.choice(("full", "imperfect", "imperfect", "deceptive"))
        if self.form.name in ("song", "variations"):
            close = self.rng.choice(("full", "imperfect"))
        if device == "silence" and length >= 4:
            self.form.silent = (first + length - 1,)
            return [f"={theme}", f"~{theme + 1}", *["mf0+mf1+mx0"] * (length - 3), "rest"], "open"
        if device == "call":
            return [f"={theme}", "m1+mx1", *["m0+mi0+mx0"] * (length - 3), "cad"], close
        if self.form.name == "strophes":
            # The strophe goes on: a second thought, from the theme's second bar, that ends open.
            self.second = first
            ideas = ["m1+mi1+mf1", "mx0+mi0", f"^{first}+mf0", *["mx1+mf1"] * length]
            return [*ideas[: length - 1], "cad"], "half"
        if self.form.name == "binary":
            self.second = first + length - 2
            ideas = [f"={theme}", "m1+mx1+mo1", f"^{first}+mf0", *["mx0+mf1"] * length]
            return [*ideas[: length - 1], "cad"], "full"
        if self.form.name == "variations":
            return [f"~{theme}", f"~{theme + 1}", *["mo0+mx0+mf1"] * (length - 3), "cad"], close
        if self.rng.random() < 0.75:
            return [f"={theme}", f"~{theme + 1}", *["mf0+mx0+mf1"] * (length - 3), "cad"], close
        return ["mf0+mf1", "mf1+mf0+mx0", *["mx0+mx1+md0"] * (length - 3), "cad"], close

    def _contrast(self, length: int, first: int) -> tuple[list[str], Close]:
        if self.grows and self.form.name not in ("variations", "miniature"):
            return self._growth(length, first), "open"
        if self.form.other is None:
            self.form.other = first
        if self.form.name == "variations":
            theme = self.form.theme
            return [
                f"~{theme}",
                f"~{theme + 1}",
                *["mi0+mx0", "mx1+mi1", "mx0+mf0", "mx1"][: length - 3],
                "cad+mx1",
            ], "open"
        if not self.has_other:
            ideas = ["mi0", "mi1", "mi0+mx0", "mi1+mx1", "mx0+mf0", "mx1"]
            return [*ideas[: length - 1], "mi1+mx1+cad"], "open"
        if first != self.form.other:
            ideas = [f"={self.form.other}", f"~{self.form.other + 1}", "n0+ni0", "nx1", "nx0"]
            return [*ideas[: length - 1], "nx1+cad"], "open"
        if self.form.device == "shrink" and self.has_drive:
            ideas = ["N0", "N1", "n0+n1", "mf0+mf1", "nx0", "mf1"]
            return ideas[:length], "open"
        ideas = ["N0", "N1", "n0+ni0", "nx0+n1", "nx1+n1"]
        if self.form.device == "silence" and not self.form.silent and not self.has_drive and length >= 4:
            self.form.silent = (first + length - 1,)
            return [*ideas[: length - 1], "rest"], "open"
        if self.has_drive:
            return [*ideas[: length - 1], "n1+ni1+nx1"], "open"
        ideas[2] = f"^{first}+mf0"
        return [*ideas[: length - 1], "lead"], "open"

    def _growth(self, length: int, first: int) -> list[str]:
        """Work the theme out: its cell in a new place, in sequence, then in pieces, and a way back."""
        model = self.rng.choice((["mi0", "mf1+mi1"], ["mf1+mf0", "mi0+m1"], ["m1+mx1", "mf0+mi1"], ["mx0+mi0", "m1"]))
        sequence = [f"^{first}", f"^{first + 1}"] if length > 4 else [f"^{first}"]
        model = model[: max(1, length - 2 - (length > 2))][: len(sequence) if length > 4 else 2]
        pieces = ["mf0+mf1+mx0", "mf1+mx1"]
        end = "mf1+mx1+mf0" if self.has_drive else "lead"
        return [*[*model, *sequence, *pieces][: length - 1], end]

    def _drive(self, length: int, first: int) -> tuple[list[str], Close]:
        n = "+n0" if self.has_other else "+mi0"
        if length >= 3 and not self.form.silent and self.form.device in ("shrink", "silence"):
            self.form.silent = (first + length - 1,)
            ideas = ["mf0+mf1", "mf0+mf1+md0", "mg0+mg1", "mg0+mx0"]
            return [*ideas[-(length - 1) :], "rest"], "open"
        ideas = [f"mf0+mf1{n}", f"mf0+mf1{n}", "mx0+mg0+mg1", "mg0+mg1+mx1"]
        if self.rng.random() < 0.6:
            return [*ideas[: length - 1], "lead"], "open"
        return [*ideas[: length - 1], "cad"], "half"

    def _return(self, length: int, first: int) -> tuple[list[str], Close]:
        self.form.back, self.form.payoff = first, first
        return self._theme_back(
            length, close=self.form.name == "rondo"
        ), "imperfect" if self.form.name == "rondo" else "open"

    def _theme_back(self, length: int, *, close: bool = False) -> list[str]:
        theme, device = self.form.theme, self.form.device
        if device == "augmentation":
            ideas = [">0a", ">0b", ">1a", ">1b", "mx1"]
        elif device == "inversion":
            ideas = [f"={theme}", f"~{theme + 1}", "mi0", "mi1+mx1", "mx1"]
        elif device == "call":
            ideas = [f"={theme}", f"={theme + 1}", "m0+mx0", "mx1+m1", "mx1"]
        else:
            again = "=" if device in ("combine", "canon", "inversion") else self.rng.choice("=~")
            ideas = [f"{again}{theme}", f"~{theme + 1}", "mo0+mf0+mi1", "mf1+mx1", "mx1"]
        return [*ideas[: length - 1], "cad" if close else "mx1+m1+cad"]

    def _climax(self, length: int, first: int) -> tuple[list[str], Close]:
        if length == 1:
            return ["cad"], "full"
        if self.form.back is None:
            self.form.payoff = first
        # The way up breaks the theme into cells; at the top it stands whole, and its second bar leads down.
        peak = peak_at(length)
        up = ["mf0+mf1+mx0", "mf0+mf1", "mx0+mf0"][: max(0, peak)]
        ideas = [*up, "m0+mo0", "m1+mo1+mx1", "mx0+mf1", "mx1+mf0"]
        if self.form.back is None and self._climax_returns() and self.form.name != "miniature":
            self.form.back = first
            ideas = [*self._theme_back(5)[:2], *ideas[2:]]
        elif self.form.name == "verse and refrain" and self.form.other is not None:
            ideas = [f"={self.form.other}", f"~{self.form.other + 1}", "nx0+n0", "nx1+n1", "mf0+mx0", "mx1", "m0"]
        elif self.form.name == "strophes" and self.second and length > 3:
            ideas = [f"~{self.second}", f"^{self.second + 1}+mo0", "m0+mo0", "mx0+mf1", "mx1+mf0", "mf1"]
        body = ideas[: length - 2]
        before = "mx1+mo1+mx0+cad"
        if self.form.name == "binary" and self.second and length > 2:
            before = f"~{self.second}+cad"  # both halves end alike
        return [*body, before, "cad"][-length:], "full"

    def _coda(self, length: int, first: int) -> tuple[list[str], Close]:
        device = self.form.device
        choices: tuple[list[str], ...]
        if device == "inversion":
            choices = (["mi0", "mi1"],)
        elif device == "augmentation" and self.form.back is None:
            self.form.payoff = first
            choices = ([">0a", ">0b"],)
        elif device in ("augmentation", "call"):
            choices = (["m0", "m1"],)
        elif device == "silence":
            choices = (["m0+mo0", "mx1"],)
        else:
            choices = ([">0a", ">0b"], ["m0", "mi1+m1"], ["mo0", "mx1"], [f"~{first - 2}", "m0+mx0"])
        ideas = self.rng.choice(choices)
        if length == 2:
            return ["mx1+m0+cad", "cad"], "full"
        if length == 3:
            return [ideas[0], "cad", "rest"], "full"
        return [*ideas, "cad", "rest"], "full"

    # ------------------------------------------------------------ the whole

    def _join_phrases(self) -> None:
        """Let a theme and its second phrase be one section, and a contrast with what it leads to: one accompaniment."""
        joined: list[FormSection] = []
        for section in self.form.sections:
            pair = (joined[-1].purpose, section.purpose) if joined else None
            varied = self.form.name == "variations"
            if not varied and pair in (("statement", "again"), ("contrast", "drive"), ("contrast", "again")):
                joined[-1].last, joined[-1].answers_from = section.last, section.first
            else:
                joined.append(section)
        self.form.sections = joined
        for task in self.form.tasks:
            task.section = next(n for n, one in enumerate(joined) if one.first <= task.bar <= one.last)

    def _finish(self) -> None:
        form, tasks = self.form, self.form.tasks
        peak = tasks[form.peak]
        peak.peak = True
        read = read_chord(peak.chords.split()[0])
        after = " ".join(task.chords for task in tasks[form.peak : form.peak + 2]).split()[1:2]
        if read.bass == read.fifth and not any(read_chord(one).root == read.bass for one in after):
            # A highest note wants its chord's root below, or the dominant's, which comes next.
            peak.chords = " ".join([read.symbol.partition("/")[0], *peak.chords.split()[1:]])
        for task in tasks:
            task.near = abs(task.bar - form.peak) <= 2
        home = tonic_symbol(form.key)
        if (read_chord(tasks[-1].chords.split()[-1]).root - form.key.pitch_class) % 12 or " " in tasks[-1].chords:
            tasks[-1].chords = home
        sung = [task for task in tasks if task.idea != "rest"]
        if sung[-1] is not tasks[-1] and any(
            (read_chord(one).root - form.key.pitch_class) % 12 for one in sung[-1].chords.split()
        ):
            # The tune rests where the tonic has come, not before.
            tasks[-1].idea = "cad"
            sung.append(tasks[-1])
        sung[-1].last, sung[-1].close = True, "full"
        if "cad" not in sung[-1].idea:
            sung[-1].idea = "cad"
        if form.device in ("shrink", "silence", "combine", "canon") and form.back is not None:
            form.payoff = form.back
        if form.device == "inversion" and form.other is not None:
            form.payoff = form.other if form.back is None else form.back + 2
        self._join_phrases()
        counts: dict[str, int] = {}
        for section in form.sections:
            base = section.name
            if base in ("A", "B"):
                counts[base] = counts.get(base, 0) + 1
                section.name = base + "'" * (counts[base] - 1)
