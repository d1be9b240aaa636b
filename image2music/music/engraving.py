"""A score as a page: MusicXML engraved to SVG by Verovio, and its pages as PDF and PNG by Typst; fonts for its words.

Only MusicXML of our own goes in (`abc.musicxml`): Verovio ends the process on some broken input of other formats.
Neither library draws at random here: the same score gives the same bytes, ids included.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple
from unicodedata import category
from unicodedata import name as unicode_name
from xml.etree.ElementTree import fromstring

from image2music.errors import ConfigError, NotationError

Layout = Literal["page", "line", "screen"]

_COMMON: dict[str, Any] = {
    "footer": "none",
    "smuflTextFont": "none",
    "svgFormatRaw": True,
    "svgViewBox": True,
    "xmlIdChecksum": True,
}
_LAYOUTS: dict[Layout, dict[str, Any]] = {
    "page": {
        "pageWidth": 2100,
        "pageHeight": 2970,
        "pageMarginTop": 150,
        "pageMarginBottom": 150,
        "pageMarginLeft": 150,
        "pageMarginRight": 150,
        "unit": 6.5,
        "justifyVertically": False,
        "breaks": "auto",
        "header": "auto",
        "adjustPageWidth": False,
        "adjustPageHeight": False,
    },
    "line": {
        "pageWidth": 100_000,
        "pageHeight": 60_000,
        "pageMarginTop": 50,
        "pageMarginBottom": 50,
        "pageMarginLeft": 50,
        "pageMarginRight": 50,
        "unit": 9.0,
        "justifyVertically": False,
        "breaks": "none",
        "header": "none",
        "adjustPageWidth": True,
        "adjustPageHeight": True,
    },
    "screen": {
        "pageWidth": 1500,
        "pageHeight": 60_000,
        "pageMarginTop": 20,
        "pageMarginBottom": 20,
        "pageMarginLeft": 20,
        "pageMarginRight": 20,
        "unit": 9.0,
        "justifyVertically": False,
        "breaks": "auto",
        "header": "none",
        "adjustPageWidth": False,
        "adjustPageHeight": True,
    },
}
"""Verovio's options; a page is A4 in tenths of a millimetre. All of both are set each time: a toolkit keeps them."""

_FONT = "Leipzig"
_MEI = "{http://www.music-encoding.org/ns/mei}"
_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_AGAIN = re.compile(r"-rend\d+$")
_VIEW_BOX = re.compile(r'<svg viewBox="0 0 (\d+) (\d+)"')
_MARGIN = re.compile(r'<g class="page-margin" transform="translate\((\d+), (\d+)\)"')
_HEAD = re.compile(
    r'<g id="([^"]+)" class="note\b[^>]*><g class="notehead\b[^>]*><use [^>]*translate\((-?\d+), (-?\d+)\)'
)
_OTHER_SCRIPTS = re.compile("[\u0530-\u1dff\u2c00-\u2c5f\u2c80-\ud7ff\uf900-\U0003ffff]")
_PLACED_SPAN = re.compile(
    r'<text font-size="0px">(\s*)<tspan id="([^"]*)" class="rend" (x="[^"]*" y="[^"]*" text-anchor="[^"]*")>'
)
_SIGN_IN_TEXT = re.compile(
    r'<text x="(-?\d+)" y="(-?\d+)"([^>]*)>((?:\s*<tspan id="[^"]*" class="[^"]*">)*)\s*'
    rf'<tspan font-family="{_FONT}" font-size="(\d+)px">([^<]+)</tspan>'
)


@dataclass(frozen=True)
class EngravedNote:
    """A note on the page: `id` is its element's in the SVG, `voice` counts staves from 1, `page` from 0.

    `start` and `end` are quarters from the beginning of the tune as it is played: a note inside a repeat stands here
    once for each time. `x` and `y` are where its head begins on the page, in the units of the page's view box.
    """

    id: str
    voice: int
    page: int
    start: float
    end: float
    x: float
    y: float


@dataclass(frozen=True)
class Engraving:
    """An engraved score: one SVG text a page, its notes in order of time, and the size of a page.

    `width` and `height` are in the units of the SVG's view box: tenths of a millimetre on A4.
    """

    pages: tuple[str, ...]
    notes: tuple[EngravedNote, ...]
    width: int
    height: int


def engrave(music_xml: bytes, layout: Layout = "page") -> Engraving:
    """Engrave MusicXML of our own: A4 pages with the title; without it one line, or one page for screens of any width.

    Raises:
        NotationError: Verovio reads no score in it (`not_engraved`).
    """
    toolkit = _toolkit()
    toolkit.setOptions({**_COMMON, **_LAYOUTS[layout]})
    if b"<measure" not in music_xml or not toolkit.loadData(music_xml.decode("utf-8")) or not toolkit.getPageCount():
        raise NotationError("no score could be engraved: hand in MusicXML written here", reason="not_engraved")
    pages = tuple(_mended(toolkit.renderToSVG(number + 1)) for number in range(toolkit.getPageCount()))
    size = _VIEW_BOX.search(pages[0])
    assert size is not None
    return Engraving(pages, _notes(toolkit, pages), int(size[1]), int(size[2]))


