"""Disputes, guarantees, busts and residences in the admin: pages open, deeds ask for a reason."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import Residence, User
from edge.models import AuditEvent
from orderbook.models import Bust, Fill
from rewards.disputes import actions
from rewards.models import Dispute
from tests.orderbook.venue import Venue
from tests.rewards.conftest import person
from tests.rewards.disputes.conftest import EVIDENCE, REFUND, Court

pytestmark = pytest.mark.django_db


def at(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def boss(handle: str) -> User:
    found = person(handle, is_staff=True)
    found.is_superuser = True
    found.save()
    return found


def do(client: Client, path: str, action: str, rows: list[int], reason: str = "so it is") -> Any:
    body = {"action": action, "_selected_action": rows, "reason": reason}
    return client.post(f"/admin/{path}/", body, follow=True)


def test_support_decides_disputes(court: Court) -> None:
    User.objects.filter(pk=court.sue.pk).update(is_staff=True)
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    sue = at(User.objects.get(pk=court.sue.pk))
    assert sue.get("/admin/rewards/guarantee/").status_code == 200
    assert "contested" in sue.get("/admin/rewards/dispute/").content.decode()
    assert do(sue, "rewards/dispute", "refund", [made.pk]).status_code == 200
    assert Dispute.objects.get().state == Dispute.State.REFUNDED
    assert court.money(court.ann) == REFUND


def test_marketing_looks_and_does_not_decide(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    marla = at(court.world.marla)
    assert marla.get("/admin/rewards/dispute/").status_code == 200
    assert do(marla, "rewards/dispute", "refund", [made.pk]).status_code == 403
    assert Dispute.objects.get().state == Dispute.State.CONTESTED


def test_two_people_bust_a_trade(db: None) -> None:
    venue = Venue()
    venue.join("sam", units=10)
    venue.join("bea", points=10_000)
    venue.run(venue.place("sam", "sell", 100, 2), venue.place("bea", "buy", 100, 2))
    fill, one, two = Fill.objects.latest("pk"), at(boss("olga")), at(boss("otto"))
    assert do(one, "orderbook/fill", "ask_bust", [fill.pk]).status_code == 200
    bust = Bust.objects.get()
    own = do(one, "orderbook/bust", "approve", [bust.pk])
    assert "Somebody else must decide this request" in own.content.decode()
    assert do(two, "orderbook/bust", "approve", [bust.pk]).status_code == 200
    bust.refresh_from_db()
    assert bust.state == Bust.State.APPROVED
    assert venue.units_of("sam") == (10, 0)


def test_a_residence_is_set_with_a_reason(court: Court) -> None:
    client = at(boss("olga"))
    body = {"person": court.ann.pk, "region": "DE-BY", "source": "document", "reason": "passport"}
    assert client.post("/admin/accounts/residence/add/", body).status_code == 302
    assert Residence.objects.get().region == "DE-BY"
    assert AuditEvent.objects.get(action="accounts.set_region").reason == "passport"
    wrong = client.post(
        "/admin/accounts/residence/add/", body | {"person": court.sue.pk, "region": "germany"}
    )
    assert wrong.status_code == 200
    assert Residence.objects.count() == 1
