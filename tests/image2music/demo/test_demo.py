"""The demo's data: real pieces and photographs, generated captions, made once."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
from PIL import Image

from image2music.demo import __main__ as make
from image2music.demo import pieces
from image2music.demo.__main__ import main
from image2music.demo.captions import (
    caption_of,
    caption_row,
    chords_by_bar,
    commonest_pattern,
    draw,
    features_of,
    licence_of,
    nature_of,
)
from image2music.demo.pieces import Dance, DemoPiece, Shelf, excerpts, named_program, sample, solo_program, tempo_of
from image2music.errors import OutputError
from image2music.index.maintenance import parse_caption_line
from image2music.music.midi import read_midi
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange, Track

MIDICAPS_FIELDS = {
    "location": str,
    "caption": str,
    "genre": list,
    "genre_prob": list,
    "mood": list,
    "mood_prob": list,
    "key": str,
    "time_signature": str,
    "tempo": int,
    "tempo_word": str,
    "duration": int,
    "duration_word": str,
    "chord_summary": list,
    "chord_summary_occurence": int,
    "instrument_summary": list,
    "instrument_numbers_sorted": list,
    "all_chords": list,
    "all_chords_timestamps": list,
    "test_set": bool,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo: three chorales and those with an orchestra, two reels, two slow airs, two quartets and a song."""
    output = tmp_path_factory.mktemp("demo") / "data"
    small = {"reel": Dance(2, (73, 40)), "slow air": Dance(2, (46,))}
    shelves = (
        Shelf("haydn/opus1no1/movement[13].mxl", "Haydn", "string quartet", 1),
        Shelf("schubert/Lindenbaum.xml", "Schubert", "song", 1, "Der Lindenbaum"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "KINDS", small)
        patch.setattr(make, "SHELVES", shelves)
        patch.setattr(make, "_CHORALES", 3)
        assert make.make_demo(output).made
    return output


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "captions.json").read_text(encoding="utf-8").splitlines()]


def piece(pitches: tuple[int, ...], *, qpm: float, minor: bool, kind: str = "air") -> DemoPiece:
    """Quarter notes on one flute in 4/4."""
    onsets = np.arange(len(pitches), dtype=np.int64) * 480
    track = Track(onsets, np.full_like(onsets, 480), np.array(pitches), np.full_like(onsets, 80), program=73)
    score = Score(480, (track,), (TempoChange(0, qpm),), (MeterChange(0, 4, 4),), (KeyChange(0, 0, minor),))
    return DemoPiece("test/piece", "Old Song", kind, score)


def test_every_caption_has_the_fields_of_midicaps(rows: list[dict[str, object]]) -> None:
    for row in rows:
        assert {name: type(value) for name, value in row.items()} == MIDICAPS_FIELDS | {"source": str, "licence": str}
        assert sum(row["mood_prob"]) == pytest.approx(1, abs=1e-3)
        assert len(row["all_chords"]) == len(row["all_chords_timestamps"])


def test_every_caption_has_its_midi_file_and_says_what_is_in_it(folder: Path, rows: list[dict[str, object]]) -> None:
    midi = folder / "midi"
    assert {row["location"] for row in rows} == {str(path.relative_to(midi)) for path in midi.rglob("*.mid")}
    for row in rows:
        score = read_midi((midi / row["location"]).read_bytes())
        assert score.n_notes >= 40
        assert round(score.tempos[0].qpm) == row["tempo"]
        assert f"{score.meters[0].numerator}/{score.meters[0].denominator}" == row["time_signature"]
        assert sorted({track.program for track in score.tracks}) == row["instrument_numbers_sorted"]


def test_the_index_can_read_every_line(folder: Path) -> None:
    for line in (folder / "captions.json").read_text(encoding="utf-8").splitlines():
        assert parse_caption_line(line).caption


def test_every_line_says_under_which_licence_its_tune_is_as_the_package_does(folder: Path) -> None:
    lines = (folder / "captions.json").read_text(encoding="utf-8").splitlines()
    found = [parse_caption_line(line) for line in lines]
    assert all((one.licence or "").startswith("out of copyright in the United States or is licensed") for one in found)
    assert all((one.source or "").startswith("corpus of music21, ") for one in found)
    assert all("site-packages" not in line for line in lines)


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("<rights>CC0 &amp; free</rights>", "CC0 & free"),
        (
            "<credit-words x='1'>released under\n the CC BY-SA 4.0 license.</credit-words>",
            "released under the CC BY-SA 4.0 license.",
        ),
        ("<rights>PDF 2004</rights>", "free for all (license.txt of music21's corpus, to the best of its knowledge)"),
    ],
)
def test_a_file_s_own_licence_goes_before_that_of_the_corpus(tmp_path: Path, said: str, licence: str) -> None:
    terms = "Each.\nAs we know, each piece of music in\nthe corpus is either free for all.\n"
    (tmp_path / "license.txt").write_text(terms)
    (tmp_path / "a.xml").write_text(f"<score>{said}<part id='P1'><rights>public domain</rights></part></score>")
    assert licence_of(tmp_path, "a.xml") == licence
    (tmp_path / "license.txt").unlink()
    assert licence_of(tmp_path, "a.xml") == ("" if "PDF" in said else licence)


