import base64
import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune
from PIL import Image

from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_midi
from image2music.music.loudness import loudness
from image2music.music.render import RATE, decode
from image2music.music.tags import tagged
from image2music.rights import RIGHTS_COLUMNS, file_tags
from image2music.storage.output import REPORT_MARKER, open_output
from pipelines.cli.main import main
from pipelines.jobs.report import page_sound

COMPOSE = "compose --images pictures --index tunes.lance --output out --composer fake --runner FnApiRunner"


@pytest.fixture(scope="module")
def composed_once(made_once, tmp_path_factory):
    """Three pictures with tunes by the stand-in composer, and one file that is no picture."""
    home = tmp_path_factory.mktemp("composed") / "world"
    shutil.copytree(made_once, home)
    (home / "pictures" / "<b>broken.png").write_bytes(b"no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main([*COMPOSE.split(), "--max_failures", "1"]) == 3
    return home


@pytest.fixture
def composed(composed_once, tmp_path, monkeypatch) -> Path:
    home = tmp_path / "world"
    shutil.copytree(composed_once, home)
    monkeypatch.chdir(home)
    return home


def pages(home: Path) -> dict[str, str]:
    report = home / "out" / "report"
    return {str(path.relative_to(report)): path.read_text() for path in report.rglob("*.html")}


def test_a_report_has_a_list_an_album_a_page_for_each_picture_and_the_failures(composed, capsys):
    assert main(["report", "--input", "out"]) == 0
    names = sorted(re.sub(r"[0-9a-f]{8,16}\.html", "ID.html", name) for name in pages(composed))
    assert names == [
        "albums/pictures-ID.html",
        "compare.html",
        "failures.html",
        "index.html",
        *["pictures/ID.html"] * 3,
    ]
    assert capsys.readouterr().out == "3 pictures, 1 failure; 3 written, 0 unchanged: open out/report/index.html\n"


def test_every_link_leads_to_a_file_in_the_folder_and_none_to_a_network(composed):
    main(["report", "--input", "out"])
    report = composed / "out" / "report"
    for name, html in pages(composed).items():
        links = re.findall(r'(?:href|src)="([^"#][^"]*)"', html)
        files = [link.partition("#")[0] for link in links if not link.startswith("data:image/jpeg;base64,")]
        assert files and all(((report / name).parent / link).is_file() for link in files), name
        # What is said of a tune's making names a term of IPTC's, by its address; nothing else looks like one.
        assert {url.partition("/newscodes/")[0] for url in re.findall(r"\w+://[^\s\"'<>]+", html)} <= {
            "http://cv.iptc.org"
        }, name


def test_pictures_of_no_folder_have_an_album_page_whose_links_work(composed):
    (shard,) = open_output(composed / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    pq.write_table(pa.Table.from_pylist([row | {"album": ""} for row in table.to_pylist()], table.schema), shard)
    main(["report", "--input", "out"])
    (album,) = (composed / "out" / "report" / "albums").iterdir()
    assert "<h1>(no folder)</h1>" in album.read_text()
    assert all(
        (album.parent / link).is_file() for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', album.read_text())
    )


def test_names_of_files_are_escaped(composed):
    main(["report", "--input", "out"])
    assert "&lt;b&gt;broken.png" in pages(composed)["failures.html"]
    assert not any("<b>" in html for html in pages(composed).values())


def test_what_a_model_or_a_data_set_wrote_cannot_become_markup_or_script(composed):
    hostile = """</script><img src=x onerror="alert(1)">'"&{{ 7 * 7 }}"""
    (shard,) = open_output(composed / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    rows = table.to_pylist()
    for row in rows:
        row.update(title=hostile, description=hostile, motivation=hostile, key=hostile, album=f"a/{hostile}")
        row["abc"] = row["abc"].replace("K:C", f"N:{hostile}\nK:C")
        row["references"] = [reference | {"caption": hostile, "location": hostile} for reference in row["references"]]
        row["attention"] = [part | {"text": hostile, "kind": "motivation"} for part in row["attention"]]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), shard)
    assert main(["report", "--input", "out", "--include_references"]) == 0
    for html in pages(composed).values():
        assert "<img src=x" not in html
        assert html.count("</script>") == html.count("<script")


def test_a_picture_that_changed_since_is_not_shown_with_anothers_heat_map(composed, capsys):
    Image.new("RGB", (12, 8), (1, 2, 3)).save(composed / "pictures" / "red.png")
    assert main(["report", "--input", "out"]) == 0
    assert "3 pictures, 1 of them without their picture" in capsys.readouterr().out


def test_scores_of_references_are_shown_only_when_asked_for(composed):
    main(["report", "--input", "out"])
    without = pages(composed)
    main(["report", "--input", "out", "--include_references"])
    assert not any('<details class="reference">' in html for html in without.values())
    assert sum('<details class="reference">' in html for html in pages(composed).values()) == 3


def test_abc_midi_and_musicxml_can_be_downloaded(composed):
    main(["report", "--input", "out"])
    (row, *_) = open_output(composed / "out").compositions.read(["abc", "midi", *RIGHTS_COLUMNS])
    files = composed / "out" / "report" / "pictures"
    assert (files / f"{row['image_id'][:16]}.abc").read_text() == row["abc"]
    midi = (files / f"{row['image_id'][:16]}.mid").read_bytes()
    assert midi == tagged(row["midi"], "midi", file_tags(row))
    music_xml = (files / f"{row['image_id'][:16]}.musicxml").read_bytes()
    assert music_xml == tagged(abc_to_music_xml(row["abc"]), "musicxml", file_tags(row))


def test_what_can_be_downloaded_says_that_ai_made_it_and_the_page_shows_the_rights(composed):
    main(["report", "--input", "out", "--sounds", "1"])
    files = composed / "out" / "report" / "pictures"
    downloads = [path for path in files.iterdir() if path.suffix in (".mid", ".musicxml", ".opus")]
    assert len(downloads) == 7
    assert all(b"trainedAlgorithmicMedia" in path.read_bytes() for path in downloads)
    assert all("trainedAlgorithmicMedia" in path.read_text() for path in files.glob("*.html"))


def test_the_first_tunes_are_rendered_and_lie_beside_their_pages(composed, capsys):
    assert main(["report", "--input", "out", "--sounds", "2"]) == 0
    report = composed / "out" / "report"
    sounds = sorted(path.name for path in (report / "pictures").glob("*.opus"))
    with_sound = [name for name, html in pages(composed).items() if "<audio" in html]
    assert sorted(f"pictures/{name.removesuffix('.opus')}.html" for name in sounds) == sorted(with_sound)
    assert len(sounds) == 2
    sound, rate = decode((report / "pictures" / sounds[0]).read_bytes())
    assert loudness(sound, rate) == pytest.approx(-16, abs=0.5)
    assert (report / "pictures" / sounds[0]).stat().st_size <= 100_000
    assert capsys.readouterr().err == ""


def test_without_a_sound_font_the_page_s_own_tones_play_and_a_line_says_so(composed, capsys, monkeypatch):
    monkeypatch.setattr("image2music.music.render.find_soundfont", lambda _: None)
    assert main(["report", "--input", "out"]) == 0
    assert not list((composed / "out" / "report").rglob("*.opus"))
    assert not any("<audio" in html for html in pages(composed).values())
    assert capsys.readouterr().err.count("no sound font was found") == 1


def test_the_same_rows_give_the_same_pages_and_a_second_report_replaces_the_first(composed):
    main(["report", "--input", "out"])
    before = pages(composed)
    (composed / "out" / "report" / "old.html").write_text("left over")
    main(["report", "--input", "out"])
    assert pages(composed) == before


def test_a_folder_of_something_else_is_not_replaced(composed, capsys):
    (composed / "mine").mkdir()
    (composed / "mine" / "letter.txt").write_text("dear")
    assert main(["report", "--input", "out", "--output", "mine"]) == 1
    assert (composed / "mine" / "letter.txt").read_text() == "dear"
    assert "is not a report" in capsys.readouterr().err


def test_a_folder_without_rows_is_refused(tmp_path, capsys):
    assert main(["report", "--input", str(tmp_path)]) == 1
    assert "holds no compositions" in capsys.readouterr().err
    assert not (tmp_path / "report" / REPORT_MARKER).exists()


def test_abcjs_is_not_needed_any_more_and_a_line_says_so(composed, capsys):
    assert main(["report", "--input", "out", "--abcjs", "abcjs-basic-min.js"]) == 0
    assert "--abcjs is not needed any more" in capsys.readouterr().err


def packed_score(html: str) -> dict:
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])
    return json.loads(zlib.decompress(base64.b64decode(data["score"])))


