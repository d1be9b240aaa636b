import io
import re
from datetime import UTC, datetime
from itertools import accumulate

import mido
import pytest
from fakes import two_voice_tune

from image2music.abc.checker import check
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score
from image2music.album.book import album_row, album_title, assemble, folder_of
from image2music.images.taken import Taken
from image2music.music.midi import read_midi, with_markers
from image2music.music.similarity import count_motif, make_motif, opening_of
from image2music.types import AlbumPart, part_row

MOTIF = make_motif("4/4", rising=True, seed=1)


def tune(seed, key="C", qpm=96):
    return f"Tune {seed}", two_voice_tune(seed).replace("K:C", f"K:{key}").replace("1/4=96", f"1/4={qpm}")


@pytest.fixture
def book():
    """Four tunes of four bars: C, G, G and A minor."""
    return assemble("Summer", [tune(1), tune(2, "G", 100), tune(3, "G", 180), tune(4, "Am", 90)], MOTIF, "4/4")


def test_a_book_is_one_tune_that_passes_the_check_with_full_bars(book):
    (whole,) = parse(book.abc).tunes
    assert check(book.abc) == []
    assert {len(voice.bars) for voice in whole.voices.values()} == {book.bars} == {4 * 4 + 2 * 2}
    assert all(bar.length == bar.expected for voice in whole.voices.values() for bar in voice.bars)


def test_chapters_stand_in_the_header_above_their_first_bar_and_as_markers_of_the_midi_file():
    chapters = [(0, "The Sea, 3 May 2024"), (2, 'Wood "A"')]
    book = assemble("Summer", [tune(1), tune(2, "G"), tune(3, "G")], MOTIF, "4/4", chapters)
    assert check(book.abc) == []
    assert book.abc.splitlines()[2:4] == ["N:bar 1: The Sea, 3 May 2024", 'N:bar 11: Wood "A"']
    first_voice = book.abc.partition("V:2")[0]
    assert '"^The Sea, 3 May 2024""^Tune 1"' in first_voice and '"^Wood \'A\'""^Tune 3"' in first_voice
    conductor = mido.MidiFile(file=io.BytesIO(book.midi)).tracks[0]
    ticks = list(accumulate(message.time for message in conductor))
    markers = [(at, message.text) for at, message in zip(ticks, conductor, strict=True) if message.type == "marker"]
    assert markers == [(0, "The Sea, 3 May 2024"), (10 * 4 * 480, 'Wood "A"')]
    plain = assemble("Summer", [tune(1), tune(2, "G"), tune(3, "G")], MOTIF, "4/4")
    assert read_midi(plain.midi).n_notes == read_midi(book.midi).n_notes
    assert with_markers(plain.midi, []) == plain.midi


def part(chapter, taken):
    taken = Taken.of_text(*taken) if taken else None
    opening = opening_of(MOTIF, None)
    return part_row(AlbumPart(0, "major", "4/4", 96, (0, 0), "theme", MOTIF, opening, chapter, taken))


def row(number, chapter, taken, **more):
    title, abc = tune(number)
    beside = {"composer_id": "fake", "settings_hash": "1", "scene": None}
    name = {"image_id": str(number), "image_uri": f"a/{number}.jpg", "title": title, "abc": abc}
    return name | beside | {"album_part": part(chapter, taken)} | more


def test_a_book_follows_the_times_of_its_pictures_and_names_its_chapters():
    noon = ("2024-05-03T12:00:00", "exif")
    tunes = [row(1, "b", ("2024-05-04", "name")), row(2, "a", noon), row(3, "a", None), row(4, "a", noon)]
    bound = album_row("a", tunes, datetime.now(UTC), "de")
    assert bound["image_ids"] == ["2", "3", "4", "1"]
    assert bound["taken_at"] == [datetime(2024, 5, 3, 12), None, datetime(2024, 5, 3, 12), datetime(2024, 5, 4)]
    assert bound["chapters"] == [
        {"title": "Kapitel 1, 3. Mai 2024", "first": 0, "taken_at": datetime(2024, 5, 3, 12)},
        {"title": "Kapitel 2, 4. Mai 2024", "first": 3, "taken_at": datetime(2024, 5, 4)},
    ]


def test_rows_of_an_earlier_release_are_one_chapter_in_the_order_of_their_names():
    tunes = [row(10, "", None), row(9, "", None)]
    for one in tunes:
        for name in ("chapter", "taken_at", "taken_by"):
            del one["album_part"][name]
    bound = album_row("a", tunes, datetime.now(UTC))
    assert (bound["image_ids"], bound["taken_at"]) == (["9", "10"], [None, None])
    assert bound["chapters"] == [{"title": "Chapter 1", "first": 0, "taken_at": None}]


def test_there_is_a_bridge_wherever_the_key_changes_and_nowhere_else(book):
    assert (book.keys, book.bridges, book.starts) == (("C", "G", "G", "Am"), 2, (1, 7, 11, 17))
    first_voice = book.abc.partition("V:2")[0]
    changes = [line for line in first_voice.splitlines() if "[K:" in line]
    assert [re.sub(r"^\"\^(\w+)\".*\[(K:\w+)\].*", r"\1 \2", line) for line in changes] == ["Bridge K:G", "Bridge K:Am"]


def test_steps_of_tempo_are_at_most_15_percent(book):
    assert book.tempos_qpm == (96, 100, 114, 100)
    assert [change.qpm for change in abc_to_score(book.abc).tempos] == [96, 100, 114, 100]


def test_every_note_of_the_tunes_sounds_in_the_book(book):
    score = abc_to_score(book.abc)
    bridges = 2 * (2 * 5 + 3 + 4 - 1)
    notes = sum(abc_to_score(tune(n)[1]).n_notes for n in (1, 2, 3, 4))
    assert notes < score.n_notes <= notes + bridges + 4
    assert read_midi(book.midi).n_notes == score.n_notes


def test_the_bridge_sings_the_motif_at_home_and_on_the_new_dominant():
    book = assemble("Summer", [tune(1), tune(2, "G")], MOTIF, "4/4")
    bars = MOTIF[:-1]
    assert count_motif(abc_to_score(book.abc), bars) == 2


def test_tunes_of_other_meters_and_with_a_single_voice_can_be_bound():
    waltz = "X:1\nT:w\nM:3/4\nL:1/4\nK:D\nDFA|d3|]\n"
    drums = "X:1\nT:d\nM:4/4\nL:1/4\nK:D\nV:1\nV:2\n%%MIDI channel 10\n[V:1]DFAd|[V:2]CCCC|]\n"
    book = assemble("Mixed", [("w", waltz), tune(1, "D"), ("d", drums)], MOTIF, "4/4")
    assert check(book.abc) == []
    assert book.bridges == 0


def test_titles_and_folders_of_albums():
    assert album_title("photos/2024_summer-holidays") == "2024 Summer Holidays"
    assert album_title("") == "Album"
    assert folder_of("photos/Zoë's 1st").startswith("zo-s-1st-")
    assert folder_of("a/x") != folder_of("b/x")
