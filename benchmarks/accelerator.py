"""The chat composer on a GPU, with random weights of real sizes: `python -m benchmarks.accelerator --minutes 10`.

Architectures and sizes are those of Qwen3-VL-2B and Qwen2.5-VL-7B (their published configurations); the weights are
random, made on the device, so nothing is downloaded and the answers are gibberish of full length. What does not depend
on the weights' values is measured: tokens a second with and without the grammar, by batch; seconds for the attention
maps of one picture; whole conversations of the paper's chain, and of the plan protocol by its full steps, with and
without maps and (by plan) with and without the forms' grammars; peak memory beside what a dry run calculates.

The plan protocol's questions are those of a recorded run (`tests/fixtures/recorded`), word for word, about pictures of
their own. Random weights end no answer, so each is given the length that a real model's has (`ANSWERS`); lines and JSON
under a grammar may end sooner, and their seconds are scaled up to the same lengths. What stands in the conversation is
the recorded answer, which is therefore read once more than a model reads its own. An estimate is printed first; where
the minutes do not suffice for whole answers, a share of each is decoded, and its seconds are scaled up.

`--size tiny --minutes 1` tries the program on any machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SIZES = ("qwen3_vl_2b", "qwen2_5_vl_7b")
PICTURE = (1024, 768)
BATCHES = (1, 8, 32)
TOKENS = 128
"""Tokens of each answer whose decoding is timed."""

CONVERSATION_BATCH = 32
DESCRIPTION, TUNE_TOKENS, MOTIVATION = 150, 600, 200
"""Tokens of the answers in a whole conversation: what real models write at the present prompts."""

ANSWERS = {"look": 500, "sketch": 500, "plan": 1600, "melody": 700, "write": 1000, "edit": 700, "motivation": 400}
"""Tokens of each answer by the full steps of the plan protocol, as recorded ones have with usual tokenizers."""
STEP_SECONDS = 0.04
"""A step of decoding, whatever the batch, before it was measured: it was 0.022 to 0.040 on one H100."""
SLOWER_BY_GRAMMAR = 1.5
"""How much longer the estimate thinks that a step with a grammar takes."""
LEAST_SHARE = 1 / 16
BUILD_SECONDS, READING_SECONDS = 20.0, 15.0
"""What the estimate thinks that building a model, and reading a batch's prompts once, take."""


@dataclass(frozen=True)
class Decoding:
    """Tokens a second over a batch, the prompt's prefill left out, and the peak of memory in GiB."""

    form: str
    batch: int
    tokens_per_second: float
    milliseconds_per_step: float
    peak_gib: float


@dataclass(frozen=True)
class PlanFigures:
    """Whole conversations of the plan protocol for a batch of pictures; seconds as if every answer were whole.

    Attributes:
        held: whether answers kept to their forms' grammars. share: of each answer that was decoded. seconds: by step,
        prompt and answer, the batch together. tokens: that were decoded. decoding_seconds: what they took. kept:
        answers that are as their form asks, `of` so many with a form; one that was cut is not. replayed_tokens: of one
        conversation whose attention is measured. peak_gib: of all steps.
    """

    held: bool
    batch: int
    share: float
    seconds: dict[str, float]
    tokens: int
    decoding_seconds: float
    kept: int
    of: int
    maps_seconds: float
    replayed_tokens: int
    peak_gib: float

    @property
    def tokens_per_second(self) -> float:
        """Over the batch, prompts left out."""
        return self.tokens / max(self.decoding_seconds, 1e-9)

    def pictures_per_hour(self, *, maps: bool) -> float:
        """Pictures that go through all steps in an hour, with attention measured or not."""
        return 3600 * self.batch / (sum(self.seconds.values()) + (self.maps_seconds if maps else 0.0))


