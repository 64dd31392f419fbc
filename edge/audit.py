"""The audit trail: who did what, when and why, in the same transaction as the deed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection
from django.utils import timezone

from edge.models import AuditEvent

PLATFORM = "platform"
Snapshot = Mapping[str, Any]


class AuditOutsideTransaction(RuntimeError):
    """A bug: the deed could have happened without its audit row, or the reverse."""


def record(
    *,
    actor: AbstractBaseUser | None,
    action: str,
    object_type: str,
    object_id: object,
    reason: str = "",
    before: Snapshot | None = None,
    after: Snapshot | None = None,
    ip: str | None = None,
) -> AuditEvent:
    """Write down a deed. `actor` is the person, or `None` for the platform itself.

    Must run inside the caller's transaction. `before` and `after` hold what changed, as
    plain JSON values; never a secret.
    """
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction(action)
    return AuditEvent.objects.create(
        at=timezone.now(),
        actor_id=actor.pk if actor else None,
        actor_name=actor.get_username() if actor else PLATFORM,
        action=action,
        object_type=object_type,
        object_id=str(object_id),
        reason=reason,
        before=before,
        after=after,
        ip=ip,
    )
