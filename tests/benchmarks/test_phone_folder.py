import os
from hashlib import sha256

from PIL import Image

from benchmarks.phone_folder import NO_PICTURES, make_folder, picture_files
from image2music.images.decode import open_picture
from transforms.pictures import PictureReader, list_pictures


def test_the_folder_holds_a_picture_of_every_kind_and_all_of_them_open(tmp_path):
    sources = [tmp_path / f"{number}.png" for number in range(2)]
    for source in sources:
        Image.effect_noise((96, 64), 80).save(source)
    expected = make_folder(tmp_path / "phone", sources, 19)
    found = list_pictures(f"{tmp_path}/phone")
    contents = {sha256(data).hexdigest(): data for data in map(PictureReader(), found.places)}
    assert contents.keys() == expected
    assert (len(found.places), len(expected), found.live_photos, found.raw_pairs) == (19, 18, 2, 1)
    assert sum(found.skipped.values()) == len(NO_PICTURES) + 5
    kinds = [open_picture(data).format for data in contents.values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"JPEG": 11, "HEIF": 3, "AVIF": 2, "RAW": 1, "PNG": 1}


def test_no_two_pictures_of_a_kind_are_the_same(tmp_path):
    one, other = (Image.effect_noise((40, 30), spread).convert("RGB") for spread in (20, 60))
    made = [picture_files(number, image, one)[0] for number, image in ((7, one), (27, other))]
    assert not made[0].keys() & made[1].keys() and set(made[0].values()) != set(made[1].values())
    assert os.fsdecode(next(iter(made[0]))) == "IMG_0007.jpg"
