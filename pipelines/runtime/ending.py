"""How a job ends: the last state in run.json, a line where too much failed, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from image2music.errors import OutputError
from image2music.settings import FailureBound

if TYPE_CHECKING:
    from pipelines.runtime.record import RunRecord
EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 0, 1, 3, 130
GOES_ON = "the same command goes on where it stopped"


@contextmanager
def recorded(record: RunRecord, after_a_stop: str) -> Iterator[None]:
    """Writes into run.json how the job ended where it did not end well. `after_a_stop` says what is left then."""
    try:
        yield
    except KeyboardInterrupt:
        _end(record, "stopped", f"stopped by hand; {after_a_stop}")
        raise
    except Exception as error:
        _end(record, "failed", str(error))
        raise


def _end(record: RunRecord, state: str, message: str) -> None:
    # What broke the job may keep run.json from being written, too: then the job's own error is the one to tell, and
    # `status` finds the process gone.
    with suppress(OutputError):
        record.end(state, message)


def end_job(record: RunRecord, failed: int, of: int, what: str, bound: FailureBound, reasons: str) -> int:
    """Write the state of a job that came to its end; returns the exit code.

    0 where nothing failed, 3 where no more than `bound` allows of the `of` pictures or tunes (`what`) did, else 1 and
    a line on stderr, which says that `reasons` is where to look.
    """
    if bound.allows(failed, of):
        record.end("done")
        return EXIT_SOME_FAILED if failed else EXIT_DONE
    message = f"{failed} of {of} {what} failed"
    record.end("failed", message)
    print(f"image2music: {message}, more than --max_failures allows; see why in {reasons}", file=sys.stderr)
    return EXIT_FAILED
