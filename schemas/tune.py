"""A row of the tune index (`tunes.lance`)."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import METRICS, column, vector

LATER_COLUMNS = (
    column("licence", pa.string(), "under which the tune is; there where the captions name any"),
    column("source", pa.string(), "where the tune comes from; there where the captions name any"),
)
"""Columns that a table has where a line of its captions names a value, or where somebody added them."""


def tune_schema(dim: int) -> pa.Schema:
    """Return the columns of the index for vectors of length `dim`."""
    return pa.schema(
        [
            column("tune_id", pa.string(), "sha256 of the MIDI file's bytes, hex", nullable=False),
            column("location", pa.string(), "path of the MIDI file under --midi_root", nullable=False),
            column("caption", pa.string(), "what the data set says about the tune, or nothing", nullable=False),
            column("abc", pa.string(), "the whole tune in ABC notation", nullable=False),
            column("key", pa.string(), "key as in the ABC field K:", nullable=False),
            column("meter", pa.string(), "meter as in the ABC field M:", nullable=False),
            column("tempo_qpm", pa.float64(), "tempo at the start", unit="quarter notes a minute", nullable=False),
            column("duration_s", pa.float64(), "from the first beat to the end of the last note", unit="seconds"),
            column("bars", pa.int32(), "bars of the longest voice", unit="bars"),
            column("voices", pa.int32(), "voices in the ABC text", unit="voices"),
            column("genre", pa.list_(pa.string()), "genres the data set names"),
            column("mood", pa.list_(pa.string()), "moods the data set names"),
            column("metrics", METRICS, "the eight metrics of the whole tune"),
            column("vector", vector(dim), "embedding of caption and picture, unit length", nullable=False),
            column("embedder_id", pa.string(), "model and revision that made `vector`", nullable=False),
            column(
                "row_hash",
                pa.string(),
                "sha256 over every other column but `vector` (licence and source only where they are known), hex",
                nullable=False,
            ),
            column("instruments", pa.list_(pa.string()), "instruments the data set names, such as Drums"),
            column("music_id", pa.string(), "equal for tunes that are the same music", nullable=False),
            column("image", pa.string(), "path under --midi_root of a picture that the tune belongs to"),
            column("image_id", pa.string(), "sha256 of that picture's bytes, hex"),
            *LATER_COLUMNS,
        ]
    )