def test_chorales_have_four_voices_or_an_orchestra(folder: Path) -> None:
    sizes = [len(read_midi(path.read_bytes()).tracks) for path in (folder / "midi" / "bach").glob("*.mid")]
    assert sizes.count(4) == 3
    assert all(size == 4 or size > 5 for size in sizes)


def test_tempi_and_instruments_of_sources_are_kept(folder: Path) -> None:
    by_file = {path.stem.split("-")[0]: mido.MidiFile(path) for path in (folder / "midi" / "haydn").rglob("*.mid")}
    told = {
        stem: [round(mido.tempo2bpm(m.tempo)) for track in file.tracks for m in track if m.type == "set_tempo"]
        for stem, file in by_file.items()
    }
    assert told == {"movement1": [240], "movement3": [60]}
    for file in by_file.values():
        programs = [m.program for track in file.tracks for m in track if m.type == "program_change"]
        assert programs == [40, 40, 41, 42]


def test_the_library_has_something_for_every_picture() -> None:
    corpus = make.package_folder("music21") / "corpus"
    shelves = [Shelf(f"{path}.mxl", "", "string quartet", 4) for path in ("beethoven/opus18no4", "haydn/opus1no1/*")]
    some = [
        *pieces.chorales(corpus, 12),
        *pieces.dances(corpus),
        *(p for s in shelves for p in pieces.notated(corpus, s)),
    ]
    features = [features_of(one) for one in some]
    natures = Counter(one.nature for one in features)
    assert len(natures) == 6 and min(natures.values()) >= 3
    tempi = [one.tempo for one in features]
    assert min(tempi) <= 60 and max(tempi) >= 190 and sum(one.minor for one in features) >= len(features) / 5
    for program in (19, 24, 40, 46, 52, 56, 73):
        assert any(program in one.programs for one in features), program


def test_captions_name_the_key_that_music21_hears(folder: Path) -> None:
    from music21 import converter

    agreed = 0
    rows = [json.loads(line) for line in (folder / "captions.json").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["location"].startswith(("haydn", "schubert", "bach"))][::2]
    for row in rows:
        heard = converter.parse(folder / "midi" / row["location"]).analyze("key")
        agreed += row["key"] == f"{heard.tonic.name.replace('-', 'b')} {heard.mode}"
    # Two good ways of hearing differ now and then by a fifth.
    assert agreed >= len(rows) - 1


