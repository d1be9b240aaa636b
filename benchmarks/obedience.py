"""Does nano do what its control tokens ask?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from image2music.composers.base import ComposeRequest
from image2music.composers.nano.composer import NanoComposer, heard_mode
from image2music.composers.nano.reading import read_controls_and_melody
from image2music.images.decode import open_picture

ASKED = (
    ("mode", ("major",)),
    ("mode", ("minor",)),
    ("tempo", ("slow",)),
    ("tempo", ("fast",)),
    ("range", ("lowest",)),
    ("range", ("highest",)),
)


def obedience(composer: NanoComposer, picture: Path, tries: int) -> list[dict[str, Any]]:
    """One row a wish: share of tunes that deliver it. nano itself draws again, up to four times.

    The mode counts when K: says it, and apart from that when a key detector that sees only the notes says it. Narrow
    is at most 12 semitones in the melody, wide more than 20; slow is below 88 quarter notes a minute, fast from 132.
    """
    image = open_picture(picture.read_bytes()).image
    description = composer.look([image])[0]
    rows = []
    for slot, words in ASKED:
        requests = [ComposeRequest(str(i), image, description, (), seed) for i, seed in enumerate(range(tries))]
        tunes = composer.write_as_asked(requests, {slot: words})
        delivered = [read_controls_and_melody(abc)[0].get(slot) in words for abc in tunes]
        row = {"asked": f"{slot} {words[0]}", "tries": tries, "delivered": sum(delivered) / tries}
        heard = sum(heard_mode(read_controls_and_melody(abc)[1]) == words[0] for abc in tunes) / tries
        row["key detector agrees"] = heard if slot == "mode" else "-"
        rows.append(row)
    return rows
