import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from image2music.album import plan as album_plan
from image2music.album.chapters import cut_by_scene, natural_order
from image2music.album.plan import (
    LARGEST_STEP,
    ImageSummary,
    chapter_keys,
    gentle,
    image_summary,
    near_duplicates,
    plan_album,
    programs_for,
    summary_as_json,
    summary_of_json,
    tempo_arc,
    themes_of,
)
from image2music.composers.suiting import Ensemble, suiting_music
from image2music.images.kinds import MOTIONS, PLACES, all_kinds
from image2music.images.scene import Scene
from image2music.images.taken import Taken
from image2music.music.similarity import BAR_EIGHTHS

NEUTRAL = Scene("a picture")
CALM_SEA = Scene("a sea", (("sea coast", 0.9),), 0, "sea, sky", motion="still", valence=0.5, arousal=0.15)
STREET = Scene("a street", (("car", 0.8), ("street", 0.7)), 4, "city", motion="plain movement", valence=0, arousal=0.6)

felt = st.tuples(st.floats(-1, 1) | st.none(), st.floats(0, 1) | st.none())
scenes = st.builds(
    Scene,
    subject=st.just("something"),
    things=st.lists(
        st.tuples(st.sampled_from([kind.name for kind in all_kinds()]) | st.text(max_size=9), st.floats(0, 1)),
        max_size=4,
    ).map(tuple),
    people=st.integers(0, 9) | st.none(),
    place=st.lists(st.sampled_from(PLACES), max_size=3).map(", ".join) | st.text(max_size=20),
    motion=st.sampled_from(MOTIONS) | st.text(max_size=9),
    valence=felt.map(lambda one: one[0]),
    arousal=felt.map(lambda one: one[1]),
)


def feeling(valence, arousal, scene=NEUTRAL):
    return replace(scene, valence=valence, arousal=arousal)


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """What suits a scene is read from files once, which takes longer than Hypothesis lets an example take."""
    suiting_music(CALM_SEA)
    cut_by_scene([CALM_SEA] * 4, list("abcd"))


def pictures(scenes):
    """An album of unlike pictures in which these scenes are seen."""
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 2**63, len(scenes)).tolist()
    return [
        ImageSummary(hashlib.sha256(bytes([i])).hexdigest(), f"a/{i}.jpg", scene, prints[i], (0.0, 0.0, 0.0))
        for i, scene in enumerate(scenes)
    ]


def parts_of(scenes, seed=0):
    """The parts of an album in its order."""
    album = pictures(scenes)
    parts = plan_album(album, seed)
    return [parts[picture.image_id] for picture in album]


def summary_of(image):
    return image_summary("a", "1", image, NEUTRAL)


def photograph(seed, size=(300, 200)):
    cells = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def test_another_size_and_exposure_of_one_picture_is_alike():
    one, other = photograph(1), ImageEnhance.Brightness(photograph(1).resize((120, 80))).enhance(0.9)
    assert near_duplicates(summary_of(one), summary_of(other))


def test_another_picture_is_not_alike():
    assert not near_duplicates(summary_of(photograph(1)), summary_of(photograph(2)))


def test_an_evening_is_not_a_morning():
    navy, tan = (Image.new("RGB", (9, 9), colour) for colour in ("navy", "tan"))
    assert not near_duplicates(summary_of(navy), summary_of(tan))


def test_numbers_in_names_count():
    assert sorted(["IMG_10", "IMG_9", "IMG_1"], key=natural_order) == ["IMG_1", "IMG_9", "IMG_10"]


@given(st.lists(scenes, min_size=1, max_size=30), st.integers(0, 2**32))
def test_every_picture_gets_a_part_of_one_album(found, seed):
    album = pictures(found)
    parts = plan_album(album, seed)
    ordered = [parts[picture.image_id] for picture in album]
    assert len({(part.motif, part.meter, part.programs) for part in ordered}) == 1
    assert ordered[0].key == ordered[-1].key
    for before, after in pairwise(ordered):
        assert max(before.tempo_qpm, after.tempo_qpm) <= LARGEST_STEP * min(before.tempo_qpm, after.tempo_qpm)
    assert plan_album(album[::-1], seed) == parts


def taken(minutes):
    return Taken(datetime(2024, 5, 3, 9) + timedelta(minutes=minutes), "exif")


@given(st.lists(st.tuples(scenes, st.integers(0, 9000) | st.none()), min_size=1, max_size=20), st.randoms())
def test_an_album_with_times_is_the_same_in_whatever_order_it_comes(found, random):
    album = [
        replace(one, exif=None if minutes is None else taken(minutes))
        for one, (_, minutes) in zip(pictures([scene for scene, _ in found]), found, strict=True)
    ]
    parts = plan_album(album, 0)
    shuffled = random.sample(album, len(album))
    assert plan_album(shuffled, 0) == parts
    assert all(parts[one.image_id].taken == one.exif for one in album)


