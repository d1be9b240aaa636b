"""Reads the values of fields and says what is wrong with those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

from image2music.notation.abc_fields import Key, Meter, Tempo, read_meter, read_tempo, read_unit
from image2music.notation.abc_keys import read_key
from image2music.notation.abc_lengths import Length

Report = Callable[[str, str, int], None]
"""Takes a code, a message and a column."""


class FieldValues:
    """Each method returns None, and reports, where the value says nothing usable."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def meter(self, value: str, column: int) -> Meter | None:
        """M:."""
        meter = read_meter(value)
        if meter is None:
            self.report("bad-meter", f"M:{value[:20]} is no meter: write beats over a note value, M:4/4", column)
        return meter

    def unit(self, value: str, column: int) -> Length | None:
        """L:."""
        unit = read_unit(value)
        if unit is None:
            self.report("bad-unit", f"L:{value[:20]} is no unit length: write a fraction, L:1/8", column)
        return unit

    def key(self, value: str, column: int) -> Key | None:
        """K:."""
        key = read_key(value)
        if key is None:
            message = f"K:{value[:20]} is no key: write a tonic and a mode, K:C, K:Am, K:D dor"
            self.report("bad-key", message, column)
        return key

    def tempo(self, value: str, column: int) -> Tempo | None:
        """Q:. Words alone are no tempo that could be played."""
        tempo = read_tempo(value)
        if tempo is not None and tempo.qpm:
            return tempo
        if tempo is not None or (value and not any(character.isdigit() for character in value)):
            message = f"Q:{value[:20]} has no number and plays at 120: write Q:1/4=120"
            self.report("tempo-without-number", message, column)
        else:
            self.report("bad-tempo", f"Q:{value[:20]} is no tempo: write beats a minute, Q:1/4=120", column)
        return None
