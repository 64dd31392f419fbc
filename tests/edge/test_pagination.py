"""Cursors: every row once, in order, whatever is written meanwhile; strange cursors refused."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from edge.models import AuditEvent
from edge.pagination import InvalidCursor, page, read_cursor, write_cursor

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.edge.addresses")]


def write_events(actions: list[str]) -> list[AuditEvent]:
    now = timezone.now()
    return AuditEvent.objects.bulk_create(
        AuditEvent(at=now, actor_name="a", action=action, object_type="t", object_id="1")
        for action in actions
    )


def walk(api: APIClient, address: str) -> list[list[str]]:
    pages = []
    next_address: str | None = address
    while next_address:
        document = api.get(next_address).json()
        pages.append([row["id"] for row in document["results"]])
        next_address = document["next"]
    return pages


def test_pages_hold_every_row_once_newest_first(api: APIClient) -> None:
    ids = [str(event.pk) for event in write_events(["x"] * 7)]
    assert walk(api, "/api/events?limit=3") == [ids[6:3:-1], ids[3:0:-1], ids[:1]]


def test_full_last_page_has_no_next(api: APIClient) -> None:
    write_events(["x"] * 4)
    assert [len(rows) for rows in walk(api, "/api/events?limit=2")] == [2, 2]


def test_empty_list_is_one_empty_page(api: APIClient) -> None:
    assert api.get("/api/events").json() == {"results": [], "next": None}


def test_rows_written_meanwhile_shift_nothing(api: APIClient) -> None:
    ids = [str(event.pk) for event in write_events(["x"] * 4)]
    first = api.get("/api/events?limit=2").json()
    write_events(["x"] * 5)
    second = api.get(first["next"]).json()
    assert [row["id"] for row in second["results"]] == [ids[1], ids[0]]


def test_two_columns_order_together(api: APIClient) -> None:
    rows = write_events(["b", "a", "b", "a", "c"])
    expected = [str(r.pk) for r in sorted(rows, key=lambda r: (r.action, r.pk))]
    assert sum(walk(api, "/api/events-by-action?limit=1"), []) == expected
    assert sum(walk(api, "/api/events-by-action?limit=2"), []) == expected


def test_two_columns_become_one_row_comparison() -> None:
    write_events(["b", "a", "b"])
    key = ("-actor_name", "-id")
    first = page(AuditEvent.objects.all(), key=key, limit=1)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        second = page(AuditEvent.objects.all(), key=key, limit=1, cursor=first.next_cursor)
    assert second.rows[0].pk == first.rows[0].pk - 1
    assert '("edge_auditevent"."actor_name", "edge_auditevent"."id") < (' in queries[0]["sql"]


def test_rows_may_be_values_or_lists() -> None:
    write_events(["a", "b"])
    of_values = page(AuditEvent.objects.values("id"), key=("id",), limit=1)
    of_lists = page(
        AuditEvent.objects.values_list("action", "id"),
        key=("id",),
        limit=1,
        key_of=lambda row: row[1:],
    )
    assert of_values.next_cursor == of_lists.next_cursor is not None


def test_filters_stay_in_the_next_address(api: APIClient) -> None:
    write_events(["x"] * 2)
    address = api.get("/api/events?limit=1&action=a%26b").json()["next"]
    query = parse_qs(urlsplit(address).query)
    assert (query["limit"], query["action"]) == (["1"], ["a&b"])


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.0", "x", "", "00", "٣", "9" * 30])
def test_bad_limit_is_refused(api: APIClient, limit: str) -> None:
    response = api.get("/api/events", {"limit": limit})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_limit")


def test_limit_of_200_is_served(api: APIClient) -> None:
    write_events(["x"] * 201)
    assert len(api.get("/api/events?limit=200").json()["results"]) == 200
    assert len(api.get("/api/events").json()["results"]) == 50


@pytest.mark.parametrize("cursor", ["", "x", "%00", "é", "a" * 5000, "====", "AAAAAAAAAAAAAA"])
def test_strange_cursor_is_refused(api: APIClient, cursor: str) -> None:
    response = api.get("/api/events", {"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


def test_cursor_of_another_list_is_refused(api: APIClient) -> None:
    write_events(["x"] * 2)
    query = urlsplit(api.get("/api/events-by-action?limit=1").json()["next"]).query
    assert api.get(f"/api/events?{query}").json()["code"] == "invalid_cursor"


values = st.lists(st.integers(-(2**63), 2**63) | st.text(max_size=40), min_size=1, max_size=2)


@given(values)
def test_cursor_opens_to_what_was_sealed(values: list[object]) -> None:
    cursor = write_cursor(values, "s")
    assert read_cursor(cursor, "s", len(values)) == values
    for scope, length in (("t", len(values)), ("s", 3)):
        with pytest.raises(InvalidCursor):
            read_cursor(cursor, scope, length)


@given(st.text(max_size=60), st.integers(0, 40), st.characters())
def test_tampered_cursor_is_refused(text: str, place: int, character: str) -> None:
    good = write_cursor([4711], "s")
    changed = good[:place] + character + good[place + 1 :]
    for cursor in (text, changed):
        if cursor != good:
            with pytest.raises(InvalidCursor):
                read_cursor(cursor, "s", 1)
