from __future__ import annotations

import importlib.util
import io
import re
import subprocess
from collections import Counter
from pathlib import Path

import mido
import pytest

from benchmarks.generated_tunes import sample_tune
from image2music.abc.checker import check
from image2music.abc.playback import abc_to_midi, abc_to_score
from image2music.abc.writer.text import midi_to_abc
from image2music.errors import AbcError
from image2music.music.midi import write_midi
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange

HEADER = "X:1\nT:t\nM:4/4\nL:1/4\nQ:1/4=90\nK:G\n"


def notes(abc: str) -> list[tuple[float, int, float]]:
    """(onset, pitch, duration) in quarters, sorted."""
    return notes_of(abc_to_score(abc))


def notes_of(score: Score) -> list[tuple[float, int, float]]:
    quarter = score.ticks_per_quarter
    return sorted(
        (onset / quarter, pitch, duration / quarter)
        for track in score.tracks
        for onset, pitch, duration in zip(
            track.onsets.tolist(), track.pitches.tolist(), track.durations.tolist(), strict=True
        )
    )


def pitches(music: str, header: str = HEADER) -> list[int]:
    return [pitch for _, pitch, _ in notes(header + music)]


def test_notes_have_onset_pitch_and_duration() -> None:
    assert notes(HEADER + "C z F/ [Gb]3/2 |]\n") == [(0, 60, 1), (2, 66, 0.5), (2.5, 67, 1.5), (2.5, 83, 1.5)]


def test_accidentals_hold_for_every_octave_to_the_end_of_the_bar() -> None:
    assert pitches("^c c C =c | c4 |]\n") == [73, 73, 61, 72, 72]


def test_ties_make_one_note_also_across_bars_with_its_accidental() -> None:
    assert notes(HEADER + "^c4- | c2 c2 |]\n") == [(0, 73, 6), (6, 72, 2)]


def test_a_tie_in_a_chord_holds_its_own_note_only() -> None:
    assert notes(HEADER + "[CE-]2 [CE]2 |]\n") == [(0, 60, 2), (0, 64, 4), (2, 60, 2)]


def test_repeats_and_endings_are_played_out() -> None:
    assert pitches("|: C4 |1 D4 :|2 E4 :: A4 :| B4 |]\n") == [60, 62, 60, 64, 69, 69, 71]


def test_a_third_ending_is_played_third() -> None:
    assert pitches("|: C4 |1 D4 :|2 E4 :|3 G4 |]\n") == [60, 62, 60, 64, 60, 67]


def test_a_repeat_finds_the_key_again_that_it_began_with() -> None:
    assert pitches("|: F4 | [K:F] F4 :|\n") == [66, 65, 66, 65]


def test_parts_are_played_in_the_order_of_the_header() -> None:
    header = HEADER.replace("K:G", "P:A(BA)2\nK:G")
    assert pitches("P:A\nC4 |\nP:B\nD4 |]\n", header) == [60, 62, 60, 62, 60]


def test_voices_sound_together() -> None:
    assert notes(HEADER + "V:1\nC4 | E4 |]\nV:2\nG,4 | B,4 |]\n") == [(0, 55, 4), (0, 60, 4), (4, 59, 4), (4, 64, 4)]


def test_overlays_sound_with_their_bar() -> None:
    assert notes(HEADER + "C4 & E2 G2 |]\n") == [(0, 60, 4), (0, 64, 2), (2, 67, 2)]


def test_grace_notes_take_their_time_from_the_note_behind_them() -> None:
    assert notes(HEADER + "{A}G4 |]\n") == [(0, 69, 0.25), (0.25, 67, 3.75)]


def test_chord_symbols_make_no_accompaniment() -> None:
    assert pitches('"Am"C4 |]\n') == [60]


def test_programs_channels_and_drums() -> None:
    score = abc_to_score(
        HEADER + "V:1\n%%MIDI program 73\nC4 |]\nV:2\n%%MIDI channel 10\nC,,4 |]\nV:3 clef=perc\nD,,4 |]\n"
    )
    assert [(t.program, t.is_drum, t.channel == 9) for t in score.tracks] == [
        (73, False, False), (0, True, True), (0, True, True),
    ]  # fmt: skip


def test_octave_clefs_and_transposition_shift_pitches() -> None:
    assert pitches("V:1 clef=treble-8\nC4 |]\n") == [48]
    assert pitches("%%MIDI transpose 2\nC4 |]\n") == [62]


def test_changes_of_tempo_meter_and_key_are_kept() -> None:
    score = abc_to_score(HEADER + "C4 | [M:3/4] [K:Dm] [Q:1/8=60] D3 |]\n")
    assert score.tempos == (TempoChange(0, 90.0), TempoChange(1920, 30.0))
    assert score.meters == (MeterChange(0, 4, 4), MeterChange(1920, 3, 4))
    assert score.keys == (KeyChange(0, 1, False), KeyChange(1920, -1, True))


