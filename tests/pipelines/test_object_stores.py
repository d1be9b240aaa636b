"""The commands with everything in an S3 server: captions, files, pictures, index and output."""

import io
import json
import tarfile
import uuid

import pytest
from fault_proxy import FAULTS, FaultProxy
from PIL import Image
from s3_servers import make_bucket, moto_server, use_store

from image2music.index.table import open_index
from image2music.storage import objects
from image2music.storage.files import open_place
from image2music.storage.output import open_output
from image2music.types import CaptionedMidi
from pipelines.cli.main import main
from pipelines.jobs.tunes import identify_sources
from transforms.pictures import stamps_under

OF_PLACES = {"image_uri", "image_uris", "album", "index_uri", "index_version", "seconds", "composed_at"}


@pytest.fixture(scope="session")
def server():
    server = moto_server()
    make_bucket(server, "world")
    return server


@pytest.fixture
def bucket(server, indexed, monkeypatch):
    """The small world, copied into a store of its own."""
    use_store(monkeypatch, server)
    root = open_place(f"s3://world/{uuid.uuid4().hex}")
    for found in open_place(indexed).files(deep=True):
        if found.name.startswith(("midi/", "pictures/", "captions")):
            (root / found.name).write((open_place(indexed) / found.name).read())
    return root.uri


def run(*words, bucket="", code=0):
    """Run a command in which @ stands for the bucket."""
    assert main([word.replace("@", bucket) for line in words for word in line.split()]) == code


INDEX = "index --captions @/captions.json --midi_root @/midi --index @/tunes.lance"
COMPOSE = "compose --index @/tunes.lance --output @/out --composer fake --seed 1"


def rows_of(output):
    rows = [row for _, table in open_output(output).compositions.tables() for row in table.to_pylist()]
    shortened = [{name: value for name, value in row.items() if name not in OF_PLACES} for row in rows]
    for row in shortened:
        for round_ in row["rounds"]:
            round_.pop("seconds", None)
    return sorted(shortened, key=lambda row: row["image_id"])


@pytest.fixture
def composed(bucket):
    run(INDEX, "--embedder fake", bucket=bucket)
    run(COMPOSE, "--images @/pictures", bucket=bucket)
    return bucket


def test_rows_are_those_of_a_disk(composed, indexed):
    run(COMPOSE.replace("@/", ""), "--images pictures")
    assert rows_of(f"{composed}/out") == rows_of("out")
    assert len(rows_of("out")) == 3
    record = open_output(f"{composed}/out").run.read()
    assert (record["state"], record["counts"]["composed"]) == ("done", 3)
    assert "not-a-secret" not in json.dumps(record)


def test_the_same_command_finds_all_done(composed, capsys):
    run(COMPOSE, "--images @/pictures", bucket=composed)
    assert "0 composed, 3 there before, 0 failed" in capsys.readouterr().out


def test_rows_of_pictures_that_are_gone_are_put_away(composed, capsys):
    (open_place(f"{composed}/pictures") / "red.png").remove()
    run(COMPOSE, "--images @/pictures --prune --dry_run", bucket=composed)
    assert f" {composed}/pictures/red.png" in capsys.readouterr().out
    run(COMPOSE, "--images @/pictures --prune", bucket=composed, code=1)  # one of three is more than a tenth
    assert len(rows_of(f"{composed}/out")) == 3
    run(COMPOSE, "--images @/pictures --prune all", bucket=composed)
    assert len(rows_of(f"{composed}/out")) == 2
    assert len(rows_of(f"{composed}/out/generations/pruned")) == 1


def test_the_time_of_an_object_is_that_of_its_upload_and_no_time_of_a_picture(composed):
    run(COMPOSE.replace("@/out", "@/albums"), "--images @/pictures --album", bucket=composed)
    (album,) = [row for _, table in open_output(f"{composed}/albums").albums.tables() for row in table.to_pylist()]
    assert album["taken_at"] == [None] * 3


def test_what_was_written_is_never_input(composed, capsys):
    run(COMPOSE.replace("@/out", "@/out2"), "--images @/", bucket=composed)
    out = capsys.readouterr().out
    assert "3 composed" in out
    assert "written by image2music" in out
    run(COMPOSE, "--images @/out", bucket=composed, code=1)
    assert "no pictures in" in capsys.readouterr().err


