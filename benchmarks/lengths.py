"""Exact lengths and loops: `python -m benchmarks.lengths [--images DIR] [--pictures 20] [--seconds 5,15,30,60,300]`.

nano composes each picture at each length, once as a tune that ends and once (`--loops`, 30 seconds by default) as a
loop. Counted: samples of 48 kHz by which ABC, performed MIDI and sound are off; whether the end closes for the listener
(no fault of the kinds `ending` and `cadence` in the last section); whether the tempo is one that suits the scene; the
critic's number; how many of a tune's bars of melody are literal repeats of another. Of loops: the step at the seam
beside the largest step inside, and the tempo in the last bar and in the first. Without `--images` the photographs of
scikit-image are taken; `--quick` lets nano search less. Loops are played with the sound font, the others, of which only
the samples are counted, with plain tones.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
from PIL import Image

from image2music.abc.lasting import abc_seconds
from image2music.abc.playback import abc_to_score
from image2music.composers.base import ComposeRequest
from image2music.composers.nano.composer import NanoComposer, load_nano
from image2music.composers.nano.search.composing import Effort
from image2music.composers.suiting import suiting_music
from image2music.embedders.conse import load_conse
from image2music.images.scene import Scene
from image2music.loop.chain import compose_batch
from image2music.music.listen.listener import listen
from image2music.music.planning.lasting import duration_text, read_duration
from image2music.music.render import RATE, SoundRenderer, load_renderer
from image2music.settings import LoopSettings, picture_seed
from image2music.types import ComposedTune, Description, ImageMetadata

LENGTHS = (5.0, 15.0, 30.0, 60.0, 300.0)
_ENDS = frozenset({"ending", "cadence"})
_ENDINGS = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.gif", "*.tif")


@dataclass(frozen=True)
class Measured:
    """One tune. Errors are in samples; of a loop `seam` and `step` are the step at the seam and the largest inside."""

    abc: float
    midi: float
    sound: int
    closes: bool
    qpm: float
    suits: bool
    critic: float
    repeated: float
    bars: int
    seconds: float
    seam: float = 0.0
    step: float = 0.0
    before: float = 0.0
    after: float = 0.0


def pictures_of(folder: Path | None, count: int) -> list[Path]:
    """Return the first pictures of a folder, or of those that come with scikit-image."""
    if folder is None:
        spec = importlib.util.find_spec("skimage")
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent / "data"
    return sorted(path for ending in _ENDINGS for path in folder.glob(ending))[:count]


def composed(nano: NanoComposer, picture: Path, look: Description, length: float, loop: bool) -> ComposedTune:
    """Return what nano composes for a picture, one candidate of it."""
    request = ComposeRequest(
        picture.name, Image.open(picture).convert("RGB"), look, (), picture_seed(0, picture.name),
        constraints=ImageMetadata().constraints(length=duration_text(length), loop=loop),
    )  # fmt: skip
    tune = compose_batch(nano, [request], LoopSettings(candidates=1))[0]
    if isinstance(tune, Exception):
        raise tune
    return tune


def measured(tune: ComposedTune, scene: Scene, length: float, renderer: SoundRenderer, seconds: float) -> Measured:
    """Measure one tune."""
    plan = tune.plan
    assert plan is not None
    sheet = listen(abc_to_score(tune.draft.abc), plan)
    last = plan.sections[-1].first
    music = suiting_music(scene)
    midi = mido.MidiFile(file=io.BytesIO(tune.midi))
    sound = renderer.render_exactly(tune.midi, length, plan.loop)
    seam = step = before = after = 0.0
    if plan.loop:
        seam = float(np.abs(sound[0] - sound[-1]).max())
        step = float(np.abs(np.diff(sound, axis=0)).max())
        tempos = [message.tempo for track in midi.tracks for message in track if message.type == "set_tempo"]
        after, before = 6e7 / tempos[0], 6e7 / tempos[-1]
    return Measured(
        abc=(abc_seconds(tune.draft.abc) - length) * RATE,
        midi=(midi.length - length) * RATE,
        sound=len(sound) - round(length * RATE),
        closes=not any(fault.kind in _ENDS and fault.bar >= last for fault in sheet.faults),
        qpm=tune.tempo_qpm,
        suits=music.slowest - 1 <= plan.qpm <= music.fastest + 1,
        critic=tune.draft.critic or 0.0,
        repeated=repeated_bars(tune),
        bars=plan.bars,
        seconds=seconds,
        seam=seam, step=step, before=before, after=after,
    )  # fmt: skip


def repeated_bars(tune: ComposedTune) -> float:
    """Return the share of bars, of those in which the first voice begins notes, that are another one note for note."""
    score = abc_to_score(tune.draft.abc)
    starts = [bar.tick for bar in score.bar_starts]
    track = score.tracks[0]
    bars: dict[int, list[tuple[int, int, int]]] = {}
    for onset, duration, pitch in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), strict=True
    ):
        at = int(np.searchsorted(starts, onset, side="right")) - 1
        bars.setdefault(at, []).append((onset - starts[at], duration, pitch))
    whole = [tuple(notes) for notes in bars.values()]
    return 1 - len(set(whole)) / max(1, len(whole))


def table(rows: Sequence[tuple[str, Sequence[Measured]]]) -> str:
    """Return the results as Markdown, a line a length."""
    lines = [
        "| length | tunes | ABC off | MIDI off | sound off | closes | tempo suits | bars | critic | repeated | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in rows:
        lines.append(
            f"| {name} | {len(found)} | {max(abs(one.abc) for one in found):.2f} "
            f"| {max(abs(one.midi) for one in found):.2f} | {max(abs(one.sound) for one in found)} "
            f"| {sum(one.closes for one in found)} | {sum(one.suits for one in found)} "
            f"| {min(one.bars for one in found)} to {max(one.bars for one in found)} "
            f"| {statistics.median(one.critic for one in found):.2f} "
            f"| {statistics.mean(one.repeated for one in found):.2f} "
            f"| {statistics.mean(one.seconds for one in found):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compose, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--seconds", type=lambda text: tuple(map(read_duration, text.split(","))), default=LENGTHS)
    parser.add_argument(
        "--loops", type=lambda text: tuple(map(read_duration, text.split(","))) if text else (), default=(30.0,)
    )
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    nano, renderer = load_nano(), load_renderer()
    if args.quick:
        effort = Effort(plans=1, themes=1, contours=60, kept=1)
        nano = NanoComposer(load_conse(), nano.poles, nano.network, nano.id, effort)
    pictures = pictures_of(args.images, args.pictures)
    looks = [nano.look([Image.open(picture).convert("RGB")])[0] for picture in pictures]
    rows: list[tuple[str, list[Measured]]] = []
    for length, loop in [*((one, False) for one in args.seconds), *((one, True) for one in args.loops)]:
        found = []
        for picture, look in zip(pictures, looks, strict=True):
            began = time.perf_counter()
            tune = composed(nano, picture, look, length, loop)
            took = time.perf_counter() - began
            assert look.scene is not None
            one = measured(tune, look.scene, length, renderer if loop else SoundRenderer(None, "plain"), took)
            found.append(one)
            seam = f" seam {one.seam:.4f} of {one.step:.4f}, tempo {one.before:.4f} to {one.after:.4f}" if loop else ""
            off = f"ABC {one.abc:+.2f} MIDI {one.midi:+.2f} sound {one.sound:+d}"
            end = "closes" if one.closes else "open"
            said = (
                f"{picture.name} {length:g}s: {one.bars} bars at {one.qpm:.1f}, {off}, {end}, critic {one.critic:.2f}"
            )
            print(said + seam, flush=True)
        rows.append((f"{length:g} s{', loop' if loop else ''}", found))
    print(table(rows))
    loops = [one for name, found in rows if "loop" in name for one in found]
    if loops:
        print(
            f"loops: step at the seam {max(one.seam / one.step for one in loops):.2f} of the largest inside at most, "
            f"tempo over the seam differs by {max(abs(one.before / one.after - 1) for one in loops):.1e} at most"
        )


if __name__ == "__main__":
    main()
