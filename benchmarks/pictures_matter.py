"""Do pictures matter? The same seeds and no references; only the picture changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score
from image2music.composers.base import ComposeRequest, WriteRequest
from image2music.composers.nano.composer import MINOR_MODES, NanoComposer
from image2music.composers.nano.reading import read_controls_and_melody
from image2music.composers.suiting import suiting_music
from image2music.images.decode import open_picture
from image2music.images.scene import Scene

SEEDS = range(4)


def pictures_matter(composer: NanoComposer, pictures: Sequence[Path]) -> list[dict[str, Any]]:
    """One row a character of the music that suits (`suiting_music`), the commonest first, and one of all pictures.

    Each picture gets a tune with each of `SEEDS`. `arousal` is the scenes' mean, `instruments` counts programs.
    """
    images = [open_picture(path.read_bytes()).image for path in pictures]
    descriptions = [composer.look([image])[0] for image in images]
    tunes = []
    for path, image, seen in zip(pictures, images, descriptions, strict=True):
        requests = [WriteRequest(ComposeRequest(path.name, image, seen, (), seed)) for seed in SEEDS]
        tunes.append(composer.write(requests))
    scenes = [description.scene or Scene("") for description in descriptions]
    characters = [suiting_music(scene).character for scene in scenes]
    rows = []
    for name, _ in [*Counter(characters).most_common(), ("all", 0)]:
        own = [at for at, one in enumerate(characters) if name in (one, "all")]
        abcs = [abc for at in own for abc in tunes[at]]
        modes = [read_controls_and_melody(abc)[0]["mode"] for abc in abcs]
        programs = {track.program for abc in abcs for track in abc_to_score(abc).tracks if track.channel != 9}
        first = [tunes[at][0] for at in own]
        rows.append(
            {
                "suits": name,
                "pictures": len(own),
                "arousal": float(np.mean([scenes[at].arousal or 0.0 for at in own])),
                "mean tempo (quarter notes a minute)": float(np.mean([_qpm(abc) for abc in abcs])),
                "share in minor or dorian": float(np.mean([mode in MINOR_MODES for mode in modes])),
                "instruments": len(programs),
                "different tunes of one seed": len(set(first)) / len(first),
            }
        )
    return rows


def _qpm(abc: str) -> float:
    tempo = parse(abc).tunes[0].tempo
    assert tempo is not None
    return tempo.qpm
