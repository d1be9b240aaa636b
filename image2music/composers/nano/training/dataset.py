"""What nano learns from: public-domain tunes of music21's corpus with synthetic pictures, in batches of like length.

The tunes are O'Neill, Aird and Ryan, as they come with music21. All three collections are in the public domain
(1778-1903) and were typed in by volunteers whom the Z: fields name. The Essen collection also comes with music21 and is
left out on purpose: its terms are non-commercial.

No tune of the training set comes with a picture, so cells are synthesised: a rectangle somewhere shows what the title
names, the rest shows other things, and light, contrast and colour follow the tune's mode and tempo, loosely, as they do
in film (minor darker, slow softer). The links are this file's assumption, not a finding.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from image2music.abc.ast import Tune
from image2music.abc.parser import parse
from image2music.composers.nano.melody import Melody, without_pickups
from image2music.composers.nano.patches import Appearance, FloatArray, PoleVectors, patches, unit_vectors
from image2music.composers.nano.reading import read_melody
from image2music.composers.nano.vocabulary import (
    CONTROL_SLOTS,
    MAX_BARS,
    Controls,
    Vocabulary,
    controls_of,
    tempo_control,
)

COLLECTIONS = ("airdsAirs", "oneills1850", "ryansMammoth")

_KIND_WORDS = (
    ("slip jig", r"slip[ -]?jig|hop jig"),
    ("strathspey", r"strathspey|highland|fling|schottische"),
    ("hornpipe", r"hornpipe|clog"),
    ("reel", r"\breel"),
    ("jig", r"\bjig|quickstep|quick step"),
    ("waltz", r"waltz|walse|minuet"),
    ("march", r"march|troop"),
    ("polka", r"polka|walk ?around|country dance"),
    ("air", r"\bair\b|lament|lullaby|slow"),
    ("song", r"song|glee"),
)
_KIND_TEMPO = {"reel": "fast", "jig": "fast", "slip jig": "fast", "polka": "fast", "hornpipe": "fast"}
_KIND_TEMPO |= {"strathspey": "moderate", "march": "moderate", "waltz": "moderate", "air": "slow", "song": "moderate"}

_SLOW_WORDS = re.compile(
    r"slow|plaintive|tender|grave|mournful|sorrow|lament|largo|adagio|with feeling|expression", re.I
)
_FAST_WORDS = re.compile(r"lively|animated|spirited|allegro|cheerful|quick|brisk|gay|presto", re.I)
_MODERATE_WORDS = re.compile(r"moderate|andante|boldly|martial|graceful", re.I)


@dataclass(frozen=True)
class TrainingTune:
    """One tune. `source` is the file's path inside music21's corpus and the tune's number there."""

    source: str
    title: str
    transcriber: str
    melody: Melody
    controls: Controls


def read_training_tunes() -> list[TrainingTune]:
    """Return all tunes that can be read whole, in a fixed order. Needs music21 for its corpus folder."""
    import music21

    corpus = Path(music21.__file__).parent / "corpus"
    paths = [path for name in COLLECTIONS for path in sorted((corpus / name).glob("*.abc"))]
    return [tune for path in paths for tune in _tunes(path, corpus)]


def _tunes(path: Path, corpus: Path) -> Iterator[TrainingTune]:
    # A line that ends in a backslash goes on in the next one: joined here, since bars are counted across it.
    text = path.read_text("utf-8", errors="replace")
    for tune in parse(text).tunes:
        found = _training_tune(tune, path.relative_to(corpus).as_posix())
        if found is not None:
            yield found


def _training_tune(tune: Tune, source: str) -> TrainingTune | None:
    if len(tune.voices) != 1:
        return None
    melody = read_melody(tune, next(iter(tune.voices.values())))
    if melody is None or not is_regular(melody):
        return None
    words = " ".join(text for letter in "RTNBP" for text in tune.fields.get(letter, []))
    kind = _kind(words, melody.meter)
    controls = controls_of(melody, kind=kind, tempo=_tempo(tune, words, kind))
    transcriber = " ".join(tune.fields.get("Z", []))
    return TrainingTune(f"{source}#{tune.reference.strip()}", _title(tune), transcriber, melody, controls)


