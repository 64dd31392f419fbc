"""The till over HTTP: who may ask, what is answered, what outsiders learn, and that keys hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from edge.models import IdempotencyKey
from rewards.models import BulkJob, CodeImport, Partner, Redemption
from tests.rewards.conftest import person
from tests.rewards.redemption.conftest import Till
from tests.rewards.test_api import Caller

pytestmark = pytest.mark.django_db
TILL = ("redemptions:read", "redemptions:write")


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def clerk(till: Till) -> Caller:
    return Caller(till.clerk, *TILL)


@pytest.fixture
def marla(till: Till) -> Caller:
    return Caller(person("marla", "marketing"))


def given(till: Till, series: str, *codes: str) -> None:
    till.given(series, *codes, expires_at="2127-01-31")


def ask(caller: Caller, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
    return caller.post(path, body, key=key, form="json")


def test_code_is_qualified_reserved_confirmed_and_reversed(till: Till, clerk: Caller) -> None:
    given(till, "TENOFF", "AAAA-1")
    seen = ask(clerk, "redemptions/qualify/", {"code": "AAAA-1", "order": 700}).json()
    assert seen == {
        "qualifies": True, "series": "TENOFF", "title": "TENOFF", "kind": "amount",
        "value": {"amount": 700, "asset": "EUR"}, "balance": None, "reasons": [],
    }  # fmt: skip
    made = ask(clerk, "redemptions/", {"code": "AAAA-1", "order": 700, "reserve_s": 60})
    assert made.status_code == 201
    path = f"redemptions/{made.json()['id']}/"
    assert clerk.post(f"{path}confirm/").json()["state"] == "confirmed"
    again = clerk.post(f"{path}confirm/")
    assert again["Idempotent-Replayed"] == "true"
    assert code_of(clerk.post(f"{path}roll-back/")) == (409, "redemption_moved_on")
    undone = ask(clerk, f"{path}reverse/", {"reason": "returned"}).json()
    assert (undone["state"], undone["value"]["amount"]) == ("reversed", 700)
    assert clerk.get(path).json() == undone
    assert clerk.get("redemptions/").json()["results"] == [undone]


def test_same_key_brings_the_same_redemption(till: Till, clerk: Caller) -> None:
    given(till, "CARD", "CCCC-1")
    body = {"code": "CCCC-1", "amount": 100}
    first = ask(clerk, "redemptions/", body, key="receipt-1")
    again = ask(clerk, "redemptions/", body, key="receipt-1")
    assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
    other = ask(clerk, "redemptions/", body | {"amount": 200}, key="receipt-1")
    assert code_of(other) == (422, "idempotency_key_reused")
    assert till.euros("settlement") == 100
    # Nothing remembers the body, which holds a code.
    assert not IdempotencyKey.objects.exists()


def test_outsider_learns_nothing_whatever_they_send(till: Till) -> None:
    given(till, "TENOFF", "AAAA-1")
    fan = Caller(till.ann, *TILL)
    for path in ("redemptions/", "redemptions/qualify/"):
        answers = {
            ask(fan, path, {"code": code}).content for code in ("AAAA-1", "NONE-1", "!", "x" * 200)
        }
        assert len(answers) == 1
    assert code_of(fan.get("redemptions/")) == (403, "not_a_partner")
    assert code_of(fan.get("redemptions/1/")) == (403, "not_a_partner")
    assert code_of(fan.post("redemptions/1/confirm/")) == (403, "not_a_partner")


def test_key_needs_the_scope(till: Till) -> None:
    without = Caller(till.clerk)
    refused = ask(without, "redemptions/qualify/", {"code": "AAAA-1"})
    assert code_of(refused) == (403, "scope_missing")
    reader = Caller(till.clerk, "redemptions:read")
    assert reader.get("redemptions/").status_code == 200
    assert code_of(ask(reader, "redemptions/", {"code": "A"})) == (403, "scope_missing")
    assert Caller(None).get("redemptions/").status_code == 401


def test_clerk_of_two_partners_says_for_which(till: Till, clerk: Caller) -> None:
    given(till, "SCARF", "AAAA-1")
    cafe = Partner.objects.create(code="cafe", name="Café")
    cafe.staff.add(till.clerk)
    assert code_of(ask(clerk, "redemptions/", {"code": "AAAA-1"})) == (422, "partner_missing")
    elsewhere = ask(clerk, "redemptions/", {"code": "AAAA-1", "partner": "cafe"})
    assert code_of(elsewhere) == (404, "code_unknown")
    here = ask(clerk, "redemptions/", {"code": "AAAA-1", "partner": "fan-shop"})
    assert here.json()["partner"] == "fan-shop"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": 5},
        {"code": "AAAA-1", "amount": 0},
        {"code": "AAAA-1", "amount": 1.5},
        {"code": "AAAA-1", "amount": "100"},
        {"code": "AAAA-1", "order": -1},
        {"code": "AAAA-1", "reserve_s": 0},
        {"code": "AAAA-1", "reserve_s": 86_401},
        {"code": "AAAA-1", "reserve_s": "soon"},
        {"code": "AAAA-1", "surprise": 1},
        {"code": "x" * 201},
        {"code": "AAAA-1", "reference": "y" * 81},
        {"code": "AAAA\x00-1"},
        [],
        "text",
    ],
)
def test_bad_body_is_refused_and_changes_nothing(till: Till, clerk: Caller, body: Any) -> None:
    given(till, "CARD", "AAAA-1")
    answer = ask(clerk, "redemptions/", body)
    assert answer.status_code in {400, 422}
    assert answer["Content-Type"] == "application/problem+json"
    assert not Redemption.objects.exists()


def test_write_without_a_key_is_refused(till: Till, clerk: Caller) -> None:
    given(till, "SCARF", "AAAA-1")
    answer = clerk.client.post(
        "/api/v1/redemptions/", {"code": "AAAA-1"}, headers=clerk.headers, format="json"
    )
    assert code_of(answer) == (400, "idempotency_key_required")


# -- marketing -----------------------------------------------------------------------------------


def test_partner_is_set_up_staffed_and_given_series(till: Till, marla: Caller) -> None:
    made = ask(marla, "partners/", {"code": "cafe", "name": "Café"})
    assert (made.status_code, made.json()["staff"]) == (201, [])
    assert code_of(ask(marla, "partners/", {"code": "cafe", "name": "Two"})) == (
        409, "partner_exists",
    )  # fmt: skip
    assert code_of(ask(marla, "partners/", {"code": "CAFE!", "name": "x"})) == (
        422, "partner_invalid",
    )  # fmt: skip
    put = marla.client.put
    headers = marla.headers
    path = "/api/v1/partners/cafe/"
    put(f"{path}staff/", {"handle": "ben"}, headers=headers, format="json")
    now = put(f"{path}series/", {"series": "TENOFF"}, headers=headers, format="json").json()
    assert (now["staff"], now["series"]) == (["ben"], ["TENOFF"])
    gone = put(f"{path}staff/", {"handle": "ben", "redeems": False}, headers=headers, format="json")
    assert gone.json()["staff"] == []


def test_generic_code_over_http(till: Till, marla: Caller, clerk: Caller) -> None:
    body = {"code": "welcome10", "use_limit": 2, "person_limit": 1}
    made = ask(marla, "series/TENOFF/generic-codes/", body).json()
    assert (made["code"], made["uses_left"]) == ("WELCOME10", 2)
    ask(clerk, "redemptions/", {"code": "Welcome10", "customer": "ann"})
    [listed] = marla.get("series/TENOFF/generic-codes/").json()["results"]
    assert listed["uses_left"] == 1
    ended = ask(marla, f"generic-codes/{made['id']}/deactivate/", {"reason": "abuse"}).json()
    assert (ended["is_active"], ended["uses_left"]) == (False, 0)
    refused = ask(clerk, "redemptions/", {"code": "WELCOME10", "customer": "ben"})
    assert code_of(refused) == (409, "voucher_deactivated")
    again = ask(marla, "series/TENOFF/generic-codes/", body)
    assert code_of(again) == (409, "generic_code_exists")
    gift = ask(marla, "series/CARD/generic-codes/", {"code": "FREE50", "use_limit": 9})
    assert code_of(gift) == (422, "kind_not_generic")


def test_work_is_started_watched_and_held_up_over_http(till: Till, marla: Caller) -> None:
    started = ask(marla, "series/OURS/generations/", {"count": 100})
    assert started.status_code == 202
    where = started["Location"].removeprefix("/api/v1/")
    assert marla.get(where).json()["state"] == "queued"
    held = ask(marla, f"{where}pause/", {"reason": "the shop opens"})
    assert held.json()["state"] == "paused"
    assert ask(marla, f"{where}resume/", {"reason": "closed"}).json()["state"] == "queued"
    assert ask(marla, f"{where}cancel/", {"reason": "no more"}).json()["state"] == "cancelled"
    assert code_of(ask(marla, f"{where}pause/", {"reason": "late"})) == (409, "bulk_job_ended")
    assert [each["kind"] for each in marla.get("series/OURS/bulk-jobs/").json()["results"]] == [
        "generate"
    ]
    assert code_of(marla.get("bulk-jobs/999/")) == (404, "bulk_job_unknown")
    fan = Caller(till.ann)
    assert fan.get(where).status_code == 403


def test_large_file_becomes_a_job_and_a_small_one_does_not(till: Till, marla: Caller) -> None:
    def offer(content: bytes, **fields: str) -> Any:
        file = SimpleUploadedFile("codes.csv", content, content_type="text/csv")
        return marla.post("series/SCARF/imports/", {"file": file, **fields}, form="multipart")

    assert offer(b"code\nAAAA-1\n").status_code == 201
    small = offer(b"code\nAAAA-2\n", background="true")
    assert (small.status_code, small.json()["kind"]) == (202, "import")
    large = offer(b"code\n" + b"".join(b"CODE-%08d\n" % n for n in range(75_000)))
    assert large.status_code == 202
    assert BulkJob.objects.filter(kind="import").count() == 2
    assert CodeImport.objects.filter(state="importing").count() == 2


def test_revealed_code_is_drawn_for_its_owner(till: Till) -> None:
    given(till, "SCARF", "AAAA-1")
    ann = Caller(till.ann)
    [reveal] = ann.get("reveals/").json()["results"]
    for form in ("qr", "code128"):
        image = ann.get(f"reveals/{reveal['id']}/image.{form}")
        assert image["Content-Type"] == "image/svg+xml"
        assert image["Cache-Control"] == "no-store"
    assert code_of(ann.get(f"reveals/{reveal['id']}/image.png")) == (404, "image_unknown")
    assert code_of(Caller(till.ben).get(f"reveals/{reveal['id']}/image.qr")) == (
        404, "reveal_unknown",
    )  # fmt: skip


def test_present_over_http(till: Till) -> None:
    from tests.rewards.conftest import World

    world = World(till.series["SCARF"], till.clerk, till.ann, till.ben)
    world.offer("code\nAAAA-1\n", owner=till.ann, series_code="SCARF")
    ann, ben = Caller(till.ann), Caller(till.ben)
    made = ask(ann, "presents/", {"series": "SCARF", "to": "ben", "message": "Hi"}, key="one")
    assert (made.status_code, made.json()["from"], made.json()["to"]) == (201, "ann", "ben")
    again = ask(ann, "presents/", {"series": "SCARF", "to": "ben", "message": "Hi"}, key="one")
    assert again["Idempotent-Replayed"] == "true"
    path = f"presents/{made.json()['id']}/"
    assert code_of(ann.post(f"{path}accept/")) == (404, "present_unknown")
    assert ben.post(f"{path}accept/").json()["state"] == "accepted"
    assert ben.get("presents/").json()["results"][0]["state"] == "accepted"
    assert world.units(till.ben) == 1
