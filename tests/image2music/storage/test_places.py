"""What every place keeps to: on a disk, in moto's S3 server, and in versitygw's where it is there."""

import io
import json
import os
import threading
import time
import uuid

import pyarrow as pa
import pytest
from fault_proxy import FAULTS, FaultProxy
from s3_servers import KEYS, make_bucket, moto_server, use_store, versitygw_program, versitygw_server

from image2music.errors import ConfigError, Image2MusicError, OutputError
from image2music.rows import KEY_COLUMNS, composition_key, failure_row, now
from image2music.storage import locks, objects
from image2music.storage.datasets import REPLACING, Dataset, this_process
from image2music.storage.files import json_bytes, open_place
from image2music.storage.locks import file_lock
from image2music.storage.output import open_output
from image2music.types import Failure

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("settings_hash", pa.string()),
        ("seed", pa.int64()),
        ("composed_at", pa.timestamp("us", tz="UTC")),
    ]
)


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "bucket").mkdir()
    with versitygw_server(folder, versitygw_program()) as server:
        yield server


@pytest.fixture(scope="session")
def moto():
    server = moto_server()
    make_bucket(server, "bucket")
    return server


@pytest.fixture(params=["moto", "versitygw"])
def server(request, monkeypatch):
    found = request.getfixturevalue(request.param)
    use_store(monkeypatch, found)
    return found


@pytest.fixture
def store(server):
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture(params=["disk", "moto", "versitygw"])
def root(request, tmp_path, monkeypatch):
    if request.param == "disk":
        return open_place(tmp_path / "root")
    use_store(monkeypatch, request.getfixturevalue(request.param))
    return open_place(f"s3://bucket/{uuid.uuid4().hex}")


class TestEveryPlace:
    def test_what_is_written_is_read_whole_or_in_parts(self, root):
        place = root / "folder" / "a.bin"
        place.write(b"0123456789")
        assert place.read() == b"0123456789"
        with place.open() as file:
            assert (file.seek(-3, io.SEEK_END), file.read(2), file.seek(1), file.read()) == (7, b"78", 1, b"123456789")
        with pytest.raises(OSError, match="larger than"):
            place.read(at_most=9)

    def test_a_file_is_replaced(self, root):
        for data in (b"first", b"", b"second one"):
            (root / "a").write(data)
            assert (root / "a").read() == data
            assert (root / "a").info().size == len(data)

    def test_another_content_is_another_version(self, root):
        versions = set()
        for data in (b"one", b"two"):
            (root / "a").write(data)
            versions.add((root / "a").info().version)
        assert len(versions) == 2

    def test_what_is_not_there_is_none_and_cannot_be_read(self, root):
        missing = root / "missing"
        assert (missing.info(), missing.is_file(), missing.exists(), list(missing.files())) == (None, False, False, [])
        missing.remove()
        missing.remove_all()
        missing.move_to(root / "elsewhere")
        for read in (missing.read, missing.open):
            with pytest.raises(FileNotFoundError):
                read()

    def test_only_the_first_creates_and_the_same_content_is_ones_own(self, root):
        assert (root / "mark").create(b"mine")
        assert (root / "mark").create(b"mine")
        assert not (root / "mark").create(b"theirs")
        assert (root / "mark").read() == b"mine"

    def test_files_and_folders_are_listed(self, root):
        for name in ("a", "b/c", "b/d/e", "bb/f"):
            (root / name).write(name.encode())
        assert {found.name for found in root.files()} == {"a"}
        assert {(found.name, found.size) for found in root.files(deep=True)} == {
            ("a", 1),
            ("b/c", 3),
            ("b/d/e", 5),
            ("bb/f", 4),
        }
        assert root.folders() == ["b", "bb"]
        assert (root / "b").folders() == ["d"]
        assert (root / "b").exists() and not (root / "b").is_file()

    @pytest.mark.parametrize(
        "name", ["sp ace.jpg", "größe.jpg", "a#b.jpg", "100%.jpg", "x%20y.jpg", "q?.jpg", "[1].jpg"]
    )
    def test_names_are_as_they_are(self, root, name):
        (root / name).write(b"x")
        assert [found.name for found in root.files()] == [name]
        assert (root / name).read() == b"x"

    def test_moving_takes_all_along_and_can_be_repeated(self, root):
        for name in ("a", "b/c"):
            (root / "old" / name).write(name.encode())
        for _ in range(2):
            (root / "old").move_to(root / "new" / "home")
            assert {found.name for found in root.files(deep=True)} == {"new/home/a", "new/home/b/c"}

    def test_a_copy_stays_what_it_was(self, root):
        (root / "a").write(b"before")
        (root / "a").copy_to(root / "copies" / "a")
        (root / "a").write(b"after")
        assert (root / "copies" / "a").read() == b"before"

    def test_a_place_that_can_be_written_is_prepared_and_nothing_is_left(self, root):
        root.prepare()
        assert list(root.files(deep=True)) == []
        assert root.free_bytes() > 0


