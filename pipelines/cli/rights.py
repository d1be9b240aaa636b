"""The command `rights`: what a tune was made of and by whom, for a person who disputes a claim."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.options.outputs import RightsOptions
from pipelines.runtime.options import add_arguments, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rights", help="who made a tune, of what, under which licences, and how to make it again"
    )
    add_arguments(parser, RightsOptions)
    parser.set_defaults(run=run_rights)


def run_rights(args: argparse.Namespace) -> int:
    """Print a passport a tune."""
    from pipelines.jobs.rights import print_rights

    print_rights(from_arguments(RightsOptions, args))
    return 0
