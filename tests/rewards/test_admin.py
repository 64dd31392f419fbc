"""The admin: marketing runs series and imports, reads reports, and nobody sees a code."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from edge.models import AuditEvent
from rewards.models import CodeImport, Reveal, Series, VoucherCode
from rewards.revealing import reveal
from tests.rewards.conftest import NOW, World, everything, person
from wallet.models import Asset

pytestmark = pytest.mark.django_db
SERIES = "/admin/rewards/series/"
IMPORTS = "/admin/rewards/codeimport/"
REVEALS = "/admin/rewards/reveal/"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def marla(world: World) -> Client:
    return signed_in(world.marla)


def upload(client: Client, world: World, content: bytes, **fields: str) -> Any:
    form = {"file": SimpleUploadedFile("drinks.csv", content), "owner": "", **fields}
    return client.post(f"{SERIES}{world.drink.pk}/import/", form, follow=True)


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def test_marketer_uploads_a_file_and_sees_what_became_of_it(world: World, marla: Client) -> None:
    page = text_of(upload(marla, world, b"code\nAAAA-1111\nBBBB-2222\n", owner="@ann"))
    assert "Imported 2 codes, with as many units." in page
    assert world.units(world.ann) == 2
    assert "AAAA-1111" not in page


def test_refused_file_shows_its_lines(world: World, marla: Client) -> None:
    before = everything()
    page = text_of(upload(marla, world, b"code\nAAAA-1111\nAB\nAAAA-1111\n"))
    assert "Refused: 2 faults and 0 warnings in 3 rows. Nothing was imported." in page
    assert "The code is shorter than 4 characters." in page
    assert "The same code stands in line 2." in page
    assert everything() == before


def test_check_only_shows_the_report_and_stores_nothing(world: World, marla: Client) -> None:
    page = text_of(upload(marla, world, b"code\nAAAA-1111\nAB\n", is_dry_run="on"))
    assert "Checked 2 rows: 1 fault and 0 warnings. Nothing was imported." in page
    assert "The code is shorter than 4 characters." in page
    assert not CodeImport.objects.exists()


def test_upload_page_says_why_it_refuses(world: World, marla: Client) -> None:
    upload(marla, world, b"code\nAAAA-1111\n")
    again = text_of(upload(marla, world, b"code\nAAAA-1111\n"))
    assert "This file was imported before" in again
    assert "There is no such person." in text_of(
        upload(marla, world, b"code\nB", owner="nobody_here")
    )
    assert "This field is required." in text_of(marla.post(f"{SERIES}{world.drink.pk}/import/", {}))


def test_upload_needs_the_token(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.marla)
    assert upload(client, world, b"code\nAAAA-1111\n").status_code == 403
    assert not CodeImport.objects.exists()


def test_template_is_a_file_that_imports(world: World, marla: Client) -> None:
    response = marla.get(reverse("admin:rewards_series_download_template"))
    assert response["Content-Disposition"] == 'attachment; filename="codes.csv"'
    assert world.offer(response.content).is_clean


@pytest.mark.parametrize("groups", [("support",), ("finance",), ()])
def test_others_cannot_import(world: World, groups: tuple[str, ...]) -> None:
    client = signed_in(person("sam", *groups, is_staff=True))
    assert upload(client, world, b"code\nAAAA-1111\n").status_code == 403
    assert not CodeImport.objects.exists()


def test_support_reads_and_changes_nothing(world: World) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    client = signed_in(person("sam", "support", is_staff=True))
    for place in (SERIES, IMPORTS, REVEALS, f"{SERIES}{world.drink.pk}/change/"):
        assert client.get(place).status_code == 200
    assert client.get(f"{SERIES}add/").status_code == 403


def terms(**changes: str) -> dict[str, str]:
    return {
        "code": "SEAT",
        "title": "A seat",
        "issuer_name": "The Club",
        "description": "",
        "terms": "",
        "face_value_minor": "3500",
        "face_value_asset": str(Asset.objects.get(code="EUR").pk),
        "check_scheme": "none",
    } | changes


def test_marketer_sets_up_a_series(world: World, marla: Client) -> None:
    response = marla.post(f"{SERIES}add/", terms(), follow=True)
    assert response.status_code == 200
    made = Series.objects.get(asset__code="SEAT")
    assert (made.state, made.face_value_minor, made.created_by) == ("draft", 3500, world.marla)
    assert AuditEvent.objects.filter(action="rewards.create_series", object_id="SEAT").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "DRINK"}, "There is an asset of this code already."),
        ({"code": "small"}, "Enter a valid value."),
        ({"face_value_asset": ""}, "A face value has an amount and a currency."),
        ({"face_value_minor": "0"}, "A face value is at least 1."),
        (
            {
                "valid_from_0": "2127-01-02", "valid_from_1": "00:00",
                "expires_at_0": "2127-01-01", "expires_at_1": "00:00",
            },
            "A series expires after it becomes valid.",
        ),
    ],
)  # fmt: skip
def test_bad_terms_are_shown_and_make_nothing(
    world: World, marla: Client, change: dict[str, str], message: str
) -> None:
    assert message in text_of(marla.post(f"{SERIES}add/", terms(**change)))
    assert Series.objects.count() == 1


def test_what_was_promised_stays_and_what_is_said_may_change(world: World, marla: Client) -> None:
    place = f"{SERIES}{world.drink.pk}/change/"
    form = terms(title="A cold drink", face_value_minor="1", code="OTHER")
    assert marla.post(place, form, follow=True).status_code == 200
    world.drink.refresh_from_db()
    seen = (world.drink.title, world.drink.face_value_minor, world.drink.code)
    assert seen == ("A cold drink", 250, "DRINK")
    event = AuditEvent.objects.get(action="rewards.describe_series")
    assert event.after == {"title": "A cold drink", "issuer_name": "The Club"}
    assert event.before == {"title": "A drink at the stadium", "issuer_name": "Stadium Catering"}


def test_counts_come_with_the_list(world: World, marla: Client) -> None:
    world.stock(world.ann, ["AAAA-1111", "BBBB-2222", "CCCC-3333"])
    reveal(series_code="DRINK", owner=world.ann, request=uuid4(), now=NOW)
    page = text_of(marla.get(SERIES))
    [row] = [part for part in page.split("<tr") if "A drink at the stadium" in part]
    for column, count in (("issued", 3), ("revealed", 1), ("available", 2)):
        assert f">{count}<" in "".join(row.split(f"field-{column}")[1].split())[:900], column


def test_series_closes_and_opens_with_a_reason(world: World, marla: Client) -> None:
    world.stock(world.ann, ["AAAA-1111"])
    for name, state in (("close", "closed"), ("reopen", "issued")):
        form = {"action": name, "_selected_action": [world.drink.pk], "reason": "end of season"}
        marla.post(SERIES, form, follow=True)
        world.drink.refresh_from_db()
        assert world.drink.state == state
    events = AuditEvent.objects.filter(object_id="DRINK", reason="end of season")
    assert list(events.order_by("id").values_list("action", flat=True)) == [
        "rewards.close_series",
        "rewards.reopen_series",
    ]


def test_import_is_withdrawn_with_a_reason(world: World, marla: Client) -> None:
    outcome = world.offer("code\nAAAA-1111\nBBBB-2222\n")
    assert outcome.code_import is not None
    form = {"action": "withdraw", "_selected_action": [outcome.code_import.pk]}
    assert "Withdraw the codes" in text_of(marla.post(IMPORTS, form, follow=True))
    page = text_of(marla.post(IMPORTS, form | {"reason": "wrong file"}, follow=True))
    assert "2 codes withdrawn." in page
    assert set(VoucherCode.objects.values_list("state", flat=True)) == {2}


def test_no_page_shows_a_code(world: World) -> None:
    world.stock(world.ann, ["SECRET-AAAA-1111", "SECRET-BBBB-2222"])
    made = reveal(series_code="DRINK", owner=world.ann, request=uuid4(), now=NOW).reveal
    boss = signed_in(person("boss", is_staff=True))
    User.objects.filter(handle="boss").update(is_superuser=True)
    imported = CodeImport.objects.get()
    places = [
        SERIES, IMPORTS, REVEALS, "/admin/edge/auditevent/", f"{REVEALS}?q={made.pk}",
        f"{SERIES}{world.drink.pk}/change/", f"{IMPORTS}{imported.pk}/change/",
        f"{REVEALS}{made.pk}/change/",
    ]  # fmt: skip
    for place in places:
        page = text_of(boss.get(place))
        assert "SECRET" not in page
        assert "1111" not in page, place
    assert Reveal.objects.count() == 1
