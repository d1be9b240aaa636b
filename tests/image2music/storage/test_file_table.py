import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.storage.datasets import numbered_rows, row_digests
from image2music.storage.files import FILE_COLUMNS, FileTable, Folder, Spool

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("number", pa.int32()),
        ("flag", pa.bool_()),
        ("parts", pa.list_(pa.struct([("name", pa.string()), ("weights", pa.list_(pa.float16()))]))),
        ("plan", pa.struct([("bars", pa.int32()), ("key", pa.string()), ("sizes", pa.list_(pa.int32()))])),
        ("midi", pa.binary()),
    ]
)
OR_NONE = st.none() | st.integers(-5, 5)
PARTS = st.fixed_dictionaries(
    {
        "name": st.none() | st.text("ab", max_size=2),
        "weights": st.none() | st.lists(st.sampled_from([0.0, 0.5, -1.0]).map(np.float16), max_size=3),
    }
)
PLAN = st.fixed_dictionaries(
    {"bars": OR_NONE, "key": st.none() | st.text("CD", max_size=2), "sizes": st.none() | st.lists(OR_NONE)}
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "image_id": st.text("0123", min_size=1, max_size=3),
            "number": OR_NONE,
            "flag": st.none() | st.booleans(),
            "parts": st.none() | st.lists(st.none() | PARTS, max_size=3),
            "plan": st.none() | PLAN,
            "midi": st.none() | st.binary(max_size=3),
        }
    ),
    min_size=1,
    max_size=12,
)


