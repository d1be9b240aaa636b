"""Rows of the schemas, built from what the stages made."""

from __future__ import annotations

import hashlib
import json
import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.abc.diagnostics import Diagnostic
from image2music.images.scene import Scene
from image2music.images.sources import album_of, member_of
from image2music.music.metrics import Metrics
from image2music.music.planning.plan import (
    Climax,
    Device,
    Motif,
    Plan,
    PlannedVoice,
    Section,
    Silence,
    Surprise,
    VoicePart,
)
from image2music.types import (
    METADATA_COLUMNS,
    AttentionMap,
    CaptionedMidi,
    CaptionedTune,
    Failure,
    Reference,
    RefinedTune,
    Round,
    metadata_key,
)

Row = dict[str, Any]

KEY_COLUMNS = ("image_id", *METADATA_COLUMNS)
"""What `composition_key` reads of a row of schemas/composition.py."""


def composition_key(row: Row) -> bytes:
    """Return what a rerun knows a composition by: its picture, and the metadata that it was composed with."""
    return metadata_key(row["image_id"], row)


_HEX = re.compile(r"[0-9a-f]+")


def ids_by_name(names: Collection[str], rows: Iterable[Mapping[str, Any]], shortest: int) -> dict[str, list[str]]:
    """Return the image_ids of the rows that each name stands for, sorted; none for a name of no row.

    A name is a catalog_id, exactly spelt; where no row has it, the beginning of image_ids, of `shortest` hex digits or
    more. `rows` have image_id, and catalog_id where they know one.
    """
    wanted, ids, by_catalog = {*names}, set[str](), defaultdict[str, set[str]](set)
    for row in rows:
        ids.add(row["image_id"])
        if (catalog_id := row.get("catalog_id")) in wanted:
            by_catalog[catalog_id].add(row["image_id"])
    ordered = sorted(ids)

    def beginning(start: str) -> list[str]:
        if len(start) < shortest or not _HEX.fullmatch(start):
            return []
        return ordered[bisect_left(ordered, start) : bisect_left(ordered, f"{start}g")]  # g comes after every digit

    return {name: sorted(by_catalog.get(name, ())) or beginning(name.lower()) for name in names}


def retried(uris: Iterable[str]) -> frozenset[str]:
    """Return the `uri` of every failure row that may concern these pictures, those of their archives included."""
    uris = list(uris)
    archives = {f"{member.archive}#" for uri in uris if (member := member_of(uri)) is not None}
    return frozenset(printable(uri) for uri in (*uris, *archives))


@dataclass(frozen=True)
class Provenance:
    """Who made a composition, and with what: the same for every row of a run."""

    composer_id: str
    embedder_id: str
    index_uri: str
    index_version: int
    settings_hash: str
    seed: int


def tune_row(tune: CaptionedTune, vector: NDArray[np.float32], embedder_id: str) -> Row:
    """Return a row of schemas/tune.py.

    `row_hash` covers every column but the vector, which follows from them. Licence and source count where they are
    known: a row without either has the hash that it had before there were such columns.
    """
    row: Row = {
        "tune_id": tune.tune_id,
        "location": tune.source.location,
        "caption": tune.source.caption,
        "abc": tune.abc,
        "key": tune.key,
        "meter": tune.meter,
        "tempo_qpm": tune.tempo_qpm,
        "duration_s": tune.duration_s,
        "bars": tune.bars,
        "voices": tune.voices,
        "genre": list(tune.source.genre),
        "mood": list(tune.source.mood),
        "instruments": list(tune.source.instruments),
        "metrics": asdict(tune.metrics),
        "music_id": tune.music_id,
        "image": tune.source.image or None,
        "image_id": tune.source.image_id or None,
        "embedder_id": embedder_id,
    }
    later = {"licence": tune.source.licence or None, "source": tune.source.source or None}
    known = {name: text for name, text in later.items() if text is not None}
    content = json.dumps(row | known, sort_keys=True, ensure_ascii=True)
    return row | later | {"vector": vector, "row_hash": hashlib.sha256(content.encode()).hexdigest()}


def tune_of_row(row: Row, source: CaptionedMidi, picture: Image | None = None) -> CaptionedTune:
    """Return the tune of a row of the index with its notes as they are there, and what `source` says of it now."""
    same = {name: row[name] for name in ("tune_id", "abc", "key", "meter", "tempo_qpm", "duration_s", "bars", "voices")}
    return CaptionedTune(
        **same, source=source, metrics=Metrics(**row["metrics"]), music_id=row["music_id"], picture=picture
    )


