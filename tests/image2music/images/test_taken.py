"""When a picture was taken: what EXIF data, the file beside, the name and the file's own time say, and which counts."""

import io
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image2music.images.files import sidecar_names, sidecar_of
from image2music.images.taken import (
    Taken,
    believed,
    clocks_of,
    taken_by_exif,
    taken_by_file,
    taken_by_name,
    taken_by_sidecar,
    taken_of_tags,
    with_offset,
)

NOON = datetime(2024, 1, 31, 12)
GPS_IFD, EXIF_IFD = 0x8825, 0x8769

moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0))
takens = st.one_of(
    st.builds(Taken, moments, st.just("exif"), st.integers(-56, 56).map(lambda n: 15 * n) | st.none()),
    st.builds(lambda at: Taken(at, "sidecar", is_utc=True), moments),
    st.builds(lambda at: Taken(at.replace(hour=0, minute=0, second=0), "name", whole_day=True), moments),
)


def picture(tags=None, kind="JPEG", **more):
    """A small picture file whose EXIF data have these tags."""
    exif = Image.Exif()
    for tag, value in (tags or {}).items():
        exif.get_ifd(EXIF_IFD)[tag] = value
    exif.get_ifd(GPS_IFD)[2] = (48.0, 51.0, 30.0)
    if kind == "TIFF":  # EXIF data are a TIFF file without pixels
        return exif.tobytes().removeprefix(b"Exif\0\0")
    data = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(data, kind, exif=exif.tobytes(), **more)
    return data.getvalue()


# ---------------------------------------------------------------- EXIF


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_original_time_with_its_fraction_and_offset(kind):
    found = taken_by_exif(picture({0x9003: "2024:01:31 14:22:33", 0x9291: "12", 0x9011: "+05:30"}, kind))
    assert found == Taken(datetime(2024, 1, 31, 14, 22, 33, 120_000), "exif", 330)


def test_of_heic_too():
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[0x9003] = "2024:01:31 14:22:33"
    data = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64))).save(data, exif=exif.tobytes(), quality=50)
    assert taken_by_exif(data.getvalue()) == Taken(datetime(2024, 1, 31, 14, 22, 33), "exif")


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {0x9003: "0000:00:00 00:00:00"},
        {0x9003: "    :  :     :  :  "},
        {0x9003: "2024:13:31 14:22:33"},
        {0x9003: 7},
        {0x9004: "2024:01:31 14:22:33"},  # when it was scanned
        {0x0132: "2024:01:31 14:22:33"},  # when it was edited
    ],
)
def test_what_says_nothing(tags):
    assert taken_of_tags(tags) is None


@given(st.dictionaries(st.sampled_from([0x9003, 0x9011, 0x9291]), st.text() | st.binary() | st.integers() | st.none()))
def test_no_tag_breaks_it(tags):
    found = taken_of_tags(tags)
    assert found is None or 1830 <= found.at.year <= 2199


@pytest.mark.parametrize("cut", [0, 10, 100, 300])
def test_broken_files_say_nothing(cut):
    taken_by_exif(picture({0x9003: "2024:01:31 14:22:33"})[:cut])
    assert taken_by_exif(b"no picture") is None


# ---------------------------------------------------------------- the file beside


def sidecar(seconds):
    return json.dumps({"photoTakenTime": {"timestamp": str(seconds)}, "geoData": {"latitude": 48.85}}).encode()


def test_the_file_beside_counts_in_utc():
    assert taken_by_sidecar(sidecar(1706707353)) == Taken(datetime(2024, 1, 31, 13, 22, 33), "sidecar", is_utc=True)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"photoTakenTime": 3}', sidecar(0), sidecar(10**30)])
def test_a_file_beside_that_says_nothing(data):
    assert taken_by_sidecar(data) is None


