import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from image2music.abc.playback import abc_to_midi
from image2music.errors import ConfigError, MidiError
from image2music.music.loudness import loudness, true_peak_db
from image2music.music.midi import read_midi
from image2music.music.render import (
    RATE,
    SoundRenderer,
    decode,
    encode,
    find_soundfont,
    load_renderer,
    loop_tags,
    looped,
    pan_positions,
    played_tracks,
    timbre_of,
    tone,
)

TRIO = """X:1
M:3/4
L:1/8
Q:1/4=132
K:G
V:1 name="Flute"
%%MIDI program 73
V:2 name="Viola"
%%MIDI program 41
V:3 clef=bass name="Cello"
%%MIDI program 42
[V:1] !f!d2 B2 g2 | f2 d4 | e2 c2 a2 | g6 |]
[V:2] !p!B2 G2 B2 | A2 A4 | G2 E2 F2 | D6 |]
[V:3] !p!G,,6 | D,6 | C,2 D,4 | G,,6 |]
"""
SOLO = "X:1\nM:4/4\nL:1/4\nQ:1/4=100\nK:C\nC E G c | c4 |]\n"


@pytest.fixture(scope="module")
def renderer():
    return load_renderer()


@pytest.fixture(scope="module")
def trio(renderer):
    return renderer.render(abc_to_midi(TRIO))


@pytest.mark.parametrize("soundfont", [True, False])
@pytest.mark.parametrize("abc", [TRIO, SOLO])
def test_every_tune_is_as_loud_as_any_other_and_no_peak_is_near_full_scale(renderer, soundfont, abc):
    sound = (renderer if soundfont else SoundRenderer(None, "")).render(abc_to_midi(abc))
    assert sound.shape[1] == 2 and sound.dtype == np.float32
    assert loudness(sound, RATE) == pytest.approx(-16, abs=0.5)
    assert true_peak_db(sound) <= -1.5


def test_the_last_note_dies_away(trio):
    written = max(
        start + long for track in played_tracks(read_midi(abc_to_midi(TRIO))) for start, long, *_ in track.notes
    )
    assert written + 0.3 < len(trio) / RATE < written + 3
    assert np.abs(trio[-1]).max() == 0


def test_the_music_is_wide_and_the_tune_in_the_middle(trio):
    assert 0.1 < np.corrcoef(trio.T)[0, 1] < 0.98
    assert pan_positions(read_midi(abc_to_midi(TRIO)).tracks) == (64, 42, 64)


def test_a_place_that_the_file_names_is_kept(renderer):
    def levels(pan):
        midi = bytearray(abc_to_midi(SOLO))
        at = midi.index(b"\x00\xc0") + 3
        midi[at:at] = bytes((0, 0xB0, 10, pan))
        head = midi.rindex(b"MTrk") + 4
        midi[head : head + 4] = (int.from_bytes(midi[head : head + 4], "big") + 4).to_bytes(4, "big")
        left, right = np.sqrt(np.square(renderer.render(bytes(midi))).mean(axis=0))
        return left / right

    assert levels(20) > 1.5 > 1 / 1.5 > levels(108)


def test_the_same_midi_gives_the_same_bytes_in_every_format(renderer, trio):
    again = renderer.render(abc_to_midi(TRIO))
    for kind in ("wav", "mp3", "opus"):
        assert encode(trio, kind) == encode(again, kind)


@pytest.mark.parametrize(
    ("kind", "kbps", "most"), [("wav", None, 200), ("mp3", None, 18), ("opus", None, 15), ("opus", 32, 6)]
)
def test_a_file_decodes_to_what_was_encoded(trio, kind, kbps, most):
    data = encode(trio, kind, kbps)
    sound, rate = decode(data)
    assert rate == RATE and sound.shape == trio.shape
    assert len(data) / 1000 / (len(trio) / RATE) < most
    assert loudness(sound, rate) == pytest.approx(-16, abs=0.5)
    assert true_peak_db(sound) <= -1
    assert np.corrcoef(sound[:, 0], trio[:, 0])[0, 1] > (0.98 if kbps is None else 0.8)