def composition_row(refined: RefinedTune, provenance: Provenance, composed_at: datetime) -> Row:
    """Return a row of schemas/composition.py."""
    context, tune = refined.context, refined.tune
    described, ref = context.described, context.described.ref
    assert tune.draft.metrics is not None
    return {
        "image_id": ref.image_id,
        "image_uri": printable(ref.uri),
        "image_uris": [printable(uri) for uri in ref.uris],
        "album": printable(album_of(ref.uri)),
        **ref.brief.row,
        "width": described.width,
        "height": described.height,
        "description": described.description.text,
        "scene": scene_row(described.description.scene),
        "image_embedding": context.image_embedding,
        "description_embedding": context.description_embedding,
        "references": [_reference(reference) for reference in context.references],
        "plan": plan_row(tune.plan, tune.unmet),
        "abc": tune.draft.abc,
        "title": tune.title,
        "key": tune.key,
        "meter": tune.meter,
        "tempo_qpm": tune.tempo_qpm,
        "midi": tune.midi,
        "motivation": valid_text(tune.explanation.motivation),
        "metrics": asdict(tune.draft.metrics),
        "critic": tune.draft.critic,
        "rounds": [_round(step) for step in tune.rounds],
        "attention": [_attention(attention) for attention in tune.explanation.attention],
        **asdict(provenance),
        "seconds": refined.seconds,
        "composed_at": composed_at,
        "rights": refined.rights,
    }


def failure_row(failure: Failure, failed_at: datetime) -> Row:
    """Return a row of schemas/failure.py."""
    return asdict(failure) | {"uri": printable(failure.uri), "id": printable(failure.id), "failed_at": failed_at}


def now() -> datetime:
    """Return this moment in UTC."""
    return datetime.now(UTC)


def valid_text(text: str) -> str:
    """Return a model's text as UTF-8 can hold it: halves of surrogate pairs, which JSON may bring, become `?`."""
    return text.encode("utf-8", "replace").decode()


def printable(uri: str) -> str:
    """Return a file name as given; bytes that are not UTF-8 are spelt in hex, for Parquet holds only UTF-8."""
    return os.fsencode(uri).decode("utf-8", errors="backslashreplace")


def scene_row(scene: Scene | None) -> Row | None:
    """Return the column `scene` of schemas/composition.py."""
    if scene is None:
        return None
    row: Row = _texts(asdict(scene))
    return row | {"things": [{"name": valid_text(name), "confidence": share} for name, share in scene.things]}


def scene_of_row(row: Row | None) -> Scene | None:
    """Return the inverse of `scene_row`."""
    if row is None:
        return None
    things = tuple((thing["name"], thing["confidence"]) for thing in row["things"] or ())
    return Scene(**_tuples(row) | {"things": things})


def plan_row(plan: Plan | None, unmet: Sequence[str] = ()) -> Row | None:
    """Return the column `plan` of schemas/composition.py; `unmet` names the wishes that it does not meet."""
    if plan is None:
        return None
    row: Row = _texts(asdict(plan))
    return row | {"unmet": [valid_text(wish) for wish in unmet]}


def plan_of_row(row: Row) -> Plan:
    """Return the inverse of `plan_row`, without `unmet`."""
    plain = {name: value for name, value in _tuples(row).items() if name != "unmet"}
    sections = tuple(
        Section(**_tuples(s) | {"parts": tuple(VoicePart(**p) for p in s["parts"])}) for s in row["sections"]
    )
    return Plan(
        **plain
        | {
            "voices": tuple(PlannedVoice(**voice) for voice in row["voices"]),
            "sections": sections,
            "motif": Motif(**row["motif"]) if row["motif"] else None,
            "device": Device(**_tuples(row["device"])) if row["device"] else None,
            "surprise": Surprise(**row["surprise"]) if row["surprise"] else None,
            "climax": Climax(**row["climax"]) if row["climax"] else None,
            "silences": tuple(Silence(**silence) for silence in row["silences"]),
        }
    )


def _tuples(row: Row) -> Row:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _texts(value: Any) -> Any:
    """Return a structure whose texts UTF-8 can hold, tuples as lists."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {name: _texts(one) for name, one in value.items()}
    return [_texts(one) for one in value] if isinstance(value, list | tuple) else value


def _reference(reference: Reference) -> Row:
    row = asdict(reference)
    del row["metrics"]
    return row


def _round(step: Round) -> Row:
    draft = step.draft
    return {
        "purpose": step.purpose,
        "abc": draft.abc,
        "diagnostics": _diagnostics([*draft.mends, *draft.diagnostics]),
        "faults": [fault.as_json() for fault in draft.faults],
        "metrics": asdict(draft.metrics) if draft.metrics else None,
        "critic": draft.critic,
        "accepted": step.accepted,
        "reason": step.reason,
    }


def _diagnostics(diagnostics: Sequence[Diagnostic]) -> list[Row]:
    rows = [asdict(diagnostic) for diagnostic in diagnostics]
    for row in rows:
        del row["severity"], row["repair"]
    return rows


def _attention(attention: AttentionMap) -> Row:
    rows, cols = attention.weights.shape
    return {
        "segment": attention.segment,
        "kind": attention.kind,
        "text": valid_text(attention.text),
        "rows": rows,
        "cols": cols,
        "weights": _halves(attention.weights),
        "baseline": _halves(attention.baseline),
        "layers": None if attention.layers is None else _halves(attention.layers),
        "faithfulness": _faithfulness(attention),
    }


def _faithfulness(attention: AttentionMap) -> list[Row] | None:
    if attention.faithfulness is None:
        return None
    return [{"measure": measure, "value": value} for measure, value in attention.faithfulness.items()]


def _halves(weights: NDArray[np.float32]) -> NDArray[np.float16]:
    return weights.astype(np.float16).ravel()