LONG = "01D1C847-D498-4814-9F10-6B81D768077B-1050-0000"
"""46 characters: as much of a name as an export leaves of a JSON file's."""


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-meta.json"),
        ("IMG_1.jpg", "IMG_1.jpg.suppl.json"),
        ("IMG_1.jpg", "IMG_1.jpg.s.json"),
        ("IMG_1.jpg", "IMG_1.jpg..json"),
        ("IMG_1.jpg", "IMG_1.jpg.json"),
        ("PXL_20240131_142233123.PORTRAIT.jpg", "PXL_20240131_142233123.PORTRAIT.jpg.supplement.json"),
        (f"{LONG[:40]}.jpg", f"{LONG[:40]}.jpg.s.json"),
        (f"{LONG[:41]}.jpg", f"{LONG[:41]}.jpg..json"),
        # a number moves behind the word
        ("IMG_1(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
        ("IMG_1(2).jpg", "IMG_1.jpg.supple(2).json"),
        ("IMG_1(2).jpg", "IMG_1.jpg(2).json"),
        ("IMG_1(2).jpg", "IMG_1(2).jpg.json"),
        # of an edited copy the original's
        ("IMG_1-edited.jpg", "IMG_1.jpg.supplemental-metadata.json"),
        ("IMG_1-bearbeitet.jpg", "IMG_1.jpg.suppl.json"),
        ("IMG_1-modifié.jpg", "IMG_1.jpg.json"),
        ("IMG_1-modifie\u0301.jpg", "IMG_1.jpg.json"),
        ("IMG_1-ha editado.jpg", "IMG_1.jpg.json"),
        ("IMG_1-編集済み.jpg", "IMG_1.jpg.json"),
        ("IMG_1-EFFECTS-edited.jpg", "IMG_1.jpg.json"),
        ("IMG_1-edited(1).jpg", "IMG_1.jpg.supplemental-metadata(1).json"),
        ("IMG_1(1)-edited.jpg", "IMG_1.jpg.supplemental-metadata(1).json"),
        ("IMG_1~2-edited.jpg", "IMG_1~2.jpg.supplemental-metadat.json"),
        (f"{LONG[:42]}-edit.jpg", f"{LONG[:42]}.jpg.json"),
    ],
)
def test_a_file_with_the_whole_name_is_the_picture_s_own(name, beside):
    assert beside in set(sidecar_names(name))
    assert sidecar_of(name, sorted([name, beside, "IMG_1.png", "IMG_1.png.json"])) == beside


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("IMG_1.HEIC", "IMG_1.JPG.supplemental-metadata.json"),
        ("IMG_1.HEIC", "IMG_1.jpg.suppl.json"),
        ("IMG_1.jpg", "IMG_1.HEIC.json"),
        ("IMG_1(3).HEIC", "IMG_1.JPG.supplemental-metadata(3).json"),
        ("IMG_1(3).HEIC", "IMG_1(3).JPG.supplemental-metadata.json"),
        ("IMG_1-edited.jpg", "IMG_1.HEIC.supplemental-metadata.json"),
        # a title without ending
        ("Peanut Butter.jpg", "Peanut Butter.supplemental-metadata.json"),
        ("2013-12-23(1).jpg", "2013-12-23.supplemental-metadata(1).json"),
        ("PicasaSync(6).jpg", "PicasaSync(6).json"),
        # a name that was cut
        (f"{LONG}0.jpg", f"{LONG}.json"),
        (f"{LONG}0(2).jpg", f"{LONG}(2).json"),
        (f"{LONG[:44]}.HEIC", f"{LONG[:44]}.J.json"),
        (f"{LONG[:43]}.jpg", f"{LONG[:43]}.jp.json"),
        (f"{LONG[:43]}(1).jpg", f"{LONG[:43]}.jp(1).json"),
        (f"{'😀' * 23}😛.jpg", f"{'😀' * 23}.json"),
    ],
)
def test_another_name_is_taken_where_nothing_else_is_meant(name, beside):
    film = f"{name.rpartition('.')[0]}.MOV"
    assert sidecar_of(name, sorted([name, film, beside, "metadata.json", "IMG_2.jpg"])) == beside
    assert beside not in set(sidecar_names(name))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("IMG_1.jpg", ["IMG_10.jpg.json", "metadata.json", "IMG_1.jpg(1).json", "IMG_1(1).jpg.json", "IMG_1.MOV.json"]),
        ("IMG_1(1).jpg", ["IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json", "IMG_1.jpg(2).json"]),
        ("IMG_1~2.jpg", ["IMG_1.jpg", "IMG_1.jpg.json"]),
        ("IMG_1-sea.jpg", ["IMG_1.jpg", "IMG_1.jpg.json"]),
        # two pictures of the name: which one it tells of, nobody says
        ("IMG_1.HEIC", ["IMG_1.JPG", "IMG_1.JPG.json"]),
        ("IMG_1.HEIC", ["IMG_1.png", "IMG_1.JPG.json", "IMG_1.json"]),
        ("IMG_1-edited.jpg", ["IMG_1.HEIC", "IMG_1.png", "IMG_1.HEIC.json"]),
        ("IMG_1.mp.jpg", ["IMG_1.mp", "IMG_1.mp.json"]),
        # two names that are cut to one
        (f"{LONG}0.jpg", [f"{LONG}1.jpg", f"{LONG}.json", f"{LONG}(1).json"]),
        (f"{LONG}0.jpg", [f"{LONG}1.mp4", f"{LONG}.json"]),
        (f"{LONG}0(1).jpg", [f"{LONG}1(1).jpg", f"{LONG}(1).json"]),
        (f"{LONG[:45]}.jpg", [f"{LONG[:45]}.b.jpg", f"{LONG[:45]}..json"]),
    ],
)  # fmt: skip
def test_what_may_tell_of_another_picture_is_not_taken(name, files):
    assert sidecar_of(name, sorted([name, *files])) is None


