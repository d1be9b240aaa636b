"""`export` and `report` given again: what is up to date is left alone, and a run that was killed is gone on with."""

import json
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune
from s3_servers import make_bucket, moto_server, use_store

from image2music.abc.playback import abc_to_midi
from image2music.report.page import picture_page
from image2music.storage.files import LocalPlace, open_place
from image2music.storage.locks import file_lock
from image2music.storage.objects import ObjectPlace
from image2music.storage.output import WrittenFiles, open_output
from pipelines.cli.main import main
from pipelines.jobs import report

COMPOSE = "compose --images pictures --index tunes.lance --output out --composer fake"
REPORT = "report --input out --output pages --sounds 1"
EXPORT = "export --input out --output files --formats abc,midi"


class KilledError(BaseException):
    """What a process that is killed does not notice; nothing of ours catches it."""


@pytest.fixture(scope="module")
def composed_once(made_once, tmp_path_factory):
    """Three pictures with tunes by the stand-in composer, and a rival for one of them."""
    home = tmp_path_factory.mktemp("nights") / "world"
    shutil.copytree(made_once, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(COMPOSE.split()) == 0
        rows = rows_of("out")
        lost = {"abc": two_voice_tune(93), "accepted": False, "reason": "less_musical", "critic": -1.0}
        rows[0]["rounds"].append(rows[0]["rounds"][0] | lost)
        write_rows("out", rows)
    return home


@pytest.fixture
def composed(composed_once, tmp_path, monkeypatch):
    home = tmp_path / "world"
    shutil.copytree(composed_once, home)
    monkeypatch.chdir(home)
    return home


def rows_of(output):
    (shard,) = open_output(output).compositions.shards()
    return pq.ParquetFile(shard).read().to_pylist()


def write_rows(output, rows):
    """Put rows in the place of all that an output has."""
    dataset = open_output(output).compositions
    (shard,) = dataset.shards()
    dataset.replace([shard], pa.Table.from_pylist(rows, pq.ParquetFile(shard).schema_arrow), ("image_id",))


def stamps(folder):
    """When each file was written, by its name."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def written(folder, before):
    """What is new or was written anew since, but for the table."""
    return {name for name, stamp in stamps(folder).items() if before.get(name) != stamp} - {"files.csv"}


def contents(folder, but=()):
    return {name: (Path(folder) / name).read_bytes() for name in stamps(folder) if name not in but}


def fresh(words, output):
    """What a command writes into an empty folder."""
    shutil.rmtree("fresh", ignore_errors=True)
    assert main(words.replace(f"--output {output}", "--output fresh").split()) == 0
    return contents("fresh")


def killed(words, number, *more):
    """Give a command that is killed when it writes for that time; return whether it was."""
    left = number

    def dying(self, *given):
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return write[type(self)](self, *given)

    with pytest.MonkeyPatch.context() as patch:
        write = {LocalPlace: LocalPlace.refresh, ObjectPlace: ObjectPlace.write}
        patch.setattr(LocalPlace, "refresh", dying)
        patch.setattr(LocalPlace, "write", lambda self, data: dying(self, [data]))
        patch.setattr(ObjectPlace, "write", dying)
        try:
            main([*words.split(), *more])
        except KilledError:
            return True
    return False


# --- report


def test_a_second_report_writes_nothing(composed, capsys):
    assert main(REPORT.split()) == 0
    assert "3 written, 0 unchanged: open" in capsys.readouterr().out
    before = stamps("pages")
    assert main(REPORT.split()) == 0
    assert stamps("pages") == before
    assert "0 written, 3 unchanged: open" in capsys.readouterr().out


def test_a_row_that_changed_changes_its_page_alone(composed, capsys):
    main(REPORT.split())
    before, rows = stamps("pages"), rows_of("out")
    rows[1]["motivation"] = "Because of the light."
    write_rows("out", rows)
    capsys.readouterr()
    assert main(REPORT.split()) == 0
    assert written("pages", before) == {f"pictures/{rows[1]['image_id'][:16]}.html"}
    assert "1 written, 2 unchanged" in capsys.readouterr().out
    assert contents("pages") == fresh(REPORT, "pages")


def test_a_title_stands_on_the_pages_before_and_after_it_too(composed):
    main(REPORT.split())
    rows = sorted(rows_of("out"), key=lambda row: row["image_uri"])
    rows[0]["title"] = "Another name"
    write_rows("out", rows)
    before = stamps("pages")
    assert main(REPORT.split()) == 0
    pages = {name for name in written("pages", before) if name.endswith(".html") and name.startswith("pictures/")}
    assert pages == {f"pictures/{row['image_id'][:16]}.html" for row in rows[:2]}
    assert contents("pages") == fresh(REPORT, "pages")


def test_the_order_of_rows_and_the_shards_that_they_lie_in_do_not_matter(composed):
    main(REPORT.split())
    before, rows = stamps("pages"), rows_of("out")
    dataset = open_output("out").compositions
    schema = pq.ParquetFile(dataset.shards()[0]).schema_arrow
    dataset.replace_all(
        dataset.shards(), [pa.Table.from_pylist([row], schema) for row in reversed(rows)], ("image_id",)
    )
    assert main(REPORT.split()) == 0
    assert written("pages", before) == set()


def test_another_option_changes_every_page(composed):
    main(REPORT.split())
    before = stamps("pages")
    words = f"{REPORT} --include_references"
    assert main(words.split()) == 0
    assert written("pages", before) == {f"pictures/{row['image_id'][:16]}.html" for row in rows_of("out")}
    assert contents("pages") == fresh(words, "pages")


def test_another_failure_changes_no_picture_s_page(composed):
    main(REPORT.split())
    (composed / "pictures" / "broken.png").write_bytes(b"no picture")
    assert main([*COMPOSE.split(), "--max_failures", "1"]) == 3
    before = stamps("pages")
    assert main(REPORT.split()) == 0
    assert not any(name.startswith("pictures/") for name in written("pages", before))
    assert "Failures (1)" in (composed / "pages" / "index.html").read_text()


def test_what_somebody_deleted_or_cut_short_is_written_again(composed):
    main(REPORT.split())
    before = contents("pages")
    names = sorted(before)
    for number, name in enumerate(names):
        if name in ("report.json", "files.csv"):
            continue
        path = composed / "pages" / name
        path.write_bytes(before[name][: len(before[name]) // 2]) if number % 2 else path.unlink()
    assert main(REPORT.split()) == 0
    assert contents("pages") == before
    (composed / "pages" / "files.csv").write_text("image_id,format\nnobody,\x00\n")
    (composed / "pages" / "report.json").write_text("[]")
    assert main(REPORT.split()) == 0
    assert contents("pages") == before


def test_the_page_of_a_row_that_is_gone_goes_and_so_does_what_is_no_part_of_the_report(composed):
    main(REPORT.split())
    rows = rows_of("out")
    write_rows("out", rows[1:])
    (composed / "pages" / "old").mkdir()
    (composed / "pages" / "old" / "page.html").write_text("old")
    assert main(REPORT.split()) == 0
    assert not any(rows[0]["image_id"][:16] in name for name in stamps("pages"))
    assert not (composed / "pages" / "old").exists()
    expected = fresh(REPORT, "pages")
    of_votes = ("assets/pairs.js", "report.json")
    assert {*contents("pages")} == {*expected}
    assert contents("pages", of_votes) == {name: data for name, data in expected.items() if name not in of_votes}


def test_votes_keep_their_place_when_pictures_are_added(composed):
    rows = rows_of("out")
    write_rows("out", rows[:2])
    main(REPORT.split())
    place = json.loads((composed / "pages" / "report.json").read_text())["votes"]
    write_rows("out", rows)
    main(REPORT.split())
    assert (composed / "pages" / "assets" / "pairs.js").read_text().startswith(f'const REPORT = "{place}";')
    (composed / "out").rename("other")
    main(REPORT.replace("--input out", "--input other").split())
    assert json.loads((composed / "pages" / "report.json").read_text())["votes"] != place


def test_a_picture_that_comes_back_is_shown_and_one_that_went_stays_on_its_page(composed, capsys):
    red = composed / "pictures" / "red.png"
    red.rename("red.png")
    main(REPORT.split())
    before = stamps("pages")
    main(REPORT.split())
    assert stamps("pages") == before
    assert capsys.readouterr().out.count("1 of them without their picture") == 2
    (composed / "red.png").rename(red)
    main(REPORT.split())
    assert "1 written, 2 unchanged" in capsys.readouterr().out
    assert contents("pages") == fresh(REPORT, "pages")
    before = stamps("pages")
    red.unlink()
    capsys.readouterr()
    main(REPORT.split())
    assert stamps("pages") == before
    assert "without their picture" not in capsys.readouterr().out


def test_another_run_is_compared_anew_only_where_it_changed(composed, capsys):
    rows = rows_of("out")
    for row, seed in zip(rows[:2], (91, 92), strict=True):
        row["abc"] = two_voice_tune(seed)
        row["midi"] = abc_to_midi(row["abc"])
    shutil.copytree("out", "other")
    write_rows("other", rows)
    words = f"{REPORT} --against other"
    main(words.split())
    before = stamps("pages")
    main(words.split())
    assert stamps("pages") == before
    rows[1]["abc"] = two_voice_tune(94)
    rows[1]["midi"] = abc_to_midi(rows[1]["abc"])
    write_rows("other", rows[1:])
    capsys.readouterr()
    main(words.split())
    assert "1 written, 2 unchanged" in capsys.readouterr().out
    assert contents("pages") == fresh(words, "pages")
    main(REPORT.split())
    assert contents("pages") == fresh(REPORT, "pages")


@pytest.mark.slow
def test_a_report_that_was_killed_at_any_write_is_completed_by_the_next(composed):
    expected, number = fresh(REPORT, "pages"), 0
    while killed(REPORT, number):
        (composed / "pages" / f".torn.{uuid.uuid4().hex}.part").write_bytes(b"half")
        # The thumbnails of half a report are not taken for pictures either.
        assert all(WrittenFiles().holds(str(path)) for path in (composed / "pages").rglob("*.jpg"))
        assert main(REPORT.split()) == 0
        assert contents("pages") == expected
        shutil.rmtree("pages")
        number += 6
    assert number > 20


@pytest.mark.slow
def test_a_report_with_other_options_that_was_killed_leaves_nothing_of_them(composed):
    other, number = REPORT.replace("--sounds 1", "--sounds 2 --include_references"), 0
    main(REPORT.split())
    expected = contents("pages")
    while killed(other, number):
        assert main(REPORT.split()) == 0
        assert contents("pages") == expected
        number += 3
    assert number > 6


def test_what_a_killed_report_had_written_is_not_made_again(composed, monkeypatch):
    made = []

    def noted(row):
        made.append(row["image_id"])
        if len(made) == 2:
            raise KilledError
        return picture_page(row)

    monkeypatch.setattr(report, "picture_page", noted)
    with pytest.raises(KilledError):
        main(REPORT.split())
    assert main(REPORT.split()) == 0
    assert sorted(made[2:]) == sorted({row["image_id"] for row in rows_of("out")} - {made[0]})


# --- export


def test_a_second_export_writes_nothing(composed, capsys):
    assert main(EXPORT.split()) == 0
    assert capsys.readouterr().out.endswith("6 files in files, listed in files.csv: 6 written, 0 unchanged\n")
    before = stamps("files")
    assert main(EXPORT.split()) == 0
    assert stamps("files") == before
    assert capsys.readouterr().out.endswith("6 files in files, listed in files.csv: 0 written, 6 unchanged\n")


def test_a_row_that_changed_changes_its_own_files(composed, capsys):
    main(EXPORT.split())
    before, rows = stamps("files"), rows_of("out")
    rows[2]["title"] = "Another name"
    write_rows("out", rows)
    assert main(EXPORT.split()) == 0
    id = rows[2]["image_id"][:16]
    assert written("files", before) == {f"{id}.abc", f"{id}.mid"}
    assert contents("files") == fresh(EXPORT, "files")


def test_another_option_changes_what_hangs_on_it(composed):
    words = EXPORT.replace("midi", "wav")
    main(words.split())
    before = stamps("files")
    assert main([*words.split(), "--loop"]) == 0
    assert written("files", before) == {f"{row['image_id'][:16]}.wav" for row in rows_of("out")}
    assert contents("files") == fresh(f"{words} --loop", "files")


def test_files_that_somebody_deleted_or_cut_short_are_written_again(composed):
    main(EXPORT.split())
    before = contents("files")
    first, second, *_ = (name for name in sorted(before) if name != "files.csv")
    (composed / "files" / first).unlink()
    (composed / "files" / second).write_bytes(before[second][:-1])
    stamped = stamps("files")
    assert main(EXPORT.split()) == 0
    assert written("files", stamped) == {first, second}
    assert contents("files") == before


def test_files_that_were_not_asked_for_again_stay_in_the_table_while_they_are_of_their_row(composed, capsys):
    main(EXPORT.split())
    before, rows = contents("files"), rows_of("out")
    id = rows[0]["image_id"]
    assert main(["export", "--input", "out", "--output", "files", "--formats", "abc", "--ids", id]) == 0
    assert "1 file in files, listed in files.csv: 0 written, 1 unchanged" in capsys.readouterr().out
    assert contents("files") == before
    rows[0]["title"] = "Another name"
    write_rows("out", rows)
    assert main(["export", "--input", "out", "--output", "files", "--formats", "abc", "--ids", id]) == 0
    out = capsys.readouterr().out
    assert f"1 file in files is of no row of this output any more, such as {id[:16]}.mid; they stay" in out
    assert f"{id[:16]}.mid" not in (composed / "files" / "files.csv").read_text()
    assert main(EXPORT.split()) == 0
    assert "1 written, 5 unchanged" in capsys.readouterr().out


def test_a_table_of_an_earlier_release_says_whose_files_are_there(composed, capsys):
    main(EXPORT.split())
    table, rows = composed / "files" / "files.csv", rows_of("out")
    lines = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    write_rows("out", rows[1:])
    capsys.readouterr()
    assert main(EXPORT.split()) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"2 files in files are of no row of this output any more, such as {rows[0]['image_id'][:16]}.abc; "
        "they stay until you remove them",
        "4 files in files, listed in files.csv: 4 written, 0 unchanged",
    ]


def test_an_export_that_was_killed_at_any_write_is_completed_by_the_next(composed):
    expected, number = fresh(EXPORT, "files"), 0
    while killed(EXPORT, number):
        (composed / "files" / f".torn.{uuid.uuid4().hex}.part").write_bytes(b"half")
        assert main(EXPORT.split()) == 0
        assert contents("files") == expected
        shutil.rmtree("files")
        number += 1
    assert number > 6


@pytest.mark.slow
def test_an_export_with_other_options_that_was_killed_leaves_nothing_of_them(composed):
    words, number = EXPORT.replace("midi", "wav"), 0
    main(words.split())
    expected = contents("files")
    while killed(words, number, "--loop"):
        assert main(words.split()) == 0
        assert contents("files") == expected
        number += 1
    assert number > 3


def test_one_export_at_a_time(composed, capsys):
    with file_lock("files", "files/.lock"):
        assert main(EXPORT.split()) == 1
        assert main(REPORT.replace("pages", "files").split()) == 1
    assert capsys.readouterr().err.count("another run is writing files") == 2


# --- object stores


@pytest.fixture
def store(monkeypatch):
    """An empty place in a store."""
    server = moto_server()
    make_bucket(server, "nights")
    use_store(monkeypatch, server)
    return f"s3://nights/{uuid.uuid4().hex}"


def objects(place):
    return {found.name: (open_place(place) / found.name).read() for found in open_place(place).files(deep=True)}


def test_in_a_store_too_only_what_changed_is_written(composed, store, capsys, monkeypatch):
    words = EXPORT.replace("--output files", f"--output {store}")
    expected = fresh(EXPORT, "files")
    assert main(words.split()) == 0
    assert objects(store) == expected
    put, write = [], ObjectPlace.write

    def noted(self, data):
        put.append(self.name)
        write(self, data)

    monkeypatch.setattr(ObjectPlace, "write", noted)
    assert main(words.split()) == 0
    assert put == [".writable"]
    rows = rows_of("out")
    id = rows[0]["image_id"][:16]
    (open_place(store) / f"{rows[1]['image_id'][:16]}.abc").remove()
    rows[0]["title"] = "Another name"
    write_rows("out", rows)
    capsys.readouterr()
    assert main(words.split()) == 0
    assert "3 written, 3 unchanged" in capsys.readouterr().out
    assert {*put} == {".writable", "files.csv", f"{id}.abc", f"{id}.mid", f"{rows[1]['image_id'][:16]}.abc"}
    assert objects(store) == fresh(EXPORT, "files")
    write_rows("out", rows[1:])
    assert main(words.split()) == 0
    assert "2 files in s3://nights/" in capsys.readouterr().out


def test_in_a_store_too_a_killed_export_is_completed(composed, store):
    expected, number = fresh(EXPORT, "files"), 1
    while killed(EXPORT.replace("--output files", f"--output {store}/{number}"), number):
        assert main(EXPORT.replace("--output files", f"--output {store}/{number}").split()) == 0
        assert objects(f"{store}/{number}") == expected
        number += 1
    assert number > 6
