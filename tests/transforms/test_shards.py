import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing import test_pipeline
from job_processes import wait_for

from image2music.errors import OutputError
from image2music.storage.datasets import Dataset
from transforms.shards import WriteShards

SCHEMA = pa.schema([("id", pa.string()), ("x", pa.float32())])


def to_row(number):
    return {"id": str(number), "x": number}


def writer_of(folder, **limits):
    return WriteShards(Dataset(str(folder)), SCHEMA, to_row, ("id",), **limits)


def writer(folder, **limits):
    do_fn = writer_of(folder, **limits)
    do_fn.setup()
    do_fn.start_bundle()
    return do_fn


def test_a_full_shard_appears_before_the_bundle_ends(tmp_path):
    do_fn = writer(tmp_path, rows=2)
    for number in range(3):
        do_fn.process(number)
    assert [pq.read_metadata(path).num_rows for path in tmp_path.glob("*.parquet")] == [2]


def test_a_row_that_has_waited_is_written_though_nothing_follows_it(tmp_path):
    do_fn = writer(tmp_path, rows=1000, seconds=0.05)
    do_fn.process(1)
    wait_for(lambda: list(tmp_path.glob("part-*.parquet")), 10)
    list(do_fn.finish_bundle())
    assert len(list(tmp_path.iterdir())) == 1


def test_what_goes_wrong_while_nothing_comes_is_raised_by_what_comes_next(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    do_fn = writer(tmp_path / "out", seconds=0.05)
    do_fn.process(1)
    wait_for(lambda: do_fn._late_error, 10)
    with pytest.raises(OutputError, match="File exists"):
        do_fn.process(2)


def test_a_shard_is_named_by_its_slice(tmp_path):
    do_fn = writer(tmp_path, of="0123456789abcdef")
    do_fn.process(1)
    list(do_fn.finish_bundle())
    target = Dataset(str(tmp_path))
    assert target.shards("0123456789abcdef") == target.shards()
    assert target.shards("fedcba9876543210") == []


def test_a_repeated_bundle_replaces_its_own_shard(tmp_path):
    for _ in range(2):
        do_fn = writer(tmp_path)
        do_fn.process(1)
        list(do_fn.finish_bundle())
    assert len(list(tmp_path.iterdir())) == 1


def test_shards_are_compressed_and_nothing_hidden_stays(tmp_path):
    path = Dataset(str(tmp_path)).append([to_row(1)], SCHEMA, ("id",))
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert len(list(tmp_path.iterdir())) == 1


def test_all_rows_of_a_pipeline_arrive(tmp_path):
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        pipeline | beam.Create(range(10)) | beam.ParDo(writer_of(tmp_path, rows=3))
    assert sorted(pq.read_table(tmp_path).column("x").to_pylist()) == list(range(10))


def test_each_element_ticks_once(tmp_path):
    ticks = tmp_path / "ticks"
    ticks.mkdir()
    do_fn = writer(tmp_path / "out", progress=str(ticks))
    do_fn.process(1)
    do_fn.process(2)
    assert sum(path.stat().st_size for path in ticks.iterdir()) == 2
