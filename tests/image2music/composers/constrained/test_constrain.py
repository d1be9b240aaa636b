"""Constrained decoding, driven by random scores: whatever the network prefers, the tune must pass the check."""

import re
from itertools import pairwise

import numpy as np
import pytest
import tiny_vlms
import torch
from chat_fakes import TUNE
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.parser import parse
from image2music.composers.constrained.bars import BarCounter, closing_letters, letters_to_close
from image2music.composers.constrained.constraint import (
    AbcConstraint,
    AbcVocabulary,
    ConstrainedLinesState,
    ConstrainedTuneState,
)
from image2music.composers.constrained.forms import BarsOfLine, LinesForm, TuneForm, pattern_of, tune_pattern
from image2music.errors import ConfigError, ModelError

HEADER = "X:1\nT:A\nM:3/4\nL:1/8\nK:G\n"
TWO_VOICES = HEADER + "V:1\nV:2\n"
GRAMMAR = tune_pattern(2)
MOST_TOKENS = 300


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = tiny_vlms.tokenizer_of("llava")
    return AbcVocabulary(tokenizer, [tokenizer.eos_token_id], len(tokenizer))


def errors(abc):
    return [str(finding) for finding in check(abc) if finding.severity is Severity.ERROR]


def bars(abc):
    """Bars of each voice."""
    spans = parse(abc).tunes[0].spans
    return {voice: max(span.bar for span in spans if span.voice == voice) for voice in {span.voice for span in spans}}


def written(vocabulary, seeds, steps=MOST_TOKENS):
    """int[seeds][steps]: random tokens, one tune a seed."""
    rule = AbcConstraint(vocabulary, len(seeds), MOST_TOKENS)
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    tokens = torch.full((len(seeds), 1), 5)
    for _ in range(steps):
        scores = torch.stack([torch.rand(vocabulary.size, generator=die) * 4 for die in dice])
        scores = rule(tokens, scores)
        tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], 1)
    return tokens[:, 1:].tolist()


def text(vocabulary, row):
    return vocabulary.tokenizer.decode_bytes([token for token in row if token not in vocabulary.eos]).decode()


def test_every_tune_from_random_scores_ends_in_time_and_passes_the_check(vocabulary):
    for row in written(vocabulary, range(12)):
        abc = text(vocabulary, row)
        assert set(row) & vocabulary.eos
        assert re.fullmatch(GRAMMAR, abc)
        assert errors(abc) == [], abc
        assert set(bars(abc)) == {"1", "2"}
        assert len(set(bars(abc).values())) == 1


def test_a_model_that_writes_a_good_tune_is_let_do_so(vocabulary):
    rule, tokens = AbcConstraint(vocabulary, 1, MOST_TOKENS), [5]
    for wanted in [*(vocabulary.letters[letter] for letter in TUNE), *vocabulary.eos]:
        scores = torch.zeros(1, vocabulary.size)
        scores[0, wanted] = 1.0
        tokens.append(int(rule(torch.tensor([tokens]), scores).argmax()))
    assert text(vocabulary, tokens[1:]) == TUNE


def test_a_row_writes_the_same_alone_and_in_a_batch(vocabulary):
    together = written(vocabulary, [1, 2, 3], steps=60)
    assert written(vocabulary, [2], steps=60)[0] == together[1]


def test_a_model_that_rules_out_all_that_is_left_is_told_so(vocabulary):
    with pytest.raises(ModelError, match="no token"):
        AbcConstraint(vocabulary, 1)(
            torch.zeros((1, 1), dtype=torch.int64), torch.full((1, vocabulary.size), -torch.inf)
        )


def test_a_tune_as_the_prompt_asks_for_keeps_to_the_grammar():
    assert re.fullmatch(GRAMMAR, TUNE)
    assert BarCounter().after(TUNE).may_end


@pytest.mark.parametrize(("voices", "matches"), [(1, False), (2, True), (3, False)])
def test_a_grammar_has_its_number_of_voices(voices, matches):
    assert bool(re.fullmatch(tune_pattern(voices), TUNE)) is matches


def test_a_number_of_voices_that_cannot_work_is_refused():
    with pytest.raises(ConfigError):
        tune_pattern(5)


