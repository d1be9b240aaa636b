import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.errors import ConfigError
from transforms.pictures import list_pictures


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("album/b.JPG", "album/deep/a.png", "album/no_ending", "other/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    return tmp_path


def test_every_file_of_a_folder_whatever_its_ending(folder):
    assert list_pictures("album") == ["album/b.JPG", "album/deep/a.png", "album/no_ending"]


def test_a_place_stays_as_it_was_given(folder):
    assert list_pictures(str(folder / "other")) == [str(folder / "other" / "c.jpg")]


def test_an_address_that_no_file_system_knows_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="nosuch:// cannot be opened: install Beam's part for it"):
        list_pictures("nosuch://bucket/album")


def test_a_glob_takes_only_files(folder):
    assert list_pictures("album/*") == ["album/b.JPG", "album/no_ending"]
    assert list_pictures("**/*.png") == ["album/deep/a.png"]


def test_one_file(folder):
    assert list_pictures("other/c.jpg") == ["other/c.jpg"]


@pytest.mark.parametrize(
    ("images", "reason"), [("nowhere", "images_missing"), ("empty", "images_empty"), ("*.gif", "images_empty")]
)
def test_nothing_to_do_is_said(folder, images, reason):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        list_pictures(images)
    assert caught.value.reason == reason


def test_archives_stand_for_their_pictures(folder):
    with tarfile.open("album/z.tar", "w") as tar:
        tar.add("other/c.jpg")
    pq.write_table(pa.table({"image": [b"a", b"b"]}), "album/deep/set.parquet")
    assert list_pictures("album/z.tar") == ["album/z.tar#other/c.jpg"]
    assert list_pictures("album/deep") == ["album/deep/a.png", "album/deep/set.parquet#0", "album/deep/set.parquet#1"]


def test_a_list_of_places(folder):
    (folder / "list.txt").write_text("\ufeff# mine\n\nother/c.jpg\n gone.jpg \nother/c.jpg\n", encoding="utf-8")
    assert list_pictures("@list.txt") == ["gone.jpg", "other/c.jpg"]


def test_web_addresses_need_to_be_allowed(folder):
    (folder / "list.txt").write_text("https://example.org/1.jpg\n")
    assert list_pictures("@list.txt", "public") == ["https://example.org/1.jpg"]
    for images in ("@list.txt", "https://example.org/1.jpg"):
        with pytest.raises(ConfigError, match="--allow_web"):
            list_pictures(images)


def test_a_list_that_is_not_there(folder):
    with pytest.raises(ConfigError, match="there is no list"):
        list_pictures("@gone.txt")