@dataclass(frozen=True)
class Figures:
    """What was measured of one model. Times in seconds, memory in GiB."""

    size: str
    device: str
    billion_weights: float
    weights_gib: float
    picture_tokens: int
    decoding: tuple[Decoding, ...]
    attention_seconds: float
    attention_peak_gib: float
    conversation_batch: int
    conversation_seconds: dict[str, float]
    conversation_peak_gib: float
    calculated_gib: float
    by_plan: tuple[PlanFigures, ...] = ()

    @property
    def pictures_per_hour(self) -> float:
        """Whole conversations with maps."""
        return 3600 * self.conversation_batch / sum(self.conversation_seconds.values())

    @property
    def pictures_per_hour_without_maps(self) -> float:
        """The same when nothing is replayed."""
        without = sum(seconds for step, seconds in self.conversation_seconds.items() if step != "maps")
        return 3600 * self.conversation_batch / without


def build(size: str, device: str) -> Any:
    """Return a `TransformersBackend` with random weights of a real size on the device."""
    import torch

    from image2music.composers.chat.engine.loading import ChatModel, LoadedModel
    from image2music.composers.chat.engine.transformers_backend import PrefixCachedGenerator, TransformersBackend

    tokenizer = _tokenizer()
    config, processor, kind = _qwen3(tokenizer) if size == "qwen3_vl_2b" else _qwen2_5(tokenizer, size)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    with torch.device(device):
        model = kind(config)
    torch.set_default_dtype(before)
    model = model.to(device).eval()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    chat = ChatModel(LoadedModel(model, processor, f"random:{size}"))
    return TransformersBackend(f"random:{size}", chat, PrefixCachedGenerator(chat))


def _tokenizer() -> Any:
    from benchmarks.large_vocabulary import large_tokenizer
    from tests.tiny_vlms import PAD, QWEN

    tokenizer = large_tokenizer()
    tokenizer.padding_side = "left"
    tokenizer.add_special_tokens({"pad_token": PAD, "additional_special_tokens": ["<|im_start|>", *QWEN]})
    return tokenizer


def _token_ids(tokenizer: Any) -> dict[str, int]:
    names = ("vision_start_token_id", "image_token_id", "video_token_id")
    texts = ("<|vision_start|>", "<|image_pad|>", "<|video_pad|>")
    return dict(zip(names, tokenizer.convert_tokens_to_ids(list(texts)), strict=True))


_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _qwen2_5(tokenizer: Any, size: str) -> tuple[Any, Any, Any]:
    """Qwen2.5-VL-7B's published configuration, or a tiny one of the same kind."""
    import transformers as t

    tiny = size == "tiny"
    text = {
        "vocab_size": len(tokenizer) if tiny else 152064,
        "hidden_size": 64 if tiny else 3584,
        "intermediate_size": 128 if tiny else 18944,
        "num_hidden_layers": 2 if tiny else 28,
        "num_attention_heads": 4 if tiny else 28,
        "num_key_value_heads": 2 if tiny else 4,
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [4, 2, 2] if tiny else [16, 24, 24],
            "rope_theta": 1e6,
        },
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 2 if tiny else 32,
        "hidden_size": 32 if tiny else 1280,
        "intermediate_size": 64 if tiny else 3420,
        "num_heads": 2 if tiny else 16,
        "out_hidden_size": text["hidden_size"],
        "fullatt_block_indexes": [1] if tiny else [7, 15, 23, 31],
    }
    config = t.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=False, **_token_ids(tokenizer)
    )
    images = t.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=28 * 28 * 1280)
    processor = t.Qwen2_5_VLProcessor(images, tokenizer, t.Qwen2VLVideoProcessor(), chat_template=_TEMPLATE)
    return config, processor, t.Qwen2_5_VLForConditionalGeneration


def _qwen3(tokenizer: Any) -> tuple[Any, Any, Any]:
    """Qwen3-VL-2B's published configuration."""
    import transformers as t

    rope = {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True, "rope_theta": 5e6}
    text = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rope_parameters": rope,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "patch_size": 16,
        "out_hidden_size": 2048,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [5, 11, 17],
    }
    config = t.Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **_token_ids(tokenizer))
    images = t.Qwen2VLImageProcessor(patch_size=16, min_pixels=64 * 64, max_pixels=32 * 32 * 1280)
    processor = t.Qwen3VLProcessor(images, tokenizer, t.Qwen3VLVideoProcessor(), chat_template=_TEMPLATE)
    return config, processor, t.Qwen3VLForConditionalGeneration


