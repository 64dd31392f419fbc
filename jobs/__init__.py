"""Work that is done once, whatever dies meanwhile. docs/jobs.md shows how to add a job.

enqueue("rewards.expire", {"series_id": 7})     # in the caller's transaction
"""

from jobs.actions import enqueue, enqueue_many
from jobs.registry import Step, Work, job, long_job, outside_job, repeatable_job
from jobs.rules import SLOW_QUEUE

__all__ = [
    "SLOW_QUEUE",
    "Step",
    "Work",
    "enqueue",
    "enqueue_many",
    "job",
    "long_job",
    "outside_job",
    "repeatable_job",
]
