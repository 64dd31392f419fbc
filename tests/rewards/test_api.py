"""Vouchers over HTTP: who may do what, what is answered, and what is never shown."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.actions import create_key
from accounts.models import User
from accounts.scopes import Scope
from edge.models import AuditEvent, IdempotencyKey
from rewards.models import CodeImport, Reveal, Series, VoucherCode
from tests.rewards.conftest import World, everything

pytestmark = pytest.mark.django_db
THREE = b"code,expires_at\nAAAA-1111-WXYZ,2127-01-31\nBBBB-2222-WXYZ,\nCCCC-3333-WXYZ,\n"
_keys = count(1)


class Caller:
    """Somebody with an API key. Each write has a new idempotency key unless one is given."""

    def __init__(self, owner: User | None, *scopes: str) -> None:
        self.client = APIClient(raise_request_exception=False)
        self.headers: dict[str, str] = {}
        if owner is not None:
            names = scopes or ("rewards:read", "rewards:write")
            made = create_key(owner, name="test", scopes=[Scope(name) for name in names])
            self.headers["Authorization"] = f"Bearer {made.token}"

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.headers)

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, form: str | None = None
    ) -> Any:
        headers = self.headers | {"Idempotency-Key": key or f"key-{next(_keys)}"}
        return self.client.post(f"/api/v1/{path}", body, headers=headers, format=form)

    def offer(self, content: bytes, *, key: str | None = None, **fields: str) -> Any:
        file = SimpleUploadedFile("drinks.csv", content, content_type="text/csv")
        body = {"file": file, **fields}
        return self.post("series/DRINK/imports/", body, key=key, form="multipart")


@pytest.fixture
def marla(world: World) -> Caller:
    return Caller(world.marla)


@pytest.fixture
def ann(world: World) -> Caller:
    return Caller(world.ann)


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# -- series ------------------------------------------------------------------------------


def test_strangers_read_issued_series_and_people_their_units(world: World, ann: Caller) -> None:
    assert Caller(None).get("series/").json() == {"results": [], "next": None}
    world.stock(world.ann, ["AAAA-1111", "BBBB-2222"])
    [seen] = Caller(None).get("series/").json()["results"]
    assert seen == {
        "code": "DRINK",
        "title": "A drink at the stadium",
        "description": "",
        "issuer": "Stadium Catering",
        "terms": "",
        "face_value": {"amount": 250, "asset": "EUR"},
        "valid_from": None,
        "expires_at": None,
        "kind": "amount",
        "discount_bps": None,
        "is_redeemed_here": False,
        "is_personal": False,
        "state": "issued",
        "units": {"issued": 2, "revealed": 0, "available": 2},
        "own_units": None,
    }
    assert ann.get("series/").json()["results"] == [seen | {"own_units": 2}]
    assert ann.get("series/DRINK/").json() == seen | {"own_units": 2}


def test_draft_and_unknown_series_are_not_found(world: World, ann: Caller) -> None:
    for name in ("DRINK", "NO-SUCH", "%00", "x" * 500):
        response = ann.get(f"series/{name}/")
        assert response.status_code in {400, 404}, name
        assert response["Content-Type"] == "application/problem+json"


def test_list_of_series_costs_the_same_at_any_length(
    world: World, ann: Caller, django_assert_max_num_queries: Any
) -> None:
    from rewards.actions import SeriesTerms, create_series

    for number in range(20):
        terms = SeriesTerms(code=f"S-{number}", title="Many", issuer_name="x")
        create_series(terms, actor=None)
    Series.objects.update(state=Series.State.ISSUED)
    ann.get("series/")
    with django_assert_max_num_queries(6):
        assert len(ann.get("series/").json()["results"]) == 21


def test_marketer_sets_up_a_series(world: World, marla: Caller) -> None:
    body = {
        "code": "SEAT",
        "title": "A seat",
        "issuer": "The Club",
        "face_value": {"amount": 3500, "asset": "EUR"},
        "expires_at": "2127-01-01T00:00:00+01:00",
        "check_scheme": "luhn",
    }
    response = marla.post("series/", body, key="once")
    assert response.status_code == 201
    made = response.json()
    assert (made["state"], made["own_units"]) == ("draft", 0)
    assert made["expires_at"] == "2126-12-31T23:00:00.000000Z"
    assert marla.post("series/", body, key="once").json() == made
    assert code_of(marla.post("series/", body)) == (409, "series_exists")
    event = AuditEvent.objects.filter(action="rewards.create_series").latest("id")
    assert (event.actor_id, event.object_id) == (world.marla.pk, "SEAT")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"code": "small"}, 400, "invalid_request"),
        ({"code": "A"}, 400, "invalid_request"),
        ({"title": ""}, 400, "invalid_request"),
        ({"title": "x" * 121}, 400, "invalid_request"),
        ({"issuer": None}, 400, "invalid_request"),
        ({"face_value": {"amount": 0, "asset": "EUR"}}, 400, "invalid_request"),
        ({"face_value": {"amount": 1.5, "asset": "EUR"}}, 400, "invalid_request"),
        ({"face_value": {"amount": 5}}, 400, "invalid_request"),
        ({"face_value": 5}, 400, "invalid_request"),
        ({"face_value": {"amount": 5, "asset": "USD"}}, 422, "currency_unknown"),
        ({"face_value": {"amount": 5, "asset": "DRINK"}}, 422, "currency_unknown"),
        ({"check_scheme": "magic"}, 400, "invalid_request"),
        ({"expires_at": "2127-01-01"}, 400, "invalid_request"),
        ({"valid_from": "2128-01-01T00:00:00Z", "expires_at": "2127-01-01T00:00:00Z"}, 422,
         "validity_impossible"),
        ({"surprise": 1}, 400, "invalid_request"),
    ],
)  # fmt: skip
def test_bad_terms_are_refused(
    world: World, marla: Caller, change: Mapping[str, Any], status: int, code: str
) -> None:
    body: dict[str, Any] = {"code": "SEAT", "title": "A seat", "issuer": "The Club", **change}
    assert code_of(marla.post("series/", body)) == (status, code)
    assert Series.objects.count() == 1


# -- imports -----------------------------------------------------------------------------


def test_marketer_imports_a_file_for_an_owner(world: World, marla: Caller) -> None:
    response = marla.offer(THREE, owner="@Ann")
    made = response.json()
    assert response.status_code == 201
    expected = {"series": "DRINK", "state": "imported", "row_count": 3, "code_count": 3}
    assert expected.items() <= made.items()
    assert (made["owner"], made["file_name"], made["size_bytes"]) == (
        "ann",
        "drinks.csv",
        len(THREE),
    )
    assert world.units(world.ann) == 3
    assert marla.get(f"imports/{made['id']}/").json() == made
    assert marla.get("series/DRINK/imports/").json()["results"] == [made]


def test_file_with_faults_is_refused_and_its_report_kept(world: World, marla: Caller) -> None:
    before = everything()
    response = marla.offer(THREE + b"AB,\nDDDD,soon\n", key="once")
    assert code_of(response) == (422, "file_refused")
    problem = response.json()
    assert problem["detail"] == "2 faults in 5 rows."
    assert problem["counts"] == {"code_too_short": 1, "expiry_invalid": 1}
    assert problem["faults"][0] == {
        "line": 5,
        "column": "code",
        "code": "code_too_short",
        "message": "The code is shorter than 4 characters.",
        "is_warning": False,
    }
    assert everything() == before
    assert marla.offer(THREE + b"AB,\nDDDD,soon\n", key="once").json() == problem
    path = f"imports/{problem['import_id']}/faults/"
    assert marla.get(path).json()["results"] == problem["faults"]
    assert marla.get(path + "?limit=1").json()["next"] is not None


def test_dry_run_answers_the_report_and_stores_nothing(world: World, marla: Caller) -> None:
    before = everything()
    response = marla.offer(THREE + b"AB,\n", dry_run="true")
    assert response.status_code == 200
    expected = {"state": "checked", "is_clean": False, "row_count": 4, "fault_count": 1}
    assert expected.items() <= response.json().items()
    assert (everything(), CodeImport.objects.count()) == (before, 0)


def test_repeated_upload_is_done_once(world: World, marla: Caller) -> None:
    first = marla.offer(THREE, key="once")
    again = marla.offer(THREE, key="once")
    assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
    other = marla.offer(THREE)
    assert code_of(other) == (409, "file_already_imported")
    assert other.json()["import_id"] == first.json()["id"]
    assert code_of(marla.offer(b"code\nDDDD\n", key="once")) == (422, "idempotency_key_reused")
    assert VoucherCode.objects.count() == 3


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"owner": "nobody_here"}, 422, "person_unknown"),
        ({"dry_run": "perhaps"}, 400, "invalid_request"),
        ({"surprise": "1"}, 400, "invalid_request"),
    ],
)
def test_bad_upload_form_is_refused(
    world: World, marla: Caller, fields: dict[str, str], status: int, code: str
) -> None:
    assert code_of(marla.offer(THREE, **fields)) == (status, code)
    assert not CodeImport.objects.exists()


def test_upload_without_a_file_or_as_json_is_refused(world: World, marla: Caller) -> None:
    path = "series/DRINK/imports/"
    assert code_of(marla.post(path, {}, form="multipart")) == (400, "invalid_request")
    assert code_of(marla.post(path, {"file": "text"}, form="multipart")) == (
        400,
        "invalid_request",
    )
    assert code_of(marla.post(path, {"file": "x"}, form="json")) == (
        415,
        "unsupported_media_type",
    )
    assert code_of(marla.offer(b"")) == (422, "file_refused")


def test_upload_over_the_limit_is_refused_unread(
    world: World, marla: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewards.uploads.LARGEST_FILE", 1_000)
    monkeypatch.setattr("rewards.uploads.FORM_AROUND_FILE", 1_000)
    assert code_of(marla.offer(b"code\n" + b"A" * 3_000)) == (413, "body_too_large")
    assert not CodeImport.objects.exists()


# -- who may -----------------------------------------------------------------------------

WRITES = [
    ("series/", {"code": "SEAT", "title": "A seat", "issuer": "The Club"}),
    ("series/DRINK/imports/", None),
    ("series/DRINK/hand-outs/", {"to": "ann", "amount": 1}),
]
READS = ["series/DRINK/imports/", "imports/1/", "imports/1/faults/"]


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_only_marketing_makes_value(world: World, path: str, body: Any) -> None:
    before = everything()
    assert code_of(Caller(world.ann).post(path, body)) == (403, "forbidden")
    assert code_of(Caller(None).post(path, body)) == (401, "unauthenticated")
    reader = Caller(world.marla, "rewards:read")
    assert code_of(reader.post(path, body)) == (403, "scope_missing")
    assert everything() == before


@pytest.mark.parametrize("path", READS)
def test_only_marketing_reads_imports(world: World, path: str) -> None:
    assert code_of(Caller(world.ann).get(path)) == (403, "forbidden")
    assert code_of(Caller(None).get(path)) == (401, "unauthenticated")


def test_units_are_handed_out_once(world: World, marla: Caller) -> None:
    marla.offer(THREE)
    response = marla.post("series/DRINK/hand-outs/", {"to": "ann", "amount": 2}, key="once")
    assert response.status_code == 201
    assert (response.json()["to"], response.json()["amount"]) == ("ann", 2)
    IdempotencyKey.objects.all().delete()
    again = marla.post("series/DRINK/hand-outs/", {"to": "ann", "amount": 2}, key="once")
    assert again.json() == response.json()
    assert world.units(world.ann) == 2
    refused = marla.post("series/DRINK/hand-outs/", {"to": "ann", "amount": 2})
    assert code_of(refused) == (422, "insufficient_funds")
    assert world.units(world.ann) == 2


# -- reveals -----------------------------------------------------------------------------


def test_owner_reveals_lists_and_sees_again(world: World, ann: Caller) -> None:
    world.stock(world.ann, ["AAAA-1111-WXYZ"], "2126-12-31")
    response = ann.post("series/DRINK/reveal/")
    made = response.json()
    assert (response.status_code, response["Cache-Control"]) == (201, "no-store")
    assert made["code"] == "AAAA-1111-WXYZ"
    assert made["expires_at"] == "2127-01-01T00:00:00.000000Z"
    [listed] = ann.get("reveals/").json()["results"]
    alone = {"code", "disputable_until"}
    shared = {name: value for name, value in made.items() if name not in alone}
    assert listed == shared | {"masked": "••••WXYZ"}
    again = ann.get(f"reveals/{made['id']}/")
    assert (again.json(), again["Cache-Control"]) == (made, "no-store")
    for stranger in (Caller(world.ben), Caller(world.marla)):
        assert code_of(stranger.get(f"reveals/{made['id']}/")) == (404, "reveal_unknown")
        assert stranger.get("reveals/").json()["results"] == []


def test_same_key_brings_the_same_code_and_no_answer_with_a_code_is_stored(
    world: World, ann: Caller
) -> None:
    world.stock(world.ann, ["AAAA-1111-WXYZ", "BBBB-2222-WXYZ"])
    first = ann.post("series/DRINK/reveal/", key="once")
    again = ann.post("series/DRINK/reveal/", {}, key="once")
    assert "Idempotent-Replayed" not in first
    assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
    assert Reveal.objects.count() == 1
    assert not IdempotencyKey.objects.exists()
    other = ann.post("series/DRINK/reveal/")
    assert other.json()["code"] == "BBBB-2222-WXYZ"
    assert code_of(ann.post("series/DRINK/reveal/")) == (422, "no_units")


def test_key_of_one_person_means_nothing_for_another(world: World, ann: Caller) -> None:
    world.stock(world.ann, ["AAAA-1111-WXYZ"])
    ann.post("series/DRINK/reveal/", key="once")
    assert code_of(Caller(world.ben).post("series/DRINK/reveal/", key="once")) == (422, "no_units")


def test_reveal_wants_a_key_an_owner_and_nothing_else(world: World, ann: Caller) -> None:
    world.stock(world.ann, ["AAAA-1111-WXYZ"])
    path = "/api/v1/series/DRINK/reveal/"
    assert code_of(ann.client.post(path, headers=ann.headers)) == (400, "idempotency_key_required")
    assert code_of(ann.post("series/DRINK/reveal/", {"code": "x"})) == (400, "invalid_request")
    assert code_of(ann.post("series/DRINK/reveal/", [1])) == (400, "invalid_request")
    assert code_of(Caller(None).post("series/DRINK/reveal/")) == (401, "unauthenticated")
    reader = Caller(world.ann, "rewards:read")
    assert code_of(reader.post("series/DRINK/reveal/")) == (403, "scope_missing")
    assert code_of(ann.post("series/NO-SUCH/reveal/")) == (404, "series_unknown")
    assert not Reveal.objects.exists()


def test_addresses_without_rows_are_not_found(world: World, marla: Caller) -> None:
    assert code_of(marla.get("imports/4711/")) == (404, "import_unknown")
    assert code_of(marla.get("reveals/4711/")) == (404, "reveal_unknown")
    assert code_of(marla.get("reveals/0/")) == (404, "not_found")
    assert code_of(marla.get(f"reveals/{2**70}/")) == (404, "not_found")


def test_schema_describes_every_operation() -> None:
    from drf_spectacular.generators import SchemaGenerator

    generator = SchemaGenerator(urlconf="rewards.urls")  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    operations = {
        operation["operationId"]
        for path, methods in schema["paths"].items()
        for operation in methods.values()
        if "vouchers" in operation.get("tags", ())
    }
    assert operations >= {
        "list_series", "create_series", "get_series", "hand_out_units", "list_imports",
        "import_codes", "get_import", "list_import_faults", "reveal_code", "list_reveals",
        "get_reveal", "generate_codes", "export_codes", "download_codes", "assign_units",
        "extend_codes", "deactivate_codes", "list_bulk_jobs", "get_bulk_job", "control_bulk_job",
        "list_presents", "give_present", "end_present", "draw_code",
        "list_generic_codes", "create_generic_code", "deactivate_generic_code",
    }  # fmt: skip
