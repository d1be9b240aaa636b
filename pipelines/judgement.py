"""The judge and SongEval over all systems at once, and what they would cost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from image2music.composers import specs as composers
from image2music.composers.chat.backend import ChatBackend
from image2music.composers.chat.composer import ChatComposer
from image2music.errors import ConfigError
from image2music.scoring.answer_columns import add_answers, mean_spread
from image2music.scoring.judging import ANSWER_TOKENS, Cost, cost
from image2music.scoring.judging import judge as ask_judge
from image2music.scoring.order_effects import cleared
from image2music.scoring.pieces import Piece
from image2music.scoring.questions import judge_prompts_version
from image2music.scoring.songeval import SongEval
from pipelines.study import sound
from pipelines.systems import System, open_image

if TYPE_CHECKING:
    from pipelines.score import Scored, ScoreOptions

_PICTURES_KEPT = 64


def plan(options: ScoreOptions, systems: Sequence[System]) -> str:
    """What would be measured, and what a judge would cost."""
    lines = [f"{system.name}: {len(system.pieces)} pictures" for system in systems]
    if options.judge is None:
        return "\n".join([*lines, "no judge: nothing is sent anywhere, nothing costs anything"])
    found = cost([piece for system in systems for piece in system.pieces], options.judging)
    return "\n".join(
        [*lines, f"judge {options.judge}, each tune {options.judging.times} times: {_told(found, options)}"]
    )


def judge(options: ScoreOptions, scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Put the judge's answers into the rows; None without one. What it costs is said on stderr first.

    Raises:
        ConfigError: the spec names no chat model (`bad_judge`).
    """
    if options.judge is None:
        return None
    backend = _backend(options.judge)
    pieces = [piece for one in scored for piece in one.system.pieces]
    print(f"image2music: judge {backend.id}: {_told(cost(pieces, options.judging), options)}", file=sys.stderr)
    opened = lru_cache(maxsize=_PICTURES_KEPT)(lambda at: open_image(pieces[at]))
    places = {id(piece): at for at, piece in enumerate(pieces)}

    def picture_of(piece: Piece) -> Image | None:
        return opened(places[id(piece)])

    verdicts = ask_judge(backend, pieces, picture_of, options.judging)
    rows = [row for one in scored for row in one.rows]
    add_answers(
        rows, "judge", ((answer.subject[0], answer.subject[1], answer.points) for answer in cleared(verdicts.answers))
    )
    return {
        "id": backend.id,
        "prompts": judge_prompts_version(),
        "times": options.judging.times,
        "conversations": verdicts.asked,
        "malformed": verdicts.malformed,
        "failed": verdicts.failed,
        "spread": {one.system.name: mean_spread(one.rows, "judge") for one in scored},
    }


def songeval(options: ScoreOptions, scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Put SongEval's aspects into the rows; None where its toolkit is not given."""
    if options.songeval is None:
        return None
    toolkit = SongEval(options.songeval)
    rows = [row for one in scored for row in one.rows]
    pieces = [piece for one in scored for piece in one.system.pieces]
    sounds = {str(at): sound(piece) for at, piece in enumerate(pieces) if piece.score}
    rated = toolkit.rate(sounds)
    given = [(int(at), aspect.lower(), points) for at, aspects in rated.items() for aspect, points in aspects.items()]
    add_answers(rows, "songeval", given)
    return {"folder": str(options.songeval), "tunes": len(rated)}


def _told(found: Cost, options: ScoreOptions) -> str:
    text = (
        f"{found.conversations} conversations, about {found.tokens_in:,} tokens in and at most {found.tokens_out:,} "
        f"out ({ANSWER_TOKENS} an answer)"
    )
    if options.price is None:
        return f"{text}; --price IN,OUT (dollars a million tokens) makes it money"
    return f"{text}, at most ${found.dollars(*options.price):,.2f}"


def _backend(spec: str) -> ChatBackend:
    if spec.partition(":")[0] in ("openai", "transformers"):
        composer = composers.load_composer(spec)
        if isinstance(composer, ChatComposer):
            return composer.backend
    message = f"--judge takes openai:BASE_URL#MODEL or transformers:ID_OR_PATH, not {spec!r}"
    raise ConfigError(message, reason="bad_judge")
