"""A key's own rate at the gateway: given with a reason, audited, followed by every keyring."""

from __future__ import annotations

import asyncio

import pytest
from django.db import connection
from django.test import Client

from accounts.actions import RateOutOfRange, ReasonMissing, create_key, set_rate
from accounts.keyring import Keyring
from accounts.models import User
from accounts.scopes import Scope
from edge.database import database_conninfo
from edge.models import AuditEvent
from edge.rates import Rate


def make_key(handle: str = "ann") -> tuple[int, str]:
    owner = User.objects.create_user(f"{handle}@scrip.example", handle=handle)
    made = create_key(owner, name="bot", scopes=[Scope.ORDERS_WRITE])
    return made.key.pk, made.token


@pytest.mark.django_db
def test_a_rate_is_given_and_taken_away_with_a_reason() -> None:
    key_id, _ = make_key()
    set_rate(key_id, per_s=500, burst=2_000, by=None, reason="market maker")
    set_rate(key_id, per_s=None, burst=None, by=None, reason="left")
    deeds = AuditEvent.objects.filter(action="accounts.set_rate").order_by("id")
    assert [(deed.before, deed.after) for deed in deeds] == [
        ({"per_s": None, "burst": None}, {"per_s": 500, "burst": 2_000}),
        ({"per_s": 500, "burst": 2_000}, {"per_s": None, "burst": None}),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("per_s", "burst"), [(None, 5), (5, None), (0, 5), (5, 0), (1_000_001, 5), (5, 1_000_001)]
)
def test_half_a_rate_or_one_out_of_range_is_refused(per_s: int | None, burst: int | None) -> None:
    key_id, _ = make_key()
    with pytest.raises(RateOutOfRange):
        set_rate(key_id, per_s=per_s, burst=burst, by=None, reason="why")
    with pytest.raises(ReasonMissing):
        set_rate(key_id, per_s=5, burst=5, by=None, reason=" ")
    assert not AuditEvent.objects.filter(action="accounts.set_rate").exists()


@pytest.mark.django_db(transaction=True)
def test_a_keyring_follows_within_a_second() -> None:
    key_id, token = make_key()

    def change(per_s: int | None, burst: int | None) -> None:
        set_rate(key_id, per_s=per_s, burst=burst, by=None, reason="why")
        connection.close()

    async def follow() -> list[Rate | None]:
        async with Keyring(database_conninfo()) as keyring:
            await keyring.loaded(5)
            rates = [keyring.grant_for(f"Bearer {token}").rate]
            for per_s, burst in ((500, 2_000), (None, None)):
                await asyncio.to_thread(change, per_s, burst)
                await asyncio.sleep(1)
                rates.append(keyring.grant_for(f"Bearer {token}").rate)
            return rates

    assert asyncio.run(follow()) == [None, Rate(500, 2_000), None]


@pytest.mark.django_db
def test_a_clerk_sets_it_in_the_admin(client: Client) -> None:
    key_id, _ = make_key()
    boss = User.objects.create_superuser("boss@scrip.example", "x" * 20, handle="boss")
    client.force_login(boss, backend="allauth.account.auth_backends.AuthenticationBackend")
    url = f"/admin/accounts/apikey/{key_id}/change/"
    assert client.get(url).status_code == 200
    form = {"rate_per_s": "50", "rate_burst": "", "reason": "too loud"}
    assert client.post(url, form).status_code == 200
    assert client.post(url, form | {"rate_burst": "100"}).status_code == 302
    [deed] = AuditEvent.objects.filter(action="accounts.set_rate")
    assert (deed.after, deed.reason) == ({"per_s": 50, "burst": 100}, "too loud")
