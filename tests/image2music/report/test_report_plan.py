"""The plan, what is heard and the candidates on a picture's page; and rows of a release that knew none of it."""

from datetime import UTC, datetime

import pyarrow.dataset as ds
import pytest
from fakes import two_voice_tune
from markupsafe import escape

from image2music.abc.playback import abc_to_midi
from image2music.music.metrics import METRIC_NAMES
from image2music.report.bars import plan_view, section_views
from image2music.report.page import picture_page
from image2music.report.rounds import FaultView, fault_lines, round_views
from image2music.report.site import Neighbours, Site, card_of, render_picture
from image2music.rows import plan_row
from tests.test_upgrades import FIXTURE

METRICS = dict.fromkeys(METRIC_NAMES, 1.0)
TUNE = two_voice_tune(1, bars=8)


def fault(bar, message="parallel octaves"):
    return {"kind": "parallel_octaves", "bar": bar, "beat": 2.5, "voices": [1, 2], "message": message}


def one_round(purpose, abc=TUNE, *, accepted, reason="better", faults=(), critic=0.0):
    return {"purpose": purpose, "abc": abc, "accepted": accepted, "reason": reason, "diagnostics": [],
            "metrics": METRICS, "faults": list(faults), "critic": critic}  # fmt: skip


PLAN = {
    "title": "Dunes", "idea": "the ridge becomes a held note", "key": "D", "meter": "4/4", "bars": 8, "style": "hymn",
    "voices": [
        {"id": 1, "name": "Flute", "program": 73, "low": 60, "high": 90, "role": "melody", "derived": False},
        {"id": 2, "name": "Cello", "program": 42, "low": 36, "high": 60, "role": "bass", "derived": True},
    ],
    "sections": [
        {"name": "A", "first": 1, "last": 4, "picture_part": "the sand", "qpm": 72.0, "dynamic": "p", "swell": "grow",
         "cadence": "half", "rhythm": "", "new": "",
         "parts": [{"voice": 1, "role": "melody", "family": None, "degrees": ""},
                   {"voice": 2, "role": "figure", "family": "alberti", "degrees": ""}]},
        {"name": "B", "first": 5, "last": 8, "picture_part": "", "qpm": 80.0, "dynamic": "f", "swell": "none",
         "cadence": "full", "rhythm": "", "new": "",
         "parts": [{"voice": 1, "role": "melody", "family": None, "degrees": ""}]},
    ],
    "harmony": ["D", "G", "A", "A", "D", "G", "A", "D"], "melody": [], "motif": None, "device": None,
    "surprise": None, "climax": {"bar": 6, "voice": 1, "pitch": 81},
    "silences": [{"voice": 2, "first": 3, "last": 4}], "free_bars": [], "ending": "",
    "unmet": ["instruments 'harp': the plan has none <b>"],
}  # fmt: skip


def row(**more):
    return {
        "image_id": "ab" * 32, "image_uri": "a.jpg", "image_uris": ["a.jpg"], "album": "", "width": 4, "height": 3,
        "description": "Sand.", "motivation": "Because.", "references": [], "abc": TUNE, "title": "Dunes", "key": "D",
        "meter": "4/4", "tempo_qpm": 72.0, "midi": abc_to_midi(TUNE), "metrics": METRICS, "attention": [],
        "rounds": [one_round("draft", accepted=True)], "composer_id": "c", "embedder_id": "e", "index_uri": "i",
        "index_version": 1, "settings_hash": "0" * 64, "seed": 0, "seconds": 1.0,
        "composed_at": datetime(2026, 1, 1, tzinfo=UTC),
    } | more  # fmt: skip


def html_of(shown):
    site = Site("out", failures=0, include_references=False, albums={shown["album"]: "photos"})
    return render_picture(site, card_of(shown), picture_page(shown), "", Neighbours(None, None))


def test_a_section_says_what_each_voice_does_and_over_which_chords():
    first, second = section_views(row(plan=PLAN), [fault(3)])
    assert (first.span, first.picture_part, first.dynamic) == ("1-4", "the sand", "p, grow")
    assert first.parts == ("melody", "figure (alberti)")
    assert second.parts == ("melody", "rest")
    assert [bar.chord for bar in second.bars] == ["D", "G", "A", "D"]
    assert [bar.number for bar in first.bars if bar.faults] == [3]
    assert {bar.instrument for bar in first.bars} == {"Flute"}


