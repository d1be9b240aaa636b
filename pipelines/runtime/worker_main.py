"""A worker process of a job on one machine: Beam's own, as quiet as the job was asked to be."""

from __future__ import annotations

import os
import sys

from pipelines.runtime.environment import LEVEL, quieten


def main() -> None:
    """Serve bundles until the job is over."""
    quieten(os.environ.get(LEVEL, "CRITICAL"))
    from apache_beam.runners.worker import sdk_worker, sdk_worker_main

    # Beam prints the traceback of what breaks a bundle, and logs it too: the log is enough, and follows --log_level.
    sdk_worker.print = lambda *words, **options: None
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
