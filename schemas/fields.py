"""Types and fields that more than one schema needs."""

from __future__ import annotations

import pyarrow as pa

METRICS = pa.struct(
    [
        pa.field("pitch_range", pa.float64(), metadata={"unit": "semitones"}),
        pa.field("n_pitches_used", pa.float64(), metadata={"unit": "pitches"}),
        pa.field("n_pitch_classes_used", pa.float64(), metadata={"unit": "pitch classes"}),
        pa.field("polyphony", pa.float64(), metadata={"unit": "pitches at once, mean over time with sound"}),
        pa.field("scale_consistency", pa.float64(), metadata={"unit": "share of notes, 0-1"}),
        pa.field("pitch_entropy", pa.float64(), metadata={"unit": "bits"}),
        pa.field("pitch_class_entropy", pa.float64(), metadata={"unit": "bits"}),
        pa.field("empty_beat_rate", pa.float64(), metadata={"unit": "share of beats without sound, 0-1"}),
    ]
)
"""The eight metrics, named as in MusPy; each null where it is undefined."""


def column(name: str, kind: pa.DataType, meaning: str, *, unit: str = "", nullable: bool = True) -> pa.Field:
    """Return a field whose metadata holds its meaning and its unit."""
    metadata = {"meaning": meaning} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


def vector(dim: int) -> pa.DataType:
    """Return the type fixed_size_list<float32>[dim]."""
    return pa.list_(pa.float32(), dim)


FAITHFULNESS = pa.list_(
    pa.struct(
        [
            column("measure", pa.string(), "name of a measure of faithfulness"),
            column("value", pa.float32(), "its value"),
        ]
    )
)
"""Measures by name. No Arrow map: Hugging Face datasets cannot read one."""
