"""Placed notes: a decoder with random weights shows that they come from the rules, nano that the music goes on."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.playback import abc_to_score
from image2music.composers.base import ComposeRequest, ExplainRequest, WriteRequest
from image2music.composers.nano.composer import load_nano
from image2music.composers.nano.decoding import DecodingConstraints
from image2music.composers.nano.explaining import control_and_music_tokens
from image2music.composers.nano.model import NanoComposerModel, NanoConfig
from image2music.composers.nano.sampling import PREFIX, Sampler
from image2music.composers.nano.training.dataset import TrainingNgrams
from image2music.composers.nano.vocabulary import Vocabulary, asked_words, placed_positions, placed_tokens
from image2music.music.metrics import metrics_of_score
from image2music.music.similarity import count_motif, make_motif, opening_of
from image2music.types import AlbumPart

MOTIF = make_motif("6/8", rising=True, seed=4)
PART = AlbumPart(4, "minor", "6/8", 101, (40, 42), "theme", MOTIF, opening_of(MOTIF, None))


def test_placed_notes_stand_where_they_were_placed():
    torch.manual_seed(0)
    config = NanoConfig(width=32, layers=2, heads=2, feed_forward=64)
    sampler = Sampler(
        NanoComposerModel(config), TrainingNgrams(np.zeros(0, np.uint32)), np.zeros((49, 384), np.float32)
    )
    constraint = DecodingConstraints({"bars": ("4",), **asked_words(PART)}, 1, placed_tokens(PART, Vocabulary()))

    (one,) = sampler.draw(np.zeros((1, 49, 384), np.float32), np.zeros((1, 3, 32), np.int64), [constraint])

    sung = [(note.pitch, note.length) for bar in one.melody.bars for note in bar][: len(MOTIF)]
    assert sung == list(MOTIF)
    assert (one.melody.tonic, one.melody.mode, one.melody.meter) == (4, "minor", "6/8")


@pytest.fixture(scope="module")
def request_in_album():
    image = Image.fromarray(data.coffee())
    return ComposeRequest("coffee", image, load_nano().look([image])[0], (), seed=3, album=PART)


@pytest.fixture(scope="module")
def tune(request_in_album):
    return load_nano().write([WriteRequest(request_in_album)])[0]


@pytest.mark.slow
def test_nano_writes_its_part_of_the_album(tune):
    assert [found for found in check(tune) if found.severity is Severity.ERROR] == []
    score = abc_to_score(tune)
    assert count_motif(score, MOTIF) >= 1
    assert (score.tempos[0].qpm, {track.program for track in score.tracks}) == (101, {40, 42})


def test_no_attention_is_shown_for_what_the_album_decided(tune, request_in_album):
    tokens = control_and_music_tokens(tune)
    placed = placed_positions(PART, tokens, PREFIX)
    metrics = metrics_of_score(abc_to_score(tune))

    (explained,) = load_nano().explain([ExplainRequest(request_in_album, tune, "Coffee", metrics)])

    assert [tokens[at] for at in sorted(placed)] == list(placed_tokens(PART, Vocabulary()).values())
    sentences = [one.text for one in explained.attention if one.kind == "motivation"]
    assert "the motif it opens with" in explained.motivation
    assert not any("album" in text or "minor" in text for text in sentences)