_LOCAL = threading.local()


def _toolkit() -> Any:
    """Return this thread's toolkit: Verovio's is not to be shared."""
    if not hasattr(_LOCAL, "toolkit"):
        import verovio

        verovio.enableLog(verovio.LOG_OFF)
        _LOCAL.toolkit = verovio.toolkit(False)  # what it finds by itself are the first thread's fonts only
        _LOCAL.toolkit.setResourcePath(str(_font_folder()))
    return _LOCAL.toolkit


def _notes(toolkit: Any, pages: tuple[str, ...]) -> tuple[EngravedNote, ...]:
    place_of = {id: place for number, page in enumerate(pages) for id, place in _heads(number, page)}
    staff_of: dict[str, int] = {}
    for staff in fromstring(toolkit.getMEI()).iter(f"{_MEI}staff"):
        for note in staff.iter(f"{_MEI}note"):
            staff_of[note.get(_XML_ID, "")] = int(staff.get("n", "1"))
    sounding: dict[str, float] = {}
    notes = []
    for event in toolkit.renderToTimemap({"includeRests": False}):
        for id in event.get("off", ()):
            plain = _AGAIN.sub("", id)
            start = sounding.pop(id, None)
            if start is not None and plain in place_of and plain in staff_of:
                page, x, y = place_of[plain]
                end = round(float(event["qstamp"]), 4)
                notes.append(EngravedNote(plain, staff_of[plain], page, start, end, x, y))
        for id in event.get("on", ()):
            sounding[id] = round(float(event["qstamp"]), 4)
    return tuple(sorted(notes, key=lambda note: (note.start, note.voice, note.end, note.id)))


def _heads(number: int, page: str) -> Iterator[tuple[str, tuple[int, float, float]]]:
    margin = _MARGIN.search(page)
    assert margin is not None
    for id, x, y in _HEAD.findall(page):
        yield id, (number, (int(x) + int(margin[1])) / 10, (int(y) + int(margin[2])) / 10)


def _mended(svg: str) -> str:
    """Return a page that every reader shows alike.

    Titles get their place from the text, not from a span inside it, which some readers pass over; signs of the music
    font amid text, such as the note of a tempo, become drawings, for nobody has that font.
    """
    svg = _PLACED_SPAN.sub(r'<text \3 font-size="0px">\1<tspan id="\2" class="rend">', svg)
    return _SIGN_IN_TEXT.sub(_drawn_sign, svg)


def _drawn_sign(found: re.Match[str]) -> str:
    x, y, rest, spans, size, signs = found.groups()
    scale, at, drawn = int(size) / 1000, float(x), []
    for sign in signs:
        path, advance = _glyph(f"{ord(sign):04X}")
        drawn.append(f'<g class="glyph" transform="translate({at:.0f},{y}) scale({scale:g},{scale:g})">{path}</g>')
        at += advance * scale
    return f'{"".join(drawn)}<text x="{at:.0f}" y="{y}"{rest}>{spans}'


@lru_cache(maxsize=64)
def _glyph(code: str) -> tuple[str, float]:
    """Return the outline of a sign of the music font as an SVG path, and how far the next one stands, of 1,000."""
    folder = _font_folder()
    source = (folder / _FONT / f"{code}.xml").read_text("utf-8")
    advance = re.search(rf'<g c="{code}"[^>]* h-a-x="([\d.]+)"', (folder / f"{_FONT}.xml").read_text("utf-8"))
    path = source[source.index("<path") : source.rindex("</g>")] if "<path" in source else ""
    return path, float(advance[1]) if advance else 500.0


def _font_folder() -> Path:
    package = find_spec("verovio")
    assert package is not None and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "data"


def pages_as_pdf(
    pages: tuple[str, ...], title: str = "", author: str = "", description: str = "", font: TextFont | None = None
) -> bytes:
    """Return SVG pages as one PDF: vectors, text as text, the size of each page that of its SVG.

    `font` has letters that the others lack.
    """
    about = {"title": title, "author": author, "description": description}
    return _typeset(pages, None, about, font, format="pdf", timestamp=0)


def page_as_png(page: str, width_px: int, font: TextFont | None = None) -> bytes:
    """Return one SVG page as PNG on white, `width_px` wide and as high as it takes."""
    return _typeset((page,), width_px, {}, font, format="png", ppi=72)


