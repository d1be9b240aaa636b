"""`compose` whose requests go to a server that counts what it was paid for: in batches and at once, with kills."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import recorded_player
from batch_server import AFTER, BEFORE, serving_batches
from chat_fakes import TUNE
from job_processes import environment, noise_pictures

from image2music.composers.chat import batches
from image2music.composers.chat import server as server_client
from image2music.composers.chat.batches import SHARE_OF_PRICE
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

PICTURES = 6
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--protocol", "paper"]
MONEY = ["--price", "1,10"]
COST = (1000 * 1 + 100 * 10) / 1e6
"""Of one answer at the whole price."""

ANSWERS = {"Look at": "A calm lake.", "You are": TUNE, "A checker": TUNE, "Your tune": TUNE, "Say why": "It is calm."}
STEPS = {"look", "tune", "motivation"}
REQUESTS = 4
"""For a picture whose first draft is valid: look, draft, refinement, motivation."""


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


HURRY = {"timeout_s": 10.0, "tries": 6, "first_pause_s": 0.0}


@pytest.fixture
def many(indexed, monkeypatch):
    noise_pictures(indexed / "pictures" / "noise", PICTURES - 3)
    for module in (server_client, batches):
        monkeypatch.setattr(module, "RetryPolicy", partial(module.RetryPolicy, **HURRY))
    monkeypatch.setattr(batches, "_FIRST_LOOK_S", 0.01)
    return indexed


def words(service, *more):
    return [*COMPOSE, "--composer", f"openai:{service.url}#tiny", *more]


def rows(kind):
    return [row for path in Path("out", kind).glob("part-*") for row in pq.read_table(path).to_pylist()]


def record():
    return json.loads(Path("out/run.json").read_text())


def test_the_command_ends_with_what_it_submitted_and_the_same_command_goes_on(many, service, capsys):
    service.looks = 3
    command = words(service, "--batch_api", *MONEY)
    assert main(command) == 1
    line = "image2music: submitted 6 requests in 1 batch for 6 pictures, to be answered within a day; the same command"
    assert line in capsys.readouterr().err
    assert main(command) == 1, "it is too early"
    assert line in capsys.readouterr().err
    assert (record()["state"], record()["counts"]["put_off"], record()["counts"]["failed"]) == ("put_off", 6, 0)
    assert record()["counts"]["put_off_for_reason"] == {"batch": 6}
    assert rows("failures") == []
    main(["status", "out"])
    assert "put_off — submitted 6 requests" in capsys.readouterr().out
    assert main([*command, "--batch_wait", "60"]) == 0
    assert record()["counts"]["put_off"] == 0
    assert record()["counts"]["composed"] + record()["counts"]["skipped"] == len(rows("compositions")) == PICTURES
    assert set(service.paid.values()) == {1}
    assert (len(service.paid), service.live) == (REQUESTS * PICTURES, len(STEPS))
    in_batches = len(service.paid) - service.live
    spent = (in_batches * SHARE_OF_PRICE + service.live) * COST
    assert record()["used"]["all_runs"]["all"]["cost"] == pytest.approx(spent)


def test_three_of_ten_calls_and_lines_fail_and_every_picture_is_accounted_for(many, service):
    chance = random.Random(5)
    endpoints = (BEFORE, AFTER)
    service.fault = lambda name, number: (
        (chance.choice(endpoints) if "batches" in name or "files" in name else BEFORE) if chance.random() < 0.3 else ""
    )
    service.line_fault = lambda number: chance.choice([400, 429, 500]) if chance.random() < 0.3 else 0
    command = words(service, "--batch_api", "--batch_wait", "60", "--max_failures", "100%")
    code = main(command)
    composed, failed = rows("compositions"), rows("failures")
    assert len(composed) + len(failed) == PICTURES
    assert code == (3 if failed else 0)
    assert composed and failed
    assert {row["reason"] for row in failed} <= {"request_refused", "server_unavailable"}
    assert set(service.paid.values()) == {1}
    service.fault, service.line_fault = (lambda name, number: ""), (lambda number: 0)
    assert main(command) == 0, "what failed is asked anew by the next run"
    assert len(rows("compositions")) == PICTURES


def test_a_bound_of_money_holds_in_batches_too(many, service, capsys):
    bound = 15 * COST * SHARE_OF_PRICE
    command = words(service, "--batch_api", "--batch_wait", "60", *MONEY)
    assert main([*command, "--max_cost", str(bound)]) == 1
    assert "are put off; the same command with a higher one goes on" in capsys.readouterr().err
    assert record()["counts"]["put_off"] == PICTURES - len(rows("compositions"))
    spent = record()["used"]["all_runs"]["all"]["cost"]
    assert bound - COST <= spent <= bound + COST
    assert main([*command, "--max_cost", "1"]) == 0
    assert len(rows("compositions")) == PICTURES
    assert set(service.paid.values()) == {1}


@contextmanager
def jobs_to_kill(service):
    """A function that runs a job in a process of its own, and kills it at a call; return its exit code."""
    # One process imports everything, and copies itself for every job: that takes a tenth of the time.
    program = f"""
