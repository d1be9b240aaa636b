"""The decoder with its rules around it: patches, references and wishes in, plans and melodies out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.nano.arrangement import melody_of
from image2music.composers.nano.decoding import Grammar, SeededDecoding, Wish
from image2music.composers.nano.fingerprints import TrainingRuns
from image2music.composers.nano.melody import Melody
from image2music.composers.nano.model import NanoCache, NanoComposerModel
from image2music.composers.nano.plan import PLAN_SLOTS, Plan
from image2music.composers.nano.vocabulary import Vocabulary
from image2music.errors import ModelError

ROWS_AT_ONCE = 32
MAX_NEW_TOKENS = 1200
PREFIX = 1 + len(PLAN_SLOTS)


@dataclass(frozen=True)
class Drawn:
    """One sample: the plan as decoded and the melody."""

    plan: Plan
    melody: Melody


class Sampler:
    """Runs the model in float64.

    Matrix products differ in their last bits with the batch's size. In float64 those bits lie so far down that they
    never tip a choice, so a picture's tune is the same alone and among others; at nano's size it costs little.
    """

    def __init__(self, model: NanoComposerModel, training_runs: TrainingRuns, blank: NDArray[np.float32]) -> None:
        """`blank` float32[cells, dim] are the patches of a picture of nothing."""
        self.model = model.double().eval()
        self.blank = blank
        self.training_runs = training_runs
        self.vocabulary = Vocabulary()
        self._grammar = Grammar()

    def draw(self, patches: NDArray[np.float32], references: NDArray[np.int64], wishes: Sequence[Wish]) -> list[Drawn]:
        """`patches` float32[n, cells, dim], `references` int64[n, slots, tokens]; one sample for each wish."""
        drawn: list[Drawn] = []
        for start in range(0, len(wishes), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            drawn += self._draw(patches[rows], references[rows], wishes[rows])
        return drawn

    @torch.inference_mode()
    def _draw(self, patches: NDArray[np.float32], references: NDArray[np.int64], wishes: Sequence[Wish]) -> list[Drawn]:
        heard = torch.from_numpy(references)
        nothing = torch.from_numpy(self.blank).double().expand(len(wishes), -1, -1)
        cache = NanoCache()

        def blank_logits(tokens: Tensor) -> NDArray[np.float64]:
            inputs = self.model.prepare_inputs_for_generation(tokens, cache, patches=nothing, references=heard)
            logits: NDArray[np.float64] = self.model(**inputs).logits[:, -1].numpy()
            return logits

        decoding = SeededDecoding(self._grammar, wishes, blank_logits)
        tokens = self.model.generate(
            torch.full((len(wishes), 1), self.vocabulary.begin),
            patches=torch.from_numpy(patches).double(),
            references=heard,
            past_key_values=NanoCache(),
            logits_processor=[decoding],
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=self.vocabulary.end,
            pad_token_id=self.vocabulary.pad,
        )
        return [self._read(row) for row in tokens.tolist()]

    def _read(self, row: Sequence[int]) -> Drawn:
        plan = self.vocabulary.decode_plan(row[1:PREFIX])
        bars, ends = self.vocabulary.decode_bars(row[PREFIX:])
        return Drawn(plan, melody_of(plan, bars, ends))

    @torch.inference_mode()
    def attention(
        self, tokens: Tensor, patches: NDArray[np.float32], references: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """float64[n, cells]: for each of the n tokens of one tune, attention to the patches while it was chosen.

        Mean over layers and heads (the paper's equation 2 before its mean over tokens). Row t is read at the position
        before token t, where token t was predicted; row 0 (`begin`) is zero. `tokens` is int64[1, n].
        """
        output = self.model(
            tokens,
            patches=torch.from_numpy(patches[None]).double(),
            references=torch.from_numpy(references[None]),
            output_attentions=True,
        )
        mean = torch.stack([layer[0].mean(0) for layer in output.attentions]).mean(0)
        seen = mean[:-1, : self.model.config.n_patches].numpy()
        return np.concatenate([np.zeros((1, seen.shape[1])), seen])

    @torch.inference_mode()
    def log_likelihood(
        self, tokens: Tensor, patches: NDArray[np.float32], references: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """float64[b, n - 1]: nats of each token of one tune (after `begin`) under b versions of its picture.

        `tokens` int64[1, n], `patches` float32[b, cells, dim], `references` int64[slots, tokens].
        """
        b = len(patches)
        logits = self.model(
            tokens.expand(b, -1),
            patches=torch.from_numpy(patches).double(),
            references=torch.from_numpy(references)[None].expand(b, -1, -1),
        ).logits
        chosen = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None].expand(b, -1, 1))
        nats: NDArray[np.float64] = chosen[..., 0].numpy()
        return nats


def load_sampler(folder: Path, blank: NDArray[np.float32]) -> tuple[Sampler, str]:
    """The sampler and the first 12 digits of the weights' sha256. ModelError where the weights are not there."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"nano's weights are not in {folder}: run `make train`", reason="no_weights")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    model = NanoComposerModel.from_pretrained(folder, dtype=torch.float64)
    return Sampler(model, TrainingRuns.load(folder), blank), digest
