"""From rows to what a film shows when."""

from datetime import UTC, datetime

import pytest

from image2music.abc.playback import abc_to_midi
from image2music.film.reel import album_reel, tune_reel

BOOK = "X:1\nT:Sea\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\n" + "CDEF|" * 23 + "C4|]\n"
ALBUM = {
    "album": "photos/sea",
    "title": "Sea",
    "image_ids": ["a" * 64, "b" * 64, "c" * 64],
    "image_uris": ["a.jpg", "b.jpg", "c.jpg"],
    "titles": ["One", "Two", "Three"],
    "starts": [1, 9, 17],
    "abc": BOOK,
    "midi": abc_to_midi(BOOK),
    "book": "books/sea-12345678",
    "composer_id": "nano@1",
    "settings_hash": "0" * 64,
    "bound_at": datetime(2026, 11, 27, tzinfo=UTC),
}
TUNE = "X:1\nT:Two\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\n" + "CDEF|" * 7 + "C4|]\n"
ROW = {
    "image_id": "b" * 64,
    "image_uri": "b.jpg",
    "image_uris": ["b.jpg", "copy/b.jpg"],
    "title": "Two",
    "abc": TUNE,
    "midi": abc_to_midi(TUNE),
    "attention": [],
    "plan": {
        "sections": [
            {"name": "A", "first": 1, "last": 4, "picture_part": "the boat on the left"},
            {"name": "B", "first": 5, "last": 8, "picture_part": "the sky at the top"},
        ]
    },
    "composer_id": "nano@1",
    "settings_hash": "0" * 64,
    "seed": 0,
    "composed_at": datetime(2026, 11, 27, tzinfo=UTC),
}


def test_a_picture_of_an_album_comes_at_the_bar_line_of_its_tune():
    reel = album_reel(ALBUM, {})
    assert reel.name == "sea-12345678"
    assert [part.start for part in reel.parts] == pytest.approx([0, 32, 64])
    assert [part.upbeat for part in reel.parts] == pytest.approx([0, 1, 1])
    assert [part.bars for part in reel.parts] == [(0, 8), (8, 16), (16, 24)]


def test_sections_of_a_tune_move_the_view_where_they_begin_in_the_book():
    part = album_reel(ALBUM, {"b" * 64: ROW}).parts[1]
    assert [(stop.seconds, stop.point) for stop in part.stops] == [(0.0, (0.2, 0.5)), (16.0, (0.5, 0.2))]
    assert part.places == ("b.jpg", "copy/b.jpg")


def test_each_tune_is_a_chapter_where_the_album_has_none():
    assert [(one.title, one.seconds) for one in album_reel(ALBUM, {}).chapters] == [
        ("One", 0),
        ("Two", 32),
        ("Three", 64),
    ]


def test_chapters_of_an_album_are_those_of_its_row():
    chapters = [{"title": "Morning", "first": 0, "taken_at": None}, {"title": "Evening", "first": 2, "taken_at": None}]
    reel = album_reel({**ALBUM, "chapters": chapters}, {})
    assert [(one.title, one.seconds) for one in reel.chapters] == [("Morning", 0), ("Evening", 64)]
    cards = [part.card for part in reel.with_cards().parts]
    assert (cards[0].title, cards[0].subtitle) == ("Sea", "Morning")
    assert cards[1] is None
    assert (cards[2].title, cards[2].subtitle) == ("Evening", "")


def test_with_one_chapter_each_picture_has_a_mark_with_its_own_title():
    reel = album_reel({**ALBUM, "chapters": [{"title": "The Beach", "first": 0, "taken_at": None}]}, {})
    assert [(one.title, one.seconds) for one in reel.chapters] == [("One", 0), ("Two", 32), ("Three", 64)]
    assert [part.card for part in reel.with_cards().parts[1:]] == [None, None]


def test_titles_that_stand_there_twice_are_told_apart():
    reel = album_reel({**ALBUM, "titles": ["Waves", "Waves", ""]}, {})
    assert [one.title for one in reel.chapters] == ["Waves", "Waves (2)", "Sea"]


def test_no_two_marks_stand_in_one_frame_and_the_first_begins_with_the_film():
    tunes = {"starts": [1, 9, 9], "chapters": []}
    assert [(one.title, one.seconds) for one in album_reel({**ALBUM, **tunes}, {}).chapters] == [
        ("One", 0),
        ("Three", 32),
    ]
    chapters = [{"title": "Noon", "first": 1, "taken_at": None}, {"title": "Night", "first": 2, "taken_at": None}]
    assert [(one.title, one.seconds) for one in album_reel({**ALBUM, "chapters": chapters}, {}).chapters] == [
        ("Noon", 0),
        ("Night", 64),
    ]


def test_a_card_does_not_say_the_same_twice():
    chapters = [{"title": "Sea", "first": 0, "taken_at": None}, {"title": "Town", "first": 2, "taken_at": None}]
    cards = [part.card for part in album_reel({**ALBUM, "chapters": chapters}, {}).with_cards().parts]
    assert (cards[0].title, cards[0].subtitle) == ("Sea", "")
    assert (cards[2].title, cards[2].subtitle) == ("Town", "")


def test_the_day_of_an_album_is_that_of_its_last_picture_by_its_own_clock():
    times = [datetime(2024, 8, 3, 23, 50), None, datetime(2024, 7, 30, 9, 0)]
    assert album_reel({**ALBUM, "taken_at": times}, {}).tags["date"] == "2024-08-03"
    for unknown in ({}, {"taken_at": [None] * 3}):
        assert album_reel(ALBUM | unknown, {"b" * 64: ROW}).tags["date"] == "2026-11-27"
    assert tune_reel(ROW).tags["date"] == "2026-11-27"


def test_a_card_goes_at_a_bar_line_when_it_has_been_read():
    card = album_reel(ALBUM, {}).with_cards().parts[0].card
    assert card.seconds == pytest.approx(4)
    assert card.upbeat == pytest.approx(1)


def test_a_tune_alone_has_one_mark_with_its_title_and_says_that_it_was_made_by_ai():
    reel = tune_reel(ROW)
    assert [(one.title, one.seconds) for one in reel.chapters] == [("Two", 0)]
    assert [stop.seconds for stop in reel.parts[0].stops] == [0, 16]
    assert "Made by AI" in reel.tags["comment"]
    assert reel.length_s is None


def test_a_row_without_plan_or_attention_is_filmed_too():
    reel = tune_reel({**ROW, "plan": None, "attention": None})
    assert [(stop.seconds, stop.point) for stop in reel.parts[0].stops] == [(0.0, None)]
    assert [chapter.title for chapter in reel.chapters] == ["Two"]
