"""nano behind the composer's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Image

from image2music.abc.playback import abc_to_score
from image2music.composers.base import ComposeRequest, ExplainRequest, RefineRequest, RepairRequest
from image2music.composers.nano.arrangement import arrange, setting
from image2music.composers.nano.controls import LEVELS, AllowedWords, control_distance, control_targets, controls_of
from image2music.composers.nano.decoding import DecodingConstraints
from image2music.composers.nano.explaining import explain, title
from image2music.composers.nano.patches import WEIGHTS, SeenPicture, allowed_words, look_at, nano_id
from image2music.composers.nano.reading import copied_references, encode_references, read_controls_and_melody
from image2music.composers.nano.sampling import Drawn, Sampler
from image2music.composers.nano.vocabulary import PLACED_NOTE, asked_words, placed_tokens
from image2music.images.scene import describe
from image2music.music.keys import detect_key
from image2music.music.score import Score
from image2music.settings import picture_seed
from image2music.types import Description, Explanation

if TYPE_CHECKING:
    from image2music.composers.nano.patches import PoleVectors
    from image2music.embedders.conse import ConseEmbedder

# Candidates drawn at once in each pass. A pass over few tunes takes nearly as long as one over many, so what has to be
# drawn again is drawn three times at once; the third pass is for copies alone.
PASSES = (1, 3, 3)
CELLS = 7
MINOR_MODES = ("minor", "dorian")


@dataclass(frozen=True)
class _Task:
    """One tune to sample: its request, the words allowed for its controls, the attempt.

    And the words required by a caller.

    Only for what is required is a tune sampled again: the loop's own rounds are other attempts already.
    """

    request: ComposeRequest
    words: AllowedWords
    attempt: int
    required: AllowedWords = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    """A sampled tune and what is wrong with it.

    Attributes:
        abc: the arranged tune.
        copies: how many runs of notes it shares with training tunes and references.
        off_mode: whether a listener would hear another mode than the one that is required.
        off_range: whether its range is none of those that are required.
        misses: distance of all controls from the allowed words (`control_distance`).
    """

    abc: str
    copies: int
    off_mode: bool
    off_range: bool
    misses: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """Return a sort key; lower is better."""
        return self.copies, self.off_mode + self.off_range, self.misses


class NanoComposer:
    """Samples melodies from the decoder, arranges them for two voices, and explains them from its own attention."""

    def __init__(self, embedder: ConseEmbedder, poles: PoleVectors, sampler: Sampler, id: str) -> None:
        self._embedder, self.poles, self.sampler, self.id = embedder, poles, sampler, id

    def describe(self, images: Sequence[Image]) -> list[Description]:
        """Describe each picture; its patches stay with the description."""
        looks = self._embedder.look(images)
        return [Description(describe(look), look_at(look, self.poles)) for look in looks]

    def compose(self, requests: Sequence[ComposeRequest]) -> list[str]:
        """Return a first tune for each request."""
        return self._draw([_Task(request, _words(request), 0) for request in requests])

    def compose_as_asked(self, requests: Sequence[ComposeRequest], words: AllowedWords) -> list[str]:
        """Return a first tune for each request, with further words required for its controls."""
        return self._draw([_Task(r, {**_words(r), **words}, 0, words) for r in requests])

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """Return another tune: nano's own never fail the check, so there is nothing to repair in place."""
        return self._draw([_Task(r.request, _words(r.request), 100 + r.attempt) for r in requests])

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """Return another tune to the same controls but for those whose metrics lie outside of the references' range."""
        tasks = []
        for request in requests:
            words = _words(request.request)
            controls, _ = read_controls_and_melody(request.abc)
            unchanged = {slot: (word,) for slot, word in controls.items()}
            changed = control_targets(request, controls)
            tasks.append(_Task(request.request, {**words, **unchanged, **changed}, request.attempt))
        return self._draw(tasks)

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """Return motivation and replayed attention."""
        return explain(self.sampler, requests)

    def _draw(self, tasks: Sequence[_Task]) -> list[str]:
        """Return the best of a few candidates for each task.

        Sample a tune again that copies or misses what is required.
        """
        best: dict[int, _Candidate] = {}
        for number in range(len(PASSES)):
            open_tasks = [i for i in range(len(tasks)) if i not in best or _should_redraw(best[i], number)]
            if not open_tasks:
                break
            for i, candidate in self._candidates(tasks, open_tasks, number):
                if i not in best or candidate.rank < best[i].rank:
                    best[i] = candidate
        return [best[i].abc for i in range(len(tasks))]

    def _candidates(self, tasks: Sequence[_Task], indices: Sequence[int], number: int) -> list[tuple[int, _Candidate]]:
        rows = [(i, sum(PASSES[:number]) + k) for i in indices for k in range(PASSES[number])]
        placed = {i: placed_tokens(tasks[i].request.album, self.sampler.vocabulary) for i in indices}
        constraints = [DecodingConstraints(tasks[i].words, _seed(tasks[i], draw), placed[i]) for i, draw in rows]
        patches = np.stack([_picture(tasks[i].request).patches for i, _ in rows])
        references = np.stack([self._references(tasks[i].request) for i, _ in rows])
        drawn = self.sampler.draw(patches, references, constraints)
        return [(i, self._candidate_of(tasks[i], one)) for (i, _), one in zip(rows, drawn, strict=True)]

    def _references(self, request: ComposeRequest) -> np.ndarray:
        return encode_references(request.references, self.sampler.model.config)

    def _candidate_of(self, task: _Task, drawn: Drawn) -> _Candidate:
        copies = self.sampler.training_runs.shared_with(drawn.melody)
        copies += copied_references(drawn.melody, task.request.references)
        delivered = controls_of(drawn.melody, kind=drawn.controls.get("kind"), tempo=drawn.controls["tempo"])
        abc = _arranged(task, drawn)
        return _Candidate(
            abc,
            copies,
            off_mode="mode" in task.required and heard_mode(abc_to_score(abc)) != _plain(drawn.controls["mode"]),
            off_range=delivered["range"] not in task.required.get("range", LEVELS),
            misses=control_distance(task.words, delivered),
        )


