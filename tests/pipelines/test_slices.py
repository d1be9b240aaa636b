import os
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slice_work import Environment, Shout

from image2music.errors import ConfigError, JobError
from image2music.storage.datasets import RunFile
from pipelines.runtime.engines import KILLS, InProcess, local_workers
from pipelines.runtime.slices import Ended, Slice, SliceResult, cut_by_name, cut_slices, run_slices

WORDS = st.lists(st.text("abcdef", min_size=1, max_size=4), unique=True, max_size=40)


@given(WORDS, st.integers(1, 9))
def test_every_item_is_in_one_slice_and_slices_are_full(words, most):
    slices = list(cut_slices(words, str, most=most))
    assert [word for slice in slices for word in slice.items] == words
    assert all(len(slice) == most for slice in slices[:-1])


@given(WORDS, st.integers(1, 30))
def test_slices_are_bounded_by_bytes_but_for_single_items(words, most_bytes):
    slices = cut_slices(words, str, size=len, most_bytes=most_bytes)
    assert all(len(slice) == 1 or sum(map(len, slice.items)) <= most_bytes for slice in slices)


@given(WORDS, st.integers(1, 9))
def test_neighbours_of_a_group_stay_together(words, most):
    words = sorted(words)
    slices = list(cut_slices(words, str, most=most, group=lambda word: word[0]))
    homes = {word: number for number, slice in enumerate(slices) for word in slice.items}
    assert all(homes[one] == homes[other] for one in words for other in words if one[0] == other[0])
    assert all(len(slice) <= most or len({word[0] for word in slice.items}) == 1 for slice in slices)


def test_slices_are_cut_as_they_are_wanted():
    endless = cut_slices(map(str, count()), str, most=2)
    assert [next(endless).items, next(endless).items] == [("0", "1"), ("2", "3")]


@given(WORDS)
def test_a_slice_is_known_by_its_content(words):
    assert [slice.id for slice in cut_slices(words, str)] == [slice.id for slice in cut_slices(words, str)]
    assert len({slice.id for slice in cut_slices(words, str, most=1)}) == len(words)


def test_a_new_item_changes_one_slice_that_is_cut_by_names():
    words = [f"{number:04}" for number in range(2000)]
    before = {slice.id for slice in cut_by_name(words, str, 20)}
    after = {slice.id for slice in cut_by_name([*words[:700], "0699b", *words[700:]], str, 20)}
    assert 50 < len(before) < 200
    assert len(before - after) <= 2
    assert max(len(slice) for slice in cut_by_name(words, str, 20)) <= 80


def test_halves_hold_the_items_and_remember_where_they_come_from():
    whole = Slice(("a", "b", "c"), (1, 2, 3))
    first, second = whole.halves()
    assert (first.items, second.items) == ((1,), (2, 3))
    assert second.halves()[0].earlier == (whole.id, second.id)


class Scripted:
    """An engine that loses a slice each time that it holds one of these items, and never does two at once."""

    is_here = True

    def __init__(self, deadly=(), tries=3, sour=()):
        self.deadly, self.tries, self.sour = deadly, tries, sour
        self.out, self.most_out, self.done = [], 0, []

    def room(self):
        return 2

    def submit(self, slice, work):
        self.out.append(slice)
        self.most_out = max(self.most_out, len(self.out))

    def next(self):
        slice = self.out.pop(0)
        if set(slice.items) & set(self.deadly):
            return Ended(slice)
        if set(slice.items) & set(self.sour):
            return Ended(slice, error=ValueError("it is sour"))
        self.done += slice.items
        return Ended(slice, SliceResult({"done": len(slice)}))


@pytest.mark.parametrize("deadly", [(), ("7",), ("0", "1", "30")])
def test_items_that_end_their_workers_are_found_and_all_others_done(deadly, tmp_path):
    engine = Scripted(deadly)
    slices = cut_slices(map(str, range(40)), str, most=16)
    total = Counter()
    for ended in run_slices(slices, Shout(str(tmp_path)), engine):
        total.update(ended.result.counters)
    assert sorted(engine.done, key=int) == [str(number) for number in range(40) if str(number) not in deadly]
    assert total["shout.failed"] == len(deadly)
    assert {path.name for path in tmp_path.iterdir()} == {f"gave up {item}" for item in deadly}


