"""Order, chapters and their titles, by times and by what is seen."""

from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.album.chapters import chapter_titles, chapters_of, cut_by_scene, cut_by_time, ordered
from image2music.images.scene import Scene
from image2music.images.taken import Clock, Taken, clocks_of
from image2music.images.words import LANGUAGES

START = datetime(2024, 1, 31, 9)
BEACH = Scene("a beach", (("dog", 0.9),), place="beach, outdoors")
FOREST = Scene("a forest", (("tree", 0.9),), place="forest, outdoors")
HOUR = 60

gaps = st.lists(st.integers(0, 3 * 24 * HOUR), min_size=1, max_size=60)


def clocks(minutes):
    """Clocks of pictures so many minutes after the first."""
    return [Clock(at * 60_000, START + timedelta(minutes=at)) for at in minutes]


def starts(bounds):
    return [start for start, _ in bounds]


def walk(between):
    """Pictures with these minutes between them."""
    at = [0]
    for gap in between:
        at.append(at[-1] + gap)
    return clocks(at)


def test_pictures_stand_in_the_order_of_their_times_then_of_their_names():
    names = ["b/10.jpg", "b/9.jpg", "a/z.jpg", "a/y.jpg"]
    noon, later = (Taken(START + timedelta(hours=at), "exif") for at in (0, 1))
    order, found = ordered([(name, "") for name in names], [noon, noon, noon, later])
    assert [names[at] for at in order] == ["a/z.jpg", "b/9.jpg", "b/10.jpg", "a/y.jpg"]
    assert [clock.moment for clock in found] == sorted(clock.moment for clock in found)


def test_without_times_names_alone_give_the_order():
    assert ordered([("10.jpg", ""), ("9.jpg", "")], [None, None]) == ([1, 0], None)


def test_an_event_is_a_chapter():
    """A breakfast, a swim with a burst, and a dinner."""
    day = [0, 5, 11, 180, 181, 181, 181, 190, 200, 600, 620, 640]
    assert starts(cut_by_time(clocks(day))) == [0, 3, 9]


def test_a_journey_with_a_few_pictures_a_day_is_cut_into_days():
    days = [24 * HOUR * day + HOUR * 3 * at for day in range(4) for at in range(3)]
    assert starts(cut_by_time(clocks(days))) == [0, 3, 6, 9]


def test_one_party_has_no_gaps():
    assert cut_by_time(walk([1, 2, 30, 4, 5, 45, 3, 2, 1])) == [(0, 10)]


def test_where_most_gaps_are_wide_the_widest_cut():
    weekly = [7 * 24 * HOUR] * 3 + [20 * 24 * HOUR] + [7 * 24 * HOUR] * 3
    assert len(cut_by_time(walk(weekly))) == 4
    assert 4 in starts(cut_by_time(walk(weekly)))


@given(gaps)
def test_chapters_are_cut_at_the_widest_gaps_all_wider_than_the_bound(between):
    bounds = cut_by_time(walk(between))
    bound = min(max(17 * median(between), HOUR), 6 * HOUR)
    cuts = {start - 1 for start in starts(bounds)[1:]}
    assert [start for start, _ in bounds[1:]] == [stop for _, stop in bounds[:-1]]
    assert (bounds[0][0], bounds[-1][1]) == (0, len(between) + 1)
    assert all(between[at] > bound for at in cuts)
    others = [gap for at, gap in enumerate(between) if at not in cuts and gap > bound]
    if others:
        assert len(bounds) == max(2, (len(between) + 1) // 2)
        assert max(others) <= min(between[at] for at in cuts)


@given(gaps, st.integers(1, 48 * HOUR))
def test_a_gap_that_was_asked_for_cuts_wherever_there_is_a_wider_one(between, minutes):
    bounds = cut_by_time(walk(between), 60 * minutes)
    assert [start - 1 for start in starts(bounds)[1:]] == [at for at, gap in enumerate(between) if gap > minutes]


def test_a_picture_of_which_only_the_day_is_known_is_not_apart_from_others_of_its_day():
    times = [Taken(datetime(2024, 1, day, hour), "exif") for day in (1, 2) for hour in (10, 11)]
    sent = [Taken(datetime(2024, 1, day), "name", whole_day=True) for day in (2, 4)]
    found = sorted(clocks_of([*times, *sent]), key=lambda clock: clock.moment)
    assert starts(cut_by_time(found)) == [0, 2, 5]


def test_what_is_seen_cuts_where_times_do_not():
    scenes, themes = [BEACH] * 3 + [FOREST] * 3, list("abcdef")
    seen = cut_by_scene(scenes, themes)
    assert chapters_of(scenes, themes, None, None) == seen == [(0, 3), (3, 6)]
    assert chapters_of(scenes, themes, clocks(range(6)), None) == seen
    assert chapters_of(scenes, themes, clocks(range(6)), 3600) == [(0, 6)]
    assert chapters_of(scenes, themes, clocks([0, 1, 2, 3, 900, 901]), None) == [(0, 4), (4, 6)]


# ---------------------------------------------------------------- titles


def test_a_chapter_is_called_after_what_is_seen_in_it_more_than_elsewhere_and_its_day():
    scenes = [BEACH, BEACH, FOREST, FOREST]
    times = clocks([0, 1, 24 * HOUR, 24 * HOUR + 1])
    bounds = [(0, 2), (2, 4)]
    assert chapter_titles(bounds, scenes, times) == [
        "On the Beach, 31 January 2024",
        "Among the Trees, 1 February 2024",
    ]
    assert chapter_titles(bounds, scenes, None)[0] == "On the Beach"
    assert chapter_titles(bounds, scenes, times, "de")[1].endswith(", 1. Februar 2024")
    assert chapter_titles(bounds, scenes, times, "fr")[1].endswith(", 1er février 2024")
    assert chapter_titles(bounds, scenes, times, "es")[1].endswith(", 1 de febrero de 2024")


def test_a_chapter_over_midnight_has_both_days():
    (title,) = chapter_titles([(0, 2)], [None, None], clocks([14 * HOUR, 16 * HOUR]))
    assert title == "Chapter 1, 31 January 2024 to 1 February 2024"


def test_of_two_alike_the_second_has_its_hour_or_its_number():
    assert chapter_titles([(0, 1), (1, 2)], [BEACH] * 2, clocks([0, 300]))[1] == "On the Beach, 31 January 2024, 14:00"
    assert chapter_titles([(0, 1), (1, 2)], [BEACH] * 2, None) == ["On the Beach", "On the Beach (2)"]


seen = st.builds(
    Scene,
    st.just(""),
    st.lists(st.tuples(st.sampled_from(["dog", "person", "sea coast", "no such thing"]), st.floats(0, 1))).map(tuple),
    place=st.sampled_from(["", "beach", "beach, sky", "night", "a wide free place"]),
)


@given(st.lists(seen | st.none(), min_size=1, max_size=12), st.data())
@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_are_all_different_and_never_empty(language, scenes, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(scenes)))) | {0, len(scenes)})
    times = data.draw(st.none() | st.just(clocks(range(len(scenes)))))
    titles = chapter_titles(list(pairwise(cuts)), scenes, times, language)
    assert len({*titles}) == len(titles) == len(cuts) - 1
    assert all(title[:1].strip() for title in titles)
