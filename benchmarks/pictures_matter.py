"""Do pictures matter? One seed and no references; only the picture changes.

`python -m benchmarks.pictures_matter --pictures DIR [--takes 1]` prints one row a character of the music that suits
(`suiting_music`), the commonest first, and one of all pictures. Each picture gets a tune with each seed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.composers import registry
from image2music.composers.base import Composer, ComposeRequest
from image2music.composers.suiting import suiting_music
from image2music.images.decode import open_picture
from image2music.images.scene import Scene
from image2music.loop.chain import compose_batch
from image2music.music.similarity import music_id
from image2music.music.theory import read_tonality
from image2music.settings import LoopSettings
from image2music.types import ComposedTune

_DARK = ("minor", "dorian")
_HEADS = ("suits", "pictures", "arousal", "mean tempo", "share in minor or dorian", "meters", "instruments",
          "devices", "different tunes of one seed")  # fmt: skip


def tunes_by_picture(
    composer: Composer, pictures: Sequence[Path], takes: int
) -> list[tuple[Scene, list[ComposedTune]]]:
    """The scene of each picture and its tunes, one a seed.

    Raises:
        Exception: whatever kept a tune from being composed.
    """
    found = []
    for path in pictures:
        image = open_picture(path.read_bytes()).image
        (seen,) = composer.look([image])
        requests = [ComposeRequest(path.name, image, seen, (), seed) for seed in range(takes)]
        tunes = []
        for tune in compose_batch(composer, requests, LoopSettings(candidates=1)):
            if isinstance(tune, Exception):
                raise tune
            tunes.append(tune)
        found.append((seen.scene or Scene(""), tunes))
    return found


def table(found: Sequence[tuple[Scene, list[ComposedTune]]]) -> str:
    """The rows as Markdown. `arousal` is the scenes' mean; meters, instruments and devices are counted."""
    characters = [suiting_music(scene).character for scene, _ in found]
    lines = [f"| {' | '.join(_HEADS)} |", "|" + "---|" * len(_HEADS)]
    for name, _ in [*Counter(characters).most_common(), ("all", 0)]:
        own = [one for one, character in zip(found, characters, strict=True) if name in (character, "all")]
        tunes = [tune for _, some in own for tune in some]
        plans = [tune.plan for tune in tunes if tune.plan is not None]
        dark = [(tonality := read_tonality(tune.key)) is not None and tonality.mode in _DARK for tune in tunes]
        first = [music_id(abc_to_score(some[0].draft.abc)) for _, some in own]
        cells = [
            name,
            str(len(own)),
            f"{np.mean([scene.arousal or 0.0 for scene, _ in own]):.2f}",
            f"{np.mean([tune.tempo_qpm for tune in tunes]):.0f}",
            f"{np.mean(dark):.2f}",
            str(len({plan.meter for plan in plans})),
            str(len({voice.program for plan in plans for voice in plan.voices})),
            str(len({plan.device.what for plan in plans if plan.device})),
            f"{len(set(first)) / len(first):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compose and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=Path("build/demo/data/pictures"))
    parser.add_argument("--composer", default="nano")
    parser.add_argument("--takes", type=int, default=1)
    options = parser.parse_args(arguments)
    pictures = sorted(path for path in options.pictures.iterdir() if path.is_file())
    print(table(tunes_by_picture(registry.load_composer(options.composer), pictures, options.takes)))


if __name__ == "__main__":
    main()
