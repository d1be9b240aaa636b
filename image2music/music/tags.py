"""What a music file says of itself: title, artist, rights and more, written into the file's own kind of label.

`tagged` takes a whole file and returns it with the tags that are named, in place of those it had. Times and sound stay
as they are, byte for byte. Sources: RIFF/INFO (Microsoft's Multimedia Programming Interface 1.0), ID3v2.3
(https://id3.org/id3v2.3.0), Ogg and Opus (RFC 3533, RFC 7845), standard MIDI files 1.0, MusicXML 4.0, ABC 2.1, Dublin
Core (https://www.dublincore.org/specifications/dublin-core/dces/).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, tostring
from xml.sax.saxutils import escape

from image2music.errors import NotationError

TaggedKind = Literal["wav", "mp3", "opus", "midi", "musicxml", "abc", "svg"]


def tagged(data: bytes, kind: TaggedKind, tags: Mapping[str, str]) -> bytes:
    """Return the file with these tags in place of those it had.

    Args:
        data: a whole file, as this package writes them.
        kind: what it is.
        tags: text by name. `title`, `artist`, `comment`, `copyright`, `software`, `date` (`2026-11-27` or a year) and
            `album` go where the kind has a place for them; any other name becomes free text under that name. Empty
            texts are left out.

    Raises:
        NotationError: the bytes are no file of that kind (`not_this_kind`).
    """
    said = {name: _plain(text) for name, text in tags.items() if _plain(text)}
    write = _WRITERS[kind]
    try:
        return write(data, said)
    except (IndexError, struct.error, ParseError, ValueError) as error:
        raise NotationError(f"these bytes are no {kind} file: {error}", reason="not_this_kind") from error


def _plain(text: str) -> str:
    """Return a text without what no label holds: zeros, other signs of control, blanks at its ends."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text).strip()


def _others(tags: Mapping[str, str], known: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in tags.items() if name not in set(known)]


# RIFF: chunks of a name of four letters, a length and as many bytes, filled up to an even number.

_INFO = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "comment": b"ICMT",
    "copyright": b"ICOP",
    "date": b"ICRD",
    "software": b"ISFT",
}


def _wav(data: bytes, tags: Mapping[str, str]) -> bytes:
    chunks = [chunk for chunk in _chunks(data) if not (chunk[0] == b"LIST" and chunk[1][:4] == b"INFO")]
    texts = dict(tags)
    if others := _others(tags, _INFO):
        texts["comment"] = "\n".join(
            [*filter(None, [tags.get("comment")]), *(f"{name}: {text}" for name, text in others)]
        )
    entries = [(code, texts[name].encode("utf-8") + b"\0") for name, code in _INFO.items() if name in texts]
    if entries:
        chunks.append((b"LIST", b"INFO" + b"".join(_chunk(code, text) for code, text in entries)))
    return _riff(chunks)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("it does not begin with RIFF and WAVE")
    at, chunks = 12, []
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)


def _riff(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    return _chunk(b"RIFF", b"WAVE" + b"".join(_chunk(*chunk) for chunk in chunks))


# ID3v2.3, which every player reads: frames of a name of four letters, a length, two bytes of flags and a text.

_FRAMES = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "copyright": "TCOP", "software": "TSSE"}


def _mp3(data: bytes, tags: Mapping[str, str]) -> bytes:
    if data[:3] == b"ID3":
        sizes = data[6:10]
        data = data[10 + sum(byte << 7 * place for byte, place in zip(sizes, (3, 2, 1, 0), strict=True)) :]
    if data[:1] != b"\xff":
        raise ValueError("no frame of sound stands at its beginning")
    frames = [_frame(code, "", tags[name]) for name, code in _FRAMES.items() if name in tags]
    if date := re.match(r"(\d{4})(?:-(\d\d)-(\d\d))?", tags.get("date", "")):
        frames.append(_frame("TYER", "", date[1]))
        if date[2]:
            frames.append(_frame("TDAT", "", date[3] + date[2]))
    if "comment" in tags:
        frames.append(_frame("COMM", "", tags["comment"]))
    frames += [_frame("TXXX", name, text) for name, text in _others(tags, {*_FRAMES, "date", "comment"})]
    body = b"".join(frames)
    if not body:
        return data
    size = bytes(len(body) >> 7 * place & 0x7F for place in (3, 2, 1, 0))
    return b"ID3\x03\0\0" + size + body + data


