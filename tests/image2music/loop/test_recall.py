"""Which candidates suit a scene, in which order; and what is looked for."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import two_voice_tune
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.suiting import suiting_music
from image2music.images.scene import Scene
from image2music.index.search import Background, Candidate, Candidates
from image2music.index.table import commit, index_schema, open_index, write_fragments
from image2music.loop.recall import LEAST_ABOVE, LEEWAY, MOST, lending_words, query_text, recall, recall_stats, suitable

CALM = Scene("a lake", valence=0.6, arousal=0.1)
SAD = Scene("a grave", valence=-0.7, arousal=0.2)
WANTED = suiting_music(CALM)
BACKGROUND = Background(0.2, 0.05)


def tune(tune_id="a", *, text=0.35, image=None, qpm=WANTED.qpm, key="C", mood=(), caption="a tune", row=0):
    return Candidate(row, tune_id, caption, key, qpm, tuple(mood), (), text, image)


def among(*found, text=BACKGROUND, image=BACKGROUND, rows=229):
    return Candidates(tuple(found), text, image, rows)


def ids(found):
    return [one.tune_id for one in found]


def test_tunes_of_another_tempo_or_mode_are_left_out():
    found = among(tune("calm"), tune("quick", qpm=WANTED.fastest * 1.2), tune("slow", qpm=WANTED.slowest / 1.2))
    assert ids(suitable(found, CALM)) == ["calm"]
    modes = among(tune("major"), tune("minor", key="Am"), tune("dorian", key="Ddor"), tune("mixolydian", key="Gmix"))
    assert ids(suitable(modes, CALM)) == ["major", "mixolydian"]
    assert ids(suitable(modes, replace(SAD, arousal=0.1))) == ["dorian", "minor"]


def test_a_tune_without_a_key_comes_after_one_in_the_mode():
    assert ids(suitable(among(tune("drums", key="none"), tune("major")), CALM)) == ["major", "drums"]


def test_the_mood_decides_between_tunes_that_are_equally_near():
    mood = WANTED.moods[:2]
    found = among(tune("a"), tune("told", caption=f"A {mood[0]} and {mood[1]} tune."), tune("listed", mood=mood))
    assert ids(suitable(found, CALM)) == ["listed", "told", "a"]


def test_a_tune_no_nearer_than_the_index_is_anyway_is_not_recalled():
    near, far = BACKGROUND.mean + 1.01 * LEAST_ABOVE * BACKGROUND.spread, BACKGROUND.mean
    assert ids(suitable(among(tune("near", text=near), tune("far", text=far)), CALM)) == ["near"]
    assert suitable(among(tune(text=far)), CALM) == suitable(among(tune(text=far)), None) == []


def test_an_index_of_a_few_tunes_has_no_background():
    assert ids(suitable(among(tune(text=-0.5), text=None, image=None, rows=3), CALM)) == ["a"]


def test_the_pictures_own_similarity_counts_where_it_stands_out():
    plain, alike = tune("plain", text=0.36, image=0.2), tune("alike", text=0.35, image=0.25)
    assert ids(suitable(among(plain, alike), CALM)) == ["plain", "alike"]
    assert ids(suitable(among(plain, replace(alike, similarity_image=0.45)), CALM)) == ["alike", "plain"]


@pytest.mark.parametrize("scene", [None, Scene("somewhere"), CALM])
def test_nothing_found_is_nothing_recalled(scene):
    assert suitable(among(), scene) == []


drawn = st.builds(
    tune,
    tune_id=st.uuids().map(str),
    text=st.none() | st.floats(-1, 1),
    image=st.floats(-1, 1),
    qpm=st.floats(0, 400),
    key=st.sampled_from(["C", "Am", "", "none", "F#dor"]),
    mood=st.lists(st.sampled_from(["calm", "sad", "epic"])),
)


@given(st.lists(drawn, max_size=20), st.floats(-1, 1), st.floats(0, 1), st.randoms())
def test_what_suits_depends_neither_on_the_order_nor_on_what_does_not_suit(found, valence, arousal, random):
    scene = Scene("a thing", valence=valence, arousal=arousal)
    music = suiting_music(scene)
    good = suitable(among(*found), scene)
    assert set(good) <= set(found)
    assert all(music.slowest / LEEWAY <= round(one.tempo_qpm, 3) <= music.fastest * LEEWAY for one in good)
    assert suitable(among(*random.sample(found, len(found))), scene) == good


def test_the_query_names_what_is_seen_and_the_music():
    text = query_text("Eine Beschreibung.", CALM)
    assert WANTED.moods[0] in text
    assert "major key" in text
    assert "a lake" in text
    assert "Beschreibung" not in text
    assert query_text("A description.", None) == "A description."
    assert query_text("", CALM, "Grandmother at the lake.") == f"Grandmother at the lake. {text}"


@pytest.fixture
def index(tmp_path):
    random, dim = np.random.default_rng(1), 16
    vectors = random.normal(size=(200, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    schema = index_schema(dim, embedder_id="fake@1", embedder_spec="fake")
    rows = [
        {
            **{"tune_id": f"{number:08x}", "location": f"{number}.mid", "caption": "a calm tune", "meter": "4/4"},
            **{
                "abc": two_voice_tune(number),
                "metrics": {},
                "music_id": str(number // 2),
                "row_hash": f"hash {number}",
            },
            **{"key": "Am" if number % 3 else "C", "tempo_qpm": 50.0 + number, "embedder_id": "fake@1"},
            "vector": vector.astype(np.float32),
        }
        for number, vector in enumerate(vectors)
    ]
    uri = str(tmp_path / "tunes.lance")
    commit(uri, write_fragments(uri, rows, schema), schema)
    return open_index(uri)


def embed(texts):
    vectors = np.array([np.random.default_rng(len(text)).normal(size=16) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_one_search_after_the_other_recalls_what_one_pass_does(index):
    scenes = [CALM, SAD, None]
    pairs = [tuple(embed(["x" * (number + 1), "y" * (number + 9)])) for number in range(3)]
    together = recall(index, pairs, scenes, 3, exact=True)
    assert together == [recall(index, [pair], [scene], 3)[0] for pair, scene in zip(pairs, scenes, strict=True)]
    assert all(0 < len(found) <= MOST for found in together)
    assert [len(found) for found in recall(index, pairs, scenes, 1)] == [1, 1, 1]
    best = together[0][0]
    assert best.contributes.startswith("rhythm: 4/4, ")
    assert best.row_hash == f"hash {int(best.tune_id, 16)}"


def test_recall_is_tried_on_scenes_of_every_feeling(index):
    stats = recall_stats(index, embed)
    assert stats.scenes == 64
    assert stats.found + stats.without.total() == 64
    assert stats.in_mode == 1
    assert 0 < stats.tunes <= 100
    assert 0 <= stats.tempo_off < 0.5


BAND = """X:1
M:4/4
L:1/8
Q:1/4=112
K:C
V:1
%%MIDI program 73
e3 f g4 | a4 c'4 | e3 f g4 | d'4 g4 |
V:2
%%MIDI program 24
CGEG CGEG | A,ECE A,ECE | F,CA,C F,CA,C | G,DB,D G,DB,D |
V:3
%%MIDI program 33
C,,4 C,,4 | A,,,4 A,,,4 | F,,,4 F,,,4 | G,,,4 G,,,4 |
V:4
%%MIDI channel 10
C,,2D,,2C,,2D,,2 | C,,2D,,2C,,2D,,2 | C,,2D,,2C,,2D,,2 | C,,2D,,2C,,2D,,2 |
"""


def test_a_reference_says_what_it_may_lend():
    assert lending_words(BAND) == (
        "rhythm: 4/4, moderate; harmony: C; "
        "instruments: Flute, Acoustic Guitar (nylon), Electric Bass (finger), drums; "
        "figure: alberti (Acoustic Guitar (nylon)); drums: 4 strokes a bar; bass: 2 notes a bar"
    )
    assert lending_words("no tune") == ""
