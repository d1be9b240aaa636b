"""Do the grammars hold whatever the model wants? Plans and tunes by a model of random weights.

`python -m benchmarks.random_tunes [--tunes 100]` prints, for each form, how many answers are what they should be:

- plans: valid by the schema, and without a fault when code has mended them;
- tunes whose header the model writes, of two to four voices: no error, every bar full, all voices as long;
- tunes to those plans: the same, and with the plan's voices, bars, dynamics and tempos;
- tunes by the small steps: the plan in parts, the bars by twos; a valid draft with the plan's voices and bars;
- lines of a few bars and single bars: full, as many as asked for;
- for comparison, tunes without a grammar.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from image2music.abc.checker import check, read_motif
from image2music.abc.diagnostics import Severity
from image2music.abc.parser import parse
from image2music.composers.base import ComposeRequest, Notes, PlanningRequest, WriteRequest
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.conversations import AnswerLengths, Conversation, Message, Question
from image2music.composers.chat.engine.transformers_backend import TransformersBackend, load_transformers_backend
from image2music.composers.constrained.forms import PROSE, BarsOfLine, Form, JsonForm, LinesForm, TuneForm
from image2music.errors import Image2MusicError
from image2music.music.planning.checks import check_plan
from image2music.music.planning.mending import consistent
from image2music.music.planning.plan import Plan, plan_of_json
from image2music.music.planning.schema import PLAN_SCHEMA, decodable_plan_schema

FAMILY, BATCH = "qwen2_5_vl", 20
PLAN_TOKENS, TUNE_TOKENS, BAR_TOKENS, LINE_TOKENS = 1400, 300, 16, 30
BARS, VOICES, BARS_A_LINE = (4, 16), (2, 4), 4

Wanted = Callable[[str], bool]


def is_whole(abc: str, voices: int = 2) -> bool:
    """No error, which a wrong bar is, and so many voices with the same number of bars, at least one."""
    if any(finding.severity is Severity.ERROR for finding in check(abc)):
        return False
    bars = bars_of_voices(abc)
    return set(bars) == {str(number) for number in range(1, voices + 1)} and len(set(bars.values())) == 1


def bars_of_voices(abc: str) -> dict[str, int]:
    """Bars of each voice."""
    spans = [span for tune in parse(abc).tunes for span in tune.spans]
    return {voice: max(one.bar for one in spans if one.voice == voice) for voice in {span.voice for span in spans}}


def form_of_plan(plan: Plan) -> LinesForm:
    """A whole tune to a plan: the header, and systems of at most four bars that begin where sections do."""
    head = f"X:1\nT:Study\nM:{plan.meter}\nL:1/8\nQ:1/4={plan.sections[0].qpm:g}\nK:{plan.key}\n"
    head += "".join(f"V:{at}\n%%MIDI program {voice.program}\n" for at, voice in enumerate(plan.voices, 1))
    lines = []
    for section in plan.sections:
        for first in range(section.first, section.last + 1, BARS_A_LINE):
            last = min(first + BARS_A_LINE - 1, section.last)
            head += f"% bars {first}-{last}: {' | '.join(plan.harmony[first - 1 : last])}\n"
            for number in range(1, len(plan.voices) + 1):
                begins = first == section.first
                tempo = f"[Q:1/4={section.qpm:g}]" if begins and number == 1 else ""
                sign = f"!{section.dynamic}!" if begins else ""
                lines.append(BarsOfLine(f"{head}[V:{number}] {tempo}{sign}", last - first + 1))
                head = ""
    return LinesForm(plan.meter, tuple(lines))


def keeps_plan(plan: Plan) -> Wanted:
    """Whether a tune is whole and has the plan's voices, bars, dynamics and tempos."""
    form = form_of_plan(plan)

    def holds(abc: str) -> bool:
        said = all(line.prefix in abc for line in form.lines)
        return said and is_whole(abc, len(plan.voices)) and set(bars_of_voices(abc).values()) == {plan.bars}

    return holds


def keeps_lines(form: LinesForm) -> Wanted:
    """Whether lines, put behind a header, are whole and each has its bars."""

    def holds(text: str) -> bool:
        lines = text.splitlines()
        if len(lines) != len(form.lines):
            return False
        for line, given in zip(lines, form.lines, strict=True):
            abc = f"X:1\nT:Study\nM:{form.meter}\nL:1/8\nK:C\n{line.removeprefix(given.prefix).strip()}\n"
            if not line.startswith(given.prefix) or not is_whole(abc, 1) or bars_of_voices(abc) != {"1": given.bars}:
                return False
        return True

    return holds


def keeps_schema(text: str) -> bool:
    """Whether a plan keeps `PLAN_SCHEMA`, as llguidance reads it, letter by letter, and can be read."""
    import llguidance

    matcher = llguidance.LLMatcher(_bytes(), llguidance.LLMatcher.grammar_from_json_schema(json.dumps(PLAN_SCHEMA)))
    if not matcher.consume_tokens(list(text.encode())) or not matcher.is_accepting():
        return False
    try:
        plan_of_json(json.loads(text))
    except (ValueError, Image2MusicError):
        return False
    return True