def test_commands_that_read_an_output(composed, tmp_path, capsys):
    run("status @/out", bucket=composed)
    assert "rows now            3" in capsys.readouterr().out
    run(f"report --input @/out --output {tmp_path}/pages", bucket=composed)
    assert "3 pictures, 0 failures" in capsys.readouterr().out
    run(f"export --input @/out --output {tmp_path}/files --formats abc,midi,heatmap", bucket=composed)
    assert len(list((tmp_path / "files").iterdir())) == 11  # with files.csv and .lock
    run("export --input @/out --output @/files --formats abc", bucket=composed)
    assert len(list(open_place(f"{composed}/files").files())) == 4
    run("rights --input @/out", bucket=composed)
    assert capsys.readouterr().out.count("trainedAlgorithmicMedia") == 3
    run("score --input @/out", bucket=composed)
    assert open_place(f"{composed}/out/score.json").is_file()
    run("report --input @/out", bucket=composed, code=1)
    assert "give --output FOLDER" in capsys.readouterr().err


def test_a_tune_is_taken_down_for_good_and_the_rest_embedded_again(composed, capsys):
    run("index --index @/tunes.lance --remove red.mid --purge", bucket=composed)
    run(INDEX, "--update", bucket=composed)
    assert "1 tune stays out" in capsys.readouterr().out
    run("index --index @/tunes.lance --embedder fake:other", bucket=composed)
    made = open_index(f"{composed}/tunes.lance")
    assert (made.rows, made.embedder_id) == (2, "other-embedder@1")


def test_an_index_is_kept_up_to_date_and_goes_back(composed, capsys):
    before = open_place(f"{composed}/captions.json").read()
    (open_place(composed) / "captions.json").write(b"".join(before.splitlines(keepends=True)[:2]))
    capsys.readouterr()
    run(INDEX, "--update", bucket=composed)
    assert "0 new, 0 changed, 1 removed, 2 unchanged, 0 files read" in capsys.readouterr().out
    (open_place(composed) / "captions.json").write(before)
    run(INDEX, "--update", bucket=composed)
    assert "1 new, 0 changed, 0 removed, 2 unchanged, 1 file read" in capsys.readouterr().out
    run("index --index @/tunes.lance --history", bucket=composed)
    tags = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:] if "-" in line.split()[-1]]
    assert [tag.partition("-")[0] for tag in tags] == ["build", "update", "update"]
    run(f"index --index @/tunes.lance --restore {tags[0]}", bucket=composed)
    assert "3 tunes" in capsys.readouterr().out
    run("index --index @/tunes.lance --stats", bucket=composed)
    assert "tunes         3" in capsys.readouterr().out


def test_a_refresh_and_another_take(composed, capsys):
    captions = open_place(f"{composed}/captions.json")
    captions.write(captions.read().replace(b'"red", "genre"', b'"RED", "genre"'))
    run(INDEX, "--update", bucket=composed)
    run(COMPOSE, "--refresh", bucket=composed)
    assert "3 composed again, 0 kept" in capsys.readouterr().out
    first = rows_of(f"{composed}/out")[0]["image_id"]
    run(COMPOSE, f"--again --ids {first[:12]}", bucket=composed)
    assert sorted(row["seed"] for row in rows_of(f"{composed}/out")) == [1, 1, 2]
    assert open_place(f"{composed}/out/generations").folders() == ["index-2", "takes"]


