import json
import platform

import pytest

from pipelines.cli.main import main

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


@pytest.fixture
def with_a_failure(indexed):
    (indexed / "pictures" / "notes.jpg").write_text("no picture")
    return indexed


def test_one_line_of_json_for_each_picture(with_a_failure):
    assert main([*COMPOSE, "--max_failures", "1", "--log_json", "log.jsonl"]) == 3
    lines = [json.loads(line) for line in (with_a_failure / "log.jsonl").read_text().splitlines()]
    ends = {line["uri"]: line["result"] for line in lines}
    assert ends == {f"pictures/{name}.png": "composed" for name in ("red", "green", "blue")} | {
        "pictures/notes.jpg": "failed"
    }
    (failure,) = (line for line in lines if line["result"] == "failed")
    assert (failure["stage"], failure["reason"]) == ("describe", "not_a_picture")
    assert all(line["seconds"] > 0 and line["title"] for line in lines if line["result"] == "composed")


def test_lines_may_go_to_stdout(indexed, capfd):
    assert main([*COMPOSE, "--log_json", "-"]) == 0
    assert sum(line.startswith('{"at": ') for line in capfd.readouterr().out.splitlines()) == 3


def test_failures_are_counted_by_reason(with_a_failure, capsys):
    main([*COMPOSE, "--max_failures", "1"])
    record = json.loads((with_a_failure / "out" / "run.json").read_text())
    assert record["counts"]["failed_for_reason"] == {"not_a_picture": 1}
    main(["status", "out"])
    assert "failed_for_reason" in capsys.readouterr().out


def test_status_tells_a_job_that_was_killed_from_one_that_runs(indexed, capsys):
    main(COMPOSE)
    run = indexed / "out" / "run.json"
    record = json.loads(run.read_text()) | {"state": "running"}
    for pid, state in ((1, "running"), (2**22 + 1, "killed")):
        run.write_text(json.dumps(record | {"process": {"host": platform.node(), "pid": pid}}))
        capsys.readouterr()
        assert main(["status", "out"]) == 0
        assert main(["status", "--input", "out"]) == 0
        assert capsys.readouterr().out.splitlines()[0].split()[:2] == ["state", state]