def test_dynamics_are_heard() -> None:
    (track,) = abc_to_score(HEADER + "!p!C2 !ff!D2 |]\n").tracks
    assert track.velocities[0] < track.velocities[1]


@pytest.mark.parametrize(("abc", "reason"), [("", "no_music"), (HEADER, "no_music"), (HEADER + "z4 |]", "no_music")])
def test_nothing_to_play_is_said(abc: str, reason: str) -> None:
    with pytest.raises(AbcError) as raised:
        abc_to_midi(abc)
    assert raised.value.reason == reason


def test_a_piece_that_unfolds_beyond_reason_is_refused() -> None:
    with pytest.raises(AbcError) as raised:
        abc_to_midi(
            HEADER.replace("K:", "P:" + "A9" * 9 + "((A9)9)9\nK:") + "P:A\n" + "CDEF | " * 3000 + "\nP:B\nC4 |]\n"
        )
    assert raised.value.reason == "too_long"


def test_a_rest_longer_than_midi_counts_is_refused() -> None:
    with pytest.raises(AbcError) as raised:
        abc_to_midi(HEADER + "C4 | " + "Z999 | " * 200 + "C4 |]\n")
    assert raised.value.reason == "too_long"


@pytest.mark.parametrize("seed", range(8))
def test_midi_is_the_same_with_and_without_arrays_between(seed: int) -> None:
    abc = sample_tune(seed).abc()
    assert abc_to_midi(abc) == write_midi(abc_to_score(abc))


def test_the_same_tokens_last_as_their_own_unit_says_whatever_was_read_before() -> None:
    quarters, eighths = HEADER + "C2 z2 [CE]2 |]\n", HEADER.replace("L:1/4", "L:1/8") + "C2 z2 [CE]2 |]\n"
    assert [notes(abc) for abc in (quarters, eighths, quarters)] == [
        [(0, 60, 2), (4, 60, 2), (4, 64, 2)],
        [(0, 60, 1), (2, 60, 1), (2, 64, 1)],
        [(0, 60, 2), (4, 60, 2), (4, 64, 2)],
    ]


def test_midi_reads_back_as_the_score() -> None:
    abc = HEADER + "V:1\nC4- | C2 [EG]2 |]\nV:2\n%%MIDI program 40\nz4 | (3DEF G2 |]\n"
    assert midi_notes(abc_to_midi(abc)) == notes(abc)


def midi_notes(data: bytes) -> list[tuple[float, int, float]]:
    found = []
    file = mido.MidiFile(file=io.BytesIO(data))
    for track in file.tracks:
        now, sounding = 0, {}
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                sounding.setdefault((message.channel, message.note), []).append(now)
            elif message.type in ("note_on", "note_off"):
                onset = sounding[message.channel, message.note].pop(0)
                found.append((onset / file.ticks_per_beat, message.note, (now - onset) / file.ticks_per_beat))
    return sorted(found)


# --- abc2midi 5.02, which comes with symusic, as an independent reader


@pytest.fixture(scope="module")
def abc2midi() -> Path:
    spec = importlib.util.find_spec("symusic")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "bin" / "abc2midi"


