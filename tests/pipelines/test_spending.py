"""What requests of `compose` and `ablate` cost: bounded, counted, and never paid twice."""

import json
import re
import signal
import time
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chat_fakes import TUNE
from chat_server import says, serving, unreliable
from job_processes import noise_pictures, start

from image2music.composers.chat import server as server_client
from image2music.composers.registry import default_steps
from image2music.errors import ConfigError
from pipelines.cli.main import main
from pipelines.options.compose import ComposeOptions

PICTURES = 10
COMPOSE = [
    "compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--protocol", "paper",
    "--rounds", "1", "--embedder", "fake",
]  # fmt: skip
ANSWERS = {"Look at": "A calm lake.", "You are": TUNE, "A checker": TUNE, "Your tune": TUNE, "Say why": "It is calm."}
CALLS = 4
PRICE = ["--price", "0,10"]
A_REQUEST = 0.01


def answer(body):
    said = body["messages"][-1]["content"]
    text = said if isinstance(said, str) else said[-1]["text"]
    found = next(answer for start, answer in ANSWERS.items() if text.startswith(start))
    return says(found, (1500, 500, 1000), X_Late="0.002")


@pytest.fixture
def server(indexed, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    noise_pictures(indexed / "pictures" / "noise", PICTURES - 3)
    hurry = {"timeout_s": 10.0, "tries": 5, "first_pause_s": 0.0}
    monkeypatch.setattr(server_client, "RetryPolicy", partial(server_client.RetryPolicy, **hurry))
    with serving() as served:
        served.answer = answer
        yield served


def words(server, *more):
    return [*COMPOSE, "--composer", f"openai:{server.url}#tiny", *more]


def rows(kind="compositions"):
    return pq.read_table(f"out/{kind}").to_pylist() if list(Path("out", kind).glob("*.parquet")) else []


def record():
    return json.loads(Path("out/run.json").read_text())


@pytest.mark.slow
def test_a_bound_of_money_ends_a_job_and_a_higher_one_goes_on(server, capsys):
    bound = 17.5 * A_REQUEST
    assert main(words(server, *PRICE, "--max_cost", f"{bound}", "--batch_size", "4")) == 1
    said = capsys.readouterr()
    assert f"of --max_cost {bound:g}" in said.err
    assert said.err.splitlines()[-1].startswith("image2music: spent 0.18 of --max_cost 0.175")
    counts = record()["counts"]
    assert counts["put_off"] > 0
    assert counts["composed"] + counts["put_off"] == PICTURES
    assert server.paid.total() == 18
    assert main(["status", "out"]) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"^requests +18 requests answered, .*27,000 tokens in \(9,000 cached\), 18,000 out, \$0\.18$", said, re.M
    )

    assert main(words(server, *PRICE, "--max_cost", "9")) == 0
    assert len(rows()) == PICTURES
    assert server.paid.total() == CALLS * PICTURES
    assert server.paid_twice == 0
    used = record()["used"]
    assert used["this_run"]["all"]["requests"] == CALLS * PICTURES - 18
    assert used["all_runs"]["all"]["requests"] == CALLS * PICTURES
    assert used["all_runs"]["all"]["cost"] == pytest.approx(CALLS * PICTURES * A_REQUEST)
    assert used["price"] == [0, 10]
    assert set(used["all_runs"]["steps"]) == {"look", "tune", "motivation"}
    assert "40 requests answered" in capsys.readouterr().out


@pytest.mark.slow
def test_what_failed_is_asked_anew_once_a_job_has_ended_unless_the_server_was_away(server):
    lake = answer

    def prose(body):
        reply = lake(body)
        return says("I would rather not.") if reply[1]["choices"][0]["message"]["content"] == TUNE else reply

    server.answer = prose
    assert main(words(server, "--max_failures", "100%")) == 3
    assert {row["reason"] for row in rows("failures")} != {"server_unavailable"}
    server.answer = lake
    assert main(words(server)) == 0
    assert len(rows()) == PICTURES


