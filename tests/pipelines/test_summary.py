import pyarrow as pa

from image2music.storage.output import open_output
from pipelines.runtime.job import compositions_table, table, unmet_wishes
from schemas.composition import PLAN


def test_columns_stand_side_by_side_and_long_cells_are_cut():
    lines = table(
        ("picture", "title"), [["a.jpg", "A very long title that nobody wants to read to its end"], ["b", ""]]
    )
    assert lines.splitlines() == ["picture  title", "a.jpg    A very long title that nobody wan…", "b"]


def test_tempos_are_whole_numbers_in_the_closing_table(tmp_path):
    output = open_output(tmp_path / "out")
    words = {"image_uri": "in/a.png", "title": "Sea", "key": "C", "meter": "4/4"}
    row = words | {"tempo_qpm": 76.2286, "abc": "X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n", "references": []}
    schema = pa.schema([*((name, pa.string()) for name in words), ("tempo_qpm", pa.float64()), ("abc", pa.string())])
    for name, kind in (("references", pa.list_(pa.string())), ("composed_at", pa.timestamp("us", "UTC"))):
        schema = schema.append(pa.field(name, kind))
    output.compositions.append([row | {"composed_at": None}], schema, ("image_uri",))
    assert compositions_table(output).splitlines()[1].split() == ["a.png", "Sea", "C", "4/4", "76", "1"]


def write_rows(output, *rows):
    """Write a shard of rows: catalog_id, image_uri, settings_hash, and the wishes that are not kept; None: no plan."""
    schema = pa.schema(
        [*((name, pa.string()) for name in ("catalog_id", "image_uri", "settings_hash")), ("plan", PLAN)]
    )
    made = [
        dict(zip(schema.names, (*texts, None if unmet is None else {"unmet": unmet}), strict=True))
        for *texts, unmet in rows
    ]
    output.compositions.append(made, schema, ("image_uri",))


def test_rows_that_do_not_keep_a_wish_are_counted_over_all_shards_and_the_first_is_named(tmp_path):
    output = open_output(tmp_path / "out")
    write_rows(output, ("C", "in/c.png", "now", ["mood"]), ("A", "in/a.png", "now", []), ("N", "in/0.png", "now", None))
    assert unmet_wishes(output, "now").line == "1 row does not keep a wish: C: mood"
    write_rows(output, (None, "in/b.png", "now", ["tempo\n'x'", "bars"]), ("E", "in/0.png", "earlier", ["mood"]))
    found = unmet_wishes(output, "now")
    assert found.rows == 2
    assert found.line.startswith("2 rows do not keep a wish, such as b.png: tempo\\n'x' (")
    assert "\n" not in found.line


def test_nothing_is_said_where_every_wish_is_kept_or_rows_are_older_than_plans(tmp_path):
    output = open_output(tmp_path / "out")
    assert unmet_wishes(output, "now").line == ""
    write_rows(output, ("A", "in/a.png", "now", []), ("N", "in/0.png", "now", None))
    early = pa.table({"image_uri": ["in/b.png"], "settings_hash": ["now"]})
    output.compositions.append_table(early, ("image_uri",))
    assert (unmet_wishes(output, "now").rows, unmet_wishes(output, "now").line) == (0, "")