def by_abc2midi(program: Path, abc: str, folder: Path) -> list[tuple[float, int, float]]:
    (folder / "tune.abc").write_text(abc)
    subprocess.run(
        [program, folder / "tune.abc", "-o", folder / "tune.mid", "-NGUI", "-NFER", "-silent"],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    return midi_notes((folder / "tune.mid").read_bytes())


WRITTEN = {
    "endings": "|: C D E F |1 G2 G2 :|2 A2 A2 |: B c d e | [1 f4 :| [2 g4 |]",
    "three passes": "|: C4 |1 D4 :|2 E4 :|3 F4 |]",
    "ties": "C2- C2- | C4 | [CE]2- [CE]2 | ^c4- | c2 c2 |]",
    "tuplets": "(3CDE (5F/G/A/B/c/ d | (3:2:2 C D E2 z2/3 z4/3 |]".replace(" z2/3 z4/3", " c/"),
    "broken rhythm": "C>D E<F | C>>D E<<F |]",
    "grace notes": "{A}G4 | {cd}e2 {g}[ce]2 |]",
    "keys": "C D E F | [K:D] C D E F | [K:Bbm] C D E F | [K:E phr] C D E F |]",
    "accidentals": "^C C c ^^C | _B =B B __B | B C c F |]",
    "rests": "z C x2 | Z2 | C4 |]",
    "overlay": "C4 & E2 G2 | c4 |]",
    "unit length": "C D E F | [L:1/8] C2 D2 E2 F2 | [L:1/16] C4 D4 E4 F4 |]",
    "voices": "V:1\nC4 | D4 |]\nV:2 clef=bass\nC,4 | D,4 |]\nV:3 clef=treble-8\nG4 | A4 |]",
}


@pytest.mark.parametrize("music", WRITTEN.values(), ids=WRITTEN.keys())
def test_written_tunes_agree_with_abc2midi(music: str, abc2midi: Path, tmp_path: Path) -> None:
    assert agreement(HEADER + music + "\n", abc2midi, tmp_path) == 1


def test_generated_tunes_agree_with_abc2midi(abc2midi: Path, tmp_path: Path) -> None:
    assert [seed for seed in range(40) if agreement(sample_tune(seed).abc(), abc2midi, tmp_path) < 1] == []


def agreement(abc: str, program: Path, folder: Path) -> float:
    """F1 of (pitch, onset to the nearest eighth of a quarter); abc2midi spreads chords by up to 0.1 quarter."""
    ours = Counter((pitch, round(onset, 2)) for onset, pitch, _ in notes(abc))
    theirs = by_abc2midi(program, abc, folder)
    hits = 0
    for onset, pitch, _ in theirs:
        for delay in range(-1, 14):
            key = (pitch, round(round(onset, 2) - delay / 100, 2))
            if ours[key]:
                ours[key] -= 1
                hits += 1
                break
    return 2 * hits / (ours.total() + hits + len(theirs))


@pytest.mark.parametrize(
    ("lines", "pitches"),
    [
        ("%%MIDI drummap F 36\n%%MIDI drummap c 38\n%%MIDI drummap g 42\n", [36, 38, 36, 42]),
        ("I:MIDI=drummap F 36\n", [36, 72, 36, 79]),
        ("%%percmap F bass-drum-1 x\n%%percmap c 38\n", [36, 38, 36, 79]),
        ("I:percmap F D 36 normal\n", [36, 72, 36, 79]),
        ("%%MIDI drummap ^F 36\n", [65, 72, 65, 79]),
    ],
)
def test_a_drum_map_says_which_drums_are_played(lines: str, pitches: list[int]) -> None:
    score = abc_to_score(f"X:1\nM:4/4\nL:1/4\n{lines}K:C perc\n%%MIDI channel 10\nFcFg|]\n")
    assert score.tracks[0].pitches.tolist() == pitches


def test_a_key_does_not_change_which_drum_is_meant() -> None:
    score = abc_to_score("X:1\nM:4/4\nL:1/4\n%%MIDI drummap F 36\nK:D\nV:1 clef=perc\nFFFF|]\n")
    assert score.tracks[0].pitches.tolist() == [36] * 4


def test_a_drum_map_of_one_voice_leaves_pitched_voices_alone() -> None:
    music = "V:1\nFFFF|]\nV:2\n%%MIDI channel 10\n%%MIDI drummap F 36\n%%MIDI drummap ^c' 42\nF^c'c'z|]\n"
    score = abc_to_score(f"X:1\nM:4/4\nL:1/4\nK:C\n{music}")
    assert [track.pitches.tolist() for track in score.tracks] == [[65] * 4, [36, 42, 42]]


@pytest.mark.parametrize("words", ["", "F", "F 128", "H 36", "F tuba", "36 F"])
def test_a_drum_map_that_cannot_be_read_is_left_out_with_a_warning(words: str) -> None:
    found = check(f"X:1\nM:4/4\nL:1/4\n%%MIDI drummap {words}\nK:C\nFcFg|]\n")
    assert [finding.code for finding in found] == ["bad-midi-directive"]


@pytest.mark.parametrize(
    ("voice", "inline", "pitch"),
    [
        ("octave=-2", "K:C clef=bass", 36),
        ("octave=-2", "K:clef=bass", 36),
        ("octave=-2", "K:C octave=-1", 48),
        ("clef=treble-8", "K:C clef=bass", 60),
        ("clef=treble-8 transpose=2", "K:C clef=treble", 62),
        ("transpose=-12", "K:C bass-8", 36),
        ("octave=-1", "K:G", 48),
    ],
)
def test_what_an_inline_key_does_not_name_stays_as_the_voice_has_it(voice: str, inline: str, pitch: int) -> None:
    score = abc_to_score(f"X:1\nM:4/4\nL:1/4\nK:C\nV:1 {voice}\n[{inline}]C4|]\n")
    assert score.tracks[0].pitches.tolist() == [pitch]


def test_title_and_names_of_voices_go_to_midi_and_back() -> None:
    abc = 'X:1\nT:Grüße, "A" % of B\nM:4/4\nL:1/4\nK:C\nV:1 name="Flute"\nV:2 name="Cello"\n[V:1] cdef|]\n[V:2] C4|]\n'
    midi = abc_to_midi(abc)
    tracks = mido.MidiFile(file=io.BytesIO(midi), charset="utf-8").tracks
    names = [event.name for track in tracks for event in track if event.type == "track_name"]
    assert names == ['Grüße, "A"', "Flute", "Cello"]
    assert midi == write_midi(abc_to_score(abc))
    named, plain = midi_to_abc(midi, named=True).abc, midi_to_abc(midi).abc
    assert re.findall('V:.*name="(.*)"', named) == ["Flute", "Cello"]
    assert "name=" not in plain
