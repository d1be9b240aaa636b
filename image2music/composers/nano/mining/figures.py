"""Accompaniment figures of the repertoire, as candidates for the arranger's library.

A bar is taken where one chord explains it, hand by hand, and written in the language of `music.arrange.figures`. What
comes three times in a piece, over two roots at least, with three tones of the chord, and isn't the tune, is a figure.
The best are chosen by ear and hand: `music/arrange/figures_mined.txt` holds those.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from image2music.composers.nano.mining.harmony import QUALITY_TONES, Sound, hear_piece
from image2music.composers.nano.mining.melodies import Bar, melody_track, to_tick
from image2music.composers.nano.sketch import TICKS
from image2music.music.critic.training import HumanPiece
from image2music.music.score import Track

METERS = ("4/4", "2/2", "3/4", "6/8", "2/4", "12/8", "9/8", "5/4", "3/8")
GRAINS = (6, 4, 3, 2)
"""Ticks of a token: an eighth, a triplet's eighth, a sixteenth, a sextuplet's note."""
_TIMES, _ROOTS, _TONES, _ONSETS, _HIGHEST = 3, 2, 3, 3, 7

Played = tuple[int, int, int]
"""Onset in the bar and length in ticks, pitch."""


class Found(NamedTuple):
    """A figure in one piece: hand, meter, ticks of a token, tokens; how often it comes, over how many roots."""

    hand: str
    meter: str
    grain: int
    tokens: str
    times: int
    roots: int
    qpm: float
    loudness: int
    name: str


def figures_in(piece: HumanPiece) -> Iterator[Found]:
    """Yield the figures of a song's piano, or of a quartet's lower voices."""
    heard = hear_piece(piece) if piece.kind in ("song", "quartet") else None
    if heard is None:
        return
    tune = melody_track(piece)
    hands = [track for track in piece.score.tracks if len(track) and track is not tune and not track.is_drum]
    names = ["right", "left"] if piece.kind == "song" and len(hands) == 2 else [f"line {n}" for n in range(len(hands))]
    resolution = piece.score.ticks_per_quarter
    sung = _by_bar(tune, resolution, heard.bars)
    played = {name: _by_bar(track, resolution, heard.bars) for name, track in zip(names, hands, strict=True)}
    if set(played) == {"right", "left"}:
        left, right = played["left"], played["right"]
        played["both"] = {at: sorted(left[at] + right[at]) for at in left.keys() & right.keys()}
    qpm = piece.score.tempos[0].qpm if piece.score.tempos else 0.0
    for hand, bars in played.items():
        found: defaultdict[tuple[str, int, str], list[tuple[int, int]]] = defaultdict(list)
        for at, notes in bars.items():
            bar, chords = heard.bars[at], heard.chords[at]
            if len(chords) == 1 and bar.meter in METERS and not _doubles(notes, sung.get(at, [])):
                written = tokens_of(notes, chords[0], bar.end - bar.start)
                if written:
                    found[bar.meter, *written].append((at, chords[0].root))
        for (meter, grain, tokens), places in found.items():
            roots = len({root for _, root in places})
            if len(places) >= _TIMES and roots >= _ROOTS:
                loud = int(sum(int(track.velocities.mean()) for track in hands) / len(hands))
                yield Found(hand, meter, grain, tokens, len(places), roots, qpm, loud, piece.name)


def _by_bar(track: Track, resolution: int, bars: Sequence[Bar]) -> dict[int, list[Played]]:
    """Return a hand's notes by bar; bars with notes that are tied in or out, or fall on no tick, are missing."""
    found: defaultdict[int, list[Played]] = defaultdict(list)
    spoiled = set()
    starts = [bar.start for bar in bars]
    for onset, length, pitch in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), strict=True
    ):
        at, end = to_tick(onset, resolution), to_tick(onset + length, resolution)
        number = max(0, bisect_left(starts, onset * TICKS / resolution + 0.5) - 1)
        if at is None or end is None or end > bars[number].end or at < bars[number].start or end <= at:
            spoiled |= {number, min(number + 1, len(bars) - 1)}
        else:
            found[number].append((at - bars[number].start, end - at, pitch))
    return {number: sorted(notes) for number, notes in found.items() if number not in spoiled}


