"""The judge through a small server that speaks chat completions, the listening form, and the toolkit's stand-in."""

import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from image2music.evaluation.questions import ANSWER_COLUMNS
from image2music.evaluation.votes import VOTE_COLUMNS, tune_mark
from image2music.storage.output import open_output
from pipelines.cli.main import main


def prejudiced(prompt):
    """7 points to whatever stands first, a point less to each that follows."""
    names = [line[2:].partition(":")[0] for line in prompt.splitlines() if line.startswith("- ")]
    return "\n".join(f"{name}: {7 - place}" for place, name in enumerate(names))


@pytest.fixture
def server(monkeypatch):
    """`says` makes an answer of a prompt; `asked` keeps the prompts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = body["messages"][0]["content"][1]["text"]
            http.asked.append(prompt)
            said = {"choices": [{"message": {"content": http.says(prompt)}}]}
            data = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.says, http.asked = prejudiced, []
    http.spec = f"openai:http://127.0.0.1:{http.server_port}/v1#judge"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http
    http.shutdown()
    http.server_close()
    thread.join(timeout=10)


@pytest.fixture
def composed(indexed):
    """Three rows by the stand-in composer."""
    assert (
        main(["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"])
        == 0
    )
    return indexed / "out"


def report(output):
    return json.loads((output / "score.json").read_text())


def test_the_plan_says_what_a_judge_costs_and_asks_nothing(composed, server, capsys):
    assert main(["score", "--input", "out", "--judge", server.spec, "--price", "2,10", "--plan"]) == 0
    said = capsys.readouterr().out
    assert "18 conversations" in said
    assert "at most $" in said
    assert server.asked == []
    assert not (composed / "score.json").exists()


def test_a_judge_that_likes_what_stands_first_likes_nothing_better(composed, server, capsys):
    assert main(["score", "--input", "out", "--judge", server.spec]) == 0
    assert "judge openai:" in capsys.readouterr().err
    measures = report(composed)["systems"]["out"]["measures"]
    music = [measures[f"judge.{name}"]["mean"] for name in ("music_overall", "melody", "rhythm", "authenticity")]
    assert music == pytest.approx([5.0] * 4)
    judged = report(composed)["judge"]
    assert (judged["conversations"], judged["malformed"], judged["failed"]) == (18, 0, {})
    assert judged["spread"]["out"] == pytest.approx(0.0, abs=1e-9)
    assert judged["used"]["requests"] == 18


def test_malformed_answers_are_counted(composed, server):
    server.says = lambda prompt: prejudiced(prompt) if "blank" in prompt else "It is lovely."
    assert main(["score", "--input", "out", "--judge", server.spec, "--judge_times", "2"]) == 0
    assert report(composed)["judge"]["malformed"] == 6
    measures = report(composed)["systems"]["out"]["measures"]
    assert "judge.melody" in measures
    assert "judge.emotion" not in measures


def test_no_prompt_tells_whose_tune_it_is(composed, server):
    assert main(["score", "--input", "out", "--judge", server.spec, "--judge_times", "1"]) == 0
    assert len(server.asked) == 6
    assert not any("T:" in prompt or "fake" in prompt for prompt in server.asked)


def test_a_judge_that_is_no_chat_model_is_refused(composed, capsys):
    assert main(["score", "--input", "out", "--judge", "nano"]) == 1
    assert "--judge takes openai:BASE_URL#MODEL" in capsys.readouterr().err


def test_listeners_answers_come_back_into_the_table(composed, capsys):
    assert main(["score", "--input", "out", "--study", "2"]) == 0
    page = (composed / "study" / "index.html").read_text()
    with open(composed / "study-key.csv") as file:
        codes = [line["item"] for line in csv.DictReader(file)]
    assert len(codes) == 2
    assert all(code in page and (composed / "study" / "sounds" / f"{code}.wav").is_file() for code in codes)
    with open("ann.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ANSWER_COLUMNS)
        writer.writerows(["Ann", code, *[6] * 9] for code in codes)
    assert main(["score", "--input", "out", "--answers", "ann.csv"]) == 0
    melody = report(composed)["systems"]["out"]["measures"]["listeners.melody"]
    assert (melody["n"], melody["mean"]) == (2, 6.0)
    assert report(composed)["listeners"]["listeners"] == 1


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "cp1252")])
def test_votes_of_a_report_count_for_the_tunes_that_were_heard(composed, capsys, delimiter, encoding):
    rows = open_output(composed).compositions.read(["image_id", "abc"])
    with open("votes.csv", "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(VOTE_COLUMNS)
        for row, choice in zip(rows, ("a", "b", "neither"), strict=True):
            writer.writerow(
                ["Jürgen", row["image_id"], "", "run", "out", tune_mark(row["abc"]), "other", "0" * 16, choice, ""]
            )
    assert main(["score", "--input", "out", "--answers", "votes.csv"]) == 0
    measure = report(composed)["systems"]["out"]["measures"]["listeners.preferred_to_run"]
    assert (measure["n"], measure["mean"]) == (2, 0.5)
    assert report(composed)["votes"] == {"votes": 3, "gone": 0, "choices": {"a": 1, "b": 1, "neither": 1}}
    assert capsys.readouterr().out.startswith("3 votes, 0 for both, 1 for neither.\n")


def test_answers_without_a_form_are_refused(composed, capsys):
    (composed.parent / "ann.csv").write_text("listener,item\n")
    assert main(["score", "--input", "out", "--answers", "ann.csv"]) == 1
    assert "write the form with --study first" in capsys.readouterr().err


def test_a_file_that_is_neither_votes_nor_answers_is_refused_as_such(composed, capsys):
    (composed.parent / "other.csv").write_text("picture;price\n")
    assert main(["score", "--input", "out", "--answers", "other.csv"]) == 1
    assert "other.csv has no columns vote, a_tune and b_tune" in capsys.readouterr().err


def test_songeval_s_aspects_stand_in_the_table(composed, tmp_path, monkeypatch):
    (tmp_path / "toolkit").mkdir()
    (tmp_path / "toolkit" / "eval.py").write_text(
        "import json, pathlib, sys\n"
        "folder, out = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[4])\n"
        "out.mkdir()\n"
        "names = ['Coherence', 'Musicality', 'Memorability', 'Clarity', 'Naturalness']\n"
        "rated = {path.stem: dict.fromkeys(names, 3.0) for path in folder.glob('*.wav')}\n"
        "(out / 'result.json').write_text(json.dumps(rated))\n"
    )
    assert main(["score", "--input", "out", "--songeval", str(tmp_path / "toolkit")]) == 0
    assert report(composed)["systems"]["out"]["measures"]["songeval.clarity"]["mean"] == 3.0
