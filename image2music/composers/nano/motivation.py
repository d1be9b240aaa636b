"""nano's motivation: the plan in sentences, each with the plan slots that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass

from image2music.composers.base import ExplainRequest
from image2music.composers.nano.abc_text import key_words
from image2music.composers.nano.plan import LEVELS, TONICS, Plan
from image2music.composers.nano.seeing import Seen


@dataclass(frozen=True)
class Sentence:
    """One sentence and the slots whose tokens it puts into words."""

    text: str
    slots: tuple[str, ...]


def motivate(seen: Seen, plan: Plan, request: ExplainRequest, heard: int) -> tuple[Sentence, ...]:
    """Mood and mode, movement, and the line with what was in its ear, a sentence each; in an album one more.

    `heard` is how many references the model listens to, the nearest first. A sentence names no slot that the album
    filled: where the model looked had no part in it.
    """
    if request.request.album is not None:
        key = key_words(TONICS.index(plan["tonic"]), plan["mode"])
        return (
            Sentence(_sight(seen) + ".", ()),
            Sentence(f"Its album asks for {key}, {plan['meter']}, {plan['tempo']}, and the motif it opens with.", ()),
            Sentence(_movement(plan), ("kind", "density")),
            Sentence(_line(plan, request, heard), ("range", "register", "leaps", "pitch_entropy")),
        )
    return (
        Sentence(_mood(seen, plan), ("tempo", "mode", "tonic")),
        Sentence(_movement(plan), ("kind", "meter", "density")),
        Sentence(_line(plan, request, heard), ("range", "register", "leaps", "pitch_entropy")),
    )


def _sight(seen: Seen) -> str:
    light = "dark" if seen.brightness < 0.3 else "bright" if seen.brightness > 0.65 else "evenly lit"
    edge = "soft" if seen.contrast < 0.35 else "strong" if seen.contrast > 0.65 else "moderate"
    shows = f"{_article(seen.subject)} in a picture" if seen.subject else "a picture"
    return f"I saw {shows} that is {light}, of {edge} contrast and {seen.mood} in mood"


def _mood(seen: Seen, plan: Plan) -> str:
    key = key_words(TONICS.index(plan["tonic"]), plan["mode"])
    return f"{_sight(seen)}, so the tune is {plan['tempo']} and in {key}."


def _movement(plan: Plan) -> str:
    manner = f"like {_article(plan['kind'])}" if "kind" in plan else "freely"
    pace = ("very few", "few", "a fair number of", "many", "very many")[LEVELS.index(plan["density"])]
    return f"It moves {manner} in {plan['meter']}, with {pace} notes to a bar."


def _line(plan: Plan, request: ExplainRequest, heard: int) -> str:
    span = ("narrow", "modest", "medium", "wide", "very wide")[LEVELS.index(plan["range"])]
    motion = "by steps" if LEVELS.index(plan["leaps"]) < 2 else "by leaps as well as steps"
    line = f"The melody keeps to a {span} range and goes {motion}"
    references = request.request.references[:heard]
    if not references:
        return line + "."
    names = "one tune" if len(references) == 1 else f"{len(references)} tunes"
    nearest = f", the nearest of them {_quoted(references[0].caption)}" if references[0].caption else ""
    return f"{line}; {names} from the index were in its ear{nearest}."


def _quoted(caption: str) -> str:
    first = caption.split(". ")[0].rstrip(".")
    return f"“{first if len(first) <= 120 else first[:117].rsplit(' ', 1)[0] + ' …'}”"


def _article(noun: str | None) -> str:
    noun = noun or ""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
