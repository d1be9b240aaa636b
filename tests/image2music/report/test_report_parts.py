import io

import numpy as np
import pytest
from fakes import two_voice_tune
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image2music.images.features import thumbnail
from image2music.report.page import (
    heat_map,
    levels,
    metric_values,
    motivation_parts,
    overlay,
    range_plot,
    reference_views,
    relative_weights,
)
from image2music.report.site import album_labels, album_page, card_of, mood_in, tempo_label


def attention(weights, baseline, kind="bars", segment="bars 5-8"):
    return {"segment": segment, "kind": kind, "text": "", "rows": 1, "cols": 3, "weights": weights,
            "baseline": baseline}  # fmt: skip


def test_a_map_is_measured_against_the_blank_picture():
    # The first patch draws most attention, but it would do so in any picture; the last one stands out.
    heat = heat_map(attention([0.4, 0.1, 0.2], [0.4, 0.1, 0.1]))
    assert heat.relative == (0, 0, 255)
    assert heat.raw == (255, 0, 85)
    assert heat.relative_range == (1.0, 2.0)
    assert heat.bars == (5, 8)


def test_a_patch_that_the_blank_picture_leaves_out_counts_as_unchanged():
    assert relative_weights(np.array([0.5]), np.array([0.0])).tolist() == [1.0]


@given(st.lists(st.floats(0, 1), max_size=60))
def test_levels_fill_the_scale_and_keep_the_order(values):
    array = np.array(values)
    found = levels(array)
    assert np.all(np.diff(found[np.argsort(array)].astype(int)) >= 0)
    assert set(found[[array.argmin(), array.argmax()]] if values else []) <= {0, 255}


def test_an_overlay_has_the_size_of_the_picture_and_is_lightest_where_the_map_is():
    grey = Image.new("RGB", (30, 10), (128, 128, 128))
    painted = np.asarray(overlay(grey, heat_map(attention([1, 1, 3], [1, 1, 1])))).sum(axis=2)
    assert painted.shape == (10, 30)
    assert painted[5].argmax() > 20


def test_a_motivation_is_shown_whole_with_the_sentences_that_have_a_map_in_their_place():
    maps = [
        heat_map(attention([1], [1], kind, kind) | {"cols": 1, "text": text})
        for kind, text in (("all", ""), ("motivation", "It walks."), ("motivation", "It sings."))
    ]
    said = "A cat is seen. It walks. So the tune is calm. It sings."
    assert motivation_parts(said, maps) == [
        ("A cat is seen.", None), ("It walks.", 1), ("So the tune is calm.", None), ("It sings.", 2)
    ]  # fmt: skip
    assert motivation_parts(said, maps[:1]) == [(said, None)]


def test_a_thumbnail_leaves_exif_and_comments_behind():
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    stream = io.BytesIO()
    Image.new("RGB", (400, 200)).save(stream, format="JPEG", exif=exif, comment=b"where I live")
    small = thumbnail(Image.open(stream), 100)
    assert b"where I live" not in small
    with Image.open(io.BytesIO(small)) as opened:
        assert (opened.size, dict(opened.getexif())) == ((100, 50), {})


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1, "below the references"), (5, "within the references"), (9, "above the references"), (None, "undefined")],
)
def test_a_plot_says_where_the_value_lies(value, verdict):
    assert range_plot(value, (4, 6)).verdict == verdict


def reference(abc):
    return {"location": "a.mid", "caption": "", "matched_by": "text", "similarity_text": 0.5,
            "similarity_image": None, "abc": abc}  # fmt: skip


def test_a_reference_copied_note_for_note_is_marked():
    tune = two_voice_tune(1, bars=8)
    (view,) = reference_views([reference(tune)], tune)
    assert view.copied
    assert view.shared_notes == 32


def test_a_reference_that_cannot_be_played_takes_no_part():
    assert reference_views([reference("no music")], two_voice_tune(1))[0].shared_notes is None
    assert metric_values([reference("no music")])["pitch_range"] == []


def test_the_mood_is_looked_for_where_the_text_speaks_of_it():
    assert mood_in("A lively street. The mood is melancholy: dim.") == "melancholy"
    assert mood_in("A chair.") == ""


STREET = {
    "image_id": "0" * 64, "image_uri": "a.jpg", "album": "", "title": "A", "key": "D", "meter": "4/4",
    "tempo_qpm": 90.0, "description": "A street. The mood is calm.", "motivation": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "feeling", "mood"),
    [
        ({}, "calm", "calm"),
        ({"wishes": None, "plan": None}, "calm", "calm"),
        ({"wishes": {"mood": "Joyful", "style": None}, "plan": {"style": "", "unmet": []}}, "wished: Joyful", "joyful"),
        ({"plan": {"style": "waltz", "unmet": ["tempo 'slow': it is fast"]}}, "calm · wished: waltz", "calm"),
        ({"wishes": {"mood": "sad", "style": "waltz"}, "plan": {"style": "waltz"}}, "wished: sad, waltz", "sad"),
        (
            {"wishes": {"mood": "sad"}, "plan": {"style": None, "unmet": ["mood 'sad': it is major"]}},
            "calm · wished: sad (not met)",
            "calm",
        ),
    ],
)
def test_a_card_says_which_mood_was_seen_and_what_was_wished_for(asked, feeling, mood):
    card = card_of(STREET | asked)
    assert (card.feeling, card.mood) == (feeling, mood)
    assert feeling.lower() in card.words(STREET["description"])


def test_albums_are_named_without_the_folders_that_they_share():
    assert album_labels(["a/b/one", "a/b/two/x"]) == {"a/b/one": "one", "a/b/two/x": "two/x"}
    assert album_labels(["a/b"]) == {"a/b": "b"}
    assert album_labels(["", "a"]) == {"": "(no folder)", "a": "a"}


def test_tempos_have_words_and_albums_pages_of_their_own():
    assert [tempo_label(qpm) for qpm in (60, 80, 120)] == ["slow", "medium", "fast"]
    assert album_page("a/Été") != album_page("b/Été")
