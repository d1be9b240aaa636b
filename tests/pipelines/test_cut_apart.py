"""What passes between stages that a runner may cut apart: ids, texts and summaries, never a picture.

A runner is free to put what lies before and behind a grouping, a reshuffle, a flattening or a side input into different
processes, and then encodes every element on the way. All of these places are found in the pipelines of a whole job, and
what passes there is weighed.
"""

from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.coders import registry
from apache_beam.pipeline import PipelineVisitor
from apache_beam.transforms.userstate import is_stateful_dofn
from PIL import Image

from pipelines.cli.main import main

LARGEST_ELEMENT = 16 << 10
"""Bytes, for the small captions and few files of these tests; docs/data_flow.md says what it is for others."""

INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--embedder", "fake"]
COMPOSE = ["compose", "--images", "photos", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
WAYS = {"in slices": [], "as one pipeline": ["--runner=FnApiRunner"]}


class CutsFinder(PipelineVisitor):
    """Collects what a runner may have to encode: the inputs of whatever it does itself, by the step's label."""

    def __init__(self):
        self.found = {}

    def visit_transform(self, applied):
        kinds = beam.GroupByKey, beam.CoGroupByKey, beam.Flatten
        fn = getattr(applied.transform, "fn", None)
        whole = isinstance(applied.transform, kinds) or (isinstance(fn, beam.DoFn) and is_stateful_dofn(fn))
        between = [*(applied.inputs if whole else ()), *(side.pvalue for side in applied.side_inputs)]
        for number, elements in enumerate(between):
            if isinstance(elements, beam.PCollection):
                self.found[f"{applied.full_label} {number}"] = elements


class Weigh(beam.DoFn):
    """Writes the bytes of each element into a file of its step."""

    def __init__(self, coder, file):
        self.coder, self.file = coder, file

    def process(self, element):
        with open(self.file, "a") as file:
            file.write(f"{len(self.coder.encode(element))}\n")


@pytest.fixture
def cuts(tmp_path, monkeypatch):
    """A function that returns the largest element of each step where a job may be cut, once the job has run."""
    folder, run, labels = tmp_path / "weights", beam.Pipeline.run, []
    folder.mkdir()

    def weighed(pipeline, *args, **options):
        finder = CutsFinder()
        pipeline.visit(finder)
        for label, elements in finder.found.items():
            labels.append(label)
            coder = registry.get_coder(elements.element_type)
            elements | f"Weigh {label}" >> beam.ParDo(Weigh(coder, str(folder / str(len(labels) - 1))))
        return run(pipeline, *args, **options)

    monkeypatch.setattr(beam.Pipeline, "run", weighed)

    def largest():
        weights = {int(file.name): max(map(int, file.read_text().split())) for file in folder.iterdir()}
        return {labels[number]: weight for number, weight in weights.items()}

    return largest


@pytest.fixture
def photos(indexed) -> Path:
    """Two folders with photographs of noise, one under two names: a file is forty times the largest element."""
    random = np.random.default_rng(0)
    for name in ("sea/1", "sea/2", "wood/3"):
        path = indexed / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (480, 480, 3), np.uint8)).save(path)
    (indexed / "photos" / "wood" / "again.png").write_bytes((indexed / "photos" / "sea" / "1.png").read_bytes())
    assert (indexed / "photos" / "sea" / "1.png").stat().st_size > 40 * LARGEST_ELEMENT
    return indexed


@pytest.fixture
def no_picture_is_received(monkeypatch):
    """A decoded picture that comes from another stage is an error. (Beam encodes some only to know their size.)"""

    def refuse(image, state):
        raise AssertionError("a decoded picture was sent to another stage")

    monkeypatch.setattr(Image.Image, "__setstate__", refuse)


@pytest.mark.usefixtures("no_picture_is_received")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("more", [[], ["--log_json", "log.jsonl"], ["--protocol", "paper"]])
def test_compose_sends_ids_and_places_between_stages_but_no_picture(photos, cuts, way, more):
    assert main([*COMPOSE, *WAYS[way], *more]) == 0
    assert max(cuts().values()) <= LARGEST_ELEMENT


@pytest.mark.usefixtures("no_picture_is_received")
@pytest.mark.parametrize("way", WAYS)
def test_an_album_sends_summaries_and_tunes_but_no_picture(photos, cuts, way):
    assert main([*COMPOSE, *WAYS[way], "--album"]) == 0
    assert any("TunesOfAlbum" in label for label in cuts())
    assert max(cuts().values()) <= LARGEST_ELEMENT


def give_picture(home: Path, colour: str, picture: str) -> None:
    """Add a picture to the line of a caption."""
    (home / "midi" / picture).write_bytes((home / "photos" / "sea" / picture).read_bytes())
    captions = home / "captions.json"
    text = captions.read_text(encoding="utf-8")
    line = f'"caption": "{colour}"'
    assert line in text
    captions.write_text(text.replace(line, f'{line}, "image": "{picture}"'), encoding="utf-8")


@pytest.mark.usefixtures("no_picture_is_received")
@pytest.mark.parametrize("way", WAYS)
def test_index_sends_captions_and_ids_but_neither_a_tune_nor_a_picture(photos, cuts, way):
    give_picture(photos, "red", "1.png")
    assert main([*INDEX, *WAYS[way]]) == 0
    give_picture(photos, "blue", "2.png")
    assert main([*INDEX, *WAYS[way], "--update"]) == 0
    assert max(cuts().values()) <= LARGEST_ELEMENT


def test_all_places_where_a_whole_job_may_be_cut_are_weighed(photos, cuts):
    assert main([*COMPOSE, *WAYS["as one pipeline"], "--album"]) == 0
    assert main([*INDEX, *WAYS["as one pipeline"]]) == 0
    for step in ("Places", "Spread", "SameBytes", "SameAlbum", "SpreadAgain", "TunesOfAlbum", "Reshuffle", "Commit"):
        assert any(step in label for label in cuts()), step


def test_the_scales_find_a_picture_that_is_flattened(cuts):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pictures = pipeline | beam.Create([480]) | beam.Map(lambda side: Image.new("RGB", (side, side)))
        (pictures, pictures) | beam.Flatten() | beam.Map(lambda image: image.size)
    assert max(cuts().values()) > LARGEST_ELEMENT
