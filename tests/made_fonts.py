"""A font for tests: a file whose every letter is a filled square, which nothing else draws."""

from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

_CORNERS = ((100, 0), (100, 800), (900, 800), (900, 0))


def square_font(path: Path, letters: str) -> Path:
    """Write a TrueType font that has these letters alone."""
    names = {letter: f"u{ord(letter):05X}" for letter in letters}
    pen = TTGlyphPen(None)
    pen.moveTo(_CORNERS[0])
    for corner in _CORNERS[1:]:
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    glyphs = [".notdef", *names.values()]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(letter): name for letter, name in names.items()})
    font.setupGlyf({glyph: square for glyph in glyphs})
    font.setupHorizontalMetrics({glyph: (1000, 100) for glyph in glyphs})
    font.setupHorizontalHeader(ascent=880, descent=-120)
    font.setupNameTable({"familyName": "Squares", "styleName": "Regular", "psName": "Squares-Regular"})
    font.setupOS2(sTypoAscender=880, sTypoDescender=-120, usWinAscent=880, usWinDescent=120)
    font.setupPost()
    font.save(path)
    return path
