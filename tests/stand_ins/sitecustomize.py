"""Python runs this file at its start where its folder is on PYTHONPATH: so workers know the stand-in models, too.

`--embedder fake`, and `--composer fake` or `fake:SECONDS`, which takes so long over each tune.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes import FakeComposer, FakeEmbedder

from image2music.composers import registry as composer_specs
from image2music.embedders import registry as embedder_specs


class SlowComposer(FakeComposer):
    def __init__(self, seconds):
        super().__init__()
        self._seconds = seconds

    def compose(self, requests):
        time.sleep(self._seconds * len(requests))
        return super().compose(requests)


def _load_composer(spec, real=composer_specs.load_composer):
    kind, _, seconds = spec.partition(":")
    return SlowComposer(float(seconds or 0)) if kind == "fake" else real(spec)


def _load_embedder(spec, real=embedder_specs.load_embedder):
    return FakeEmbedder() if spec == "fake" else real(spec)


composer_specs.load_composer = _load_composer
embedder_specs.load_embedder = _load_embedder
