import pytest

from image2music.errors import ConfigError
from pipelines.inputs import list_pictures


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