def compose(output, ids, settings="now", seed=0):
    rows = [{"image_id": id, "settings_hash": settings, "seed": seed, "composed_at": now()} for id in ids]
    return output.compositions.append(rows, SCHEMA, ("image_id",))


def seeds_in(output):
    rows = output.compositions.read(["image_id", "seed"])
    return sorted((row["image_id"], row["seed"]) for row in rows)


def fail(output, *uris):
    output.failures.add([failure_row(Failure("describe", uri, uri, "bad", "bad"), now()) for uri in uris])


class TestEveryOutput:
    def test_rows_come_go_and_are_counted(self, root):
        output = open_output(root.uri)
        compose(output, ["aa", "bb"])
        compose(output, ["bb", "cc"])
        assert len(output.drop_repeated(KEY_COLUMNS, composition_key)) == 3
        assert seeds_in(output) == [("aa", 0), ("bb", 0), ("cc", 0)]
        assert output.compositions.count() == 3
        assert output.compositions.size() > 0
        assert output.keep_only({"aa"}) == {"aa"}
        assert seeds_in(output) == [("aa", 0)]

    def test_shards_of_a_slice_are_told(self, root):
        data = Dataset((root / "rows").uri)
        rows = [{"image_id": "aa", "settings_hash": "", "seed": 0, "composed_at": now()}]
        mine = data.append(rows, SCHEMA, ("image_id",), of="0123456789abcdef")
        data.append(rows, SCHEMA, ("image_id",))
        assert data.shards(of="0123456789abcdef") == [mine]
        assert len(data.shards()) == 2

    def test_failures_are_forgotten(self, root):
        output = open_output(root.uri)
        for uri in ("a.jpg", "b.jpg"):
            fail(output, uri)
        output.failures.forget(lambda row: row["uri"] == "a.jpg")
        assert [row["uri"] for row in output.failures.read(["uri"])] == ["b.jpg"]

    def test_what_was_made_with_other_settings_moves_away(self, root):
        output = open_output(root.uri)
        compose(output, ["aa"], "before")
        output.write("books/sea/album.abc", b"X:1")
        output.run.replace({"settings_hash": "before"})
        earlier = open_output(output.retire("now"))
        assert seeds_in(earlier) == [("aa", 0)]
        assert earlier.run.read() == {"settings_hash": "before"}
        assert (open_place(earlier.uri) / "books/sea/album.abc").read() == b"X:1"
        assert output.written() == []

    def test_a_new_generation_takes_the_place_of_the_earlier_one(self, root):
        output = open_output(root.uri)
        compose(output, ["aa"])
        compose(output, ["bb"])
        output.run.replace({"options": {"seed": 0}})
        staged = output.begin_generation(2)
        compose(staged, ["aa"], seed=1)
        compose(staged, ["bb"])
        fail(staged, "c.jpg")
        home = output.complete_generation(1)
        assert seeds_in(output) == [("aa", 1), ("bb", 0)]
        assert seeds_in(open_output(home)) == [("aa", 0), ("bb", 0)]
        assert open_output(home).run.read() == {"options": {"seed": 0}}
        assert output.failures.count() == 1
        assert not (root / ".refresh").exists()

    def test_new_albums_take_the_place_of_the_earlier_ones(self, root):
        output = open_output(root.uri)
        for name in ("sea", "wood"):
            staged = output.begin_albums()
            staged.albums.append([{"album": name}], pa.schema([("album", pa.string())]), ("album",))
            staged.write(f"books/{name}/album.abc", b"X:1")
            output.publish_albums()
        assert [row["album"] for row in output.albums.read(["album"])] == ["wood"]
        assert [found.name for found in open_place(output.books).files(deep=True)] == ["wood/album.abc"]


