"""The MP4 file: each shot encoded on its own, all of them joined with the sound and without encoding again.

PyAV encodes. It is an extra of the package, for its wheels bring libx264, which is under the GPL.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID
from xml.sax.saxutils import escape

import numpy as np

from image2music.errors import ConfigError, OutputError
from image2music.film.frames import Planes, Size
from image2music.film.sound import FilmSound
from image2music.music.render import RATE
from schemas.composition import TRAINED_ALGORITHMIC_MEDIA

FPS = 30
"""Frames a second: a divisor of what screens show, so that slow moves are even."""

QUALITY: Mapping[str, str] = {
    "preset": "veryfast",
    "crf": "20",
    "profile": "high",
    # A shot is a stream of its own: its header must not depend on what is seen in it.
    "x264-params": f"stitchable=1:keyint={2 * FPS}:min-keyint={FPS // 2}",
}
"""What libx264 is told: constant quality 20, where few see a loss, and a place to jump to every two seconds."""

SOUND_KBPS = 192
_MOST_THREADS = 8
"""Each of them holds frames of its own."""
_SOUND_FRAME = 1024
_TICKS = 512
"""Of a frame, in the muxer's own time base for such rates."""
_REORDERED = 2
"""Frames that packets are decoded ahead of when they are shown, by the preset's three B-frames in two layers."""
_BT709 = 1
_LIMITED = 1
_XMP_BOX = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")


def load_encoder() -> ModuleType:
    """Return PyAV.

    Raises:
        ConfigError: it is not installed (`film_missing`).
    """
    try:
        import av
    except ImportError as error:
        message = "films need PyAV, which is not installed: pip install 'image2music[film]'"
        raise ConfigError(message, reason="film_missing") from error
    return av


def write_shot(path: Path, frames: Iterable[Planes], size: Size) -> None:
    """Encode frames into an MP4 file of pictures alone; it is there whole or not at all.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    av = load_encoder()
    hidden = path.with_name(f".{path.name}.part")
    try:
        with av.open(str(hidden), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=FPS, options=dict(QUALITY))
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            codec = stream.codec_context
            codec.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
            codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
            codec.color_range = _LIMITED
            for number, planes in enumerate(frames):
                frame = _video_frame(av, planes)
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        os.replace(hidden, path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        hidden.unlink(missing_ok=True)


def _unwritten(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}", reason="output_not_written")


def _video_frame(av: ModuleType, planes: Planes) -> Any:
    frame = av.VideoFrame(*planes.size, "yuv420p")
    for room, plane in zip(frame.planes, (planes.y, planes.u, planes.v), strict=True):
        rows = np.frombuffer(room, np.uint8).reshape(room.height, room.line_size)
        rows[:, : room.width] = plane
    return frame


@dataclass(frozen=True)
class FilmChapter:
    """A chapter begins at `seconds` and ends where the next one begins, or with the film."""

    title: str
    seconds: float


def join_shots(
    path: Path,
    shots: Sequence[Path],
    frames: int,
    sound: FilmSound,
    chapters: Sequence[FilmChapter],
    tags: Mapping[str, str],
) -> None:
    """Write the film: shots as they are, sound of the same length beside them, chapters, and what it says of itself.

    Args:
        path: the MP4 file; it is there whole or not at all, its index in front.
        shots: files of `write_shot`, in order.
        frames: how many they have together.
        sound: is cut, or goes on in silence, to the length of the frames.
        chapters: in order of time.
        tags: of `image2music.rights.file_tags`.

    Raises:
        OutputError: it cannot be written (`output_not_written`).
    """
    av = load_encoder()
    hidden = path.with_name(f".{path.name}.part")
    try:
        with av.open(str(hidden), "w", format="mp4", options={"movflags": "+faststart"}) as film:
            film.metadata.update(_mp4_tags(tags))
            with av.open(str(shots[0])) as first:
                pictures = film.add_stream_from_template(first.streams.video[0])
            music = film.add_stream("aac", rate=RATE, layout="stereo")
            music.bit_rate = SOUND_KBPS * 1000
            _set_chapters(film, chapters, frames)
            heard = _sound_frames(av, sound, frames * RATE // FPS)
            until = 0
            for number, packet in enumerate(_packets(av, shots)):
                packet.stream = pictures
                film.mux(packet)
                while until * FPS <= (number + 1) * RATE and (frame := next(heard, None)) is not None:
                    film.mux(music.encode(frame))
                    until = frame.pts + frame.samples
            for frame in heard:
                film.mux(music.encode(frame))
            film.mux(music.encode(None))
        with hidden.open("ab") as file:
            file.write(_xmp_box(tags))
        os.replace(hidden, path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        hidden.unlink(missing_ok=True)


def _packets(av: ModuleType, shots: Sequence[Path]) -> Iterator[Any]:
    """Yield the packets of all shots, with times as if they were one stream."""
    before = number = 0
    for shot in shots:
        with av.open(str(shot)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.dts is None:
                    continue
                shown = round(packet.pts * packet.time_base * FPS)
                # A shot of one or two frames needs no reordering; in the whole stream all packets come as early.
                packet.pts, packet.dts = (before + shown) * _TICKS, (number - _REORDERED) * _TICKS
                packet.duration, packet.time_base = _TICKS, Fraction(1, FPS * _TICKS)
                number += 1
                yield packet
        before = number


def _sound_frames(av: ModuleType, sound: FilmSound, samples: int) -> Iterator[Any]:
    for first in range(0, samples, _SOUND_FRAME * 512):
        block = sound.part(first, min(_SOUND_FRAME * 512, samples - first))
        for start in range(0, len(block), _SOUND_FRAME):
            part = np.ascontiguousarray(block[start : start + _SOUND_FRAME].T)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first + start, Fraction(1, RATE)
            yield frame


def _set_chapters(film: Any, chapters: Sequence[FilmChapter], frames: int) -> None:
    end_of_film = round(frames * 1000 / FPS)
    edges = [min(end_of_film, round(chapter.seconds * 1000)) for chapter in chapters] + [end_of_film]
    film.set_chapters(
        [
            {
                "id": number,
                "start": start,
                "end": end,
                "time_base": Fraction(1, 1000),
                "metadata": {"title": chapter.title},
            }
            for number, (chapter, start, end) in enumerate(zip(chapters, edges, edges[1:], strict=False))
            if end > start
        ]
    )


def _mp4_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags by the names that the muxer has places for; there is none for the software but the description."""
    named = {name: tags[name] for name in ("title", "artist", "album", "date", "copyright", "comment") if name in tags}
    return named | ({"description": f"Made with {tags['software']}"} if "software" in tags else {})


_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>{software}</xmp:CreatorTool>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>{artist}</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{copyright}</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def _xmp_box(tags: Mapping[str, str]) -> bytes:
    """Return a box of XMP, where programs look for IPTC's property of media made by AI (XMP specification, part 3)."""
    names = ("software", "title", "artist", "copyright")
    said = {name: escape(tags.get(name, "")) for name in names}
    text = _XMP.format(source=TRAINED_ALGORITHMIC_MEDIA, **said).encode("utf-8")
    return struct.pack(">I4s", 24 + len(text), b"uuid") + _XMP_BOX.bytes + text