def test_each_event_is_a_chapter_with_its_key_and_the_first_and_the_last_are_at_home():
    minutes = [900, 905, 910, 0, 4, 8, 400, 405, 410]  # by the names of the pictures
    album = [replace(one, exif=taken(at)) for one, at in zip(pictures([CALM_SEA] * 9), minutes, strict=True)]
    parts = [plan_album(album, 0)[one.image_id] for one in album]
    chapters = [album[3].image_id[:12], album[6].image_id[:12], album[0].image_id[:12]]
    assert [part.chapter for part in parts] == [chapters[2]] * 3 + [chapters[0]] * 3 + [chapters[1]] * 3
    assert parts[0].key == parts[3].key != parts[6].key
    (asked,) = {part.chapter for part in plan_album(album, 0, gap=24 * 3600).values()}
    assert asked == chapters[0]


def test_every_chapter_has_an_equal_share_of_the_arc():
    suits = [replace(suiting_music(NEUTRAL), slowest=1, fastest=999, qpm=100)] * 12
    by_pictures, by_chapters = tempo_arc(suits), tempo_arc(suits, (0, 10, 11))
    assert by_pictures[8] > by_pictures[4] > by_pictures[0]
    assert by_chapters[10] == max(by_chapters)  # the third of three begins at two thirds


@given(st.lists(st.integers(20, 400), min_size=1))
def test_steps_of_tempo_are_gentle(tempos):
    calmed = gentle(tempos)
    assert calmed[0] == tempos[0]
    assert all(max(a, b) <= LARGEST_STEP * min(a, b) for a, b in pairwise(calmed))
    assert gentle(calmed) == calmed


@given(scenes, st.integers(0, 9000) | st.none(), st.integers() | st.none())
def test_a_summary_is_found_again_as_it_was(scene, minutes, file_time):
    exif = None if minutes is None else taken(minutes)
    summary = image_summary("a", "sea/1.jpg", photograph(3, (30, 20)), scene)
    summary = replace(summary, exif=exif, file_time=file_time)
    assert summary_of_json(summary_as_json(summary), "a", "sea/1.jpg") == summary


def test_a_summary_is_small_and_no_details_are_kept():
    things = tuple((kind.name, 0.123) for kind in all_kinds()[:20])
    scene = replace(STREET, things=things, eye_path=("left", "right"), palette=("grey",), light="dim")
    summary = image_summary("a" * 64, "sea/1.jpg", photograph(3), scene)
    assert len(summary_as_json(summary)) < 400
    assert summary.scene == replace(STREET, things=things[:6])


def test_a_picture_added_at_the_end_leaves_the_motif():
    assert parts_of([CALM_SEA] * 5)[0].motif == parts_of([CALM_SEA] * 4)[0].motif


# ---------------------------------------------------------------- what suits most pictures


def table(monkeypatch, rows):
    """Let what suits depend on the subject alone: a row changes what suits anything."""
    meters = ("4/4", "3/4", "6/8")
    plain = replace(
        suiting_music(NEUTRAL), meters=meters, ensembles=ensembles((73, 46, 42)), unsuitable=frozenset(), mode="either"
    )
    table = {subject: replace(plain, **row) for subject, row in rows.items()}
    monkeypatch.setattr(album_plan, "suiting_music", lambda scene: table.get(scene.subject, plain))


def ensembles(*programs):
    return tuple(Ensemble(one, "it suits") for one in programs)


def test_an_album_is_in_the_mode_and_the_meter_that_suit_most_of_its_pictures(monkeypatch):
    table(monkeypatch, {"grave": {"mode": "minor", "meters": ("3/4", "4/4")}, "fair": {"mode": "major"}})
    grave, fair = Scene("grave"), Scene("fair")
    assert {(part.mode, part.meter) for part in parts_of([grave, fair, grave])} == {("minor", "3/4")}
    assert {(part.mode, part.meter) for part in parts_of([fair, grave, fair])} == {("major", "4/4")}


def test_where_either_mode_suits_the_valence_of_the_album_decides(monkeypatch):
    table(monkeypatch, {NEUTRAL.subject: {"mode": "either"}})
    assert parts_of([feeling(-0.1, 0.4)] * 3)[0].mode == "minor"
    assert parts_of([feeling(0.1, 0.4)] * 3)[0].mode == "major"
    assert parts_of([feeling(-0.1, 0.4), feeling(-0.1, 0.4), feeling(0.3, 0.4)])[0].mode == "major"


def test_instruments_suit_most_pictures_and_are_unsuitable_to_none(monkeypatch):
    brass, strings = (56, 60, 58), (40, 41, 43)
    table(
        monkeypatch,
        {
            "parade": {"ensembles": ensembles(brass, strings)},
            "chapel": {"ensembles": ensembles(strings), "unsuitable": frozenset({56, 128})},
        },
    )
    parade, chapel = Scene("parade"), Scene("chapel")
    assert {part.programs for part in parts_of([parade] * 9)} == {(56, 58)}
    assert {part.programs for part in parts_of([parade] * 9 + [chapel])} == {(40, 43)}
    nothing = {"ensembles": ensembles(brass), "unsuitable": frozenset({40, 43})}
    table(monkeypatch, {"parade": nothing, "chapel": {"ensembles": ensembles(strings), "unsuitable": frozenset({56})}})
    assert {part.programs for part in parts_of([parade, chapel])} == {(73, 46)}  # what suits any picture


