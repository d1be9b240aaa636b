from pipelines.runtime.job import table


def test_columns_stand_side_by_side_and_long_cells_are_cut():
    lines = table(
        ("picture", "title"), [["a.jpg", "A very long title that nobody wants to read to its end"], ["b", ""]]
    )
    assert lines.splitlines() == ["picture  title", "a.jpg    A very long title that nobody wan…", "b"]
