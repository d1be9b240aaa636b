import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.errors import ConfigError
from transforms.pictures import PictureList, list_pictures

JPEG = b"\xff\xd8\xff\xe0 and so on"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("album/b.JPG", "album/deep/a.png", "album/no_ending", "other/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return tmp_path


def places(*images):
    return list(list_pictures(*images).places)


def test_every_picture_of_a_folder_at_any_depth(folder):
    assert places("album") == ["album/b.JPG", "album/deep/a.png", "album/no_ending"]


def test_a_place_stays_as_it_was_given(folder):
    assert places(str(folder / "other")) == [str(folder / "other" / "c.jpg")]


def test_an_address_that_no_file_system_knows_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="nosuch:// is not known here; a place is a path, or an address with s3://"):
        list_pictures("nosuch://bucket/album")


def test_a_glob_takes_only_files(folder):
    assert places("album/*") == ["album/b.JPG", "album/no_ending"]
    assert places("**/*.png") == ["album/deep/a.png"]


def test_one_file(folder):
    assert places("other/c.jpg") == ["other/c.jpg"]


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
    assert places("album/z.tar") == ["album/z.tar#other/c.jpg"]
    assert places("album/deep") == ["album/deep/a.png", "album/deep/set.parquet#0", "album/deep/set.parquet#1"]


def test_a_list_of_places(folder):
    (folder / "list.txt").write_text("\ufeff# mine\n\nother/c.jpg\n gone.jpg \nother/c.jpg\n", encoding="utf-8")
    assert places("@list.txt") == ["gone.jpg", "other/c.jpg"]


def test_web_addresses_need_to_be_allowed(folder):
    (folder / "list.txt").write_text("https://example.org/1.jpg\n")
    assert places("@list.txt", "public") == ["https://example.org/1.jpg"]
    for images in ("@list.txt", "https://example.org/1.jpg"):
        with pytest.raises(ConfigError, match="--allow_web"):
            list_pictures(images)


def test_a_list_that_is_not_there(folder):
    with pytest.raises(ConfigError, match="there is no list"):
        list_pictures("@gone.txt")


PHONE = {
    "IMG_1.JPG": JPEG,
    "IMG_2.HEIC": b"",
    "IMG_2.MOV": b"\0\0\0\x14ftypqt  ",
    "IMG_3": JPEG,
    "IMG_4.jpg~2": JPEG,
    "IMG_1.JPG.supplemental-metadata.json": b"{}",
    "IMG_1.jpg.json": b"{}",
    "IMG_1.AAE": b"<?xml",
    "IMG_1.xmp": b"<x:xmpmeta",
    "IMG_5.DNG": b"II*\0",
    "notes.txt": b"a text",
    "list": b"a text",
    ".DS_Store": b"\0\0\0\1Bud1",
    "._IMG_1.JPG": b"\0\5\x16\7",
    ".nomedia": b"",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "@eaDir/IMG_1.JPG/SYNOPHOTO_THUMB_M.jpg": JPEG,
    ".thumbnails/1.jpg": JPEG,
}


def write_all(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_a_phones_folder_is_its_pictures_and_the_rest_is_counted_by_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path / "phone", PHONE)
    found = list_pictures("phone")
    assert [place.removeprefix("phone/") for place in found.places] == [
        "IMG_1.JPG",
        "IMG_2.HEIC",
        "IMG_3",
        "IMG_4.jpg~2",
    ]
    assert next(iter(found.skipped.items())) == (".json", 2)
    assert set(found.skipped) == {
        ".json", ".mov", ".aae", ".xmp", ".dng", ".txt", "no ending", ".DS_Store", "._*", ".nomedia", "Thumbs.db",
        "@eaDir/", ".thumbnails/",
    }  # fmt: skip
    assert found.skipped_line.startswith("skipped 14 files that are no pictures: 2 .json, 1 ")
    assert list_pictures("phone/*").places == list_pictures("phone/**").places == found.places
    with pytest.raises(ConfigError, match=r"no pictures in phone/\*\.MOV; skipped 1 file that is no picture: 1 .mov"):
        list_pictures("phone/*.MOV")


def test_a_list_and_a_single_file_are_taken_whatever_they_are(tmp_path):
    write_all(tmp_path, PHONE)
    for images in (f"{tmp_path}/notes.txt", f"@{tmp_path}/list.txt"):
        (tmp_path / "list.txt").write_text(f"{tmp_path}/notes.txt")
        assert places(images) == [f"{tmp_path}/notes.txt"]


@pytest.mark.timeout(10)
def test_a_pipe_that_is_named_like_a_picture_is_left_to_fail_and_no_other_is_opened(folder):
    os.mkfifo("other/pipe.jpg")
    os.mkfifo("other/pipe")
    assert places("other") == ["other/c.jpg", "other/pipe.jpg"]


SHARD = f"part-{24 * 'a'}.parquet"
WRITTEN = {
    "an output": ["run.json", ".lock", f"compositions/{SHARD}", f"generations/index-1/compositions/{SHARD}"],
    "an ablation": ["run.json", f"full/compositions/{SHARD}", "ablation.json"],
    "a report": ["report.json", "index.html", "pictures/1.jpg", "pictures/1.abc"],
    "an index": ["t.lance/_versions/1", "t.lance/data/1.lance", f"t.lance.failures/{SHARD}", "t.lance.files.parquet"],
    "an export": ["0123456789abcdef.heatmap.png", "0123456789abcdef.abc", "Sea-Air.heatmap.png"],
    "scores": ["score.json", "score.parquet"],
}


@pytest.mark.parametrize("what", WRITTEN)
def test_what_image2music_wrote_is_never_a_picture(folder, what):
    before = places("album")
    write_all(folder / "album" / "out", dict.fromkeys(WRITTEN[what], JPEG))
    assert places("album") == places("album/**/*") == before
    with pytest.raises(ConfigError, match=r"no pictures in album/out; skipped \d+ files? .*written by image2music"):
        list_pictures("album/out")


@pytest.mark.parametrize("what", sorted(WRITTEN.keys() - {"a report"}))
def test_what_image2music_wrote_among_the_pictures_is_left_out(folder, what):
    write_all(folder / "other", dict.fromkeys(WRITTEN[what], JPEG))
    assert places("other") == ["other/c.jpg"]


def test_a_list_that_names_an_output_is_taken_without_it(folder):
    write_all(folder / "album" / "out", dict.fromkeys(WRITTEN["a report"], JPEG))
    (folder / "list.txt").write_text("other/c.jpg\nalbum/out/pictures/1.jpg\n")
    assert list_pictures("@list.txt") == PictureList(("other/c.jpg",), {"written by image2music": 1})


def test_folders_of_pictures_in_an_output_are_looked_into(folder):
    write_all(folder / "other", {"run.json": b"{}", f"compositions/{SHARD}": b"", "albums/sea/1.jpg": JPEG})
    assert places("other") == ["other/albums/sea/1.jpg", "other/c.jpg"]


def test_members_of_an_archive_that_are_no_pictures_are_counted(folder):
    write_all(folder / "export", PHONE)
    with tarfile.open("phone.tar", "w") as tar:
        tar.add("export")
    found = list_pictures("phone.tar")
    assert "phone.tar#export/IMG_1.JPG" in found.places
    assert not any(word in place for place in found.places for word in (".MOV", "eaDir", "._", ".json"))
    assert found.skipped[".json"] == 2
