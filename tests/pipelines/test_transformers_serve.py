"""A real server, `transformers serve`, with a tiny random model from disk: started and stopped by the test."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny_vlms
from job_processes import wait_for

from image2music.composers.chat import composer as chat_composer
from image2music.composers.chat.ledger import read_spending
from image2music.composers.chat.sending import check_reachable
from image2music.errors import ModelError
from pipelines.cli.main import main

pytest.importorskip("fastapi", reason="transformers serve needs transformers[serving]")
pytest.importorskip("uvicorn", reason="transformers serve needs transformers[serving]")
pytestmark = [pytest.mark.slow, pytest.mark.process]

COMMAND = "from transformers.cli.transformers import main; main()"
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--max_failures", "100%"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """The composer's spec; the process ends with the tests."""
    home = tmp_path_factory.mktemp("served")
    model = tiny_vlms.save("qwen2_5_vl", home / "tiny-qwen")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(partial(answers, f"http://127.0.0.1:{port}/health", server), seconds=120)
        yield f"openai:http://127.0.0.1:{port}/v1#{model}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def answers(url, server):
    assert server.poll() is None, "it ended"
    try:
        check_reachable(url)
    except ModelError:
        return False
    return True


@pytest.mark.parametrize("protocol", ["plan", "paper"])
def test_no_picture_is_lost_and_every_request_is_counted(spec, protocol, indexed, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    few = {entry.name: 16 for entry in fields(chat_composer.AnswerLengths)}
    monkeypatch.setattr(chat_composer, "AnswerLengths", partial(chat_composer.AnswerLengths, **few))
    command = [*COMPOSE, "--composer", spec, "--protocol", protocol, "--rounds", "1", "--price", "1,2"]
    main(command)
    done, failed = (
        len(pq.read_table(f"out/{kind}")) if os.path.isdir(f"out/{kind}") else 0
        for kind in ("compositions", "failures")
    )
    assert done + failed == 3
    record = json.loads(Path("out/run.json").read_text())
    assert "server_unavailable" not in record["counts"]["failed_for_reason"]
    assert "request_refused" not in record["counts"]["failed_for_reason"]
    spent = read_spending("out/requests.sqlite").all
    assert spent.requests >= 3
    assert spent.input_tokens > 3 * 16
    assert spent.output_tokens > 0
    assert record["used"]["all_runs"]["all"]["requests"] == spent.requests
