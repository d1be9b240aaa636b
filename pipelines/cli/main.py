"""The command `image2music`: all parsers, and what becomes of errors."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from image2music import __version__
from image2music.errors import ConfigError, Image2MusicError
from pipelines.runtime.environment import EXIT_FAILED, EXIT_INTERRUPTED, GOES_ON, leave, prepare_environment, quieten

# The rest is imported when it is needed: it takes seconds, in which Ctrl-C has to be one line, too.
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. What goes wrong as foreseen is one line on stderr and exit code 1."""
    code = _foreseen(sys.argv[1:] if argv is None else argv)
    if argv is None:
        leave(code)
    return code


def _foreseen(argv: Sequence[str]) -> int:
    try:
        return _main(argv)
    except Image2MusicError as error:
        print(f"image2music: {_words(error)}", file=sys.stderr)
        logging.getLogger(__name__).debug("where it came from", exc_info=error)
        return EXIT_FAILED
    except BrokenPipeError:  # whoever read the output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python would complain when it ends
        return EXIT_FAILED
    except OSError as error:  # a file that cannot be read or written, where nobody foresaw it
        place = f"{error.filename}: " if error.filename else ""
        print(f"image2music: {place}{error.strerror or _words(error)}", file=sys.stderr)
        logging.getLogger(__name__).debug("where it came from", exc_info=error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"image2music: stopped; {GOES_ON}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _words(error: Exception) -> str:
    from image2music.failures import one_line

    return one_line(error)


def _main(argv: Sequence[str]) -> int:
    args, others = parser().parse_known_args(argv)
    if others and not getattr(args, "takes_beam_options", False):
        raise ConfigError(f"there is no option {' '.join(others)}", reason="unknown_option")
    args.beam, args.argv = tuple(others), argv
    quieten(args.log_level)
    prepare_environment()
    code: int = args.run(args)
    sys.stdout.flush()
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets `run`, which takes what was parsed and returns an exit code."""
    from pipelines.cli import ablate, compose, export, film, index, notation, report, rights, score, status
    from pipelines.runtime.options import Parser

    top: argparse.ArgumentParser = Parser(
        prog="image2music", description="Looks at pictures and writes music for them."
    )
    top.add_argument("--version", action="version", version=__version__)
    top.add_argument("--log_level", default="CRITICAL", choices=_LOG_LEVELS, help="of all libraries")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (index, compose, notation, report, export, film, rights, score, ablate, status):
        command.add_parsers(commands)
    for found in commands.choices.values():  # behind the command, too, where most people write options
        found.add_argument("--log_level", default=argparse.SUPPRESS, choices=_LOG_LEVELS, help=argparse.SUPPRESS)
    return top


if __name__ == "__main__":
    sys.exit(main())
