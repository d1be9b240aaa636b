import json

import pyarrow.parquet as pq
import pytest
from fakes import COMPOSERS, FakeComposer, two_voice_tune

from image2music.loop.ablations import VARIANTS, WithoutRefinement, WithoutRetrieval, variants_of
from image2music.settings import LoopSettings
from image2music.storage.output import open_output
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMMAND = "ablate --images pictures --index tunes.lance --output out --composer fake:learner"
NAMES = [variant.name for variant in VARIANTS if variant.name != "paper"]


class Learner(FakeComposer):
    """Says in its title how many references it saw; refining, it writes the first one's twin."""

    def write(self, requests):
        super().write(requests)
        return [self.titled(asked.request.seed, len(asked.request.references)) for asked in requests]

    def refine(self, requests):
        super().refine(requests)
        return [self.titled(50, len(asked.request.references)) for asked in requests]

    @staticmethod
    def titled(seed, references):
        return two_voice_tune(seed).replace("T:Tune", f"T:{references} heard, tune")


@pytest.fixture
def learner(indexed, monkeypatch):
    composer = Learner()
    monkeypatch.setitem(COMPOSERS, "learner", lambda: composer)
    return composer


def rows(home, variant, *columns):
    return sorted(open_output(home / "out" / variant).compositions.read(columns), key=str)


def test_variants_share_descriptions_and_references_and_differ_in_what_they_lack(indexed, learner, capsys):
    assert main(COMMAND.split()) == 0
    seen = {name: rows(indexed, name, "image_id", "description", "references") for name in NAMES}
    assert all(found == seen["full"] for found in seen.values())
    assert sum(size for kind, size in learner.calls if kind == "look") == 3
    heard = {name: {row["title"][0] for row in rows(indexed, name, "title")} for name in NAMES}
    assert heard["no_retrieval"] == heard["neither"] == {"0"}
    assert "0" not in heard["full"] | heard["no_refinement"]
    steps = [step for row in rows(indexed, "no_refinement", "rounds") for step in row["rounds"]]
    assert not any(step["accepted"] for step in steps if step["purpose"] == "refine")
    assert "| measure | better | full | no_retrieval | no_refinement | neither |" in capsys.readouterr().out
    report = json.loads((indexed / "out" / "ablation.json").read_text())
    assert list(report["against_full"]) == NAMES[1:]


def test_a_second_run_composes_nothing_and_prints_the_same(indexed, learner, capsys):
    assert main(COMMAND.split()) == 0
    first, learner.calls[:] = capsys.readouterr().out, []
    assert main(COMMAND.split()) == 0
    assert capsys.readouterr().out == first
    assert learner.calls == []


class Forgetful(Learner):
    """Writes nothing that plays unless it hears a reference."""

    def write(self, requests):
        return [
            tune if asked.request.references else ""
            for asked, tune in zip(requests, super().write(requests), strict=True)
        ]

    def repair(self, requests):
        return ["" for _ in requests]


def test_tunes_that_a_variant_fails_at_count_as_invalid(indexed, monkeypatch, capsys):
    composer = Forgetful()
    monkeypatch.setitem(COMPOSERS, "learner", lambda: composer)
    assert main([*COMMAND.split(), "--max_failures", "100%"]) == 3
    validity = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| valid_repaired"))
    _, _, _, full, no_retrieval, *_ = (cell.strip() for cell in validity.split("|"))
    assert full.startswith("1")
    assert no_retrieval.startswith("0")


def test_each_variant_has_settings_of_its_own(indexed, learner):
    assert main(COMMAND.split()) == 0
    hashes = {row["settings_hash"] for name in NAMES for row in rows(indexed, name, "settings_hash")}
    assert len(hashes) == len(NAMES)
    shard = next((indexed / "out" / "neither" / "compositions").glob("part-*.parquet"))
    assert pq.read_table(shard).column("composer_id")[0].as_py() == "fake-composer@1+no_retrieval+no_refinement"


def test_a_plan_names_the_variants_and_does_nothing(indexed, learner, capsys):
    assert main([*COMMAND.split(), "--plan"]) == 0
    assert "variants    full, no_retrieval, no_refinement, neither" in capsys.readouterr().out
    assert not (indexed / "out").exists()


@pytest.mark.parametrize("option", ["--accept always", "--refresh", "--overwrite", "--album", "--restarts 1"])
def test_options_that_have_no_meaning_here_are_unknown(indexed, learner, capsys, option):
    assert main([*COMMAND.split(), *option.split()]) == 1
    assert f"there is no option {option}" in capsys.readouterr().err


def test_the_papers_chain_is_a_variant_where_the_full_method_is_another():
    assert [one.name for one in variants_of(LoopSettings())][-1] == "paper"
    assert variants_of(LoopSettings())[-1].loop(LoopSettings(candidates=4)) == LoopSettings(protocol="paper")
    assert "paper" not in [one.name for one in variants_of(LoopSettings(protocol="paper"))]


def test_what_is_taken_away_stands_in_the_id():
    assert WithoutRetrieval(FakeComposer()).id == "fake-composer@1+no_retrieval"
    assert WithoutRefinement(FakeComposer()).id == "fake-composer@1+no_refinement"