def digests(rows, schema: pa.Schema = SCHEMA, group: int = 100, batch: int = 100) -> list[str]:
    """Of rows of a shard, in groups of so many, read by so many."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, row_group_size=group)
    shard = pq.ParquetFile(pa.BufferReader(sink.getvalue()))
    return [digest for some in shard.iter_batches(batch) for digest in row_digests(some)]


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_a_digest_is_that_of_the_row_alone_whatever_lies_around_it(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = digests([rows[at] for at in order], SCHEMA, random.randint(1, 5), random.randint(1, 4))
    before = digests(rows)
    assert [before[at] for at in order] == shuffled
    assert before == [digest for row in rows for digest in digests([row])]


@settings(deadline=None)
@given(ROWS)
def test_rows_have_the_same_digest_where_they_are_the_same(rows):
    found, told = digests(rows), [repr(row) for row in pa.Table.from_pylist(rows, SCHEMA).to_pylist()]
    for one in range(len(rows)):
        for other in range(len(rows)):
            assert (found[one] == found[other]) == (told[one] == told[other])


def test_a_column_s_name_and_type_count():
    columns = (("a", pa.int32()), ("b", pa.int32()), ("a", pa.int64()))
    assert len({digest for name, kind in columns for digest in digests([{name: 1}], pa.schema([(name, kind)]))}) == 3


def test_rows_are_read_by_their_numbers(tmp_path):
    table = pa.table({"image_id": [f"{number}" for number in range(20)], "other": range(20)})
    for name in ("one", "two"):
        pq.write_table(table, tmp_path / name, row_group_size=7)
    shards = [str(tmp_path / name) for name in ("one", "two")]
    everything = list(numbered_rows(shards, lambda name: True, 3))
    assert [(row.shard, row.number) for row in everything] == [(shard, n) for shard in shards for n in range(20)]
    assert [row.read()["other"] for row in everything] == [*range(20), *range(20)]
    some = list(numbered_rows(shards[1:], {"image_id"}.__contains__, 3, {shards[1]: {5, 19}}))
    assert [(row.number, row.read()) for row in some] == [(5, {"image_id": "5"}), (19, {"image_id": "19"})]


def test_texts_are_found_by_their_places():
    with Spool() as spool:
        places = {text: spool.add(text) for text in ("", "ä\n\ud800", "x" * 9000)}
        assert [spool[place] for place in reversed(places.values())] == [*reversed(places)]


def line(id, name, size, made_from="m", format="abc"):
    return {"image_id": id, "format": format, "file": name, "bytes": size, "made_from": made_from}


@pytest.fixture
def folder(tmp_path):
    """A folder with two files and the table that lists them and a third one, which is gone."""
    folder = Folder(str(tmp_path))
    folder.write("a.abc", "ABC")
    folder.write("b/b.abc", "ABCD")
    with FileTable(folder, FILE_COLUMNS) as table:
        table.put("a", [line("a", "a.abc", 3)])
        table.put("b", [line("b", "b/b.abc", 4), line("b", "b/c.abc", 5, format="midi")])
        table.save(done=True)
    return folder


def test_an_entry_is_whole_where_its_files_are(folder):
    with FileTable(folder, FILE_COLUMNS) as table:
        assert table.is_whole(table.entries("a")["abc"])
        assert table.is_whole(table.entries("b")["abc"])
        assert not table.is_whole(table.entries("b")["midi"])
        assert table.is_whole([line("c", "", 0)])
        assert table.entries("c") == {}
    folder.write("a.abc", "AB")
    with FileTable(folder, FILE_COLUMNS) as table:
        assert not table.is_whole(table.entries("a")["abc"])


def test_a_table_keeps_what_was_not_set_until_all_is_done(folder, tmp_path):
    with FileTable(folder, FILE_COLUMNS) as table:
        table.put("c", [line("c", "c, d.abc", 1)])
        table.put("a", [line("a", "a.abc", 3, "n")])
        table.save()
        assert (tmp_path / "files.csv").read_text().splitlines() == [
            ",".join(FILE_COLUMNS),
            'c,abc,"c, d.abc",1,m', "a,abc,a.abc,3,n", "b,abc,b/b.abc,4,m", "b,midi,b/c.abc,5,m",
        ]  # fmt: skip
        table.save(done=True)
        assert (tmp_path / "files.csv").read_text().count("\n") == 3
        assert table.dropped() == ["b/b.abc"]
        assert sorted(table.strays(["x"])) == ["b/b.abc"]


def test_a_block_that_fails_leaves_a_table_of_what_was_done(folder, tmp_path):
    with pytest.raises(KeyError), FileTable(folder, FILE_COLUMNS) as table:
        table.put("a", [line("a", "a.abc", 3, "new")])
        raise KeyError
    with FileTable(folder, FILE_COLUMNS) as table:
        assert table.entries("a")["abc"][0]["made_from"] == "new"
        assert table.entries("b").keys() == {"abc", "midi"}


def test_a_table_is_written_now_and_then(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("image2music.storage.files._SAVED_EVERY", 0.0)
    with FileTable(folder, FILE_COLUMNS) as table:
        table.put("a", [line("a", "a.abc", 3, "new")])
        assert "new" in (tmp_path / "files.csv").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no table",
        "image_id\n\n",
        "image_id,file\na,a.abc,and,more\n\x00",
        "\ufeffimage_id;file\na;b",
        b"image_id\na\xff",
    ],
)
def test_what_somebody_made_of_a_table_is_no_reason_to_stop(folder, text):
    folder.write("files.csv", text)
    with FileTable(folder, FILE_COLUMNS) as table:
        assert not any(table.is_whole(lines) for lines in table.entries("b").values())
        table.put("a", [line("a", "a.abc", 3)])
        table.save(done=True)
    with FileTable(folder, FILE_COLUMNS) as table:
        assert table.is_whole(table.entries("a")["abc"])


def test_what_a_killed_run_left_half_written_goes_and_nothing_else(folder, tmp_path):
    folder.write(f"b/.c.abc.{'0' * 32}.part", "half")
    folder.write(".mine.part", "mine")
    with FileTable(folder, FILE_COLUMNS):
        pass
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"a.abc", "b.abc", ".mine.part", "files.csv"}


def test_a_file_that_holds_the_same_is_not_touched(folder, tmp_path):
    before = (tmp_path / "a.abc").stat()
    assert not folder.update("a.abc", b"ABC")
    assert not folder.update("a.abc", iter(["A", "BC"]))
    assert (tmp_path / "a.abc").stat() == before
    assert folder.update("a.abc", ["Ä"])
    assert (tmp_path / "a.abc").read_text() == "Ä"
