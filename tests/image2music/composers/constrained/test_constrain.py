"""Constrained decoding, driven by random scores: whatever the network prefers, the tune must pass the check."""

import re
from itertools import pairwise

import pytest
import tiny_vlms
import torch
from chat_fakes import TUNE
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.parser import parse
from image2music.composers.constrained.bars import BarCounter, closing_letters, letters_to_close
from image2music.composers.constrained.constraint import AbcConstraint, AbcVocabulary
from image2music.composers.constrained.grammars import tune_pattern
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
    ["G6 |]", "G2 A2 B2 |]", "(3GAB c4 |]", "[GBd]3 z3/2 G3/2 |]", "G/A/B/c/ d4- | d6 |]", "|: ^F6 :|", "G5 z/2z/ |]"],
)
def test_full_bars_are_let_through(music):
    assert BarCounter().after(HEADER + music).may_end
    assert errors(HEADER + music) == []


@pytest.mark.parametrize(
    "music", ["G5 |", "G8 ", "G64", "G6 A", "G6 [", "(3GAB (3GAB z2 (", "G13/2", "G5 (3", "G6 ^", "G4 A3 "]
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
    "[V:2]G12/4 A3|[GBd]6|]\n[V:2] (3 G A B z4 |z2z2z2 |]\n"
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


def test_all_tokens_at_once_are_judged_as_one_by_one(vocabulary):
    walk, compared = Walk(vocabulary, TWO_VOICES), 0
    for letter in MUSIC[len(TWO_VOICES) :]:
        fits = vocabulary.bars.fitting(walk.counter).tolist()
        for token, fit in zip(vocabulary.bars.ids.tolist(), fits, strict=True):
            if walk.allows(token):
                compared += 1
                can_take = walk.counter.after(vocabulary.texts[token]) is not None
                assert fit is can_take, (walk.abc, vocabulary.texts[token])
        walk.add(letter)
    assert compared > 2000


def test_from_anywhere_there_is_a_short_way_to_the_end(vocabulary):
    for at in range(len(TWO_VOICES), len(MUSIC)):
        walk = Walk(vocabulary, MUSIC[:at])
        most = letters_to_close(walk.counter)
        assert errors(walk.to_the_end()) == []
        assert len(walk.abc) - at <= most, walk.abc