@pytest.mark.parametrize(
    "music",
    [
        "(G6 | A6) |]",
        "(G !p!.A) B4 |]",
        "!<(!G4 A2 !<)! | {ga}c6 |]",
        "((3GAB c4) | d6 |]",
        "[Q:1/4=72] G6 |]",
        "!>!G6 |]",
        "G6 |\n% bars 2-3: G | D\nA6 |]",
        "!<(!G6 | !<)!A6 |]",
        "(G4 !>(!A2 ) !>)!| z6 |]",
        "G6 |]",
        "G2 A2 B2 |]",
        "(3GAB c4 |]",
        "[GBd]3 z3/2 G3/2 |]",
        "G/A/B/c/ d4- | d6 |]",
        "|: ^F6 :|",
        "G5 z/2z/ |]",
    ],
)
def test_full_bars_are_let_through(music):
    assert BarCounter().after(HEADER + music).may_end
    assert errors(HEADER + music) == []


@pytest.mark.parametrize(
    "music",
    [
        "G5 |",
        "G8 ",
        "G64",
        "G6 A",
        "G6 [",
        "(3GAB (3GAB z2 (",
        "G13/2",
        "G5 (3",
        "G6 ^",
        "G4 A3 ",
        "G6 !",
        "G6.",
        "G6 {",
        "G)",
        "(G2 (A",
        "(G5 (",
        "(G6 |]",
        "(G6 |\n",
        "!<(!G6 |]",
        "!<(!G !<(",
        "!<(!G !>)",
        "!>)",
        "!>(!G !<",
    ],
)
def test_bars_that_cannot_come_out_are_refused_at_once(music):
    assert BarCounter().after(HEADER + music) is None


@pytest.mark.parametrize("music", ["G6", "G", "G1", "G5 A", "(3G", "[GB", "G6 |", "G3/"])
def test_a_tune_does_not_end_inside_a_bar_or_before_its_last_sign(music):
    counter = BarCounter().after(HEADER + music)
    assert counter is not None
    assert not (counter.may_end and re.fullmatch(tune_pattern(1), HEADER + music))


def test_a_tune_does_not_end_before_all_its_voices_have_the_same_bars():
    two = TWO_VOICES + "[V:1] G6 | A6 |]\n[V:2] G,6 |"
    assert not BarCounter().after(two).may_end
    assert BarCounter().after(two + " D,6 |]\n").may_end


def test_a_tune_that_must_end_at_once_still_has_a_note(vocabulary):
    walk = Walk(vocabulary, TWO_VOICES)
    assert errors(walk.to_the_end()) == []


def test_a_voice_that_was_not_declared_is_refused():
    assert BarCounter().after(TWO_VOICES + "[V:3]") is None


@given(st.lists(st.integers(0, len(TUNE)), max_size=8))
def test_a_tune_may_come_in_any_pieces(cuts):
    counter, places = BarCounter(), [0, *sorted(cuts), len(TUNE)]
    for start, end in pairwise(places):
        counter = counter.after(TUNE[start:end])
    assert counter == BarCounter().after(TUNE)


MUSIC = (
    TWO_VOICES + "[V:1] |: G3/2A/ (3Bcd ^e'2- | e'6 | [CE^G]3[_B,D]/4 z11/4 | G,,6 :|\n"
    "[V:2]G12/4 A3|[GBd]6|]\n[V:2] (3 G A B z4 |z2z2z2 |]\n% bars 5-7: G | D7\n"
    "[V:1] [Q:1/4=72] !pp!(G2 .A {gab}[GB]3-|!<(![GB]6)!<)! | ((3GAB !mf!!>(!c2 !>)!.d)d |]\n"
    "[V:2] {_g}G6|(A4 !sfz!B2 ) | !<(!G4!>!A2!<)!|]\n"
)


class Walk:
    """A text that grows with its counter and its state of the grammar."""

    def __init__(self, vocabulary, abc):
        self.abc, self.vocabulary, self.counter, self.matcher = "", vocabulary, BarCounter(), vocabulary.matcher()
        for letter in abc:
            self.add(letter)

    def add(self, letter):
        self.abc, self.counter = self.abc + letter, self.counter.after(letter)
        assert self.counter is not None, self.abc
        assert self.matcher.consume_token(self.vocabulary.letters[letter]), self.abc

    def allows(self, token):
        return self.matcher.validate_tokens([token]) == 1

    def to_the_end(self):
        while not (self.counter.may_end and self.matcher.is_accepting()):
            letters = closing_letters(self.counter)
            self.add(next(letter for letter in letters if self.allows(self.vocabulary.letters[letter])))
        return self.abc


def allowed_by(state):
    """What the grammar allows, bool[vocabulary]."""
    words = np.frombuffer(state.matcher.compute_bitmask(), dtype=np.uint8)
    return np.unpackbits(words, count=state.vocabulary.size, bitorder="little").astype(bool)


