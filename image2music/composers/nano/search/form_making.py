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
    LONG,
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
    mode_of,
    moved,
    smoothest,
)
from image2music.composers.nano.search.ideas import BarIdeas
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


_KEYS_DRAWN = 6
_SHORT_CLOSES: dict[int, dict[bool, tuple[tuple[str, ...], ...]]] = {
    1: {False: (("G7 C",),), True: (("G7 Cm",),)},
    2: {False: (("C G7", "C"), ("C G", "C")), True: (("Cm G7", "Cm"), ("Cm G", "Cm"))},
    3: {
        False: (("C", "F G7", "C"), ("C Am", "Dm G7", "C"), ("C", "Dm7 G7", "C")),
        True: (("Cm", "Fm G7", "Cm"), ("Cm Ab", "Fm G7", "Cm"), ("Cm", "Dm7b5 G7", "Cm")),
    },
}
"""Closes for a tune of one to three bars, in C major and C minor."""


class FormMaker(BarIdeas):
    """Builds one form; the dice are the seed's."""

    def __init__(
        self, key: Tonality, bars: int, character: Character, device: DeviceName, rng: random.Random, *,
        leads: int, style: HarmonicStyle = "classic", through: bool = False, opening: Sequence[Sequence[Note]] = (),
        meter: str = "4/4", timed: bool = False, loop: bool = False,
    ) -> None:  # fmt: skip
        self.rng, self.character, self.leads, self.opening, self.meter = rng, character, leads, opening, meter
        self.harmonist = Harmonist(style, rng)
        name, phrases = draw_form(bars, character, device, rng, through=through, timed=timed, loop=loop)
        # A short tune has no time to go far and come back.
        away = key if bars < _FAR_FROM and rng.random() < _STAYS else key_away(key, rng)
        self._begin(name, key, away, device)
        self.loop, self.whole = loop, timed and len(phrases) == 1
        self.is_long = timed and bars >= LONG
        purposes = [purpose for purpose, _ in phrases]
        self.has_drive, self.returns = "drive" in purposes, purposes.count("return")
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
        self.second = self.agains = self.episodes = 0
        self.whole = self.is_long = self.loop = False
        self.returns = 0
        self.grows = device not in ("combine", "silence", "shrink") and name != "verse and refrain"
        self.grows = self.grows and self.rng.random() < _GROWING

    # ------------------------------------------------------------ phrases

    def _phrase(
        self, purpose: Purpose, length: int, *, following: Purpose | None = None, given: Sequence[str] = ()
    ) -> None:
        first, form = len(form_tasks := self.form.tasks), self.form
        if self.is_long and purpose == "contrast" and form.sections[-1].purpose != "contrast":
            self._next_episode()
        pace = self.rng.choice(_PACES.get(purpose, (1.0,)))
        if self.character == "driving" and purpose == "contrast":
            pace = self.rng.choice((1.0, 0.94))
        section = FormSection(purpose, SECTION_NAMES[purpose], first, first + length - 1, self._louder(purpose), pace)
        if purpose not in ("intro", "statement", "contrast"):
            section.answers_from = first
        form.sections.append(section)
        ideas, close = self.ideas(purpose, length, first)
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

    def _next_episode(self) -> None:
        """Let an episode lie in another key than the one before, and grow from the theme or have one of its own."""
        if self.episodes:
            keys = [key_away(self.form.key, self.rng) for _ in range(_KEYS_DRAWN)]
            self.form.away = next((key for key in keys if key != self.form.away), self.form.away)
            self.grows = not self.grows
        self.episodes += 1

    def _louder(self, purpose: Purpose) -> int:
        if purpose == "contrast":
            return 0 if self.character in ("calm", "dark") else self.rng.choice((-1, -1, 0))
        if purpose == "climax" and self.character == "calm":
            return 1
        if self.is_long and purpose in ("again", "return"):
            return self.agains % 2
        if purpose == "coda" and self.character in ("driving", "grand", "playful"):
            return 1
        return LOUDER[purpose]

    def _harmony(self, purpose: Purpose, length: int, close: Close) -> tuple[tuple[str, ...], Tonality]:
        home, away, before = self.form.key, self.form.away, self._before()
        draw, ending = partial(self.harmonist.phrase, before=before), partial(self.harmonist.close, home)
        if purpose == "intro":
            return (draw("intro", 2, home) * 2)[:length], home
        if self.whole and length in _SHORT_CLOSES:
            return self._short_close(length), home
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
            ways = [(self.theme_chords * 2)[:way]] if self.climax_returns() else self._ways_up(way)
            ends = [ending(4)[way - length :] for _ in range(3)]
            return smoothest([(*up, *end) for up in ways for end in ends], home, before=before), home
        if self.rng.random() < _CODAS_THAT_CLOSE:
            if length > 2 and self.rng.random() < _TONICS_HELD:
                return (*ending(length - 1, before=before), tonic_symbol(home)), home
            return ending(length, before=before), home
        drawn = [draw("coda", length, home) for _ in range(4)]
        return next((chords for chords in drawn if comes_home(chords, home)), ending(length, before=before)), home

    def _short_close(self, length: int) -> tuple[str, ...]:
        """Draw the chords of a tune of a few bars, those that its opening fits."""
        home, bar, beat = self.form.key, bar_ticks(self.meter), beat_ticks(self.meter)
        closes = _SHORT_CLOSES[length][mode_of(home) in ("minor", "dorian")]
        drawn = [tuple(moved(one, fifths_of(home.tonic)) for one in close) for close in closes]
        self.rng.shuffle(drawn)

        def foreign(chords: tuple[str, ...]) -> float:
            pairs = zip(chords, self.opening, strict=False)
            return round(sum(fits_notes(text, str(home), notes, bar, beat) for text, notes in pairs), 6)

        return min(drawn, key=foreign)

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

    def _singers(self, purpose: Purpose, length: int) -> list[int]:
        if self.leads < 2:
            return [0] * length
        first, other = self.singer, 1 - self.singer
        if purpose == "contrast":
            return [other] * length
        if purpose == "statement" and self.form.device == "call" and length >= 4:
            return [first] * 2 + [other] * (length - 2)
        varied = self.is_long or self.form.name in ("variations", "song")
        if purpose == "again" and varied and self.rng.random() < 0.5:
            return [other] * length
        if purpose in ("return", "climax"):
            return [0] * length
        if purpose == "coda" and self.rng.random() < 0.3:
            return [other] * length
        return [first] * length

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
        if self.whole:
            form.peak = max(0, len(tasks) - 2)
        peak = tasks[form.peak]
        peak.peak = True
        read = read_chord(peak.chords.split()[0])
        after = " ".join(task.chords for task in tasks[form.peak : form.peak + 2]).split()[1:2]
        if read.bass == read.fifth and not any(read_chord(one).root == read.bass for one in after):
            # A highest note wants its chord's root below, or the dominant's, which comes next.
            peak.chords = " ".join([read.symbol.partition("/")[0], *peak.chords.split()[1:]])
        for task in tasks:
            task.near = abs(task.bar - form.peak) <= 2
        if self.loop:
            self._lead_back()
        else:
            self._end()
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
                section.name = f"{base}{counts[base]}" if self.is_long else base + "'" * (counts[base] - 1)

    def _lead_back(self) -> None:
        """Let the last bars go to home's dominant, and the line run into its beginning."""
        tasks = self.form.tasks
        bars = min(2, len(tasks) - 1) or 1
        before = tasks[-bars - 1].chords if len(tasks) > bars else ""
        way = self.harmonist.dominant(bars, self.form.key, before=before, after=tasks[0].chords)
        for task, chords in zip(tasks[-bars:], way, strict=True):
            task.chords, task.key = chords, str(self.form.key)
        tasks[-1].idea, tasks[-1].close = ("lead" if len(tasks) > 1 else "M0"), None

    def _end(self) -> None:
        """Let the tune rest on the tonic when that has come."""
        form, tasks = self.form, self.form.tasks
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