def _bytes() -> object:
    """A tokenizer whose tokens are the bytes."""
    import llguidance

    class Bytes:
        eos_token_id, bos_token_id = 256, None
        tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
        special_token_ids = (256,)

        def __call__(self, text: bytes | str) -> list[int]:
            return list(text.encode() if isinstance(text, str) else text)

    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(Bytes()))


def mended(text: str) -> Plan:
    """The plan that code makes of an answer."""
    return consistent(plan_of_json(json.loads(text)), read_motif).plan


def main(arguments: list[str] | None = None) -> None:
    """Command line; exit code 1 where an answer is not what it should be."""
    from tests.tiny_vlms import save

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tunes", type=int, default=100)
    tunes = parser.parse_args(arguments).tunes
    with tempfile.TemporaryDirectory() as folder:
        backend = load_transformers_backend(str(save(FAMILY, Path(folder) / FAMILY)))
    holds = all(list(_results(backend, tunes)))
    abc = _answers(backend, [(PROSE, TUNE_TOKENS)] * tunes)
    print(f"tunes of 2 voices without a grammar: {sum(map(is_whole, abc))} of {tunes}")
    sys.exit(not holds)


def _results(backend: TransformersBackend, tunes: int) -> Iterator[bool]:
    """Print how many answers of each form are right; whether all are."""
    plan_form = JsonForm.of("plan", decodable_plan_schema(BARS, VOICES))
    answers = _answers(backend, [(plan_form, PLAN_TOKENS)] * tunes)
    yield _say("plans valid by the schema", [keeps_schema(text) for text in answers])
    plans = [mended(text) for text in answers]
    yield _say("of these consistent after mending", [not check_plan(plan, read_motif).faults for plan in plans])
    for voices in (1, 2, 3, 4):
        abc = _answers(backend, [(TuneForm(voices), TUNE_TOKENS + 100 * voices)] * tunes)
        yield _say(f"tunes of {voices} voices", [is_whole(one, voices) for one in abc])
    forms = [form_of_plan(plan) for plan in plans]
    abc = _answers(backend, [(form, _tokens(form)) for form in forms])
    right = [keeps_plan(plan)(one) for plan, one in zip(plans, abc, strict=True)]
    yield _say("tunes with the plan's voices, bars, dynamics and tempos", right)
    yield _say("tunes by the small steps, plan in parts and bars by twos", by_small_steps(backend, tunes))
    for name, form in {
        "lines of 4 bars": LinesForm("3/4", (BarsOfLine("1-4 [V:1]", 4), BarsOfLine("5-8 [V:2]", 4))),
        "single bars": LinesForm("6/8", (BarsOfLine("", 1),)),
    }.items():
        texts = _answers(backend, [(form, _tokens(form))] * tunes)
        yield _say(name, [keeps_lines(form)(text) for text in texts])


def by_small_steps(backend: TransformersBackend, tunes: int) -> list[bool]:
    """Whether each of so many pictures gets a valid draft with its plan's voices and bars, without any repair."""
    from PIL import Image

    composer = ChatComposer(backend, AnswerLengths(description=400, motivation=20, sketch=700))
    right = []
    for start in range(0, tunes, BATCH):
        numbers = range(start, min(start + BATCH, tunes))
        images = [Image.new("RGB", (56, 56), (number * 7 % 256, 120, 200)) for number in numbers]
        requests = [
            ComposeRequest(f"{number:064x}", image, description, (), seed=number, steps="small")
            for number, image, description in zip(numbers, images, composer.look(images), strict=True)
        ]
        notes: list[Notes] = [{} for _ in requests]
        asked = [PlanningRequest(one, notes=kept) for one, kept in zip(requests, notes, strict=True)]
        plans = composer.plan(asked)
        written = [WriteRequest(one, plan, notes=kept) for one, plan, kept in zip(requests, plans, notes, strict=True)]
        for plan, abc in zip(plans, composer.write(written), strict=True):
            whole = is_whole(abc, len(plan.voices)) and set(bars_of_voices(abc).values()) == {plan.bars}
            right.append(whole and not check_plan(plan, read_motif).faults)
    return right


def _tokens(form: LinesForm) -> int:
    """Enough for a tokenizer that knows no words: a token a letter of what is given."""
    given = sum(len(line.prefix) for line in form.lines)
    return given + LINE_TOKENS * len(form.lines) + BAR_TOKENS * sum(line.bars for line in form.lines) + LINE_TOKENS


def _say(name: str, right: Sequence[bool]) -> bool:
    print(f"{name}: {sum(right)} of {len(right)}", flush=True)
    return all(right)


def _answers(backend: TransformersBackend, asked: Sequence[tuple[Form, int]]) -> list[str]:
    from PIL import Image

    talk = Conversation(Image.new("RGB", (56, 56), (90, 120, 200)), (Message("user", "Write a tune."),))
    questions = [Question(talk, seed, tokens, form) for seed, (form, tokens) in enumerate(asked)]
    found: list[str] = []
    for start in range(0, len(questions), BATCH):
        found += backend.generate(questions[start : start + BATCH])
    return found


if __name__ == "__main__":
    main()
