"""One step of whatever work it is. The job commits it with its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobs import Step
from rewards.bulk import actions, assigning, changing, exporting, files, generating
from rewards.models import BulkJob

STEPS: Mapping[str, Callable[[BulkJob], Step]] = {
    BulkJob.Kind.GENERATE: generating.step,
    BulkJob.Kind.IMPORT: files.step,
    BulkJob.Kind.EXPORT: exporting.step,
    BulkJob.Kind.ASSIGN: assigning.step,
    BulkJob.Kind.EXTEND: changing.extend_step,
    BulkJob.Kind.DEACTIVATE: changing.deactivate_step,
}
TIDY: Mapping[str, Callable[[BulkJob], None]] = {BulkJob.Kind.IMPORT: files.tidy}


def step(bulk_job_id: int) -> Step:
    """Do the next step; of work that was given up, tidy up and end."""
    bulk = actions.locked(bulk_job_id)
    if bulk.state != BulkJob.State.OPEN:
        TIDY.get(bulk.kind, _nothing)(bulk)
        return Step(done=bulk.done, total=bulk.total, is_last=True)
    return STEPS[bulk.kind](bulk)


def _nothing(bulk: BulkJob) -> None:
    """Nothing lies about."""
    del bulk
