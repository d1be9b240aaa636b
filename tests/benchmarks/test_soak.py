import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.crops import make_crops
from benchmarks.soak import measure
from benchmarks.watched_job import Sample, Watched, watch


def run_of(rates_a_second, mb):
    """40 rows, of which each ten take as long as the rates say; one process with so much memory in each ten."""
    moments = [float(moment) for moment in np.cumsum(np.repeat([1 / rate for rate in rates_a_second], 10))]
    samples = [Sample(moment, mb[number // 10], moment) for number, moment in enumerate(moments)]
    return Watched(commands={7: "python -c spawn_main()"}, samples={7: samples}), moments


def test_a_run_that_stays_as_it_is_is_steady():
    soak = measure(*run_of([2, 2, 2, 2], mb=[500, 550, 550, 560]), pictures=40)
    assert (soak.part, soak.first_rate, soak.last_rate) == (10, pytest.approx(120), pytest.approx(120))
    assert (soak.growth_mb, soak.peaks_mb) == (10, {"worker 7": 560})
    assert soak.is_steady


@pytest.mark.parametrize(
    ("rates", "mb", "pictures"),
    [([2, 2, 2, 1], [500] * 4, 40), ([2] * 4, [500, 550, 600, 651], 40), ([2] * 4, [500] * 4, 41)],
    ids=["slower", "larger", "a row is missing"],
)
def test_a_run_that_gets_worse_is_not(rates, mb, pictures):
    assert not measure(*run_of(rates, mb), pictures=pictures).is_steady


@pytest.mark.process
def test_processes_of_a_command_are_watched_with_its_children(tmp_path):
    child = [sys.executable, "-c", "x = bytearray(50 << 20); import time; time.sleep(1)"]
    parent = f"import subprocess; subprocess.run({child!r}); print('done')"
    seen = watch([sys.executable, "-c", parent], tmp_path / "log", every=0.05)
    assert (seen.code, seen.output, len(seen.samples)) == (0, "done\n", 2)
    assert max(seen.peak_mb(process) for process in seen.samples) > 50


def test_crops_are_the_same_every_time_and_differ_from_each_other(tmp_path):
    (tmp_path / "photographs").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photographs" / "noise.png")
    for name in ("first", "second"):
        make_crops(tmp_path / "photographs", tmp_path / name, 5)
    first, second = (
        [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("first", "second")
    )
    assert first == second
    assert len(set(first)) == 5
