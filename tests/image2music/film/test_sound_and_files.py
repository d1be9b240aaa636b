"""Sound in stretches, shots joined without encoding again, and scores on one line."""

from itertools import pairwise
from xml.etree.ElementTree import fromstring

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_midi
from image2music.film.encode import FilmChapter, join_shots, write_shot
from image2music.film.frames import planes_of
from image2music.film.shooting import as_clock, film_forecast
from image2music.film.sound import FilmSound, make_sound, stretches
from image2music.film.strip import bars_between, staves_in, strip_height, strip_of
from image2music.film.timing import bars_in_time
from image2music.music.loudness import loudness, loudness_of_pieces, true_peak_db
from image2music.music.render import RATE, load_renderer

TUNE = (
    "X:1\nT:Two voices\nM:2/4\nL:1/4\nQ:1/4=120\nK:G\nV:1\n%%MIDI program 73\nGA|Bc|dB|G2|cB|AF|GB|G2|]\n"
    "V:2 clef=bass\n%%MIDI program 42\nG,2|G,2|D,2|G,2|C,2|D,2|G,2|G,2|]\n"
)


@given(st.lists(st.floats(0.01, 30.0), min_size=1, max_size=40), st.floats(0.1, 100.0))
def test_stretches_begin_at_bar_lines_and_are_as_long_as_they_may_be(lengths, longest):
    lines = [0.0, *np.cumsum(lengths).tolist()]
    cuts = stretches(lines, longest)
    assert cuts[0] == 0.0
    assert cuts == sorted(set(cuts))
    assert set(cuts) <= set(lines)
    for start, stop in pairwise(cuts):
        bars = [line for line in lines if start < line < stop]
        assert stop - start <= longest or not bars


@pytest.fixture(scope="module")
def renderer():
    return load_renderer()


