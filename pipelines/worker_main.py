"""A worker process of a job on one machine: Beam's own, as quiet as the job was asked to be."""

from __future__ import annotations

import os
import sys

from pipelines.quiet import LEVEL, quieten


def main() -> None:
    """Serve bundles until the job is over."""
    quieten(os.environ.get(LEVEL, "CRITICAL"))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
