"""--midi_root may be a tar archive: the same rows, the same failures, and updates by what the archive says."""

import json
import os
import subprocess
import tarfile

import lance
import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_midi
from pipelines.cli.main import main


def index(root, *more):
    command = ["index", "--captions", "captions.json", "--midi_root", root, "--index", "tunes.lance"]
    return main([*command, "--embedder", "fake", *more])


def rows():
    return sorted(lance.dataset("tunes.lance").to_table().to_pylist(), key=lambda row: row["location"])


def pack(archive):
    flags = "-czf" if archive.endswith("gz") else "-cf"
    subprocess.run(["tar", flags, archive, "-C", "midi", "."], check=True)


@pytest.fixture(params=["midi.tar", "midi.tar.gz"])
def archive(request, world):
    for name in os.listdir("midi"):
        os.utime(f"midi/{name}", (1_500_000_000, 1_500_000_000))
    pack(request.param)
    return request.param


def test_the_rows_are_those_of_the_folder(archive):
    assert index("midi") == 0
    from_folder = rows()
    assert index(archive) == 0
    assert rows() == from_folder


def test_nothing_is_unpacked(archive, world):
    before = sorted(path for path in world.rglob("*") if "tunes.lance" not in str(path))
    index(archive)
    assert sorted(path for path in world.rglob("*") if "tunes.lance" not in str(path)) == before


def test_an_update_reads_only_members_of_another_size_or_time(archive, capsys):
    index(archive)
    index(archive, "--update")
    capsys.readouterr()
    assert index(archive, "--update") == 0
    assert "3 unchanged, 0 files read" in capsys.readouterr().out
    with open("midi/red.mid", "wb") as file:
        file.write(abc_to_midi(two_voice_tune(99)))
    pack(archive)
    assert index(archive, "--update") == 0
    assert "1 new, 0 changed, 1 removed, 2 unchanged, 1 file read" in capsys.readouterr().out


def test_what_is_not_in_the_archive_or_leaves_it_is_a_failure(world):
    with tarfile.open("midi.tar", "w") as file:
        file.add("midi/red.mid", "red.mid")
        link = tarfile.TarInfo("link.mid")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        file.add("midi/blue.mid", "../blue.mid")
    with open("captions.json", "w", encoding="utf-8") as file:
        for name in ("red.mid", "link.mid", "missing.mid", "../blue.mid", "/etc/passwd"):
            file.write(json.dumps({"location": name, "caption": "x"}) + "\n")
    assert index("midi.tar") == 3
    assert [row["location"] for row in rows()] == ["red.mid"]
    found = pq.read_table("tunes.lance.failures").to_pylist()
    assert sorted((row["uri"], row["reason"]) for row in found) == [
        ("captions.json:4", "outside_midi_root"),
        ("captions.json:5", "outside_midi_root"),
        ("link.mid", "link_in_archive"),
        ("missing.mid", "unreadable_file"),
    ]


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("captions.json", "is neither a folder nor a file with the ending .tar"),
        ("broken.tar", "no tar archive that can be read"),
        ("ftp://host/midi.tar", "--midi_root: ftp://host/midi.tar: ftp:// is not known here"),
    ],
)
def test_what_cannot_work_is_one_line_on_stderr(world, capsys, root, message):
    (world / "broken.tar").write_text("no archive")
    assert index(root) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