def test_the_places_that_matter_are_told_by_instrument_and_pitch():
    assert plan_view(PLAN).events == ("climax: bar 6, Flute on A5", "silence: Cello, bar 3-4")


def test_every_plan_that_a_row_can_hold_is_shown():
    composed = plan_row(None)
    assert plan_view(composed) is None


def test_the_page_shows_the_plan_the_wishes_and_what_is_not_met():
    page = html_of(row(plan=PLAN, critic=0.4, wishes={"style": "hymn", "mood": None, "instruments": "flute, harp"}))
    assert "the ridge becomes a held note" in page
    assert "Cello*" in page
    assert "style hymn; instruments flute, harp" in page
    assert "not met: instruments &#39;harp&#39;: the plan has none &lt;b&gt;" in page


def test_faults_are_those_of_the_tune_that_stands():
    rounds = [
        one_round("draft", accepted=True, faults=[fault(3), fault(7)]),
        one_round("edit", accepted=True, faults=[fault(7)]),
        one_round("edit", accepted=False, reason="new_fault", faults=[fault(7), fault(8)]),
    ]
    shown = row(rounds=rounds, critic=0.25)
    assert picture_page(shown).faults == ["bar 7 beat 2.5: parallel octaves"]
    assert "Critic: <strong>0.25</strong>" in html_of(shown)


def test_an_edit_tells_what_it_took_away_and_what_it_brought():
    before = one_round("draft", accepted=True, faults=[fault(3), fault(7)])
    edit = one_round("edit", accepted=False, reason="new_fault", faults=[fault(7), fault(8)])
    assert round_views([before, edit])[1].faults == (
        FaultView("gone", "bar 3 beat 2.5: parallel octaves"),
        FaultView("new", "bar 8 beat 2.5: parallel octaves"),
    )


def test_of_several_candidates_one_is_chosen_and_edits_go_on_from_it():
    first, second, third = (f"{TUNE}%{number}\n" for number in range(3))
    rounds = [
        one_round("draft", first, accepted=False, reason="less_musical"),
        one_round("draft", second, accepted=True, reason="chosen"),
        one_round("draft", third, accepted=False, reason="no_better"),
        one_round("edit", second, accepted=True),
    ]
    views = round_views(rounds)
    assert [view.verdict for view in views] == ["not chosen", "chosen", "not chosen", "taken"]
    assert [view.kept for view in views[:3]] == [None, None, None]
    assert views[3].kept == 1.0  # against the chosen one, not the last one written


def test_a_broken_draft_that_was_repaired_into_the_chosen_tune_is_not_another_candidate():
    rounds = [
        one_round("draft", accepted=False, reason="invalid"),
        one_round("repair", accepted=True, reason="chosen"),
        one_round("draft", accepted=False, reason="more_faults"),
        one_round("repair", accepted=False, reason="more_faults"),
    ]
    assert [view.verdict for view in round_views(rounds)] == ["not taken", "chosen", "not chosen", "not chosen"]


def test_a_reference_says_what_it_may_lend():
    reference = {"tune_id": "c" * 64, "location": "a.mid", "caption": "", "matched_by": "text", "similarity_text": 0.5,
                 "similarity_image": None, "abc": TUNE, "contributes": "rhythm: 3/4, slow"}  # fmt: skip
    assert "May lend rhythm: 3/4, slow." in html_of(row(references=[reference]))


@pytest.mark.parametrize("number", range(3))
def test_a_row_of_the_release_before_is_shown_without_what_it_has_not(number):
    old = ds.dataset(FIXTURE / "out" / "compositions").to_table().to_pylist()[number]
    page = html_of(old)
    assert escape(old["title"]) in page
    assert 'id="plan-title"' not in page
    assert 'id="heard-title"' not in page
    assert [view.critic for view in round_views(old["rounds"])] == [None] * len(old["rounds"])
    assert fault_lines(old["rounds"][0]) == []
