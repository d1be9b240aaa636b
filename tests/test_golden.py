"""Five photographs through the whole job, against the texts and the MIDI bytes that they gave before.

Floats are not compared: they differ between processors. The photographs lie in the scikit-image package, the tunes of
the index are the six of tests/fixtures/release_1. `make golden` renews tests/fixtures/golden.json.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from image2music.demo.__main__ import package_folder
from pipelines.cli.main import main

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = FIXTURES / "golden.json"
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")

RAISE = "raise the version of the rule that you changed, so that settings_hash changes, and run `make golden`"
RENEW = "if a rule was changed on purpose and its version raised, run `make golden` and say why in the commit"


def complaint(before: dict, now: dict) -> str | None:
    """What is wrong with rows that are not as they were; None where all is as before."""
    names = sorted(before["rows"].keys() | now["rows"].keys())
    others = [name for name in names if before["rows"].get(name) != now["rows"].get(name)]
    if before["settings_hash"] != now["settings_hash"]:
        rows = f"the rows of {', '.join(others)}" if others else "no row"
        return f"settings_hash changed, and {rows} with it: {RENEW}"
    if others:
        return f"the rows of {', '.join(others)} changed and settings_hash did not: {RAISE}\n{differences(before, now)}"
    if before["tunes"] != now["tunes"]:
        return "the index writes other ABC for the same MIDI files: if that is meant, run `make golden` and say why"
    return None


def differences(before: dict, now: dict) -> str:
    """The first column of each row that is another one, as it was and as it is."""
    lines = []
    for name, row in now["rows"].items():
        old = before["rows"].get(name, {})
        column = next((column for column in row if row[column] != old.get(column)), None)
        if column:
            lines.append(f"{name}, {column}: {str(old.get(column))[:200]!r} -> {str(row[column])[:200]!r}")
    return "\n".join(lines)


def compose_photographs(home: Path) -> dict:
    """Index the six tunes and compose the five photographs; return what is compared, by photograph."""
    (home / "pictures").mkdir()
    for name in PHOTOGRAPHS:
        source = next((package_folder("skimage") / "data").glob(f"{name}.*"))
        shutil.copy(source, home / "pictures" / source.name)
    captions = [json.loads(line) for line in (FIXTURES / "release_1" / "captions.json").read_text().splitlines()]
    there = [line for line in captions if (FIXTURES / "release_1" / "midi" / line["location"]).is_file()]
    (home / "captions.json").write_text("".join(json.dumps(line) + "\n" for line in there))
    index = f"--index {home}/tunes.lance"
    assert main(f"index --captions {home}/captions.json --midi_root {FIXTURES}/release_1/midi {index}".split()) == 0
    assert main(f"compose --images {home}/pictures --output {home}/out {index}".split()) == 0
    rows = ds.dataset(home / "out" / "compositions").to_table().to_pylist()
    tunes = {one["location"]: one["abc"] for row in rows for one in row["references"]}
    return {
        "settings_hash": rows[0]["settings_hash"],
        "rows": {Path(row["image_uri"]).stem: texts_of(row) for row in sorted(rows, key=lambda row: row["image_uri"])},
        "tunes": {location: digest(abc.encode()) for location, abc in sorted(tunes.items())},
    }


def texts_of(row: dict) -> dict:
    """The columns of a row that hold no floats: texts, and the sha256 of its MIDI file."""
    return {
        "description": row["description"],
        "references": [reference["location"] for reference in row["references"]],
        "title": row["title"],
        "key": row["key"],
        "meter": row["meter"],
        "abc": row["abc"],
        "midi": digest(row["midi"]),
        "motivation": row["motivation"],
        "rounds": [
            {"purpose": each["purpose"], "accepted": each["accepted"], "abc": digest(each["abc"].encode())}
            for each in row["rounds"]
        ],
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_five_photographs_give_the_rows_that_they_gave_before(tmp_path, request):
    now = compose_photographs(tmp_path)
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else None
    if request.config.getoption("--renew-golden"):
        # A renewal without a new version is what this file is there to refuse. Whoever must, removes the file first.
        assert before is None or before["rows"] == now["rows"] or before["settings_hash"] != now["settings_hash"], RAISE
        GOLDEN.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    assert before is not None, "tests/fixtures/golden.json is missing: run `make golden`"
    assert (found := complaint(before, now)) is None, found


BEFORE = {"settings_hash": "a", "rows": {"coffee": {"title": "Air", "abc": "X:1"}}, "tunes": {"1.mid": "c"}}


def test_rows_that_change_without_a_new_version_of_a_rule_are_told_from_those_with_one():
    changed = {"coffee": {"title": "Air", "abc": "X:2"}}
    assert complaint(BEFORE, BEFORE) is None
    unversioned = complaint(BEFORE, BEFORE | {"rows": changed})
    assert unversioned.startswith("the rows of coffee changed and settings_hash did not: raise the version")
    assert unversioned.endswith("coffee, abc: 'X:1' -> 'X:2'")
    assert "if a rule was changed on purpose" in complaint(BEFORE, BEFORE | {"rows": changed, "settings_hash": "b"})
    assert "no row with it" in complaint(BEFORE, BEFORE | {"settings_hash": "b"})
    assert "the index writes other ABC" in complaint(BEFORE, BEFORE | {"tunes": {"1.mid": "d"}})
