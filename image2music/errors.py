"""The one tree of errors. Each message says what to do; each `reason` is a stable word for counting."""

from __future__ import annotations


class Image2MusicError(Exception):
    """Base of everything this project raises on purpose.

    `reason` is machine-readable (snake_case) and ends up in `Failure.reason`.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross Beam's workers.
        return _rebuild, (type(self), str(self), self.reason)


def _rebuild(kind: type[Image2MusicError], message: str, reason: str) -> Image2MusicError:
    return kind(message, reason=reason)


class ConfigError(Image2MusicError):
    """An option or a combination of options that cannot work."""


class CaptionError(Image2MusicError):
    """A line of a captions file that names no MIDI file inside the folder, or has no caption."""


class MidiError(Image2MusicError):
    """A MIDI file that cannot be read, or that holds nothing to play."""


class NotationError(Image2MusicError):
    """A MusicXML file that cannot be read, or that holds nothing to play."""


class AbcError(Image2MusicError):
    """An ABC text that cannot be read or played at all."""


class PlanError(Image2MusicError):
    """A plan, or a part of one, that cannot be read: no JSON, an unknown role, no chord symbol."""


class PictureError(Image2MusicError):
    """A picture that cannot be opened safely."""


class TuneIndexError(Image2MusicError):
    """A tune index that is missing, empty, or made with another embedder."""


class ModelError(Image2MusicError):
    """A model that cannot be loaded, or that answered with something unusable."""


class OutputError(Image2MusicError):
    """An output place that cannot be written."""


class JobError(Image2MusicError):
    """A job that broke as a whole: a full disk, a lost worker, a mistake in the program."""


class TimeLimitError(Image2MusicError):
    """An element that took too long."""


class PutOffError(Image2MusicError):
    """A picture that waits: nothing is wrong with it, and the same command goes on with it later."""
