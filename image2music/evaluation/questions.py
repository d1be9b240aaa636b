"""The paper's questions, answered from 1 to 7 by people on a blind form and by judges that are models.

The paper's judge is asked blind, in random order and several times; the effect of a question's position is estimated
and taken off. SongEval (Yao et al., 2025) rates five aspects of rendered audio, for people who have its toolkit and
weights. The toolkit is a folder with `eval.py`; its weights are licensed for research only, so nothing of it comes with
this project, and it runs as a program of its own in its own interpreter.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from numpy.typing import NDArray
from PIL import Image

from image2music.composers.chat.answers import without_thinking
from image2music.composers.chat.conversations import (
    ChatBackend,
    Conversation,
    Message,
    questions_of,
    shortened,
)
from image2music.composers.prompts import fill
from image2music.errors import ConfigError, ModelError
from image2music.evaluation.pieces import Piece
from image2music.evaluation.votes import answer_table
from image2music.failures import batch_with_fallback
from image2music.settings import picture_seed

LOWEST, HIGHEST = 1, 7

GROUPS: dict[str, tuple[str, ...]] = {
    "music": ("music_overall", "melody", "rhythm", "authenticity", "harmony"),
    "consistency": ("consistency_overall", "semantics", "emotion"),
}
"""The judge's questions by conversation: about the music alone, and about the music beside its picture."""

STUDY = (*GROUPS["music"], *GROUPS["consistency"], "explanation")
"""The listeners' questions: the judge's eight, and whether the explanation convinces."""
_FOLDER = "image2music.composers.prompts"


@cache
def wording() -> dict[str, str]:
    """Return each question's wording by its name, from prompts/judge/questions.txt."""
    text = (files(_FOLDER) / "judge" / "questions.txt").read_text(encoding="utf-8")
    return {name: words.strip() for name, _, words in (line.partition(":") for line in text.splitlines() if line)}


