"""`score` on outputs of composers with a planted fault."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import COMPOSERS, FakeComposer, two_voice_tune
from PIL import Image

from pipelines.cli.main import main
from schemas.score import SCORE_SCHEMA

pytestmark = pytest.mark.slow

PICTURES, BARS = 12, 10


class Honest(FakeComposer):
    def write(self, requests):
        return [two_voice_tune(asked.request.seed, BARS) for asked in requests]

    def refine(self, requests):
        return [asked.abc for asked in requests]


class Copying(Honest):
    def write(self, requests):
        return [asked.request.references[0].abc for asked in requests]


class BlindToPictures(Honest):
    def write(self, requests):
        return [two_voice_tune(1, BARS) for _ in requests]


class Breaking(Honest):
    """One bar in ten of either voice lacks its last note."""

    def write(self, requests):
        return [self.broken(abc) for abc in super().write(requests)]

    @staticmethod
    def broken(abc):
        lines = abc.splitlines()
        for at in (-2, -1):
            bars = lines[at].split("|")
            bars[4] = " ".join(bars[4].split()[:-1]) + " "
            lines[at] = "|".join(bars)
        return "\n".join(lines) + "\n"


def run(command):
    return main(command.split())


PLANTED = {"honest": Honest, "copying": Copying, "blind": BlindToPictures, "breaking": Breaking}


@pytest.fixture
def album(indexed, monkeypatch):
    """Twelve pictures of one colour each, and a composer for each fault."""
    (indexed / "album").mkdir()
    dice = np.random.default_rng(0)
    for number in range(PICTURES):
        colour = tuple(int(value) for value in dice.integers(0, 255, 3))
        Image.new("RGB", (12, 8), colour).save(indexed / "album" / f"{number}.png")
    for name, composer in PLANTED.items():
        monkeypatch.setitem(COMPOSERS, name, composer)
    return indexed


def compose(composer, output, seed=0):
    command = f"compose --images album --index tunes.lance --output {output} --composer fake:{composer} --seed {seed}"
    assert run(command) == 0


@pytest.mark.parametrize(
    ("composer", "named", "complaint"),
    [
        ("copying", "copied_share rose", "tunes copy their references"),
        ("blind", "self_similarity rose", "tunes of different pictures are alike, as if the picture were ignored"),
        ("breaking", "bars_right_first fell", "more bars are broken"),
    ],
)
def test_a_planted_regression_is_named(album, capsys, composer, named, complaint):
    compose("honest", "good")
    compose(composer, "bad")
    assert run("score --input bad --against good") == 1
    reasons = [line for line in capsys.readouterr().err.splitlines() if line.startswith("image2music: regression: ")]
    assert any(named in reason and reason.endswith(complaint) for reason in reasons)
    assert run("score --input good --against good") == 0


def test_runs_that_differ_in_their_seed_alone_pass(album):
    compose("honest", "one", seed=1)
    compose("honest", "two", seed=2)
    assert run("score --input one --against two") == 0
    assert run("score --input two --against one") == 0


@pytest.fixture
def scored(indexed, capsys):
    """Three rows by the stand-in composer, scored; returns what was printed."""
    assert run("compose --images pictures --index tunes.lance --output out --composer fake") == 0
    capsys.readouterr()
    assert run("score --input out") == 0
    return capsys.readouterr().out


def test_muspy_s_own_metrics_are_compared_where_asked_for(scored, indexed, capsys):
    assert "MusPy" not in scored
    assert run("score --input out --muspy") == 0
    assert "| polyphony | 3 |" in capsys.readouterr().out
    report = json.loads((indexed / "out" / "score.json").read_text())
    assert max(metric["largest"] for metric in report["muspy"]) < 1e-6


def test_figures_are_printed_and_written(scored, indexed):
    assert "| pictures |  | 3 |" in scored
    assert "| valid_first | higher | 1 (1 to 1) |" in scored
    assert "picture_music is not measured" in scored
    report = json.loads((indexed / "out" / "score.json").read_text())
    assert report["systems"]["out"]["measures"]["bars_right"]["mean"] == 1.0
    assert report["against"] is None
    table = pq.read_table(indexed / "out" / "score.parquet")
    assert table.schema.equals(SCORE_SCHEMA)
    assert table.num_rows == 3


def test_the_embedder_that_retrieved_is_no_judge(scored, indexed, capsys):
    assert run("score --input out --embedder fake") == 0
    assert "fake-embedder@1 also retrieved the references" in capsys.readouterr().out
    assert run("score --input out --embedder fake:other") == 0
    assert "picture_music" in json.loads((indexed / "out" / "score.json").read_text())["systems"]["out"]["measures"]


def test_rows_whose_bars_were_broken_afterwards_are_found(scored, indexed, capsys):
    (indexed / "broken" / "compositions").mkdir(parents=True)
    for shard in (indexed / "out" / "compositions").glob("part-*.parquet"):
        table = pq.read_table(shard)
        abc = [text.replace("|", "", 1) for text in table.column("abc").to_pylist()]
        at = table.schema.get_field_index("abc")
        pq.write_table(
            table.set_column(at, table.schema.field(at), [abc]), indexed / "broken/compositions" / shard.name
        )
    assert run("score --input broken --against out") == 1
    assert "regression: valid_repaired fell from 1 to 0 over 3 pictures" in capsys.readouterr().err


def test_tunes_of_other_systems_stand_in_the_same_table(scored, indexed, capsys):
    (indexed / "theirs.abc").write_text(two_voice_tune(9))
    (indexed / "list.csv").write_text(
        "picture,tune,system\npictures/red.png,midi/red.mid,rival\npictures/blue.png,theirs.abc,rival\n"
        "pictures/green.png,,rival\n"
    )
    assert run("score --input out --import list.csv") == 0
    printed = capsys.readouterr().out
    assert "| measure | better | out | rival |" in printed
    rival = json.loads((indexed / "out" / "score.json").read_text())["systems"]["rival"]
    assert (rival["pictures"], rival["tunes"]) == (3, 2)
    assert rival["measures"]["longest_copy"]["n"] == 2


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("score", "score needs --input or --import"),
        ("score --input nowhere", "nowhere holds no compositions"),
        ("score --import lines.csv", "the file of other systems wants the columns picture and tune"),
        ("score --import missing.csv", "the file of other systems, line 2: no.abc"),
        ("score --import lines.csv --against out", "--against compares with --input"),
        ("score --input out --study 0", "--study must be 1 or more"),
    ],
)
def test_what_cannot_be_scored_is_one_line(indexed, capsys, command, complaint):
    (indexed / "lines.csv").write_text("image,music\na,b\n")
    (indexed / "missing.csv").write_text("picture,abc\npictures/red.png,no.abc\n")
    assert run(command) == 1
    assert complaint in capsys.readouterr().err


def test_outputs_of_other_pictures_cannot_be_compared(album, capsys):
    compose("honest", "one")
    assert run("compose --images pictures --index tunes.lance --output two --composer fake:honest") == 0
    assert run("score --input one --against two") == 1
    assert "have no picture in common" in capsys.readouterr().err
