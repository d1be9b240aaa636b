"""What files say of themselves, read by other programs."""

from io import BytesIO
from xml.etree import ElementTree

import mido
import music21
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_midi
from image2music.errors import NotationError
from image2music.music.render import decode, encode
from image2music.music.tags import ogg_pages, tagged

TAGS = {
    "title": "Grüße 1",
    "artist": "image2music",
    "comment": "made by software",
    "copyright": "© 2026 Somebody",
    "software": "image2music 2",
    "date": "2026-11-27",
    "album": "Sea & Sand",
    "source": "http://example.org/a?b=c",
}
ABC = "X:1\nT:Tune\nM:4/4\nL:1/8\nK:C\nCDEF GABc|]\n"


@pytest.fixture(scope="module")
def files():
    noise = np.random.default_rng(1).standard_normal((48_000, 2)).astype(np.float32) * 0.05
    sounds = {kind: encode(noise, kind) for kind in ("wav", "mp3", "opus")}
    return sounds | {"midi": abc_to_midi(ABC), "musicxml": abc_to_music_xml(ABC)}


@pytest.mark.parametrize("kind", ["wav", "mp3", "opus"])
def test_soundfile_reads_the_tags_of_sounds(files, kind):
    with soundfile.SoundFile(BytesIO(tagged(files[kind], kind, TAGS))) as file:
        found = file.copy_metadata()
    for name in ("title", "artist", "copyright", "software", "album"):
        assert found[name] == TAGS[name]
    assert found["date"] == ("2026" if kind == "mp3" else "2026-11-27")


@pytest.mark.parametrize("kind", ["wav", "mp3", "opus"])
def test_the_sound_stays_as_it_is(files, kind):
    assert np.array_equal(decode(tagged(files[kind], kind, TAGS))[0], decode(files[kind])[0])


@pytest.mark.parametrize("kind", ["wav", "mp3", "opus", "midi", "musicxml"])
def test_new_tags_replace_the_old_ones(files, kind):
    long = tagged(files[kind], kind, TAGS | {"comment": "x" * 200_000})
    assert tagged(long, kind, TAGS) == tagged(files[kind], kind, TAGS)


@pytest.mark.parametrize("kind", ["wav", "mp3", "opus"])
def test_names_without_a_place_of_their_own_become_free_text(files, kind):
    data = tagged(files[kind], kind, TAGS)
    assert b"http://example.org/a?b=c" in data
    assert b"made by software" in data


def test_pages_of_ogg_stay_in_order_when_the_tags_grow_beyond_one():
    noise = np.random.default_rng(2).standard_normal((48_000, 2)).astype(np.float32) * 0.05
    pages = list(ogg_pages(tagged(encode(noise, "opus"), "opus", {"comment": "ä" * 100_000})))
    assert [page.number for page in pages] == list(range(len(pages)))
    assert [page.flags & 1 for page in pages[:5]] == [0, 0, 1, 1, 1]
    assert all(page.packed()[:4] == b"OggS" for page in pages)


def test_midi_says_title_rights_and_text_at_its_beginning(files):
    file = mido.MidiFile(file=BytesIO(tagged(files["midi"], "midi", TAGS)), charset="utf-8")
    events = [(event.type, event.name if event.type == "track_name" else event.text) for event in file.tracks[0][:3]]
    assert events == [
        ("track_name", "Grüße 1"), ("copyright", "© 2026 Somebody"), ("text", "artist: image2music"),
    ]  # fmt: skip
    plain = mido.MidiFile(file=BytesIO(files["midi"]))
    assert [str(m) for m in file.tracks[1]] == [str(m) for m in plain.tracks[1]]


def test_musicxml_says_who_made_it_by_which_right_and_with_what(files):
    metadata = music21.converter.parseData(tagged(files["musicxml"], "musicxml", TAGS), format="musicxml").metadata
    assert (metadata.title, metadata.composer, metadata.copyright) == ("Grüße 1", "image2music", "© 2026 Somebody")
    assert dict(metadata.all())["album"] == "Sea & Sand"


def test_abc_says_it_in_its_header_and_stays_what_it_was():
    text = tagged(ABC.encode(), "abc", TAGS | {"comment": "50 % human\nK:D"}).decode()
    assert text.splitlines()[:5] == [
        "X:1", "T:Tune", "C:image2music", "%%abc-creator image2music 2", "%%abc-copyright © 2026 Somebody",
    ]  # fmt: skip
    assert "N:50 human K:D" in text.splitlines()
    assert "N:source: http://example.org/a?b=c" in text.splitlines()
    assert abc_to_midi(text) == abc_to_midi(ABC)
    assert [found for found in check(text) if found.severity == "error"] == []


def test_svg_says_it_in_dublin_core():
    page = '<?xml version="1.0"?>\n<svg viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg"><path/></svg>'
    said = tagged(page.encode(), "svg", TAGS)
    root = ElementTree.fromstring(said)
    core = {element.tag.rpartition("}")[2]: element.text for element in root[0][0][0]}
    assert (core["title"], core["creator"], core["relation"]) == ("Grüße 1", "image2music", "Sea & Sand")
    assert tagged(said, "svg", {}) == page.encode()


def test_what_else_a_wav_file_says_stays():
    looped = encode(np.zeros((48_000, 2), np.float32), "wav", loop=True)
    assert looped[looped.index(b"smpl") :] in tagged(looped, "wav", TAGS)


@given(st.dictionaries(st.sampled_from(["title", "artist", "comment", "other"]), st.text(max_size=40), max_size=4))
def test_any_text_is_taken_and_notes_stay(tags):
    midi, xml = abc_to_midi(ABC), abc_to_music_xml(ABC)
    file = mido.MidiFile(file=BytesIO(tagged(midi, "midi", tags)), charset="utf-8")
    assert sum(event.type == "note_on" for event in file.tracks[1]) == 8
    assert tagged(xml, "musicxml", tags).count(b"<note>") == 8


@pytest.mark.parametrize("kind", ["wav", "mp3", "opus", "midi", "musicxml", "abc", "svg"])
def test_another_kind_of_file_is_refused(kind):
    with pytest.raises(NotationError, match=f"these bytes are no {kind} file"):
        tagged(b"plain text, no music", kind, TAGS)
