"""An operator searches a code or a person and sees the whole story; each deed has a reason."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from edge.models import AuditEvent
from rewards.models import BulkJob, VoucherCode
from tests.rewards.bulk.conftest import run
from tests.rewards.conftest import code_keys, person
from tests.rewards.redemption.conftest import Till, till

__all__ = ["code_keys", "till"]
ADDRESS = "/admin/rewards/redemption/story/"


def browser(*groups: str) -> Client:
    client = Client()
    client.force_login(
        person("olga", *groups, is_staff=True),
        backend="allauth.account.auth_backends.AuthenticationBackend",
    )
    return client


def page(client: Client, **search: str) -> str:
    answer: Any = client.post(ADDRESS, search)
    assert answer.status_code == 200
    text: str = answer.content.decode()
    return text


def test_code_is_found_masked_with_all_that_happened(till: Till) -> None:
    till.given("CARD", "CARD-0000-1234")
    till.use("CARD-0000-1234", amount_minor=1_200)
    told = page(browser("marketing"), code="CARD-0000-1234")
    assert "••••1234" in told
    assert "CARD-0000" not in told.replace('value="CARD-0000-1234"', "")
    for fact in ("3800 EUR minor", "by @ann", "rewards.redeem", "Fan shop"):
        assert fact in told, fact


def test_person_is_found_with_units_codes_and_deeds(till: Till) -> None:
    till.given("MINE", "MINE-0000-1234")
    till.use("MINE-0000-1234", customer=till.ann)
    told = page(browser("support"), handle="@ann")
    for fact in ("MINE: 0", "••••1234", "rewards.reveal", "confirmed"):
        assert fact in told, fact


def test_generic_code_is_found(till: Till) -> None:
    till.generic("TENOFF", "WELCOME", 5)
    till.use("WELCOME")
    assert "4 of 5 uses left" in page(browser("marketing"), code="welcome")


def test_code_is_taken_out_of_use_with_a_reason(till: Till) -> None:
    till.given("TENOFF", "AAAA-0000-1234", expires_at="2127-01-31")
    code = VoucherCode.objects.get()
    address = f"{ADDRESS}codes/{code.pk}/deactivate/"
    client = browser("marketing")
    assert (
        "This needs a reason" in client.post(address, {"reason": ""}, follow=True).content.decode()
    )
    assert till.euros("voucher_liability") == 1_000
    told = client.post(address, {"reason": "it was stolen"}, follow=True).content.decode()
    assert "deactivated" in told
    assert "it was stolen" in told
    assert till.euros("voucher_liability") == 0
    assert AuditEvent.objects.get(action="rewards.deactivate_code").reason == "it was stolen"


def test_support_reads_and_does_not_change(till: Till) -> None:
    till.given("TENOFF", "AAAA-0000-1234", expires_at="2127-01-31")
    code = VoucherCode.objects.get()
    client = browser("support")
    assert "Take out of use" not in page(client, code="AAAA-0000-1234")
    answer = client.post(f"{ADDRESS}codes/{code.pk}/deactivate/", {"reason": "curious"})
    assert answer.status_code == 403
    assert Client().get(ADDRESS).status_code == 302


@pytest.mark.parametrize("name", ["redemption", "partner", "genericcode", "bulkjob", "present"])
def test_lists_open(till: Till, name: str) -> None:
    till.given("TENOFF", "AAAA-1")
    till.use("AAAA-1")
    till.generic("SCARF", "WELCOME", 5)
    assert browser("marketing").get(f"/admin/rewards/{name}/").status_code == 200


def test_partner_is_made_and_staffed_in_the_admin(till: Till) -> None:
    client = browser("marketing")
    body = {"code": "cafe", "name": "Café", "staff": [till.ben.pk],
            "series": [till.series["TENOFF"].pk]}  # fmt: skip
    assert client.post("/admin/rewards/partner/add/", body).status_code == 302
    cafe = till.shop.__class__.objects.get(code="cafe")
    assert (list(cafe.staff.all()), cafe.series.count()) == ([till.ben], 1)
    actions = AuditEvent.objects.filter(object_type="partner").values_list("action", flat=True)
    assert set(actions) == {
        "rewards.create_partner", "rewards.add_partner_staff", "rewards.add_partner_series",
    }  # fmt: skip


def test_codes_are_made_and_taken_out_from_the_admin(till: Till) -> None:
    client = browser("marketing")
    address = f"/admin/rewards/series/{till.series['OURS'].pk}/bulk/"
    assert client.get(address).status_code == 200
    for deed in ("generate", "export"):
        started = client.post(address, {"deed": deed, "count": "20"})
        bulk = BulkJob.objects.get(kind=deed)
        assert started["Location"] == f"/admin/rewards/bulkjob/{bulk.pk}/change/"
        early = client.get(f"/admin/rewards/bulkjob/{bulk.pk}/codes-csv/", follow=True)
        assert "The export is not done" in early.content.decode()
        run(bulk)
    assert client.get(f"/admin/rewards/bulkjob/{bulk.pk}/change/").status_code == 200
    answer: Any = client.get(f"/admin/rewards/bulkjob/{bulk.pk}/codes-csv/")
    assert b"".join(answer.streaming_content).count(b"SUN-") == 20
    plain = f"/admin/rewards/series/{till.series['TENOFF'].pk}/bulk/"
    refused = client.post(plain, {"deed": "generate", "count": "20"})
    assert "no pattern" in refused.content.decode()
    assert browser_of("support").get(address).status_code == 403


def browser_of(group: str) -> Client:
    client = Client()
    client.force_login(
        person(f"{group}er", group, is_staff=True),
        backend="allauth.account.auth_backends.AuthenticationBackend",
    )
    return client