import os, sys
from functools import partial
import pipelines.jobs.compose
from image2music.composers.chat import batches, server
from pipelines.cli.main import main
for module in (server, batches):
    module.RetryPolicy = partial(module.RetryPolicy, **{HURRY})
batches._FIRST_LOOK_S = 0.01
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        os._exit(main(line.split()))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def numbers():
        for line in process.stdout:
            if line.strip().lstrip("-").isdigit():
                yield int(line)

    said = numbers()

    def run(command, call="", nth=1):
        process.stdin.write(" ".join(command) + "\n")
        process.stdin.flush()
        job, seen = next(said), Counter()

        def upset(name, number):
            seen[name] += 1
            if name == call and seen[name] == nth:
                os.kill(job, signal.SIGKILL)

        service.upset = upset
        return next(said)

    try:
        yield run
    finally:
        process.communicate(timeout=10)


KILLS = [
    ("POST /files", 1),
    ("POST /batches", 1),
    ("GET /files/content", 1),
    ("POST /batches", 1),
]


def test_a_job_that_is_killed_again_and_again_pays_for_nothing_twice_in_batches(many, service):
    chance = random.Random(2)
    service.fault = lambda name, number: (
        chance.choice((BEFORE, AFTER)) if "chat" not in name and chance.random() < 0.3 else ""
    )
    service.line_fault = lambda number: chance.choice([400, 500]) if chance.random() < 0.3 else 0
    command = words(service, "--batch_api", "--batch_wait", "60", "--max_failures", "100%")
    with jobs_to_kill(service) as run:
        for call, nth in KILLS:
            assert run(command, call, nth) == -signal.SIGKILL, call
        code = run(command)
    composed, failed = rows("compositions"), rows("failures")
    assert len(composed) + len(failed) == PICTURES
    assert code == (3 if failed else 0)
    assert composed
    assert set(service.paid.values()) == {1}


CONCURRENCY = 4


def test_a_job_that_is_killed_again_and_again_pays_for_nothing_twice_at_once(many, service):
    service.fault = lambda name, number: BEFORE if "chat" in name and number * 7 % 10 < 3 else ""
    command = words(service, "--concurrency", str(CONCURRENCY), "--batch_size", "4", *MONEY)
    kills = (9, 6)
    with jobs_to_kill(service) as run:
        for nth in kills:
            assert run(command, "POST /chat/completions", nth) == -signal.SIGKILL
        assert run(command) == 0
    assert len(rows("compositions")) == PICTURES
    assert len(service.paid) == REQUESTS * PICTURES
    twice = sum(service.paid.values()) - len(service.paid)
    used = record()["used"]["all_runs"]["all"]
    assert twice <= used["lost"] <= CONCURRENCY * len(kills)
    assert used["requests"] == len(service.paid)
    assert used["cost"] == pytest.approx(len(service.paid) * COST)


def test_the_protocol_with_plans_goes_out_in_batches_too(indexed, service, monkeypatch):
    for module in (server_client, batches):
        monkeypatch.setattr(module, "RetryPolicy", partial(module.RetryPolicy, **HURRY))
    monkeypatch.setattr(batches, "_FIRST_LOOK_S", 0.01)
    (indexed / "two").mkdir()
    for name in recorded_player.COLOURS:
        recorded_player.stand_in(name).save(indexed / "two" / f"{name}.png")
    player = recorded_player.RecordedPlayer()
    service.answer = lambda body: player(body)[1]["choices"][0]["message"]["content"]
    command = ["compose", "--images", "two", "--index", "tunes.lance", "--output", "out"]
    assert main([*command, "--composer", f"openai:{service.url}#tiny", "--batch_api", "--batch_wait", "60"]) == 0
    assert len(rows("compositions")) == 2
    assert set(player.asked.values()) == {1}
    assert service.live == sum(player.asked.values()) / 2, "the first of each step goes out at once"
