"""What a tune was made of and by whom, for a person who disputes a claim, and for files that travel without their row.

Nothing here is legal advice: it says what was done, under which licences where somebody named them, and never invents
one. The longest copied run is found by the rule that bounds it while a tune is composed (`music.similarity`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from image2music import __version__
from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError
from image2music.music.planning.plan import Plan
from image2music.music.score import Score
from image2music.music.similarity import (
    LONGEST_ALLOWED,
    find_shared_run,
    melody_steps,
    sung_tracks,
    top_line,
)
from schemas.composition import TRAINED_ALGORITHMIC_MEDIA

RIGHTS_VERSION = 1
"""Raise it when the column `rights` says otherwise of the same tune."""

RIGHTS_COLUMNS = ("image_id", "title", "composer_id", "settings_hash", "seed", "composed_at", "rights")
"""What `file_tags` reads of a row of schemas/composition.py; rows of earlier releases have no `rights`."""

PASSPORT_COLUMNS = (
    *RIGHTS_COLUMNS,
    "catalog_id",
    "image_uri",
    "embedder_id",
    "index_uri",
    "index_version",
    "abc",
    "plan",
    "references",
)
"""What `passport` reads, and what the column `rights` of an earlier release's row can be made of."""

NOTE = (
    "Software composed this tune for a picture. It was shown the references as examples and may have taken over "
    "instruments, figures and rhythms from them; the longest run of notes that it shares with one is measured."
)


@dataclass(frozen=True)
class ModelLicences:
    """Licences of the models that made a row, as their cards or people name them; None where nobody does."""

    composer: str | None = None
    embedder: str | None = None


@dataclass(frozen=True)
class CopiedRun:
    """A run of `notes` notes that a tune shares with a reference, in any key.

    `voice` is the place of the voice in the tune, bars are those in which the run begins and ends, all from 1;
    `reference_bar` is where it begins in the reference.
    """

    notes: int
    tune_id: str
    location: str
    voice: int
    bar: int
    last_bar: int
    reference_bar: int


def longest_copied_run(abc: str, plan: Plan | None, references: Sequence[Mapping[str, Any]]) -> CopiedRun | None:
    """Return the longest run that what is sung shares with a reference; of equal ones that of the first reference.

    `references` have tune_id, location and abc. None where nothing is shared, or a text cannot be played.
    """
    score = _played(abc)
    if score is None:
        return None
    sung = sung_tracks(score, plan)
    own = [melody_steps(track, score.ticks_per_quarter) for _, track in sung]
    best: CopiedRun | None = None
    for reference in references:
        other = _played(reference["abc"])
        theirs = sung_tracks(other, None) if other is not None else []
        run = find_shared_run(own, [melody_steps(track, other.ticks_per_quarter) for _, track in theirs if other])
        if run is None or other is None or run.notes <= (best.notes if best else 0):
            continue
        at, track = sung[run.line]
        onsets = top_line(track)[0]
        best = CopiedRun(
            notes=run.notes,
            tune_id=reference["tune_id"],
            location=reference["location"],
            voice=at + 1,
            bar=_bar_at(score, onsets[run.start]),
            last_bar=_bar_at(score, onsets[run.start + run.notes - 1]),
            reference_bar=_bar_at(other, top_line(theirs[run.other][1])[0][run.other_start]),
        )
    return best


@lru_cache(maxsize=64)
def _played(abc: str) -> Score | None:
    """Return a tune as it plays; None for one that cannot be played. Cached: a tune is a reference of many."""
    try:
        return abc_to_score(abc)
    except AbcError:
        return None


def _bar_at(score: Score, tick: np.int64) -> int:
    starts = np.array([start.tick for start in score.bar_starts], dtype=np.int64)
    at = int(np.searchsorted(starts, tick, "right")) - 1
    return score.bar_starts[at].number if at >= 0 else 1


def rights_row(
    composer_id: str, licences: ModelLicences, references: Sequence[Mapping[str, Any]], copied: CopiedRun | None
) -> dict[str, Any]:
    """Return the column `rights` of schemas/composition.py; `references` are those of the row."""
    return {
        "made_by_ai": True,
        "digital_source_type": TRAINED_ALGORITHMIC_MEDIA,
        "composer": composer_id,
        "composer_licence": licences.composer,
        "embedder_licence": licences.embedder,
        "copied_run": asdict(copied) if copied else None,
        "references": [
            {name: reference.get(name) for name in ("tune_id", "location", "licence", "source")}
            for reference in references
        ],
        "note": NOTE,
    }


