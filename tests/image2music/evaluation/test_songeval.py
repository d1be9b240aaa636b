"""The adapter against a stand-in for the toolkit: a program with its arguments and the form of its result."""

import sys

import pytest

from image2music.errors import ConfigError, ModelError
from image2music.evaluation.questions import ASPECTS, SongEval

TOOLKIT = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("-i")
parser.add_argument("-o")
args = parser.parse_args()
out = pathlib.Path(args.o)
out.mkdir(parents=True, exist_ok=True)
names = sorted(path.stem for path in pathlib.Path(args.i).glob("*.wav"))
aspects = ["Coherence", "Musicality", "Memorability", "Clarity", "Naturalness"]
result = {name: {aspect: 1.5 + n for aspect in aspects} for n, name in enumerate(names)}
(out / "result.json").write_text(json.dumps(result))
"""


def toolkit(folder, program=TOOLKIT):
    (folder / "eval.py").write_text(program)
    return SongEval(folder, sys.executable)


def test_all_sounds_are_rated_in_one_run(tmp_path):
    rated = toolkit(tmp_path).rate({"0": b"RIFF", "1": b"RIFF"})
    assert rated == {"0": dict.fromkeys(ASPECTS, 1.5), "1": dict.fromkeys(ASPECTS, 2.5)}


def test_a_program_that_fails_is_quoted(tmp_path):
    with pytest.raises(ModelError, match=r"eval.py failed: .*no weights here"):
        toolkit(tmp_path, "raise SystemExit('no weights here')").rate({"0": b""})


def test_a_result_that_lacks_a_sound_is_an_error(tmp_path):
    lacking = TOOLKIT.replace("for n, name in enumerate(names)", "for n, name in enumerate(names[1:])")
    with pytest.raises(ModelError, match="lacks an aspect of 0"):
        toolkit(tmp_path, lacking).rate({"0": b"", "1": b""})


def test_no_result_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"result.json cannot be read"):
        toolkit(tmp_path, "").rate({"0": b""})


def test_a_folder_without_the_toolkit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no eval.py in it"):
        SongEval(tmp_path)
