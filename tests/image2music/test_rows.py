from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from fakes import FakeComposer
from PIL import Image

from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.composers.base import ComposeRequest
from image2music.loop.chain import compose_batch
from image2music.music.metrics import Metrics
from image2music.rows import Provenance, composition_row, printable, tune_row
from image2music.settings import LoopSettings
from image2music.types import (
    AttentionMap,
    CaptionedMidi,
    CaptionedTune,
    DescribedImage,
    Description,
    Explanation,
    ImageRef,
    RefinedTune,
    RetrievedContext,
    Round,
)
from schemas.composition import composition_schema

PROVENANCE = Provenance("composer@1", "embedder@1", "tunes.lance", 3, "hash", 0)
VECTOR = np.ones(4, dtype=np.float32) / 2


def refined(explanation=None):
    described = DescribedImage(ImageRef("ab", ("p/a.jpg",)), Image.new("RGB", (2, 2)), 2, 2, Description("red"))
    request = ComposeRequest("ab", described.image, described.description, (), 1)
    (tune,) = compose_batch(FakeComposer(), [request], LoopSettings())
    tune = replace(tune, explanation=explanation) if explanation else tune
    return RefinedTune(RetrievedContext(described, VECTOR, VECTOR), tune, seconds=1.5)


def stored(row):
    return pa.Table.from_pylist([row], schema=composition_schema(4)).to_pylist()[0]


def test_a_row_survives_its_schema():
    row = stored(composition_row(refined(), PROVENANCE, datetime(2026, 1, 2, tzinfo=UTC)))
    assert (row["album"], row["seconds"], row["index_version"], row["references"]) == ("p", 1.5, 3, [])


def test_attention_with_layers_and_faithfulness_survives_its_schema():
    grid = np.array([[0.25, 0.5], [0.0, 0.25]], dtype=np.float32)
    attention = AttentionMap("1", "voice", "melody", grid, grid, np.stack([grid] * 3), {"deletion": 0.5})
    row = stored(composition_row(refined(Explanation("why", (attention,))), PROVENANCE, datetime.now(UTC)))
    (found,) = row["attention"]
    assert (found["rows"], found["cols"], found["weights"]) == (2, 2, [0.25, 0.5, 0.0, 0.25])
    assert len(found["layers"]) == 12
    assert found["faithfulness"] == [{"measure": "deletion", "value": 0.5}]


def test_what_was_mended_stands_before_what_the_checker_says():
    work = refined()
    mend = Diagnostic(1, 1, None, None, "mended-bar", Severity.INFO, "filled a bar")
    left = Diagnostic(2, 1, "1", 1, "unclosed-slur", Severity.WARNING, "close it")
    draft = replace(work.tune.draft, mends=(mend,), diagnostics=(left,))
    tune = replace(work.tune, rounds=(Round("draft", draft, True, "valid"),))
    row = stored(composition_row(replace(work, tune=tune), PROVENANCE, datetime.now(UTC)))
    assert [found["code"] for found in row["rounds"][0]["diagnostics"]] == ["mended-bar", "unclosed-slur"]


def test_the_hash_of_a_tune_row_follows_its_content_and_not_its_vector():
    source = CaptionedMidi("a.mid", "a caption")
    tune = CaptionedTune("id", source, "X:1", "C", "4/4", 120.0, 1.0, 1, 1, Metrics(*[None] * 8), "music")
    same = tune_row(tune, VECTOR, "embedder@1")["row_hash"]
    assert tune_row(tune, -VECTOR, "embedder@1")["row_hash"] == same
    assert tune_row(replace(tune, abc="X:2"), VECTOR, "embedder@1")["row_hash"] != same


def test_a_name_that_is_not_utf8_can_be_printed():
    assert printable("caf\udce9.png") == "caf\\xe9.png"
    assert printable("café 海.png") == "café 海.png"
