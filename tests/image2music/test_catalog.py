import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.catalog import Entry, match, plan_for, read_catalog, read_plans
from image2music.errors import ConfigError
from image2music.music.planning.plan import plan_as_json
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.wishes import WISH_COLUMNS, Wishes
from image2music.types import ImageMetadata, metadata_key, metadata_of_row
from schemas.composition import METADATA_FIELDS

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


def test_wishes_are_read_from_csv(tmp_path):
    (tmp_path / "c.csv").write_text(
        "image,mood,tempo,instruments,bars,style,price\n"
        'a.jpg,sad,60-70,"piano,  cello",16,waltz,9\n'
        "b.jpg,,,,,,9\n"
        "c.jpg,,slow,,,,9\n",
        encoding="utf-8",
    )
    assert [entry.wishes for entry in read_catalog(tmp_path / "c.csv")] == [
        Wishes(mood="sad", tempo="60-70", instruments="piano, cello", bars="16", style="waltz"),
        None,
        Wishes(tempo="slow"),
    ]


def test_wishes_are_read_from_parquet_numbers_too(tmp_path):
    pq.write_table(pa.table({"image": ["a.jpg"], "bars": [16], "tempo": [90.0]}), tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet") == [Entry("a.jpg", None, None, Wishes(bars="16", tempo="90.0"))]


@pytest.mark.parametrize("column", WISH_COLUMNS)
def test_one_wish_is_enough_for_a_catalogue(tmp_path, column):
    (tmp_path / "c.csv").write_text(f"image,{column}\na.jpg,16\n")
    assert read_catalog(tmp_path / "c.csv")[0].wishes == Wishes(**{column: "16"})


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