def _frame(code: str, name: str, text: str) -> bytes:
    """Return a frame; where it takes a name beside its text, that stands first and ends with a zero."""
    is_latin = (name + text).isascii()

    def written(part: str) -> bytes:
        return part.encode("latin-1") if is_latin else b"\xff\xfe" + part.encode("utf-16-le")

    body = b"\0" if is_latin else b"\1"
    if code == "COMM":
        body += b"eng"
    if code in ("COMM", "TXXX"):
        body += written(name) + (b"\0" if is_latin else b"\0\0")
    body += written(text)
    return code.encode("ascii") + len(body).to_bytes(4, "big") + b"\0\0" + body


# Ogg: pages of up to 255 segments of up to 255 bytes; a packet ends with a segment of fewer.

_VORBIS = {
    "title": "TITLE",
    "artist": "ARTIST",
    "album": "ALBUM",
    "comment": "DESCRIPTION",
    "copyright": "COPYRIGHT",
    "date": "DATE",
    "software": "ENCODER",
}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggPage(NamedTuple):
    """A page: its flags (1 goes on with a packet, 2 first, 4 last), time, stream, number, lacing values and bytes."""

    flags: int
    granule: bytes
    stream: int
    number: int
    lacing: bytes
    body: bytes

    def packed(self) -> bytes:
        """Return the page's bytes with its check sum: zlib's, with the bits of each byte and the sum reversed."""
        head = b"OggS\0" + bytes((self.flags,)) + self.granule + struct.pack("<II", self.stream, self.number)
        rest = bytes((len(self.lacing),)) + self.lacing + self.body
        page = head + bytes(4) + rest
        total = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        return head + int(f"{total:032b}"[::-1], 2).to_bytes(4, "little") + rest


def ogg_pages(data: bytes) -> Iterator[OggPage]:
    """Yield the pages of an Ogg file.

    Raises:
        ValueError: it is none.
    """
    at = 0
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            raise ValueError(f"no page of Ogg begins at byte {at}")
        flags, granule, stream, number, _, count = struct.unpack_from("<B8sIIIB", data, at + 5)
        lacing = data[at + 27 : at + 27 + count]
        first, at = at + 27 + count, at + 27 + count + sum(lacing)
        yield OggPage(flags, granule, stream, number, lacing, data[first:at])


def _opus(data: bytes, tags: Mapping[str, str]) -> bytes:
    pages = list(ogg_pages(data))
    if len(pages) < 3 or pages[0].body[:8] != b"OpusHead" or pages[1].body[:8] != b"OpusTags":
        raise ValueError("its first packets are not those of Opus")
    last = next(number for number, page in enumerate(pages) if number and page.lacing[-1] < 255)
    old = b"".join(page.body for page in pages[1 : last + 1])
    vendor = old[8 : 12 + int.from_bytes(old[8:12], "little")]
    comments = [f"{_VORBIS[name]}={tags[name]}" for name in _VORBIS if name in tags]
    comments += [f"{re.sub('[^ -}]|=', '_', name).upper()}={text}" for name, text in _others(tags, _VORBIS)]
    packed = [comment.encode("utf-8") for comment in comments]
    packet = b"OpusTags" + vendor + len(packed).to_bytes(4, "little")
    packet += b"".join(len(comment).to_bytes(4, "little") + comment for comment in packed)
    new = [*_paged(packet, pages[0].stream), *pages[last + 1 :]]
    return pages[0].packed() + b"".join(page._replace(number=nth).packed() for nth, page in enumerate(new, start=1))


def _paged(packet: bytes, stream: int) -> Iterator[OggPage]:
    lacing = b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,))
    for first in range(0, len(lacing), 255):
        body = packet[first * 255 : (first + 255) * 255]
        ends = first + 255 >= len(lacing)
        yield OggPage(int(first > 0), bytes(8) if ends else b"\xff" * 8, stream, 0, lacing[first : first + 255], body)


# MIDI: events FF 01 (text), 02 (copyright) and 03 (name) at the beginning of the first track.


def _midi(data: bytes, tags: Mapping[str, str]) -> bytes:
    if data[:4] != b"MThd":
        raise ValueError("it does not begin with MThd")
    at = 8 + int.from_bytes(data[4:8], "big")
    if data[at : at + 4] != b"MTrk":
        raise ValueError("no track stands behind its head")
    size = int.from_bytes(data[at + 4 : at + 8], "big")
    track = data[at + 8 : at + 8 + size]
    while track[:2] == b"\0\xff" and track[2] in (1, 2, 3):
        length, place = 0, 3
        while track[place] & 0x80:
            length, place = length << 7 | track[place] & 0x7F, place + 1
        track = track[place + 1 + (length << 7 | track[place]) :]
    events = [(3, tags["title"])] if "title" in tags else []
    events += [(2, tags["copyright"])] if "copyright" in tags else []
    events += [(1, f"{name}: {text}") for name, text in _others(tags, {"title", "copyright"})]
    track = b"".join(_text_event(kind, text) for kind, text in events) + track
    return data[:at] + b"MTrk" + len(track).to_bytes(4, "big") + track + data[at + 8 + size :]


