"""What becomes of requests where servers fail and jobs are killed: a table of four jobs that are told nothing of it.

    python -m benchmarks.kill_requests [--only plan --only batch ...]

Each job is the real command in a process of its own. Its server fails three requests in ten: it is busy, or the
connection is lost in the middle of the answer. One SIGKILL ends all processes of the job at a random moment, and the
same command is run again until it ends. The server counts the answers that it gave by the whole request.

- plan: the protocol with plans, answers recorded; and batch: the same, its requests in batches, where each endpoint
  fails as often, before its work is done or after it, and some lines of the batches fail too;
- served: `transformers serve` with a tiny model of random weights behind a server that fails, by the small steps;
- bound: as plan, with a bound of money in the middle, before a higher one, under which the job is killed.

"Under way" is what the ledger had sent and not received at the kill: no more may be answered twice. Exit code 1 where
more are, where rows and failures are not the pictures, where the ledger counts other answers than the server, or where
money passes its bound by more than a request's price.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from benchmarks.kill_compose import environment, make_captions, run, started

SEED = 20260105
FAILING, CONCURRENCY, PRICE = 0.3, 8, (1.0, 10.0)
BOUND, NO_BOUND = 0.17, 9.0
"""Dollars: about half of what the recorded answers come to, and more than they do."""
_TESTS = Path(__file__).parent.parent / "tests"
_MOST_RUNS, _LONGEST_ANSWER_S, _LONGEST_DELAY_S = 8, 0.3, 0.3
_ANSWER_TOKENS, _AT_ONCE = 8, 2
_SHORT_ANSWERS = f"""
import sys
from dataclasses import fields
from functools import partial
from image2music.composers.chat import composer, server
from pipelines.cli.main import main
few = {{entry.name: {_ANSWER_TOKENS} for entry in fields(composer.AnswerLengths)}}
composer.AnswerLengths = partial(composer.AnswerLengths, **few)
server.RetryPolicy = partial(server.RetryPolicy, first_pause_s=0.1)
sys.exit(main())
"""
"""The command with a few tokens an answer, and with pauses as short as its answers."""

Player = Callable[[dict[str, Any]], Any]


@dataclass
class Counted:
    """A server's answers that fail by chance; `paid` counts those given, `dearest` is the price of the longest."""

    play: Player
    chance: random.Random
    paid: Counter[str] = field(default_factory=Counter)
    spent: float = 0.0
    dearest: float = 0.0

    def __call__(self, body: dict[str, Any]) -> Any:
        """Status, body and headers."""
        from tests.chat_server import late

        if self.chance.random() < FAILING:
            lost = 200, b'{"choices": [', {"Content-Length": "1000"}
            return self.chance.choice([(503, {"error": "busy"}, {}), lost])
        status, answer, headers = self.play(body)
        if status == 200:
            usage = answer.setdefault("usage", _usage(body, answer))
            price = (usage["prompt_tokens"] * PRICE[0] + usage["completion_tokens"] * PRICE[1]) / 1e6
            self.paid[hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()] += 1
            self.spent, self.dearest = self.spent + price, max(self.dearest, price)
        return late((status, answer, headers), self.chance.uniform(0.0, _LONGEST_ANSWER_S))


def _usage(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, int]:
    from tests.recorded_player import question_of

    said = answer["choices"][0]["message"]["content"]
    return {"prompt_tokens": 1000 + len(question_of(body)) // 4, "completion_tokens": len(said) // 4}


@dataclass(frozen=True)
class Case:
    """A job: its server's address with the model, what its server counts, and when it is killed.

    Attributes:
        answers: between how many answers, counted from the start of the killed command, the kill comes. begin: the
        command where it is not the usual one.
    """

    server: str
    paid: Counter[str]
    answers: tuple[int, int]
    pictures: int = 8
    words: Sequence[str] = ()
    begin: Sequence[str] = ("-m", "pipelines.cli.main")
    counted: Counted | None = None


@contextmanager
def plan() -> Iterator[Case]:
    with _recorded() as (server, counted):
        yield Case(f"{server}#tiny", counted.paid, (12, 44))


@contextmanager
def bound() -> Iterator[Case]:
    with _recorded() as (server, counted):
        yield Case(f"{server}#tiny", counted.paid, (2, 20), counted=counted)


@contextmanager
def batch() -> Iterator[Case]:
    from tests.batch_server import AFTER, BEFORE, serving_batches
    from tests.recorded_player import RecordedPlayer

    chance, player = random.Random(SEED), RecordedPlayer()
    with serving_batches() as service:
        # What is answered at once and never arrives is paid twice by any client, so there only what precedes is lost.
        service.fault = lambda name, number: (
            chance.choice([BEFORE, BEFORE if "chat" in name else AFTER]) if chance.random() < FAILING else ""
        )
        service.line_fault = lambda number: 500 if chance.random() < FAILING else 0
        service.answer = lambda body: player(body)[1]["choices"][0]["message"]["content"]
        service.upset = lambda name, number: time.sleep(chance.uniform(0.0, _LONGEST_ANSWER_S))
        yield Case(f"{service.url}#tiny", service.paid, (12, 44), words=["--batch_api", "--batch_wait", "300"])


@contextmanager
def served() -> Iterator[Case]:
    from tests.chat_server import serving
    from tests.pipelines.test_transformers_serve import Served
    from tests.recorded_player import recorded
    from tests.tiny_vlms import save

    with tempfile.TemporaryDirectory() as folder, serving() as server:
        text = "".join(recorded("astronaut", step) for step in ("look", "plan", "write", "motivation"))
        behind = Served(save("qwen2_5_vl", Path(folder) / "tiny-qwen", text=text, tokens=1500), Path(folder) / "hf")
        try:
            behind.wait()
            counted = Counted(_forward_to(f"http://127.0.0.1:{behind.port}/v1"), random.Random(SEED))
            server.answer = counted
            yield Case(f"{server.url}#{behind.folder}", counted.paid, (40, 120), 4, ["--steps", "small"],
                       ["-c", _SHORT_ANSWERS])  # fmt: skip
        finally:
            behind.stop()


def _forward_to(base: str) -> Player:
    def play(body: dict[str, Any]) -> Any:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{base}/chat/completions", data, kind)) as answer:
                return 200, json.load(answer), {}
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}"), {}

    return play