def is_regular(melody: Melody) -> bool:
    """Return whether every note is in the vocabulary and only bars beside a section's end differ from the meter."""
    known = Vocabulary().note_ids
    if not 4 <= len(melody.bars) <= MAX_BARS or any(note not in known for bar in melody.bars for note in bar):
        return False
    if any(not _triplets_whole(bar) for bar in melody.bars):
        return False
    for i, bar in enumerate(melody.bars):
        length = sum((note.length for note in bar), Fraction())
        beside_end = i == 0 or i in melody.section_ends or i - 1 in melody.section_ends
        if length != melody.bar_capacity and not (beside_end and length < melody.bar_capacity):
            return False
    return True


def _triplets_whole(bar: tuple[object, ...]) -> bool:
    lengths = [note.length for note in bar]  # type: ignore[attr-defined]
    i = 0
    while i < len(lengths):
        if lengths[i].denominator != 3:
            i += 1
        elif lengths[i : i + 3] == [lengths[i]] * 3:
            i += 3
        else:
            return False
    return True


def _title(tune: Tune) -> str:
    title = re.sub(r"\s+--.*|[*\"]", "", tune.title).strip(" .")
    moved = re.fullmatch(r"(.*), (The|A|An)\b(.*)", title, re.I)
    return (f"{moved[2]} {moved[1]}{moved[3]}" if moved else title).strip().capitalize()


def _kind(words: str, meter: str) -> str | None:
    for kind, pattern in _KIND_WORDS:
        if re.search(pattern, words, re.I):
            return kind
    return {"9/8": "slip jig", "6/8": "jig"}.get(meter)


def _tempo(tune: Tune, words: str, kind: str | None) -> str | None:
    if tune.tempo is not None and tune.tempo.qpm:
        return tempo_control(tune.tempo.qpm)
    for tempo, pattern in (("slow", _SLOW_WORDS), ("fast", _FAST_WORDS), ("moderate", _MODERATE_WORDS)):
        if pattern.search(words):
            return tempo
    return _KIND_TEMPO.get(kind or "")


NOISE = 0.5
BRIGHTNESS = {"major": 0.64, "mixolydian": 0.56, "dorian": 0.38, "minor": 0.30}
ENERGY = {"slow": 0.25, "moderate": 0.5, "fast": 0.72}


@dataclass(frozen=True)
class SyntheticConditioning:
    """What synthetic pictures are made from. `distractors` float32[n, dim] shows what is in no title."""

    poles: PoleVectors
    distractors: FloatArray
    grid: int

    def picture(self, title: FloatArray, controls: Controls, rng: np.random.Generator) -> FloatArray:
        """Return patches float32[grid², dim] for a tune whose title embeds to `title` float32[dim]."""
        cells = self.grid * self.grid
        others = self.distractors[rng.integers(len(self.distractors), size=3)]
        objects = others[rng.integers(3, size=cells)]
        objects[self._subject(rng)] = title
        noise = rng.standard_normal(objects.shape, dtype=np.float32) * (NOISE / objects.shape[1] ** 0.5)
        return patches(unit_vectors(objects + noise), self._appearance(controls, rng), self.poles)

    def _subject(self, rng: np.random.Generator) -> FloatArray:
        """Return bool[grid²], a rectangle of two to five cells a side."""
        height, width = rng.integers(2, 6, size=2)
        top, left = rng.integers(self.grid - height + 1), rng.integers(self.grid - width + 1)
        mask = np.zeros((self.grid, self.grid), bool)
        mask[top : top + height, left : left + width] = True
        return mask.ravel()

    def _appearance(self, controls: Controls, rng: np.random.Generator) -> Appearance:
        level = rng.normal(BRIGHTNESS.get(controls.get("mode", ""), 0.5), 0.12)
        energy = ENERGY.get(controls.get("tempo", ""), 0.5)
        slope = rng.normal(0, 0.08, size=2)
        place = np.linspace(-1, 1, self.grid)
        brightness = (
            level + slope[0] * place[:, None] + slope[1] * place[None, :] + rng.normal(0, 0.05, (self.grid,) * 2)
        )
        return Appearance(
            np.clip(brightness, 0, 1).astype(np.float32),
            float(np.clip(rng.normal(energy, 0.13), 0, 1)),
            float(np.clip(rng.normal(0.2 + 0.6 * energy, 0.15), 0, 1)),
            float(np.clip(rng.normal(0.25 + 0.5 * level, 0.15), 0, 1)),
        )


