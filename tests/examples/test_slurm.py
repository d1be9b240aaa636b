"""The scripts in examples/slurm, with a program in Slurm's place that runs every job at once and in order."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.cluster_check import here, noise_world

ROOT = Path(__file__).parents[2]
SUBMIT = ROOT / "examples" / "slurm" / "submit.sh"

SBATCH = """#!/bin/bash
# What sbatch does with --array=1-N, --dependency and --parsable, without a queue.
last=1
for word in "$@"; do
    case $word in
        --array=1-*) last=${word#--array=1-} ;;
        --dependency=afterany:7) ;;
        --parsable | --partition=cpu) ;;
        --*) echo "sbatch: unknown option $word" >&2; exit 1 ;;
        *) script=$word ;;
    esac
done
for ((task = 1; task <= last; task++)); do
    SLURM_ARRAY_TASK_ID=$task bash "$script" >> log.txt 2>&1
    code=$?
    echo "$(basename "$script") $task: $code" >> codes.txt
done
echo "7;cluster"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with `sbatch` and `image2music` on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH)
    (programs / "image2music").write_text(f'#!/bin/bash\nexec "{sys.executable}" -m pipelines.cli.main "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'stand_ins'}{os.pathsep}{ROOT}")
    return tmp_path


def submit(home, slices):
    places = {"PICTURES": f"{home}/pictures", "INDEX": f"{home}/tunes.lance", "OUTPUT": f"{home}/out"}
    more = {"SLICES": str(slices), "OPTIONS": "--composer fake --max_failures 50% --slice_size 5"}
    words = [SUBMIT, "--partition=cpu"]
    return subprocess.run(words, cwd=home, env=os.environ | places | more, capture_output=True, text=True)


def test_what_is_not_said_is_asked_for(cluster):
    done = subprocess.run([SUBMIT], cwd=cluster, capture_output=True, text=True)
    assert done.returncode != 0
    assert "PICTURES" in done.stderr


@pytest.mark.process
def test_an_array_of_two_slices_and_finish_make_every_row(cluster):
    world = noise_world(cluster, 20)
    here(world, world.index(str(cluster)))
    done = submit(cluster, 2)
    assert done.returncode == 0, done.stderr
    codes = (cluster / "codes.txt").read_text().splitlines()
    assert codes == ["compose.sbatch 1: 0", "compose.sbatch 2: 0", "finish.sbatch 1: 0"], (
        cluster / "log.txt"
    ).read_text()
    assert pq.read_table(cluster / "out" / "compositions").num_rows == 20
    assert pq.read_table(cluster / "out" / "failures").num_rows == 3


@pytest.mark.process
def test_finish_says_which_slice_is_missing_and_the_same_commands_go_on(cluster, monkeypatch):
    world = noise_world(cluster, 20)
    here(world, world.index(str(cluster)))
    scripts = cluster / "bin" / "image2music"
    whole = scripts.read_text()
    scripts.write_text(whole.replace("exec", '[[ "$*" == *"--slice 2/2"* ]] && exit 1\nexec'))
    submit(cluster, 2)
    assert (cluster / "codes.txt").read_text().splitlines()[1:] == ["compose.sbatch 2: 1", "finish.sbatch 1: 1"]
    assert "2/2" in (cluster / "log.txt").read_text()
    scripts.write_text(whole)
    assert submit(cluster, 2).returncode == 0
    assert (cluster / "codes.txt").read_text().splitlines()[-1] == "finish.sbatch 1: 0"
    assert pq.read_table(cluster / "out" / "compositions").num_rows == 20
