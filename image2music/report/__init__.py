"""Pages to look at and listen to, as data and HTML. `pipelines/jobs/report.py` writes them to disk."""