MAX_TOKENS = 420
PREFIX = 1 + len(CONTROL_SLOTS)
HELD_OUT_SHARE = 0.08


@dataclass(frozen=True)
class Dropout:
    """How often a condition is left out, so that the model can do without it."""

    control: float = 0.25
    all_controls: float = 0.1
    reference: float = 0.25
    picture: float = 0.05
    pickup: float = 0.5


@dataclass(frozen=True)
class Batch:
    """`tokens` and `targets` int64[b, n] (0 is ignored in targets), `patches` float32, `references` int64."""

    tokens: Tensor
    targets: Tensor
    patches: Tensor
    references: Tensor


class NanoDataset:
    """All tunes with their nearest tunes, split by groups of near-duplicates."""

    def __init__(
        self,
        tunes: Sequence[TrainingTune],
        titles: NDArray[np.float32],
        conditioning: SyntheticConditioning,
        *,
        reference_slots: int,
        reference_tokens: int,
        seed: int,
    ) -> None:
        self.tunes, self.titles, self.conditioning = tunes, titles, conditioning
        self.slots, self.reference_tokens = reference_slots, reference_tokens
        self.vocabulary = Vocabulary()
        melodies = [tune.melody for tune in tunes]
        self.groups = duplicate_groups(melodies)
        self.held_out = hold_out(self.groups, seed)
        in_training = [not held for held in self.held_out]
        self.alike = nearest_training_tunes(motif_vectors(melodies), self.groups, in_training, 8)
        self.shelves = by_meter_and_mode(melodies, in_training)
        self.control_tokens = [self.vocabulary.encode_controls(tune.controls) for tune in tunes]
        self.bodies = [self.vocabulary.encode_melody(tune.melody) for tune in tunes]
        self.full_bars = [self._with_full_bars(tune) for tune in tunes]

    def training(self) -> list[int]:
        """Return the indices of the training tunes."""
        return [i for i, held in enumerate(self.held_out) if not held and len(self.bodies[i]) <= MAX_TOKENS]

    def validation(self) -> list[int]:
        """Return the indices of the held-out tunes."""
        return [i for i, held in enumerate(self.held_out) if held and len(self.bodies[i]) <= MAX_TOKENS]

    def batches(self, indices: Sequence[int], tokens: int, rng: np.random.Generator) -> Iterator[list[int]]:
        """Yield shuffled batches of at most `tokens` padded tokens; tunes of like length share one."""
        jitter = rng.uniform(0.9, 1.1, size=len(indices))
        order = sorted(range(len(indices)), key=lambda k: len(self.bodies[indices[k]]) * jitter[k])
        batches: list[list[int]] = [[]]
        for k in order:
            longest = PREFIX + int(1.25 * len(self.bodies[indices[k]]))
            if len(batches[-1]) * longest > tokens:
                batches.append([])
            batches[-1].append(indices[k])
        for at in rng.permutation(len(batches)):
            yield batches[at]

    def collate(self, indices: Sequence[int], rng: np.random.Generator, dropout: Dropout) -> Batch:
        """Return rows with some of their conditions left out."""
        rows = [self._tokens(i, rng, dropout) for i in indices]
        length = max(len(tokens) for tokens, _ in rows)
        tokens, targets = (np.zeros((len(rows), length), np.int64) for _ in range(2))
        for r, (row, target) in enumerate(rows):
            tokens[r, : len(row)], targets[r, : len(target)] = row, target
        return Batch(
            torch.from_numpy(tokens),
            torch.from_numpy(targets),
            torch.from_numpy(np.stack([self._picture(i, rng, dropout) for i in indices])),
            torch.from_numpy(np.stack([self._references(i, rng, dropout) for i in indices])),
        )

    def collate_fully_conditioned(self, indices: Sequence[int], seed: int) -> Batch:
        """Return rows for validation: every condition given, references chosen by meter and mode alone."""
        nothing = Dropout(0.0, 0.0, 0.0, 0.0, 0.0)
        rng = np.random.default_rng(seed)
        batch = self.collate(indices, rng, nothing)
        references = np.stack([self._encode_references(self._from_shelf(i, rng)) for i in indices])
        return Batch(batch.tokens, batch.targets, batch.patches, torch.from_numpy(references))

    def _tokens(self, i: int, rng: np.random.Generator, dropout: Dropout) -> tuple[list[int], list[int]]:
        given, body = self.control_tokens[i], self.bodies[i]
        if (full := self.full_bars[i]) is not None and rng.random() < dropout.pickup:
            given, body = full
        left_out = rng.random(len(given)) < (1.0 if rng.random() < dropout.all_controls else dropout.control)
        firsts = [self.vocabulary.control_offsets[slot.name] for slot in CONTROL_SLOTS]
        shown = [first - 1 if out else token for token, first, out in zip(given, firsts, left_out, strict=True)]
        targets = [token if token >= first else 0 for token, first in zip(given, firsts, strict=True)]
        tokens = [self.vocabulary.begin, *shown, *body[:-1]]
        return tokens, [*targets, *body]

    def _with_full_bars(self, tune: TrainingTune) -> tuple[list[int], list[int]] | None:
        """Return controls and body of the tune without its pick-ups; nano's own tunes begin on a full bar."""
        melody = without_pickups(tune.melody) if tune.melody.has_pickup else None
        if melody is None or not is_regular(melody):
            return None
        controls = controls_of(melody, kind=tune.controls.get("kind"), tempo=tune.controls.get("tempo"))
        return self.vocabulary.encode_controls(controls), self.vocabulary.encode_melody(melody)

    def _picture(self, i: int, rng: np.random.Generator, dropout: Dropout) -> NDArray[np.float32]:
        controls = Controls() if rng.random() < dropout.picture else self.tunes[i].controls
        return self.conditioning.picture(self.titles[i], controls, rng)

    def _references(self, i: int, rng: np.random.Generator, dropout: Dropout) -> NDArray[np.int64]:
        # Half the time tunes that share motifs, so that references are worth listening to.
        chosen = list(rng.permutation(self.alike[i])) if rng.random() < 0.5 else self._from_shelf(i, rng)
        kept = [j for j in chosen[: self.slots] if rng.random() >= dropout.reference]
        return self._encode_references(kept)

    def _from_shelf(self, i: int, rng: np.random.Generator) -> list[int]:
        shelf = self.shelves[self.tunes[i].melody.meter, self.tunes[i].melody.mode]
        others = [j for j in shelf if self.groups[j] != self.groups[i]]
        return [others[k] for k in rng.permutation(len(others))[: self.slots]]

    def _encode_references(self, chosen: Sequence[int]) -> NDArray[np.int64]:
        out = np.zeros((self.slots, self.reference_tokens), np.int64)
        for slot, j in enumerate(chosen):
            body = self.bodies[j][: self.reference_tokens]
            out[slot, : len(body)] = body
        return out


