"""A row of `OUT/score.parquet`: what was measured of one picture's tune."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import FAITHFULNESS, METRICS, column

ANSWER = pa.struct(
    [
        column("who", pa.string(), "judge, listeners or songeval"),
        column(
            "question",
            pa.string(),
            "what was asked: melody, ..., an aspect of SongEval, or preferred_to_candidate, preferred_to_run",
        ),
        column(
            "mean",
            pa.float64(),
            "mean answer, cleared of the effects of order",
            unit="points, 1-7; songeval 1-5; votes 0-1",
        ),
        column("spread", pa.float64(), "standard deviation of the answers; null for a single one", unit="points"),
        column("answers", pa.int32(), "how many answers could be read"),
    ]
)

SCORE_SCHEMA = pa.schema(
    [
        column(
            "system", pa.string(), "who wrote the tune: an output's folder, or a system of --import", nullable=False
        ),
        column("image_id", pa.string(), "sha256 of the picture's bytes, hex", nullable=False),
        column("image_uri", pa.string(), "the picture", nullable=False),
        column("valid_as_written", pa.float64(), "1 where the first answer needed no mending", unit="0 or 1"),
        column("valid_first", pa.float64(), "1 where the first answer, mended by rule, had no error", unit="0 or 1"),
        column("valid_repaired", pa.float64(), "1 where there is a valid tune in the end", unit="0 or 1"),
        column("bars", pa.int32(), "bars over all voices, as written", unit="bars"),
        column("bars_right_first", pa.float64(), "full bars of the first answer, unmended", unit="share of bars, 0-1"),
        column("bars_right", pa.float64(), "full bars of the tune", unit="share of bars, 0-1"),
        column("metrics", METRICS, "the eight metrics; null where the tune cannot be played"),
        column("critic", pa.float64(), "musicality of the notes, higher is better", unit="human deviations"),
        column("faults_per_bar", pa.float64(), "places that a listener would point at", unit="a bar"),
        column("plan_adherence", pa.float64(), "how far the tune keeps its plan", unit="0-1"),
        column(
            "metrics_distance",
            pa.float64(),
            "gaps to the references' range",
            unit="shares of the range's high end",
        ),
        column("groove_consistency", pa.float64(), "how alike neighbouring bars' rhythms are", unit="0-1"),
        column("key_agreement", pa.float64(), "whether the mode that is heard suits the description", unit="0 or 1"),
        column("tempo_agreement", pa.float64(), "whether the tempo suits the description", unit="0, 0.5 or 1"),
        column("longest_copy", pa.float64(), "longest run shared with a reference, transposed or not", unit="notes"),
        column("copied_share", pa.float64(), "that run in the tune's longest voice", unit="share of notes, 0-1"),
        column(
            "self_similarity",
            pa.float64(),
            "longest run shared with another picture's tune",
            unit="share of melody, 0-1",
        ),
        column(
            "picture_music",
            pa.float64(),
            "picture to tune in words by another embedder, less the tune's mean over all pictures; null without one",
            unit="cosine",
        ),
        column("faithfulness", FAITHFULNESS, "as stored with the map of the whole tune"),
        column("answers", pa.list_(ANSWER), "of a judge, of listeners, of SongEval"),
    ]
)
