"""Texts that mean harm or nothing: every reader ends quickly and raises nothing but AbcError."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_abc import SNIPPETS, mutated, run
from benchmarks.generated_tunes import sample_tune
from image2music.abc.checker import check

H = "X:1\nT:t\nM:4/4\nL:1/8\nQ:1/4=120\nK:C\n"
N = 20_000
BOMBS = {
    "open brackets": H + "[" * N,
    "closed brackets": H + "]" * N,
    "nested chords": H + "[" * 3000 + "C" + "]" * 3000,
    "nested parentheses": H + "(" * 6000 + "C8" + ")" * 6000,
    "nested braces": H + "{" * 5000 + "C" + "}" * 5000,
    "open fields": H + "[K:" * (N // 3),
    "open grace notes": H + "{abc" * (N // 4),
    "open strings": H + '"' * (N - 1),
    "string chords": H + '["' * (N // 2),
    "exclamation marks": H + "!a" * (N // 2),
    "one long note": H + "C" + "'" * N,
    "one long number": H + "C" + "9" * N,
    "slashes": H + "C" + "/" * N,
    "letters": H + "hijk " * (N // 5),
    "one long word": H + "h" * N,
    "one long word of notes": H + "a" * N + "h",
    "chord symbols": H + "Am " * (N // 3),
    "bars": H + "C|" * (N // 2),
    "section ends": H + "C||" * (N // 3),
    "ties": H + "C8-|" * (N // 4),
    "lost ties": H + "C-D-" * (N // 4),
    "overlays": H + "C&" * (N // 2),
    "tuplets": H + "(3" * (N // 2),
    "repeats": H + "|: " * 2000 + "C " + ":| " * 2000,
    "endings": H + "|1 C" * (N // 4),
    "second endings": H + "[2C" * (N // 3),
    "tunes": "X:1\nK:C\nC|\n" * (N // 11),
    "headers": "X:1\n" * (N // 4),
    "voices": H + "".join(f"[V:{n}]C8|" for n in range(1500)),
    "programs": H + "".join(f"%%MIDI program {n % 128}\nC8|\n" for n in range(500)),
    "parts": H.replace("K:", "P:" + "(" * 9000 + "A9" + ")9" * 9000 + "\nK:") + "P:A\nC8|\nP:B\nD8|\n",
    "macros": "X:1\nm:~n=~n~n\nK:C\n~C8 |]\n",
    "blank lines": H + "C8|\n\n" * (N // 5),
    "carriage returns": H + "\r" * N,
    "backslashes": H + "\\\n" * (N // 2),
    "sharps behind": H + "C#\n" * (N // 3),
    "zeros": "\0" * N,
    "json": '{"a":' * (N // 5),
    "fences": "```\n" * (N // 4),
    "lone surrogates": H + "\ud800" * 100 + "C8|",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_harmless(text: str) -> None:
    start = time.process_time()
    run(text)
    assert time.process_time() - start < 4  # checking, mending and playing together, on a slow machine


def test_checking_takes_time_in_proportion_to_the_text() -> None:
    def seconds(text: str) -> float:
        runs = []
        for _ in range(3):
            start = time.process_time()
            check(text)
            runs.append(time.process_time() - start)
        return min(runs)

    tune = sample_tune(3).abc()
    head, music = tune.split("K:", 1)
    once = seconds(head + "K:" + music * 20)
    assert seconds(head + "K:" + music * 200) < 30 * once


def test_broken_tunes_raise_nothing() -> None:
    rng = random.Random(11)
    texts = [sample_tune(seed).abc() for seed in range(20)]
    for _ in range(60):
        run(mutated(rng.choice(texts), texts, rng)[:8000])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*SNIPPETS, "C", "D2", " ", "[CEG]", "K:G\n"]), max_size=80).map("".join))
def test_any_heap_of_abc_raises_nothing(text: str) -> None:
    run(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_raises_nothing(text: str) -> None:
    run(text)


NUMBERS = [
    "²",
    "+-5",
    "٣",
    "१२",
    "\uff11\uff12",
    "½",
    "--",
    "+",
    "-",
    "9" * 30,
    "1e3",
    "0",
    "-0",
    "½/4",
    "²/²",
    "1/²",
    "²:3",
]
PLACES = [
    "%%MIDI program {}\n", "%%MIDI program 1 {}\n", "%%MIDI channel {}\n", "%%MIDI transpose {}\n",
    "%%MIDI control 7 {}\n", "%%MIDI ratio {} 1\n", "%%MIDI drummap F {}\n", "%%percmap F {}\n", "I:MIDI=program {}\n",
    "X:{}\n", "Q:1/4={}\n", "Q:C{}=120\n", "Q:{}\n", "M:{}/4\n", "M:4/{}\n", "M:{}+2/8\n", "L:1/{}\n", "L:{}\n",
    "K:C octave={}\n", "V:1 transpose={}\n", "K:D ^{}c\n", "P:A{}\n", "({}CDE", "(3:{}:2CDE", "C{}", "C/{}", "[CE]{}",
    "z{}", "Z{}|", "|{} C", "[{} C", "^{}/{}C", "y{}", "{{C{}}}D", "[M:{}/4]", "[K:D ={}c]", "[I:MIDI program {}]",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.builds(str.format, st.sampled_from(PLACES), *[st.sampled_from(NUMBERS) | st.text(max_size=4)] * 2)))
def test_whatever_stands_for_a_number_raises_nothing(pieces: list[str]) -> None:
    run(H + "".join(pieces) + "|\nC8|]\n")
    run("X:1\n" + "".join(pieces) + "\nK:C\nC8|]\n")


@pytest.mark.parametrize("number", ["+-5", "²", "٣", "", "128", "-1", "9" * 30])
def test_a_program_that_is_no_number_is_left_out_with_a_warning(number: str) -> None:
    assert [finding.code for finding in check(H + f"%%MIDI program {number}\nC8|]\n")] == ["bad-midi-directive"]


@pytest.mark.parametrize("digit", ["²", "٣", "\uff13"])
@pytest.mark.parametrize("music", ["C{}", "({}CDE", "C/{}", "z{}", "[CE]{}"])
def test_only_the_digits_of_ascii_are_numbers(digit: str, music: str) -> None:
    assert "unexpected-character" in [finding.code for finding in check(H + music.format(digit) + "|]\n")]
