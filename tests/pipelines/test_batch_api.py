"""`compose` whose requests go to a server that counts what it was paid for: in batches and at once, with kills."""

import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from batch_server import AFTER, BEFORE, serving_batches
from chat_fakes import TUNE
from job_processes import environment, noise_pictures

from image2music.composers.chat import batches
from image2music.composers.chat import server as server_client
from pipelines.cli.main import main

PICTURES = 10
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--protocol", "paper"]
ANSWERS = {"Describe": "A calm lake.", "You are": TUNE, "A checker": TUNE, "Your tune": TUNE, "Say why": "It is calm."}
STEPS = 4
"""Requests for a picture whose first draft is valid: look, draft, refinement, motivation."""


def answer(body):
    said = body["messages"][-1]["content"]
    text = said if isinstance(said, str) else said[-1]["text"]
    return next(answer for start, answer in ANSWERS.items() if text.startswith(start))


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving_batches() as served:
        served.answer = answer
        yield served


@pytest.fixture
def many(indexed, monkeypatch):
    noise_pictures(indexed / "pictures" / "noise", PICTURES - 3)
    hurry = {"timeout_s": 10.0, "tries": 5, "first_pause_s": 0.0}
    for module in (server_client, batches):
        monkeypatch.setattr(module, "RetryPolicy", partial(module.RetryPolicy, **hurry))
    return indexed


def words(service, *more):
    return [*COMPOSE, "--embedder", "fake", "--composer", f"openai:{service.url}#tiny", *more]


def rows(kind, out="out"):
    return pq.read_table(f"{out}/{kind}").to_pylist() if os.path.isdir(f"{out}/{kind}") and os.listdir(f"{out}/{kind}") else []


def record():
    return json.loads(Path("out/run.json").read_text())


def test_the_command_ends_with_what_it_submitted_and_goes_on(many, service, capsys):
    command = words(service, "--batch_api")
    for step in range(STEPS):
        assert main(command) == 1
        said = capsys.readouterr().err
        print(said)
        print(record())
    assert main(command) == 0
    print(capsys.readouterr().out)
    assert len(rows("compositions")) == PICTURES
    print(service.calls, service.live)
