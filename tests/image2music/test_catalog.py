import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.catalog import Entry, match, read_catalog
from image2music.errors import ConfigError
from image2music.types import ImageMetadata

URIS = ["shop/a/1.jpg", "shop/a/2.jpg", "shop/b/1.jpg", "shop/day.tar#x/3.jpg"]


def briefs(*entries):
    return {place.uri: place.brief for place in match(entries, URIS, "shop/").places}


def test_a_csv_file(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text('\ufeffid,image,hint,price\n0042,a.jpg,"A red\n chair, oak",9.99\n,b.jpg,,\n', encoding="utf-8")
    assert read_catalog(path) == [Entry("a.jpg", "0042", "A red chair, oak"), Entry("b.jpg", None, None)]


def test_a_parquet_file(tmp_path):
    pq.write_table(pa.table({"image": ["a.jpg"], "id": [42], "caption": ["A chair"]}), tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet") == [Entry("a.jpg", "42", "A chair")]


def test_a_long_hint_without_blanks_is_cut_where_it_must_be(tmp_path):
    (tmp_path / "c.csv").write_text("image,hint\na.jpg," + "夏" * 400, encoding="utf-8")
    assert read_catalog(tmp_path / "c.csv")[0].hint == "夏" * 300


def test_a_hint_that_cannot_be_seen_is_none(tmp_path):
    (tmp_path / "c.csv").write_text("image,hint\na.jpg,\u200b", encoding="utf-8")
    assert read_catalog(tmp_path / "c.csv")[0].hint is None


def test_a_hint_is_cut_between_words(tmp_path):
    (tmp_path / "c.csv").write_text("image,hint\na.jpg," + "word " * 100)
    assert len(read_catalog(tmp_path / "c.csv")[0].hint) == 299


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "catalog_missing"),
        (b"image,price\na.jpg,3\n", "catalog_columns"),
        (b"id,hint\n1,x\n", "catalog_columns"),
        (b"", "catalog_columns"),
        (b"image,id\n\xff\xfe,1\n", "bad_catalog"),
        (b'image,id\n"a.jpg,1\n', "bad_catalog"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_refused(tmp_path, content, reason):
    path = tmp_path / "c.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_catalog(path)
    assert caught.value.reason == reason


@pytest.mark.parametrize("image", ["shop/a/2.jpg", "./shop/a/2.jpg", "a/2.jpg", "2.jpg"])
def test_a_row_names_a_picture_by_place_by_place_in_the_folder_or_by_name(image):
    assert briefs(Entry(image, "7", "h"))["shop/a/2.jpg"] == ImageMetadata("7", "h")


@pytest.mark.parametrize("image", ["shop/day.tar#x/3.jpg", "x/3.jpg", "3.jpg"])
def test_a_row_names_a_picture_in_an_archive(image):
    assert briefs(Entry(image, "7", None))["shop/day.tar#x/3.jpg"] == ImageMetadata("7")


def test_what_does_not_fit_is_told():
    found = match([Entry("1.jpg", "1", None), Entry("a/1.jpg", "2", None), Entry("9.jpg", "3", None)], URIS, "shop")
    assert [place.brief.catalog_id for place in found.places] == ["1", None, "1", None]
    assert (found.rows, found.rows_without_picture, found.repeated_rows) == (3, ("9.jpg",), ("a/1.jpg",))
    assert found.pictures_without_row == ("shop/a/2.jpg", "shop/day.tar#x/3.jpg")


def test_names_match_whatever_their_unicode_normal_form():
    for folder, row in (("cafe\u0301.jpg", "caf\u00e9.jpg"), ("caf\u00e9.jpg", "cafe\u0301.jpg")):
        (place,) = match([Entry(row, "7", None)], [f"shop/{folder}"], "shop").places
        assert (place.uri, place.brief) == (f"shop/{folder}", ImageMetadata("7"))


@pytest.mark.parametrize("image", ["sub/IMG #1.jpg", "IMG #1.jpg", "shop/sub/IMG #1.jpg"])
def test_a_name_may_hold_a_hash_sign(image):
    uris = ["shop/sub/1.jpg", "shop/sub/IMG #1.jpg"]
    found = match([Entry(image, "7", None)], uris, "shop")
    assert [place.brief.catalog_id for place in found.places] == [None, "7"]


def test_a_row_with_more_fields_than_the_first_line_is_named(tmp_path):
    (tmp_path / "c.csv").write_text("image,id,hint\na.jpg,1,a lamp\nb.jpg,2,a chair, oak, 1920s\nc.jpg,3,a, b\n")
    with pytest.raises(ConfigError, match=r"the row of b.jpg \(line 3\) and 1 more in .* has more fields than"):
        read_catalog(tmp_path / "c.csv")


def test_empty_fields_at_the_end_of_a_row_do_no_harm(tmp_path):
    (tmp_path / "c.csv").write_text("image,id\na.jpg,1,,\n")
    assert read_catalog(tmp_path / "c.csv") == [Entry("a.jpg", "1", None)]


@pytest.mark.parametrize("entries", [[], [Entry("9.jpg", "1", None)]])
def test_a_catalogue_that_names_no_picture_is_refused(entries):
    with pytest.raises(ConfigError, match=r"none of the \d rows of the catalogue names a picture of shop"):
        match(entries, URIS, "shop")