def test_every_tune_has_its_score_drawn_on_its_page(composed):
    main(["report", "--input", "out"])
    drawn = [packed_score(html) for name, html in pages(composed).items() if name.startswith("pictures/")]
    assert len(drawn) == 3
    assert all(score["svg"].count("data-n=") == len({number for number, *_ in score["notes"]}) for score in drawn)


def listed_pairs(home: Path) -> list[dict]:
    lines = (home / "out" / "report" / "assets" / "pairs.js").read_text().splitlines()
    return [json.loads(line.removesuffix(",")) for line in lines if line.startswith("{")]


def another_run(home: Path) -> None:
    """A second output whose tunes for two of the three pictures are others."""
    (shard,) = open_output(home / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    rows = table.to_pylist()
    for row, seed in zip(rows[:2], (91, 92), strict=True):
        row["abc"] = two_voice_tune(seed)
        row["midi"] = abc_to_midi(row["abc"])
    open_output(home / "other").compositions.append_table(pa.Table.from_pylist(rows, table.schema), ("image_id",))


def test_two_runs_are_heard_side_by_side_where_their_tunes_differ(composed):
    another_run(composed)
    assert main(["report", "--input", "out", "--against", "other", "--sounds", "0"]) == 0
    pairs = [pair for pair in listed_pairs(composed) if pair["compared"] == "run"]
    assert len(pairs) == 2
    for pair in pairs:
        assert {pair["a"]["name"], pair["b"]["name"]} == {"out", "other"}
        files = [composed / "out/report/tunes" / f"{pair['page']}-{pair[side]['mark']}.js" for side in "ab"]
        assert all(file.read_text().startswith("heard({") for file in files)
    assert "two runs" in pages(composed)["compare.html"]


def test_pairs_follow_the_list_of_pictures_and_ids_of_a_catalogue_are_shown(composed):
    another_run(composed)
    (shard,) = open_output(composed / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    rows = [row | {"catalog_id": f"SKU-<{nth}>"} for nth, row in enumerate(table.to_pylist())]
    for row in rows:
        lost = row["rounds"][0] | {
            "abc": two_voice_tune(93),
            "accepted": False,
            "reason": "less_musical",
            "critic": -1.0,
        }
        row["rounds"].append(lost)
    rows.sort(key=lambda row: row["image_uri"], reverse=True)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), shard)
    assert main(["report", "--input", "out", "--against", "other", "--sounds", "0"]) == 0
    pairs = listed_pairs(composed)
    assert len(pairs) == 5
    assert [(pair["file_name"], pair["compared"]) for pair in pairs] == sorted(
        (pair["file_name"], pair["compared"]) for pair in pairs
    )
    ids = {row["image_id"]: row["catalog_id"] for row in rows}
    assert all(pair["catalog_id"] == ids[pair["image_id"]] for pair in pairs)
    html = pages(composed)
    for image_id, catalog_id in ids.items():
        shown = catalog_id.replace("<", "&lt;").replace(">", "&gt;")
        assert f"<small>{shown} · " in html["index.html"]
        assert re.search(f'data-words="[^"]*{shown.lower()}', html["index.html"])
        assert f'<p class="facts">{shown} · ' in html[f"pictures/{image_id[:16]}.html"]


