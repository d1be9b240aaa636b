import gzip
import json
import os
import time

import lance
import lancedb
import pyarrow.parquet as pq
import pytest
from fakes import FakeEmbedder, two_voice_tune

from image2music.abc.playback import abc_to_midi
from image2music.errors import JobError
from image2music.index.table import open_index
from image2music.storage.output import open_index_files
from pipelines.cli.main import main

INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance"]
UPDATE = [*INDEX, "--update"]
LONG_AGO = time.time() - 3600


def rows(uri="tunes.lance"):
    return sorted(lance.dataset(uri).to_table().to_pylist(), key=lambda row: row["location"])


def captions(*locations, **changed):
    lines = [{"location": name, "caption": changed.get(name[:-4], name[:-4]), "genre": ["pop"]} for name in locations]
    with open("captions.json", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def write_tune(name, seed):
    with open(f"midi/{name}", "wb") as file:
        file.write(abc_to_midi(two_voice_tune(seed)))
    os.utime(f"midi/{name}", (LONG_AGO + 60, LONG_AGO + 60))


def no_space(*_):
    raise JobError("no space left", reason="job_failed")


def record():
    with open("tunes.lance.run.json") as file:
        return json.load(file)


@pytest.fixture
def embedded(monkeypatch):
    """Captions in the order in which they were embedded."""
    seen = []
    real = FakeEmbedder.embed_texts
    monkeypatch.setattr(FakeEmbedder, "embed_texts", lambda self, texts: seen.extend(texts) or real(self, texts))
    return seen


@pytest.fixture
def settled(indexed, embedded):
    """The world with an index whose files all changed long ago and are known."""
    for name in os.listdir("midi"):
        os.utime(f"midi/{name}", (LONG_AGO, LONG_AGO))
    assert main(UPDATE) == 0
    embedded.clear()
    return indexed


def test_only_what_is_new_or_changed_is_made_and_the_rows_are_those_of_a_full_build(settled, embedded):
    write_tune("new.mid", 77)
    write_tune("green.mid", 78)
    captions("new.mid", "green.mid", "blue.mid", blue="azure")  # red.mid has lost its line
    before = open_index("tunes.lance").version
    assert main(UPDATE) == 0
    assert sorted(embedded) == ["azure", "green", "new"]
    updated = rows()
    counts = record()["counts"]
    assert {name: counts[name] for name in ("new", "changed", "removed", "unchanged", "files_read")} == {
        "new": 2,  # green.mid is another tune now
        "changed": 1,
        "removed": 2,
        "unchanged": 0,
        "files_read": 2,
    }
    assert record()["index"]["version"] == open_index("tunes.lance").version > before
    main([*INDEX, "--embedder", "fake"])
    assert rows() == updated


def test_rows_that_did_not_change_stay_in_their_files(settled):
    before = {file.path for fragment in lance.dataset("tunes.lance").get_fragments() for file in fragment.data_files()}
    captions("red.mid", "green.mid", "blue.mid", blue="azure")
    main(UPDATE)
    after = {file.path for fragment in lance.dataset("tunes.lance").get_fragments() for file in fragment.data_files()}
    assert before < after
    assert [row["caption"] for row in rows()] == ["azure", "green", "red"]


def test_when_nothing_changed_no_file_is_read_no_model_loaded_and_no_version_made(settled, monkeypatch, capsys):
    before = open_index("tunes.lance").version
    monkeypatch.setattr("image2music.embedders.base.load_embedder", lambda spec: pytest.fail("loaded"))
    monkeypatch.setattr("transforms.midi.read_under", lambda *_: pytest.fail("read"))
    assert main(UPDATE) == 0
    assert open_index("tunes.lance").version == before
    assert "3 unchanged, 0 files read" in capsys.readouterr().out


def test_a_change_that_size_and_time_hide_is_found_by_rehash(settled, embedded):
    path = settled / "midi" / "red.mid"
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    main(UPDATE)
    assert embedded == []
    main([*UPDATE, "--rehash"])
    assert embedded == ["red"]


def test_rows_that_lost_their_line_can_be_kept(settled):
    captions("red.mid")
    main([*UPDATE, "--keep_removed"])
    assert len(rows()) == 3
    main(UPDATE)
    assert [row["location"] for row in rows()] == ["red.mid"]


def test_rows_whose_file_is_missing_go_with_a_word_and_can_be_kept(settled, capsys):
    os.rename("midi/red.mid", "red.mid")
    assert main([*UPDATE, "--keep_removed"]) == 3
    assert len(rows()) == 3
    assert main(UPDATE) == 3
    assert [row["location"] for row in rows()] == ["blue.mid", "green.mid"]
    assert "1 row went because the files of their lines cannot be read" in capsys.readouterr().out


def test_a_compressed_captions_file_that_breaks_off_removes_nothing(settled, capsys):
    whole = gzip.compress((settled / "captions.json").read_bytes())
    (settled / "captions.json.gz").write_bytes(whole[:-12])
    assert main([word.replace("captions.json", "captions.json.gz") for word in UPDATE]) == 1
    assert len(rows()) == 3
    assert "is not a whole gzip file" in capsys.readouterr().err


def test_a_reader_of_an_earlier_version_is_not_disturbed(settled):
    reader = open_index("tunes.lance")
    captions("red.mid")
    main(UPDATE)
    query = FakeEmbedder().embed_texts(["blue"])[0]
    assert reader.search(query, 1)[0].caption == "blue"
    assert open_index("tunes.lance").search(query, 1)[0].caption == "red"


def test_a_file_that_cannot_be_converted_is_tried_once(settled, monkeypatch):
    (settled / "midi" / "text.mid").write_text("not MIDI at all")
    os.utime("midi/text.mid", (LONG_AGO, LONG_AGO))
    captions("red.mid", "green.mid", "blue.mid", "text.mid")
    assert main(UPDATE) == 3
    first = pq.read_table("tunes.lance.failures").drop(["failed_at"]).to_pylist()
    monkeypatch.setattr("transforms.midi.captioned_tune", lambda *_: pytest.fail("converted again"))
    assert main(UPDATE) == 3
    assert pq.read_table("tunes.lance.failures").drop(["failed_at"]).to_pylist() == first
    assert record()["counts"]["new"] == 0


@pytest.mark.parametrize("place", ["pipelines.jobs.index.replace_rows", "pipelines.jobs.index.finalize"])
def test_a_run_that_breaks_before_or_after_its_commit_is_finished_by_the_next(settled, place):
    captions("red.mid", "green.mid", "blue.mid", blue="azure")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, no_space)
        assert main(UPDATE) == 1
    assert record()["state"] == "failed"
    assert len(rows()) == 3
    assert main(UPDATE) == 0
    assert [row["caption"] for row in rows()] == ["azure", "green", "red"]
    dataset = lance.dataset("tunes.lance")
    assert dataset.version in {tag["version"] for tag in dataset.tags.list().values()}
    assert dataset.stats.index_stats("tune_id_idx")["num_unindexed_rows"] == 0