def compared(state, text, start):
    """Tokens that were judged at once and one by one, at every letter of a text from `start` on."""
    vocabulary, compared = state.vocabulary, 0
    for at, letter in enumerate(text):
        if at >= start:
            before = allowed_by(state)
            after = before.copy()
            state.narrow(after)
            for token in np.flatnonzero(before).tolist():
                if token not in vocabulary.eos:
                    can_take = state._counter.after(vocabulary.texts[token]) is not None
                    assert after[token] == can_take, (text[:at], vocabulary.texts[token])
                    compared += 1
        state.take(vocabulary.letters[letter])
    return compared


def test_all_tokens_at_once_are_judged_as_one_by_one(vocabulary):
    assert compared(ConstrainedTuneState(vocabulary), MUSIC, len(TWO_VOICES)) > 4000


LINES = LinesForm(
    "3/4", (BarsOfLine("% bars 1-2\n[V:1] ", 2), BarsOfLine("3 [V:2]", 1), BarsOfLine("[Q:1/4=60]!p!", 2))
)
LINES_TEXT = (
    "% bars 1-2\n[V:1] (G2 A2 .B2 | {c}d6) |\n3 [V:2] !<(!G2 [GB]2 !<)!|".replace("[GB]2", "[GB]4")
    + "\n[Q:1/4=60]!p!(3GAB c4 | (d4 e2 )|]\n"
)


def test_all_tokens_are_judged_as_one_by_one_in_lines(vocabulary):
    assert re.fullmatch(pattern_of(LINES), LINES_TEXT)
    assert compared(ConstrainedLinesState(vocabulary, LINES), LINES_TEXT, 0) > 1000


def test_lines_from_anywhere_have_a_short_way_to_the_end(vocabulary):
    for at in range(len(LINES_TEXT)):
        most = at + 60 + sum(len(line.prefix) for line in LINES.lines) + 6 * 5
        state = ConstrainedLinesState(vocabulary, LINES, most)
        for letter in LINES_TEXT[:at]:
            state.take(vocabulary.letters[letter])
        text = LINES_TEXT[:at] + finished(state, most - at, seed=at)
        assert re.fullmatch(pattern_of(LINES), text), text


def finished(state, steps, seed):
    """The rest of an answer, random tokens of those that are allowed."""
    dice, tokens = np.random.default_rng(seed), []
    while not state.has_ended:
        allowed = allowed_by(state)
        state.narrow(allowed)
        token = int(dice.choice(np.flatnonzero(allowed)))
        state.take(token)
        tokens.append(token)
    assert len(tokens) <= steps
    return text(state.vocabulary, tokens)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.builds(
            BarsOfLine,
            st.sampled_from(["", "1-4 [V:1]", "[V:2] ", "% bars: D/F# | G\n[V:1] [Q:1/4=60]!mf!"]),
            st.integers(1, 4),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["2/4", "3/4", "6/8", "7/8", "5/4", "2/2"]),
    st.integers(0, 2**32),
)
def test_random_lines_have_their_texts_and_full_bars_and_end_in_time(vocabulary, lines, meter, seed):
    form = LinesForm(meter, tuple(lines))
    most = sum(len(line.prefix) + 24 + 12 * line.bars for line in lines) + 60
    written = finished(ConstrainedLinesState(vocabulary, form, most), most, seed)
    assert re.fullmatch(pattern_of(form), written)
    for line in lines:
        assert written.startswith(line.prefix)
        music, _, written = written[len(line.prefix) :].partition("\n")
        abc = f"X:1\nT:A\nM:{meter}\nL:1/8\nK:C\n{music}\n"
        assert errors(abc) == []
        assert bars(abc) == {"1": line.bars}


@pytest.mark.parametrize("voices", [1, 3, 4])
def test_tunes_of_other_numbers_of_voices_end_in_time_and_pass_the_check(vocabulary, voices):
    for seed in range(4):
        abc = finished(ConstrainedTuneState(vocabulary, 500, TuneForm(voices)), 500, seed)
        assert errors(abc) == []
        assert set(bars(abc)) == {str(number) for number in range(1, voices + 1)}
        assert len(set(bars(abc).values())) == 1


def test_what_a_form_gives_is_read_in_one_go(vocabulary):
    state = ConstrainedLinesState(vocabulary, LINES, 200)
    given = text(vocabulary, state.forced())
    assert LINES.lines[0].prefix.startswith(given)
    assert len(given) > 8


def test_from_anywhere_there_is_a_short_way_to_the_end(vocabulary):
    for at in range(len(TWO_VOICES), len(MUSIC)):
        walk = Walk(vocabulary, MUSIC[:at])
        most = letters_to_close(walk.counter)
        assert errors(walk.to_the_end()) == []
        assert len(walk.abc) - at <= most, walk.abc
