"""Training rows: plan, tune, references and an imagined picture, in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.nano.imagined import Imagination
from image2music.composers.nano.melody import without_pickups
from image2music.composers.nano.neighbours import alike, by_meter_and_mode, duplicate_groups, motif_vectors
from image2music.composers.nano.plan import PLAN_SLOTS, Plan, plan_of
from image2music.composers.nano.training_tunes import TrainingTune, is_regular
from image2music.composers.nano.vocabulary import Vocabulary

MAX_TOKENS = 420
PREFIX = 1 + len(PLAN_SLOTS)
HELD_OUT_SHARE = 0.08


@dataclass(frozen=True)
class Dropout:
    """How often the model is left without something, so that it can do without it."""

    plan_slot: float = 0.25
    whole_plan: float = 0.1
    reference: float = 0.25
    picture: float = 0.05
    pickup: float = 0.5


@dataclass(frozen=True)
class Batch:
    """`tokens` and `targets` int64[b, n] (0 is ignored in targets), `patches` float32, `references` int64."""

    tokens: Tensor
    targets: Tensor
    patches: Tensor
    references: Tensor


class NanoDataset:
    """All tunes with their neighbours, split by groups of near-duplicates."""

    def __init__(
        self,
        tunes: Sequence[TrainingTune],
        titles: NDArray[np.float32],
        imagination: Imagination,
        *,
        reference_slots: int,
        reference_tokens: int,
        seed: int,
    ) -> None:
        self.tunes, self.titles, self.imagination = tunes, titles, imagination
        self.slots, self.reference_tokens = reference_slots, reference_tokens
        self.vocabulary = Vocabulary()
        melodies = [tune.melody for tune in tunes]
        self.groups = duplicate_groups(melodies)
        self.held_out = hold_out(self.groups, seed)
        in_training = [not held for held in self.held_out]
        self.alike = alike(motif_vectors(melodies), self.groups, in_training, 8)
        self.shelves = by_meter_and_mode(melodies, in_training)
        self.plans = [self.vocabulary.encode_plan(tune.plan) for tune in tunes]
        self.bodies = [self.vocabulary.encode_melody(tune.melody) for tune in tunes]
        self.full_bars = [self._with_full_bars(tune) for tune in tunes]

    def training(self) -> list[int]:
        """Indices of the training tunes."""
        return [i for i, held in enumerate(self.held_out) if not held and len(self.bodies[i]) <= MAX_TOKENS]

    def validation(self) -> list[int]:
        """Indices of the held-out tunes."""
        return [i for i, held in enumerate(self.held_out) if held and len(self.bodies[i]) <= MAX_TOKENS]

    def batches(self, indices: Sequence[int], tokens: int, rng: np.random.Generator) -> Iterator[list[int]]:
        """Shuffled batches of at most `tokens` padded tokens; tunes of like length share one."""
        jitter = rng.uniform(0.9, 1.1, size=len(indices))
        order = sorted(range(len(indices)), key=lambda k: len(self.bodies[indices[k]]) * jitter[k])
        batches: list[list[int]] = [[]]
        for k in order:
            longest = PREFIX + int(1.25 * len(self.bodies[indices[k]]))
            if len(batches[-1]) * longest > tokens:
                batches.append([])
            batches[-1].append(indices[k])
        for at in rng.permutation(len(batches)):
            yield batches[at]

    def collate(self, indices: Sequence[int], rng: np.random.Generator, dropout: Dropout) -> Batch:
        """Rows with some of their conditions left out."""
        rows = [self._tokens(i, rng, dropout) for i in indices]
        length = max(len(tokens) for tokens, _ in rows)
        tokens, targets = (np.zeros((len(rows), length), np.int64) for _ in range(2))
        for r, (row, target) in enumerate(rows):
            tokens[r, : len(row)], targets[r, : len(target)] = row, target
        return Batch(
            torch.from_numpy(tokens),
            torch.from_numpy(targets),
            torch.from_numpy(np.stack([self._picture(i, rng, dropout) for i in indices])),
            torch.from_numpy(np.stack([self._references(i, rng, dropout) for i in indices])),
        )

    def collate_fully_conditioned(self, indices: Sequence[int], seed: int) -> Batch:
        """Rows as validation sees them: every condition told, references chosen by meter and mode alone."""
        nothing = Dropout(0.0, 0.0, 0.0, 0.0, 0.0)
        rng = np.random.default_rng(seed)
        batch = self.collate(indices, rng, nothing)
        references = np.stack([self._encode_references(self._from_shelf(i, rng)) for i in indices])
        return Batch(batch.tokens, batch.targets, batch.patches, torch.from_numpy(references))

    def _tokens(self, i: int, rng: np.random.Generator, dropout: Dropout) -> tuple[list[int], list[int]]:
        told, body = self.plans[i], self.bodies[i]
        if (full := self.full_bars[i]) is not None and rng.random() < dropout.pickup:
            told, body = full
        left_out = rng.random(len(told)) < (1.0 if rng.random() < dropout.whole_plan else dropout.plan_slot)
        firsts = [self.vocabulary.plan_offsets[slot.name] for slot in PLAN_SLOTS]
        seen = [first - 1 if out else token for token, first, out in zip(told, firsts, left_out, strict=True)]
        wanted = [token if token >= first else 0 for token, first in zip(told, firsts, strict=True)]
        tokens = [self.vocabulary.begin, *seen, *body[:-1]]
        return tokens, [*wanted, *body]

    def _with_full_bars(self, tune: TrainingTune) -> tuple[list[int], list[int]] | None:
        """Plan and body of the tune without its pick-ups; nano's own tunes begin on a full bar."""
        melody = without_pickups(tune.melody) if tune.melody.has_pickup else None
        if melody is None or not is_regular(melody):
            return None
        plan = plan_of(melody, kind=tune.plan.get("kind"), tempo=tune.plan.get("tempo"))
        return self.vocabulary.encode_plan(plan), self.vocabulary.encode_melody(melody)

    def _picture(self, i: int, rng: np.random.Generator, dropout: Dropout) -> NDArray[np.float32]:
        plan = Plan() if rng.random() < dropout.picture else self.tunes[i].plan
        return self.imagination.picture(self.titles[i], plan, rng)

    def _references(self, i: int, rng: np.random.Generator, dropout: Dropout) -> NDArray[np.int64]:
        # Half the time tunes that share motifs, so that references are worth listening to.
        chosen = list(rng.permutation(self.alike[i])) if rng.random() < 0.5 else self._from_shelf(i, rng)
        kept = [j for j in chosen[: self.slots] if rng.random() >= dropout.reference]
        return self._encode_references(kept)

    def _from_shelf(self, i: int, rng: np.random.Generator) -> list[int]:
        shelf = self.shelves[self.tunes[i].melody.meter, self.tunes[i].melody.mode]
        others = [j for j in shelf if self.groups[j] != self.groups[i]]
        return [others[k] for k in rng.permutation(len(others))[: self.slots]]

    def _encode_references(self, chosen: Sequence[int]) -> NDArray[np.int64]:
        out = np.zeros((self.slots, self.reference_tokens), np.int64)
        for slot, j in enumerate(chosen):
            body = self.bodies[j][: self.reference_tokens]
            out[slot, : len(body)] = body
        return out


def hold_out(groups: Sequence[int], seed: int) -> list[bool]:
    """Whole groups for validation, about `HELD_OUT_SHARE` of them, chosen by seed."""
    names = sorted(set(groups))
    rng = np.random.default_rng(seed)
    held = {names[k] for k in rng.permutation(len(names))[: int(HELD_OUT_SHARE * len(names))]}
    return [group in held for group in groups]
