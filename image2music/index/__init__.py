"""The table of tunes: written, searched, kept up to date. The pipelines that fill it are in `pipelines/jobs`."""