class _Clock:
    """Wall seconds of calls on the device, and the peak of its memory."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch, self._cuda = torch, device == "cuda"

    def timed(self, call: Callable[[], Any]) -> tuple[Any, float, float]:
        """Return what the call returns, its seconds, and the peak of memory in GiB (0 without a GPU)."""
        if self._cuda:
            self._torch.cuda.synchronize()
            self._torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        answered = call()
        if self._cuda:
            self._torch.cuda.synchronize()
        peak = self._torch.cuda.max_memory_allocated() / 2**30 if self._cuda else 0.0
        return answered, time.perf_counter() - started, peak


def measure_decoding(backend: Any, clock: _Clock, batches: Sequence[int], tokens: int) -> Iterator[Decoding]:
    """Time answers of full length for each form and batch; the time of one token (the prefill) is taken off."""
    from image2music.composers.chat.conversations import Conversation, Message, questions_of
    from image2music.composers.constrained.forms import PROSE, TUNE_OF_TWO

    prompt = "Look at the picture and write a tune in ABC notation with two voices that suits it. " * 20
    talks = [Conversation(_picture(at), (Message("user", prompt),)) for at in range(max(batches))]
    for name, form in (("prose", PROSE), ("abc", TUNE_OF_TWO)):
        for batch in batches:
            seeds: list[int | None] = list(range(batch))
            backend.generate(questions_of(talks[:batch], seeds, 4, form))
            _, once, _ = clock.timed(
                lambda b=batch, s=seeds, f=form: backend.generate(questions_of(talks[:b], s, 1, f))
            )
            _, whole, peak = clock.timed(
                lambda b=batch, s=seeds, f=form: backend.generate(questions_of(talks[:b], s, tokens, f))
            )
            seconds = max(whole - once, 1e-9)
            yield Decoding(name, batch, batch * (tokens - 1) / seconds, 1000 * seconds / (tokens - 1), peak)


def estimate(batches: Sequence[int], tokens: int, step: float = STEP_SECONDS) -> tuple[float, float]:
    """Return the seconds of one model that cannot be cut, and those of whole answers by plan, with and without grammar.

    Whatever the batch, a step of decoding takes as long; `step` is its seconds.
    """
    table_of_decoding = 2 * len(batches) * (tokens + 5) * step
    paper = (DESCRIPTION + 3 * TUNE_TOKENS + MOTIVATION) * step + 2 * READING_SECONDS
    by_plan = (1 + SLOWER_BY_GRAMMAR) * sum(ANSWERS.values()) * step
    return BUILD_SECONDS + table_of_decoding + paper + 2 * READING_SECONDS, by_plan


def share_of_answers(seconds_left: float, whole: float) -> float:
    """Return which share of each answer may be decoded, at most all of it."""
    return min(1.0, max(LEAST_SHARE, seconds_left / max(whole, 1e-9)))


def measure(size: str, device: str, batches: Sequence[int], tokens: int, seconds: float) -> Figures:
    """Build one model and measure everything of it, in about so many seconds."""
    import torch

    from benchmarks.conversation_rows import TUNE as FINISHED
    from image2music.composers.chat.conversations import Conversation, Message
    from image2music.composers.chat.engine.loading import memory_need, shape_of

    clock, until = _Clock(device), time.monotonic() + seconds
    backend, took, _ = clock.timed(lambda: build(size, device))
    model = backend.chat.model
    weights = sum(part.numel() for part in model.parameters())
    bytes_of_weights = sum(part.numel() * part.element_size() for part in model.parameters())
    print(f"{size}: {weights / 1e9:.2f} billion random weights in {took:.0f} s", file=sys.stderr, flush=True)
    decoding = []
    for row in measure_decoding(backend, clock, batches, tokens):
        print(f"  {row}", file=sys.stderr, flush=True)
        decoding.append(row)
    finished = Conversation(
        _picture(0), (Message("user", "Write a tune about the picture. " * 30), Message("assistant", FINISHED))
    )
    backend.attention(finished)
    looks, attention, attention_peak = clock.timed(lambda: backend.attention(finished))
    grid = looks[0].weights.shape[1:]
    batch = max(1, min(CONVERSATION_BATCH, max(batches)))
    steps, peak = _conversation(backend, clock, batch, shorter=size == "tiny")
    steps["maps"] = attention * batch
    by_plan = tuple(_by_plan(backend, clock, batch, until, decoding))
    need = memory_need(shape_of(model.config.to_dict()), batch, 4000, 0, model.dtype.itemsize)
    figures = Figures(
        size=size,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        billion_weights=weights / 1e9,
        weights_gib=bytes_of_weights / 2**30,
        picture_tokens=int(grid[0] * grid[1]),
        decoding=tuple(decoding),
        attention_seconds=attention,
        attention_peak_gib=attention_peak,
        conversation_batch=batch,
        conversation_seconds=steps,
        conversation_peak_gib=peak,
        calculated_gib=need.total / 2**30,
        by_plan=by_plan,
    )
    return figures


def _conversation(backend: Any, clock: _Clock, batch: int, *, shorter: bool) -> tuple[dict[str, float], float]:
    """Seconds by step of the paper's chain for a batch of pictures (maps left out), and the peak of memory."""
    from benchmarks.conversation_rows import BROKEN, TUNE, references
    from image2music.abc.checker import check
    from image2music.composers.base import ComposeRequest, RefineRequest, RepairRequest, WriteRequest
    from image2music.composers.chat import steps as questions
    from image2music.composers.chat.composer import ChatComposer
    from image2music.composers.chat.conversations import AnswerLengths, composing, questions_of
    from image2music.music.metrics import EXPLANATIONS, Metrics
    from image2music.types import Description

    description, tune, motivation = (8, 40, 8) if shorter else (DESCRIPTION, TUNE_TOKENS, MOTIVATION)
    composer = ChatComposer(backend, AnswerLengths(description, tune, motivation))
    metrics = Metrics(*[1.0] * len(EXPLANATIONS))
    images = [_picture(100 + at) for at in range(batch)]
    seconds, peaks = {}, []

    def step(name: str, call: Callable[[], Any]) -> Any:
        answered, took, peak = clock.timed(call)
        seconds[name] = took
        peaks.append(peak)
        print(f"  {name}: {took:.1f} s", file=sys.stderr, flush=True)
        return answered

    def say(talks: Sequence[Any], tokens: int) -> list[str]:
        # Not by `composer.look`: it refuses the prose of random weights, which has no sentence.
        return backend.generate(questions_of(talks, [None] * batch, tokens))

    step("look", lambda: say([questions.looking(image) for image in images], description))
    requests = [
        ComposeRequest(
            str(at), image, Description("A quiet lake below mountains, early in the morning."), references(metrics), at
        )
        for at, image in enumerate(images)
    ]
    drafts = step("compose", lambda: composer.write([WriteRequest(one) for one in requests]))
    wrong = tuple(check(BROKEN))
    repairs = [RepairRequest(one, abc, wrong, 1) for one, abc in zip(requests, drafts, strict=True)]
    repaired = step("repair", lambda: composer.repair(repairs))
    refinements = [RefineRequest(one, abc, metrics) for one, abc in zip(requests, repaired, strict=True)]
    step("refine", lambda: composer.refine(refinements))
    first = [composing(one, backend.prompt_tokens, backend.count_tokens) for one in requests]
    step("motivate", lambda: say([talk.then(TUNE, "Why does it suit the picture?") for talk in first], motivation))
    return seconds, max(peaks)


