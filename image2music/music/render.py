"""A tune as sound: MIDI through a sound font, in stereo with a little room, at one loudness; WAV, MP3 and Opus.

The sound font player is midirenderer (rustysynth). Where no sound font is at hand a few harmonics and an envelope stand
for each note: that shows how a tune goes, not how it would sound on its instruments.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from image2music.errors import ConfigError, MidiError
from image2music.music.loudness import PEAK_DBTP, levels_over_channels, limited, mastered, mastering_gain
from image2music.music.midi import read_midi, write_midi
from image2music.music.score import Score, Track, seconds_at
from image2music.music.tags import ogg_pages

RATE = 48_000
"""Samples a second; two channels."""

MAX_SECONDS = 900.0
"""Longer tunes are cut here: a quarter of an hour takes 350 MB while it is made."""

SoundFormat = Literal["wav", "mp3", "opus"]

KBPS: dict[SoundFormat, int] = {"mp3": 128, "opus": 96}
"""Kilobits a second of files that are kept, both channels together."""

_FEW_KBPS = 64
_OPUS_PACKET, _OPUS_AHEAD = 960, 312
"""Samples of a packet, and by how many the encoder looks ahead (RFC 7845's pre-skip). libsndfile has none to give it at
the end and makes some up, which is heard where a loop begins again: what fills the last packet is written, and cut."""
_LAME_SCALE = 0.95
"""LAME makes everything a little softer, lest it clip; what it gets is louder by as much."""
_TAIL_SECONDS, _LOOP_TAIL_SECONDS = 3.0, 6.0
"""Time to die away in; a loop needs all that is still heard in its next round."""
_END_SHARE, _SHORTEST_END, _LONGEST_END = 0.67, 0.35, 4.0
"""Of a sound that ends at a given time: the share of the last chord that fades, and its seconds at least and most."""
_SILENT = 10 ** (-66 / 20)
_FADE_SECONDS = 0.05
_VOLUME, _PAN, _ROOM = 7, 10, 91
_ROOM_NEAR, _ROOM_FAR = 32, 56
_CENTRE, _LOWEST_SIDE = 64, 50.0
_SIDES = (42, 86, 30, 98, 52, 76, 22, 106)


@dataclass(frozen=True)
class PlayedTrack:
    """One part: `notes` are (start, duration, pitch 0-127, velocity 1-127), times in seconds, in order of start."""

    name: str
    program: int
    is_drum: bool
    notes: tuple[tuple[float, float, int, int], ...]


def played_tracks(score: Score) -> tuple[PlayedTrack, ...]:
    """Return the parts of a score in seconds, rounded to a tenth of a millisecond."""
    return tuple(_played(track, score) for track in score.tracks)


def _played(track: Track, score: Score) -> PlayedTrack:
    per_quarter = score.ticks_per_quarter
    notes = []
    for onset, duration, pitch, velocity in zip(
        track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), track.velocities.tolist(), strict=True
    ):
        start = seconds_at(onset / per_quarter, score.tempos, per_quarter)
        end = seconds_at((onset + duration) / per_quarter, score.tempos, per_quarter)
        notes.append((round(start, 4), round(end - start, 4), pitch, velocity))
    return PlayedTrack(track.name, track.program, track.is_drum, tuple(notes))


def find_soundfont(given: Path | None = None) -> Path | None:
    """Return the sound font to play with: the one that is given, else the one that pretty_midi carries, else None.

    TimGM6mb.sf2 comes with pretty_midi, which MusPy asks for. It is under the GPL, version 2; it is read where it lies
    and never copied.
    """
    if given is not None:
        return given
    package = find_spec("pretty_midi")
    folders = package.submodule_search_locations if package is not None else None
    for folder in folders or ():
        if (found := Path(folder) / "TimGM6mb.sf2").is_file():
            return found
    return None


@dataclass(frozen=True)
class SoundRenderer:
    """What tunes are played with: the bytes of a sound font, or plain tones where that is None."""

    soundfont: bytes | None
    name: str

    @cached_property
    def mark(self) -> str:
        """16 hex digits of what is played with."""
        return hashlib.sha256(self.soundfont or self.name.encode()).hexdigest()[:16]

    @property
    def remark(self) -> str:
        """A line to tell people where no sound font is used; "" where one is."""
        if self.soundfont is not None:
            return ""
        return "no sound font was found: tunes sound as plain tones; pip install pretty_midi, or name an .sf2 file"

    def render(self, midi: bytes) -> NDArray[np.float32]:
        """Return the sound of a MIDI file, float32[n, 2], at -16 LUFS and a true peak of at most -2.3 dB.

        Raises:
            MidiError: as `read_midi`, or the player refuses it (`unplayable`).
        """
        return _faded(np.asarray(mastered(self.unmastered(midi), RATE), dtype=np.float32))

    def unmastered(self, midi: bytes) -> NDArray[np.float32]:
        """Return the sound of a MIDI file as it is played, with all that rings on, float32[n, 2]; as loud as it is.

        Raises:
            MidiError: as `render`.
        """
        score = read_midi(midi)
        return self._played(midi, score, pan_positions(score.tracks))

    def render_exactly(self, midi: bytes, seconds: float, loop: bool = False) -> NDArray[np.float32]:
        """Return the sound of a MIDI file with as many samples as `seconds` have, float32[round(seconds * RATE), 2].

        For rows with `plan.length_s`: `render_exactly(row["midi"], plan["length_s"], bool(plan["loop"]))`. The last
        chord fades until there and nothing rings on; with `loop` what rings on sounds in the beginning instead, so that
        the end leads back into it (`encode(..., loop=True)` says so in the file). Loudness and peak as in `render`.

        Raises:
            MidiError: as `render`.
            ConfigError: the seconds are none that can be rendered (`bad_length`).
        """
        score, samples = read_midi(midi), _samples_in(seconds)
        sound = self._played(midi, score, pan_positions(score.tracks), _LOOP_TAIL_SECONDS if loop else _TAIL_SECONDS)
        if loop:
            sound = looped(sound, samples)
            return np.asarray(sound * _gain_around(sound), dtype=np.float32)
        return np.asarray(mastered(_ended(sound, samples, _last_onset(score)), RATE), dtype=np.float32)

    def stems(
        self, midi: bytes, seconds: float | None = None, loop: bool = False
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Return one sound for each track of `read_midi(midi).tracks`, in that order, and the mix, which is their sum.

        All are float32[n, 2] and equally long: as `render` without `seconds`, else as `render_exactly`. Every track
        goes through the gain of the mix, which is as loud as any other sound, so that tracks keep their balance.

        Raises:
            MidiError: as `render`.
            ConfigError: as `render_exactly`.
        """
        score = read_midi(midi)
        pans = pan_positions(score.tracks)
        tail = _LOOP_TAIL_SECONDS if loop and seconds is not None else _TAIL_SECONDS
        parts = [self._played(midi, score, pans, tail, only=at) for at in range(len(score.tracks))]
        samples = max(map(len, parts)) if seconds is None else _samples_in(seconds)
        if seconds is None:
            parts = [_long(part, samples) for part in parts]
        else:
            last = _last_onset(score)
            parts = [looped(part, samples) if loop else _ended(part, samples, last) for part in parts]
        mix = _sum(parts)
        gain = _gain_around(mix) if loop and seconds is not None else mastering_gain(mix, RATE)
        parts = [np.asarray(part * gain, dtype=np.float32) for part in parts]
        if seconds is None:
            end = _audible(_sum(parts))
            parts = [_cut(part, end) for part in parts]
        return parts, _sum(parts)

    def _played(
        self, midi: bytes, score: Score, pans: Sequence[int], tail: float = _TAIL_SECONDS, only: int | None = None
    ) -> NDArray[np.float32]:
        """Return the raw sound of a file, or of one of its tracks, with `tail` seconds to die away in."""
        if self.soundfont is None:
            tracks = score.tracks if only is None else score.tracks[only : only + 1]
            return _plain(replace(score, tracks=tracks), pans if only is None else pans[only : only + 1])
        return _through(self.soundfont, _seated(midi, score, pans, tail, only))


def load_renderer(soundfont: Path | None = None) -> SoundRenderer:
    """Return what plays tunes, with the sound font that is given or found.

    Raises:
        ConfigError: the file cannot be read, or is no sound font (`bad_soundfont`).
    """
    path = find_soundfont(soundfont)
    if path is None:
        return SoundRenderer(None, "plain tones")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the sound font {path} cannot be read: {error.strerror}", reason="bad_soundfont") from error
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ConfigError(f"{path} is no sound font: name an .sf2 file", reason="bad_soundfont")
    return SoundRenderer(data, path.name)


def _through(soundfont: bytes, midi: bytes) -> NDArray[np.float32]:
    import midirenderer

    try:
        wave = midirenderer.render_wave_from(soundfont, midi)
    except RuntimeError as refused:
        kind = ConfigError if "SoundFont" in str(refused) else MidiError
        reason = "bad_soundfont" if kind is ConfigError else "unplayable"
        raise kind(f"the player refuses it: {' '.join(str(refused).split())[:120]}", reason=reason) from None
    sound, rate = decode(wave)
    assert rate == RATE and sound.shape[1] == 2
    return sound


def _seated(midi: bytes, score: Score, pans: Sequence[int], tail: float, only: int | None) -> bytes:
    """Return the MIDI with places and room for its parts where it says none, and time at the end to die away in.

    With `only` there is no other track than that one in it.
    """
    import symusic

    try:
        source = symusic.Score.from_midi(midi)
    except (RuntimeError, ValueError, IndexError, OverflowError):
        source = symusic.Score()
    if not any(len(track.notes) for track in source.tracks):  # what `read_midi` has mended
        source = symusic.Score.from_midi(write_midi(score))
    end = _last_tick(score)
    tracks = [track for track in source.tracks if len(track.notes)]
    said = {(at, event.number) for at, track in enumerate(tracks) for event in track.controls if event.time < end}
    is_placed = any(number == _PAN for _, number in said)
    for at, (track, pan) in enumerate(zip(tracks, pans, strict=False)):
        if not is_placed:
            track.controls.append(symusic.ControlChange(0, _PAN, pan))
        if (at, _ROOM) not in said:
            near = track.is_drum or float(track.notes.numpy()["pitch"].mean()) < _LOWEST_SIDE
            track.controls.append(symusic.ControlChange(0, _ROOM, _ROOM_NEAR if near else _ROOM_FAR))
    qpm = score.tempos[-1].qpm if score.tempos else 120.0
    rest = round(tail * qpm / 60 * score.ticks_per_quarter)
    if only is not None:
        source.tracks = [tracks[only]]
    source = source.clip(0, end, clip_end=True) if end < _end_of(score) else source
    # An event that changes nothing keeps the player going until the last note has died away.
    source.tracks[0].controls.append(symusic.ControlChange(end + rest, _VOLUME + 32, 0))
    return bytes(source.dumps_midi())


def _end_of(score: Score) -> int:
    return max(int((track.onsets + track.durations).max()) for track in score.tracks)


def _last_tick(score: Score) -> int:
    """Return where the last note ends, or where `MAX_SECONDS` are over."""
    end, per_quarter = _end_of(score), score.ticks_per_quarter
    if seconds_at(end / per_quarter, score.tempos, per_quarter) <= MAX_SECONDS:
        return end
    low, high = 0, end
    while high - low > 1:
        middle = (low + high) // 2
        within = seconds_at(middle / per_quarter, score.tempos, per_quarter) <= MAX_SECONDS
        low, high = (middle, high) if within else (low, middle)
    return low


def pan_positions(tracks: Sequence[Track]) -> tuple[int, ...]:
    """Return where each part sits, 0 (left) to 127 (right), 64 the middle.

    The part that sounds most like the tune (high, loud, one note at a time) sits in the middle, and so do basses and
    drums; the others sit left and right of it in turn, from the highest to the lowest.
    """
    pitched = [at for at, track in enumerate(tracks) if not track.is_drum and len(track)]
    if not pitched:
        return (_CENTRE,) * len(tracks)
    heights = {at: round(float(tracks[at].pitches.mean()), 3) for at in pitched}
    leader = max(pitched, key=lambda at: (_leads(tracks[at]), -at))
    aside = [at for at in pitched if at != leader and heights[at] >= _LOWEST_SIDE]
    ordered = sorted(aside, key=lambda at: (-heights[at], at))
    places = {at: _SIDES[nth % len(_SIDES)] for nth, at in enumerate(ordered)}
    return tuple(places.get(at, _CENTRE) for at in range(len(tracks)))


def _leads(track: Track) -> float:
    at_once = len(track) / max(1, len(np.unique(track.onsets)))
    return round(float(track.pitches.mean()) + float(track.velocities.mean()) / 2 - 12 * (at_once - 1), 3)


def _faded(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sound without the silence at its end."""
    return _cut(sound, _audible(sound))


def _audible(sound: NDArray[np.float32]) -> int:
    """Return the samples until nothing is heard any more, and until what is left has faded."""
    loud = np.flatnonzero(levels_over_channels(sound) > _SILENT)
    return min(len(sound), int(loud[-1]) + 1 + round(_FADE_SECONDS * RATE)) if len(loud) else len(sound)


def _cut(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Return the beginning of a sound, its last moments faded."""
    sound = sound[:samples].copy()
    fade = min(round(_FADE_SECONDS * RATE), samples)
    sound[samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return sound


def _long(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Return a sound that is cut, or goes on in silence, to so many samples."""
    return np.pad(sound[:samples], ((0, max(0, samples - len(sound))), (0, 0)))


def _sum(sounds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.asarray(np.sum(sounds, axis=0), dtype=np.float32)


def _samples_in(seconds: float) -> int:
    if not 0 < seconds <= MAX_SECONDS:
        message = f"{seconds:g} seconds cannot be rendered: a tune has more than 0 and at most {MAX_SECONDS:g}"
        raise ConfigError(message, reason="bad_length")
    return round(seconds * RATE)


def _last_onset(score: Score) -> float:
    """Return the seconds until the last note begins."""
    last = max(int(track.onsets.max()) for track in score.tracks if len(track))
    return seconds_at(last / score.ticks_per_quarter, score.tempos, score.ticks_per_quarter)


def _ended(sound: NDArray[np.float32], samples: int, last_onset: float) -> NDArray[np.float32]:
    """Return a sound of exactly so many samples, whose last chord has faded to nothing by then.

    `last_onset` is where that chord begins, in seconds: it keeps its loudness for the first third of its time.
    """
    held = max(0.0, samples / RATE - last_onset)
    seconds = min(max(_END_SHARE * held, _SHORTEST_END), _LONGEST_END, samples / RATE / 3)
    fade = round(seconds * RATE)
    sound = _long(sound, samples)
    sound[samples - fade :] *= np.square(np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32)))[:, None]
    sound[-1:] = 0.0
    return sound


def looped(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Return what is heard of a sound that begins again every `samples` samples: what rings on is added to the start.

    Played in a circle it has no seam, as the end of one round and the beginning of the next are the same sound.
    """
    rounds = max(1, -(-len(sound) // samples))
    if len(sound) > samples:
        sound = _cut(sound, len(sound))
    return np.asarray(_long(sound, rounds * samples).reshape(rounds, samples, 2).sum(axis=0), dtype=np.float32)


def _gain_around(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gain of the mastering for a sound that goes round: the same at its end as before its beginning."""
    aside = min(len(sound), RATE)
    around = np.concatenate([sound[-aside:], sound, sound[:aside]])
    return np.asarray(mastering_gain(around, RATE)[aside : aside + len(sound)], dtype=np.float32)


def encode(sound: NDArray[np.float32], kind: SoundFormat, kbps: int | None = None, loop: bool = False) -> bytes:
    """Return a sound as the bytes of a WAV (16 bits), MP3 or Opus file; the same sound gives the same bytes.

    With `loop` a WAV file says that all of it is played again and again (chunk `smpl`); for the others see `loop_tags`.
    The end of an Opus file is as true as the rest, and that of a loop leads back; MP3 cannot keep a seam to the sample.

    `kbps` is about what a second takes, `KBPS` where it is None; a WAV file takes 1,536. Below 64 Opus overshoots more:
    peaks are held a decibel lower.
    """
    import soundfile

    stream = io.BytesIO()
    wanted = KBPS.get(kind, 0) if kbps is None else kbps
    options: dict[str, Any] = {"format": "WAV", "subtype": "PCM_16"}
    if kind == "mp3":
        share = min(max((320 - wanted) / 288, 0.0), 0.99)
        options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": share, "bitrate_mode": "AVERAGE"}
        sound = sound / np.float32(_LAME_SCALE)
    elif kind == "opus":
        share = min(max((512 - wanted) / 500, 0.0), 0.99)
        options = {"format": "OGG", "subtype": "OPUS", "compression_level": share}
        sound = sound if wanted >= _FEW_KBPS else limited(sound, RATE, PEAK_DBTP - 1)
        more = -(len(sound) + _OPUS_AHEAD) % _OPUS_PACKET
        sound = np.pad(sound, ((0, more), (0, 0)), mode="wrap" if loop else "constant")
    with soundfile.SoundFile(stream, "w", RATE, sound.shape[1], **options) as file:
        file.write(sound)
    if kind == "opus":
        return _opus_without(stream.getvalue(), more)
    return _with_loop(stream.getvalue(), len(sound)) if loop and kind == "wav" else stream.getvalue()


def _opus_without(data: bytes, more: int) -> bytes:
    """Return an Opus file that ends so many samples earlier, and whose stream has not the number that was drawn."""
    pages = [page._replace(stream=1) for page in ogg_pages(data)]
    (end,) = struct.unpack("<q", pages[-1].granule)
    pages[-1] = pages[-1]._replace(granule=struct.pack("<q", end - more))
    return b"".join(page.packed() for page in pages)


def loop_tags(sound: NDArray[np.float32]) -> dict[str, str]:
    """Return the comments by which players know that a whole Opus or MP3 file is to be played again and again.

    `tagged(encode(sound, "opus"), "opus", {**file_tags(row), **loop_tags(sound)})`; both count samples of 48 kHz. Opus
    keeps them to the sample, MP3 begins with silence of the encoder's.
    """
    return {"LOOPSTART": "0", "LOOPLENGTH": str(len(sound))}


_MIDDLE_C = 60


def _with_loop(wave: bytes, samples: int) -> bytes:
    """Return a WAV file with a sampler chunk (Multimedia Programming Interface 1.0): one loop, forward, from 0 on."""
    period, first, last = 1_000_000_000 // RATE, 0, samples - 1
    head = struct.pack("<9I", 0, 0, period, _MIDDLE_C, 0, 0, 0, 1, 0)
    chunk = head + struct.pack("<6I", 0, 0, first, last, 0, 0)
    wave += b"smpl" + struct.pack("<I", len(chunk)) + chunk
    return wave[:4] + struct.pack("<I", len(wave) - 8) + wave[8:]


def decode(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Return the sound of a WAV, MP3 or Opus file, float32[n, channels], and its samples a second."""
    import soundfile

    sound, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return sound, int(rate)


_PLAIN_TAIL = 0.4
_DRUM_SECONDS = 0.18


@dataclass(frozen=True)
class Timbre:
    """Loudness of the harmonics from the first on, seconds until full loudness, decay a second, seconds to fade."""

    harmonics: tuple[float, ...]
    attack: float
    decay: float
    release: float


_PLUCKED = Timbre((1.0, 0.45, 0.25, 0.12, 0.06), 0.004, 2.2, 0.15)
_HELD = Timbre((1.0, 0.6, 0.3, 0.3), 0.02, 0.0, 0.08)
_BOWED = Timbre((1.0, 0.5, 0.33, 0.25, 0.2, 0.16), 0.07, 0.1, 0.15)
_BLOWN = Timbre((1.0, 0.15, 0.5, 0.1, 0.3), 0.03, 0.2, 0.1)
_PIPE = Timbre((1.0, 0.2, 0.08), 0.04, 0.1, 0.1)
_FAMILIES = (_PLUCKED, _PLUCKED, _HELD, _PLUCKED, _PLUCKED, _BOWED, _BOWED, _BLOWN, _BLOWN, _PIPE)
_PIZZICATO, _HARP = 45, 46


def timbre_of(program: int) -> Timbre:
    """Return the timbre of a General MIDI program 0-127; sound effects and pads are held tones."""
    if program in (_PIZZICATO, _HARP):
        return _PLUCKED
    family = program // 8
    return _FAMILIES[family] if family < len(_FAMILIES) else _HELD


def _plain(score: Score, pans: Sequence[int]) -> NDArray[np.float32]:
    """Add up plain tones, float32[n, 2]; notes that begin behind `MAX_SECONDS` are left out."""
    tracks = played_tracks(score)
    last = max(start + duration for track in tracks for start, duration, _, _ in track.notes)
    samples = np.zeros((round((min(last, MAX_SECONDS) + _PLAIN_TAIL) * RATE), 2), dtype=np.float32)
    for track, pan in zip(tracks, pans, strict=True):
        sides = np.array([np.cos(pan / 127 * np.pi / 2), np.sin(pan / 127 * np.pi / 2)], dtype=np.float32)
        for start, duration, pitch, velocity in track.notes:
            first = round(start * RATE)
            sound = _hit(pitch) if track.is_drum else tone(pitch, duration, timbre_of(track.program))
            room = samples[first : first + len(sound)]
            room += sound[: len(room), None] * (sides * np.float32(0.2 * velocity / 127))
    return samples


def tone(pitch: int, duration: float, timbre: Timbre) -> NDArray[np.float32]:
    """Synthesise a note of `duration` seconds and its release, float32[samples]; only harmonics below RATE / 2."""
    frequency = 440.0 * 2.0 ** ((pitch - 69) / 12)
    at = np.arange(round((duration + timbre.release) * RATE), dtype=np.float32) / np.float32(RATE)
    phase = at * np.float32(2 * np.pi * frequency)
    sound = np.zeros_like(at)
    for order, loudness in enumerate(timbre.harmonics, start=1):
        if order * frequency < RATE / 2:
            sound += np.float32(loudness) * np.sin(phase * np.float32(order))
    rise = np.minimum(1.0, at / np.float32(timbre.attack))
    fall = np.clip((duration + timbre.release - at) / timbre.release, 0.0, 1.0)
    return np.asarray(sound * rise * fall * np.exp(-timbre.decay * at), dtype=np.float32)


@cache
def _hit(pitch: int) -> NDArray[np.float32]:
    """Synthesise a drum: noise that dies away, over a low tone for the bass drums (General MIDI 35 and 36)."""
    at = np.arange(round(_DRUM_SECONDS * RATE)) / RATE
    noise = np.random.Generator(np.random.Philox(pitch)).uniform(-1, 1, len(at))
    sound = np.sin(2 * np.pi * 70 * at) if pitch <= 36 else noise
    return np.asarray(sound * np.exp(-25 * at), dtype=np.float32)