STEMS = st.sampled_from(["a", "b", LONG[:43], LONG[:45], LONG, f"{LONG}0", f"{LONG}1"])
ENDINGS = st.sampled_from([".jpg", ".JPG", ".heic", ".mp4"])
NAMES = st.builds("{}{}{}".format, STEMS, st.sampled_from(["", "(1)"]), ENDINGS)


@given(st.sets(NAMES, max_size=6), st.data())
def test_no_file_is_given_to_two_pictures(pictures, data):
    titles = data.draw(st.lists(st.tuples(NAMES, st.integers(0, 22), st.sampled_from(["", "(1)"])), max_size=6))
    word = ".supplemental-metadata"
    files = {f"{f'{title}{word[:end]}'[:46]}{number}.json" for title, end, number in titles}
    shown = sorted({*pictures, *files})
    given_to = [found for name in pictures if not name.endswith(".mp4") and (found := sidecar_of(name, shown))]
    assert len(given_to) == len(set(given_to))


def test_both_together_tell_the_offset():
    exif = Taken(datetime(2024, 1, 31, 14, 22, 33), "exif")
    assert with_offset(exif, taken_by_sidecar(sidecar(1706707353))).offset == 60
    assert with_offset(exif, taken_by_sidecar(sidecar(1706707353 + 500))).offset is None  # no zone is so much ahead
    assert with_offset(exif, None) == exif


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IMG_20240131_142233.jpg", "2024-01-31T14:22:33"),
        ("IMG_20240131_142233123.jpg", "2024-01-31T14:22:33.123"),
        ("PXL_20240131_142233123.jpg", "2024-01-31T14:22:33.123Z"),
        ("20240131_142233.jpg", "2024-01-31T14:22:33"),
        ("2024-01-31 14.22.33.jpg", "2024-01-31T14:22:33"),
        ("2024-01-31 14.22.33-2.jpg", "2024-01-31T14:22:33"),
        ("Screenshot_20240131-142233_Maps.png", "2024-01-31T14:22:33"),
        ("Screenshot 2024-01-31 at 14.22.33.png", "2024-01-31T14:22:33"),
        ("Screen Shot 2024-01-31 at 2.22.33 PM.png", "2024-01-31T14:22:33"),
        ("Screen Shot 2024-01-31 at 12.22.33\u202fAM.png", "2024-01-31T00:22:33"),
        ("Bildschirmfoto 2024-01-31 um 14.22.33.png", "2024-01-31T14:22:33"),
        ("signal-2024-01-31-14-22-33-123.jpg", "2024-01-31T14:22:33.123"),
        ("photo_2024-01-31_14-22-33.jpg", "2024-01-31T14:22:33"),
        ("WhatsApp Image 2024-01-31 at 14.22.33.jpeg", "2024-01-31T14:22:33"),
        ("IMG-20240131-WA0007.jpg", "2024-01-31"),
        ("2024-01-31 beach.jpg", "2024-01-31"),
        ("DSC_0001.jpg", None),
        ("20240131.jpg", None),
        ("IMG_20241331_142233.jpg", None),
        ("IMG_20240131_252233.jpg", None),
        ("4006381333931_20240131.jpg", None),
        ("product 120240131142233.jpg", None),
        ("v1.2024-01.png", None),
    ],
)
def test_what_names_say(name, text):
    found = taken_by_name(name)
    assert (found.text if found else None) == text


