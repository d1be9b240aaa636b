"""A listening form in OUT/study, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image2music.errors import ConfigError
from image2music.notation.abc_to_midi import abc_to_midi
from image2music.report.playback import playback
from image2music.report.thumbnails import data_uri, thumbnail
from image2music.report.wave_file import wav_bytes
from image2music.scoring.answer_columns import add_answers, mean_spread
from image2music.scoring.form import Shown, render_form
from image2music.scoring.listening import Item, choose_items, key_text, read_answers, read_key
from image2music.scoring.pieces import Piece
from pipelines.options import make_folder
from pipelines.systems import System, open_image

if TYPE_CHECKING:
    from pipelines.score import Scored

FORM, KEY = "index.html", "key.csv"
_SIDE = 800


def write(folder: Path, systems: Sequence[System], pictures: int, seed: int) -> str:
    """The form with its sounds, and beside the folder the key that listeners must not see; says where they are."""
    items = choose_items({system.name: system.pieces for system in systems}, pictures, seed)
    make_folder(str(folder / "sounds"))
    for old in (folder / "sounds").glob("*.wav"):
        old.unlink()
    for item in items:
        (folder / "sounds" / f"{item.code}.wav").write_bytes(sound(item.piece))
    (folder / FORM).write_text(render_form([_shown(item) for item in items]), encoding="utf-8")
    _key(folder).write_text(key_text(items), encoding="utf-8")
    return f"{len(items)} tunes: hand out {folder} (open {FORM}); keep {_key(folder)} to yourself"


def read(folder: Path, answers: Sequence[Path], scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Put listeners' answers into the rows; None where there are no files.

    Raises:
        ConfigError: there is no form that they could be answers to (`no_study`), or a file cannot be read
            (`bad_answers`).
    """
    if not answers:
        return None
    try:
        key = read_key(_key(folder).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"there is no {_key(folder)}: write the form with --study first", reason="no_study"
        ) from error
    places = {(one.system.name, row["image_id"]): (one, at) for one in scored for at, row in enumerate(one.rows)}
    heard = [entry for path in answers for entry in read_answers(_text(path), key, path.name)]
    for one in scored:
        own = [(e, places[key[e.code]]) for e in heard if key[e.code] in places]
        add_answers(one.rows, "listeners", [(at, e.question, e.points) for e, (who, at) in own if who is one])
    return {
        "answers": len(heard),
        "listeners": len({entry.listener for entry in heard}),
        "spread": {one.system.name: mean_spread(one.rows, "listeners") for one in scored},
    }


def sound(piece: Piece) -> bytes:
    """The tune as a WAV file."""
    played = playback(abc_to_midi(piece.abc), piece.abc)
    return wav_bytes(played.tracks, played.seconds)


def _shown(item: Item) -> Shown:
    image = open_image(item.piece)
    picture = data_uri(thumbnail(image, _SIDE)) if image is not None else ""
    return Shown(item.code, picture, item.piece.motivation)


def _key(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-{KEY}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--answers {path}: {error}", reason="bad_answers") from error
