"""Names for tunes, in the manner of the collections that nano learned from."""

from __future__ import annotations

import numpy as np

from image2music.composers.nano.plan import Plan
from image2music.composers.nano.seeing import Seen

_KIND_NAMES = {"slip jig": "Slip Jig", "air": "Air", "song": "Song"}
_NO_SUBJECT = ("Light", "Morning", "Evening", "Road", "Stranger", "Window")


def title(seen: Seen, plan: Plan, seed: int) -> str:
    """A title from what the picture shows and how the tune goes, e.g. `The Calm Lakeside`, `Air of the Old Castle`."""
    rng = np.random.Generator(np.random.Philox([seed, 1]))
    colour = seen.colours[0] if seen.colours else seen.mood
    thing = seen.subject if seen.subject is not None else f"{_NO_SUBJECT[int(rng.integers(len(_NO_SUBJECT)))]}"
    thing = " ".join(word.capitalize() for word in thing.split())
    kind = plan.get("kind")
    dance = _KIND_NAMES.get(kind or "", (kind or "tune").capitalize())
    forms = (
        f"The {seen.mood.capitalize()} {thing}",
        f"{dance} of the {thing}",
        f"The {thing}'s {dance}",
        f"The {colour.capitalize()} {thing}",
        f"{thing} in {'Minor' if plan['mode'] in ('minor', 'dorian') else 'Major'} Light",
    )
    return forms[int(rng.integers(len(forms)))]
