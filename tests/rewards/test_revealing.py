"""Revealing burns one unit and shows one code, once, to its owner."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from edge.models import AuditEvent
from edge.problems import Refusal
from live.models import OutboxEvent
from rewards import units
from rewards.importing import SeriesUnknown
from rewards.models import Reveal, Series, VoucherCode
from rewards.revealing import (
    CodesExpired,
    CodeUnavailable,
    NoUnits,
    Opened,
    RevealUnknown,
    SeriesNotYetValid,
    masked,
    reveal,
    view,
)
from rewards.sealing import new_key
from tests.rewards.conftest import NOW, World, everything
from wallet.accounts import wallet_of
from wallet.items import Status
from wallet.models import Account, Transfer
from wallet.problems import LedgerRefusal

pytestmark = pytest.mark.django_db
ONE = UUID(int=1)


def ask(world: World, request: UUID | None = None, **changes: object) -> Opened:
    asked: dict[str, object] = {
        "series_code": "DRINK",
        "owner": world.ann,
        "request": request or uuid4(),
        "now": NOW,
    }
    return reveal(**asked | changes)  # type: ignore[arg-type]


def shown(opened: Opened) -> str:
    return opened.code.for_its_owner()


def test_reveal_burns_one_unit_and_shows_the_code(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111", "BBBB-2222"])
    opened = ask(world)
    assert (shown(opened), opened.is_replay) == ("AAAA-1111", False)
    assert world.units(world.ann) == 1
    counts = units.counts_of([world.drink.asset_id])[world.drink.asset_id]
    assert (counts.issued, counts.revealed, counts.available) == (2, 1, 1)
    transfer = Transfer.objects.get(pk=opened.reveal.transfer_id)
    assert transfer.reference == f"reveal:{opened.reveal.pk}"


def test_code_that_expires_soonest_goes_first(world: World) -> None:
    world.stock(world.ann, ["LATE-1", "LATE-2"], "2027-12-31")
    world.stock(world.ann, ["SOON-1"], "2026-07-01")
    world.stock(world.ann, ["NEVER-1"], "")
    world.stock(world.ann, ["SOON-2"], "2026-07-01")
    assert [shown(ask(world)) for _ in range(5)] == [
        "SOON-1",
        "SOON-2",
        "LATE-1",
        "LATE-2",
        "NEVER-1",
    ]


def test_same_request_brings_the_same_code_and_burns_nothing(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111", "BBBB-2222"])
    first = ask(world, ONE)
    before = everything()
    again = ask(world, ONE)
    assert (shown(again), again.is_replay) == (shown(first), True)
    assert again.reveal == first.reveal
    assert everything() == before


def test_owner_sees_a_code_again_and_each_look_is_written_down(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111-ZZZZ"])
    made = ask(world, ip="192.0.2.7").reveal
    assert (
        view(reveal_id=made.pk, owner=world.ann, ip="192.0.2.8").code.for_its_owner()
        == "AAAA-1111-ZZZZ"
    )
    ask(world, made.request)
    trail = AuditEvent.objects.filter(object_type="reveal", object_id=str(made.pk)).order_by("id")
    assert list(trail.values_list("action", "actor_id", "ip")) == [
        ("rewards.reveal", world.ann.pk, "192.0.2.7"),
        ("rewards.view_code", world.ann.pk, "192.0.2.8"),
        ("rewards.view_code", world.ann.pk, None),
    ]


def test_nobody_else_sees_the_code(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    made = ask(world).reveal
    for stranger in (world.ben, world.marla):
        with pytest.raises(RevealUnknown):
            view(reveal_id=made.pk, owner=stranger)
    assert not AuditEvent.objects.filter(action="rewards.view_code").exists()


def test_event_tells_the_reveal_and_not_the_code(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111-ZZZZ"])
    made = ask(world).reveal
    event = OutboxEvent.objects.order_by("-id").first()
    assert event is not None
    assert (event.topic, event.key) == ("rewards", "DRINK")
    assert bytes(event.payload).decode() == (
        f'{{"type":"code_revealed","reveal_id":"{made.pk}","series":"DRINK"}}'
    )


def test_list_shows_the_code_masked(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111-ZZZZ"])
    assert masked(ask(world).reveal) == "••••ZZZZ"


def refused(world: World, kind: type[Refusal], **changes: object) -> Refusal:
    """The refusal of a reveal that must leave everything as it was."""
    before = everything()
    with pytest.raises(kind) as caught:
        ask(world, **changes)  # type: ignore[arg-type]
    assert everything() == before
    assert not Reveal.objects.exists()
    assert not AuditEvent.objects.filter(action="rewards.reveal").exists()
    return caught.value


def test_person_without_units_gets_nothing(world: World) -> None:
    world.stock(world.ben, ["AAAA-1111"])
    refused(world, NoUnits)


def test_units_on_hold_cannot_be_revealed(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    Account.objects.filter(owner=world.ann).update(held=1)
    refused(world, NoUnits)


def test_expired_code_is_never_given(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"], "2026-06-10T00:00:00Z")
    at = NOW.replace(day=10, hour=0)
    assert refused(world, CodesExpired, now=at).code == "codes_expired"
    assert shown(ask(world, now=at - timedelta(microseconds=1))) == "AAAA-1111"


def test_expired_codes_are_passed_by(world: World) -> None:
    world.stock(world.ann, ["OLD-1", "OLD-2"], "2026-06-10")
    world.stock(world.ann, ["NEW-1"], "2026-06-20")
    at = NOW.replace(day=15)
    assert shown(ask(world, now=at)) == "NEW-1"
    with pytest.raises(CodesExpired):
        ask(world, now=at)
    assert world.units(world.ann) == 2


def test_series_that_is_not_valid_yet_shows_nothing(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    Series.objects.update(valid_from=NOW + timedelta(days=1))
    assert refused(world, SeriesNotYetValid).members == {
        "valid_from": "2026-06-02T12:00:00.000000Z"
    }


def test_unknown_series_and_draft_are_refused_alike(world: World) -> None:
    refused(world, SeriesUnknown)
    refused(world, SeriesUnknown, series_code="NO-SUCH")


def test_frozen_wallet_reveals_nothing(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    wallet = wallet_of(world.ann.pk, world.drink.asset)
    Account.objects.filter(pk=wallet.pk).update(status=Status.FROZEN)
    assert refused(world, LedgerRefusal).code == "debit_account_frozen"


def test_code_that_cannot_be_opened_burns_nothing(world: World, settings: object) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    settings.CODE_KEYS = [new_key()]  # type: ignore[attr-defined]
    refusal = refused(world, CodeUnavailable)
    assert (refusal.status, refusal.code) == (503, "code_unavailable")


def test_closed_series_still_reveals(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    Series.objects.update(state=Series.State.CLOSED)
    assert shown(ask(world)) == "AAAA-1111"


def test_given_code_never_becomes_available_again(world: World) -> None:
    from django.db import IntegrityError, transaction

    world.stock(world.ann, ["AAAA-1111"])
    made = ask(world).reveal
    for change in (
        lambda: VoucherCode.objects.filter(pk=made.code_id).update(state=0),
        lambda: VoucherCode.objects.filter(pk=made.code_id).delete(),
        lambda: Reveal.objects.filter(pk=made.pk).update(owner=world.ben),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
