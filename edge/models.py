"""Tables of the edge: remembered answers, and the audit trail."""

from __future__ import annotations

from django.db import models
from django.db.models import CompositePrimaryKey


class IdempotencyKey(models.Model):
    """The answer once given to a write, kept so that a repeat gets the same one.

    Four fixed partitions by `slot` (the month modulo 4): a month that is too old is emptied
    by TRUNCATE, never row by row. `docs/decisions/0003-edge.md` says how long.
    """

    pk = CompositePrimaryKey("digest", "slot")
    slot = models.SmallIntegerField()
    digest = models.UUIDField(help_text="SHA-256 of person, method, path and key; 128 bits of it.")
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of the request body.")
    status = models.SmallIntegerField()
    content_type = models.CharField(max_length=100)
    body = models.BinaryField()
    created_at = models.DateTimeField()


class AuditEvent(models.Model):
    """Who did what to what, when and why. Rows are only ever added; triggers see to it.

    The actor's name is copied, so the trail still reads after a person has left.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True, help_text="The person; none for the platform.")
    actor_name = models.CharField(max_length=254)
    action = models.CharField(max_length=60, help_text="room.verb, as in accounts.revoke_key")
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=60)
    reason = models.CharField(max_length=500, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    ip = models.GenericIPAddressField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["object_type", "object_id", "-id"], name="edge_audit_object"),
            models.Index(fields=["actor_id", "-id"], name="edge_audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.object_type} {self.object_id}"
