"""Constrained decoding, driven by random scores: whatever the network prefers, the tune must pass the check."""

import re
from itertools import pairwise

import pytest
import tiny_vlms
import torch
from chat_fakes import TUNE
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.abc_grammar import TUNE as GRAMMAR
from image2music.composers.bar_rules import BarCounter
from image2music.composers.constrain import AbcConstraint, AbcVocabulary
from image2music.notation.abc_checker import check
from image2music.notation.diagnostic import Severity

HEADER = "X:1\nT:A\nM:3/4\nL:1/8\nK:G\n"


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = tiny_vlms.tokenizer_of("llava")
    return AbcVocabulary(tokenizer, [tokenizer.eos_token_id], len(tokenizer))


def errors(abc):
    return [str(finding) for finding in check(abc) if finding.severity is Severity.ERROR]


def written(vocabulary, seeds, steps=500, liking=None):
    """Random tunes, one a seed, and whether each came to its end; `liking` is added to the scores."""
    rule = AbcConstraint(vocabulary, len(seeds))
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    tokens = torch.full((len(seeds), 1), 5)
    for _ in range(steps):
        scores = torch.stack([torch.rand(vocabulary.size, generator=die) * 4 for die in dice])
        scores = rule(tokens, scores if liking is None else scores + liking)
        tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], 1)
        if all(set(row) & vocabulary.eos for row in tokens[:, 1:].tolist()):
            break
    rows = tokens[:, 1:].tolist()
    ends = [bool(set(row) & vocabulary.eos) for row in rows]
    texts = ["".join(vocabulary.text(token) for token in row if token not in vocabulary.eos) for row in rows]
    return list(zip(texts, ends, strict=True))


def test_tunes_from_random_scores_pass_the_check(vocabulary):
    liking = torch.zeros(vocabulary.size)
    for token in range(vocabulary.size):
        text = vocabulary.text(token)
        liking[token] = (
            3.0 * ("|" in text) + 2.0 * ("]" in text) + 1.5 * ("\n" in text) + 4.0 * (token in vocabulary.eos)
        )
    tunes = written(vocabulary, range(12), liking=liking)
    whole = [abc for abc, has_ended in tunes if has_ended]
    assert len(whole) >= 6
    for abc in whole:
        assert re.fullmatch(GRAMMAR, abc)
        assert errors(abc) == [], abc


def test_a_row_writes_the_same_alone_and_in_a_batch(vocabulary):
    together = written(vocabulary, [1, 2, 3], steps=60)
    assert written(vocabulary, [2], steps=60)[0] == together[1]


def test_a_tune_as_the_prompt_asks_for_keeps_to_the_grammar():
    assert re.fullmatch(GRAMMAR, TUNE)
    assert BarCounter().after(TUNE).may_end


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
    assert not (counter.may_end and re.fullmatch(GRAMMAR, HEADER + music))


def test_a_tune_does_not_end_before_all_its_voices_have_the_same_bars():
    two = HEADER + "V:1\nV:2\n[V:1] G6 | A6 |]\n[V:2] G,6 |"
    assert not BarCounter().after(two).may_end
    assert BarCounter().after(two + " D,6 |]\n").may_end


@given(st.lists(st.integers(0, len(TUNE)), max_size=8))
def test_a_tune_may_come_in_any_pieces(cuts):
    counter, places = BarCounter(), [0, *sorted(cuts), len(TUNE)]
    for start, end in pairwise(places):
        counter = counter.after(TUNE[start:end])
    assert counter == BarCounter().after(TUNE)
