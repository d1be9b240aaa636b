"""The paper's judge: a vision-language model answers its questions, blind, in random order, several times."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from PIL import Image

from image2music.asking import ask
from image2music.composers.chat.answers import without_thinking
from image2music.composers.chat.backend import ChatBackend, Conversation, Message
from image2music.composers.chat.budget import shortened
from image2music.errors import ConfigError
from image2music.prompts import fill
from image2music.scoring.blind import blind_abc
from image2music.scoring.order_effects import Answer
from image2music.scoring.pieces import Piece
from image2music.scoring.questions import GROUPS, HIGHEST, LOWEST, wording
from image2music.seeds import picture_seed

ANSWER_TOKENS = 600
"""Room for a model that thinks aloud; the answer itself takes about forty."""

_AT_ONCE = 16
_BLANK = (256, 256), (128, 128, 128)
_CHARACTERS_A_TOKEN = 2
_PICTURE_TOKENS = 1000
_LINE = re.compile(r"^[\s*_#>\-\d.)(\"']*([A-Za-z_ ]+?)[\s*_\"']*[:=][\s*_\"']*(\d+)\s*(?:/\s*7)?[\s*_.,\"']*$")


@dataclass(frozen=True)
class JudgeSettings:
    """How often each tune is judged, and the seed of all orders."""

    times: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ConfigError(f"--judge_times must be 1 or more, not {self.times}", reason="bad_judge_times")


@dataclass(frozen=True)
class Asking:
    """One conversation to be had: one tune, one group of questions in one order. `tune` is a place in the list."""

    tune: int
    group: str
    repeat: int
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Verdicts:
    """What came of it. `malformed` counts answers that could not be read, `failed` those that never came, by reason."""

    answers: list[Answer] = field(default_factory=list)
    asked: int = 0
    malformed: int = 0
    failed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What judging will take: conversations, and about how many tokens go in and come out at most."""

    conversations: int
    tokens_in: int
    tokens_out: int

    def dollars(self, price_in: float, price_out: float) -> float:
        """For prices in dollars a million tokens."""
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


def askings(pieces: Sequence[Piece], settings: JudgeSettings) -> list[Asking]:
    """Every conversation, shuffled, so that no system is judged before another.

    Each stands by itself, so no tune is ever seen beside or after another. The questions of a group begin in an order
    drawn for the picture, and move on by one place from repeat to repeat: tunes for the same picture meet the same
    orders.
    """
    planned = [
        Asking(tune, group, repeat, _ordered(piece.image_id, group, repeat, settings.seed))
        for tune, piece in enumerate(pieces)
        if piece.score is not None
        for group in GROUPS
        for repeat in range(settings.times)
    ]
    random.Random(settings.seed).shuffle(planned)
    return planned


def _ordered(image_id: str, group: str, repeat: int, seed: int) -> tuple[str, ...]:
    questions = list(GROUPS[group])
    random.Random(picture_seed(seed, f"{image_id}/{group}")).shuffle(questions)
    start = repeat % len(questions)
    return (*questions[start:], *questions[:start])


def prompt(asking: Asking, abc: str) -> str:
    """What the model reads."""
    lines = "\n".join(f"- {name}: {wording()[name]}" for name in asking.questions)
    return fill(f"judge/{asking.group}", abc=abc.strip(), questions=lines)


def cost(pieces: Sequence[Piece], settings: JudgeSettings) -> Cost:
    """Estimated rather too high: about two characters a token, 1000 tokens a picture, every answer at its longest."""
    planned = askings(pieces, settings)
    texts = [prompt(asking, blind_abc(pieces[asking.tune].abc)) for asking in planned]
    tokens = sum(-(-len(text) // _CHARACTERS_A_TOKEN) + _PICTURE_TOKENS for text in texts)
    return Cost(len(planned), tokens, len(planned) * ANSWER_TOKENS)


def judge(
    backend: ChatBackend,
    pieces: Sequence[Piece],
    picture_of: Callable[[Piece], Image.Image | None],
    settings: JudgeSettings,
) -> Verdicts:
    """Ask everything; an answer that cannot be read is counted and left out, never asked again.

    The music is judged with a blank picture, for a chat shows one always. A tune whose picture cannot be opened is
    not asked about its picture (`no_picture`).
    """
    planned = askings(pieces, settings)
    answers: list[Answer] = []
    malformed, failed = 0, Counter[str]()
    for start in range(0, len(planned), _AT_ONCE):
        batch = planned[start : start + _AT_ONCE]
        talks = [_conversation(backend, asking, pieces[asking.tune], picture_of) for asking in batch]
        failed["no_picture"] += sum(talk is None for talk in talks)
        open_ones = [(asking, talk) for asking, talk in zip(batch, talks, strict=True) if talk is not None]
        for (asking, _), said in zip(
            open_ones, ask(lambda some: _generate(backend, some, settings), open_ones), strict=True
        ):
            if isinstance(said, Exception):
                failed[getattr(said, "reason", type(said).__name__)] += 1
                continue
            points = read_answer(said, asking.questions)
            malformed += points is None
            answers += [
                Answer((asking.tune, question), asking.group, place, value)
                for place, (question, value) in enumerate((points or {}).items())
            ]
    return Verdicts(answers, len(planned), malformed, {reason: n for reason, n in failed.items() if n})


def read_answer(text: str, questions: Sequence[str]) -> dict[str, int] | None:
    """Points by question, in the order asked; None unless each has exactly one whole number from 1 to 7."""
    found: dict[str, list[int]] = {}
    for line in without_thinking(text).splitlines():
        match = _LINE.match(line)
        if match:
            found.setdefault(match[1].strip().lower().replace(" ", "_"), []).append(int(match[2]))
    if any(len(found.get(question, ())) != 1 for question in questions):
        return None
    points = {question: found[question][0] for question in questions}
    return points if all(LOWEST <= value <= HIGHEST for value in points.values()) else None


def _conversation(
    backend: ChatBackend, asking: Asking, piece: Piece, picture_of: Callable[[Piece], Image.Image | None]
) -> Conversation | None:
    image = Image.new("RGB", *_BLANK) if asking.group == "music" else picture_of(piece)
    if image is None:
        return None

    def fits(tunes: Sequence[str]) -> bool:
        return backend.count_tokens(prompt(asking, "".join(tunes))) <= backend.prompt_tokens

    tunes = shortened([blind_abc(piece.abc)], fits)
    return Conversation(image, (Message("user", prompt(asking, "".join(tunes))),))


def _generate(backend: ChatBackend, batch: Iterable[tuple[Asking, Conversation]], settings: JudgeSettings) -> list[str]:
    pairs = list(batch)
    # The seed names the repeat and nothing of the tune: what differs between tunes is what is shown.
    seeds: list[int | None] = [picture_seed(settings.seed, f"{asking.group}/{asking.repeat}") for asking, _ in pairs]
    return backend.generate([talk for _, talk in pairs], seeds, max_tokens=ANSWER_TOKENS, form="prose")