def test_the_accompaniment_has_chords_where_the_ensemble_has_such_an_instrument():
    rng = np.random.default_rng(0)
    suits = replace(suiting_music(NEUTRAL), unsuitable=frozenset())
    for programs, pair in {(73, 46, 42): (73, 46), (40, 42): (40, 42), (0,): (0, 0), (56, 58, 128): (56, 58)}.items():
        assert programs_for([replace(suits, ensembles=ensembles(programs))] * 2, rng) == pair


@given(st.lists(scenes, min_size=1, max_size=30), st.integers(0, 2**32))
def test_no_picture_gets_an_unsuitable_instrument_where_there_is_a_choice(found, seed):
    refused = {program for scene in found for program in suiting_music(scene).unsuitable}
    choice = {program for scene in found for one in suiting_music(scene).ensembles for program in one.programs}
    if not refused & choice:
        assert not refused & set(parts_of(found, seed)[0].programs)


def test_a_calm_album_stays_calm_and_a_wild_one_is_fast():
    calm, wild = feeling(0.5, 0.15, CALM_SEA), feeling(0.2, 0.9, STREET)
    slow = [part.tempo_qpm for part in parts_of([calm] * 9)]
    fast = [part.tempo_qpm for part in parts_of([wild] * 9)]
    assert max(slow) < min(fast)
    for scene, tempos in ((calm, slow), (wild, fast)):
        suits = suiting_music(scene)
        assert suits.slowest - 1 <= min(tempos) and max(tempos) <= suits.fastest + 1
        assert tempos[0] < tempos[6] > tempos[-1]  # the arc


def test_one_wild_picture_does_not_quicken_a_calm_album():
    calm, wild = suiting_music(feeling(0.5, 0.15)), suiting_music(feeling(0.2, 1.0))
    quiet = tempo_arc([calm] * 8)
    for at in (0, 3, 7):
        tempos = tempo_arc([wild if n == at else calm for n in range(8)])
        assert tempos[at] > quiet[at]
        others = [tempos[n] - quiet[n] for n in range(8) if n != at]
        assert sum(change > 0 for change in others) <= 1 and max(others) <= 6


# ---------------------------------------------------------------- chapters and their keys


def test_a_dark_middle_goes_to_the_relative_minor_and_home_again():
    scenes = [feeling(v, 0.5) for v in [0.6] * 4 + [-0.6] * 3 + [0.6] * 5]
    album = pictures(scenes)
    parts = parts_of(scenes)
    assert (4, 7) in cut_by_scene(scenes, themes_of(album))
    assert {part.mode for part in parts[4:7]} == {"minor"}


def test_a_chapter_begins_where_places_or_things_change_though_the_feeling_stays():
    in_town = feeling(CALM_SEA.valence, CALM_SEA.arousal, STREET)
    scenes = [CALM_SEA] * 3 + [in_town] * 4 + [replace(CALM_SEA, place="forest", things=(("mushroom", 0.9),))] * 2
    assert cut_by_scene(scenes, [str(n) for n in range(9)]) == [(0, 3), (3, 7), (7, 9)]


def test_kinds_of_one_group_are_less_of_a_change_than_those_of_another():
    dog, cat, lorry = (Scene("", ((name, 0.9),)) for name in ("dog", "cat", "truck"))
    scenes = [dog, dog, cat, cat, lorry, lorry]
    assert cut_by_scene(scenes, [str(n) for n in range(6)]) == [(0, 4), (4, 6)]


def test_no_chapter_begins_between_near_duplicates():
    scenes = [CALM_SEA] * 3 + [STREET] * 3
    assert cut_by_scene(scenes, ["a", "b", "c", "c", "d", "e"]) != [(0, 3), (3, 6)]


def test_an_album_goes_out_to_near_keys_and_comes_home():
    home = (2, "major")
    assert chapter_keys(home, [0.0, 0.0, 0.0, 0.0]) == [home, (7, "major"), (9, "major"), home]
    assert chapter_keys(home, [0.2, -0.5, 0.4, 0.0]) == [home, (11, "minor"), (9, "major"), home]


def test_near_duplicates_share_a_theme_and_others_do_not():
    album = pictures([feeling(0.1, 0.5)] * 6)
    album[3] = replace(album[3], print=album[2].print ^ 0b101)
    parts = [plan_album(album, 0)[picture.image_id] for picture in album]
    assert parts[2].opening == parts[3].opening
    assert sum(note.eighths for note in parts[2].opening[1]) == BAR_EIGHTHS[parts[2].meter]
    assert parts[1].opening[1] == parts[4].opening[1] == (parts[1].motif[-1],)
    assert len({part.theme for part in parts}) == 5


def test_a_folder_of_many_thousand_pictures_is_planned():
    scenes = [feeling(n % 7 / 7, n % 5 / 5) for n in range(20_000)]
    bounds = cut_by_scene(scenes, [str(n) for n in range(20_000)])
    assert (bounds[0][0], bounds[-1][1]) == (0, 20_000)
    assert min(stop - start for start, stop in bounds) >= 2