@contextmanager
def _recorded() -> Iterator[tuple[str, Counted]]:
    from tests.chat_server import serving
    from tests.recorded_player import RecordedPlayer

    with serving() as server:
        server.answer = counted = Counted(RecordedPlayer(), random.Random(SEED))
        yield server.url, counted


CASES: dict[str, Callable[[], AbstractContextManager[Case]]] = {
    "plan": plan, "batch": batch, "served": served, "bound": bound,
}  # fmt: skip


def make_pictures(home: Path) -> None:
    """The two stand-in pictures in several sizes, which makes them pictures and requests of their own."""
    from tests.recorded_player import COLOURS

    for count in (4, 8):
        (home / f"{count}").mkdir()
        for number in range(count):
            name, colour = list(COLOURS.items())[number % len(COLOURS)]
            Image.new("RGB", (96 + 8 * number, 64), colour).save(home / f"{count}" / f"{name}-{number}.png")


def command(case: Case, output: str, *more: str) -> list[str]:
    return [
        sys.executable, *case.begin, "compose", "--images", f"{case.pictures}", "--index", "tunes.lance",
        "--output", output, "--composer", f"openai:{case.server}", "--protocol", "plan", "--concurrency",
        f"{CONCURRENCY}", "--price", f"{PRICE[0]},{PRICE[1]}", "--max_failures", "100%", *case.words, *more,
    ]  # fmt: skip


def kill_in_the_middle(home: Path, case: Case, words: list[str], log: Path, chance: random.Random) -> bool:
    """Kill the whole job when so many answers are given, and a moment later; False where it ended before."""
    until = case.paid.total() + chance.randint(*case.answers)
    with started(home, words, log) as job:
        while case.paid.total() < until and job.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, _LONGEST_DELAY_S))
        return job.poll() is None


def finish(home: Path, words: list[str], log: Path) -> None:
    """Run the same command until it ends with nothing left to do, but for pictures that failed."""
    for _ in range(_MOST_RUNS):
        if _run(home, words, log) in (0, 3):
            return
    raise SystemExit(f"it does not end in {_MOST_RUNS} runs: see {log}")


def _run(home: Path, words: list[str], log: Path) -> int:
    with log.open("a") as file:
        return subprocess.run(words, cwd=home, env=environment(), stdout=file, stderr=subprocess.STDOUT).returncode


def tried(home: Path, name: str, case: Case) -> tuple[str, bool]:
    """One line of the table, and whether all is as it should be."""
    chance, log, good, money = random.Random(f"{SEED} {name}"), home / f"{name}.txt", True, ""
    bounds = [] if case.counted is None else ["--max_cost", f"{BOUND}"]
    if case.counted is not None:
        code = _run(home, command(case, name, *bounds), log)
        spent, dearest = case.counted.spent, case.counted.dearest
        good = code == 1 and BOUND - dearest <= spent <= BOUND + dearest
        money = f"{spent:.4f} at the bound of {BOUND:g}, dearest request {dearest:.4f}; "
        bounds = ["--max_cost", f"{NO_BOUND:g}"]
    words = command(case, name, *bounds)
    if not kill_in_the_middle(home, case, words, log, chance):
        good, money = False, f"{money}ended before the kill; "
    finish(home, words, log)
    rows, failures = _count(home / name / "compositions"), _count(home / name / "failures")
    used = json.loads((home / name / "run.json").read_text())["used"]["all_runs"]["all"]
    answered, distinct = case.paid.total(), len(case.paid)
    good &= rows + failures == case.pictures and answered - distinct <= used["lost"] <= CONCURRENCY
    good &= 0 <= answered - used["requests"] <= used["lost"]
    cells = [name, case.pictures, f"{rows} + {failures}", answered, distinct, answered - distinct, used["lost"],
             f"{money}{used['cost']:.4f}", "yes" if good else "NO"]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |", good


def _count(kind: Path) -> int:
    return pq.read_table(kind).num_rows if list(kind.glob("*.parquet")) else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(CASES), help="this job alone; may be repeated")
    parser.add_argument("--folder", type=Path, help="keep the jobs' folders here; by default nothing is kept")
    args = parser.parse_args(arguments)
    sys.path.insert(0, str(_TESTS))  # its modules import each other
    os.environ["no_proxy"] = "127.0.0.1"
    print("| job | pictures | rows + failures | answered | distinct | twice | under way | dollars | as it should |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        home = (args.folder or Path(folder)).absolute()
        make_captions(home)
        make_pictures(home)
        run(home, "index", "--captions", "captions.json", "--midi_root", "midi", "--embedder", "fake")

        def trial(name: str) -> tuple[str, bool]:
            with CASES[name]() as case:
                return tried(home, name, case)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for line, right in pool.map(trial, args.only or CASES):
                print(line, flush=True)
                good &= right
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
