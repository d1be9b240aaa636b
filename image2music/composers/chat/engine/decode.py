"""Samples the answers of a batch token by token, several tokens a pass where an answer repeats its prompt.

Rows are padded on the left; a row that has ended leaves the batch. Each token is sampled with a uniform draw of its own
(`uniform_draws`), so tokens that prompt lookup proposes are accepted exactly where plain decoding would have
written them. Sources: Saxena, "Prompt Lookup Decoding" (2023); speculative decoding of Leviathan, Kalman and Matias
(ICML 2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from image2music.composers.chat.engine.cache import KeyValues, LanguageModel, Prefix
from image2music.composers.constrained.constraint import FormState, only_allowed
from image2music.errors import ConfigError

FEW = 256
"""Tokens that are put in order first."""


@dataclass(frozen=True)
class Sampling:
    """Temperature (above 0), and the share of the probability from which tokens are sampled (nucleus sampling)."""

    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError("a temperature lies above 0, and top_p above 0 and at most 1", reason="bad_sampling")


def uniform_draws(seed: int, draws: int) -> Tensor:
    """Return float64[draws] in [0, 1), one for each token of an answer, the same whatever else is sampled."""
    return torch.rand(draws, dtype=torch.float64, generator=torch.Generator().manual_seed(seed % 2**63))


def sample_tokens(scores: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Return int64[rows]: one token a row, chosen by its own uniform draw; the likeliest where the draw is NaN.

    The token is the one under which the draw falls when the kept probabilities are laid end to end in the order of
    the vocabulary. It depends on nothing but the row's scores and draw, so neither on the batch nor on how many
    tokens were proposed before it was needed.

    Args:
        scores: float[rows, vocabulary], -inf for what may not be chosen.
        draws: float64[rows] in [0, 1), or NaN.
        sampling: temperature and share.
    """
    likeliest = scores.argmax(-1)
    if bool(draws.isnan().all()):  # asked where the draws are, so that no GPU is waited for
        return likeliest
    draws = draws.to(scores.device)
    likely = (scores.float() / sampling.temperature).softmax(-1)
    nucleus = likely.masked_fill_(likely < _least_kept(likely, sampling.top_p), 0.0)
    ends = nucleus.double().cumsum(-1)
    at = (draws.nan_to_num()[:, None] * ends[:, -1:]).clamp(max=ends[:, -1:] * (1 - 1e-12))
    return torch.where(draws.isnan(), likeliest, torch.searchsorted(ends, at, right=True)[:, 0])


def _least_kept(likely: Tensor, top_p: float) -> Tensor:
    """Return float[rows, 1], the least probability in the nucleus of `top_p`; tokens as likely as that are kept too.

    The likeliest few tell in nearly every case, and so the whole vocabulary is seldom put in order.
    """
    for most in (FEW, likely.shape[-1]):
        ordered = likely.topk(min(most, likely.shape[-1])).values
        before = ordered.cumsum(-1) - ordered
        if bool((before[:, -1] >= top_p).all()):
            break
    last = (before < top_p).sum(-1, keepdim=True) - 1
    return ordered.gather(-1, last)


class BannedTokens:
    """A logits processor that rules tokens out: a picture's place holders would break the next prompt."""

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores with -inf at the banned tokens."""
        return scores.index_fill(-1, self._tokens.to(scores.device), -torch.inf)


def banned_tokens(config: Any, tokenizer: Any, eos: Sequence[int]) -> Tensor:
    """Return int64: every special token but those that end an answer, and the rows of the output that are no token."""
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= {value for name, value in vars(config).items() if _names_a_token(name) and isinstance(value, int)}
    vocabulary = config.get_text_config().vocab_size
    unused = range(len(tokenizer), vocabulary)
    return torch.tensor(sorted((special | set(unused)) & set(range(vocabulary)) - set(eos)), dtype=torch.int64)


def _names_a_token(name: str) -> bool:
    return name.startswith(("image", "video", "vision", "audio", "boi", "eoi")) and name.endswith(
        ("_token_id", "_token_index")
    )


LONGEST, SHORTEST = 5, 3
"""Tokens in a row that must agree before what followed them is proposed: the most, and the fewest, tried in order."""
MOST = 16
_FIRST = 4

_ENOUGH = 3
"""Tokens that must come true to count as success: a proposal of one row makes the pass of its whole batch wider."""
_FIRST_PAUSE, _LONGEST_PAUSE = 8, 256


class PromptLookup:
    """Proposes what followed the last few tokens in the prompt; costs next to nothing where an answer is new.

    Proposals grow while they are accepted, shrink when they are not, and pause for longer and longer while none is.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt = list(prompt)
        self._places = {
            size: {tuple(self._prompt[at : at + size]): at + size for at in range(len(self._prompt) - size)}
            for size in range(LONGEST, SHORTEST - 1, -1)
        }
        self._length, self._pause, self._silent_until = _FIRST, _FIRST_PAUSE, 0

    def draft(self, written: Sequence[int], most: int) -> list[int]:
        """Return at most `most` tokens that may follow; often none."""
        if len(written) < self._silent_until:
            return []
        for size, places in self._places.items():
            at = places.get(tuple(written[-size:]))
            if at is not None:
                return self._prompt[at : at + min(self._length, most)]
        return []

    def update(self, proposed: int, accepted: int, written: int) -> None:
        """Adapt to how many of the proposed tokens were accepted, with `written` tokens in the answer."""
        if accepted == proposed:
            self._length, self._pause = min(MOST, 2 * self._length), _FIRST_PAUSE
        elif accepted >= _ENOUGH:
            self._length, self._pause = accepted, _FIRST_PAUSE
        else:
            self._silent_until = written + self._pause
            self._length, self._pause = _FIRST, min(_LONGEST_PAUSE, 2 * self._pause)


