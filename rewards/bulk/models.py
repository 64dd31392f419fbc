"""Work on many codes at once, the files that wait for it, and what went out as files."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class BulkJob(models.Model):
    """One piece of work on a series, done in steps by a job; its row outlives the job's."""

    class Kind(models.TextChoices):
        GENERATE = "generate"
        IMPORT = "import"
        EXPORT = "export"
        ASSIGN = "assign"
        EXTEND = "extend"
        DEACTIVATE = "deactivate"

    class State(models.TextChoices):
        OPEN = "open"
        DONE = "done"
        REFUSED = "refused"
        CANCELLED = "cancelled"

    kind = models.CharField(max_length=12, choices=Kind)
    series = models.ForeignKey("rewards.Series", on_delete=models.PROTECT, related_name="bulk_jobs")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    parameters = models.JSONField(default=dict)
    report = models.JSONField(default=dict, help_text="What came of it.")
    job_id = models.BigIntegerField(null=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True)
    reason = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="+",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class UploadBlock(models.Model):
    """A piece of an uploaded file, encrypted, until the job that reads it has ended."""

    bulk_job = models.ForeignKey(
        BulkJob, on_delete=models.CASCADE, db_index=False, related_name="blocks"
    )
    number = models.IntegerField()
    sealed = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bulk_job", "number"], name="rewards_uploadblock_once")
        ]

    def __str__(self) -> str:
        return f"block {self.number}"
