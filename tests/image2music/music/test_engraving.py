"""Scores as pages: what is on them, when it sounds, and that the same score gives the same bytes."""

import re
import threading
import xml.etree.ElementTree as ET
from io import BytesIO

import pytest
from made_fonts import square_font
from PIL import Image

import image2music.music.engraving as engraving_module
from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_score
from image2music.errors import ConfigError, NotationError
from image2music.music.engraving import (
    engrave,
    load_font,
    page_as_png,
    pages_as_pdf,
    unwritten_scripts,
    words_on,
)

HEAD = "X:1\nT:Grüße & <B>\nM:4/4\nL:1/8\nQ:1/4=90\nK:D\n"
TUNE = HEAD + (
    "V:1\nV:2 clef=bass\nV:3 clef=perc\n%%MIDI channel 10\n"
    '[V:1] AB|:!p!"D"d2(3efg a4-|1 a6 fg:|2 a8|]\n'
    "[V:2] z2|:[D,A,]4 z4 & F,8|1 D,8:|2 D,5 z3|]\n"
    "[V:3] z2|:C,,2^F,,2 D,,2^F,,2|1 C,,8:|2 C,,8|]\n"
)
LONG = HEAD + "".join("dcBA d2f2 |" for _ in range(120)) + "]\n"


@pytest.fixture(scope="module")
def engraving():
    return engrave(abc_to_music_xml(TUNE))


def played(abc):
    """(start, pitch) of the notes of each track, in quarters."""
    score = abc_to_score(abc)
    return [sorted(track.onsets / score.ticks_per_quarter) for track in score.tracks]


def test_a_page_is_well_formed_and_scales_with_its_view_box(engraving):
    root = ET.fromstring(engraving.pages[0])
    assert root.get("viewBox") == f"0 0 {engraving.width} {engraving.height}" == "0 0 2100 2970"
    assert (root.get("width"), root.get("height")) == (None, None)
    assert "Grüße & <B>" in "".join(root.itertext())


def test_notes_are_drawn_where_they_are_said_to_be(engraving):
    drawn = {
        element.get("id") for element in ET.fromstring(engraving.pages[0]).iter() if element.get("class") == "note"
    }
    assert {note.id for note in engraving.notes} == drawn
    assert all(0 < note.x < engraving.width and 0 < note.y < engraving.height for note in engraving.notes)


def test_notes_have_the_times_at_which_they_are_played_repeats_included(engraving):
    for voice, starts in enumerate(played(TUNE), start=1):
        mine = sorted(note.start for note in engraving.notes if note.voice == voice)
        tied = {note.start for note in engraving.notes if note.voice == voice} - {round(float(s), 4) for s in starts}
        assert [start for start in mine if start not in tied] == pytest.approx(starts, abs=1e-3)


def test_no_sign_is_left_to_a_font_that_nobody_has(engraving):
    assert "Leipzig" not in engraving.pages[0]
    assert not re.search("[\ue000-\uf8ff]", engraving.pages[0])


def test_the_same_score_gives_the_same_bytes_whatever_was_engraved_before():
    first = engrave(abc_to_music_xml(TUNE))
    engrave(abc_to_music_xml(LONG), "line")
    again: list[object] = []
    thread = threading.Thread(target=lambda: again.append(engrave(abc_to_music_xml(TUNE))))
    thread.start()
    thread.join()
    assert engrave(abc_to_music_xml(TUNE)) == first == again[0]
    assert pages_as_pdf(first.pages) == pages_as_pdf(first.pages)
    assert page_as_png(first.pages[0], 300) == page_as_png(first.pages[0], 300)


def test_a_long_tune_takes_several_pages_or_one_line():
    pages, line = engrave(abc_to_music_xml(LONG)), engrave(abc_to_music_xml(LONG), "line")
    assert len(pages.pages) > 1
    assert {note.page for note in pages.notes} == set(range(len(pages.pages)))
    assert len(line.pages) == 1
    assert line.width > 20 * line.height
    places = [note.x for note in line.notes]
    assert places == sorted(places)


def test_a_pdf_has_as_many_pages_and_its_title(engraving):
    pdf = pages_as_pdf(engraving.pages * 2, title='Say "A"', author="image2music")
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 2
    assert b"/MediaBox[0 0 595" in pdf.replace(b"MediaBox [", b"MediaBox[")


def test_a_png_is_as_wide_as_it_is_asked_to_be(engraving):
    with Image.open(BytesIO(page_as_png(engraving.pages[0], 420))) as picture:
        assert picture.size == (420, 594)
        assert picture.convert("L").getextrema() == (0, 255)


def test_what_is_no_score_is_refused():
    with pytest.raises(NotationError, match="no score could be engraved"):
        engrave(b"<score-partwise version='4.0'/>")


@pytest.fixture
def no_system_fonts(monkeypatch):
    """As on a machine that has no fonts of its own."""
    fonts = engraving_module.typst_fonts
    monkeypatch.setattr(
        engraving_module, "typst_fonts", lambda path=None, **which: fonts(path, **which | {"system": False})
    )
    engraving_module._is_written.cache_clear()
    yield
    engraving_module._is_written.cache_clear()


def test_letters_that_no_font_has_are_named_with_their_script_and_a_package(no_system_fonts):
    found = unwritten_scripts("海边 Sea 海🌊 ไทย नदी Über, Ελλάδα, Москва, “déjà vu” שלום")
    assert [(one.script, one.letters, one.package) for one in found] == [
        ("Chinese, Japanese or Korean letters", "海边", "fonts-noto-cjk"),
        ("emoji or symbols", "🌊", "fonts-noto-color-emoji"),
        ("Thai letters", "ไทย", "fonts-noto-core"),
    ]


def test_a_font_file_has_the_letters_that_others_lack(no_system_fonts, tmp_path):
    font = load_font(square_font(tmp_path / "squares.ttf", "海边"))
    assert font.families == ("Squares",)
    assert unwritten_scripts("海边 Sea", font) == ()
    assert [one.letters for one in unwritten_scripts("海边的早晨", font)] == ["的早晨"]
    pages = engrave(abc_to_music_xml(TUNE.replace("Grüße & <B>", "海边 & 海"))).pages
    assert "海边 & 海" in words_on(pages)
    boxes, letters = page_as_png(pages[0], 420), page_as_png(pages[0], 420, font)
    assert boxes != letters
    assert b"Squares" in pages_as_pdf(pages, font=font)
    assert page_as_png(pages[0], 420, font) == letters


@pytest.mark.parametrize(("name", "data"), [("gone.ttf", None), ("words.ttf", b"words"), ("font.woff2", b"wOF2")])
def test_what_is_no_font_is_refused(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=name):
        load_font(tmp_path / name)
