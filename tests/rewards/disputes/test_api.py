"""Disputes over HTTP: who may ask what, and what comes back."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from rewards.actions import SeriesTerms, create_series
from tests.rewards.conftest import person
from tests.rewards.disputes.conftest import EVIDENCE, Court
from tests.rewards.test_api import Caller, code_of

pytestmark = pytest.mark.django_db
_numbers = count(1)


class SignedIn(Caller):
    """Somebody at a browser."""

    def __init__(self, user: User) -> None:
        super().__init__(None)
        self.client = APIClient(raise_request_exception=False)
        self.client.force_login(user)


def said(**more: Any) -> dict[str, Any]:
    return {"problem": "unknown", "evidence": EVIDENCE, **more}


def test_the_whole_way_over_http(court: Court) -> None:
    found = court.reveal()
    ann, iris = Caller(court.ann), Caller(court.iris)
    opened = ann.post(f"reveals/{found.pk}/dispute/", said(), key="dispute-1", form="json")
    assert opened.status_code == 201, opened.json()
    seen = opened.json()
    assert seen["refund"] == {"amount": 400, "asset": "EUR"}
    assert (seen["state"], seen["issuer"], seen["ended_by"]) == ("asked", "iris", None)
    again = ann.post(f"reveals/{found.pk}/dispute/", said(), key="dispute-1", form="json")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (seen, "true")
    [waiting] = iris.get("disputes/?role=issuer&state=asked").json()["results"]
    answer = {"verdict": "contest", "words": EVIDENCE}
    contested = iris.post(f"disputes/{waiting['id']}/answer/", answer, form="json")
    assert contested.json()["state"] == "contested"
    sue = SignedIn(court.sue)
    decision = {"verdict": "refund", "reason": "the till's log"}
    decided = sue.post(f"disputes/{seen['id']}/decide/", decision, form="json")
    assert (decided.status_code, decided.json()["state"]) == (200, "refunded")
    assert court.money(court.ann) == 400
    assert ann.get(f"disputes/{seen['id']}/").json()["ended_by"] == "support"
    assert "CODE-" not in opened.content.decode()


def test_strangers_see_nothing(court: Court) -> None:
    made = court.dispute(court.reveal())
    ben = Caller(court.world.ben)
    assert code_of(ben.get(f"disputes/{made.pk}/")) == (404, "dispute_unknown")
    assert ben.get("disputes/").json()["results"] == []
    answer = {"verdict": "accept"}
    assert code_of(ben.post(f"disputes/{made.pk}/answer/", answer, form="json"))[0] == 404
    assert code_of(ben.post(f"disputes/{made.pk}/withdraw/"))[0] == 404


def test_support_decides_in_person(court: Court) -> None:
    made = court.dispute(court.reveal())
    decision = {"verdict": "refund", "reason": "so"}
    path = f"disputes/{made.pk}/decide/"
    assert code_of(Caller(court.sue).post(path, decision, form="json")) == (403, "session_required")
    assert SignedIn(court.ann).post(path, decision, form="json").status_code == 403
    early = SignedIn(court.sue).post(path, decision, form="json")
    assert code_of(early) == (409, "dispute_moved_on")


@pytest.mark.parametrize(
    "body",
    [{}, [], {"problem": "unknown"}, said(problem="bored"), said(evidence="short"), said(extra=1),
     said(evidence=7), said(evidence="x" * 2_001), said(problem=None)],
)  # fmt: skip
def test_bad_bodies_are_refused(court: Court, body: Any) -> None:
    found = court.reveal()
    answer = Caller(court.ann).post(f"reveals/{found.pk}/dispute/", body, form="json")
    assert code_of(answer) == (400, "invalid_request")
    assert court.secured == (4_000, 0)


def test_a_dispute_needs_a_key(court: Court) -> None:
    path = f"/api/v1/reveals/{court.reveal().pk}/dispute/"
    ann = Caller(court.ann)
    answer = ann.client.post(path, said(), headers=ann.headers, format="json")
    assert code_of(answer) == (400, "idempotency_key_required")


def test_a_guarantee_is_given_and_read(court: Court) -> None:
    create_series(SeriesTerms(code="NEW", title="New", issuer_name="Iris"), actor=None)
    marla, body = Caller(court.world.marla), {
        "issuer": "iris", "refund": {"amount": 300, "asset": "EUR"}, "window_s": 600,
        "answer_s": 600,
    }  # fmt: skip
    made = marla.post("series/NEW/guarantee/", body, form="json")
    assert (made.status_code, made.json()["refund"]["amount"]) == (201, 300)
    assert Caller(None).get("series/NEW/guarantee/").json() == made.json()
    assert code_of(marla.post("series/NEW/guarantee/", body, form="json"))[1] == "guarantee_fixed"
    assert Caller(court.ann).post("series/NEW/guarantee/", body, form="json").status_code == 403
    for wrong in ({"window_s": 1}, {"issuer": "nobody"}, {"refund": {"amount": 0, "asset": "EUR"}}):
        answer = marla.post("series/NEW/guarantee/", body | wrong, form="json")
        assert answer.status_code in (400, 422)


def test_trading_terms_only_loosen_once_codes_are_in(court: Court) -> None:
    marla = Caller(court.world.marla)

    def put(series: str, body: Any) -> Any:
        headers = marla.headers | {"Idempotency-Key": f"terms-{next(_numbers)}"}
        path = f"/api/v1/series/{series}/trading-terms/"
        return marla.client.put(path, body, headers=headers, format="json")

    create_series(SeriesTerms(code="NEW", title="New", issuer_name="Iris"), actor=None)
    tight = {"is_transferable": False, "holding_s": 60, "regions": ["DE"], "stops_before_s": 60}
    assert put("NEW", tight).json() == tight
    assert put("NEW", tight | {"holding_s": 600}).status_code == 200
    refused = put("DRINK", tight)
    assert code_of(refused) == (409, "ownership_rules_only_loosen")
    assert put("NEW", tight | {"regions": ["Germany"]}).status_code == 400
    assert code_of(put("NOWHERE", tight)) == (404, "series_unknown")
    person("zoe")
