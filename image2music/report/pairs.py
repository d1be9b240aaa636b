"""Two tunes for one picture side by side: candidates of one run, or what two runs wrote, under the names A and B."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from image2music.evaluation.votes import Compared, tune_mark
from image2music.report.rounds import RowCandidate, fault_lines, reason_words, row_candidates, standing_round
from image2music.report.site import card_id
from image2music.report.tunes import drawn_score, piano_roll, playback


@dataclass(frozen=True)
class Side:
    """One of two tunes: `name` and `facts` are told when the names are shown, `mark` is what votes call the tune."""

    name: str
    mark: str
    facts: tuple[str, ...]


def standing_side(row: Mapping[str, Any], name: str) -> Side:
    """Return a row's tune as one side."""
    faults = fault_lines(standing_round(row["rounds"]))
    return Side(name, tune_mark(row["abc"]), tuple(_facts(row.get("critic"), faults)))


def standing_name(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return what the tune that stands is called among the candidates."""
    chosen = next((each.number for each in row_candidates(rounds) if each.round["accepted"]), 1)
    edited = any(each["purpose"] == "edit" and each["accepted"] for each in rounds)
    return f"candidate {chosen}, chosen{' and edited' if edited else ''}"


def rival_side(other: RowCandidate) -> Side:
    """Return a candidate that was not chosen as the other side."""
    reason = reason_words(other.round["reason"])
    facts = _facts(other.round["critic"], fault_lines(other.round), reason)
    return Side(f"candidate {other.number}", tune_mark(other.round["abc"]), tuple(facts))


def _facts(critic: float | None, faults: Sequence[str], reason: str = "") -> list[str]:
    facts = [f"critic {critic:.2f}"] if critic is not None else []
    return [*facts, *([f"not chosen: {reason}"] if reason else []), *faults]


@dataclass(frozen=True)
class Pair:
    """Two tunes for one picture as the page lists them; `page` names its files, `a` and `b` are in the order shown.

    `catalog_id` is the picture's id in the user's catalogue, "" without one.
    """

    image_id: str
    catalog_id: str
    page: str
    file_name: str
    compared: Compared
    a: Side
    b: Side


def pair_of(image_id: str, file_name: str, compared: Compared, one: Side, two: Side, *, catalog_id: str = "") -> Pair:
    """Return two sides in an order that says nothing: it is drawn from the picture and the two tunes."""
    marks = sorted((one.mark, two.mark))
    drawn = hashlib.sha256("/".join((image_id, compared, *marks)).encode()).digest()[0] % 2
    first, second = sorted((one, two), key=lambda side: side.mark)
    shown = (second, first) if drawn else (first, second)
    return Pair(image_id, catalog_id, card_id(image_id), file_name, compared, *shown)


def tune_file(page: str, mark: str) -> str:
    """Return the name of a side's file, without its ending: under it lie its script and, where rendered, its sound."""
    return f"{page}-{mark}"


def tune_script(abc: str, midi: bytes, sound: str) -> str:
    """Return a tune as a script that hands it to the page; `sound` is the address of its sound, "" without one.

    Raises:
        AbcError: as `drawn_score`.
        MidiError: as `playback`.
    """
    played = playback(midi, abc)
    score = drawn_score(abc, midi)
    data = {
        "playback": asdict(played),
        "roll": piano_roll(played),
        "score": score.packed() if score else "",
        "sound": sound,
    }
    return f"heard({_json(data)});\n"


def pair_json(pair: Pair) -> str:
    """Return a pair as `pairs_script` takes it."""
    return _json(asdict(pair))


def side_json(side: Side) -> str:
    """Return a side as JSON."""
    return _json(asdict(side))


def side_of_json(text: str) -> Side:
    """Return the side that `side_json` wrote."""
    side = json.loads(text)
    return Side(side["name"], side["mark"], tuple(side["facts"]))


def pairs_script(report: str, pairs: Iterable[str]) -> Iterator[str]:
    """Yield the list of pairs, each from `pair_json`, as a script; `report` names the votes' place in the browser."""
    yield f"const REPORT = {_json(report)};\nconst PAIRS = [\n"
    for pair in pairs:
        yield f"{pair},\n"
    yield "];\n"


def _json(data: object) -> str:
    """Return JSON that is a script's value."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True)
