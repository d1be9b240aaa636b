from hypothesis import given
from hypothesis import strategies as st

from image2music.index.maintenance import find_changes, without_repeats
from image2music.types import CaptionedMidi

A, B = CaptionedMidi("a.mid", "a"), CaptionedMidi("b.mid", "b")

tables = st.dictionaries(st.sampled_from("123456"), st.builds(CaptionedMidi, st.sampled_from("xyz"), st.just("c")))


@given(wanted=tables, stored=tables)
def test_after_the_changes_the_table_holds_what_is_wanted(wanted, stored):
    changes = find_changes(list(wanted.items()), stored)
    left = {tune_id: source for tune_id, source in stored.items() if tune_id not in changes.removed}
    assert left | dict(changes.to_make) == wanted
    assert changes.unchanged == sum(stored.get(tune_id) == source for tune_id, source in wanted.items())


@given(table=tables)
def test_a_table_that_holds_what_is_wanted_has_no_changes(table):
    assert not find_changes(list(table.items()), table)


def test_another_caption_is_a_change():
    changes = find_changes([("1", CaptionedMidi("a.mid", "other"))], {"1": A})
    assert [tune_id for tune_id, _ in changes.changed] == ["1"]


def test_what_failed_before_is_not_tried_again():
    assert not find_changes([("1", A)], {}, hopeless=["1"])


def test_rows_at_kept_locations_stay():
    assert not find_changes([("1", A)], {"1": A, "2": B}, keep=["b.mid"])


def test_each_content_once_and_the_others_named():
    kept, failures = without_repeats([("1", B), ("1", A)])
    assert kept == [("1", A)]
    assert [(failure.uri, failure.reason) for failure in failures] == [("b.mid", "duplicate_tune")]