def test_opus_pages_have_right_sums():
    """The oracle is the check sum bit by bit, as RFC 3533 words it."""
    data = encode(np.full((4800, 2), 0.1, dtype=np.float32), "opus")
    at = 0
    while at < len(data):
        count = data[at + 26]
        size = 27 + count + sum(data[at + 27 : at + 27 + count])
        page = data[at : at + 22] + bytes(4) + data[at + 26 : at + size]
        rest = 0
        for byte in page:
            rest ^= byte << 24
            for _ in range(8):
                rest = (rest << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if rest >> 31 else rest << 1
        assert int.from_bytes(data[at + 22 : at + 26], "little") == rest
        assert data[at + 14 : at + 18] == b"\1\0\0\0"
        at += size


def test_without_a_sound_font_it_says_so():
    assert "no sound font was found" in SoundRenderer(None, "").remark
    assert load_renderer().remark == ""


def test_a_sound_font_that_cannot_be_used_is_refused(tmp_path, renderer):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_renderer(tmp_path / "gone.sf2")
    (tmp_path / "text.sf2").write_bytes(b"not one")
    with pytest.raises(ConfigError, match="no sound font"):
        load_renderer(tmp_path / "text.sf2")
    broken = SoundRenderer(find_soundfont().read_bytes()[:100_000], "broken.sf2")
    with pytest.raises(ConfigError) as refused:
        broken.render(abc_to_midi(SOLO))
    assert refused.value.reason == "bad_soundfont"


def test_what_is_no_midi_is_refused(renderer):
    with pytest.raises(MidiError):
        renderer.render(b"nothing")


@pytest.mark.parametrize("soundfont", [True, False])
def test_a_file_that_was_mended_sounds(renderer, soundfont):
    """Its note is never released, so that one reader finds none in it."""
    track = bytes((0, 0x90, 60, 90, 0x83, 0x60, 0xB0, 7, 100, 0, 0xFF, 0x2F, 0))
    midi = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track
    sound = (renderer if soundfont else SoundRenderer(None, "")).render(midi)
    assert np.abs(sound).max() > 0.05


def test_drums_alone_and_many_parts_sound(renderer):
    drums = "X:1\nM:4/4\nL:1/4\nK:C\nV:1 perc\n%%MIDI channel 10\nC D E F | C4 |]\n"
    crowd = "X:1\nM:4/4\nL:1/4\nK:C\n" + "".join(f"V:{n}\nC E G c | c4 |]\n" for n in range(1, 20))
    for abc in (drums, crowd):
        sound = renderer.render(abc_to_midi(abc))
        assert loudness(sound, RATE) == pytest.approx(-16, abs=0.5)
        assert true_peak_db(sound) <= -2


def test_half_an_hour_is_cut(renderer, monkeypatch):
    monkeypatch.setattr("image2music.music.render.MAX_SECONDS", 3.0)
    long = abc_to_midi("X:1\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\n" + "C E G c | " * 4 + "\n")
    for played in (renderer, SoundRenderer(None, "")):
        assert 3 <= len(played.render(long)) / RATE < 6.2


def test_a_tone_has_the_frequency_of_its_pitch():
    spectrum = np.abs(np.fft.rfft(tone(69, 1.0, timbre_of(73))[:RATE]))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=1)


def seconds_of(abc):
    return max(start + long for track in played_tracks(read_midi(abc_to_midi(abc))) for start, long, *_ in track.notes)


@pytest.mark.parametrize("soundfont", [True, False])
@pytest.mark.parametrize("seconds", [5, 5.45454, 8.00001])
def test_a_tune_can_end_at_a_time_to_the_sample_without_a_click(renderer, soundfont, seconds):
    sound = (renderer if soundfont else SoundRenderer(None, "")).render_exactly(abc_to_midi(TRIO), seconds)
    assert len(sound) == round(seconds * RATE)
    assert not sound[-1].any() and np.abs(sound[-240:]).max() < 0.02
    assert loudness(sound, RATE) == pytest.approx(-16, abs=0.5)
    assert true_peak_db(sound) <= -2.2


@pytest.mark.parametrize("seconds", [0, -1, 1e9, float("nan")])
def test_a_time_that_no_tune_has_is_refused(renderer, seconds):
    with pytest.raises(ConfigError) as refused:
        renderer.render_exactly(abc_to_midi(SOLO), seconds)
    assert refused.value.reason == "bad_length"


