"""Reads the rows of a run with pandas, DuckDB and Hugging Face datasets: `python examples/read_rows.py build/demo/out`.

None of the three is needed by the project itself: `pip install pandas duckdb datasets`. docs/rows.md says what the
columns hold.
"""

from __future__ import annotations

import sys


def with_pandas(output: str) -> None:
    """Mean tempo by key."""
    import pandas

    rows = pandas.read_parquet(f"{output}/compositions")
    print(rows.groupby("key")["tempo_qpm"].mean())


def with_duckdb(output: str) -> None:
    """The nearest reference of each picture."""
    import duckdb

    rows = duckdb.read_parquet(f"{output}/compositions/*.parquet")
    print(rows.select('image_uri, title, "references"[1].location AS nearest, metrics.polyphony'))


def with_datasets(output: str) -> None:
    """Pictures, what is said of them and their tunes, as training data."""
    import datasets

    rows = datasets.load_dataset("parquet", data_files=f"{output}/compositions/*.parquet", split="train")
    print(rows.select_columns(["image_uri", "description", "abc"]), rows[0]["abc"], sep="\n")


if __name__ == "__main__":
    for read in (with_pandas, with_duckdb, with_datasets):
        read(sys.argv[1])
