"""Which tunes are the same music: the same melodies, in whatever key, tempo or instruments."""

from __future__ import annotations

import hashlib

import numpy as np

from image2music.copying import voices_of
from image2music.notation.score import Score


def music_id(score: Score) -> str:
    """sha256 in hex over the distinct melodies of a score, equal where two scores are the same music.

    A melody is the top line of a pitched track as `copying.melody_steps` reads it: semitones to the next note and the
    time until it. So neither transposition (of the piece or of a part by octaves), tempo, resolution, instruments,
    loudness, lengths of held notes, the order of tracks, doubled parts, drums nor rests at the beginning make
    another music. A score without a melody of two notes or more is only the same as one with the same notes.
    """
    melodies = {np.asarray(steps, dtype=np.int64).tobytes() for steps in voices_of(score) if steps}
    parts = sorted(melodies) or [_as_they_are(score)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _as_they_are(score: Score) -> bytes:
    notes = [np.stack([track.onsets, track.pitches]).tobytes() for track in score.tracks]
    return b"notes" + b"".join(len(part).to_bytes(8, "big") + part for part in notes)