def _should_redraw(candidate: _Candidate, number: int) -> bool:
    """Return whether a tune is sampled again in pass `number`."""
    off = candidate.off_mode or candidate.off_range
    return candidate.copies > 0 or (off and number < len(PASSES) - 1)


def _arranged(task: _Task, drawn: Drawn) -> str:
    picture, seed = _picture(task.request), task.request.seed
    name, arrangement = title(picture, drawn.controls, seed), setting(drawn.controls, picture.energy, seed)
    album = task.request.album
    if album is None:
        return arrange(drawn.melody, arrangement, name, drawn.controls["kind"])
    arrangement = replace(arrangement, qpm=album.tempo_qpm, programs=album.programs)
    return arrange(drawn.melody, arrangement, name, drawn.controls["kind"], (PLACED_NOTE,))


def _words(request: ComposeRequest) -> AllowedWords:
    """Return the allowed words that suit the picture, overridden by its album's."""
    suitable = allowed_words(_picture(request))
    return suitable if request.album is None else {**suitable, **asked_words(request.album)}


def _plain(mode: str) -> str:
    return "minor" if mode in MINOR_MODES else "major"


def heard_mode(score: Score) -> str:
    """Return `major` or `minor` as the key detector finds it from the notes alone."""
    weights = np.sum([np.bincount(t.pitches % 12, t.durations, 12) for t in score.tracks if not t.is_drum], axis=0)
    return "minor" if detect_key(weights).minor else "major"


def _seed(task: _Task, draw: int) -> int:
    # By the picture's id and not by what is seen in it: the bits of a float differ from processor to processor.
    return picture_seed(task.request.seed, f"{task.request.image_id}/{task.attempt}/{draw}")


def _picture(request: ComposeRequest) -> SeenPicture:
    features = request.description.features
    if not isinstance(features, SeenPicture):
        raise TypeError("nano composes from its own description of a picture: call describe first")
    return features


@lru_cache(maxsize=1)
def load_nano() -> NanoComposer:
    """Load the composer with the weights that come with the package, once a process."""
    from image2music.composers.nano.patches import PoleVectors, blank_patches
    from image2music.composers.nano.sampling import load_sampler
    from image2music.embedders.conse import load_conse

    id, embedder = nano_id(WEIGHTS), load_conse()
    poles = PoleVectors.embed(embedder)
    sampler = load_sampler(WEIGHTS, blank_patches(CELLS * CELLS, poles))
    return NanoComposer(embedder, poles, sampler, id)
