"""What an output is worth: its tunes measured, judged and compared, as tables and as OUT/score.json."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from image2music import __version__
from image2music.embedders import base as embedders
from image2music.errors import ConfigError
from image2music.evaluation.agreement import image_tune_similarity
from image2music.evaluation.compare import (
    Difference,
    Summary,
    difference_json,
    differences,
    differences_table,
    measures_table,
    metrics_table,
    muspy_table,
    regressions,
    summarise,
    summary_json,
)
from image2music.evaluation.measures import muspy_differences, score_rows
from image2music.storage.output import open_output
from pipelines.jobs import judging
from pipelines.jobs.loaders import Scored, System, open_image, read_imported, read_output
from pipelines.jobs.options import ScoreOptions
from schemas.score import SCORE_SCHEMA

EXIT_DONE, EXIT_REGRESSION = 0, 1


def score(options: ScoreOptions) -> int:
    """Measure everything that was asked for; return 1 if `--against` found a regression, else 0.

    Raises:
        Image2MusicError: nothing to score, files or models that cannot be used.
    """
    systems = read_systems(options)
    if options.dry_run:
        print(judging.judging_plan(options, systems))
        return EXIT_DONE
    if options.study is not None:
        print(judging.write_listening_test(options.home / "study", systems, options.study, options.seed))
        return EXIT_DONE
    scored = [Scored(system, score_rows(system.name, system.pieces)) for system in systems]
    notes = _look(options.embedder, scored)
    report: dict[str, Any] = {"image2music": __version__, "seed": options.seed}
    compare(options, scored)  # a comparison that cannot be is refused before a judge is paid
    report["songeval"] = judging.songeval(options, scored)
    report["listeners"] = judging.read_listening_test(options.home / "study", options.answers, scored)
    report["judge"] = judging.judge_systems(options, scored)
    summaries = [summarise(one.system.name, one.system.pieces, one.rows, options.seed) for one in scored]
    found = compare(options, scored)
    report["notes"] = notes
    report["systems"] = {summary.system: summary_json(summary) for summary in summaries}
    report["against"] = None if found is None else [difference_json(difference) for difference in found]
    equality = muspy_differences(systems[0].pieces) if options.muspy else []
    if options.muspy:
        report["muspy"] = [asdict(one) for one in equality]
    _write(options.home, scored, report)
    print(tables(options, summaries, found, notes))
    if options.muspy:
        print(f"\n{muspy_table(equality)}")
    worse = regressions(found or [])
    for difference in worse:
        print(f"image2music: regression: {difference.reason()}", file=sys.stderr)
    return EXIT_REGRESSION if worse else EXIT_DONE


def read_systems(options: ScoreOptions) -> list[System]:
    """Return the output, the one it is compared with, and imported ones, in this order; no two have one name."""
    own = read_output(open_output(options.input), _name(options.input)) if options.input else None
    systems = [own] if own else []
    if options.against is not None:
        assert options.input is not None
        name = _name(options.against)
        same = name == _name(options.input)
        systems.append(read_output(open_output(options.against), f"{name} (against)" if same else name))
    if options.imported is not None:
        systems += read_imported(options.imported, own)
    names = [system.name for system in systems]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(f"two systems are named {repeated.pop()}: name one anew in --import", reason="bad_import")
    return systems


def compare(options: ScoreOptions, scored: list[Scored]) -> list[Difference] | None:
    """Return what changed against the other output; None without one.

    Raises:
        ConfigError: they have no picture in common (`nothing_to_compare`).
    """
    if options.against is None:
        return None
    here, there = scored[0], scored[1]
    found = differences(here.rows, there.rows, options.seed, options.bounds)
    if not found:
        message = f"{options.input} and {options.against} have no picture in common"
        raise ConfigError(message, reason="nothing_to_compare")
    return found


def tables(options: ScoreOptions, summaries: list[Summary], found: list[Difference] | None, notes: list[str]) -> str:
    """Return everything as Markdown."""
    parts = [measures_table(summaries), "Mean over the pictures, with its 95 % interval."]
    parts += [metrics_table(summaries[0]), "Least, quartiles and greatest; distance in deviations of the references."]
    if found is not None:
        parts += [differences_table(found, summaries[0].system, summaries[1].system), _pairing(summaries, found)]
    return "\n\n".join([*parts, *notes])


def _pairing(summaries: list[Summary], found: list[Difference]) -> str:
    shared = max(difference.change.n for difference in found)
    here, there = summaries[0].pictures, summaries[1].pictures
    return (
        f"{shared} pictures in both, of {here} here and {there} there; change with its paired 95 % interval. "
        "A regression is a change for the worse that exceeds the bound over the whole interval."
    )


def _name(output: Path) -> str:
    return output.resolve().name or str(output)


def _look(spec: str | None, scored: list[Scored]) -> list[str]:
    """Fill in `image_tune_similarity`, or say why it is not measured."""
    if spec is None:
        return ["picture_music is not measured: it needs --embedder, another one than that of the index."]
    embedder = embedders.load_embedder(spec)
    if any(embedder.id in one.system.embedder_ids for one in scored):
        return [f"picture_music is not measured: {embedder.id} also retrieved the references, so it is no judge."]
    for one in scored:
        pairs = [(row, piece, open_image(piece)) for row, piece in zip(one.rows, one.system.pieces, strict=True)]
        seen = [(row, piece.score, image) for row, piece, image in pairs if image is not None and piece.score]
        values = image_tune_similarity(embedder, [image for _, _, image in seen], [heard for _, heard, _ in seen])
        for (row, _, _), value in zip(seen, values, strict=True):
            row["picture_music"] = value
    return [f"picture_music by {embedder.id}."]


def _write(home: Path, scored: list[Scored], report: dict[str, Any]) -> None:
    rows = [row for one in scored for row in one.rows]
    store = open_output(home)
    store.write_table("score.parquet", pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))
    store.write_json("score.json", report)
