"""Why a tune of nano's sounds as it does: its plan in words, and where the model looked while it wrote.

nano decodes no prose. Its motivation puts the plan into sentences, and a sentence's attention is that of the plan
tokens which it speaks of; the maps of the tune and its bars are those of the music's own tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from image2music.composers.base import ExplainRequest, Explanation
from image2music.composers.faithfulness import Faithfulness, Floats, Masks
from image2music.composers.nano.album_opening import placed_positions
from image2music.composers.nano.motivation import Sentence, motivate
from image2music.composers.nano.plan import PLAN_SLOTS
from image2music.composers.nano.reading import read_plan_and_melody
from image2music.composers.nano.references import encode_references
from image2music.composers.nano.sampling import PREFIX, Sampler
from image2music.composers.nano.seeing import Seen
from image2music.composers.nano.vocabulary import Vocabulary
from image2music.composers.segments import BARS_A_GROUP, Segment, segment_map
from image2music.seeds import picture_seed


def explain(sampler: Sampler, requests: Sequence[ExplainRequest]) -> list[Explanation]:
    """One explanation a request; each is replayed by itself, so a batch changes nothing."""
    return [_explain(sampler, request) for request in requests]


def _explain(sampler: Sampler, request: ExplainRequest) -> Explanation:
    seen = request.request.description.features
    if not isinstance(seen, Seen):
        raise TypeError("nano explains from its own description of a picture: call describe first")
    plan, _ = read_plan_and_melody(request.abc)
    vocabulary = sampler.vocabulary
    tokens = plan_and_music_tokens(request.abc)
    references = encode_references(request.request.references, sampler.model.config)
    row = torch.tensor([tokens])
    each = sampler.attention_by_layer(row, np.stack([seen.patches, sampler.blank]), references)
    each = each.reshape(*each.shape[:3], seen.rows, seen.cols)
    looked, blank = each.mean(0)
    layers = each[:, 0] if request.looking.layers else None
    sentences = motivate(seen, plan, request, sampler.model.config.reference_slots)
    placed = placed_positions(request.request.album, tokens, PREFIX)
    segments = [*music_segments(tokens, vocabulary.bar, vocabulary.section, placed), *motivation_segments(sentences)]
    measure = _faithfulness(sampler, request, row, seen, references) if request.looking.faithfulness else None
    maps = tuple(segment_map(segment, looked, blank, layers, measure) for segment in segments)
    return Explanation(" ".join(sentence.text for sentence in sentences), maps)


def plan_and_music_tokens(abc: str) -> list[int]:
    """The sequence that would have decoded a tune of nano's: `begin`, its plan, its first voice, `end`."""
    plan, melody = read_plan_and_melody(abc)
    vocabulary = Vocabulary()
    return [vocabulary.begin, *vocabulary.encode_plan(plan), *vocabulary.encode_melody(melody)]


def music_segments(
    tokens: Sequence[int], bar: int, section: int, placed: frozenset[int] = frozenset()
) -> list[Segment]:
    """The whole tune, the decoded voice, and its bars in groups of four; `placed` positions were not decoded."""
    music = range(PREFIX, len(tokens))
    decoded = tuple(position for position in music if position not in placed)
    segments = [
        Segment("all", "all", "the whole tune", decoded),
        Segment("voice 1", "voice", "1", decoded),
    ]
    number, groups = 0, dict[int, list[int]]()
    for position in music:
        if position not in placed:
            groups.setdefault(number // BARS_A_GROUP, []).append(position)
        number += tokens[position] in (bar, section)
    for group, positions in groups.items():
        first = group * BARS_A_GROUP + 1
        last = min(first + BARS_A_GROUP - 1, number + 1)
        segments.append(Segment(f"bars {first}-{last}", "bars", f"bars {first} to {last}", tuple(positions)))
    return segments


def motivation_segments(sentences: Sequence[Sentence]) -> list[Segment]:
    """One segment a sentence that speaks of plan tokens: their positions."""
    places = {slot.name: 1 + i for i, slot in enumerate(PLAN_SLOTS)}
    return [
        Segment(f"sentence {i}", "motivation", sentence.text, tuple(places[slot] for slot in sentence.slots))
        for i, sentence in enumerate(sentences, 1)
        if sentence.slots
    ]


def _faithfulness(
    sampler: Sampler, request: ExplainRequest, tokens: torch.Tensor, seen: Seen, references: NDArray[np.int64]
) -> Faithfulness:
    """Measures maps by the likelihood of plan and music beside pictures with blank cells, which nano's blur is."""

    def nats(masks: Masks) -> Floats:
        hidden = masks.reshape(len(masks), -1, 1)
        found = sampler.log_likelihood(tokens, np.where(hidden, sampler.blank, seen.patches), references)
        return np.concatenate([np.zeros((len(masks), 1)), found], axis=1)

    return Faithfulness(nats, seen.rows, seen.cols, picture_seed(request.request.seed, "faithfulness"))
