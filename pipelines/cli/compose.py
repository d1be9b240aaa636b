"""The command `compose`: pictures to tunes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.jobs.options import ComposeOptions
from pipelines.runtime.options import add_arguments, check_beam_flags, from_arguments
from pipelines.runtime.processes import supervised

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from image2music.storage.datasets import RunFile


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("compose", help="pictures to tunes, one Parquet row each")
    add_arguments(parser, ComposeOptions)
    parser.set_defaults(run=run_compose, takes_beam_options=True)


def run_compose(args: argparse.Namespace) -> int:
    """Compose, refresh, take again or plan; where there are worker processes, in a process that is watched."""
    options = from_arguments(ComposeOptions, args, beam=args.beam)
    if not options.dry_run:
        code = supervised(args.argv, options.beam_flags, options.restarts, lambda: _run_file(options.output))
        if code is not None:
            return code
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
    from pipelines.jobs.compose import compose

    return compose(options)


def _run_file(output: str) -> RunFile:
    from image2music.storage.output import open_output

    return open_output(output).run
