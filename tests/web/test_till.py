"""The till as a browser without scripts sees it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from rewards.models import Redemption
from tests.rewards.redemption.conftest import Till, code_keys, till
from tests.web.conftest import BACKEND

__all__ = ["code_keys", "till"]
KEY = "k" * 16


def clerk(till: Till) -> Client:
    browser = Client()
    browser.force_login(till.clerk, backend=BACKEND)
    return browser


def send(browser: Client, code: str, **fields: str) -> Any:
    return browser.post("/till/", {"code": code, "key": KEY, **fields})


def given(till: Till, series: str, code: str) -> None:
    till.given(series, code, expires_at="2127-01-31")


def test_till_is_for_staff_alone(till: Till) -> None:
    fan = Client()
    fan.force_login(till.ann, backend=BACKEND)
    assert fan.get("/till/").status_code == 404
    assert Client().get("/till/").status_code == 302
    assert clerk(till).get("/till/").status_code == 200


def test_code_is_looked_up_and_then_used_once(till: Till) -> None:
    given(till, "TENOFF", "AAAA-1")
    browser = clerk(till)
    looked = send(browser, "AAAA-1").content.decode()
    assert "Use it now" in looked
    assert Redemption.objects.count() == 0
    for _ in range(2):
        used = send(browser, "AAAA-1", confirmed="yes", order="7.50")
    # The second time the look finds it used; the form's own use is not repeated.
    assert used.status_code == 200
    assert [r.value_minor for r in Redemption.objects.all()] == [750]
    assert "has been used" in send(browser, "AAAA-1").content.decode()


def test_gift_balance_is_spent_in_part_and_undone(till: Till) -> None:
    given(till, "CARD", "CCCC-1")
    browser = clerk(till)
    assert "50.00 left of 50.00" in send(browser, "CCCC-1").content.decode()
    assert "decimals" in send(browser, "CCCC-1", confirmed="yes", amount="1.005").content.decode()
    page = send(browser, "CCCC-1", confirmed="yes", amount="12.34").content.decode()
    assert "worth 12.34 EUR" in page
    [address] = re.findall(
        r'action="(/till/\d+/undo/)"', page + browser.get("/till/").content.decode()
    )[:1]
    assert browser.post(address, {"reason": "wrong card"}).status_code == 200
    assert till.euros("settlement") == 0


@pytest.mark.parametrize(("code", "told"), [("NO-SUCH-CODE", "no such code"), ("A", "too short")])
def test_wrong_code_is_told_and_never_in_the_address(till: Till, code: str, told: str) -> None:
    till.shop.series.set([till.series["TENOFF"]])
    page = send(clerk(till), code)
    assert told in page.content.decode()
    assert page.status_code in {404, 422}


def test_personal_voucher_asks_whose_it_is(till: Till) -> None:
    given(till, "MINE", "AAAA-1")
    browser = clerk(till)
    assert "customer&#x27;s handle" in send(browser, "AAAA-1").content.decode()
    refused = send(browser, "AAAA-1", confirmed="yes", handle="ben")
    assert "belongs to somebody else" in refused.content.decode()
    assert "Used:" in send(browser, "AAAA-1", confirmed="yes", handle="ann").content.decode()
