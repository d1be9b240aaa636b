"""The whole plan protocol by recorded answers of a strong model: two pictures, request by request, no network."""

import pyarrow.parquet as pq
import pytest
from chat_server import serving
from recorded_player import COLOURS, RecordedPlayer, recorded, stand_in

from image2music.abc.checker import check
from pipelines.cli.main import main

STEPS = ("look", "sketch", "plan", "melody", "write", "edit", "motivation")


@pytest.fixture
def rows(indexed, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (indexed / "two").mkdir()
    for name in COLOURS:
        stand_in(name).save(indexed / "two" / f"{name}.png")
    player = RecordedPlayer()
    with serving() as server:
        server.answer = player
        code = main(["compose", "--images", "two", "--index", "tunes.lance", "--output", "out",
                     "--composer", f"openai:{server.url}#recorded"])  # fmt: skip
    assert code == 0
    assert player.asked == {(name, step): 1 for name in COLOURS for step in STEPS}
    found = pq.read_table("out/compositions").to_pylist()
    return {row["image_uris"][0].rsplit("/", 1)[-1].removesuffix(".png"): row for row in found}


def test_two_pictures_go_through_every_step_once_and_become_rows(rows):
    storm, astronaut = rows["storm"], rows["astronaut"]
    assert astronaut["title"] == "The Ring and the Helmet"
    assert (astronaut["key"], astronaut["meter"], astronaut["tempo_qpm"]) == ("F", "4/4", 92.0)
    assert [voice["name"] for voice in astronaut["plan"]["voices"]] == [
        "Flute", "Trumpet", "Clarinet", "Harp", "Cello",
    ]  # fmt: skip
    assert astronaut["scene"]["arousal"] is not None and storm["scene"]["subject"]
    for row in rows.values():
        assert [one.severity for one in check(row["abc"]) if one.severity == "error"] == []
        assert not any(voice["derived"] for voice in row["plan"]["voices"]), "the model wrote every voice"
        assert len(row["plan"]["harmony"]) == row["plan"]["bars"]


def test_the_score_holds_what_the_model_wrote(rows):
    abc = rows["astronaut"]["abc"]
    assert "[V:3] z8 | z8 | !mp!(A4 GF d2 | c6) z2 |" in abc, "melody, with slurs and the section's loudness"
    assert "[Q:1/4=80]" in abc and "[Q:1/4=96]" in abc, "tempos of sections, in the first voice"
    assert "[V:5] !mp!F,6 C,2 | F,6 z2 | F,6 z2 | (E,4 F,2 ^F,2) |" in abc


def test_edits_are_tried_one_by_one_and_most_are_taken(rows):
    for row in rows.values():
        purposes = [step["purpose"] for step in row["rounds"]]
        assert purposes[0] == "draft" and set(purposes[1:]) == {"edit"}
        taken = [step for step in row["rounds"][1:] if step["accepted"]]
        assert len(taken) >= 4
        assert all(step["reason"] in ("better", "no_worse") for step in taken)
        assert row["abc"] == taken[-1]["abc"]


def test_the_motivation_speaks_of_the_tune_as_it_stands(rows):
    said = rows["astronaut"]["motivation"]
    assert said.startswith("The open smile and the warm, even light")
    assert said == " ".join(recorded("astronaut", "motivation").split()), (
        "nothing in it is false, so nothing is left out"
    )
