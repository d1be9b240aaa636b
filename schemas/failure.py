"""A row of `failures`: what could not be done, where and why."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import column

FAILURE_SCHEMA = pa.schema(
    [
        column("stage", pa.string(), "the step that gave up", nullable=False),
        column("id", pa.string(), "image_id or tune_id, or the place where no id could be made", nullable=False),
        column("uri", pa.string(), "the file", nullable=False),
        column("reason", pa.string(), "stable snake_case word, to count by", nullable=False),
        column("message", pa.string(), "one line for a person", nullable=False),
        column("failed_at", pa.timestamp("us", tz="UTC"), "when", nullable=False),
    ]
)
