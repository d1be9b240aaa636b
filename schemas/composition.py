"""A row of `OUT/compositions`: one picture and the tune written for it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from schemas.album import ALBUM_PART
from schemas.fields import FAITHFULNESS, METRICS, column, vector

REFERENCE = pa.struct(
    [
        column("tune_id", pa.string(), "row of the index"),
        column("row_hash", pa.string(), "content of that row when it was retrieved"),
        column("location", pa.string(), "path of the MIDI file under --midi_root"),
        column("caption", pa.string(), "what the data set says about the tune"),
        column("abc", pa.string(), "the whole tune in ABC notation"),
        column(
            "similarity_text", pa.float32(), "description to caption; null where that search missed it", unit="cosine"
        ),
        column("similarity_image", pa.float32(), "picture to caption; null where that search missed it", unit="cosine"),
        column("matched_by", pa.string(), "which search found it: text, image or both"),
    ]
)

DIAGNOSTIC = pa.struct(
    [
        column("line", pa.int32(), "line in the ABC text, from 1"),
        column("column", pa.int32(), "character in the line, from 1"),
        column("voice", pa.string(), "id of the voice; null outside the music"),
        column("bar", pa.int32(), "bar of the voice, from 1; null outside the music"),
        column("code", pa.string(), "stable word, to count by"),
        column("message", pa.string(), "one sentence for a person"),
    ]
)

ROUND = pa.struct(
    [
        column("purpose", pa.string(), "draft, repair or refine"),
        column("abc", pa.string(), "the tune of this round, after mending"),
        column(
            "diagnostics",
            pa.list_(DIAGNOSTIC),
            "what was mended by rule, then what the checker said of the mended tune",
        ),
        column("metrics", METRICS, "the eight metrics; null where the tune cannot be played"),
        column("accepted", pa.bool_(), "whether this tune became the one that stands"),
        column("reason", pa.string(), "why it was accepted or not"),
    ]
)

ATTENTION = pa.struct(
    [
        column("segment", pa.string(), "name of the segment"),
        column("kind", pa.string(), "all, voice, bars or motivation"),
        column("text", pa.string(), "the segment itself, or the name of a voice"),
        column("rows", pa.int32(), "patches from top to bottom"),
        column("cols", pa.int32(), "patches from left to right"),
        column("weights", pa.list_(pa.float16()), "equation 2, row by row", unit="probability"),
        column("baseline", pa.list_(pa.float16()), "the same for a blank picture", unit="probability"),
        column("layers", pa.list_(pa.float16()), "layer by layer, then row by row; null unless asked for"),
        column("faithfulness", FAITHFULNESS, "how well the map explains the tune; null unless asked"),
    ]
)

METADATA_FIELDS = {
    "hint": column("hint", pa.string(), "what the catalogue says of the picture; it stands before the description too"),
    "album_part": column("album_part", ALBUM_PART, "what the plan of its album asked of the tune"),
}
"""Columns that only some runs have: with hints in a --catalog, and with --album."""


def composition_schema(dim: int, more: Sequence[pa.Field] = ()) -> pa.Schema:
    """Return the columns of a composition for embeddings of length `dim`; `more` come last."""
    return pa.schema(
        [
            column("image_id", pa.string(), "sha256 of the picture's bytes, hex", nullable=False),
            column("image_uri", pa.string(), "the first place of these bytes, as given", nullable=False),
            column("image_uris", pa.list_(pa.string()), "every place of these bytes", nullable=False),
            column("album", pa.string(), "folder of image_uri", nullable=False),
            column("catalog_id", pa.string(), "id in a catalogue; null where none was given"),
            column("width", pa.int32(), "of the file, turned upright", unit="pixels", nullable=False),
            column("height", pa.int32(), "of the file, turned upright", unit="pixels", nullable=False),
            column("description", pa.string(), "what the composer sees in the picture", nullable=False),
            column("image_embedding", vector(dim), "of the picture, unit length", nullable=False),
            column("description_embedding", vector(dim), "of the description, unit length", nullable=False),
            column("references", pa.list_(REFERENCE), "retrieved tunes, best first", nullable=False),
            column("abc", pa.string(), "the tune", nullable=False),
            column("title", pa.string(), "ABC field T:", nullable=False),
            column("key", pa.string(), "ABC field K:", nullable=False),
            column("meter", pa.string(), "ABC field M:", nullable=False),
            column("tempo_qpm", pa.float64(), "tempo at the start", unit="quarter notes a minute", nullable=False),
            column("midi", pa.binary(), "the tune as a standard MIDI file", nullable=False),
            column("motivation", pa.string(), "why the tune sounds as it does", nullable=False),
            column("metrics", METRICS, "the eight metrics of the tune", nullable=False),
            column("rounds", pa.list_(ROUND), "every draft, repair and refinement in order", nullable=False),
            column(
                "attention",
                pa.list_(ATTENTION),
                "where the composer looked; empty if unknown",
                nullable=False,
            ),
            column(
                "composer_id",
                pa.string(),
                "model and revision that wrote the tune; behind +attention= those of the maps, if others",
                nullable=False,
            ),
            column("embedder_id", pa.string(), "model and revision of the embeddings", nullable=False),
            column("index_uri", pa.string(), "the tune index", nullable=False),
            column("index_version", pa.int64(), "its version", nullable=False),
            column("settings_hash", pa.string(), "sha256 over every setting that can change a row", nullable=False),
            column(
                "seed",
                pa.int64(),
                "seed of the run, or of a further take: one more each; a picture's own is derived from it and image_id",
                nullable=False,
            ),
            column(
                "seconds", pa.float64(), "its share of the time of the model stages", unit="seconds", nullable=False
            ),
            column("composed_at", pa.timestamp("us", tz="UTC"), "when", nullable=False),
            *more,
        ]
    )
