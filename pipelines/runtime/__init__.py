"""The life of a job: lock, record, progress, workers, exit code. It knows no job."""