def file_tags(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what every file made of a row says of itself, by the names of tags.

    The comment holds IPTC's address for media made by AI, which machines look for. Works for rows without `rights`.
    """
    rights = row.get("rights") or {}
    composer = model_name(row["composer_id"])
    licence = rights.get("composer_licence")
    seed, settings = row["seed"], row["settings_hash"][:16]
    about = [
        f"Made by AI ({TRAINED_ALGORITHMIC_MEDIA})",
        f"composed by {composer} for the picture {row['image_id'][:16]}, seed {seed}, settings {settings}",
    ]
    if (run := rights.get("copied_run")) is not None:
        about.append(f"longest run shared with a reference: {run['notes']} notes, {run['location']}")
    return {
        "title": row["title"],
        "artist": f"{composer} (AI)",
        "comment": "; ".join(about),
        "copyright": f"Made by AI; licence of the composing model: {licence or 'not known'}",
        "software": f"image2music {__version__}",
        "date": f"{row['composed_at']:%Y-%m-%d}",
    }


def model_name(model_id: str) -> str:
    """Return the short name of a model: without its kind, revision and what else it is made of."""
    if model_id.startswith("openai:"):
        return model_id.rpartition("#")[2].partition("+attention=")[0]
    return model_id.removeprefix("transformers:").partition("@")[0].partition("+")[0]


def _composer_words(model_id: str) -> str:
    """Return in plain words who composed: which model, and where it ran."""
    name = model_name(model_id)
    if model_id.startswith("nano-"):
        return "nano, which is image2music's own search and no language model"
    if model_id.startswith("transformers:"):
        return f"{name}, a model that ran where the pictures were composed"
    if model_id.startswith("openai:"):
        return f"{name}, a model behind the server {model_id.removeprefix('openai:').rpartition('#')[0]}"
    return name


def passport(row: Mapping[str, Any], *, again: str = "", lies_in: str = "") -> str:
    """Return the rights of a tune as text for a person: a heading, and a line for each fact.

    `row` has `PASSPORT_COLUMNS`; of one without the column `rights` the copied run is not known here. `again` says how
    to make it again, `lies_in` where the row is where that is no matter of course.
    """
    rights = row.get("rights") or rights_row(row["composer_id"], ModelLicences(), row["references"], None)
    lines = {
        "picture": f"{row['image_id']}, {row['image_uri']}",
        "catalog_id": row.get("catalog_id") or "",
        "lies in": lies_in,
        "made by": f"AI ({rights['digital_source_type']}), {row['composed_at']:%Y-%m-%d %H:%M:%S} UTC",
        "composer": f"{_composer_words(rights['composer'])}; licence: {rights['composer_licence'] or 'not known'}",
        "embedder": f"{row['embedder_id']}; licence: {rights['embedder_licence'] or 'not known'}",
        "copied": _copied_words(rights["copied_run"], len(rights["references"])),
        "index": f"{row['index_uri']}, version {row['index_version']}",
        "seed": str(row["seed"]),
        "settings": row["settings_hash"],
        "composer_id": rights["composer"],
    }
    said = [f"{name:12}{value}" for name, value in lines.items() if value]
    for number, reference in enumerate(rights["references"], start=1):
        known = (f"{name}: {reference[name] or 'not known'}" for name in ("licence", "source"))
        about = f"{reference['location']} ({reference['tune_id'][:16]}); {'; '.join(known)}"
        said.append(f"{f'reference {number}':12}{about}")
    said.append(f"{'again':12}{again}" if again else "")
    return "\n".join([row["title"], *filter(None, said), f"{'note':12}{rights['note']}"])


def _copied_words(run: Mapping[str, Any] | None, references: int) -> str:
    if run is None:
        return "no run of notes is shared with a reference" if references else "there were no references"
    bars = f"bar {run['bar']}" if run["bar"] == run["last_bar"] else f"bars {run['bar']} to {run['last_bar']}"
    bound = "within" if run["notes"] <= LONGEST_ALLOWED else "beyond"
    return (
        f"{run['notes']} notes in a row at most, in {bars} of voice {run['voice']}, as from bar {run['reference_bar']} "
        f"of {run['location']}; {bound} the bound of {LONGEST_ALLOWED} notes"
    )