@given(st.text())
def test_no_name_breaks_it(name):
    taken_by_name(name)


# ---------------------------------------------------------------- as text


@given(takens)
def test_a_time_is_read_as_it_was_written(taken):
    assert Taken.of_text(taken.text, taken.by) == taken


# ---------------------------------------------------------------- beside the others of an album


def at(minutes, **more):
    return Taken(NOON + timedelta(minutes=minutes), more.pop("by", "exif"), **more)


def test_what_is_told_goes_before_the_time_of_the_file():
    hour = 3600
    assert believed([at(0), None], [0, 5 * hour]) == [at(0), taken_by_file(5 * hour)]


def test_times_of_files_that_were_copied_together_say_nothing():
    assert believed([None, None, at(5)], [1000, 4600, 2000]) == [None, None, at(5)]
    assert believed([None, None], [1000, 4601])[0] is not None


def test_a_picture_without_a_time_stands_with_the_one_before_it():
    clocks = clocks_of([None, at(5), None, at(9)])
    assert [clock.shown.minute for clock in clocks] == [5, 5, 5, 9]
    assert [clock.told for clock in clocks] == [False, True, False, True]


@pytest.mark.parametrize("times", [[], [None], [None, None], [at(1)], [at(1), at(1)], [at(1), None, at(1)]])
def test_no_times_and_equal_times_tell_nothing(times):
    assert clocks_of(times) is None


def test_moments_are_compared_over_zones():
    """Two pictures before a flight to the west and one after it, by whose clock it is earlier."""
    clocks = clocks_of([at(0, offset=60), at(10, offset=60), at(-200, offset=-300)])
    assert [clock.moment for clock in clocks] == sorted(clock.moment for clock in clocks)
    assert clocks[2].shown < clocks[0].shown


def test_where_the_zone_is_unknown_it_is_that_of_most():
    utc = Taken(NOON - timedelta(hours=1), "sidecar", is_utc=True)
    clocks = clocks_of([at(0, offset=60), at(1, offset=60), at(2, offset=-300), at(3), utc])
    assert clocks[3].moment - clocks[0].moment == 3 * 60_000
    assert (clocks[4].moment, clocks[4].shown) == (clocks[0].moment, NOON)


@given(st.lists(takens | st.none(), max_size=9))
def test_moments_are_those_of_the_standard_library(times):
    clocks = clocks_of(times) or []
    for taken, clock in zip(times, clocks, strict=False):
        if taken is not None and (taken.offset is not None or taken.is_utc):
            aware = taken.at.replace(tzinfo=UTC) - timedelta(minutes=taken.offset or 0)
            assert clock.moment == round(aware.timestamp() * 1000)
