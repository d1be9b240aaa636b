"""Scores made small for a page, the tune bar by bar, and pairs of tunes under the names A and B."""

import base64
import json
import re
import zlib
from xml.etree import ElementTree

import pytest
from fakes import two_voice_tune
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.expression import perform_abc
from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_midi, abc_to_score
from image2music.music.engraving import engrave
from image2music.report.bars import section_views
from image2music.report.pairs import Side, pair_json, pair_of, pairs_script, tune_script
from image2music.report.rounds import rival, row_candidates
from image2music.report.tunes import drawn_score, piano_roll, playback

TUNE = two_voice_tune(1, bars=8)
REPEATED = "X:1\nT:Twice\nM:2/4\nL:1/4\nQ:1/4=120\nK:C\n|: C D | E F :| G2 |]\n"


def drawn(abc):
    return drawn_score(abc, abc_to_midi(abc))


def test_every_note_of_the_tune_is_numbered_in_the_drawing_and_has_its_time():
    score = drawn(TUNE)
    heads = {int(number) for number in re.findall(r'data-n="(\d+)"', score.svg)}
    assert heads == {number for number, _, _ in score.notes}
    assert len(heads) == abc_to_score(TUNE).n_notes


def test_bars_are_numbered_from_1_and_staves_from_0():
    score = drawn(TUNE)
    assert list(map(int, re.findall(r'data-bar="(\d+)"', score.svg))) == list(range(1, 9))
    assert score.svg.count('class="v0"') == score.svg.count('class="v1"') == 8


def test_times_are_those_of_the_sound():
    abc = "X:1\nM:2/4\nL:1/4\nQ:1/4=60\nK:C\nC D | [Q:1/4=120] E F |]\n"
    assert [(start, end) for _, start, end in drawn(abc).notes] == [(0, 1), (1, 2), (2, 2.5), (2.5, 3)]
    (track,) = playback(abc_to_midi(abc), abc).tracks
    assert [start for start, *_ in track.notes] == [start for _, start, _ in drawn(abc).notes]


def test_a_note_in_a_repeat_lights_up_each_time():
    assert [number for number, _, _ in drawn(REPEATED).notes] == [0, 1, 2, 3, 0, 1, 2, 3, 4]


def test_the_small_drawing_is_xml_with_all_the_glyphs_that_it_uses_and_no_ids_of_verovio():
    svg = drawn(TUNE).svg
    root = ElementTree.fromstring(svg)
    glyphs = {it.get("id") for it in root.iter("g") if it.get("id")}
    used = {it.get("href", "")[1:] for it in root.iter("use")}
    assert used <= glyphs
    assert all(re.fullmatch(r"[0-9A-F]{4,5}", glyph) for glyph in glyphs)
    assert "<script" not in svg


def test_nothing_that_is_seen_gets_lost_and_little_weight_is_left():
    raw = engrave(abc_to_music_xml(TUNE), "screen").pages[0]
    svg = drawn(TUNE).svg
    assert svg.count("<use ") == raw.count("<use ")
    assert len(drawn(TUNE).packed()) < len(raw) / 4


def test_words_in_a_tune_stay_words():
    hostile = TUNE.replace("V:1", 'V:1 name="<b>&"', 1)
    svg = drawn(hostile).svg
    assert "<b>" not in svg
    assert "&lt;b&gt;&amp;" in svg


def test_what_is_packed_can_be_unpacked():
    score = drawn(TUNE)
    read = json.loads(zlib.decompress(base64.b64decode(score.packed())))
    assert read == {"svg": score.svg, "notes": [list(note) for note in score.notes]}


def test_the_roll_has_a_path_for_each_pitched_part_with_its_place():
    assert [place for place, _ in piano_roll(playback(abc_to_midi(TUNE), TUNE))] == [0, 1]


def test_without_a_plan_the_bars_tell_the_chords_that_are_heard():
    (section,) = section_views({"abc": TUNE, "tempo_qpm": 90.0}, [])
    assert [bar.number for bar in section.bars] == list(range(1, 9))
    assert all(bar.chord and not bar.instrument for bar in section.bars)


def test_a_repeated_bar_stands_once_and_a_silent_tune_has_none():
    (section,) = section_views({"abc": REPEATED, "tempo_qpm": 120.0}, [])
    assert [bar.number for bar in section.bars] == [1, 2, 3]
    assert section_views({"abc": "X:1\nK:C\nz4|\n", "tempo_qpm": 120.0}, []) == ()


def one_round(purpose, abc, critic, *, accepted=False):
    return {"purpose": purpose, "abc": abc, "critic": critic, "accepted": accepted, "reason": "x", "faults": []}


def test_the_rival_is_the_best_candidate_that_was_not_chosen_as_its_repairs_left_it():
    rounds = [
        one_round("draft", "first", 0.9, accepted=True),
        one_round("draft", "broken", None),
        one_round("repair", "mended", 0.5),
        one_round("draft", "third", 0.2),
        one_round("edit", "edited", 2.0),
    ]
    assert [each.number for each in row_candidates(rounds)] == [1, 2, 3]
    assert rival(rounds).round["abc"] == "mended"
    assert rival(rounds[:1]) is None
    assert rival([*rounds[:1], one_round("draft", "first", 0.9)]) is None


MARKS = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(MARKS, MARKS, st.text("ab", min_size=64, max_size=64))
def test_which_tune_is_a_depends_on_nothing_but_picture_and_tunes(one, two, image_id):
    first, second = Side("out", one, ()), Side("other", two, ("critic 1.00",))
    pair = pair_of(image_id, "a.jpg", "run", first, second)
    assert {pair.a.mark, pair.b.mark} == {one, two}
    again = pair_of(image_id, "a.jpg", "run", second, first)
    assert (again.a.mark, again.b.mark) == (pair.a.mark, pair.b.mark)


def test_the_chosen_tune_is_a_about_as_often_as_b():
    pairs = [pair_of(f"{n:064x}", "", "candidate", Side("x", "a", ()), Side("y", "b", ())) for n in range(400)]
    assert sum(pair.a.name == "x" for pair in pairs) == pytest.approx(200, abs=50)


def test_scripts_hold_nothing_that_ends_a_script():
    side = Side("</script>", "ab", ("\u2028 </script>",))
    assert "\u2028" not in "".join(
        pairs_script("r", [pair_json(pair_of("0" * 64, "</script>.jpg", "run", side, side))])
    )
    script = tune_script(TUNE, perform_abc(TUNE), "")
    assert script.startswith("heard({")
    assert json.loads(script.removeprefix("heard(").removesuffix(");\n"))["sound"] == ""