@dataclass(eq=False)
class DecodingRow:
    """One answer while it is decoded.

    Attributes:
        prompt: the conversation, already prefilled.
        draws: float64[most tokens], uniform draws; NaN for the likeliest tokens.
        state: keeps the answer to its form; None for prose. Rows of a batch may have different forms.
        lookup: proposes tokens; None for none.
        drafts: whether several tokens may be read in one pass, those of the lookup and those that the form forces.
        written: the answer's tokens so far.
        has_ended: whether it has its last token.
    """

    prompt: Prefix
    draws: Tensor
    state: FormState | None = None
    lookup: PromptLookup | None = None
    drafts: bool = False
    written: list[int] = field(default_factory=list)
    has_ended: bool = False

    def __post_init__(self) -> None:
        self._draws: list[float] = self.draws.tolist()
        self._looked_up = 0

    @property
    def draw(self) -> float:
        """Return the uniform draw of the next token."""
        return self._draws[len(self.written)]

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Append a token."""
        if self.state is not None:
            self.state.take(token)
        self.written.append(token)
        self.has_ended = token in ends or len(self.written) == len(self._draws)

    def draft(self) -> list[int]:
        """Return tokens that may come next: those that must, by the answer's form, or else those that are proposed."""
        most, self._looked_up = len(self.draws) - len(self.written) - 1, 0
        forced = self.state.forced()[: min(MOST, most)] if self.drafts and self.state is not None else []
        if forced or self.lookup is None:
            return forced
        found = self.lookup.draft(self.written, most)
        self._looked_up = len(found)
        return found

    def learn(self, accepted: int) -> None:
        """Let the lookup know how many of the tokens of its last draft were accepted."""
        if self.lookup is not None and self._looked_up:
            self.lookup.update(self._looked_up, accepted, len(self.written))


class Decoder:
    """Decodes answers with one language model."""

    def __init__(self, language: LanguageModel, banned: BannedTokens, ends: Sequence[int], sampling: Sampling) -> None:
        self._language, self._banned, self._ends, self._sampling = language, banned, frozenset(ends), sampling
        self.passes = 0

    def decode(self, answers: Sequence[DecodingRow], scores: Tensor, on_end: Callable[[int, Prefix], None]) -> None:
        """Decode every answer to its end.

        Args:
            answers: each with its prompt read; no answer yet.
            scores: float32[answers, vocabulary], of the token after each prompt.
            on_end: is told each answer's number as it ends, with keys and values of prompt and answer.
        """
        self._take(answers, [[] for _ in answers], scores[:, None])
        batch = _Batch(answers)
        while batch.drop_ended(on_end):
            drafts = worth_verifying([answer.draft() for answer in batch.answers])
            hidden = self._language.forward(*batch.next_columns(drafts))
            self.passes += 1
            batch.keep_columns(self._take(batch.answers, drafts, self._language.scores(hidden)))

    def _take(self, answers: Sequence[DecodingRow], drafts: Sequence[Sequence[int]], scores: Tensor) -> list[int]:
        """Append each answer's own tokens, as far as they agree with its draft and one more; return how many."""
        taken = [0] * len(answers)
        going, at = list(range(len(answers))), 0
        while going:
            chosen = self._choose([answers[row] for row in going], scores[going, at])
            for row, token in zip(going, chosen, strict=True):
                answers[row].take(token, self._ends)
                taken[row] += 1
            going = [
                row
                for row, token in zip(going, chosen, strict=True)
                if not answers[row].has_ended and at < len(drafts[row]) and drafts[row][at] == token
            ]
            at += 1
        for answer, draft, tokens in zip(answers, drafts, taken, strict=True):
            if draft:
                answer.learn(tokens - 1)
        return taken

    def _choose(self, answers: Sequence[DecodingRow], scores: Tensor) -> list[int]:
        scores = self._banned(scores, scores)
        rows = [row for row, answer in enumerate(answers) if answer.state is not None]
        states = [answer.state for answer in answers if answer.state is not None]
        if len(states) == len(answers):
            scores = only_allowed(states, scores)
        elif states:
            scores = scores.index_put((torch.tensor(rows, device=scores.device),), only_allowed(states, scores[rows]))
        draws = torch.tensor([answer.draw for answer in answers], dtype=torch.float64)
        return sample_tokens(scores, draws, self._sampling).tolist()


