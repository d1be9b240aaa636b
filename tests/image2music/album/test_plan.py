import hashlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from image2music.album.plan import (
    LARGEST_STEP,
    ImageSummary,
    chapter_keys,
    chapters,
    gentle,
    image_summary,
    natural_order,
    near_duplicates,
    plan_album,
    themes_of,
)

moods = st.tuples(st.floats(-1, 1), st.floats(0, 1))


def pictures(moods):
    """An album of unlike pictures with these moods."""
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 2**63, len(moods)).tolist()
    return [
        ImageSummary(hashlib.sha256(bytes([i])).hexdigest(), f"a/{i}.jpg", valence, arousal, prints[i], (0.0, 0.0, 0.0))
        for i, (valence, arousal) in enumerate(moods)
    ]


def photograph(seed, size=(300, 200)):
    cells = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def test_another_size_and_exposure_of_one_picture_is_alike():
    one, other = photograph(1), ImageEnhance.Brightness(photograph(1).resize((120, 80))).enhance(0.9)
    assert near_duplicates(image_summary("a", "1", one), image_summary("b", "2", other))


def test_another_picture_is_not_alike():
    assert not near_duplicates(image_summary("a", "1", photograph(1)), image_summary("b", "2", photograph(2)))


def test_an_evening_is_not_a_morning():
    navy, tan = (Image.new("RGB", (9, 9), colour) for colour in ("navy", "tan"))
    assert not near_duplicates(image_summary("a", "1", navy), image_summary("b", "2", tan))


def test_numbers_in_names_count():
    assert sorted(["IMG_10", "IMG_9", "IMG_1"], key=natural_order) == ["IMG_1", "IMG_9", "IMG_10"]


@given(st.lists(moods, min_size=1, max_size=40), st.integers(0, 2**32))
def test_every_picture_gets_a_part_of_one_album(found, seed):
    album = pictures(found)
    parts = plan_album(album, seed)
    ordered = [parts[picture.image_id] for picture in album]
    assert len({(part.motif, part.meter, part.programs) for part in ordered}) == 1
    assert ordered[0].key == ordered[-1].key
    for before, after in pairwise(ordered):
        assert max(before.tempo_qpm, after.tempo_qpm) <= LARGEST_STEP * min(before.tempo_qpm, after.tempo_qpm)
    assert plan_album(album[::-1], seed) == parts


@given(st.lists(st.integers(20, 400), min_size=1))
def test_steps_of_tempo_are_gentle(tempos):
    calmed = gentle(tempos)
    assert calmed[0] == tempos[0]
    assert all(max(a, b) <= LARGEST_STEP * min(a, b) for a, b in pairwise(calmed))
    assert gentle(calmed) == calmed


def test_a_picture_added_at_the_end_leaves_the_motif():
    album = pictures([(0.5, 0.5)] * 5)
    assert plan_album(album, 1)[album[0].image_id].motif == plan_album(album[:4], 1)[album[0].image_id].motif


def test_a_dark_middle_goes_to_the_relative_minor_and_home_again():
    moods = [(0.6, 0.5)] * 4 + [(-0.6, 0.5)] * 3 + [(0.6, 0.5)] * 5
    album = pictures(moods)
    parts = plan_album(album, 0)
    assert (4, 7) in chapters(moods, themes_of(album))
    assert {parts[picture.image_id].mode for picture in album[4:7]} == {"minor"}


def test_an_album_goes_out_to_near_keys_and_comes_home():
    home = (2, "major")
    assert chapter_keys(home, [0.0, 0.0, 0.0, 0.0]) == [home, (7, "major"), (9, "major"), home]
    assert chapter_keys(home, [0.2, -0.5, 0.4, 0.0]) == [home, (11, "minor"), (9, "major"), home]


def test_near_duplicates_share_a_theme_and_others_do_not():
    album = pictures([(0.1, 0.5)] * 6)
    album[3] = replace(album[3], print=album[2].print ^ 0b101)
    parts = [plan_album(album, 0)[picture.image_id] for picture in album]
    assert parts[2].opening == parts[3].opening
    assert sum(note.eighths for note in parts[2].opening[1]) == 8
    assert parts[1].opening[1] == parts[4].opening[1] == (parts[1].motif[-1],)
    assert len({part.theme for part in parts}) == 5


def test_a_folder_of_many_thousand_pictures_is_planned():
    moods = [(n % 7 / 7, n % 5 / 5) for n in range(20_000)]
    bounds = chapters(moods, [str(n) for n in range(20_000)])
    assert (bounds[0][0], bounds[-1][1]) == (0, 20_000)
    assert min(stop - start for start, stop in bounds) >= 2