@pytest.mark.parametrize("soundfont", [True, False])
def test_a_loop_has_no_seam(renderer, soundfont):
    """Played twice in a row it goes on as smoothly as it does inside, and what rang on is heard in the beginning."""
    seconds = seconds_of(TRIO)
    sound = (renderer if soundfont else SoundRenderer(None, "")).render_exactly(abc_to_midi(TRIO), seconds, loop=True)
    assert len(sound) == round(seconds * RATE)
    steps = np.abs(np.diff(np.concatenate([sound, sound]), axis=0)).max(axis=1)
    assert steps[len(sound) - 1] <= steps[: len(sound) - 1].max()
    assert np.abs(sound[:480]).max() > 0 and np.abs(sound[-480:]).max() > 0
    assert loudness(sound, RATE) == pytest.approx(-16, abs=0.5)


@given(
    samples=st.integers(1, 40),
    sound=arrays(np.float32, st.tuples(st.integers(1, 90), st.just(2)), elements=st.floats(-1, 1, width=16)),
)
def test_a_loop_is_all_rounds_of_a_sound_together(samples, sound):
    padded = np.zeros((120, 2), dtype=np.float64)
    padded[: len(sound)] = sound
    if len(sound) > samples:  # what is left of the tail fades
        padded[: len(sound)] *= np.linspace(1, 0, len(sound))[:, None]
    expected = [padded[at::samples, side].sum() for at in range(samples) for side in (0, 1)]
    np.testing.assert_allclose(looped(sound, samples).ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("seconds", [None, 6.5])
@pytest.mark.parametrize("loop", [False, True])
def test_stems_add_up_to_the_mix_and_the_mix_is_the_tune(renderer, seconds, loop):
    midi = abc_to_midi(TRIO)
    stems, mix = renderer.stems(midi, seconds, loop)
    whole = renderer.render(midi) if seconds is None else renderer.render_exactly(midi, seconds, loop)
    assert len(stems) == 3 and all(stem.shape == mix.shape for stem in stems)
    np.testing.assert_allclose(np.sum(stems, axis=0), mix, atol=1e-6)
    assert np.abs(mix - whole[: len(mix)]).max() < 0.01  # each track was rounded to 16 bits


def test_a_loop_says_so_in_its_file(renderer):
    sound = renderer.render_exactly(abc_to_midi(SOLO), 4.8, loop=True)
    data = encode(sound, "wav", loop=True)
    np.testing.assert_array_equal(decode(data)[0], decode(encode(sound, "wav"))[0])
    at = data.index(b"smpl")
    values = struct.unpack("<15I", data[at + 8 : at + 68])
    assert (values[7], values[11], values[12], values[14]) == (1, 0, len(sound) - 1, 0)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert loop_tags(sound) == {"LOOPSTART": "0", "LOOPLENGTH": "230400"}
    assert len(decode(encode(sound, "opus"))[0]) == 230_400


@pytest.mark.parametrize("shorter", [0, 1, 311, 312, 313, 647, 648, 649, 959])
def test_a_loop_in_opus_has_no_seam_and_an_end_as_true_as_the_rest(renderer, shorter):
    """The encoder's packets have 960 samples; a loop may end anywhere in one."""
    sound = renderer.render_exactly(abc_to_midi(TRIO), (5 * RATE - shorter) / RATE, loop=True)
    decoded, _ = decode(encode(sound, "opus", loop=True))
    assert decoded.shape == sound.shape == (5 * RATE - shorter, 2)
    steps = np.abs(np.diff(np.concatenate([decoded, decoded]), axis=0)).max(axis=1)
    assert steps[len(sound) - 1] <= steps[: len(sound) - 1].max()
    errors = np.square(decoded - sound)[len(sound) % 240 :].reshape(-1, 480).mean(axis=1)  # of 5 ms each
    assert errors[-1] <= 2 * errors.mean()


def test_opus_of_a_tune_ends_as_true_as_the_rest_too():
    """A tone that stops at its loudest, so that anything made up behind it would be heard in its last 5 ms."""
    tones = np.sin(np.arange(48_000)[:, None] / 20 + np.array([[1.5, 1.5]])).astype(np.float32) / 4
    decoded, _ = decode(encode(tones, "opus"))
    assert decoded.shape == tones.shape
    assert np.abs(decoded - tones)[-240:].max() < 0.1
