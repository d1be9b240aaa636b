"""Does nano do what its control tokens ask?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from image2music.composers.base import ComposeRequest
from image2music.composers.nano.composer import NanoComposer
from image2music.composers.nano.reading import read_plan_and_melody
from image2music.notation.abc_to_midi import abc_to_score
from image2music.notation.key_detection import detect_key
from image2music.pictures import open_picture

ASKED = (
    ("mode", ("major",)),
    ("mode", ("minor",)),
    ("tempo", ("slow",)),
    ("tempo", ("fast",)),
    ("range", ("lowest",)),
    ("range", ("highest",)),
)


def obedience(composer: NanoComposer, picture: Path, tries: int) -> list[dict[str, Any]]:
    """One row a wish: share of tunes that deliver it, one draw each, no second try.

    The mode counts when K: says it, and apart from that when a key detector that sees only the notes says it. Narrow
    is at most 12 semitones in the melody, wide more than 20; slow is below 88 quarter notes a minute, fast from 132.
    """
    image = open_picture(picture.read_bytes()).image
    description = composer.describe([image])[0]
    rows = []
    for slot, words in ASKED:
        requests = [ComposeRequest(str(i), image, description, (), seed) for i, seed in enumerate(range(tries))]
        tunes = composer.compose_as_asked(requests, {slot: words})
        delivered = [read_plan_and_melody(abc)[0].get(slot) in words for abc in tunes]
        row = {"asked": f"{slot} {words[0]}", "tries": tries, "delivered": sum(delivered) / tries}
        heard = sum(_detected_mode(abc) == words[0] for abc in tunes) / tries
        row["key detector agrees"] = heard if slot == "mode" else "-"
        rows.append(row)
    return rows


def _detected_mode(abc: str) -> str:
    score = abc_to_score(abc)
    weights = np.zeros(12)
    for track in score.tracks:
        weights += np.bincount(track.pitches % 12, track.durations, 12)
    return "minor" if detect_key(weights)[1] else "major"