@pytest.mark.slow
@pytest.mark.process
def test_a_killed_job_goes_on_and_pays_nothing_twice_though_three_of_ten_requests_fail(server, indexed):
    server.answer = unreliable(partial(slowly, server), 0.3, seed=3)
    command = words(server, "--batch_size", "4", "--concurrency", "3")
    job = start(command, indexed)
    end = time.monotonic() + 60
    while server.paid.total() < 16 and time.monotonic() < end:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    time.sleep(0.2)
    before = server.paid.total()
    assert 16 <= before < CALLS * PICTURES
    server.answer = unreliable(answer, 0.3, seed=4)
    main([*command, "--max_failures", "100%"])
    assert len(rows()) + len(rows("failures")) == PICTURES
    assert server.paid_twice <= 3, "what was under way when the job was killed"
    assert record()["used"]["all_runs"]["all"]["requests"] == server.paid.total() - server.paid_twice


@pytest.mark.slow
@pytest.mark.process
def test_two_workers_hold_one_bound(server, indexed):
    command = words(server, *PRICE, "--batch_size", "2")
    job = start([*command, "--max_cost", "0.205", "--workers", "2"], indexed)
    said, _ = job.communicate(timeout=120)
    assert job.returncode == 1, said
    assert "spent 0.21 of --max_cost 0.205" in said
    assert server.paid.total() == 21
    assert main([*command, "--max_cost", "9"]) == 0
    assert (len(rows()), server.paid.total()) == (PICTURES, CALLS * PICTURES)


def slowly(server, body):
    status, said, headers = answer(body)
    return status, said, {**headers, "X-Late": "0.1"}


@pytest.mark.slow
def test_ablations_are_counted_too(server, indexed):
    for path in Path("pictures", "noise").iterdir():
        path.unlink()
    command = ["ablate", *words(server, *PRICE)[1:]]
    at = command.index("--protocol")
    assert main([*command[:at], *command[at + 2 :], "--max_failures", "100%"]) in (0, 3)
    assert record()["used"]["all_runs"]["all"]["requests"] == server.paid.total()


def options(**given):
    return ComposeOptions(
        **{"images": "in", "index": "t.lance", "output": "out", "composer": "openai:http://h/v1#m"} | given
    )


def test_workers_share_what_may_be_under_way():
    assert [options(workers=n).sending.concurrency for n in (1, 3, 8, 99)] == [8, 2, 1, 1]
    assert options().sending.ledger == "out/requests.sqlite"
    assert options(composer="nano").sending.ledger == ""
    elsewhere = ("--runner=DataflowRunner",)
    given = {"images": "/in", "index": "/t.lance", "output": "/out", "beam": elsewhere}
    assert options(**given).sending.ledger == ""
    with pytest.raises(ConfigError, match="holds on one machine"):
        options(**given, price=(1.0, 2.0), max_cost=3.0)


@pytest.mark.parametrize(
    "bad", [{"max_cost": 3.0}, {"max_cost": 0.0, "price": (1.0, 2.0)}, {"concurrency": 0}, {"price": (-1.0, 2.0)}]
)
def test_money_that_cannot_be_counted_is_refused(bad):
    with pytest.raises(ConfigError):
        options(**bad)


def test_no_option_of_money_changes_a_row():
    plain, bounded = options(), options(price=(1.0, 2.0), max_cost=3.0, concurrency=2)
    assert plain.loop == bounded.loop


def test_small_models_go_in_small_steps(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "patch_size": 14, "spatial_merge_size": 2}
    for folder, layers in ((small, 28), (large, 64)):
        folder.mkdir()
        config = {
            "model_type": "qwen2_5_vl", "hidden_size": 3584 if layers == 28 else 5120, "num_hidden_layers": layers,
            "intermediate_size": 18944 if layers == 28 else 27648, "num_attention_heads": 28, "num_key_value_heads": 4,
            "vocab_size": 152064, "vision_config": vision,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
    assert default_steps(f"transformers:{small}") == "small"
    assert default_steps(f"transformers:{large}") == "full"
    assert default_steps("openai:http://h/v1#m") == default_steps("nano") == "full"
