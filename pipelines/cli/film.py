"""The command `film`: albums or rows to MP4 files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from image2music.failures import counted
from pipelines.options.outputs import FilmOptions
from pipelines.runtime.environment import EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED
from pipelines.runtime.options import add_arguments, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "film", help="an MP4 film of each album, or of rows: pictures that change on bar lines"
    )
    add_arguments(parser, FilmOptions)
    parser.set_defaults(run=run_film)


def run_film(args: argparse.Namespace) -> int:
    """Make the films; the exit code is 3 if some could not be made or lack a picture, 1 if there is none."""
    from image2music.film.shooting import as_clock
    from pipelines.jobs.film import make_films

    options = from_arguments(FilmOptions, args)
    done = make_films(options)
    there = f", {done.there} there already" if done.there else ""
    length = f"; {as_clock(done.seconds)} long{' together' if done.made > 1 else ''}" if done.made else ""
    print(f"{counted(done.made, 'film')} in {options.output}{there}{length}")
    if not done.made and not done.there:
        return EXIT_FAILED
    return EXIT_SOME_FAILED if done.failed or done.gone else EXIT_DONE