def _doubles(notes: Sequence[Played], sung: Sequence[Played]) -> bool:
    """Whether a hand's highest notes are the tune."""
    tops: dict[int, int] = {}
    for at, _, pitch in notes:
        tops[at] = max(pitch, tops.get(at, 0))
    same = sum(tops.get(at, -1) % 12 == pitch % 12 for at, _, pitch in sung if at in tops)
    return len(sung) > 1 and same > 0.6 * len(sung)


def tokens_of(notes: Sequence[Played], chord: Sound, length: int) -> tuple[int, str] | None:
    """Write a bar as tokens; None where it is no figure: foreign notes that don't resolve, too few tones or notes."""
    classes = {(chord.root + tone) % 12 for tone in QUALITY_TONES[chord.quality]}
    ladder = sorted({pitch for _, _, pitch in notes if pitch % 12 in classes})
    if len({pitch % 12 for pitch in ladder}) < _TONES or len(ladder) > _HIGHEST:
        return None
    grain = next((g for g in GRAINS if all(at % g == 0 and (dur % g == 0 or dur < g) for at, dur, _ in notes)), None)
    if grain is None or length % grain:
        return None
    onsets: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for at, dur, pitch in notes:
        onsets[at].append((pitch, dur))
    if len(onsets) < _ONSETS:
        return None
    row = ["."] * (length // grain)
    places = sorted(onsets)
    for place, at in enumerate(places):
        sounds = sorted(onsets[at])
        follow = onsets[places[place + 1]] if place + 1 < len(places) else []
        token = _token(sounds, follow, ladder, classes, at)
        if token is None:
            return None
        until = places[place + 1] if place + 1 < len(places) else length
        row[at // grain] = token
        for cell in range(at // grain + 1, min(at + max(dur for _, dur in sounds), until) // grain):
            row[cell] = "-"
    if sum(token[0] in "^v" for token in row) * 4 > len(onsets):
        return None
    return grain, " ".join(row)


def _token(
    sounds: Sequence[tuple[int, int]],
    follow: Sequence[tuple[int, int]],
    ladder: Sequence[int],
    classes: set[int],
    at: int,
) -> str | None:
    if all(pitch % 12 in classes for pitch, _ in sounds):
        rungs = "".join(str(ladder.index(pitch)) for pitch, _ in sounds)
        return rungs if len(rungs) == 1 else f"({rungs})"
    near = [pitch for pitch, _ in follow if 0 < abs(pitch - sounds[0][0]) <= 2 and pitch % 12 in classes]
    if len(sounds) > 1 or not near or at == 0:
        return None
    return ("^" if sounds[0][0] > near[0] else "v") + str(ladder.index(near[0]))


def candidates(pieces: Sequence[HumanPiece]) -> list[str]:
    """Return one line a figure, those that most pieces have first: what a person chooses from."""
    where: defaultdict[tuple[str, str, int, str], list[Found]] = defaultdict(list)
    for piece in pieces:
        for found in figures_in(piece):
            where[found.hand.split()[0], found.meter, found.grain, found.tokens].append(found)
    lines = []
    for (hand, meter, grain, tokens), all_found in where.items():
        times, roots = sum(found.times for found in all_found), max(found.roots for found in all_found)
        tempo = sorted(found.qpm for found in all_found)[len(all_found) // 2]
        loud = sorted(found.loudness for found in all_found)[len(all_found) // 2]
        pieces_named = Counter(found.name for found in all_found).most_common(2)
        names = " ".join(name for name, _ in sorted(pieces_named))
        score = len(all_found) * 3 + min(times, 12) / 2 + roots
        lines.append(
            (
                -score,
                f"{meter:5}{hand:6} g{grain} pieces {len(all_found)} times {times} roots {roots} qpm {tempo:.0f} v{loud} | {tokens} | {names}",
            )
        )
    return [line for _, line in sorted(lines)]