def worth_verifying(drafts: Sequence[list[int]]) -> list[list[int]]:
    """Return the drafts, or none where fewer than a quarter of the answers have one: all rows pay for the widest."""
    proposed = sum(map(bool, drafts))
    return list(drafts) if 4 * proposed >= len(drafts) else [[] for _ in drafts]


def _handed_over(answers: Sequence[DecodingRow]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Yield the prefilled layers of all answers, one layer at a time, and drop them here: never two copies of all."""
    waiting = [deque(answer.prompt.layers) for answer in answers]
    for answer in answers:
        answer.prompt = replace(answer.prompt, layers=())
    while waiting[0]:
        yield [layers.popleft() for layers in waiting]


class _Batch:
    """The answers that go on, with a mask of the columns that count, bool[answers, columns]."""

    def __init__(self, answers: Sequence[DecodingRow]) -> None:
        self.answers, self._numbers = list(answers), list(range(len(answers)))
        lengths = [len(answer.prompt.tokens) for answer in answers]
        width = max(lengths)
        self._device = answers[0].prompt.layers[0][0].device
        self._past = KeyValues.joined(_handed_over(answers), width)
        self._mask = (
            torch.arange(width, device=self._device) >= width - torch.tensor(lengths, device=self._device)[:, None]
        )
        self._is_ragged = min(lengths) < width

    def drop_ended(self, on_end: Callable[[int, Prefix], None]) -> bool:
        """Hand over the answers that have ended; return whether any is left."""
        going = [row for row, answer in enumerate(self.answers) if not answer.has_ended]
        if len(going) == len(self.answers):
            return True
        for row, answer in enumerate(self.answers):
            if answer.has_ended:
                tokens = (*answer.prompt.tokens, *answer.written[:-1])
                layers = self._past.row(row, self._mask[row].nonzero()[:, 0])
                on_end(self._numbers[row], Prefix(tokens, layers, answer.prompt.shift))
        self.answers = [self.answers[row] for row in going]
        self._numbers = [self._numbers[row] for row in going]
        self._mask = self._mask[going]
        self._past.select(going)
        return bool(going)

    def next_columns(self, drafts: Sequence[Sequence[int]]) -> tuple[Tensor, KeyValues, Tensor, Tensor | None]:
        """Return the last token of each answer and its draft, as arguments of `LanguageModel.forward`."""
        width = 1 + max(map(len, drafts))
        tokens = [
            [answer.written[-1], *draft] + [0] * (width - 1 - len(draft))
            for answer, draft in zip(self.answers, drafts, strict=True)
        ]
        firsts = [len(answer.prompt.tokens) + answer.prompt.shift + len(answer.written) - 1 for answer in self.answers]
        places = torch.tensor(firsts, device=self._device)[:, None] + torch.arange(width, device=self._device)
        self._grow([1 + len(draft) for draft in drafts], width)
        return torch.tensor(tokens, device=self._device), self._past, places, self._mask if self._is_ragged else None

    def keep_columns(self, taken: Sequence[int]) -> None:
        """Drop the newest columns of each answer but the first `taken`."""
        start = self._mask.shape[1] - self._newest
        self._mask, width = self._mask[:, :start], max(taken)
        self._grow(taken, width)
        self._past.crop(start + width)

    def _grow(self, counts: Sequence[int], width: int) -> None:
        self._newest = width
        self._is_ragged |= min(counts) < width
        new = torch.arange(width, device=self._device) < torch.tensor(counts, device=self._device)[:, None]
        self._mask = torch.cat([self._mask, new], 1)