def test_an_update_that_would_leave_no_row_is_refused(settled, capsys):
    for name in os.listdir("midi"):
        os.remove(f"midi/{name}")
    assert main(UPDATE) == 1
    assert "would lose every row" in capsys.readouterr().err
    assert len(rows()) == 3


def test_another_writer_is_refused(settled, capsys):
    with open_index_files("tunes.lance").lock():
        assert main(UPDATE) == 1
    assert "another run is writing tunes.lance" in capsys.readouterr().err


def test_history_and_restore(settled, capsys):
    captions("red.mid")
    main(UPDATE)
    capsys.readouterr()
    assert main(["index", "--index", "tunes.lance", "--history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    tags = [line.split()[-1] for line in lines if line.split()[-1].startswith(("build-", "update-"))]
    assert [tag.split("-")[0] for tag in tags] == ["build", "update"]
    assert main(["index", "--index", "tunes.lance", "--restore", tags[0]]) == 0
    assert f"tunes.lance is as it was at {tags[0]}: 3 tunes" in capsys.readouterr().out
    assert [row["location"] for row in rows()] == ["blue.mid", "green.mid", "red.mid"]
    main(UPDATE)
    assert [row["location"] for row in rows()] == ["red.mid"]


def test_stats_say_what_is_in_it(indexed, capsys):
    capsys.readouterr()
    assert main(["index", "--index", "tunes.lance", "--stats"]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["tunes"] == "3"
    assert said["embedder"].startswith("fake-embedder@1")
    assert (said["key"], said["meter"], said["genre"], said["mood"]) == ("C 3", "4/4 3", "pop 3", "none")
    assert said["tempo_qpm"].startswith("96 to 96, middle 96")
    assert said["search"] == "exact"
    assert said["recall"].startswith("1.000 at 5, over 3")
    assert said["duplicates"].startswith("0 with the music of another, 0 with the caption")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--index", "tunes.lance", "--restore", "nonsense"], "has no version 'nonsense'; its tags: build-"),
        (["--index", "nothing.lance", "--history"], "no tune index at nothing.lance"),
        (["--index", "nothing.lance", "--restore", "1"], "no tune index at nothing.lance"),
        (["--index", "tunes.lance"], "index needs --captions and --midi_root"),
        ([*INDEX[1:], "--rehash"], "go with --update"),
        (["--index", "tunes.lance", "--history", "--stats"], "not allowed with argument"),
    ],
)
def test_what_cannot_work_is_one_line_on_stderr(indexed, capsys, options, message):
    assert main(["index", *options]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not os.path.exists("nothing.lance.lock")


def test_a_column_that_a_user_added_stays_and_can_be_filtered_by(settled, capsys):
    tunes = lancedb.connect(".").open_table("tunes")
    tunes.add_columns({"licence": "cast(null as string)"})
    tunes.update(where="location != 'red.mid'", values={"licence": "CC0"})
    captions("green.mid", "blue.mid", "new.mid", blue="another")
    write_tune("new.mid", 7)
    assert main(UPDATE) == 0
    licences = {row["location"]: row["licence"] for row in rows()}
    assert licences == {"green.mid": "CC0", "blue.mid": "CC0", "new.mid": None}

    compose = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
    assert main([*compose, "--where", "licence = 'CC0'"]) == 0
    references = pq.read_table("out/compositions")["references"].to_pylist()
    assert {one["location"] for some in references for one in some} == {"green.mid", "blue.mid"}
    for asking in (["--stats"], ["--history"]):
        assert main(["index", "--index", "tunes.lance", *asking]) == 0
    capsys.readouterr()
    assert main([*compose, "--where", "license = 'CC0'"]) == 1
    assert "licence" in capsys.readouterr().err
