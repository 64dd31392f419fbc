"""A write asked twice is done once, whoever asks when, and however it ends."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory

from edge import idempotency
from edge.idempotency import fingerprint_of, forget_old_keys, slot_at
from edge.models import AuditEvent, IdempotencyKey
from jobs.tasks import forget_old_keys as forget_old_keys_task
from tests.edge import addresses

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.edge.addresses")]


def ask(
    api: APIClient, body: Any, key: str | None = "k", path: str = "/api/deeds", caller: int = 1
) -> Any:
    headers = {"X-Caller": str(caller)} | ({} if key is None else {"Idempotency-Key": key})
    return api.post(path, body, headers=headers)


def deeds() -> int:
    return AuditEvent.objects.count()


def test_repeat_gets_the_same_answer_and_does_nothing(api: APIClient) -> None:
    first = ask(api, {"a": 1, "b": [2]})
    again = ask(api, {"b": [2], "a": 1})
    assert (first.status_code, deeds()) == (201, 1)
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Content-Type"] == first["Content-Type"] == "application/json"


def test_same_key_with_another_body_is_refused(api: APIClient) -> None:
    ask(api, {"a": 1})
    for body in ({"a": 2}, {"a": 1.0}, {"a": "1"}, {}, [1]):
        response = ask(api, body)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert deeds() == 1


def test_key_belongs_to_person_method_and_path(api: APIClient) -> None:
    ask(api, {})
    ask(api, {}, caller=2)
    ask(api, {}, path="/api/other-deeds")
    ask(api, {}, key="K")
    assert deeds() == IdempotencyKey.objects.count() == 4


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 256, "a\x7f", "a\tb"])
def test_strange_key_is_refused(api: APIClient, key: str) -> None:
    response = ask(api, {}, key)
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_invalid")
    assert deeds() == 0


def test_missing_key_is_refused(api: APIClient) -> None:
    assert ask(api, {}, None).json()["code"] == "idempotency_key_required"
    assert deeds() == 0


@pytest.mark.parametrize("key", ["a", "!" * 255, "~{}"])
def test_visible_key_is_taken(api: APIClient, key: str) -> None:
    assert ask(api, {}, key).status_code == 201


def test_final_refusal_is_remembered_and_its_effect_rolled_back(api: APIClient) -> None:
    first = ask(api, {"end": "refuse"})
    again = ask(api, {"end": "refuse"})
    assert first.status_code == 422
    assert first.json()["available"] == 3
    assert again["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert again["Content-Type"] == "application/problem+json"
    assert deeds() == 0


@pytest.mark.parametrize(("end", "status"), [("overload", 503), ("bug", 500), ("invalid", 400)])
def test_passing_failure_leaves_the_key_free(api: APIClient, end: str, status: int) -> None:
    assert ask(api, {"end": end}).status_code == status
    assert (deeds(), IdempotencyKey.objects.count()) == (0, 0)
    assert ask(api, {"end": "well"}).status_code == 201


def test_lost_commit_loses_answer_and_effect_together(api: APIClient) -> None:
    def ask_and_lose() -> None:
        with transaction.atomic():
            assert ask(api, {}).status_code == 201
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        ask_and_lose()
    assert (deeds(), IdempotencyKey.objects.count()) == (0, 0)


def test_second_request_hears_that_the_first_is_at_work() -> None:
    addresses.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask_in_thread, {"end": "wait"})
        assert addresses.entered.acquire(timeout=10)
        second = ask(APIClient(), {"end": "wait"})
        addresses.gate.set()
        assert first.result(10)[0] == 201
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_use")
    assert second["Retry-After"] == "1"
    assert ask(APIClient(), {"end": "wait"})["Idempotent-Replayed"] == "true"
    assert deeds() == 1


def ask_in_thread(body: Any, start: threading.Barrier | None = None) -> tuple[int, bytes]:
    """Ask as a server would: from a thread with its own connection, again after a 409."""
    try:
        if start:
            start.wait(10)
        response = ask(APIClient(raise_request_exception=False), body)
        while response.status_code == 409:
            response = ask(APIClient(raise_request_exception=False), body)
        return response.status_code, response.content
    finally:
        connection.close()


def race(rounds: int = 10, width: int = 8) -> int:
    """Let `width` threads send one key at once, `rounds` times; say how often it went wrong."""
    wrong = 0
    for number in range(rounds):
        before = deeds()
        start = threading.Barrier(width)
        body = {"round": number}
        with ThreadPoolExecutor(width) as pool:
            answers = [pool.submit(ask_in_thread, body, start) for _ in range(width)]
            distinct = {answer.result(30) for answer in answers}
        IdempotencyKey.objects.all().delete()
        wrong += (len(distinct), deeds() - before) != (1, 1)
    return wrong


@pytest.fixture
def month_is_turning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer goes to another partition, so no primary key tells two of them apart."""
    slots = itertools.cycle(range(4))
    monkeypatch.setattr(idempotency, "slot_at", lambda now: next(slots))


def test_racing_repeats_do_it_once() -> None:
    assert race() == 0


@pytest.mark.usefixtures("month_is_turning")
def test_racing_repeats_do_it_once_while_the_month_turns() -> None:
    assert race() == 0


@pytest.mark.usefixtures("month_is_turning")
def test_control_without_the_lock_the_race_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_lock", lambda claim: None)
    assert race() > 0


def test_uploads_are_told_apart_by_their_content() -> None:
    def fingerprint(content: bytes, name: str = "codes") -> bytes:
        upload = SimpleUploadedFile("codes.csv", content)
        wsgi = APIRequestFactory().post("/", {name: upload, "series": "A"}, format="multipart")
        request = Request(wsgi, parsers=[MultiPartParser()])
        before = fingerprint_of(request)
        assert request.FILES[name].read() == content
        return before

    assert fingerprint(b"a,b") == fingerprint(b"a,b")
    assert len({fingerprint(b"a,b"), fingerprint(b"a,c"), fingerprint(b"a,b", "other")}) == 3


def store(month: int, year: int = 2026) -> None:
    moment = datetime(year, month, 15, tzinfo=UTC)
    IdempotencyKey.objects.create(
        slot=slot_at(moment),
        digest=f"00000000-0000-0000-0000-{month:012}",
        fingerprint=b"x" * 32,
        status=200,
        content_type="application/json",
        body=b"{}",
        created_at=moment,
    )


def test_keys_are_kept_for_two_whole_months_more() -> None:
    for month in (3, 4, 5, 6):
        store(month)
    assert forget_old_keys(datetime(2026, 6, 1, tzinfo=UTC)) == 1
    assert forget_old_keys(datetime(2026, 6, 2, tzinfo=UTC)) == 0
    kept = IdempotencyKey.objects.order_by("created_at").values_list("created_at", flat=True)
    assert [moment.month for moment in kept] == [4, 5, 6]


def test_night_task_empties_only_what_is_old() -> None:
    now = datetime.now(UTC)
    store(now.month, now.year)
    assert forget_old_keys_task() == 0
    assert IdempotencyKey.objects.count() == 1


def test_key_of_an_earlier_month_is_still_found(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(api, {})
    IdempotencyKey.objects.update(slot=(slot_at(datetime.now(UTC)) + 3) % 4)
    assert ask(api, {}).content == first.content
    assert deeds() == 1