class _Recorded:
    """A backend that answers as it was recorded, and keeps the questions and what is replayed."""

    id, prompt_tokens = "recorded", 6000

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        self.count_tokens = count_tokens
        self.questions: list[Any] = []
        self.replayed: Any = None

    def generate(self, questions: Sequence[Any]) -> list[str]:
        self.questions += questions
        return [(_RECORDED / f"{one.step}.txt").read_text(encoding="utf-8") for one in questions]

    def attention(self, conversation: Any, *, layers: bool = False) -> Any:
        from image2music.errors import ModelError

        self.replayed = conversation
        raise ModelError("nothing is measured here", reason="no_attention")


_RECORDED = Path(__file__).parents[1] / "tests" / "fixtures" / "recorded" / "astronaut"


def plan_questions(count_tokens: Callable[[str], int]) -> tuple[list[Any], Any]:
    """Return the questions about one picture by the full steps, and the conversation that is replayed in the end."""
    from image2music.composers.base import ComposeRequest
    from image2music.composers.chat.composer import ChatComposer
    from image2music.loop.chain import compose_batch
    from image2music.settings import LoopSettings

    backend, image = _Recorded(count_tokens), _picture(0)
    composer = ChatComposer(backend)
    (description,) = composer.look([image])
    (tune,) = compose_batch(composer, [ComposeRequest("0", image, description, (), 0)], LoopSettings())
    if isinstance(tune, Exception):
        raise tune
    return backend.questions, backend.replayed


