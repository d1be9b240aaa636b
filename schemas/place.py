"""A row of `places`: where a picture of a job lies, and what it is."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import column

PLACE_SCHEMA = pa.schema(
    [
        column("uri", pa.string(), "where the picture lies, as it was listed", nullable=False),
        column("image_id", pa.string(), "sha256 of the file's bytes; null where it could not be read"),
        column("size", pa.int64(), "bytes of the file when it was read; null where nobody knows"),
        column("stamp", pa.string(), "what tells that it has not changed: time of change or etag; null where unknown"),
        column("motion", pa.bool_(), "whether the file holds a film behind the picture; null where it was not read"),
        column("reason", pa.string(), "why it could not be read, as in failures; null where it could"),
        column("message", pa.string(), "the same in one line for a person"),
    ]
)
