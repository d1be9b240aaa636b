import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.catalog import Catalog, Entry, match, plan_for, read_catalog, read_plans
from image2music.errors import ConfigError
from image2music.music.planning.plan import plan_as_json
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.wishes import WISH_COLUMNS, Wishes
from image2music.types import ImageMetadata, metadata_key, metadata_of_row
from schemas.composition import METADATA_FIELDS

URIS = ["shop/a/1.jpg", "shop/a/2.jpg", "shop/b/1.jpg", "shop/day.tar#x/3.jpg"]


def catalog(*entries):
    return Catalog(entries)


def briefs(*entries):
    return {place.uri: place.brief for place in match(catalog(*entries), URIS, "shop/").places}


def test_a_csv_file(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text('\ufeffid,image,hint,price\n0042,a.jpg,"A red\n chair, oak",9.99\n,b.jpg,,\n', encoding="utf-8")
    assert read_catalog(path).entries == (
        Entry("a.jpg", "0042", "A red chair, oak"),
        Entry("b.jpg", None, None),
    )


def test_a_parquet_file(tmp_path):
    pq.write_table(pa.table({"image": ["a.jpg"], "id": [42], "caption": ["A chair"]}), tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet").entries == (Entry("a.jpg", "42", "A chair"),)


def test_a_long_hint_without_blanks_is_cut_where_it_must_be(tmp_path):
    (tmp_path / "c.csv").write_text("image,hint\na.jpg," + "夏" * 400, encoding="utf-8")
    assert read_catalog(tmp_path / "c.csv").entries[0].hint == "夏" * 300


def test_a_hint_that_cannot_be_seen_is_none(tmp_path):
    (tmp_path / "c.csv").write_text("image,hint\na.jpg,\u200b", encoding="utf-8")
    assert read_catalog(tmp_path / "c.csv").entries[0].hint is None


def test_a_hint_is_cut_between_words(tmp_path):
    (tmp_path / "c.csv").write_text("image,hint\na.jpg," + "word " * 100)
    assert len(read_catalog(tmp_path / "c.csv").entries[0].hint) == 299


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "catalog_missing"),
        (b"image,price\na.jpg,3\n", "catalog_columns"),
        (b"id,hint\n1,x\n", "catalog_columns"),
        (b"", "catalog_columns"),
        (b"image,id\na\0b,1\n", "bad_catalog"),
        (b"PK\x03\x04 an Excel file", "bad_catalog"),
        (b"image,Image,id\na.jpg,b.jpg,1\n", "catalog_columns"),
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
    found = match(
        catalog(Entry("1.jpg", "1", None), Entry("a/1.jpg", "2", None), Entry("9.jpg", "3", None)), URIS, "shop"
    )
    assert [place.brief.catalog_id for place in found.places] == ["1", None, "1", None]
    assert (found.rows, found.rows_without_picture, found.repeated_rows) == (3, ("9.jpg",), ("a/1.jpg",))
    assert found.pictures_without_row == ("shop/a/2.jpg", "shop/day.tar#x/3.jpg")


def test_names_match_whatever_their_unicode_normal_form():
    for folder, row in (("cafe\u0301.jpg", "caf\u00e9.jpg"), ("caf\u00e9.jpg", "cafe\u0301.jpg")):
        (place,) = match(catalog(Entry(row, "7", None)), [f"shop/{folder}"], "shop").places
        assert (place.uri, place.brief) == (f"shop/{folder}", ImageMetadata("7"))


@pytest.mark.parametrize("image", ["sub/IMG #1.jpg", "IMG #1.jpg", "shop/sub/IMG #1.jpg"])
def test_a_name_may_hold_a_hash_sign(image):
    uris = ["shop/sub/1.jpg", "shop/sub/IMG #1.jpg"]
    found = match(catalog(Entry(image, "7", None)), uris, "shop")
    assert [place.brief.catalog_id for place in found.places] == [None, "7"]


def test_a_row_with_more_fields_than_the_first_line_is_named(tmp_path):
    (tmp_path / "c.csv").write_text("image,id,hint\na.jpg,1,a lamp\nb.jpg,2,a chair, oak, 1920s\nc.jpg,3,a, b\n")
    with pytest.raises(ConfigError, match=r"the row of b.jpg \(line 3\) and 1 more in .* has more fields than"):
        read_catalog(tmp_path / "c.csv")


def test_empty_fields_at_the_end_of_a_row_do_no_harm(tmp_path):
    (tmp_path / "c.csv").write_text("image,id\na.jpg,1,,\n")
    assert read_catalog(tmp_path / "c.csv").entries == (Entry("a.jpg", "1", None),)


@pytest.mark.parametrize("entries", [[], [Entry("9.jpg", "1", None)]])
def test_a_catalogue_that_names_no_picture_is_refused(entries):
    with pytest.raises(ConfigError, match=r"none of the \d rows of the catalogue names a picture of shop"):
        match(catalog(*entries), URIS, "shop")


def test_wishes_are_read_from_csv(tmp_path):
    (tmp_path / "c.csv").write_text(
        "image,mood,tempo,instruments,bars,style,price\n"
        'a.jpg,sad,60-70,"piano,  cello",16,waltz,9\n'
        "b.jpg,,,,,,9\n"
        "c.jpg,,slow,,,,9\n",
        encoding="utf-8",
    )
    assert [entry.wishes for entry in read_catalog(tmp_path / "c.csv").entries] == [
        Wishes(mood="sad", tempo="60-70", instruments="piano, cello", bars="16", style="waltz"),
        None,
        Wishes(tempo="slow"),
    ]


def test_wishes_are_read_from_parquet_numbers_too(tmp_path):
    pq.write_table(pa.table({"image": ["a.jpg"], "bars": [16], "tempo": [90.0]}), tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet").entries == (
        Entry("a.jpg", None, None, Wishes(bars="16", tempo="90.0")),
    )


@pytest.mark.parametrize("column", WISH_COLUMNS)
def test_one_wish_is_enough_for_a_catalogue(tmp_path, column):
    (tmp_path / "c.csv").write_text(f"image,{column}\na.jpg,16\n")
    assert read_catalog(tmp_path / "c.csv").entries[0].wishes == Wishes(**{column: "16"})


def test_wishes_go_with_their_picture_and_come_back_from_its_row():
    wishes = Wishes(tempo="slow", style="waltz")
    metadata = briefs(Entry("2.jpg", "7", "h", wishes))["shop/a/2.jpg"]
    assert metadata == ImageMetadata("7", "h", wishes=wishes)
    assert metadata_of_row(metadata.row) == metadata
    table = pa.Table.from_pylist([metadata.row], pa.schema([pa.field("hint", pa.string()), METADATA_FIELDS["wishes"]]))
    assert metadata_of_row(table.to_pylist()[0]).wishes == wishes
    assert [field.name for field in METADATA_FIELDS["wishes"].type] == list(WISH_COLUMNS)


def test_rows_without_wishes_are_known_by_what_they_were_known_by_before():
    picture = "ab" * 32
    assert metadata_key(picture, ImageMetadata().row) == bytes.fromhex(picture)
    known = "ba25c9b07d5b9147823e69b9dc527ffef84ba603e7b1836697f36f0a4602aeae"
    assert metadata_key(picture, ImageMetadata("7", "a lamp").row).hex() == known
    keys = {metadata_key(picture, ImageMetadata("7", "a lamp", wishes=Wishes(bars=bars)).row) for bars in ("8", "16")}
    assert len(keys | {bytes.fromhex(known)}) == 3


PLAN = plan_tune(PlanRequest(title="Lamp", bars=8, key="D"))


def write_plans(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_plans_are_read_in_both_forms(tmp_path):
    shape = plan_as_json(PLAN)
    path = write_plans(tmp_path / "p.jsonl", {"image": "./a/2.jpg", "plan": shape}, "", {"image": "ab12", **shape})
    assert read_plans(path) == {"a/2.jpg": PLAN, "ab12": PLAN}


def test_a_plan_is_found_by_image_id_and_by_place(tmp_path):
    plans = {"a/2.jpg": PLAN, "ab12": PLAN, "3.jpg": PLAN}
    assert plan_for(plans, "ab12", ["shop/b/1.jpg"], "shop") is PLAN
    assert plan_for(plans, "00", ["shop/b/1.jpg", "shop/a/2.jpg"], "shop/") is PLAN
    assert plan_for(plans, "00", ["shop/day.tar#x/3.jpg"], "shop") is PLAN
    assert plan_for(plans, "00", ["shop/b/1.jpg"], "shop") is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1 of the plans"),
        (["[]"], "line 1 of the plans .*: a JSON object with image and plan is needed"),
        ([{"image": "a", "plan": plan_as_json(PLAN)}, {"plan": {}}], "line 2 of the plans .*: image is missing"),
        ([{"image": "a", "plan": {"bars": 3}}], "line 1 of the plans .*: voices: a JSON list"),
        ([{"image": "a", "plan": plan_as_json(PLAN)}] * 2, "line 2 of the plans .*: a has a plan already"),
        ([], "has no line"),
        (["[" * 100_000], "line 1 of the plans"),
    ],
)
def test_plans_that_cannot_be_read_name_their_line(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_plans(write_plans(tmp_path / "p.jsonl", *lines))
    assert caught.value.reason == "bad_plans" and "\n" not in str(caught.value)


def test_a_file_of_plans_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_plans(tmp_path / "none.jsonl")
    assert caught.value.reason == "plans_missing"
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        read_plans(tmp_path / "b.jsonl")
    assert caught.value.reason == "bad_plans"


TABLE = "image,id,hint\ncafé.jpg,A4,a lamp for 9 €\n2.jpg,A5,\n"
ENTRIES = (Entry("café.jpg", "A4", "a lamp for 9 €"), Entry("2.jpg", "A5", None))


@pytest.mark.parametrize(
    ("data", "taken_as"),
    [
        (TABLE.encode(), "UTF-8, commas"),
        (TABLE.encode("utf-8-sig"), "UTF-8 with a byte order mark, commas"),
        (TABLE.replace(",", ";").encode("cp1252"), "Windows-1252 (Latin-1), as it is not UTF-8, semicolons"),
        (TABLE.replace(",", "\t").encode("utf-16"), "UTF-16, tabs"),
        (TABLE.replace(",", ";").encode("utf-16-be"), "UTF-16, semicolons"),
        (TABLE.encode("utf-16-le"), "UTF-16, commas"),
        (TABLE.encode("utf-32"), "UTF-32, commas"),
        (("sep=;\n" + TABLE.replace(",", ";")).encode("utf-8-sig"), "UTF-8 with a byte order mark, semicolons"),
        (TABLE.replace("\n", "\r\n").encode(), "UTF-8, commas"),
        (TABLE.replace("\n", "\r").encode(), "UTF-8, commas"),
        (TABLE.replace("image,id,hint", " Image , ID,\tHint ").encode(), "UTF-8, commas"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_is_read_as_what_it_is_and_it_is_said(tmp_path, data, taken_as):
    (tmp_path / "c.csv").write_bytes(data)
    read = read_catalog(tmp_path / "c.csv")
    assert (read.entries, read.taken_as) == (ENTRIES, taken_as)


def test_columns_that_are_not_read_are_said(tmp_path):
    (tmp_path / "c.csv").write_text("Image;Price (EUR);hint;Caption\na.jpg;9,90;a lamp, old;x\n", encoding="utf-8")
    read = read_catalog(tmp_path / "c.csv")
    assert read.entries == (Entry("a.jpg", None, "a lamp, old"),)
    assert read.line == "read as UTF-8, semicolons; columns image, hint; not read: Price (EUR), Caption"


def test_what_is_cut_and_which_rows_name_no_picture_is_said(tmp_path):
    (tmp_path / "c.csv").write_text(f"image,hint,mood\na.jpg,{'word ' * 99},sad\n,lost,\n,,\n")
    read = read_catalog(tmp_path / "c.csv")
    assert read.cut == ("the hint of a.jpg has 494 characters, and 299 are taken",)
    assert read.nameless == 1


def test_an_open_quote_names_its_line(tmp_path):
    (tmp_path / "c.csv").write_text('image,id\na.jpg,1\n"b".jpg,2\n')
    with pytest.raises(ConfigError, match="line 3: "):
        read_catalog(tmp_path / "c.csv")


PLACES = ["photos/Rome/IMG_1.JPG", "photos/Oslo/IMG_2.jpg", "photos/Oslo/img_1.jpg", "photos/day.tar#x/Tree.jpg"]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("backup/photos/Oslo/IMG_2.jpg", None),
        ("Oslo\\IMG_2.jpg", "photos/Oslo/IMG_2.jpg"),
        ("img_2.JPG", "photos/Oslo/IMG_2.jpg"),
        ("IMG_1.jpg", None),  # two are called so, but for their case
        ("rome/img_1.jpg", "photos/Rome/IMG_1.JPG"),
        ("tree.JPG", "photos/day.tar#x/Tree.jpg"),
        ("x/tree.jpg", "photos/day.tar#x/Tree.jpg"),
    ],
)
def test_a_row_that_is_spelt_otherwise_finds_its_picture_where_there_is_only_one(row, place):
    found = match(catalog(Entry("IMG_2.jpg", "1", None), Entry(row, "7", None)), PLACES, "photos")
    assert found.loosely == (((row, place),) if place else ())
    assert found.rows_without_picture == (() if place else (row,))


def test_a_row_may_begin_anywhere_in_a_place():
    found = match(catalog(Entry("Oslo/1.jpg", "7", None)), ["/disk/a/Oslo/1.jpg", "/disk/a/Rome/1.jpg"], "/disk")
    assert found.loosely == (("Oslo/1.jpg", "/disk/a/Oslo/1.jpg"),)


def test_an_exact_row_goes_before_one_that_is_spelt_otherwise():
    entries = catalog(Entry("TREE.jpg", "loose", None), Entry("Tree.jpg", "exact", None))
    found = match(entries, PLACES, "photos")
    assert [place.brief.catalog_id for place in found.places] == [None, None, None, "exact"]
    assert found.repeated_rows == ("TREE.jpg",)


def test_a_name_whose_bytes_are_not_utf_8_is_found_by_what_windows_calls_it():
    found = match(catalog(Entry("café.jpg", "7", None)), ["shop/caf\udce9.jpg"], "shop")
    assert found.places[0].brief.catalog_id == "7"


def test_a_name_may_hold_line_breaks(tmp_path):
    (tmp_path / "c.csv").write_text('image,id\n"two\nlines.jpg",7\n')
    found = match(read_catalog(tmp_path / "c.csv"), ["shop/two\nlines.jpg"], "shop")
    assert found.places[0].brief.catalog_id == "7"
