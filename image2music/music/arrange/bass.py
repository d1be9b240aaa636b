"""The bass: the plan's basses placed as a line, and a pattern for each section between them.

Which octave each chord's bass takes is found by dynamic programming (small steps, no parallels with the tune); patterns
then go from bass to bass by fifths, thirds and approach notes. A root stands at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from image2music.music.arrange.figures import goes_twice_as_fast
from image2music.music.arrange.stage import ArrangingStage, words_of_bar
from image2music.music.arrange.timeline import EIGHTH, ChordSpan, PlacedNote, cheapest_path, goes_along, longest_tone
from image2music.music.planning.plan import Family, Section
from image2music.music.theory import TICKS_PER_QUARTER

# An eighth a token: R the bass, 5 the fifth, 3 another tone of the chord, 8 the octave, A an approach to what follows,
# v the same an octave lower (or higher), u a scale step against the tune, - holds, . rests.
_PATTERNS: dict[str, dict[str, tuple[str, str]]] = {
    "pedal": {"4/4": ("R - - - - - - -", "R - - - - - - -"), "3/4": ("R - - - - -", "R - - - - -"),
              "6/8": ("R - - - - -", "R - - - - -")},
    "long": {"4/4": ("R - - - - - - -", "R - - - - - A -"), "3/4": ("R - - - - -", "R - - - A -"),
             "6/8": ("R - - - - -", "R - - - - A")},
    "two": {"4/4": ("R - - - 5 - - -", "R - - - 5 - A -"), "3/4": ("R - - - 5 -", "R - - - A -"),
            "6/8": ("R - - 5 - -", "R - - 5 - A")},
    "dotted": {"4/4": ("R - - 5 R - - -", "R - - 5 R - A -"), "3/4": ("R - - 5 R -", "R - - 5 A -"),
               "6/8": ("R - 5 R - -", "R - 5 R - A")},
    "root": {"4/4": ("R - - - - - . .", "R - - - . . A -"), "3/4": ("R - - - . .", "R - . . A -"),
             "6/8": ("R - - . . .", "R - - . . A")},
    "steps": {"4/4": ("R - 5 - R - 5 -", "R - 5 - R - A -"), "3/4": ("R - 5 - 3 -", "R - 3 - A -"),
              "6/8": ("R - 5 R - 5", "R - 5 R - A")},
    "moving": {"4/4": ("R - - - 3 - 5 -", "R - - - 5 - A -"), "3/4": ("R - 3 - 5 -", "R - 5 - A -"),
               "6/8": ("R - 5 3 - A", "R - 3 5 - A")},
    "walk": {"4/4": ("R - 3 - 5 - A -", "R - 5 - 3 - A -"), "3/4": ("R - 3 - A -", "R - 5 - A -"),
             "6/8": ("R - 3 5 - A", "R - 5 3 - A")},
    "pulse": {"4/4": ("R R R R R R 5 5", "R R R R 5 5 A A"), "3/4": ("R R R R 5 5", "R R R R A A"),
              "6/8": ("R - R R - R", "R - R R - A")},
    "octaves": {"4/4": ("R - 8 - R - 8 -", "R - 8 - 5 - A -"), "3/4": ("R - 8 - 5 -", "R - 8 - A -"),
                "6/8": ("R - 8 5 - 8", "R - 8 5 - A")},
    "arch": {"4/4": ("R - 5 - X - 5 -", "R - 5 - X - A -"), "3/4": ("R - 5 - X -", "R - 5 - A -"),
             "6/8": ("R 5 8 X 8 5", "R 5 8 5 - A")},
    "rock": {"4/4": ("R 5 8 5 R 5 8 5", "R 5 8 5 X - A -"), "3/4": ("R 5 8 5 8 5", "R 5 8 5 A -"),
             "6/8": ("R - 5 8 - 5", "R - 5 8 - A")},
    "leap": {"4/4": ("R - 8 - 5 - 8 -", "R - 8 - 5 - A -"), "3/4": ("R - 8 - 5 -", "R - 5 - A -"),
             "6/8": ("R - 8 5 - 8", "R - 8 5 - A")},
    "swing": {"4/4": ("R - - 5 X - - 5", "R - - 5 8 - A -"), "3/4": ("R - 5 - X -", "R - 5 - A -"),
              "6/8": ("R - 5 X - 5", "R - 5 X - A")},
    "habanera": {"4/4": ("R - - 5 8 - 5 -", "R - - 5 8 - A -"), "3/4": ("R - - 5 A -", "R - - 5 8 -"),
                 "6/8": ("R - 5 R - A", "R - 5 8 - 5")},
    "short": {"4/4": ("R . . . 5 . . .", "R . . . 5 . A ."), "3/4": ("R . . . . .", "R . . . A ."),
              "6/8": ("R . . 5 . .", "R . . 5 . A")},
    "march": {"4/4": ("R . 5 . R . 5 .", "R . 5 . R . A ."), "3/4": ("R . 5 . 5 .", "R . 5 . A ."),
              "6/8": ("R . 5 R . 5", "R . 5 R . A")},
}  # fmt: skip
_BY_LEVEL = (
    ("pedal", "long", "root"),
    ("long", "two", "root", "dotted"),
    ("two", "long", "dotted", "moving"),
    ("moving", "two", "dotted", "steps"),
    ("steps", "walk", "octaves", "dotted"),
    ("octaves", "pulse", "walk"),
)
_BY_FAMILY: dict[Family, tuple[str, ...]] = {
    "pad": ("pedal", "long"), "pulse": ("pulse", "octaves"), "waltz": ("root", "short"),
    "ostinato": ("steps", "habanera"), "pizzicato": ("short", "march"), "chorale": ("moving", "walk"),
    "offbeat": ("march", "short"), "wave": ("two", "long"), "broken": ("dotted", "two"),
    "alberti": ("two", "moving"), "tremolo": ("pulse",), "arpeggio": ("long", "two"),
}  # fmt: skip
_FOR_HANDS = (("arch", "swing", "two"), ("arch", "rock", "leap", "swing"), ("leap", "rock", "octaves"))
_CHORDAL: frozenset[Family | None] = frozenset({"pad", "chorale", "pulse", "offbeat", "waltz", "pizzicato"})
_DETACHED = frozenset({"short", "march"})
_OWN = "own"
_BELOW_FIGURES = 53
_LEGATO = frozenset({"pedal", "long", "two", "moving", "root", "dotted", "steps", "walk", "arch", "swing"})
_STANDING = frozenset({"long", "two", "moving", "root", "dotted"})
_OWN_WORDS = frozenset("R538XAuv")
"""What a plan's own pattern may have beside `-` and `.`: the words of `_PATTERNS`."""


