"""The command film: albums and rows as MP4 files, checked by decoding them."""

import json
import shutil
import signal
import sys
from itertools import pairwise

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from job_processes import start, wait_for
from made_fonts import square_font

import image2music.film.shooting as shooting
import image2music.music.engraving as engraving
import pipelines.jobs.film as film_job
from image2music.film.timing import bars_in_time
from image2music.music.loudness import loudness
from image2music.rights import file_tags
from image2music.storage.output import open_output
from pipelines.cli.main import main
from pipelines.options.outputs import FilmOptions
from schemas.composition import TRAINED_ALGORITHMIC_MEDIA

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--composer", "fake"]
SMALL = ["--output", "films", "--size", "96x64"]
FILM, ALBUM_FILM = ["film", "--input", "out", *SMALL], ["film", "--input", "album", *SMALL]
FPS = 30
COLOURS = {"red": 0, "green": 1, "blue": 2}


@pytest.fixture(scope="module")
def composed(made_once, tmp_path_factory):
    """Outputs of three plain pictures, made once: `out` has rows alone, `album` has their album and its film."""
    home = tmp_path_factory.mktemp("films") / "world"
    shutil.copytree(made_once, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main([*COMPOSE, "--output", "out"]) == 0
        assert main([*COMPOSE, "--output", "album", "--album"]) == 0
        assert main(ALBUM_FILM) == 0
    return home


@pytest.fixture
def home(composed, tmp_path, monkeypatch):
    """A copy of it, as the current folder."""
    folder = tmp_path / "world"
    shutil.copytree(composed, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def unfilmed(home):
    """The same before any film was made."""
    shutil.rmtree(home / "films")
    return home


@pytest.fixture(scope="module")
def album(composed):
    """The row of the album."""
    return next(open_output(composed / "album").albums.read(["abc", "midi", "starts", "image_uris", "titles", "title"]))


def only_film(home):
    (path,) = (home / "films").glob("*.mp4")
    return path


def pictures_of(path):
    """All frames of a film, uint8[n, h, w, 3]."""
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


def sound_of(path):
    with av.open(str(path)) as film:
        return np.concatenate([frame.to_ndarray().T for frame in film.decode(audio=0)])


def brightest(frame):
    """Which of red, green and blue the middle of a frame is."""
    return int(frame[26:38, 40:56].reshape(-1, 3).mean(axis=0).argmax())


def test_pictures_of_an_album_change_on_its_bar_lines(composed, album):
    frames = pictures_of(only_film(composed))
    seen = [brightest(frame) for frame in frames]
    order = [COLOURS[uri.rpartition("/")[2].removesuffix(".png")] for uri in album["image_uris"]]
    bars = bars_in_time(album["abc"], album["midi"])
    lines = [bars.seconds[bars.place_of(start)] for start in album["starts"]]
    ends = [*lines[1:], len(frames) / FPS]
    for which, line, end in zip(order, lines, ends, strict=True):
        first, last = round(line * FPS), round(end * FPS)
        # Wholly there from its bar line until the upbeat before the next one begins.
        assert set(seen[first : first + (last - first) // 2]) == {which}
        pure = frames[first, 32, 48].astype(int)
        assert frames[first + 1, 32, 48] == pytest.approx(pure, abs=6)


def test_a_picture_fades_in_during_the_upbeat(composed, album):
    frames = pictures_of(only_film(composed)).astype(float)
    bars = bars_in_time(album["abc"], album["midi"])
    at = bars.place_of(album["starts"][1])
    line, upbeat = round(bars.seconds[at] * FPS), round(bars.beats[at] * FPS)
    middle = frames[:, 28:36, 44:52].mean(axis=(1, 2))
    steps = np.abs(np.diff(middle, axis=0)).sum(axis=1)
    assert steps[line - upbeat - 8 : line - upbeat - 1].max() < 4
    assert steps[line - upbeat : line - 1].min() > 0
    assert steps[line + 1 : line + 8].max() < 4


def test_sound_and_picture_are_equally_long_and_the_frames_are_counted(composed, album):
    path = only_film(composed)
    with av.open(str(path)) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        picture, sound = (float(stream.duration * stream.time_base) for stream in (video, audio))
        assert video.frames == len(pictures_of(path)) == round(picture * FPS)
        assert sound == pytest.approx(picture, abs=0.002)
        shown = [frame.time for frame in film.decode(video=0)]
    assert shown == pytest.approx(np.arange(len(shown)) / FPS, abs=1e-3)


def test_a_film_is_as_loud_as_other_sounds(composed, album):
    assert loudness(sound_of(only_film(composed)), 48_000) == pytest.approx(-16, abs=0.5)


def test_chapters_and_what_the_file_says_of_itself(composed, album):
    with av.open(str(only_film(composed))) as film:
        chapters, said = film.chapters(), film.metadata
        length = film.duration / 1e6
    assert chapters[0]["start"] == 0
    assert all(one["end"] == other["start"] for one, other in pairwise(chapters))
    assert chapters[-1]["end"] / 1000 == pytest.approx(length, abs=0.01)
    assert all(chapter["metadata"]["title"] for chapter in chapters)
    assert (said["title"], said["album"]) == (album["title"], album["title"])
    assert TRAINED_ALGORITHMIC_MEDIA in said["comment"]
    assert f"<Iptc4xmpExt:DigitalSourceType>{TRAINED_ALGORITHMIC_MEDIA}<".encode() in only_film(composed).read_bytes()


def test_rows_without_an_album_are_a_film_each_and_named_rows_alone(unfilmed, capsys):
    row, *_ = open_output(unfilmed / "out").compositions.read(["image_id"])
    assert main([*FILM, "--ids", row["image_id"][:8]]) == 0
    assert only_film(unfilmed).name == f"{row['image_id'][:16]}.mp4"
    assert main(FILM) == 0
    assert len(list((unfilmed / "films").glob("*.mp4"))) == 3
    assert "2 films in films, 1 there already" in capsys.readouterr().out


def test_the_length_of_a_film_is_said_before_it_is_encoded_and_at_the_end(unfilmed, capsys, monkeypatch):
    monkeypatch.setattr(film_job, "_LONG_STANDING", 1.0)
    assert main(ALBUM_FILM) == 0
    hint, forecast, *_, made, closing = capsys.readouterr().out.splitlines()
    assert hint.endswith("on average: tunes of `compose --length 20s` make it shorter")
    length = made.split(", ")[-2]
    assert f": film of 3 pictures, {length} long, " in forecast
    assert closing == f"1 film in films; {length} long"


def test_films_of_short_tunes_are_not_called_long(unfilmed, capsys):
    assert main(FILM) == 0
    said = capsys.readouterr().out
    assert "compose --length" not in said
    assert said.splitlines()[-1].startswith("3 films in films; ") and said.endswith(" long together\n")


def test_the_tags_of_one_row_are_those_of_its_other_files(unfilmed):
    row, *_ = open_output(unfilmed / "out").compositions.read(
        ["image_id", "title", "composer_id", "settings_hash", "seed", "composed_at", "rights"]
    )
    assert main([*FILM, "--ids", row["image_id"]]) == 0
    with av.open(str(only_film(unfilmed))) as film:
        said = film.metadata
    tags = file_tags(row)
    assert [said[name] for name in ("title", "artist", "comment", "copyright")] == [
        tags[name] for name in ("title", "artist", "comment", "copyright")
    ]


def test_a_picture_that_is_gone_is_a_card_with_its_title_a_line_and_exit_code_3(unfilmed, album, capsys):
    (unfilmed / "pictures" / "green.png").unlink()
    capsys.readouterr()
    assert main(ALBUM_FILM) == 3
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("pictures/green.png: gone")
    number = [uri.rpartition("/")[2] for uri in album["image_uris"]].index("green.png")
    bars = bars_in_time(album["abc"], album["midi"])
    frame = pictures_of(only_film(unfilmed))[round(bars.seconds[bars.place_of(album["starts"][number])] * FPS) + 2]
    assert frame[:6].max() < 60
    assert frame.max() > 150
    assert main(ALBUM_FILM) == 3  # made again: the picture may have come back


def test_a_film_that_was_killed_goes_on_with_the_shots_that_are_there(unfilmed, album, capsys):
    command = ["film", "--input", "album", "--output", "films", "--size", "480x270"]
    process = start(command, unfilmed)
    wait_for(lambda: list((unfilmed / "films").rglob("shot-*.mp4")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list((unfilmed / "films").glob("*.mp4")) == []
    assert main(command) == 0
    assert "of them from an earlier run" in capsys.readouterr().out
    frames = pictures_of(only_film(unfilmed))
    assert len({brightest(frame[::9, ::10]) for frame in frames}) == 3
    assert list((unfilmed / "films" / ".film").rglob("shot-*")) == []


def test_shots_of_other_settings_are_not_used(unfilmed, album, capsys, monkeypatch):
    def full(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shooting, "join_shots", full)
        assert main(ALBUM_FILM) == 130
    assert main([*ALBUM_FILM, "--titles"]) == 0
    said = capsys.readouterr().out
    assert "2 of them from an earlier run" in said  # the first picture has a card before it


def test_a_strip_of_the_score_lies_under_the_picture_and_moves(unfilmed):
    row, *_ = open_output(unfilmed / "out").compositions.read(["image_id"])
    command = ["film", "--input", "out", "--output", "films", "--size", "160x160", "--score", "--ids"]
    assert main([*command, row["image_id"]]) == 0
    frames = pictures_of(only_film(unfilmed))
    assert frames.shape[1:3] == (160, 160)
    paper = frames[5, 130:156].astype(int)
    assert np.median(paper) > 200
    assert paper.min() < 120
    assert np.abs(frames[5, 130:156].astype(int) - frames[len(frames) // 2, 130:156]).max() > 50


@pytest.mark.parametrize(
    ("shape", "size"), [("1080p", (1920, 1080)), ("4:3", (1440, 1080)), ("vertical", (1080, 1920))]
)
def test_formats_have_their_sizes(shape, size):
    assert FilmOptions(input="out", output="films", shape=shape).pixels == size


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (1920, 1080)),
        ({"size": "640x360"}, (640, 360)),
        ({"shape": "1080p", "size": "1920x1080"}, (1920, 1080)),
        ({"shape": "vertical", "size": "540x960"}, (540, 960)),
        ({"shape": "4:3", "size": "640x480"}, (640, 480)),
    ],
)
def test_a_size_may_say_what_a_format_says(options, size):
    assert FilmOptions(input="out", output="films", **options).pixels == size


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--size 97x64", "--size takes WIDTHxHEIGHT"),
        ("--size big", "--size takes WIDTHxHEIGHT"),
        (
            "--format vertical --size 640x360",
            "--format vertical is 1080x1920, --size says 640x360: leave one of them out",
        ),
        ("--size 1280x720 --format 1080p", "--format 1080p is 1920x1080, --size says 1280x720: leave one of them out"),
        ("--ids ffffffffffff", "no row has the catalog_id 'ffffffffffff', or an image_id that begins so"),
        ("--ids ../x", "at least 4 hex digits"),
        ("--font gone.ttf", "the font gone.ttf cannot be read"),
    ],
)
def test_what_cannot_be_filmed_is_one_line(unfilmed, capsys, options, complaint):
    assert main(f"film --input out --output films {options}".split()) == 1
    assert complaint in capsys.readouterr().err


def test_letters_that_no_font_has_are_a_line_and_a_font_file_makes_the_film_again(unfilmed, capsys, monkeypatch):
    (shard,) = open_output(unfilmed / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    rows = [row | {"title": "海边的早晨"} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), shard)
    monkeypatch.setattr(engraving, "_is_written", lambda letter, font: font is not None)
    command = ["film", "--input", "out", "--output", "films", "--size", "320x180", "--titles", "--ids"]
    command.append(rows[0]["image_id"])
    assert main(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "no font here has the Chinese, Japanese or Korean letters 海边的早晨: boxes stand in their place; "
        "install one, such as the package fonts-noto-cjk, or name a file by --font"
    )
    without = pictures_of(only_film(unfilmed))[0].astype(int)
    font = str(square_font(unfilmed / "squares.ttf", "海边的早晨"))
    assert main([*command, "--font", font]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "1 film in films" in said.out
    assert np.abs(pictures_of(only_film(unfilmed))[0] - without).max() > 80
    assert main([*command, "--font", font]) == 0
    assert "0 films in films, 1 there already" in capsys.readouterr().out


def test_without_pyav_a_line_names_the_extra(unfilmed, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(FILM) == 1
    assert capsys.readouterr().err.strip().endswith("pip install 'image2music[film]'")


def test_run_json_is_not_touched_by_films(unfilmed):
    before = json.loads((unfilmed / "out" / "run.json").read_text())
    assert main(FILM) == 0
    assert json.loads((unfilmed / "out" / "run.json").read_text()) == before
