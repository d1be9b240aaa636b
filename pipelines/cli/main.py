"""The command `image2music`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from image2music import __version__
from image2music.errors import ConfigError, Image2MusicError
from image2music.failures import one_line
from image2music.storage.index_files import open_index_files
from image2music.storage.output import open_output
from pipelines.cli import notation, report, score
from pipelines.cli.options import Parser, add_compose_arguments, add_index_arguments, compose_options, index_options
from pipelines.runtime.ending import EXIT_FAILED, EXIT_INTERRUPTED, GOES_ON
from pipelines.runtime.logging import quieten
from pipelines.runtime.supervisor import is_supervised, job_command, supervise
from pipelines.runtime.workers import has_own_processes

DEFAULT_RESTARTS = 3
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_ENVIRONMENT = {
    # The embedded models gain nothing from more threads, and threads that spin while they wait for a busy processor
    # make a job several times slower.
    "OMP_NUM_THREADS": "1",
    # Arrow's own allocator keeps what it once held: over 100 MB in each worker that writes tables.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # A worker has some thirty threads, most of them idle, and glibc would keep a heap for each. It is read when a
    # process starts: it holds for the processes that this one starts.
    "MALLOC_ARENA_MAX": "2",
}
"""For all libraries, where the user has not set them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. What goes wrong as foreseen is one line on stderr and exit code 1."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except Image2MusicError as error:
        print(f"image2music: {one_line(error)}", file=sys.stderr)
        logging.getLogger(__name__).debug("where it came from", exc_info=error)
        return EXIT_FAILED
    except OSError as error:  # a file that cannot be read or written, where nobody foresaw it
        place = f"{error.filename}: " if error.filename else ""
        print(f"image2music: {place}{error.strerror or one_line(error)}", file=sys.stderr)
        logging.getLogger(__name__).debug("where it came from", exc_info=error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"image2music: stopped; {GOES_ON}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _main(argv: Sequence[str]) -> int:
    args, others = parser().parse_known_args(argv)
    if others and not getattr(args, "takes_beam_options", False):
        raise ConfigError(f"there is no option {' '.join(others)}", reason="unknown_option")
    args.beam, args.argv = others, argv
    quieten(args.log_level)
    for name, value in _ENVIRONMENT.items():  # before any library that reads it is loaded
        os.environ.setdefault(name, value)
    code: int = args.run(args)
    return code


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top: argparse.ArgumentParser = Parser(
        prog="image2music", description="Looks at pictures and writes music for them."
    )
    top.add_argument("--version", action="version", version=__version__)
    top.add_argument(
        "--log_level",
        default="CRITICAL",
        choices=_LOG_LEVELS,
        help="of all libraries",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    index = commands.add_parser("index", help="captioned MIDI files to a searchable table of tunes")
    add_index_arguments(index)
    index.set_defaults(run=_index, takes_beam_options=True)

    compose = commands.add_parser("compose", help="pictures to tunes, one Parquet row each")
    add_compose_arguments(compose)
    compose.set_defaults(run=_compose, takes_beam_options=True)

    notation.add_parsers(commands)
    report.add_parsers(commands)
    score.add_parsers(commands)

    status = commands.add_parser("status", help="what a run did, or has done so far")
    status.add_argument("output", help="the --output of compose")
    status.set_defaults(run=_status)
    for command in commands.choices.values():  # behind the command, too, where most people write options
        command.add_argument("--log_level", default=argparse.SUPPRESS, choices=_LOG_LEVELS, help=argparse.SUPPRESS)
    return top


# Each command imports what it runs: `image2music check` does not wait for Beam and torch.
def _index(args: argparse.Namespace) -> int:
    if args.history or args.stats or args.restore:
        return _index_versions(args)
    options = index_options(args)
    if (restarts := _restarts(args, options.beam)) is not None:
        return supervise(job_command(args.argv), restarts=restarts, run_file=open_index_files(options.index).run)
    if options.update:
        from pipelines.jobs.update import update

        return update(options)
    from pipelines.jobs.index import index

    return index(options)


def _index_versions(args: argparse.Namespace) -> int:
    from pipelines.cli import index_versions

    if args.history:
        print(index_versions.history_table(args.index))
    elif args.stats:
        print(index_versions.stats_lines(args.index))
    else:
        print(index_versions.go_back(args.index, args.restore))
    return 0


def _compose(args: argparse.Namespace) -> int:
    options = compose_options(args)
    if not options.plan and (restarts := _restarts(args, options.beam)) is not None:
        return supervise(job_command(args.argv), restarts=restarts, run_file=open_output(options.output).run)
    if options.refresh:
        from pipelines.jobs.refresh import refresh

        return refresh(options)
    if options.plan:
        from pipelines.jobs.dry_run import plan_compose

        return plan_compose(options)
    from pipelines.jobs.composing import compose

    return compose(options)


def _restarts(args: argparse.Namespace, beam: Sequence[str]) -> int | None:
    """How often the job may start again; None where it runs in this process."""
    several = has_own_processes(beam)
    if is_supervised() or not (several or args.restarts):
        return None
    return DEFAULT_RESTARTS if args.restarts is None else args.restarts


def _status(args: argparse.Namespace) -> int:
    from pipelines.cli.status import status

    print(status(args.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