def set_bass(stage: ArrangingStage) -> None:
    """Set the bass of every bar whose voice has the role bass, or has to take it while it holds."""
    for voice in stage.voices:
        bars = [
            bar for bar in range(stage.bars)
            if stage.bass_voice[bar] == voice and not stage.is_written(voice, bar)
            and stage.roles[voice, bar] in ("bass", "hold")
        ]  # fmt: skip
        if bars:
            _Bass(stage, voice, bars).run()


class _Bass:
    def __init__(self, stage: ArrangingStage, voice: int, bars: Sequence[int]) -> None:
        self.stage, self.voice = stage, voice
        self.instrument = stage.instruments[voice]
        self.low, self.high = stage.range_of(voice, bars[0])
        reach = 26 if self.instrument.chords > 4 else 21
        self.high = max(self.low + 11, min(self.high, self.low + reach)) if self.high > self.low + 11 else self.high
        self.spans = stage.spans_of(bars)
        self.last_move = next((span for span in reversed(stage.spans) if span.chord.root != stage.tonic), None)
        self.styles: dict[str, str] = {}
        self.rich: dict[str, bool] = {}

    def run(self) -> None:
        stage = self.stage
        path = self._path()
        for number, (span, pitch) in enumerate(zip(self.spans, path, strict=True)):
            joined = number + 1 < len(path) and self.spans[number + 1].on == span.end
            self._fill(span, pitch, path[number + 1] if joined else None)
        stage.out[self.voice].sort(key=lambda note: note.on)
        self._hold_on()

    def _bass_of(self, span: ChordSpan) -> int:
        """The bass's pitch class: at the very end the root."""
        if span.bar == self.stage.final and span.chord.root == self.stage.tonic:
            return span.chord.root
        return span.chord.bass

    def _path(self) -> list[int]:
        stage = self.stage
        wanted = max(self.low, self.instrument.comfortable_low - 3) + 7
        rows, node = [], []
        for span in self.spans:
            tone = self._bass_of(span)
            row = [p for p in range(self.low, self.high + 1) if p % 12 == tone]
            row = row or [self._nearest(tone)]
            deep = span.bar in (stage.climax, stage.final)
            rows.append(row)
            node.append([12 * abs(p - wanted + 4 * deep) + 40 * (p < self.low + 3 and not deep) for p in row])
        tunes = [stage.tune_at(span.on) for span in self.spans]

        def move(number: int, j: int, k: int) -> int:
            return self._leap(rows[number - 1][j], rows[number][k], tunes[number - 1], tunes[number])

        return [row[at] for row, at in zip(rows, cheapest_path(node, move), strict=True)]

    def _nearest(self, tone: int) -> int:
        """The pitch of the range nearest to a pitch class that it doesn't hold."""
        return min(range(self.low, self.high + 1), key=lambda p: (min((p - tone) % 12, (tone - p) % 12), p))

    @staticmethod
    def _leap(before: int, now: int, tune_before: int | None, tune_now: int | None) -> int:
        away = abs(now - before)
        cost = 10 * away + 150 * (away > 7) + 400 * (away > 12) + 150 * (away in (6, 10, 11))
        if tune_before is not None and tune_now is not None and tune_before != tune_now and before != now:
            same = (tune_before - before) % 12 == (tune_now - now) % 12 and (tune_now - now) % 12 in (0, 7)
            cost += 250 * (same and (now - before) * (tune_now - tune_before) > 0)
        return cost

    def _style(self, section: Section) -> str:
        """Return the section's pattern: by family where the plan names one, else by loudness; never twice running."""
        if section.name in self.styles:
            return self.styles[section.name]
        stage = self.stage
        part = section.part_of(self.voice)
        own = words_of_bar(part.degrees, stage.length)
        if own and _OWN_WORDS.issuperset(word for _, _, word in own):
            self.styles[section.name] = _OWN
            return _OWN
        names: Sequence[str] = _BY_LEVEL[stage.levels[section.first - 1]]
        if part.family in _BY_FAMILY:
            names = _BY_FAMILY[part.family]
        elif self._is_free(section):
            names = _FOR_HANDS[stage.levels[section.first - 1] // 2]
        elif part.role == "hold":
            names = ("pedal", "long")
        elif longest_tone(self.instrument, section.qpm, stage.length) <= stage.length // 2:
            names = ("short", "march") if self.instrument.kind != "plucked" or self.instrument.program == 45 else names
            names = [name for name in names if name not in ("pedal", "long")] or ("two", "root")
        chords = {span.chord.symbol for span in self.spans if span.bar in range(section.first - 1, section.last)}
        if len(chords) == 1 and stage.levels[section.first - 1] <= 1 and self.instrument.sustains:
            names = ("pedal",)
        last = next(reversed(self.styles.values()), "")
        fresh = [name for name in names if last in ("", _OWN) or _onsets(name, stage) != _onsets(last, stage)]
        names = fresh or [name for name in names if name != last] or names
        self.styles[section.name] = names[int(stage.rng.integers(len(names)))]
        return self.styles[section.name]

    def _is_free(self, section: Section) -> bool:
        """Whether a hand on keys or strings of its own may move: no other voice has a moving figure here."""
        if (
            self.instrument.chords < 5
            or self.instrument.kind not in ("keys", "plucked")
            or self.instrument.program == 45
        ):
            return False
        moving = {part.family for part in section.parts if part.role == "figure" and part.voice in self.stage.voices}
        return moving <= _CHORDAL

    def _fill(self, span: ChordSpan, pitch: int, after: int | None) -> None:
        stage = self.stage
        section = stage.sections[span.bar]
        name = self._style(section)
        notes = stage.out[self.voice]
        stage.light[self.voice, span.bar] = name in _DETACHED
        if span.bar == stage.final:
            deep = span.end == stage.end and pitch - 12 >= self.low and stage.levels[span.bar] >= 3
            notes.append(PlacedNote(span.on, span.dur, (pitch - 12 if deep else pitch,)))
            return
        place = span.bar - (section.first - 1)
        near = after is None or abs(after - pitch) <= 2 or after % 12 == pitch % 12
        follows = self._follows_tune(span, pitch, after)
        turn = span.bar == section.last - 1 or place % 4 == 3 or place % 2 == 1
        if span is self.last_move and name in _LEGATO:
            # The last close stands: root, dominant, root.
            tokens = self._closing(span, pitch)
        elif span.bar == section.last - 1 and span.dur == stage.length and near and name in _STANDING:
            tokens = self._closing(span, pitch)
        else:
            varied = (turn and not near) or follows or (name in ("walk", "dotted") and turn)
            tokens = self._tokens(name, span, 1 if varied and after is not None else 0)
        self._write(span, tokens, pitch, after)

    def _follows_tune(self, span: ChordSpan, pitch: int, after: int | None) -> bool:
        stage = self.stage
        before, now = stage.tune_at(span.end - 1), stage.tune_at(span.end)
        if after is None or after == pitch or before is None or now is None:
            return False
        return (before - pitch) % 12 == (now - after) % 12 and (now - after) % 12 in (0, 7)

    def _closing(self, span: ChordSpan, pitch: int) -> list[tuple[int, int, str]]:
        """A section's last bar stands on its bass, in two octaves where there is room."""
        half = self.stage.shape.half
        two = half < span.dur and span.chord.bass == span.chord.root and self.low <= pitch - 12
        return [(0, half, "R"), (half, span.dur - half, "v")] if two else [(0, span.dur, "R")]

    def _tokens(self, name: str, span: ChordSpan, which: int) -> list[tuple[int, int, str]]:
        """Return (at, length, token) of a pattern, cut to a chord's stretch."""
        if name == _OWN:
            return self._own_tokens(span, which)
        found: list[tuple[int, int, str]] = []
        qpm = self.stage.sections[span.bar].qpm
        start = 0
        for meter, ticks in self.stage.shape.parts:
            words = _PATTERNS[name][meter][which].split()
            if start and which and ticks < len(words) * EIGHTH:
                words = words[-ticks // EIGHTH :]  # part of a bar at its end leads on as the whole would
            grain = EIGHTH * max(1, ticks // (len(words) * EIGHTH))
            is_half = meter != "6/8" and ticks * 2 == len(words) * EIGHTH == self.stage.length * 2
            if is_half and set(words[1::2]) == {"-"} and goes_twice_as_fast(words, EIGHTH, qpm):
                grain //= 2  # a bar of two quarters; a part of a bar takes a part of the pattern
            for number, word in enumerate(words):
                at = start + number * grain
                if at >= min(start + ticks, span.dur):
                    break
                room = min(grain, start + ticks - at, span.dur - at)
                if word == "-":
                    if found and sum(found[-1][:2]) == at:
                        found[-1] = (found[-1][0], found[-1][1] + room, found[-1][2])
                elif word != ".":
                    is_fifth = word == "R" and start and number == 0 and name not in ("pedal", "long")
                    found.append((at, room, "5" if is_fifth else word))
            start += ticks
        if name in ("pedal", "long") and found and found[-1][2] in "R5" and len(found) > 1:
            found = [(0, span.dur, "R")]
        return found or [(0, span.dur, "R")]

    def _own_tokens(self, span: ChordSpan, which: int) -> list[tuple[int, int, str]]:
        """Return the stretch's part of the plan's own pattern: it begins on the bass, varied it ends approaching."""
        pattern = words_of_bar(self.stage.sections[span.bar].part_of(self.voice).degrees, self.stage.length)
        start = span.on % self.stage.length
        spots = [(max(at - start, 0), min(at + dur - start, span.dur), word) for at, dur, word in pattern]
        found = [(at, end - at, word) for at, end, word in spots if at < end] or [(0, span.dur, "R")]
        found[0] = (*found[0][:2], "R")
        if which and len(found) > 1:
            found[-1] = (*found[-1][:2], "A")
        return found

    def _write(self, span: ChordSpan, tokens: list[tuple[int, int, str]], pitch: int, after: int | None) -> None:
        stage = self.stage
        longest = longest_tone(self.instrument, stage.sections[span.bar].qpm, stage.length)
        before = pitch
        left = [token for _, _, token in tokens].count("A")
        for at, dur, token in tokens:
            tick = span.on + at
            new = self._pitch(span, tick, dur, token, pitch, before, after, left)
            left -= token == "A"
            if at:
                is_last = (at, dur, token) == tokens[-1]
                new = self._independent(span, tick, dur, new, before, after if is_last else None)
            pitches = self._thickened(span, tick, dur, new)
            stage.out[self.voice].append(
                PlacedNote(tick, min(dur, longest), pitches, light=stage.light[self.voice, span.bar])
            )
            before = new

    def _independent(self, span: ChordSpan, tick: int, dur: int, pitch: int, before: int, after: int | None) -> int:
        """Return the pitch, or a tone beside it by which the bass makes no octaves or fifths with the tune."""
        stage = self.stage
        earlier, here, later = (stage.tune_at(t) for t in (tick - 1, tick, tick + dur))

        def follows(one: int) -> int:
            found = goes_along(earlier, here, before, one)
            return found + (goes_along(here, later, one, after) if after is not None else 0)

        if not follows(pitch):
            return pitch
        able = [
            p for p in range(self.low, self.high + 1) if abs(p - before) <= 9 and p != before and p % 12 in span.own
        ]
        if not self._says_chord(tick, dur):
            able += [span.step(before, 1), span.step(before, -1)]
        able = [p for p in able if self.low <= p <= self.high and p != after and not follows(p)]
        return min(
            able,
            key=lambda p: (30 * self._rub(p, tick, dur) + 20 * abs(p - pitch) + 60 * (p % 12 not in span.own), p),
            default=pitch,
        )

    def _thickened(self, span: ChordSpan, tick: int, dur: int, pitch: int) -> tuple[int, ...]:
        """Give a bass that can play chords octaves where it is loud, fifths or tenths under long quiet tones."""
        stage = self.stage
        level = stage.levels[span.bar]
        if span.bar == stage.climax and tick == span.on and self.instrument.chords > 1 and pitch - 12 >= self.low:
            return pitch - 12, pitch
        if self.instrument.chords <= 2 or not self._is_rich(span.bar) or stage.light[self.voice, span.bar]:
            return (pitch,)
        if level >= 3:
            other = pitch - 12 if pitch - 12 >= self.low else pitch + 12
            return tuple(sorted((pitch, other))) if tick == span.on and self.low <= other <= self.high else (pitch,)
        if dur < 2 * TICKS_PER_QUARTER:
            return (pitch,)
        able = [
            other
            for other in (pitch + 7, pitch + 16, pitch + 15, pitch + 12)
            if other % 12 in span.own and other <= stage.range_of(self.voice, span.bar)[1]
            and (pitch >= 41 or other - pitch > 7) and stage.clash(other, tick, dur) < 8
        ]  # fmt: skip
        return (pitch, able[0]) if able else (pitch,)

    def _is_rich(self, bar: int) -> bool:
        """Whether a section's bass is thickened: drawn for each, always from `f` on."""
        section = self.stage.sections[bar]
        if section.name not in self.rich:
            self.rich[section.name] = self.stage.levels[bar] >= 4 or int(self.stage.rng.integers(3)) > 0
        return self.rich[section.name]

    def _pitch(
        self, span: ChordSpan, tick: int, dur: int, token: str, pitch: int, before: int, after: int | None, left: int
    ) -> int:
        chord = span.chord
        if token == "v":
            return pitch - 12 if pitch - 12 >= self.low else pitch
        if token == "X":
            third = chord.third if chord.third is not None else chord.fifth
            highest = min(self.high, pitch + 19, self._ceiling(span.bar))
            tenths = [p for p in range(pitch + 12, highest + 1) if p % 12 == third]
            if tenths and self._rub(tenths[0], tick, dur) < 8:
                return tenths[0]
        if token in "8X" and pitch + 12 <= min(self.high, self._ceiling(span.bar)):
            return pitch + 12
        if token == "5":
            tones = (chord.fifth,) if chord.bass == chord.root else (chord.root, chord.fifth)
            able = [
                p
                for p in range(self.low, self.high + 1)
                if p % 12 in tones and p not in (pitch, before) and abs(p - pitch) <= 9
                and p <= max(pitch, self._ceiling(span.bar))
            ]  # fmt: skip
            goal = after if after is not None else pitch
            return min(
                able,
                key=lambda p: (20 * abs(p - pitch - 5) + 15 * abs(p - goal) + 30 * self._rub(p, tick, dur), p),
                default=pitch,
            )
        if token in "38X":
            able = [
                p
                for p in range(self.low, self.high + 1)
                if p % 12 in span.own and p != before and p % 12 != pitch % 12 and abs(p - before) <= 7
                and p <= max(pitch, self._ceiling(span.bar))
            ]  # fmt: skip
            goal = after if after is not None else pitch
            return min(
                able,
                key=lambda p: (20 * abs(p - before) + 20 * abs(p - goal) + 30 * self._rub(p, tick, dur), p),
                default=pitch,
            )
        if token == "A" and after is not None and after % 12 == chord.bass:
            # Nothing new is approached: a passing note would lead nowhere.
            return self._pitch(span, tick, dur, "5", pitch, before, after, left)
        if token in "Au" and self._says_chord(tick, dur):
            passing = self._between(span, tick, dur, before, after)
            return passing or self._pitch(span, tick, dur, "3", pitch, before, after, left)
        if token == "u":
            sung = self.stage.tune.between(span.on, span.end)
            way = -1 if len(sung) > 1 and sung[-1].pitches[0] > sung[0].pitches[0] else 1
            able = [
                p
                for p in (span.step(before, way), span.step(before, -way), span.step(before, 2 * way))
                if self.low <= p <= self.high
            ]
            return min(
                able,
                key=lambda p: (30 * self._rub(p, tick, dur) + 50 * able.index(p) + 80 * (p == after), p),
                default=pitch,
            )
        return self._approach(span, tick, dur, before, after, left) if token == "A" else pitch

    def _ceiling(self, bar: int) -> int:
        """Return how high the bass goes up its chord: not into the register of what accompanies beside it."""
        stage = self.stage
        figured = any(stage.roles[voice, bar] in ("figure", "hold") for voice in stage.voices if voice != self.voice)
        return _BELOW_FIGURES if figured else self.high

    def _says_chord(self, tick: int, dur: int) -> bool:
        """Whether a note must belong to its chord: what is long on a beat; only what is short passes."""
        return self.stage.is_beat(tick) and dur >= TICKS_PER_QUARTER

    def _between(self, span: ChordSpan, tick: int, dur: int, before: int, after: int | None) -> int | None:
        """Return the step between two tones a third apart, on a weak beat where it rubs nothing."""
        if after is None or abs(after - before) not in (3, 4) or self.stage.is_strong(tick):
            return None
        step = span.step(before, 1 if after > before else -1)
        rubs = self._rub(step, tick, dur) or self.stage.rub_with_set(self.voice, step, tick, dur)
        return None if rubs or dur > TICKS_PER_QUARTER or step == after else step

    def _rub(self, pitch: int, tick: int, dur: int) -> int:
        return self.stage.clash(pitch, tick, dur)

    def _approach(self, span: ChordSpan, tick: int, dur: int, before: int, after: int | None, left: int) -> int:
        """Return the note `left` steps before the next bass, from the side that the last one lies on."""
        stage = self.stage
        if after is None:
            able = [p for p in range(self.low, self.high + 1) if p % 12 in span.own]
            return min(able, key=lambda p: (abs(p - before), p), default=before)
        side = 1 if before > after else -1
        if abs(before - after) <= 2 and left == 1 and self.low <= after - 2 * side <= self.high:
            side = -side
        able = [span.step(after, side * left), span.step(after, -side * left)]
        # What is no chord tone comes by step as it goes.
        able = [p for p in able if p % 12 in span.own or abs(p - before) <= 2]
        able += [p for p in range(self.low, self.high + 1) if p % 12 in span.own and p != after]
        able = [p for p in able if self.low <= p <= self.high]
        t0, t1 = stage.tune_at(tick + dur - 1), stage.tune_at(tick + dur)
        perfect = t0 is not None and t1 is not None and left == 1 and t0 != t1 and (t1 - after) % 12 in (0, 7)

        def cost(pitch: int) -> tuple[int, int]:
            total = (
                30 * self._rub(pitch, tick, dur) + 10 * abs(pitch - before) + 30 * abs(abs(pitch - after) - 2 * left)
            )
            if perfect and t0 is not None and t1 is not None:
                total += 300 * ((t1 - t0) * (after - pitch) > 0 and (t0 - pitch) % 12 == (t1 - after) % 12)
            return total + 160 * (pitch == before), pitch

        return min(able, key=cost, default=before)

    def _hold_on(self) -> None:
        """Tie a pedal's equal notes together, over bars of one section."""
        stage = self.stage
        joined: list[PlacedNote] = []
        for note in stage.out[self.voice]:
            bar = note.on // stage.length
            still = self.styles.get(stage.sections[bar].name) == "pedal" and bar != stage.final
            last = joined[-1] if joined else None
            room = 4 * stage.length if self.instrument.sustains else 0
            if last and still and last.pitches == note.pitches and last.end == note.on and last.dur + note.dur <= room \
                    and stage.sections[last.on // stage.length] is stage.sections[bar]:  # fmt: skip
                last.dur += note.dur
            else:
                joined.append(note)
        stage.out[self.voice] = joined


def _onsets(name: str, stage: ArrangingStage) -> tuple[int, ...]:
    """Return where a pattern strikes in a bar, or in the first part of it."""
    return tuple(at for at, one in enumerate(_PATTERNS[name][stage.shape.parts[0][0]][0].split()) if one not in "-.")
