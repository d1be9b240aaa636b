"""From pieces to rows of schemas/score.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from image2music.copying import longest_shared_run, voices_of
from image2music.loop.targets import distance, targets_over
from image2music.notation.metrics import metrics_of_score
from image2music.notation.score import Score
from image2music.scoring.agreement import asked_by, key_agreement, tempo_agreement
from image2music.scoring.bars import validity
from image2music.scoring.diversity import longest_shared_with_others, melody
from image2music.scoring.groove import groove_consistency
from image2music.scoring.measures import FAITHFULNESS_PREFIX, MEASURES, METRICS_PREFIX
from image2music.scoring.pieces import Piece, hear

Row = dict[str, Any]


def score_rows(system: str, pieces: Sequence[Piece]) -> list[Row]:
    """A row for each piece of one system, in order; answers and `picture_music` are still to come."""
    similar = self_similarity(pieces)
    return [_row(system, piece, alike) for piece, alike in zip(pieces, similar, strict=True)]


def self_similarity(pieces: Sequence[Piece]) -> list[float | None]:
    """Longest run shared with any other piece, as a share of the melody's notes; None where there is nothing to share.

    Pieces for the same picture count as different ones only if their ids differ.
    """
    lines = [melody(piece.score) if piece.score else [] for piece in pieces]
    if sum(map(bool, lines)) < 2:
        return [None] * len(pieces)
    runs = longest_shared_with_others(lines)
    return [run / (len(line) + 1) if line else None for run, line in zip(runs, lines, strict=True)]


def _row(system: str, piece: Piece, alike: float | None) -> Row:
    row: Row = {
        "system": system,
        "image_id": piece.image_id,
        "image_uri": piece.image_uri,
        **asdict(validity(piece)),
        "metrics": None,
        "self_similarity": alike,
        "faithfulness": [{"measure": name, "value": value} for name, value in piece.faithfulness] or None,
        "answers": [],
    }
    return row | _of_score(piece.score, piece) if piece.score else row


def _of_score(score: Score, piece: Piece) -> Row:
    metrics = metrics_of_score(score)
    references = [heard for heard in map(hear, piece.references) if heard]
    asked = asked_by(piece.description)
    voices = voices_of(score)
    notes = max((len(voice) + 1 for voice in voices), default=0)
    copied = max((longest_shared_run(voices, heard.voices) for heard in references), default=None)
    return {
        "metrics": asdict(metrics),
        "metrics_distance": distance(metrics, targets_over([h.metrics for h in references])) if references else None,
        "groove_consistency": groove_consistency(score),
        "key_agreement": key_agreement(score, asked),
        "tempo_agreement": tempo_agreement(score, asked),
        "longest_copy": copied,
        "copied_share": copied / notes if copied is not None and notes else None,
    }


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by the names of `measures.measure_of`; what is not known is left out."""
    found = {name: row.get(name) for name in MEASURES}
    found |= {f"{METRICS_PREFIX}{name}": value for name, value in (row["metrics"] or {}).items()}
    found |= {f"{FAITHFULNESS_PREFIX}{entry['measure']}": entry["value"] for entry in row["faithfulness"] or []}
    found |= {f"{answer['who']}.{answer['question']}": answer["mean"] for answer in row["answers"]}
    return {name: float(value) for name, value in found.items() if value is not None}