def _text_event(kind: int, text: str) -> bytes:
    data = text.encode("utf-8")
    length, digits = len(data) >> 7, [len(data) & 0x7F]
    while length:
        digits.insert(0, 0x80 | length & 0x7F)
        length >>= 7
    return b"\0\xff" + bytes((kind, *digits)) + data


# MusicXML: work, identification (creator, rights, encoding, miscellaneous).


def _musicxml(data: bytes, tags: Mapping[str, str]) -> bytes:
    start = data.index(b"<score-partwise")
    root = fromstring(data)
    if "title" in tags:
        work = root.find("work")
        if work is None:
            work = Element("work")
            root.insert(0, work)
        title = work.find("work-title")
        (SubElement(work, "work-title") if title is None else title).text = tags["title"]
    for former in root.findall("identification"):
        root.remove(former)
    identification = Element("identification")
    for tag, attributes, name in (("creator", {"type": "composer"}, "artist"), ("rights", {}, "copyright")):
        if name in tags:
            SubElement(identification, tag, attributes).text = tags[name]
    date = re.match(r"\d{4}-\d\d-\d\d", tags.get("date", ""))
    if date or "software" in tags:
        encoding = SubElement(identification, "encoding")
        if date:
            SubElement(encoding, "encoding-date").text = date[0]
        if "software" in tags:
            SubElement(encoding, "software").text = tags["software"]
    if others := _others(tags, {"title", "artist", "copyright", "software", "date"}):
        miscellaneous = SubElement(identification, "miscellaneous")
        for name, text in others:
            SubElement(miscellaneous, "miscellaneous-field", name=name).text = text
    before = {"work", "movement-number", "movement-title"}
    place = next((nth for nth, child in enumerate(root) if child.tag not in before), len(root))
    if len(identification):
        root.insert(place, identification)
    return data[:start] + tostring(root, encoding="unicode").encode("utf-8")


# ABC: composer (C:), notes (N:) and directives of information (ABC 2.1) behind the title. None are replaced: a
# header may hold several, and what people wrote in theirs stays.

_FIELDS = {"artist": "C:", "software": "%%abc-creator ", "copyright": "%%abc-copyright ", "comment": "N:"}


def _abc(data: bytes, tags: Mapping[str, str]) -> bytes:
    lines = data.decode("utf-8").splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines) if line.startswith("X:")), None)
    if first is None:
        raise ValueError("no X: line begins a tune")
    last = next(at for at in range(first, len(lines)) if at + 1 == len(lines) or lines[at + 1][:2] not in ("T:", "X:"))
    texts = {name: " ".join(text.replace("%", " ").split()) for name, text in tags.items()}
    said = [f"{start}{texts[name]}\n" for name, start in _FIELDS.items() if name in tags]
    said += [f"N:{name}: {texts[name]}\n" for name, _ in _others(tags, {*_FIELDS, "title"})]
    said = [line for line in said if line not in lines]
    return "".join([*lines[: last + 1], *said, *lines[last + 1 :]]).encode("utf-8")


# SVG: RDF with Dublin Core in <metadata>, the first child, as drawing programs write it.

_DUBLIN_CORE = {
    "title": "title", "artist": "creator", "comment": "description", "copyright": "rights", "date": "date",
    "album": "relation",
}  # fmt: skip


def _svg(data: bytes, tags: Mapping[str, str]) -> bytes:
    text = re.sub(r"<metadata>.*?</metadata>", "", data.decode("utf-8"), count=1, flags=re.DOTALL)
    root = re.search(r"<svg\b[^>]*>", text)
    if root is None:
        raise ValueError("no <svg> stands in it")
    said = [(f"dc:{_DUBLIN_CORE[name]}", tags[name]) for name in _DUBLIN_CORE if name in tags]
    said += [("dc:description", f"{name}: {text}") for name, text in _others(tags, _DUBLIN_CORE)]
    lines = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in said)
    about = (
        '<metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Description rdf:about="">{lines}</rdf:Description></rdf:RDF>'
        "</metadata>"
    )
    return (text[: root.end()] + (about if said else "") + text[root.end() :]).encode("utf-8")


_WRITERS: Mapping[TaggedKind, Callable[[bytes, Mapping[str, str]], bytes]] = {
    "wav": _wav,
    "mp3": _mp3,
    "opus": _opus,
    "midi": _midi,
    "musicxml": _musicxml,
    "abc": _abc,
    "svg": _svg,
}
