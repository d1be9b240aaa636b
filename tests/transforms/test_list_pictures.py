import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.errors import ConfigError
from image2music.images.sources import in_one_line
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
        "IMG_5.DNG",
    ]
    assert next(iter(found.skipped.items())) == (".json", 2)
    assert found.live_photos == 1
    assert set(found.skipped) == {
        ".json", ".mov", ".aae", ".xmp", ".txt", "no ending", ".DS_Store", "._*", ".nomedia", "Thumbs.db",
        "@eaDir/", ".thumbnails/",
    }  # fmt: skip
    assert found.beside_line == (
        "5 files go with pictures: 2 .json (their times, for --album); 1 .mov (films of Live Photos); "
        "1 .aae, 1 .xmp (notes of other programs)"
    )
    assert found.skipped_line == (
        "skipped 8 files that are no pictures: 1 .txt, 1 no ending (other files); "
        "1 .DS_Store, 1 ._*, 1 .nomedia, 1 .thumbnails/, 1 @eaDir/, 1 Thumbs.db (of the system)"
    )
    assert list_pictures("phone/*").places == list_pictures("phone/**").places == found.places
    nothing = r"no pictures in phone/\*\.MOV; skipped 1 file that is no picture: 1 .mov \(films\)"
    with pytest.raises(ConfigError, match=nothing):
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
    assert list_pictures("@list.txt") == PictureList(("other/c.jpg",), {"own": {"written by image2music": 1}})


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
    assert found.skipped_line.endswith(" (of the system)")


PAIRS = {
    "day/IMG_1.CR2": b"II*\0",
    "day/IMG_1.JPG": JPEG,
    "day/IMG_2.NEF": b"II*\0",
    "day/IMG_3.dng": b"II*\0",
    "day/img_3.heic": b"",
    "night/IMG_2.JPG": JPEG,
    "live/IMG_5.HEIC": b"",
    "live/IMG_5.MOV": b"",
    "live/cafe\u0301.JPG": JPEG,
    "live/caf\u00e9.mp4": b"",
    "live/lonely.mov": b"",
    "live/._IMG_1.MOV": b"",
}
KEPT = ["day/IMG_1.JPG", "day/IMG_2.NEF", "day/img_3.heic", "live/IMG_5.HEIC", "live/cafe\u0301.JPG", "night/IMG_2.JPG"]


def test_what_a_camera_or_a_telephone_wrote_for_one_picture_is_one_picture(tmp_path):
    write_all(tmp_path / "card", PAIRS)
    found = list_pictures(f"{tmp_path}/card")
    assert [os.path.relpath(place, tmp_path / "card") for place in found.places] == KEPT
    assert (found.raw_pairs, found.live_photos) == (2, 2)
    assert found.skipped == {".mov": 2, "._*": 1, ".mp4": 1}
    assert found.beside_line == "2 files go with pictures: 1 .mov, 1 .mp4 (films of Live Photos)"
    assert found.skipped_line == "skipped 2 files that are no pictures: 1 .mov (films); 1 ._* (of the system)"
    assert found.pairs_line == ("each one picture: 2 with its film beside it (Live Photo), 2 with its RAW beside it")
    assert found.kinds_line == "3 .jpg, 2 .heic, 1 .nef"


def test_the_same_holds_in_an_archive(tmp_path):
    write_all(tmp_path / "card", PAIRS)
    with tarfile.open(tmp_path / "card.tar", "w") as tar:
        tar.add(tmp_path / "card", arcname=".")
    found = list_pictures(f"{tmp_path}/card.tar")
    assert [place.partition("#./")[2] for place in found.places] == KEPT
    assert (found.raw_pairs, found.live_photos) == (2, 2)
    assert found.beside_line == "2 files go with pictures: 1 .mov, 1 .mp4 (films of Live Photos)"


def test_raw_files_that_are_asked_for_alone_or_by_name_are_taken(tmp_path):
    write_all(tmp_path, PAIRS)
    assert places(f"{tmp_path}/day/*.CR2") == [f"{tmp_path}/day/IMG_1.CR2"]
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path}/day/IMG_1.{ending}\n" for ending in ("CR2", "JPG")))
    assert len(places(f"@{tmp_path}/list.txt")) == 2


ODD_NAMES = [
    b"\xf0\x9f\x8c\xb4 beach \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7.jpg", b"caf\xe9.jpg", b"two\nlines.jpg",
    b"tab\there.jpg", b" blank .jpg", b"IMG #1.jpg", b"a;b,c.jpg", "e\u0301.jpg".encode(), "\u00e9.jpg".encode(),
]  # fmt: skip


def test_any_name_that_a_disk_takes_is_taken_and_can_be_shown_in_one_line(tmp_path):
    for name in ODD_NAMES:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(JPEG)
    found = places(str(tmp_path))
    assert sorted(os.path.basename(os.fsencode(place)) for place in found) == sorted(ODD_NAMES)
    shown = [in_one_line(place) for place in found]
    assert all((line.encode() and line.isprintable()) or "\u200d" in line for line in shown)
    assert f"{tmp_path}/caf\\xe9.jpg" in shown and f"{tmp_path}/two\\nlines.jpg" in shown
