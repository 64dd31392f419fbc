"""The audit trail only grows, and goes with its deed."""

from __future__ import annotations

import pytest
from django.contrib.admin.sites import site
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory

from edge.audit import AuditOutsideTransaction, record
from edge.models import AuditEvent


def write() -> AuditEvent:
    return record(
        actor=None,
        action="wallet.freeze",
        object_type="account",
        object_id=7,
        reason="fraud",
        before={"status": "open"},
        after={"status": "frozen"},
        ip="2001:db8::1",
    )


@pytest.mark.django_db
def test_deed_is_written_down_whole() -> None:
    event = AuditEvent.objects.get(pk=write().pk)
    assert (event.actor_id, event.actor_name) == (None, "platform")
    assert (event.object_type, event.object_id, event.reason) == ("account", "7", "fraud")
    assert (event.before, event.after) == ({"status": "open"}, {"status": "frozen"})
    assert event.ip == "2001:db8::1"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change", ["UPDATE edge_auditevent SET reason = ''", "DELETE FROM edge_auditevent"]
)
def test_written_rows_cannot_be_changed(change: str) -> None:
    event = write()
    with pytest.raises(IntegrityError, match="only ever added"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)
    assert AuditEvent.objects.get(pk=event.pk).reason == "fraud"


@pytest.mark.django_db(transaction=True)
def test_deed_outside_a_transaction_is_a_bug() -> None:
    with pytest.raises(AuditOutsideTransaction):
        write()
    assert AuditEvent.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_deed_rolled_back_leaves_no_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        with transaction.atomic():
            write()
            raise ZeroDivisionError
    assert AuditEvent.objects.count() == 0


def test_admin_only_reads() -> None:
    request = RequestFactory().get("/")
    admin = site.get_model_admin(AuditEvent)
    assert not admin.has_add_permission(request)
    assert not admin.has_change_permission(request)
    assert not admin.has_delete_permission(request)
