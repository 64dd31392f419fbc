"""The page of a code that does not work."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from pytest_django import Settings

from rewards.models import Dispute
from rewards.sealing import new_key
from tests.rewards.disputes.conftest import EVIDENCE, REFUND, Court, make_court

pytestmark = pytest.mark.django_db


@pytest.fixture
def court(db: None, settings: Settings) -> Court:
    settings.CODE_KEYS, settings.CODE_LOOKUP_KEY = [new_key()], new_key()
    return make_court()


def signed_in(court: Court) -> Client:
    client = Client()
    client.force_login(court.ann)
    return client


def key_on(page: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found
    return found[1]


def test_a_fan_asks_for_the_money_back_and_takes_it_back(court: Court) -> None:
    ann, found = signed_in(court), court.reveal()
    path = f"/vouchers/codes/{found.pk}/dispute/"
    assert path in ann.post(f"/vouchers/codes/{found.pk}/").content.decode()
    page = ann.get(path).content.decode()
    assert "guarantees this code until" in page
    said = {"key": key_on(page), "problem": "unknown", "evidence": EVIDENCE}
    assert ann.post(path, said).status_code == 302
    assert ann.post(path, said).status_code == 302
    assert Dispute.objects.count() == 1
    assert "The issuer is asked" in ann.get(path).content.decode()
    assert ann.post(f"{path}withdraw/").status_code == 302
    assert "You took it back" in ann.get(path).content.decode()
    assert court.money(court.iris) == REFUND


def test_what_is_missing_is_said_and_nothing_happens(court: Court) -> None:
    ann, found = signed_in(court), court.reveal()
    path = f"/vouchers/codes/{found.pk}/dispute/"
    key = key_on(ann.get(path).content.decode())
    page = ann.post(path, {"key": key, "problem": "unknown", "evidence": "no"})
    assert "at least 10 characters" in page.content.decode()
    assert not Dispute.objects.exists()


def test_anothers_code_is_not_there(court: Court) -> None:
    found = court.reveal()
    ben = Client()
    ben.force_login(court.world.ben)
    assert ben.get(f"/vouchers/codes/{found.pk}/dispute/").status_code == 404
    assert ben.post(f"/vouchers/codes/{found.pk}/dispute/withdraw/").status_code == 404
