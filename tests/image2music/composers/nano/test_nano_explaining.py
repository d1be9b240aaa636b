"""The maps of a tune as it stands: which bars the network is asked about, and what it says comes back unchanged."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from image2music.abc.writer.parts import lines_to_abc
from image2music.composers.attention import BARS_A_GROUP
from image2music.composers.base import AttentionOptions, ComposeRequest, ExplainRequest
from image2music.composers.nano.explaining import explain, sketch_that_stands
from image2music.composers.nano.patches import SeenPicture
from image2music.images.scene import Scene
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.lines import bars_of_notes
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.types import Description

PLAN = plan_tune(PlanRequest(key="D", meter="3/4", bars=14, programs=(73, 71, 46), seed=3))
PLAN = replace(PLAN, melody=(1,) * 6 + (0,) + (2,) * 7)
PITCHES = (74, 78, 81)
SCENE = Scene("lake", things=(("lake", 0.9),), place="water", arousal=0.2)


@dataclass
class Reader:
    """Says of each span how many bars it has, in every cell."""

    def read(self, sketch, cells, spans, *, dynamics=True):
        self.sketch = sketch
        sizes = np.array([len(list(span)) for span in spans], np.float32)
        self.by_layer = np.stack([np.repeat(sizes[:, None], len(cells), 1), np.zeros((len(spans), len(cells)))])
        self.blank_by_layer = self.by_layer / 2
        return self


@pytest.fixture(scope="module")
def abc():
    written = {}
    for voice in (1, 2):
        notes = [
            (36 * bar + 12 * beat, 12, (PITCHES[beat] + voice,), ())
            for bar in range(14)
            for beat in range(3)
            if PLAN.melody[bar] == voice
        ]
        bars = bars_of_notes(notes, 12, 36, 14)
        written[voice] = tuple(bar if PLAN.melody[n] == voice else None for n, bar in enumerate(bars))
    return lines_to_abc("", PLAN.key, PLAN.meter, arrange_plan(PLAN, written, 1))


def asked(abc, without=(), layers=False):
    features = SeenPicture(np.zeros((49, 4), np.float32), 7, 7, without)
    request = ComposeRequest("1", Image.new("RGB", (8, 8)), Description("", features, SCENE), (), 0)
    return ExplainRequest(request, abc, "", None, AttentionOptions(layers=layers), plan=PLAN)


def test_the_line_is_that_of_the_singers_bar_by_bar(abc):
    sketch = sketch_that_stands(abc, PLAN, "calm")
    assert [bar.singer for bar in sketch.bars] == list(PLAN.melody)
    assert sketch.bars[0].notes == ((0, 12, 75), (12, 12, 79), (24, 12, 82))
    assert sketch.bars[13].notes[0] == (0, 12, 76)
    assert sketch.bars[6].notes == ()
    assert sketch.bars[0].purpose == "statement" and {bar.section for bar in sketch.bars} == set(
        range(len(PLAN.sections))
    )
    assert [" ".join(bar.chords) for bar in sketch.bars] == list(PLAN.harmony)


def test_maps_are_of_the_whole_of_each_singer_and_of_bars_by_fours(abc):
    (found,) = explain(Reader(), [asked(abc)])
    told = {one.segment: float(one.weights[0, 0]) * 2 for one in found.attention}
    assert told == {
        "all": 14,
        "voice 1": 6,
        "voice 2": 7,
        "bars 1-4": 4,
        "bars 5-8": 4,
        "bars 9-12": 4,
        "bars 13-14": 2,
    }
    assert BARS_A_GROUP == 4
    assert all(np.allclose(one.baseline, one.weights / 2) and one.weights.shape == (7, 7) for one in found.attention)
    assert found.motivation.startswith("T")


def test_layers_are_there_when_asked_for(abc):
    plain, layered = explain(Reader(), [asked(abc), asked(abc, layers=True)])
    assert all(one.layers is None for one in plain.attention)
    assert all(np.allclose(one.layers.mean(0), one.weights) for one in layered.attention)


def test_decisions_stand_beside_attention_under_their_own_kind(abc):
    nothing = Scene("hard to tell", arousal=0.5)
    without = tuple(nothing if block == 0 else SCENE for block in range(36))
    (found,) = explain(Reader(), [asked(abc, without)])
    kinds = [one.kind for one in found.attention]
    assert kinds.count("plan") >= 2 and kinds == sorted(kinds, key=("all", "voice", "bars", "plan").index)
    tempo = next(one for one in found.attention if one.text == "tempo")
    assert np.unravel_index(tempo.weights.argmax(), (7, 7)) == (0, 0)
