"""The command `ablate`: pictures to tunes with parts of the method left out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.options.compose import AblateOptions
from pipelines.runtime.options import add_arguments, check_beam_flags, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("ablate", help="compose with parts of the method left out, and compare")
    add_arguments(parser, AblateOptions)
    parser.set_defaults(run=run_ablate, takes_beam_options=True)


def run_ablate(args: argparse.Namespace) -> int:
    """Print the table of variants."""
    from pipelines.jobs.ablate import ablate

    options = from_arguments(AblateOptions, args, beam=args.beam)
    check_beam_flags(options.beam)
    return ablate(options)
