"""`compose` from end to end with chat models: one that runs here with random weights, and one behind a server."""

import json
import threading
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny_vlms
from chat_fakes import TUNE
from chat_server import late, says, serving
from PIL import Image

from image2music.abc.checker import check
from image2music.composers.chat import composer as chat_composer
from image2music.composers.chat import server as server_client
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

PICTURES = 12
COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--rounds", "1",
           "--protocol", "paper"]  # fmt: skip
ANSWERS = {"Look at": "A calm lake.", "You are": TUNE, "A checker": TUNE, "Your tune": TUNE, "Say why": "It is calm."}


def rows(kind):
    return pq.read_table(f"out/{kind}").to_pylist()


def record():
    return json.loads(Path("out/run.json").read_text())


@pytest.fixture
def many(indexed):
    """As many pictures as it takes for some to fail and some not."""
    for number in range(PICTURES - 3):
        Image.new("RGB", (12, 8), (20 * number, 40, 90)).save(f"pictures/{number}.png")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as served:
        served.answer = answer
        yield served


def answer(body):
    said = body["messages"][-1]["content"]
    text = said if isinstance(said, str) else said[-1]["text"]
    return says(next(answer for start, answer in ANSWERS.items() if text.startswith(start)))


def patience(monkeypatch, **changes):
    hurry = {"timeout_s": 10.0, "tries": 5, "first_pause_s": 0.0} | changes
    monkeypatch.setattr(server_client, "RetryPolicy", partial(server_client.RetryPolicy, **hurry))


def compose(server, *more):
    return main([*COMPOSE, "--composer", f"openai:{server.url}#tiny", *more])


def sometimes(share, fault):
    """Every request has the same chance of the fault, by turns: of ten, `10 * share` in a fixed order."""
    lock, asked = threading.Lock(), iter(range(10**6))

    def reply(body):
        with lock:
            number = next(asked)
        return fault(body) if number * 7 % 10 < 10 * share else answer(body)

    return reply


def test_rows_from_a_server_are_complete(indexed, server):
    assert compose(server) == 0
    composed = rows("compositions")
    assert len(composed) == 3
    for row in composed:
        assert (row["title"], row["key"], row["meter"], row["description"]) == ("Morning", "C", "4/4", "A calm lake.")
        assert row["composer_id"] == f"openai:{server.url}#tiny"
        assert row["attention"] == []
        assert row["motivation"] == "It is calm."
        assert row["midi"].startswith(b"MThd")
        assert row["references"]
    assert record()["counts"]["without_attention"] == {"no_attention": 3}


def test_rows_from_a_server_have_the_maps_of_a_model_that_runs_here(indexed, server, tmp_path):
    model = tiny_vlms.save("qwen2_5_vl", tmp_path / "tiny-qwen")
    without, with_maps = f"openai:{server.url}#tiny", f"openai:{server.url}#tiny+attention=transformers:{model}"
    assert main([*COMPOSE, "--composer", without]) == 0
    (plain,) = {row["settings_hash"] for row in rows("compositions")}
    assert main([*COMPOSE, "--composer", with_maps]) == 1, "other maps are other settings"
    assert main([*COMPOSE, "--composer", with_maps, "--overwrite"]) == 0
    assert record()["counts"]["without_attention"] == {}
    for row in rows("compositions"):
        assert (row["title"], row["motivation"]) == ("Morning", "It is calm.")
        assert row["composer_id"].startswith(f"openai:{server.url}#tiny+attention=transformers:tiny-qwen@")
        assert {entry["kind"] for entry in row["attention"]} == {"all", "voice", "bars", "motivation"}
        assert row["settings_hash"] != plain


FAULTS = {
    "failing": lambda body: (503, {"error": "busy"}, {}),
    "late": lambda body: late(answer(body), 0.5),
    "garbage": lambda body: (200, b"<html>busy</html>", {}),
    "prose": lambda body: says("I would rather not."),
    "nothing": lambda body: says(""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_picture_is_lost_whatever_three_of_ten_requests_meet(many, server, monkeypatch, fault):
    patience(monkeypatch, timeout_s=0.25, tries=1)
    server.answer = sometimes(0.3, FAULTS[fault])
    compose(server, "--batch_size", "4", "--max_failures", "100%")
    composed, failed = (
        [row[name] for row in rows(kind)] for kind, name in (("compositions", "image_id"), ("failures", "id"))
    )
    assert sorted([*composed, *failed]) == sorted(set(composed) | set(failed))
    assert len(composed) + len(failed) == PICTURES
    assert all(row["reason"] and row["message"] for row in rows("failures"))


def test_a_server_that_fails_three_of_ten_requests_costs_no_picture(many, server, monkeypatch):
    patience(monkeypatch)
    server.answer = sometimes(0.3, FAULTS["failing"])
    assert compose(server) == 0
    assert len(rows("compositions")) == PICTURES


def test_rows_of_a_model_that_runs_here_are_complete(indexed, monkeypatch, tmp_path):
    short = partial(chat_composer.AnswerLengths, description=8, tune=130, motivation=16)
    monkeypatch.setattr(chat_composer, "AnswerLengths", short)
    model = tiny_vlms.save("qwen2_5_vl", tmp_path / "tiny-qwen")
    (indexed / "pictures" / "green.png").unlink()
    assert main([*COMPOSE, "--composer", f"transformers:{model}", "--top_k", "1"]) == 0
    composed = rows("compositions")
    assert len(composed) == 2
    for row in composed:
        assert [str(d) for d in check(row["abc"]) if d.severity == "error"] == []
        assert row["composer_id"].startswith("transformers:tiny-qwen@")
        assert {entry["kind"] for entry in row["attention"]} == {"all", "voice", "bars", "motivation"}
        assert all(len(entry["weights"]) == entry["rows"] * entry["cols"] for entry in row["attention"])
        assert row["description"]
        assert row["motivation"]


def test_a_plan_says_what_memory_a_model_takes_from_its_configuration_alone(indexed, tmp_path, capsys):
    model = tiny_vlms.save("qwen2_5_vl", tmp_path / "tiny-qwen")
    (model / "model.safetensors").unlink()
    assert main([*COMPOSE, "--composer", f"transformers:{model}", "--batch_size", "4", "--plan"]) == 0
    said = capsys.readouterr().out
    assert "transformers:tiny-qwen@" in said
    assert "GiB in bfloat16: weights" in said
    assert "4 pictures of at most" in said
    assert (
        main([*COMPOSE, "--composer", f"openai:http://127.0.0.1:9/v1#m+attention=transformers:{model}", "--plan"]) == 0
    )
    said = capsys.readouterr().out
    assert "#m+attention=transformers:tiny-qwen@" in said
    assert "that of the server, and " in said
