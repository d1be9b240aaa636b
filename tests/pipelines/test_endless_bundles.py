"""Jobs on a runner whose bundles never end before the input does: rows must not wait for that end."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import COMPOSERS, FakeComposer
from job_processes import wait_for
from PIL import Image

from pipelines.cli.main import main
from transforms.shards import WriteShards

PICTURES = 150
COMPOSE = ["compose", "--images", "photos", "--index", "tunes.lance", "--output", "out", "--runner=FnApiRunner"]


class Observer(FakeComposer):
    """Before it writes tunes, notes how many it wrote earlier and how many rows are there."""

    def __init__(self, home):
        super().__init__()
        self.home, self.written, self.seen, self.before = home, 0, [], lambda: None

    def rows(self):
        shards = (self.home / "out" / "compositions").glob("part-*.parquet")
        return sum(pq.read_metadata(shard).num_rows for shard in shards)

    def write(self, requests):
        self.before()
        self.seen.append((self.written, self.rows()))
        self.written += len(requests)
        return super().write(requests)


@pytest.fixture
def observer(indexed, monkeypatch):
    """The composer behind `--composer fake:observer`, in a world with more pictures than a shard has rows."""
    random = np.random.default_rng(0)
    (indexed / "photos").mkdir()
    for number in range(PICTURES):
        Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).save(indexed / "photos" / f"{number:03}.png")
    observer = Observer(indexed)
    monkeypatch.setitem(COMPOSERS, "observer", lambda: observer)
    return observer


@pytest.fixture
def bundles(monkeypatch):
    """How often a bundle of the sinks ended, with the rows that it had still to write then."""
    ended, finish = [], WriteShards.finish_bundle

    def finish_bundle(sink):
        ended.append(len(sink._rows))
        return finish(sink)

    monkeypatch.setattr(WriteShards, "finish_bundle", finish_bundle)
    return ended


def compose(*options):
    return main([*COMPOSE, "--composer", "fake:observer", *options])


def test_full_shards_are_written_while_the_only_bundle_goes_on(observer, bundles):
    assert compose("--batch_size", "1") == 0
    assert sorted(bundles) == [0, PICTURES % 64], "one bundle of rows and one of failures"
    late = [written - rows for written, rows in observer.seen]
    assert max(late) <= 65, "64 rows of a shard, and the picture that is about to be handed on"


def test_old_rows_are_written_while_the_next_picture_takes_its_time(observer, bundles, monkeypatch):
    monkeypatch.setitem(WriteShards.__init__.__kwdefaults__, "seconds", 0.2)
    written = []

    def wait():
        """The fourth picture takes until the rows of the first three are there."""
        if observer.written == 3:
            written.append(wait_for(lambda: observer.rows() == 3, seconds=10.0))

    observer.before = wait
    assert compose("--batch_size", "1") == 0
    assert written == [True]


def test_a_large_batch_is_written_as_soon_as_it_is_composed(observer):
    assert compose("--batch_size", "40") == 0
    late = [written - rows for written, rows in observer.seen]
    assert max(late) < 64 + 40
