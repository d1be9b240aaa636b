"""ABC to note arrays and to MIDI, straight from the syntax tree. Chord symbols make no accompaniment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from image2music.errors import AbcError
from image2music.notation.abc_fields import Key, Meter, Tempo
from image2music.notation.abc_lengths import TICKS_PER_QUARTER, ticks
from image2music.notation.abc_parser import parse
from image2music.notation.abc_playback import PlayedVoice, play_voice
from image2music.notation.abc_tree import Tune
from image2music.notation.midi_writer import NoteList, write_note_lists
from image2music.notation.score import KeyChange, MeterChange, Score, TempoChange, Track

MAX_TICKS = 2**28 - 1
"""The longest time between two MIDI events."""

DRUM_CHANNEL = 9
_MELODIC_CHANNELS = (*range(9), *range(10, 16))


def abc_to_score(abc: str) -> Score:
    """Plays the first tune of an ABC text that has music.

    Voices sound in parallel, one track each (one more for every further program); repeats, endings and parts are
    played out; ticks are 1/480 of a quarter note. Voices without a `%%MIDI channel` get channels in order, that of
    drums left out, and share them from the sixteenth on. Changes of tempo, meter and key are kept; where the text
    names no tempo or meter the lists are empty.

    Raises:
        AbcError: `no_music` when there is nothing to play, `too_long` when repeats unfold beyond reason,
            `text_too_long` for a text above 4 million characters.
    """
    return tune_to_score(_first_tune(abc))


def abc_to_midi(abc: str) -> bytes:
    """A standard MIDI file (format 1) of the first tune with music; see `abc_to_score`.

    Raises:
        AbcError: as `abc_to_score`.
    """
    return tune_to_midi(_first_tune(abc))


def tune_to_score(tune: Tune) -> Score:
    """Plays one parsed tune.

    Raises:
        AbcError: `no_music` when it holds no sounding note, `too_long` when repeats unfold beyond reason.
    """
    conductor, tracks = _played(tune)
    return replace(conductor, tracks=tuple(map(_track, tracks)))


def tune_to_midi(tune: Tune) -> bytes:
    """Plays one parsed tune into a standard MIDI file; the same as `write_midi(tune_to_score(tune))`, but faster.

    Raises:
        AbcError: as `tune_to_score`.
    """
    return write_note_lists(*_played(tune))


def _first_tune(abc: str) -> Tune:
    parsed = parse(abc)
    if not parsed.tunes and any(finding.code == "text-too-long" for finding in parsed.diagnostics):
        raise AbcError("the text is too long to read: split it", reason="text_too_long")
    for tune in parsed.tunes:
        if tune.has_music:
            return tune
    raise AbcError("no tune with notes was found: write one from X: to its last bar line", reason="no_music")


def _played(tune: Tune) -> tuple[Score, list[NoteList]]:
    """A score with the tempos, meters and keys, and the notes of each track beside it."""
    voices = [play_voice(tune, voice) for voice in tune.voices.values()]
    if any(ticks(played.length) > MAX_TICKS for played in voices):
        raise AbcError("the tune lasts longer than MIDI can count: shorten its rests", reason="too_long")
    tracks = _note_lists(voices)
    if not tracks:
        raise AbcError("the tune has rests only: write notes", reason="no_music")
    return Score(TICKS_PER_QUARTER, (), _tempos(tune, voices), _meters(tune, voices), _keys(tune, voices)), tracks


def _note_lists(voices: list[PlayedVoice]) -> list[NoteList]:
    taken = {channel for played in voices for _, channel in played.parts if channel is not None}
    free = [channel for channel in _MELODIC_CHANNELS if channel not in taken] or list(_MELODIC_CHANNELS)
    tracks = []
    used = 0
    for played in voices:
        for (program, channel), notes in played.parts.items():
            if not notes:
                continue
            if channel is None:
                channel = free[used % len(free)]
                used += 1
            name = played.voice.settings.name or played.voice.id
            tracks.append(NoteList(notes, 0 if channel == DRUM_CHANNEL else program, channel, name))
    return tracks


def _track(track: NoteList) -> Track:
    rows = np.array(track.notes, dtype=np.int64)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
    onsets = rows[:, 0]
    is_drum = track.channel == DRUM_CHANNEL
    return Track(onsets, rows[:, 1] - onsets, rows[:, 2], rows[:, 3], track.program, track.channel, is_drum, track.name)


def _tempos(tune: Tune, voices: list[PlayedVoice]) -> tuple[TempoChange, ...]:
    at = {0: tune.tempo.qpm} if tune.tempo is not None and tune.tempo.qpm else {}
    for played in voices:
        for onset, value in played.changes:
            if isinstance(value, Tempo):
                at[ticks(onset)] = value.qpm
    return tuple(TempoChange(tick, at[tick]) for tick in sorted(at))


def _meters(tune: Tune, voices: list[PlayedVoice]) -> tuple[MeterChange, ...]:
    at = {0: tune.meter} if tune.has_meter else {}
    for played in voices[:1]:
        at.update((ticks(onset), value) for onset, value in played.changes if isinstance(value, Meter))
    return tuple(
        MeterChange(tick, at[tick].numerator, at[tick].denominator)
        for tick in sorted(at)
        if at[tick].length is not None
    )


def _keys(tune: Tune, voices: list[PlayedVoice]) -> tuple[KeyChange, ...]:
    at = {0: tune.key} if tune.has_key else {}
    for played in voices[:1]:
        at.update((ticks(onset), value) for onset, value in played.changes if isinstance(value, Key))
    return tuple(KeyChange(tick, at[tick].sharps, at[tick].minor) for tick in sorted(at))