def test_a_short_tune_sounds_as_in_every_other_file(renderer, tmp_path):
    midi = abc_to_midi(TUNE)
    sound = make_sound(midi, bars_in_time(TUNE, midi).quarters, renderer, tmp_path / "sound.f32")
    usual = renderer.render(midi)
    heard = sound.part(0, len(sound))
    assert len(heard) == pytest.approx(len(usual), abs=RATE / 10)
    ratio = 20 * np.log10(np.std(heard[: 4 * RATE]) / np.std(usual[: 4 * RATE]))
    assert ratio == pytest.approx(0, abs=0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["sound.f32"]


def test_music_in_stretches_has_no_gap_and_one_loudness(renderer, tmp_path, monkeypatch):
    midi = abc_to_midi(TUNE)
    lines = bars_in_time(TUNE, midi).quarters
    whole = make_sound(midi, lines, renderer, tmp_path / "whole.f32")
    monkeypatch.setattr(stretches, "__defaults__", (2.0,))
    cut = make_sound(midi, lines, renderer, tmp_path / "cut.f32")
    one, other = (sound.part(0, 8 * RATE) for sound in (whole, cut))
    assert loudness(other, RATE) == pytest.approx(-16, abs=0.3)
    assert true_peak_db(other) <= -2.2
    levels = [np.sqrt(np.square(sound).reshape(-1, RATE // 4, 2).mean(axis=(1, 2))) for sound in (one, other)]
    assert 20 * np.log10(levels[1] / levels[0]) == pytest.approx(0, abs=2)


def test_silence_lies_behind_the_end_of_a_sound(tmp_path):
    (tmp_path / "sound.f32").write_bytes(np.ones((10, 2), np.float32).tobytes())
    sound = FilmSound(tmp_path / "sound.f32")
    assert len(sound) == 10
    assert sound.part(8, 4).tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


def test_loudness_of_pieces_is_that_of_the_whole():
    noise = np.random.default_rng(1).normal(0, 0.1, (RATE * 6, 2)) * np.linspace(0.2, 1, RATE * 6)[:, None]
    pieces = (noise[at : at + RATE] for at in range(0, len(noise), RATE))
    assert loudness_of_pieces(pieces, RATE) == pytest.approx(loudness(noise, RATE), abs=0.05)


def shades(*levels):
    return [planes_of(np.full((64, 96, 3), level, np.uint8)) for level in levels]


def test_shots_of_any_length_become_one_film_frame_by_frame(tmp_path):
    lengths, levels = [5, 1, 2, 40], [60, 110, 160, 210]
    paths = []
    for number, (length, level) in enumerate(zip(lengths, levels, strict=True)):
        paths.append(tmp_path / f"{number}.mp4")
        write_shot(paths[-1], shades(*[level] * length), (96, 64))
    (tmp_path / "sound.f32").write_bytes(np.zeros((RATE, 2), np.float32).tobytes())
    chapters = [FilmChapter("One", 0.0), FilmChapter("Zwei: ü", 0.2)]
    film = tmp_path / "film.mp4"
    join_shots(film, paths, sum(lengths), FilmSound(tmp_path / "sound.f32"), chapters, {"title": "A & B"})
    with av.open(str(film)) as container:
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Zwei: ü"]
        shown = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    expected = np.repeat(levels, lengths) * 219 / 255 + 16
    assert len(shown) == sum(lengths)
    assert np.abs(shown - expected).max() < 20


def test_a_shot_is_there_whole_or_not_at_all(tmp_path):
    def broken():
        yield from shades(50)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shot(tmp_path / "shot.mp4", broken(), (96, 64))
    assert list(tmp_path.iterdir()) == []


def test_some_bars_of_a_score_keep_its_clefs_key_and_meter():
    part = fromstring(bars_between(abc_to_music_xml(TUNE), 3, 6))
    assert [len(voice.findall("measure")) for voice in part.findall("part")] == [3, 3]
    for voice, sign in zip(part.findall("part"), ("G", "F"), strict=True):
        head = voice.find("measure/attributes")
        assert [head.findtext(path) for path in ("key/fifths", "time/beats", "clef/sign")] == ["1", "2", sign]


def test_the_strip_follows_the_notes_and_rests_at_both_ends():
    long = TUNE.replace("GA|", "GA|" * 30).replace("G,2|G,2|D", "G,2|" * 31 + "D")
    score = abc_to_music_xml(long)
    bars = bars_in_time(long, abc_to_midi(long))
    height = strip_height((240, 120), staves_in(score))
    strip = strip_of(score, bars.second_of, (0, 1110), (240, height), 30)
    assert strip.line.shape[0] == height
    assert (np.diff(strip.mark) >= 0).all()
    assert (np.diff(strip.left) >= -1e-9).all()
    assert strip.left[0] == pytest.approx(-0.02 * 240)
    assert strip.left[-1] == pytest.approx(strip.line.shape[1] - 0.98 * 240)
    assert strip.mark[-1] <= strip.line.shape[1]
    frame = strip.under(planes_of(np.zeros((120 - height, 240, 3), np.uint8)), 60)
    assert frame.size == (240, 120)
    place = round(strip.mark[60] - strip.left[60])
    assert frame.u[-4, place // 2] > 140


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0:00"), (65, "1:05"), (599.6, "10:00"), (3750, "1:02:30")])
def test_lengths_are_said_as_players_show_them(seconds, said):
    assert as_clock(seconds) == said


def test_a_film_is_forecast_before_it_is_encoded():
    assert film_forecast(1, 20, (96, 64), 2) == "film of 1 picture, 0:20 long, about 1 MB, less than a minute to write"
    said = film_forecast(12, 600, (1920, 1080), 2)
    assert said.startswith("film of 12 pictures, 10:00 long, 100 to 500 MB by what they show, about ")
    minutes = [int(film_forecast(12, 600, (1920, 1080), many).split()[-4]) for many in (1, 2, 64)]
    assert minutes[0] > minutes[1] == minutes[2] > 1