def judge_prompts_version() -> str:
    """Return the first 16 hex digits of the sha256 over the judge's prompt files, which no composition depends on."""
    digest = hashlib.sha256()
    entries = [entry for entry in (files(_FOLDER) / "judge").iterdir() if entry.name.endswith(".txt")]
    for entry in sorted(entries, key=lambda entry: entry.name):
        digest.update(entry.name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


_TELLING = re.compile(r"^(?:[A-JNORSTWXZw]:(?!\|)|%(?!%MIDI (?:program|channel|transpose)\b)).*$", re.MULTILINE)
_NAMES = re.compile(r"\s*\b(?:name|nm|subname|snm|sname)\s*=\s*(?:\"[^\"\n]*\"|\S+)")
_VOICE_LINE = re.compile(r"^V:.*$", re.MULTILINE)
_COMMENT = re.compile(r"(?<!\\)%(?!%).*$", re.MULTILINE)


def anonymize(abc: str) -> str:
    """Return a tune without title, remarks, comments and names of voices: the notes and what they need to play."""
    text = _TELLING.sub("", abc.replace("\r\n", "\n"))
    lines = [line if line.startswith("%%") else _COMMENT.sub("", line) for line in text.split("\n")]
    text = _VOICE_LINE.sub(lambda line: _NAMES.sub("", line[0]), "\n".join(lines))
    return "\n".join(["X:1", *(line.rstrip() for line in text.split("\n") if line.strip())]) + "\n"


def answer_entry(who: str, question: str, points: Sequence[float]) -> dict[str, Any]:
    """Return an entry of the column `answers` of schemas/score.py: mean and standard deviation of the points."""
    return {
        "who": who,
        "question": question,
        "mean": float(np.mean(points)),
        "spread": float(np.std(points, ddof=1)) if len(points) > 1 else None,
        "answers": len(points),
    }


def add_answers(rows: Sequence[dict[str, Any]], who: str, given: Iterable[tuple[int, str, float]]) -> None:
    """Add answers, given as (index of the row, question, points), to the rows' column `answers`."""
    gathered: dict[tuple[int, str], list[float]] = {}
    for place, question, points in given:
        gathered.setdefault((place, question), []).append(points)
    for (place, question), collected in gathered.items():
        rows[place]["answers"].append(answer_entry(who, question, collected))


def mean_spread(rows: Iterable[Mapping[str, Any]], who: str) -> float | None:
    """Return the mean standard deviation of answers to the same question; None where each was answered once."""
    spreads = [a["spread"] for row in rows for a in row["answers"] if a["who"] == who and a["spread"] is not None]
    return float(np.mean(spreads)) if spreads else None


@dataclass(frozen=True)
class Shown:
    """An item as the page shows it; `picture` is a `data:` address, "" where the picture could not be opened."""

    code: str
    picture: str
    motivation: str


def render_form(items: Sequence[Shown]) -> str:
    """Render the form as one HTML page that needs no server and sends nothing; it plays sounds/CODE.wav beside it."""
    return _template().render(items=items, questions={name: wording()[name] for name in STUDY})


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("image2music.evaluation"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    return environment.get_template("study.html")


ANSWER_COLUMNS = ("listener", "item", *STUDY)
"""Header of an answers file: one line for each tune that somebody heard."""
_CODE_LENGTH = 10


@dataclass(frozen=True)
class Item:
    """A tune on the form. `code` reveals nothing; `system` stands in the answer key alone."""

    code: str
    system: str
    piece: Piece


@dataclass(frozen=True)
class ListenerAnswer:
    """One listener's points for one question about one item."""

    listener: str
    code: str
    question: str
    points: int


def choose_items(systems: Mapping[str, Sequence[Piece]], pictures: int, seed: int) -> list[Item]:
    """Choose at most `pictures` random pictures that every system has a tune for; return all their tunes, shuffled.

    Raises:
        ConfigError: no picture has a tune by every system (`nothing_to_hear`).
    """
    playable = {name: {piece.image_id: piece for piece in pieces if piece.score} for name, pieces in systems.items()}
    shared = sorted(set.intersection(*(set(pieces) for pieces in playable.values())))
    if not shared:
        raise ConfigError("no picture has a tune by every system: there is nothing to hear", reason="nothing_to_hear")
    dice = random.Random(seed)
    chosen = dice.sample(shared, min(pictures, len(shared)))
    items = [
        Item(_code(seed, name, image_id), name, pieces[image_id])
        for image_id in chosen
        for name, pieces in playable.items()
    ]
    dice.shuffle(items)
    return items


def _code(seed: int, system: str, image_id: str) -> str:
    return hashlib.sha256(f"{seed}/{system}/{image_id}".encode()).hexdigest()[:_CODE_LENGTH]


def answer_key_csv(items: Iterable[Item]) -> str:
    """Return the answer key as CSV: which system wrote each item. Listeners must not see it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("item", "system", "image_id"))
    writer.writerows((item.code, item.system, item.piece.image_id) for item in items)
    return out.getvalue()


def read_answer_key(text: str) -> dict[str, tuple[str, str]]:
    """Parse the answer key into (system, image_id) by code."""
    return {line["item"]: (line["system"], line["image_id"]) for line in csv.DictReader(io.StringIO(text))}


def read_answers(text: str, codes: Iterable[str], name: str) -> list[ListenerAnswer]:
    """Parse the answers of a file; an empty cell is a question that was not answered.

    Raises:
        ConfigError: columns are missing, an item is not on the form, or a cell holds no whole number from 1 to 7
            (`bad_answers`).
    """
    known = set(codes)
    table, first = answer_table(text, ANSWER_COLUMNS)
    missing = [column for column in ANSWER_COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise ConfigError(f"{name} lacks the columns {', '.join(missing)}", reason="bad_answers")
    heard = []
    for number, line in enumerate(table, start=first):
        if line["item"] not in known:
            message = f"{name}, line {number}: no item {line['item']!r} on the form"
            raise ConfigError(message, reason="bad_answers")
        for question in STUDY:
            cell = (line[question] or "").strip()
            if cell:
                heard.append(
                    ListenerAnswer(
                        line["listener"] or "", line["item"], question, _points(cell, name, number, question)
                    )
                )
    return heard


def _points(cell: str, name: str, number: int, question: str) -> int:
    if not (cell.isascii() and cell.isdigit() and LOWEST <= int(cell) <= HIGHEST):
        message = f"{name}, line {number}: {question} must be a whole number from 1 to 7, not {cell!r:.20}"
        raise ConfigError(message, reason="bad_answers")
    return int(cell)


@dataclass(frozen=True)
class JudgeAnswer:
    """Points for one `subject` (tune and question), asked at position `place` (from 0) in the questions of `group`."""

    subject: tuple[int, str]
    group: str
    place: int
    points: float


def without_order_effects(answers: Sequence[JudgeAnswer]) -> list[JudgeAnswer]:
    """Return the answers less the effect of their position, by group; effects sum to 0 over the positions.

    Points are modelled as the sum of a subject's worth and a position's effect (two-way analysis of variance, fitted by
    least squares within subjects). Where no subject was asked at two positions the effects cannot be told apart, and
    the answers stay as they are.
    """
    effects = {group: order_effects([a for a in answers if a.group == group]) for group in {a.group for a in answers}}
    return [
        JudgeAnswer(
            answer.subject, answer.group, answer.place, answer.points - float(effects[answer.group][answer.place])
        )
        for answer in answers
    ]


def order_effects(answers: Sequence[JudgeAnswer]) -> NDArray[np.float64]:
    """Return float64[positions]: what each position adds to the points of one group's answers."""
    places = max(answer.place for answer in answers) + 1
    subjects = _numbered([answer.subject for answer in answers])
    design = np.zeros((len(answers), places))
    design[np.arange(len(answers)), [answer.place for answer in answers]] = 1.0
    points = np.array([[answer.points] for answer in answers])
    within = _less_mean(np.hstack([design, points]), subjects)
    # The solution of least norm: positions that nothing compares get 0, the others sum to 0.
    return np.linalg.lstsq(within[:, :-1], within[:, -1], rcond=None)[0].astype(np.float64)


def _less_mean(rows: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = np.zeros((groups.max() + 1, rows.shape[1]))
    np.add.at(sums, groups, rows)
    means: NDArray[np.float64] = sums / np.bincount(groups)[:, None]
    return rows - means[groups]


def _numbered(names: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


ANSWER_TOKENS = 600
"""Enough for a model that thinks before it answers; the answer itself takes about forty."""
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
            raise ConfigError(f"each tune is judged 1 or more times, not {self.times}", reason="bad_judge_times")


@dataclass(frozen=True)
class JudgeTask:
    """One conversation: one tune (an index into the pieces) and one group of questions in one order."""

    tune: int
    group: str
    repeat: int
    questions: tuple[str, ...]


@dataclass(frozen=True)
class JudgeResults:
    """The judge's answers. `malformed` counts unreadable answers, `failed` conversations without one, by reason."""

    answers: list[JudgeAnswer] = field(default_factory=list)
    asked: int = 0
    malformed: int = 0
    failed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """The cost of judging: conversations, and an upper estimate of the tokens in and out."""

    conversations: int
    tokens_in: int
    tokens_out: int

    def dollars(self, price_in: float, price_out: float) -> float:
        """Return the cost in dollars, for prices in dollars a million tokens."""
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


def judge_tasks(pieces: Sequence[Piece], settings: JudgeSettings) -> list[JudgeTask]:
    """Return every conversation, shuffled, so that no system is judged before another.

    Conversations are independent, so no tune is seen beside or after another. The questions of a group begin in an
    order drawn for the picture and rotate by one position from repeat to repeat: tunes for the same picture meet the
    same orders.
    """
    planned = [
        JudgeTask(tune, group, repeat, _ordered(piece.image_id, group, repeat, settings.seed))
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


def prompt(asking: JudgeTask, abc: str) -> str:
    """Return the prompt of one conversation."""
    lines = "\n".join(f"- {name}: {wording()[name]}" for name in asking.questions)
    return fill(f"judge/{asking.group}", abc=abc.strip(), questions=lines)


def cost(pieces: Sequence[Piece], settings: JudgeSettings) -> Cost:
    """Estimate the cost from above: two characters a token, 1000 tokens a picture, every answer at its longest."""
    planned = judge_tasks(pieces, settings)
    texts = [prompt(asking, anonymize(pieces[asking.tune].abc)) for asking in planned]
    tokens = sum(-(-len(text) // _CHARACTERS_A_TOKEN) + _PICTURE_TOKENS for text in texts)
    return Cost(len(planned), tokens, len(planned) * ANSWER_TOKENS)


def ask_judge(
    backend: ChatBackend,
    pieces: Sequence[Piece],
    picture_of: Callable[[Piece], Image.Image | None],
    settings: JudgeSettings,
) -> JudgeResults:
    """Hold every conversation; an answer that cannot be read is counted and left out, never asked for again.

    The music alone is judged with a blank picture, because a conversation always shows one. A tune whose picture cannot
    be opened is not judged beside its picture (`no_picture`).
    """
    planned = judge_tasks(pieces, settings)
    answers: list[JudgeAnswer] = []
    malformed, failed = 0, Counter[str]()
    for start in range(0, len(planned), _AT_ONCE):
        batch = planned[start : start + _AT_ONCE]
        talks = [_conversation(backend, asking, pieces[asking.tune], picture_of) for asking in batch]
        failed["no_picture"] += sum(talk is None for talk in talks)
        open_ones = [(asking, talk) for asking, talk in zip(batch, talks, strict=True) if talk is not None]
        for (asking, _), said in zip(
            open_ones, batch_with_fallback(lambda some: _generate(backend, some, settings), open_ones), strict=True
        ):
            if isinstance(said, Exception):
                failed[getattr(said, "reason", type(said).__name__)] += 1
                continue
            points = read_answer(said, asking.questions)
            malformed += points is None
            answers += [
                JudgeAnswer((asking.tune, question), asking.group, place, value)
                for place, (question, value) in enumerate((points or {}).items())
            ]
    return JudgeResults(answers, len(planned), malformed, {reason: n for reason, n in failed.items() if n})


def read_answer(text: str, questions: Sequence[str]) -> dict[str, int] | None:
    """Parse points by question, in the order asked; None unless each has exactly one whole number from 1 to 7."""
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
    backend: ChatBackend, asking: JudgeTask, piece: Piece, picture_of: Callable[[Piece], Image.Image | None]
) -> Conversation | None:
    image = Image.new("RGB", *_BLANK) if asking.group == "music" else picture_of(piece)
    if image is None:
        return None

    def fits(tunes: Sequence[str]) -> bool:
        return backend.count_tokens(prompt(asking, "".join(tunes))) <= backend.prompt_tokens

    tunes = shortened([anonymize(piece.abc)], fits)
    return Conversation(image, (Message("user", prompt(asking, "".join(tunes))),))


def _generate(
    backend: ChatBackend, batch: Iterable[tuple[JudgeTask, Conversation]], settings: JudgeSettings
) -> list[str]:
    pairs = list(batch)
    # The seed names the repeat and nothing of the tune: what differs between tunes is what is shown.
    seeds: list[int | None] = [picture_seed(settings.seed, f"{asking.group}/{asking.repeat}") for asking, _ in pairs]
    return backend.generate(questions_of([talk for _, talk in pairs], seeds, ANSWER_TOKENS, step="judge"))


ASPECTS = ("Coherence", "Musicality", "Memorability", "Clarity", "Naturalness")
_RESULT = "result.json"
_SHOWN = 300


@dataclass(frozen=True)
class SongEval:
    """SongEval's toolkit: the folder of a checkout, and the interpreter that has its packages.

    By default that is the `python` on the PATH, where there is none `python3`, without either the one of this process.
    """

    folder: Path
    python: str = field(default_factory=lambda: shutil.which("python") or shutil.which("python3") or sys.executable)

    def __post_init__(self) -> None:
        if not (self.folder / "eval.py").is_file():
            raise ConfigError(f"SongEval's folder {self.folder}: there is no eval.py in it", reason="bad_songeval")

    def rate(self, sounds: Mapping[str, bytes]) -> dict[str, dict[str, float]]:
        """Rate WAV bytes by name in one run of the toolkit; return each sound's aspects, from 1 to 5.

        Raises:
            ModelError: the program failed (`songeval_failed`), or left out a file or an aspect (`unusable_answer`).
        """
        with tempfile.TemporaryDirectory() as home:
            sound_folder, out = Path(home) / "sounds", Path(home) / "out"
            sound_folder.mkdir()
            for name, data in sounds.items():
                (sound_folder / f"{name}.wav").write_bytes(data)
            self._run(sound_folder, out)
            return {name: _aspects(found, name) for found in [_result(out)] for name in sounds}

    def _run(self, sounds: Path, out: Path) -> None:
        command = [self.python, "eval.py", "-i", str(sounds), "-o", str(out)]
        try:
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True, env=dict(os.environ))
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            text = " ".join(said.decode("utf-8", "replace").split())[-_SHOWN:]
            raise ModelError(f"SongEval's eval.py failed: {text}", reason="songeval_failed") from error


def _result(out: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads((out / _RESULT).read_text(encoding="utf-8"))
        return {Path(name).stem: aspects for name, aspects in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"SongEval's {_RESULT} cannot be read: {error}", reason="unusable_answer") from error


def _aspects(found: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    try:
        return {aspect: float(found[name][aspect]) for aspect in ASPECTS}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"SongEval's {_RESULT} lacks an aspect of {name}: {error}", reason="unusable_answer"
        ) from error
