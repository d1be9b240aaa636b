"""The commands `score` and `ablate`: options from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from image2music.errors import ConfigError
from pipelines.cli.options import add_compose_arguments, compose_options

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both; each sets `run`, which takes the parsed arguments and returns an exit code."""
    score = commands.add_parser("score", help="measure tunes, judge them, hold one output against another")
    score.add_argument("--input", metavar="OUT", help="the --output of compose")
    score.add_argument("--against", metavar="OUT", help="another output; exit code 1 if --input is worse")
    score.add_argument("--import", dest="imported", metavar="FILE.csv", help="other systems: picture,tune[,system]")
    score.add_argument("--embedder", help="for picture_music: another one than that of the index")
    score.add_argument("--judge", metavar="S", help="openai:URL#MODEL | transformers:ID_OR_PATH")
    score.add_argument("--judge_times", type=int, default=3, metavar="N", help="how often each tune is judged")
    score.add_argument("--price", metavar="IN,OUT", help="dollars a million tokens, for the judge's costs")
    score.add_argument("--songeval", metavar="DIR", help="SongEval's toolkit with its weights")
    score.add_argument("--study", type=int, metavar="N", help="only write a blind listening form for N pictures")
    score.add_argument("--answers", nargs="+", default=[], metavar="FILE.csv", help="answers to that form")
    score.add_argument(
        "--bound", action="append", default=[], metavar="NAME=VALUE", help="how much worse --against lets a mean be"
    )
    score.add_argument("--seed", type=int, default=0, help="of intervals, orders and samples")
    score.add_argument("--muspy", action="store_true", help="compute the eight metrics by MusPy too, and compare")
    score.add_argument("--plan", action="store_true", help="say what would be done and cost, and do nothing")
    score.set_defaults(run=run_score)

    ablate = commands.add_parser("ablate", help="compose with parts of the method left out, and compare")
    add_compose_arguments(ablate)
    ablate.set_defaults(run=run_ablate, takes_beam_options=True)


def run_score(args: argparse.Namespace) -> int:
    """Prints the tables; exit code 1 on a regression."""
    from image2music.evaluation.judge import JudgeSettings
    from image2music.evaluation.measures import bounds_of
    from pipelines.jobs.loaders import ScoreOptions
    from pipelines.jobs.score import score

    return score(
        ScoreOptions(
            input=_path(args.input),
            against=_path(args.against),
            imported=_path(args.imported),
            embedder=args.embedder,
            judge=args.judge,
            judging=JudgeSettings(args.judge_times, args.seed),
            price=price(args.price) if args.price else None,
            songeval=_path(args.songeval),
            study=args.study,
            answers=tuple(Path(name) for name in args.answers),
            bounds=bounds_of(args.bound),
            seed=args.seed,
            muspy=args.muspy,
            plan=args.plan,
        )
    )


def run_ablate(args: argparse.Namespace) -> int:
    """Prints the table of variants.

    Raises:
        ConfigError: an option of `compose` that has no meaning here (`bad_arguments`).
    """
    from pipelines.jobs.ablate import ablate

    if args.refresh or args.overwrite or args.album or args.restarts or args.log_json or args.accept != "better":
        message = (
            "ablate takes no --refresh, --overwrite, --album, --restarts, --log_json or --accept: name a new --output"
        )
        raise ConfigError(message, reason="bad_arguments")
    return ablate(compose_options(args))


def price(text: str) -> tuple[float, float]:
    """`2.5,10` to dollars a million tokens in and out.

    Raises:
        ConfigError: anything else (`bad_price`).
    """
    try:
        tokens_in, tokens_out = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--price takes IN,OUT such as 2.5,10, not {text!r}", reason="bad_price") from error
    return tokens_in, tokens_out


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
