"""`transformers serve` as a server: a real one, with a tiny random model of a real family from disk.

Random weights write nonsense, so what is tried is the way there and back: requests as this server takes them, answers,
tokens as it counts them, and pictures that become rows or failures with a reason.
"""

import base64
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_vlms
from chat_fakes import TUNE, picture
from PIL import Image
from recorded_player import recorded

from benchmarks.families import asked_to_explain
from image2music.abc.checker import check
from image2music.composers.chat import composer as chat_composer
from image2music.composers.chat.conversations import Conversation, Message, questions_of
from image2music.composers.chat.sending import ROOM
from image2music.composers.chat.server import data_url, load_served
from image2music.music.planning.plan import plan_as_json
from pipelines.cli.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(
        find_spec("fastapi") is None or find_spec("uvicorn") is None,
        reason="transformers serve is not installed: pip install 'image2music[served]'",
    ),
]

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}
MOST_TOKENS = 8
PATIENCE_S = 120.0
TALKS = [
    Conversation(picture(60, 40), (Message("user", "What is this?"),)).then("A calm lake.", "And at dawn?"),
    Conversation(picture(120, 90), (Message("user", "Write a tune."),)),
]


class Served:
    """A running server: where it answers, its model's folder, and what it says of itself."""

    def __init__(self, folder: Path, home: Path) -> None:
        (home / "hub").mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.log = folder, home / "log.txt"
        self.spec = f"http://127.0.0.1:{self.port}/v1#{folder}"
        command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--device", "cpu",
                   "--host", "127.0.0.1", "--port", self.port]  # fmt: skip
        settings = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
            )

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while not self.is_up():
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()[-2000:]
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def answered(self) -> int:
        """How many questions it has answered so far, by its own record."""
        return len(re.findall(r'"POST /v1/chat/completions HTTP/1.1" 200', self.log.read_text()))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("served")
    words = "".join(recorded("astronaut", step) for step in ("look", "plan", "write", "motivation"))
    folder = tiny_vlms.save("qwen2_5_vl", home / "tiny-qwen", text=words, tokens=1500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        served = Served(folder, home / "hf")
        try:
            served.wait()
            yield served
        finally:
            served.stop()
    assert served.process.returncode is not None
    assert not served.is_up(), "the server is gone when its tests are done"


def as_it_arrives(image):
    """A picture after its way to the server."""
    return Image.open(io.BytesIO(base64.b64decode(data_url(image).split(",", 1)[1]))).convert("RGB")


def rows(kind):
    return pq.read_table(f"out/{kind}").to_pylist() if list(Path("out", kind).glob("*.parquet")) else []


@pytest.fixture
def two(indexed, monkeypatch):
    """The names of two small pictures; answers are short."""
    few = {entry.name: MOST_TOKENS for entry in fields(chat_composer.AnswerLengths)}
    monkeypatch.setattr(chat_composer, "AnswerLengths", partial(chat_composer.AnswerLengths, **few))
    (indexed / "two").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (60, 40), colour).save(indexed / "two" / f"{name}.png")
    return [f"{name}.png" for name in COLOURS]


def compose(server, protocol, *more):
    """Exit code, rows, failures; requests are counted as the server counts them."""
    before = server.answered()
    code = main(["compose", "--images", "two", "--index", "tunes.lance", "--output", "out", "--protocol", protocol,
                 "--composer", f"openai:{server.spec}", "--rounds", "1", "--max_failures", "100%",
                 "--price", "1,2", *more])  # fmt: skip
    record = json.loads(Path("out/run.json").read_text())
    used = record["used"]["all_runs"]["all"]
    assert used["requests"] == server.answered() - before
    assert used["input_tokens"] > 100 * used["requests"], "the picture is counted, too"
    assert used["cost"] == pytest.approx((used["input_tokens"] + 2 * used["output_tokens"]) / 1e6)
    most = ROOM * MOST_TOKENS * (used["requests"] + used["cut"])
    assert 0 < used["output_tokens"] <= most, "twice the room where one was cut"
    composed, failed = rows("compositions"), rows("failures")
    assert len(composed) + len(failed) == len(COLOURS)
    assert len({row["image_id"] for row in composed} | {row["id"] for row in failed}) == len(COLOURS)
    assert all(row["message"] for row in failed)
    return code, composed, {row["reason"] for row in failed}


@pytest.mark.parametrize(
    ("protocol", "reasons"), [("paper", {"invalid_abc", "no_description"}), ("plan", {"no_json", "no_description"})]
)
def test_every_picture_of_a_model_that_writes_nonsense_becomes_a_failure_with_a_reason(two, server, protocol, reasons):
    code, composed, failed = compose(server, protocol)
    assert (code, composed) == (3, [])
    assert failed <= reasons


def test_a_persons_plan_becomes_a_row_whatever_the_model_writes(two, server):
    plan = plan_as_json(asked_to_explain(by_plan=True).plan)
    lines = [json.dumps({"image": f"two/{name}", "plan": plan}) for name in two]
    Path("plans.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, composed, failed = compose(server, "plan", "--plans", "plans.jsonl")
    assert (code, failed) == (0, set())
    steps = json.loads(Path("out/run.json").read_text())["used"]["all_runs"]["steps"]
    assert {"look", "melody", "write", "edit", "motivation"} >= set(steps) > {"look", "melody", "motivation"}
    for row in composed:
        assert (row["plan"]["bars"], len(row["plan"]["voices"])) == (8, 3)
        assert [one for one in check(row["abc"]) if one.severity == "error"] == []
        assert row["motivation"]


def test_the_served_model_is_the_one_beside_it(server):
    backend = load_served(f"{server.spec}+attention=transformers:{server.folder}")
    served = backend.generate(questions_of(TALKS, [None, None], 12))
    arrived = [Conversation(as_it_arrives(talk.image), talk.messages) for talk in TALKS]
    here = backend._attention_model.generate(questions_of(arrived, [None, None], 12))
    for longer, text in zip(served, here, strict=True):
        text = text.rstrip("\ufffd")  # half a letter
        assert text and longer.startswith(text), "those that were cut were asked for with more room"


def test_a_model_beside_the_server_says_where_it_looks_in_the_answers(server):
    backend = load_served(f"{server.spec}+attention=transformers:{server.folder}")
    (said,) = backend.generate(questions_of(TALKS[:1], [1], 12))
    found = backend.attention(TALKS[0].answered(said).asked("A tune.").answered(TUNE.strip()))
    assert [one.text for one in found] == ["A calm lake.", said, TUNE.strip()]
    for one in found:
        assert one.weights.shape[0] == len(one.spans) > 0
        assert np.isfinite(one.weights).all() and 0 < one.weights.sum((1, 2)).max() < 1