def test_another_run_without_rows_is_refused(composed, capsys):
    assert main(["report", "--input", "out", "--against", "pictures"]) == 1
    assert "pictures holds no compositions" in capsys.readouterr().err


def test_candidates_that_were_not_chosen_are_heard_beside_the_tune_that_stands(composed):
    (shard,) = open_output(composed / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    rows = table.to_pylist()
    rows[0]["rounds"].append(
        rows[0]["rounds"][0] | {"abc": two_voice_tune(93), "accepted": False, "reason": "less_musical", "critic": -1.0}
    )
    pq.write_table(pa.Table.from_pylist(rows, table.schema), shard)
    main(["report", "--input", "out", "--sounds", "16"])
    (pair,) = listed_pairs(composed)
    other = next(pair[side] for side in "ab" if "chosen" not in pair[side]["name"])
    assert other["name"] == "candidate 2"
    assert "not chosen: the critic finds it less musical" in other["facts"]
    page = pages(composed)[f"pictures/{pair['page']}.html"]
    assert f"../compare.html#{pair['page']}" in page
    assert (composed / "out/report/tunes" / f"{pair['page']}-{other['mark']}.opus").stat().st_size <= 100_000


@pytest.mark.parametrize("seconds", [10, 110])
def test_a_page_s_sound_takes_100_kb_at_most(seconds):
    noise = np.random.default_rng(0).normal(0, 0.05, (RATE * seconds, 2)).astype(np.float32)
    data = page_sound(noise)
    assert len(data) <= 100_000
    sound, _ = decode(data)
    assert len(sound) == pytest.approx(len(noise), abs=RATE)