def test_no_more_slices_are_out_than_there_is_room_for():
    engine = Scripted()
    drawn = []
    slices = (drawn.append(slice.id) or slice for slice in cut_slices(map(str, range(9)), str, most=1))
    for _ in run_slices(slices, Shout(""), engine):
        assert len(drawn) <= len(engine.done) + 2
    assert engine.most_out == 2


def test_a_slice_that_raises_is_tried_again_and_then_ends_the_job():
    engine = Scripted(sour=("3",))
    with pytest.raises(JobError, match="the job broke: it is sour"):
        list(run_slices(cut_slices(map(str, range(9)), str, most=1), Shout(""), engine))


def test_in_this_process_slices_are_done_in_order(tmp_path):
    results = run_slices(cut_slices(["a", "b", "c"], str, most=2), Shout(str(tmp_path)), InProcess())
    assert [ended.result.value for ended in results] == [["A", "B"], ["C"]]


def test_what_a_slice_raises_in_this_process_is_raised(tmp_path):
    with pytest.raises(ValueError, match="sour"):
        list(run_slices(cut_slices(["sour"], str), Shout(str(tmp_path)), InProcess()))


def test_what_killed_this_process_three_times_is_halved_and_in_the_end_left_out(tmp_path):
    attempts = RunFile(str(tmp_path / "attempts.json"))
    (whole,) = cut_slices(["a", "b"], str)
    attempts.replace({whole.id: 3, whole.halves()[1].id: 3})
    ended = list(run_slices([whole], Shout(str(tmp_path)), InProcess(attempts)))
    assert [one.result.counters for one in ended] == [{"shout.done": 1}, {"shout.failed": 1}]
    assert (tmp_path / "gave up b").exists()
    assert attempts.read() == {}


def test_a_slice_that_is_begun_is_noted_until_it_ends(tmp_path):
    attempts, noted = RunFile(str(tmp_path / "attempts.json")), []

    class Look(Shout):
        def do(self, slice):
            noted.append(attempts.read())
            return super().do(slice)

    (slice,) = cut_slices(["a"], str)
    list(run_slices([slice], Look(str(tmp_path)), InProcess(attempts)))
    with pytest.raises(ValueError, match="sour"):
        list(run_slices(cut_slices(["sour"], str), Look(str(tmp_path)), InProcess(attempts)))
    assert noted[0] == {slice.id: 1}
    assert attempts.read() == {}


@pytest.mark.process
def test_workers_of_this_machine_survive_poison_and_accidents(tmp_path):
    words = [*map(str, range(12)), "poison", "once", "last"]
    with local_workers(2) as engine:
        ended = list(run_slices(cut_slices(words, str, most=4), Shout(str(tmp_path)), engine))
        with pytest.raises(JobError, match="sour"):
            list(run_slices(cut_slices(["sour"], str), Shout(str(tmp_path)), engine))
        with pytest.raises(ConfigError, match=r"worker tcp://127.0.0.1:\d+ cannot help: its rules are older"):
            list(run_slices(cut_slices(["a"], str), Shout(str(tmp_path), unfit=True), engine))
        (told,) = run_slices(cut_slices(["MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS"], str), Environment(), engine)
        assert told.result.value == [os.environ.get("MALLOC_TRIM_THRESHOLD_"), "1"]
    made = {path.name for path in tmp_path.iterdir()} - {"tries"}
    assert made == {*map(str.upper, words), "gave up poison"}
    done = [word for one in ended for word in one.result.value or ()]
    assert sorted(done) == sorted({*map(str.upper, words)} - {"POISON"})
    tries = Counter(line.split()[0] for line in (tmp_path / "tries").read_text().splitlines())
    mixed = list(cut_slices(words, str, most=4))[-1]
    poisoned, _ = mixed.halves()
    assert tries[mixed.id] == KILLS
    # It may also have waited with a worker that the other half killed, which counts against it. A harmless slice is
    # done again where its worker was killed before its result was fetched, however often that happens.
    assert 1 <= tries[poisoned.id] <= KILLS
    assert len({one.worker for one in ended}) >= 2