def _typeset(
    pages: tuple[str, ...], width: int | None, about: dict[str, str], font: TextFont | None, **options: Any
) -> bytes:
    import typst

    said = "".join(f"{name}: {_quoted(text)}, " for name, text in about.items() if text)
    lines = [f"#set document({said}date: none)"]
    for number, page in enumerate(pages):
        found = _VIEW_BOX.search(page)
        assert found is not None
        wide, high = int(found[1]), int(found[2])
        size = (f"{wide / 10:g}mm", f"{high / 10:g}mm")
        if width is not None:
            size = (f"{width}pt", f"{round(width * high / wide)}pt")
        lines.append(f"#set page(width: {size[0]}, height: {size[1]}, margin: 0pt, fill: white)")
        lines.append(f'#image(bytes({_quoted(page)}), format: "svg", width: 100%, height: 100%)')
        if number + 1 < len(pages):
            lines.append("#pagebreak()")
    # The fonts inside Typst write Latin, Greek and Cyrillic, and give the same bytes everywhere; others the system's.
    needs_more = any(_OTHER_SCRIPTS.search(page) for page in pages)
    fonts = typst_fonts(font.path if font else None, system=needs_more)
    made = typst.compile("\n".join(lines).encode("utf-8"), font_paths=fonts, **options)
    return made[0] if isinstance(made, list) else bytes(made)


def _quoted(text: str) -> str:
    """Return a text as Typst writes a string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


# ---------------------------------------------------------------- fonts for words


@dataclass(frozen=True)
class TextFont:
    """A font file for words, which goes before the fonts inside Typst and those of the system.

    `families` are the names of its fonts, `digest` is the sha256 of its bytes, in hex.
    """

    path: Path = field(repr=False)
    families: tuple[str, ...]
    digest: str


def load_font(path: Path) -> TextFont:
    """Return a font file for words.

    Raises:
        ConfigError: it cannot be read, or is no font (`bad_font`).
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"the font {path} cannot be read: {error.strerror}", reason="bad_font") from error
    families = tuple(typst_fonts(path, bundled=False, system=False).families())
    if not families:
        raise ConfigError(f"{path} is no font: name a .ttf, .otf or .ttc file", reason="bad_font")
    return TextFont(path, families, digest)


@lru_cache(maxsize=8)
def typst_fonts(path: Path | None = None, *, bundled: bool = True, system: bool = True) -> Any:
    """Return fonts for Typst: of one file, its own, and the system's, in this order."""
    import typst

    folders = [] if path is None else [_folder_with(path).name]
    return typst.Fonts(include_system_fonts=system, include_embedded_fonts=bundled, font_paths=folders)


@lru_cache(maxsize=8)
def _folder_with(path: Path) -> TemporaryDirectory[str]:
    """Return a folder with nothing but a copy of a file: Typst looks for fonts in folders, and reads them later."""
    folder = TemporaryDirectory(prefix="image2music-font-")
    shutil.copyfile(path, Path(folder.name, path.name))
    return folder


class UnwrittenScript(NamedTuple):
    """Letters of one script that no font here has, and the package of Debian and Ubuntu with a font that has them."""

    script: str
    letters: str
    package: str


def unwritten_scripts(text: str, font: TextFont | None = None) -> tuple[UnwrittenScript, ...]:
    """Return the letters of a text, each once, that come out as boxes in titles and scores, script by script.

    Fonts are asked as for writing: one that is given, those inside Typst, those of the system.
    """
    found: dict[tuple[str, str], str] = {}
    for letter in dict.fromkeys(text):
        if not letter.isascii() and category(letter) not in _UNSEEN and not _is_written(letter, font):
            key = _script_of(letter)
            found[key] = found.get(key, "") + letter
    return tuple(UnwrittenScript(script, letters, package) for (script, package), letters in found.items())


_UNSEEN = {"Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs"}
"""Spaces, signs of control, and marks: a font that has the letters has their marks."""
_ONE_LETTER = b"""
#set document(title: "letter", date: datetime(year: 2000, month: 1, day: 1))
#sys.inputs.letter
"""


@lru_cache(maxsize=4096)
def _is_written(letter: str, font: TextFont | None) -> bool:
    """Return whether a font has a letter: Typst makes no PDF/A with one that none has."""
    import typst

    fonts, inputs = typst_fonts(font.path if font else None), {"letter": letter}
    try:
        typst.compile(_ONE_LETTER, format="pdf", pdf_standards="a-2b", sys_inputs=inputs, font_paths=fonts)
    except typst.TypstError:
        return False
    return True


_EAST_ASIAN = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]"
)
_RARE_HAN = "\U00020000"


def _script_of(letter: str) -> tuple[str, str]:
    """Return what the script of a letter is called, and the package with a font for it."""
    if letter >= _RARE_HAN or _EAST_ASIAN.match(letter):
        return "Chinese, Japanese or Korean letters", "fonts-noto-cjk"
    if category(letter)[0] in "SP":
        return "emoji or symbols", "fonts-noto-color-emoji"
    return f"{unicode_name(letter, 'unknown').split()[0].capitalize()} letters", "fonts-noto-core"


def words_on(pages: tuple[str, ...]) -> str:
    """Return all words of SVG pages."""
    return "".join(unescape(text) for page in pages for text in _TEXT.findall(page))


_TEXT = re.compile(r">([^<>]+)<")
