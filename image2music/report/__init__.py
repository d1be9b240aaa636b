"""Pages to look at and listen to. Writing them to disk is in `pipelines/jobs`."""