def test_lists_globs_and_archives_name_pictures(composed, tmp_path, capsys):
    root = open_place(composed)
    picture = io.BytesIO()
    Image.new("RGB", (9, 9), (1, 2, 3)).save(picture, "PNG")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in (("a/one.png", picture.getvalue()), ("a/one.json", b"{}")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    (root / "more" / "set.tar").write(packed.getvalue())
    (root / "list.txt").write(f"{composed}/pictures/red.png\n{composed}/more/set.tar\n".encode())
    (root / "rows.csv").write(b"image,id\nred.png,R1\n")
    for images, number in (("@@/list.txt", 2), ("@/pictures/*e*.png", 3), ("@/**/*.png", 3), ("@/more", 1)):
        words = COMPOSE.replace("@/out", f"@/out-{uuid.uuid4().hex}").split()
        images = images.replace("@@", "\0").replace("@", composed).replace("\0", f"@{composed}")
        assert main([*(word.replace("@", composed) for word in words), "--images", images]) == 0
        assert f"{number} composed" in capsys.readouterr().out
    run(COMPOSE.replace("@/out", "@/out3"), "--images @/pictures --catalog @/rows.csv", bucket=composed)
    assert [row["catalog_id"] for row in rows_of(f"{composed}/out3") if row["catalog_id"]] == ["R1"]


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_midi_files_are_read_from_an_archive(bucket, indexed, ending, capsys):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz" if ending.endswith("gz") else "w") as tar:
        tar.add(indexed / "midi", "midi")
    (open_place(bucket) / f"midi.{ending}").write(packed.getvalue())
    captions = (indexed / "captions.json").read_bytes().replace(b'"location": "', b'"location": "midi/')
    (open_place(bucket) / "captions.json").write(captions)
    run(INDEX.replace("@/midi", f"@/midi.{ending}"), "--embedder fake", bucket=bucket)
    assert "3 tunes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("compose --images @/pictures --index @/none.lance --output @/out --composer fake", "no tune index at s3://"),
        ("compose --images @/none --index @/tunes.lance --output @/out --composer fake", "no pictures in s3://"),
        ("index --captions @/none --midi_root @/midi --index @/t.lance", "--captions: there is no file s3://"),
        ("index --captions @/captions.json --midi_root @/none --index @/t.lance", "is neither a folder nor a file"),
        ("status @/none", "holds no run.json"),
        ("status s3://no-such-bucket/out", "there is no bucket s3://no-such-bucket"),
        ("index --index s3://no-such-bucket/t.lance --stats", "there is no bucket s3://no-such-bucket"),
        (
            "compose --images @/pictures --index @/t.lance --output ftp://x/y",
            "--output: ftp://x/y: ftp:// is not",
        ),
    ],
)
def test_what_is_not_there_is_said_in_one_line(bucket, capsys, words, said):
    run(words, bucket=bucket, code=1)
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_whole_run_through_a_failing_network(server, indexed, bucket, monkeypatch):
    monkeypatch.setattr(objects, "_PATIENT", objects._PATIENT | {"pause": 0.01})
    with FaultProxy(server, FAULTS, share=0.3, slow=0.05).running() as proxy:
        use_store(monkeypatch, proxy.url.removeprefix("http://"))
        run(INDEX, "--embedder fake", bucket=bucket)
        captions = (indexed / "captions.json").read_bytes().replace(b'"red",', b'"RED",')
        (open_place(bucket) / "captions.json").write(captions)
        run(INDEX, "--update", bucket=bucket)
        run(COMPOSE, "--images @/pictures", bucket=bucket)
    assert min(proxy.struck[kind] for kind in FAULTS) >= 5
    use_store(monkeypatch, server)
    assert len(rows_of(f"{bucket}/out")) == 3
    assert open_output(f"{bucket}/out").failures.count() == 0
    assert open_index(f"{bucket}/tunes.lance").rows == 3


def test_a_store_is_listed_once_however_many_slices_identify_its_files(bucket, monkeypatch):
    listed = []

    def counted(root, started_ns):
        listed.append(root)
        return stamps_under(root, started_ns)

    class Here:
        """Who does slices in this process."""

        def run_slices(self, slices, work, what, total):
            return [work.do(slice) for slice in slices]

    for module in ("pipelines.jobs.tunes", "transforms.midi"):
        monkeypatch.setattr(f"{module}.stamps_under", counted)
    sources = [CaptionedMidi(location=f"{name}.mid", caption=name) for name in ("red", "green", "blue", "none")]
    found = identify_sources(Here(), f"{bucket}/midi", sources, {}, most=1)
    assert len(listed) == 1
    assert (len(found.tunes), len(found.failures), found.hashed) == (3, 1, 4)
    again = identify_sources(Here(), f"{bucket}/midi", sources, found.manifest, most=1)
    assert again.hashed == 1
