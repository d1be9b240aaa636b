"""A character n-gram with Witten-Bell smoothing (1991): what nano's loss is held against, on the same split."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

START = "\x02"
END = "\x03"


class NgramModel:
    """Probabilities of a character after up to `order` - 1 others, backed off by Witten-Bell interpolation."""

    def __init__(self, order: int, texts: Iterable[str]) -> None:
        self.order = order
        self.following: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            padded = START * (order - 1) + text + END
            for at in range(order - 1, len(padded)):
                for length in range(order):
                    self.following[padded[at - length : at]][padded[at]] += 1
        self.alphabet = len(self.following[""]) + 1
        self.totals = {context: counts.total() for context, counts in self.following.items()}

    def probability(self, context: str, character: str) -> float:
        """P(character | context), never zero."""
        p = 1.0 / self.alphabet
        for length in range(min(len(context), self.order - 1) + 1):
            shorter = context[len(context) - length :]
            counts = self.following.get(shorter)
            if counts is None:
                break
            types, total = len(counts), self.totals[shorter]
            p = (counts[character] + types * p) / (total + types)
        return p

    def nats_a_character(self, texts: Sequence[str]) -> float:
        """Mean negative log likelihood, ends of texts included."""
        nats, n = 0.0, 0
        for text in texts:
            padded = START * (self.order - 1) + text + END
            for at in range(self.order - 1, len(padded)):
                nats -= math.log(self.probability(padded[at - self.order + 1 : at], padded[at]))
                n += 1
        return nats / n
