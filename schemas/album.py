"""A row of `OUT/albums`: the pictures of one folder, and their tunes bound into one piece."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import column

ALBUM_PART = pa.struct(
    [
        column("key", pa.string(), "as ABC writes it"),
        column("tonic", pa.int32(), "pitch class of the tonic", unit="semitones above C"),
        column("mode", pa.string(), "major or minor"),
        column("meter", pa.string(), "as ABC writes it"),
        column("tempo_qpm", pa.int32(), "tempo", unit="quarter notes a minute"),
        column("programs", pa.list_(pa.int32()), "General MIDI programs of melody and accompaniment, from 0"),
        column("theme", pa.string(), "the same for near-duplicate pictures: begin of the first one's image_id"),
        column("motif", pa.string(), "pitch:length of each note", unit="semitones above the tonic : eighths"),
        column("opening", pa.list_(pa.string()), "what the melody begins with, bar by bar, written like the motif"),
        column("chapter", pa.string(), "the same for all pictures of a chapter: begin of the first one's image_id"),
        column("taken_at", pa.string(), "when the picture was taken, as ISO 8601: Z where no clock there is known"),
        column("taken_by", pa.string(), "what says so: exif, sidecar, name or file"),
    ]
)
"""What the plan of its album asked of one tune: the column `album_part` of a composition."""

CHAPTER = pa.struct(
    [
        column("title", pa.string(), "what is seen in it and its day, in the language of the run"),
        column("first", pa.int32(), "its first tune, from 0"),
        column("taken_at", pa.timestamp("us"), "when its first picture was taken, on a clock there; null: unknown"),
    ]
)

ALBUM_SCHEMA = pa.schema(
    [
        column("album", pa.string(), "folder of the pictures, as in compositions", nullable=False),
        column("title", pa.string(), "ABC field T: of the book", nullable=False),
        column("image_ids", pa.list_(pa.string()), "pictures in the order of the book", nullable=False),
        column("image_uris", pa.list_(pa.string()), "their first places", nullable=False),
        column(
            "taken_at",
            pa.list_(pa.timestamp("us")),
            "when they were taken, on a clock there; null: unknown",
            nullable=False,
        ),
        column("chapters", pa.list_(CHAPTER), "in the order of the book", nullable=False),
        column("titles", pa.list_(pa.string()), "of their tunes", nullable=False),
        column("themes", pa.list_(pa.string()), "of their tunes; near-duplicates share one", nullable=False),
        column("keys", pa.list_(pa.string()), "of their tunes", nullable=False),
        column(
            "tempos_qpm",
            pa.list_(pa.int32()),
            "of their tunes in the book",
            unit="quarter notes a minute",
            nullable=False,
        ),
        column("starts", pa.list_(pa.int32()), "bar of the book that each tune begins with, from 1", nullable=False),
        column(
            "motif",
            pa.string(),
            "pitch:length of each note",
            unit="semitones above the tonic : eighths",
            nullable=False,
        ),
        column("motif_counts", pa.list_(pa.int32()), "how often each tune has the motif, in any key", nullable=False),
        column("meter", pa.string(), "that the album was planned in", nullable=False),
        column("bridges", pa.int32(), "two bars each, one wherever the key changes", nullable=False),
        column("bars", pa.int32(), "of the book", nullable=False),
        column("duration_s", pa.float64(), "of the book", unit="seconds", nullable=False),
        column("abc", pa.string(), "the book: all tunes and bridges as one", nullable=False),
        column("midi", pa.binary(), "the book as a standard MIDI file", nullable=False),
        column("book", pa.string(), "folder in OUT with album.abc and album.mid", nullable=False),
        column("composer_id", pa.string(), "model and revision that wrote the tunes", nullable=False),
        column("settings_hash", pa.string(), "of the tunes", nullable=False),
        column("bound_at", pa.timestamp("us", tz="UTC"), "when", nullable=False),
    ]
)

GLANCE_SCHEMA = pa.schema(
    [
        column("image_id", pa.string(), "sha256 of the picture's bytes, hex", nullable=False),
        column("seen_by", pa.string(), "what saw it, and what albums are planned by", nullable=False),
        column("summary", pa.string(), "what the plan of an album needs of a picture, as JSON", nullable=False),
    ]
)
"""OUT/.glances: what was seen of the pictures of albums, so that a later run need not look again."""