def hold_out(groups: Sequence[int], seed: int) -> list[bool]:
    """Choose whole groups for validation by seed, about `HELD_OUT_SHARE` of them."""
    names = sorted(set(groups))
    rng = np.random.default_rng(seed)
    held = {names[k] for k in rng.permutation(len(names))[: int(HELD_OUT_SHARE * len(names))]}
    return [group in held for group in groups]


RUN_NOTES = 17


def melodic_intervals(melody: Melody) -> list[tuple[int, Fraction]]:
    """Return each step as (semitones, length of the note it leaves), which transposition does not change."""
    notes = melody.sounding()
    return [(b.pitch - a.pitch, a.length) for a, b in pairwise(notes)]  # type: ignore[operator]


def duplicate_groups(melodies: Sequence[Melody]) -> list[int]:
    """Return a group number a tune.

    Tunes that share a run of 17 intervals, directly or through others, share a group.
    """
    parent = list(range(len(melodies)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_owner: dict[tuple[int, ...], int] = {}
    for i, melody in enumerate(melodies):
        steps = [step for step, _ in melodic_intervals(melody)]
        for at in range(len(steps) - RUN_NOTES + 1):
            owner = first_owner.setdefault(tuple(steps[at : at + RUN_NOTES]), i)
            parent[root(i)] = root(owner)
    return [root(i) for i in range(len(melodies))]


def motif_vectors(melodies: Sequence[Melody], size: int = 4) -> csr_matrix:
    """Return unit-length TF-IDF rows over runs of `size` steps, float32[n, motifs]."""
    columns: dict[tuple[tuple[int, Fraction], ...], int] = {}
    rows: list[int] = []
    places: list[int] = []
    for i, melody in enumerate(melodies):
        steps = melodic_intervals(melody)
        for at in range(len(steps) - size + 1):
            rows.append(i)
            places.append(columns.setdefault(tuple(steps[at : at + size]), len(columns)))
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, places)), (len(melodies), len(columns)))
    document_frequency = np.bincount(counts.indices, minlength=len(columns))
    weighted = counts.multiply(np.log(len(melodies) / document_frequency)).tocsr()
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return weighted.multiply(1 / np.maximum(norms, 1e-9)[:, None]).tocsr()


