"""The commands `compose`, pictures to tunes, and `finish`, which joins what parts of an array job composed."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from image2music.errors import ConfigError
from pipelines.options.compose import ComposeOptions
from pipelines.runtime.options import Parser, add_arguments, check_beam_flags, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    parser = commands.add_parser("compose", help="pictures to tunes, one Parquet row each")
    add_arguments(parser, ComposeOptions)
    parser.set_defaults(run=run_compose, takes_beam_options=True)
    finishing = commands.add_parser("finish", help="join the parts of compose --slice K/N, and say what is missing")
    finishing.add_argument("output", help="the --output of compose")
    finishing.set_defaults(run=run_finish)


def run_compose(args: argparse.Namespace) -> int:
    """Compose, refresh, take again or plan."""
    options = from_arguments(ComposeOptions, args, beam=args.beam, argv=tuple(args.argv))
    check_beam_flags(options.beam)
    if options.refresh:
        from pipelines.jobs.refresh import refresh

        return refresh(options)
    if options.again:
        from pipelines.jobs.refresh import take_again

        return take_again(options)
    if options.dry_run:
        from pipelines.jobs.dry_run import plan_compose

        return plan_compose(options)
    if options.part is not None:
        from pipelines.jobs.array import compose_part

        return compose_part(options, options.part)
    from pipelines.jobs.compose import compose

    return compose(options)


def run_finish(args: argparse.Namespace) -> int:
    """Join the parts of an array job.

    Raises:
        ConfigError: there are none (`no_parts`).
    """
    from image2music.storage.output import open_output
    from pipelines.jobs.array import finish

    records = open_output(args.output).part_records()
    if not records:
        message = f"{args.output} holds no parts of an array job: compose --slice K/N makes them"
        raise ConfigError(message, reason="no_parts")
    argv = records[0]["options"]["argv"]
    return finish(_options_of(argv, args.output), records, lambda number: _command(argv, number, records[0]["of"]))


def _options_of(argv: Sequence[str], output: str) -> ComposeOptions:
    """Return the options of a command line of `compose`, for the output where it is now."""
    parser = Parser(prog="image2music compose")
    add_arguments(parser, ComposeOptions)
    args, _ = parser.parse_known_args(list(argv))
    return replace(from_arguments(ComposeOptions, args), output=output)


def _command(argv: Sequence[str], number: int, of: int) -> str:
    """Return the command line that makes another part."""
    words, at = list(argv), next(at for at, word in enumerate(argv) if word.split("=")[0] == "--slice")
    joined = words[at] != "--slice"
    words[at if joined else at + 1] = f"--slice={number}/{of}" if joined else f"{number}/{of}"
    return shlex.join(["image2music", *words])
