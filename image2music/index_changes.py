"""What a captions file asks for, held against what the table holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from image2music.stages import CaptionedMidi, Failure

IdentifiedMidi = tuple[str, CaptionedMidi]
"""tune_id and what its line says."""


@dataclass(frozen=True)
class Changes:
    """What an update has to do. `new` and `changed` rows are made, `removed` are the ids of rows to delete."""

    new: tuple[IdentifiedMidi, ...]
    changed: tuple[IdentifiedMidi, ...]
    removed: tuple[str, ...]
    unchanged: int

    @property
    def to_make(self) -> tuple[IdentifiedMidi, ...]:
        """Rows to convert and embed."""
        return self.new + self.changed

    def __bool__(self) -> bool:
        return bool(self.to_make or self.removed)


def first_of_each(tune_id: str, sources: Iterable[CaptionedMidi]) -> tuple[CaptionedMidi, list[Failure]]:
    """The first location of a content; the others are failures, for an id stands once in the table."""
    first, *others = sorted(sources, key=lambda source: (source.location, source.caption, source.image))
    message = f"the same bytes as {first.location}"
    return first, [Failure("duplicates", tune_id, other.location, "duplicate_tune", message) for other in others]


def without_repeats(identified: Iterable[IdentifiedMidi]) -> tuple[list[IdentifiedMidi], list[Failure]]:
    """Each content once, as `first_of_each` says, and the failures of the others."""
    groups: dict[str, list[CaptionedMidi]] = {}
    for tune_id, source in identified:
        groups.setdefault(tune_id, []).append(source)
    kept, failures = [], []
    for tune_id, sources in groups.items():
        first, others = first_of_each(tune_id, sources)
        kept.append((tune_id, first))
        failures += others
    return kept, failures


def find_changes(
    wanted: Sequence[IdentifiedMidi],
    stored: Mapping[str, CaptionedMidi],
    hopeless: Iterable[str] = (),
    *,
    keep: Iterable[str] = (),
) -> Changes:
    """Hold the wanted tunes (each id once) against the stored rows.

    A row is unchanged when its id and everything that its line says are. Ids in `hopeless` could not be converted
    before, or their pictures not be opened, and are not tried again. Rows at the locations in `keep` stay although no
    wanted tune is there.
    """
    ids = dict(wanted)
    skipped, kept = set(hopeless), set(keep)
    new = [(tune_id, source) for tune_id, source in wanted if tune_id not in stored and tune_id not in skipped]
    changed = [
        (tune_id, source)
        for tune_id, source in wanted
        if stored.get(tune_id, source) != source and tune_id not in skipped
    ]
    removed = [tune_id for tune_id, source in stored.items() if tune_id not in ids and source.location not in kept]
    unchanged = len(stored) - len(changed) - len(removed)
    return Changes(tuple(new), tuple(changed), tuple(sorted(removed)), unchanged)