def nearest_training_tunes(
    vectors: csr_matrix, groups: Sequence[int], allowed: Sequence[bool], k: int
) -> list[list[int]]:
    """Return for each tune the `k` nearest allowed tunes of other groups, best first."""
    group = np.asarray(groups)
    open_to_all = np.asarray(allowed)
    found: list[list[int]] = []
    for start in range(0, vectors.shape[0], 256):
        block = (vectors[start : start + 256] @ vectors.T).toarray()
        block[:, ~open_to_all] = -1.0
        for offset, row in enumerate(block):
            row[group == group[start + offset]] = -1.0
            best = np.argpartition(-row, k)[:k]
            found.append(best[np.argsort(-row[best], kind="stable")].tolist())
    return found


def by_meter_and_mode(melodies: Sequence[Melody], allowed: Sequence[bool]) -> dict[tuple[str, str], list[int]]:
    """Return allowed tunes by (meter, mode), which is what a caption says of a tune."""
    shelves: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, melody in enumerate(melodies):
        if allowed[i]:
            shelves[melody.meter, melody.mode].append(i)
    return shelves


FINGERPRINTS_FILE = "training_runs.npy"


@dataclass(frozen=True)
class TrainingNgrams:
    """Sorted fingerprints, uint32[n]."""

    sorted_runs: NDArray[np.uint32]

    @classmethod
    def load(cls, folder: Path) -> TrainingNgrams:
        """Read the file beside the weights."""
        return cls(np.load(folder / FINGERPRINTS_FILE))

    @classmethod
    def of(cls, melodies: Sequence[Melody]) -> TrainingNgrams:
        """Fingerprint all runs of some melodies."""
        return cls(np.unique(np.concatenate([melody_ngrams(melody) for melody in melodies])))

    def save(self, folder: Path) -> None:
        """Write the file beside the weights."""
        np.save(folder / FINGERPRINTS_FILE, self.sorted_runs)

    def shared_with(self, melody: Melody) -> int:
        """Count the runs of a melody that also stand in a training tune."""
        found = melody_ngrams(melody)
        places = np.searchsorted(self.sorted_runs, found)
        inside = places < len(self.sorted_runs)
        return int((self.sorted_runs[places[inside]] == found[inside]).sum())


def melody_ngrams(melody: Melody) -> NDArray[np.uint32]:
    """Fingerprint each run of 17 notes: 16 steps of interval and length, in unit notes."""
    steps = melodic_intervals(melody)
    size = RUN_NOTES - 1
    texts = (repr(steps[at : at + size]).encode() for at in range(len(steps) - size + 1))
    digests = [int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") for text in texts]
    return np.array(digests, np.uint32)
