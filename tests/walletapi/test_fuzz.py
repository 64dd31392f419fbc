"""Whatever is sent to any address of the wallet, the answer is never a 500.

The requests are made from our own OpenAPI document: valid ones, nearly valid ones and
nonsense, as a person with money, as a clerk of finance, and as nobody. Every answer must have
a status, a type and a shape that the document promises, and the books must still agree.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.db.models import Sum
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytest_django import Settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.actions import create_key
from config.wsgi import application
from tests.walletapi.conftest import ROLE_BACKEND, World
from wallet import reversals
from wallet.models import Account, Entry

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
CSRF = "c" * 32
document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
schema = schemathesis.openapi.from_dict(cast("dict[str, Any]", document))
schema.app = application
OPERATIONS = {
    operation.label: operation
    for operation in (cast("Any", result).ok() for result in schema.get_all_operations())
    if set(operation.definition.raw.get("tags", [])) & {"wallet", "finance"}
}


def callers(world: World, tags: list[str]) -> list[dict[str, Any]]:
    """A person with a key, a clerk with a session, and nobody; most often who may ask this."""
    token = create_key(world.ann, name="fuzz", scopes=["wallet:read", "wallet:write"]).token
    browser = Client()
    browser.force_login(world.dora, backend=ROLE_BACKEND)
    session = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
    cookies = {
        django_settings.SESSION_COOKIE_NAME: session,
        django_settings.CSRF_COOKIE_NAME: CSRF,
    }
    clerk = {"cookies": cookies, "headers": {"X-CSRFToken": CSRF}}
    person = {"headers": {"Authorization": f"Bearer {token}"}}
    # Hypothesis likes the first of a list best.
    return [clerk, clerk, clerk, {}, person] if "finance" in tags else [person, person, {}, clerk]


def known(world: World) -> dict[str, list[Any]]:
    """Values that exist, so that many requests get past the first look-up."""
    hold_id = world.hold(world.ann, 100)
    paid_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 50)
    request = reversals.request_reversal(paid_id, actor=world.clara, reason="twice")
    return {
        "hold_id": [str(hold_id)],
        "transfer_id": [str(paid_id), str(hold_id)],
        "account_id": [str(world.wallet(owner).pk) for owner in (world.ann, world.ben)],
        "request_id": [str(request.pk)],
        "asset": ["EUR", "POINTS"],
        "name": ["journal", "trial-balance", "statement"],
        "to": ["ben", "ann"],
        "amount": [1, 2**62],
        "owner": ["ann"],
    }


def enrich(case: Case[Any], values: dict[str, list[Any]], data: st.DataObject) -> None:
    """Put known values into half of the places that take one."""
    for place in (case.path_parameters, case.query, case.body):
        if not isinstance(place, dict):
            continue
        for name in sorted(set(place) & set(values), key=str):
            if data.draw(st.booleans()):
                place[name] = data.draw(st.sampled_from(values[name]))


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_no_request_breaks_the_service(world: World, settings_: Settings, label: str) -> None:
    settings_.API_RATE_PER_MINUTE = settings_.API_RATE_BURST = 10**6
    operation, values = OPERATIONS[label], known(world)
    who = callers(world, operation.definition.raw["tags"])
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        phases=(Phase.generate,),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(modes))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        enrich(case, values, data)
        response = case.call(**data.draw(st.sampled_from(who)))
        case.validate_response(response, checks=CHECKS)

    ask()
    sums = dict(Entry.objects.values_list("account_id").annotate(Sum("amount")))
    assert all(sums.get(a.pk, 0) == a.balance for a in Account.objects.all())
    assert Account.objects.aggregate(total=Sum("balance"))["total"] == 0


@pytest.fixture
def settings_(settings: Settings) -> Settings:
    """pytest-django's fixture, under a name that Hypothesis's `settings` leaves free."""
    return settings
