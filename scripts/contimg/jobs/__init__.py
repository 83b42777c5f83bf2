"""The frame of a job: threads, retries, scratch, locks, orphans, the engine."""