def long_notes(bars: int, *, every: int, qpm: float = 0.0) -> Score:
    """Quarters in 4/4 on two tracks; a whole note closes each phrase of `every` bars."""
    onsets = [bar * 1920 + beat * 480 for bar in range(bars) for beat in range(1 if bar % every == every - 1 else 4)]
    lengths = [1920 if onset // 1920 % every == every - 1 else 480 for onset in onsets]
    columns = [np.array(column, dtype=np.int64) for column in (onsets, lengths)]
    tracks = tuple(
        Track(columns[0], columns[1], pitch + columns[0] // 480 % 3 * 2, np.full_like(columns[0], 80), program)
        for pitch, program in ((72, 40), (48, 42))
    )
    tempos = (TempoChange(0, qpm),) if qpm else ()
    return Score(480, tracks, tempos, (MeterChange(0, 4, 4),), (KeyChange(0, 0, False),))


def test_a_mark_counts_then_a_heading_then_the_notes() -> None:
    score = long_notes(32, every=8, qpm=93.0)
    assert tempo_of(score, "song", "Presto") == (93.0, "mark")
    assert tempo_of(long_notes(32, every=8, qpm=120.0), "song", "Finale. Presto") == (176.0, "word")
    assert tempo_of(long_notes(32, every=8), "song", "dolce")[1] == "notes"


def test_many_notes_a_quarter_make_a_slow_tempo_within_what_is_usual() -> None:
    onsets = {size: np.arange(0, 480 * 32, size, dtype=np.int64) for size in (120, 240, 480, 960)}
    tempi = [
        tempo_of(Score(480, (Track(o, o * 0 + 60, o * 0 + 60, o * 0 + 80, 40),), (), (), ()), "string quartet")[0]
        for o in onsets.values()
    ]
    assert tempi == [66.0, 132.0, 168.0, 168.0]


def test_excerpts_are_whole_phrases_without_overlap() -> None:
    found = excerpts(long_notes(64, every=8), 3, "song")
    assert len(found) >= 2
    for one in found:
        assert (one.first - 1) % 8 == 0 and one.last % 8 == 0
        assert 16 <= one.last - one.first + 1 <= 32
        assert one.score.tracks[0].onsets[0] == 0
    assert all(before.last < after.first for before, after in pairwise(found))


def test_parts_name_their_instruments_and_leaps_choose_one() -> None:
    assert [named_program(name) for name in ("Violoncello.", "2nd Violin", "Bb Clarinet", "")] == [42, 40, 71, None]
    steps, leaps = piece((60, 62) * 20, qpm=60, minor=False), piece((60, 67) * 20, qpm=60, minor=False)
    assert solo_program(steps.score, (68, 24, 46)) == 68
    assert solo_program(leaps.score, (68, 24, 46)) == 46


@pytest.mark.parametrize(
    ("qpm", "minor", "loudness", "voices", "nature"),
    [
        (60, False, 70, 4, "calm"),
        (150, False, 110, 4, "grand"),
        (300, False, 80, 1, "playful"),
        (60, True, 70, 4, "dark"),
        (300, True, 110, 4, "driving"),
        (150, False, 80, 2, "flowing"),
    ],
)
def test_character_follows_pace_mode_loudness_and_voices(
    qpm: float, minor: bool, loudness: int, voices: int, nature: str
) -> None:
    onsets = np.arange(64, dtype=np.int64) * 480
    pitch = 50 if minor else 70
    track = Track(onsets, onsets * 0 + 480, onsets * 0 + pitch, onsets * 0 + loudness, program=40)
    score = Score(480, (track,) * voices, (TempoChange(0, qpm),), (MeterChange(0, 4, 4),), (KeyChange(0, 0, minor),))
    assert nature_of(score) == nature


def test_the_photographs_are_jpeg(folder: Path) -> None:
    paths = sorted((folder / "pictures").iterdir())
    assert len(paths) >= 12
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "JPEG"


def test_the_readme_calls_the_captions_generated(folder: Path) -> None:
    assert "GENERATED" in (folder / "README.txt").read_text(encoding="utf-8")


def test_the_second_time_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main(["--output", str(folder)]) == 0
    assert "up to date" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="empty folder"):
        make.make_demo(tmp_path)
    assert main(["--output", str(tmp_path)]) == 1
    assert "empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_crash_leaves_no_half_made_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(make, "chorales", crash)
    with pytest.raises(RuntimeError):
        make.make_demo(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("qpm", "minor", "mood"), [(50, True, "sad"), (50, False, "calm"), (260, True, "fun"), (260, False, "happy")]
)
def test_mood_follows_pace_and_mode(qpm: float, minor: bool, mood: str) -> None:
    assert features_of(piece((60, 62, 64, 65, 67) * 8, qpm=qpm, minor=minor)).moods[0] == mood


def test_a_caption_names_key_tempo_instrument_and_mood() -> None:
    song = piece((57, 60, 64, 69) * 8, qpm=50, minor=True)
    caption = caption_of(song, features_of(song))
    for word in ("A minor", "50", "4/4", "flute", "sad", "Old Song"):
        assert word.lower() in caption.lower()


def test_articles_fit_and_chords_keep_their_names() -> None:
    songs = [piece((57, 61, 64, 69) * 8, qpm=130, minor=False, kind=kind) for kind in ("air", "march", "waltz")]
    for song in songs:
        caption = caption_row(song)["caption"]
        assert " a a" not in caption
        assert "An and" not in caption


def test_the_chord_of_a_bar_is_the_triad_that_fits_it() -> None:
    song = piece((60, 64, 67, 72, 57, 60, 64, 69), qpm=120, minor=False)
    assert chords_by_bar(song.score) == [("C", 0.0), ("Am", 2.0)]


def test_the_commonest_pattern_is_counted() -> None:
    assert commonest_pattern(["C", "F", "G", "C", "F", "G", "C", "F"])[1] == 2
    assert commonest_pattern(["C", "F"]) == (["C", "F"], 1)


def test_sample_is_even_and_draw_is_stable() -> None:
    assert sample("abcdefghij", 5) == ["a", "c", "e", "g", "i"]
    assert sample("ba", 5) == ["a", "b"]
    assert (draw("reel", 1000), draw("jig", 1000)) == (117, 943)
    assert len({draw(str(n), 1000) for n in range(50)}) > 40
