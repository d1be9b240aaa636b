"""Beam's Enrichment with the tune index as its source."""

from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.enrichment import EnrichmentSourceHandler
from fakes import DIM, unit

from image2music.errors import TuneIndexError
from image2music.index.table import TuneIndex, commit, index_schema, open_index, write_fragments
from image2music.types import DescribedImage, Description, ImageRef, RetrievedContext
from transforms.retrieve import RetrieveTunes, TuneSearch

SCHEMA = index_schema(DIM, embedder_id="fake@1", embedder_spec="fake")


@pytest.fixture
def index(tmp_path):
    uri = str(tmp_path / "tunes.lance")
    rows = [
        {
            **dict.fromkeys(("tune_id", "location", "caption", "abc", "music_id", "row_hash"), colour),
            **{"key": "C", "meter": "4/4", "tempo_qpm": 96.0, "embedder_id": "fake@1"},
            "metrics": {},
            "vector": unit(colour),
        }
        for colour in ("red", "green", "blue")
    ]
    commit(uri, write_fragments(uri, rows, SCHEMA), SCHEMA)
    return open_index(uri)


def picture(colour):
    described = DescribedImage(ImageRef(colour, (f"{colour}.png",)), None, 1, 1, Description(text=colour))
    return RetrievedContext(described, image_embedding=unit(colour), description_embedding=unit(colour), seconds=1.0)


def test_a_search_is_a_source_that_beam_knows(index):
    assert isinstance(TuneSearch(index, 1, 1, suited=False), EnrichmentSourceHandler)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_each_picture_gets_its_references(index, batch_size):
    with beam.Pipeline("FnApiRunner") as pipeline:
        pictures = pipeline | beam.Create([picture(colour) for colour in ("red", "green", "blue")])
        found = pictures | RetrieveTunes(index, 1, batch_size, suited=False)
        said = found.done | beam.Map(
            lambda context: (context.described.ref.image_id, context.references[0].caption, context.seconds > 1)
        )
        assert_that(said, equal_to([(colour, colour, True) for colour in ("red", "green", "blue")]))
        assert_that(found.failed, equal_to([]), label="no failures")


class BrokenForGreen(TuneIndex):
    def references(self, pairs, k):
        if any(np.array_equal(text, unit("green")) for text, _ in pairs):
            raise TuneIndexError("no green today", reason="no_green")
        return super().references(pairs, k)


def test_a_search_that_breaks_is_the_failure_of_its_picture_only(index):
    broken = BrokenForGreen(**vars(replace(index)))
    with beam.Pipeline("FnApiRunner") as pipeline:
        pictures = pipeline | beam.Create([picture(colour) for colour in ("red", "green", "blue")])
        found = pictures | RetrieveTunes(broken, 1, 3, suited=False)
        assert_that(
            found.failed | beam.Map(lambda failure: (failure.stage, failure.id, failure.uri, failure.reason)),
            equal_to([("retrieve", "green", "green.png", "no_green")]),
        )
        done = found.done | beam.Map(lambda context: context.described.ref.image_id)
        assert_that(done, equal_to(["red", "blue"]), label="the others")
