"""Hosts in network namespaces, where this machine allows them."""

import sys
from pathlib import Path

import pytest

from benchmarks.netns import network, reason_against

pytestmark = [pytest.mark.process, pytest.mark.skipif(bool(reason_against()), reason=reason_against())]

FETCH = "import sys, urllib.request as u; print(len(u.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read()))"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    with network(("one", "other"), tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="module")
def page(hosts, tmp_path_factory):
    """The address of a large file on the first host."""
    hosts["one"].run(["sh", "-c", "head -c 1000000 /dev/zero > page"])
    log: Path = tmp_path_factory.mktemp("logs") / "server.txt"
    hosts["one"].start([sys.executable, "-u", "-m", "http.server", "8000"], log)
    while "Serving" not in log.read_text():
        pass
    return f"http://{hosts['one'].address}:8000/page"


def fetched(host, page, patience=30.0):
    return host.run([sys.executable, "-c", FETCH, page, str(patience)]).stdout.strip()


def test_hosts_reach_each_other_and_share_no_file(hosts, page):
    assert fetched(hosts["other"], page) == "1000000"
    assert hosts["other"].run(["ls"]).stdout == ""
    assert hosts["one"].seen("page").stat().st_size == 1_000_000


def test_a_host_can_write_only_into_its_folder(hosts):
    assert "Read-only file system" in hosts["one"].run(["touch", str(Path(__file__).with_suffix(".new"))]).stderr


def test_nothing_comes_through_a_link_that_is_cut(hosts, page):
    hosts["other"].cut()
    assert fetched(hosts["other"], page, patience=1.0) == ""
    hosts["other"].mend()
    assert fetched(hosts["other"], page) == "1000000"


def test_a_bad_wire_loses_frames_and_all_arrives_late(hosts, page):
    with hosts["other"].bad_wire(loss=0.02, delay=0.02) as wire:
        assert fetched(hosts["other"], page) == "1000000"
    assert wire.lost
    assert wire.carried > 1_000_000 / 1500
    assert fetched(hosts["other"], page) == "1000000"


def test_a_host_whose_power_fails_has_no_process_left_and_answers_nobody(hosts, page, tmp_path):
    running = hosts["one"].start(["sleep", "100"], tmp_path / "log.txt")
    hosts["one"].power_off()
    assert running.wait(10) != 0
    assert fetched(hosts["other"], page, patience=1.0) == ""
