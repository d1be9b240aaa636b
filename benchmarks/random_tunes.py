"""Does the grammar hold whatever the model wants? Tunes by a model of random weights, with the grammar and without.

`python -m benchmarks.random_tunes [--tunes 100]` prints how many pass the checker, with every bar full and two voices.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.parser import parse
from image2music.composers.chat.conversations import Conversation, Message, questions_of
from image2music.composers.chat.engine.transformers_backend import TransformersBackend, load_transformers_backend
from image2music.composers.forms import PROSE, TUNE_OF_TWO, Form

FAMILY, MOST_TOKENS, BATCH = "qwen2_5_vl", 240, 20
VOICES = ("1", "2")


def is_whole(abc: str) -> bool:
    """No error, which a wrong bar is, and two voices with the same number of bars, at least one."""
    if any(finding.severity is Severity.ERROR for finding in check(abc)):
        return False
    spans = [span for tune in parse(abc).tunes for span in tune.spans]
    bars = {voice: max((span.bar for span in spans if span.voice == voice), default=0) for voice in VOICES}
    return {span.voice for span in spans} == set(VOICES) and len(set(bars.values())) == 1


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    from PIL import Image

    from tests.tiny_vlms import save

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tunes", type=int, default=100)
    tunes = parser.parse_args(arguments).tunes
    talk = Conversation(Image.new("RGB", (56, 56), (90, 120, 200)), (Message("user", "Write a tune."),))
    with tempfile.TemporaryDirectory() as folder:
        backend = load_transformers_backend(str(save(FAMILY, Path(folder) / FAMILY)))
    forms: tuple[tuple[str, Form], ...] = (("with the grammar", TUNE_OF_TWO), ("without", PROSE))
    for name, form in forms:
        whole = sum(is_whole(abc) for abc in _written(backend, talk, tunes, form))
        print(f"{name}: {whole} of {tunes} tunes pass, every bar full, two voices", flush=True)


def _written(backend: TransformersBackend, talk: Conversation, tunes: int, form: Form) -> list[str]:
    found: list[str] = []
    for start in range(0, tunes, BATCH):
        seeds = list(range(start, min(tunes, start + BATCH)))
        found += backend.generate(questions_of([talk] * len(seeds), seeds, MOST_TOKENS, form))
    return found


if __name__ == "__main__":
    main()