class _Counting:
    """The backend's generator; keeps how many tokens the last answers had."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.lengths: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def generate(self, questions: Sequence[Any]) -> list[list[int]]:
        answers: list[list[int]] = self.generator.generate(questions)
        self.lengths = [len(answer) for answer in answers]
        return answers


def _by_plan(
    backend: Any, clock: _Clock, batch: int, until: float, decoding: Sequence[Decoding]
) -> Iterator[PlanFigures]:
    """Time the plan protocol's steps for a batch of pictures, first as prose, then under the forms' grammars."""
    asked, replayed = plan_questions(backend.count_tokens)
    measured = max(row.milliseconds_per_step for row in decoding if row.batch == max(one.batch for one in decoding))
    share, whole = 1.0, sum(ANSWERS.values()) * measured / 1000
    for held in (False, True):
        left = until - time.monotonic() - 2 * READING_SECONDS
        share = min(share, share_of_answers(left, whole * (SLOWER_BY_GRAMMAR + (not held))))
        print(f"  by plan, {'forms' if held else 'prose'}: {share:.0%} of each answer", file=sys.stderr, flush=True)
        # Pictures of their own, so that nothing of an earlier run is kept.
        images = [_picture((2000 if held else 1000) + at) for at in range(batch)]
        yield _plan_conversation(backend, clock, images, asked, replayed, share, held=held)


def _plan_conversation(
    backend: Any, clock: _Clock, images: Sequence[Any], asked: Sequence[Any], replayed: Any, share: float, *, held: bool
) -> PlanFigures:
    from dataclasses import replace

    from image2music.composers.chat.conversations import Conversation
    from image2music.composers.constrained.forms import PROSE

    counting = backend.generator = _Counting(backend.generator)
    seconds, peaks, kept, of, tokens, decoding = {}, [], 0, 0, 0, 0.0
    for one in asked:
        length = max(2, round(share * ANSWERS[one.step]))
        form = one.form if held else PROSE
        some = [
            replace(one, conversation=Conversation(image, one.conversation.messages), seed=at, form=form)
            for at, image in enumerate(images)
        ]
        _, reading, peak = clock.timed(lambda q=some: backend.generate([replace(one, max_tokens=1) for one in q]))
        answers, took, higher = clock.timed(
            lambda q=some, n=length: backend.generate([replace(one, max_tokens=n) for one in q])
        )
        new = sum(counting.lengths)
        tokens, decoding = tokens + new, decoding + took
        peaks += [peak, higher]
        seconds[one.step] = reading + took * ANSWERS[one.step] / max(counting.lengths)
        readable = [_keeps_to(form, answer) for answer in answers]
        kept, of = kept + readable.count(True), of + len(readable) - readable.count(None)
        print(f"  {one.step}: {seconds[one.step]:.1f} s, {new / took:.0f} tokens a second", file=sys.stderr, flush=True)
    backend.generator = counting.generator
    talk = Conversation(images[0], replayed.messages)
    _, maps, peak = clock.timed(lambda: backend.attention(talk))
    length = backend.chat.inputs([talk], asking=False)["input_ids"].shape[1]
    return PlanFigures(
        held, len(images), share, seconds, tokens, decoding, kept, of, maps * len(images), length, max(*peaks, peak)
    )


def _keeps_to(form: Any, answer: str) -> bool | None:
    """Return whether an answer is whole JSON, or has the lines that its form asks for; None for prose."""
    from image2music.composers.constrained.forms import JsonForm, LinesForm

    if isinstance(form, JsonForm):
        try:
            return isinstance(json.loads(answer), dict)
        except json.JSONDecodeError:
            return False
    if isinstance(form, LinesForm):
        lines = answer.splitlines()
        return len(lines) == len(form.lines) and all(
            line.startswith(wanted.prefix) and line.count("|") == wanted.bars
            for line, wanted in zip(lines, form.lines, strict=True)
        )
    return None


def _picture(seed: int) -> Any:
    import numpy as np
    from PIL import Image

    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(PICTURE, Image.Resampling.BICUBIC)


def table(found: Sequence[Figures]) -> str:
    """Return all figures as Markdown."""
    lines = [
        "| model (random weights) | form | batch | tokens a second | ms a step | peak GiB |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        lines += [
            f"| {one.size} | {row.form} | {row.batch} | {row.tokens_per_second:.0f} | {row.milliseconds_per_step:.1f} "
            f"| {row.peak_gib:.1f} |"
            for row in one.decoding
        ]
    lines += [
        "",
        "| model | device | weights GiB | picture tokens | maps, s a picture | their peak GiB | conversations: batch "
        "| s by step | peak GiB (calculated) | pictures an hour, with maps | without |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in one.conversation_seconds.items())
        lines.append(
            f"| {one.size} | {one.device} | {one.weights_gib:.1f} | {one.picture_tokens} | {one.attention_seconds:.2f} "
            f"| {one.attention_peak_gib:.1f} | {one.conversation_batch} | {steps} | {one.conversation_peak_gib:.1f} "
            f"({one.calculated_gib:.1f}) | {one.pictures_per_hour:.0f} | {one.pictures_per_hour_without_maps:.0f} |"
        )
    lines += [
        "",
        "| model | plan protocol, full steps | batch | share decoded | s by step (whole answers) | tokens a second "
        "| answers that keep to their form | maps, s a picture (tokens) | peak GiB | pictures an hour, with maps "
        "| without |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        for row in one.by_plan:
            steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row.seconds.items())
            lines.append(
                f"| {one.size} | {'under grammars' if row.held else 'prose'} | {row.batch} | {row.share:.0%} | {steps} "
                f"| {row.tokens_per_second:.0f} | {f'{row.kept} of {row.of}' if row.of else 'none has one'} "
                f"| {row.maps_seconds / row.batch:.2f} ({row.replayed_tokens}) | {row.peak_gib:.1f} "
                f"| {row.pictures_per_hour(maps=True):.0f} | {row.pictures_per_hour(maps=False):.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure each size on the GPU, or on the processor where there is none, and print the tables."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="*", default=SIZES, choices=(*SIZES, "tiny"))
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--minutes", type=float, default=10.0, help="in which all of it is to be done, about")
    parser.add_argument("--json", type=Path, help="where to write the figures, after each model")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    until, found = time.monotonic() + 60 * args.minutes, []
    fixed, whole = estimate(args.batches, args.tokens)
    share = share_of_answers(60 * args.minutes / len(args.size) - fixed, whole)
    print(
        f"estimate: {len(args.size)} models, each {fixed:.0f} s and {whole:.0f} s for whole answers by plan; "
        f"{args.minutes:g} minutes suffice for {share:.0%} of each answer",
        file=sys.stderr,
        flush=True,
    )
    for at, size in enumerate(args.size):
        seconds = (until - time.monotonic()) / (len(args.size) - at)
        found.append(measure(size, device, args.batches, args.tokens, seconds))
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        if args.json:
            rows = [asdict(one) | {"pictures_per_hour": one.pictures_per_hour} for one in found]
            args.json.write_text(json.dumps(rows, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
