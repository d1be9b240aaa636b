"""A tune as MusicXML, through music21."""

from __future__ import annotations

import importlib.util

from image2music.errors import ConfigError


def music_xml(midi: bytes, title: str) -> bytes:
    """MusicXML of a MIDI file, with its title.

    music21 reads the MIDI rather than the ABC, since it lays parallel voices of ABC end to end. What ABC says and MIDI
    does not (slurs, the spelling of accidentals) is therefore music21's guess.

    Raises:
        ConfigError: music21 is not installed (`no_music21`).
    """
    if importlib.util.find_spec("music21") is None:
        raise ConfigError("musicxml needs music21: pip install music21", reason="no_music21")
    from music21 import converter, metadata
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    score = converter.parseData(midi, format="midi")
    score.metadata = metadata.Metadata(title=title)
    return bytes(GeneralObjectExporter(score).parse())