class KilledError(BaseException):
    """What ends a process at once; nobody catches it."""


def killed_at(step, patch):
    """Let the step-th request that changes something be the last one, which is not even sent."""
    import obstore

    steps = iter(range(1, 10_000))

    def counted(call):
        def deadly(*args, **kwargs):
            if next(steps) >= step:
                raise KilledError
            return call(*args, **kwargs)

        return deadly

    for name in ("put", "delete", "copy"):
        patch.setattr(obstore, name, counted(getattr(obstore, name)))


class TestKillsInAStore:
    @pytest.fixture(autouse=True)
    def one_thread(self, monkeypatch, moto):
        use_store(monkeypatch, moto)
        monkeypatch.setattr("image2music.storage.datasets._AT_ONCE", 1)
        monkeypatch.setattr("image2music.storage.objects._AT_ONCE", 1)
        self.output = open_output(f"s3://bucket/{uuid.uuid4().hex}")

    @pytest.mark.parametrize("step", range(1, 26))
    def test_while_a_generation_is_put_in_place_every_reader_sees_one_of_the_two(self, monkeypatch, step):
        output = self.output
        for id in ("aa", "bb", "cc"):
            compose(output, [id])
        before, after = seeds_in(output), [("aa", 1), ("bb", 1), ("cc", 0)]
        staged = output.begin_generation(2)
        compose(staged, ["aa", "bb"], seed=1)
        staged.kept.append([{"image_id": "cc", "seed": 0}], SCHEMA, ("image_id",))
        with monkeypatch.context() as patch, pytest.raises((KilledError, AssertionError)):
            killed_at(step, patch)
            output.complete_generation(1)
            raise AssertionError("nothing was left to kill")
        assert seeds_in(output) in (before, after)
        with output.lock():
            if (open_place(output.uri) / ".refresh" / "complete.json").is_file():
                output.finish_generation()
            elif seeds_in(output) == before:
                output.complete_generation(1)
        assert seeds_in(output) == after
        assert seeds_in(open_output(f"{output.generations}/index-1")) == before
        assert not (open_place(output.uri) / ".refresh").exists()

    @pytest.mark.parametrize("step", range(1, 12))
    def test_while_rows_move_away_none_is_lost_or_doubled(self, monkeypatch, step):
        output = self.output
        compose(output, ["aa"], "before")
        compose(output, ["bb"], "before")
        fail(output, "c.jpg")
        with monkeypatch.context() as patch, pytest.raises((KilledError, AssertionError)):
            killed_at(step, patch)
            output.retire("now")
            raise AssertionError("nothing was left to kill")
        with output.lock():
            output.retire("now")
        (home,) = open_place(output.generations).folders()
        earlier = open_output(f"{output.generations}/{home}")
        assert (seeds_in(earlier), earlier.failures.count()) == ([("aa", 0), ("bb", 0)], 1)
        assert (output.compositions.count(), output.failures.count()) == (0, 0)

    @pytest.mark.parametrize("step", range(1, 18))
    def test_while_larger_shards_are_made_no_row_is_lost_or_doubled(self, monkeypatch, step):
        monkeypatch.setattr("image2music.storage.datasets.MANY_SHARDS", 2)
        monkeypatch.setattr("image2music.storage.datasets._SHARDS_A_ROUND", 2)
        output, ids = self.output, ("aa", "bb", "cc", "dd", "ee")
        for id in ids:
            compose(output, [id])
        size = sum(found.size for found in open_place(output.compositions.uri).files())
        monkeypatch.setattr("image2music.storage.datasets.LARGE_SHARD", size // 2)
        with monkeypatch.context() as patch, pytest.raises((KilledError, AssertionError)):
            killed_at(step, patch)
            output.compact()
            raise AssertionError("nothing was left to kill")
        assert seeds_in(output) == [(id, 0) for id in ids]
        with output.lock():
            assert seeds_in(output) == [(id, 0) for id in ids]
            output.compact()
        assert seeds_in(output) == [(id, 0) for id in ids]
        names = {found.name for found in open_place(output.compositions.uri).files()} - {REPLACING}
        assert len(names) == len(output.compositions.shards()) < len(ids)

    def test_a_note_that_names_shards_of_which_some_are_still_missing_hides_them(self):
        output = self.output
        first = compose(output, ["aa"])
        with pytest.raises(KilledError):
            self.replaced_and_killed(first)
        assert seeds_in(output) == [("aa", 0)]
        with output.lock():
            note = json.loads((open_place(output.compositions.uri) / REPLACING).read())
        assert note["done"] and note["old"] == []
        assert len(output.compositions.shards()) == 1

    def replaced_and_killed(self, shard):
        def tables():
            yield pa.Table.from_pylist([{"image_id": "new", "seed": 5}], schema=SCHEMA)
            raise KilledError

        self.output.compositions.replace_all([shard], tables(), ("image_id",))


class TestTheLease:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(locks, "RENEWED_EVERY", 0.05)

    def held_by(self, store, age=0.0, **process):
        """A lease of somebody else, as old as is said."""
        holder = this_process() | {"token": "theirs", "since": "2026-01-01"} | process
        open_place(f"{store}/.lock").write(json_bytes(holder))
        if age:
            time.sleep(age)

    def test_one_writer_holds_it_and_gives_it_back(self, store):
        with file_lock(store, f"{store}/.lock"):
            with pytest.raises(
                OutputError, match=f"another run is writing {store}: process {os.getpid()} on"
            ) as caught:
                file_lock(store, f"{store}/.lock").__enter__()
            assert caught.value.reason == "another_writer"
        assert list(open_place(store).files()) == []
        with file_lock(store, f"{store}/.lock"):
            pass

    def test_of_many_at_once_one_gets_it(self, store):
        got, ends = [], threading.Event()

        def try_to():
            try:
                with file_lock(store, f"{store}/.lock"):
                    got.append(1)
                    ends.wait(10)
            except OutputError:
                got.append(0)

        threads = [threading.Thread(target=try_to) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(got) < 6:
            time.sleep(0.02)
        ends.set()
        for thread in threads:
            thread.join()
        assert sum(got) == 1

    def test_it_is_taken_over_from_a_process_of_this_machine_that_is_gone(self, store):
        self.held_by(store, pid=2**22 - 1)
        with file_lock(store, f"{store}/.lock"):
            pass

    def test_a_process_of_another_machine_is_believed_until_it_gave_no_sign_for_too_long(self, store, monkeypatch):
        self.held_by(store, host="elsewhere", pid=2**22 - 1)
        with pytest.raises(OutputError, match="process 4194303 on elsewhere, since 2026-01-01; wait"):
            file_lock(store, f"{store}/.lock").__enter__()
        monkeypatch.setattr(locks, "LEASE", 0.5)
        time.sleep(1.6)  # a store's clock shows whole seconds
        with file_lock(store, f"{store}/.lock"):
            pass

    def test_who_lost_it_is_told_and_leaves_it_to_the_other(self, store):
        with pytest.raises(OutputError, match="another run took") as caught, file_lock(store, f"{store}/.lock"):
            self.held_by(store, host="elsewhere")
            time.sleep(1)
        assert caught.value.reason == "lock_lost"
        assert b"theirs" in open_place(f"{store}/.lock").read()

    def test_it_is_renewed(self, store):
        with file_lock(store, f"{store}/.lock"):
            first = open_place(f"{store}/.lock").info().version
            time.sleep(0.5)
            assert open_place(f"{store}/.lock").info().version != first


@pytest.fixture
def impatient(monkeypatch):
    """Requests are given up soon, so that one that hangs is asked again within a test."""
    monkeypatch.setattr(objects, "_PATIENT", objects._PATIENT | {"request": 3.0, "within": 10.0, "pause": 0.01})
    monkeypatch.setattr(locks, "RENEWED_EVERY", 0.2)


@pytest.mark.usefixtures("impatient")
class TestFaults:
    """Each fault strikes a third of all requests, at least twenty of them: nothing is lost, nothing doubled."""

    @pytest.mark.parametrize("kind", FAULTS)
    def test_everything_that_is_done_to_an_output(self, server, monkeypatch, kind):
        with FaultProxy(server, [kind], seed=FAULTS.index(kind), slow=0.1).running() as proxy:
            use_store(monkeypatch, proxy.url.removeprefix("http://"))
            rounds = 0
            while proxy.struck[kind] < 20:
                self.nothing_is_lost_or_doubled(f"s3://bucket/{uuid.uuid4().hex}")
                rounds += 1
        assert rounds < 20

    def nothing_is_lost_or_doubled(self, store):
        output = open_output(store)
        output.prepare()
        with output.lock():
            for ids in (["aa", "bb"], ["bb", "cc"], ["dd"]):
                compose(output, ids)
            fail(output, "e.jpg", "f.jpg")
            assert len(output.drop_repeated(KEY_COLUMNS, composition_key)) == 4
            output.failures.forget(lambda row: row["uri"] == "e.jpg")
            staged = output.begin_generation(2)
            compose(staged, ["aa"], seed=1)
            compose(staged, ["bb", "cc", "dd"])
            earlier = open_output(output.complete_generation(1))
        assert seeds_in(output) == [("aa", 1), ("bb", 0), ("cc", 0), ("dd", 0)]
        assert seeds_in(earlier) == [("aa", 0), ("bb", 0), ("cc", 0), ("dd", 0)]
        assert [row["uri"] for row in output.failures.read(["uri"])] == ["f.jpg"]
        assert {found.name.partition("/")[0] for found in open_place(store).files(deep=True)} == {
            "compositions",
            "failures",
            "generations",
        }

    def test_a_large_object_is_read_whole(self, server, store, monkeypatch):
        data = os.urandom(3_000_000)
        open_place(f"{store}/large").write(data)
        with FaultProxy(server, ["cut_body", "busy"], seed=1).running() as proxy:
            use_store(monkeypatch, proxy.url.removeprefix("http://"))
            while proxy.struck.total() < 20:
                assert open_place(f"{store}/large").read() == data
                with open_place(f"{store}/large").open(1 << 20) as file:
                    assert b"".join(iter(lambda: file.read(200_000), b"")) == data

    def test_an_answer_that_hangs_is_asked_for_again_though_the_write_takes_place(self, server, monkeypatch):
        monkeypatch.setattr(objects, "_PATIENT", objects._PATIENT | {"request": 0.3})
        with FaultProxy(server, ["slow"], share=0.1, seed=4, slow=0.5).running() as proxy:
            use_store(monkeypatch, proxy.url.removeprefix("http://"))
            self.nothing_is_lost_or_doubled(f"s3://bucket/{uuid.uuid4().hex}")
        assert proxy.struck["slow"] > 2

    def test_a_store_that_is_away_for_a_while_is_waited_for(self, server, store, monkeypatch):
        proxy = FaultProxy(server)
        with proxy.running():
            use_store(monkeypatch, proxy.url.removeprefix("http://"))
            monkeypatch.setattr(proxy, "fault", lambda: "cut" if time.monotonic() < back else "")
            back = time.monotonic() + 3
            open_place(f"{store}/a").write(b"x")
            assert time.monotonic() >= back
            assert open_place(f"{store}/a").read() == b"x"


class TestWhatIsSaidInOneLine:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(objects, "_QUICK", objects._QUICK | {"within": 2.0})
        monkeypatch.setattr(objects, "PATIENCE", 1.0)

    def said(self, uri, reason, make=lambda place: place.prepare()):
        start = time.monotonic()
        with pytest.raises(Image2MusicError) as caught:
            make(open_place(uri))
        assert caught.value.reason == reason
        assert time.monotonic() - start < 10
        assert "\n" not in str(caught.value) and "not-a-secret" not in str(caught.value)
        return str(caught.value)

    def test_a_bucket_that_is_not_there(self, server):
        assert "there is no bucket s3://no-such-bucket: make it" in self.said("s3://no-such-bucket/x", "bucket_missing")

    def test_a_server_that_is_not_there(self, monkeypatch):
        use_store(monkeypatch, "127.0.0.1:9")
        assert "no answer from http://127.0.0.1:9" in self.said("s3://bucket/x", "store_unreachable")

    def test_no_credentials(self, server, monkeypatch):
        for name in KEYS:
            monkeypatch.delenv(name)
        assert "set AWS_ACCESS_KEY_ID" in self.said("s3://bucket/x", "credentials_missing")

    def test_credentials_that_the_store_does_not_know(self, versitygw, monkeypatch):
        use_store(monkeypatch, versitygw, AWS_ACCESS_KEY_ID="nobody")
        assert "refuses the credentials" in self.said("s3://bucket/x", "credentials_refused")

    def test_a_bucket_that_cannot_be_written(self, server, monkeypatch):
        proxy = FaultProxy(server)
        proxy.refuse = True
        with proxy.running():
            use_store(monkeypatch, proxy.url.removeprefix("http://"))
            assert "the store refuses it (AccessDenied)" in self.said("s3://bucket/x", "output_not_writable")

    @pytest.mark.parametrize(
        ("uri", "reason"), [("ftp://host/x", "unknown_store"), ("s3://", "no_bucket"), ("s3:///x", "no_bucket")]
    )
    def test_an_address_that_is_none(self, uri, reason):
        self.said(uri, reason)


class TestSettings:
    def test_they_come_from_the_environment_or_before_it_from_a_file(self, monkeypatch, tmp_path):
        use_store(monkeypatch, "host:1", AWS_PROFILE="not read")
        wanted = {
            "aws_access_key_id": "tester",
            "aws_secret_access_key": "not-a-secret",
            "aws_region": "us-east-1",
            "aws_endpoint": "http://host:1",
            "allow_http": "true",
        }
        assert objects.storage_options("s3://bucket/x") == wanted
        assert objects.storage_options("some/folder") == {}
        texts = {
            "s.json": '{"AWS_REGION": "eu-west-3", "AWS_ENDPOINT_URL": "https://host"}',
            "s.toml": 'AWS_REGION = "eu-west-3"\nAWS_ENDPOINT_URL = "https://host"\n',
            "s.ini": "[default]\naws_region = eu-west-3\naws_endpoint_url = https://host\n",
            "s.env": "AWS_REGION=eu-west-3\nAWS_ENDPOINT_URL=https://host\n",
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
            monkeypatch.setenv("IMAGE2MUSIC_STORAGE", str(tmp_path / name))
            found = objects.storage_options("s3://bucket/x")
            assert (found["aws_region"], found["aws_endpoint"]) == ("eu-west-3", "https://host"), name
            assert "allow_http" not in found

    def test_a_file_that_cannot_be_read_is_named_without_its_content(self, monkeypatch, tmp_path):
        (tmp_path / "s.json").write_text('{"AWS_SECRET_ACCESS_KEY": "not-a-secret"')
        monkeypatch.setenv("IMAGE2MUSIC_STORAGE", str(tmp_path / "s.json"))
        with pytest.raises(ConfigError, match="no readable file of settings") as caught:
            objects.storage_options("s3://bucket/x")
        assert "not-a-secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("uri", "name", "value", "key"),
        [
            ("gs://bucket/x", "GOOGLE_SERVICE_ACCOUNT", "/account.json", "google_service_account"),
            ("az://container/x", "AZURE_STORAGE_ACCOUNT_NAME", "account", "azure_storage_account_name"),
        ],
    )
    def test_other_stores_have_their_own(self, monkeypatch, uri, name, value, key):
        monkeypatch.setenv(name, value)
        assert objects.storage_options(uri)[key] == value


def test_the_ledger_of_an_output_in_a_store_lies_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = (open_output(f"s3://bucket/{name}").ledger for name in ("one", "other"))
    assert one != other
    assert one.startswith(str(tmp_path)) and one.endswith("/requests.sqlite")


def test_clients_of_the_two_other_stores_can_be_made(monkeypatch):
    """No server of theirs is here: that their settings are understood is all that can be tried."""
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm90LWEta2V5")
    for uri in ("gs://bucket/x", "az://container/x"):
        assert type(open_place(uri)._open_store()).__name__ in ("GCSStore", "AzureStore")
