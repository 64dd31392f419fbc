"""What becomes of a series while work on it waits, or other work on it goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from edge.fields import format_time
from rewards.actions import SeriesTerms, create_series, set_closed
from rewards.bulk import actions, changing, files, generating, steps
from rewards.models import CodeImport, ImportFault, VoucherCode
from rewards.rotation import ImportsWaiting, rotate_keys
from rewards.sealing import new_key
from rewards.verifying import faults_of as verify
from tests.rewards.bulk.conftest import SOON, create_sun, run, tables
from tests.rewards.bulk.test_bulk import offer
from tests.rewards.conftest import KEY
from tests.rewards.redemption.conftest import Till

pytestmark = pytest.mark.django_db


# -- time passes -----------------------------------------------------------------------------------


def test_codes_that_expired_while_their_file_waited_are_faults(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROWS_PER_STEP", 3)
    soon = timezone.now() + timedelta(hours=1)
    rows = ("GOOD-0001,", f"SOON-0001,{format_time(soon)}", "PAST-0001,2001-01-01",
            f"SOON-0002,{format_time(soon)}", f"GOOD-0002,{format_time(SOON)}")  # fmt: skip
    bulk = offer(till, "\n".join(["code,expires_at", *rows]).encode())
    for _ in range(2):
        steps.step(bulk.pk)
    monkeypatch.setattr(timezone, "now", lambda: soon)
    assert (run(bulk).state, bulk.report["counts"]) == ("refused", {"expiry_past": 3})
    told = ImportFault.objects.order_by("line").values_list("line", "column", "code")
    assert list(told) == [(line, "expires_at", "expiry_past") for line in (3, 4, 5)]
    assert (CodeImport.objects.get().state, VoucherCode.objects.count()) == ("refused", 0)
    assert list(tables()) == []


def test_generation_ends_when_its_codes_would_have_expired(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "CODES_PER_STEP", 10)
    soon = timezone.now() + timedelta(hours=1)
    bulk = generating.generate("OURS", 30, actor=till.clerk, expires_at=soon)
    steps.step(bulk.pk)
    monkeypatch.setattr(timezone, "now", lambda: soon)
    assert (run(bulk).state, bulk.report, bulk.done) == ("cancelled", {"codes": 10}, 10)
    assert CodeImport.objects.get().code_count == VoucherCode.objects.count() == 10
    assert verify(till.series["OURS"]) == []


def test_generation_ends_when_its_series_is_closed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "CODES_PER_STEP", 10)
    bulk = generating.generate("OURS", 30, actor=till.clerk)
    steps.step(bulk.pk)
    set_closed("OURS", True, actor=None, reason="the season is over")
    assert (run(bulk).state, bulk.report) == ("cancelled", {"codes": 10})
    assert verify(till.series["OURS"]) == []


def test_codes_made_while_a_series_is_extended_are_extended_too(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "CODES_PER_STEP", 10)
    monkeypatch.setattr(changing, "CODES_PER_EXTENSION", 4)
    series, later = create_sun(), SOON + timedelta(days=1)
    made = generating.generate("SUN", 30, actor=till.clerk)
    steps.step(made.pk)
    bulk = changing.extend("SUN", later, actor=till.clerk, reason="the match was moved")
    steps.step(made.pk)
    assert run(bulk).report["changed"] == 20
    run(made)
    assert VoucherCode.objects.filter(expires_at=later).count() == 30
    assert verify(series) == []


def test_codes_that_others_will_still_make_count_as_made(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = till.series["OURS"].pattern
    assert pattern is not None
    monkeypatch.setattr(generating, "CODES_PER_STEP", 10)
    monkeypatch.setattr(generating, "SPACE_PER_CODE", pattern.space // 100)
    bulk = generating.generate("OURS", 60, actor=till.clerk)
    steps.step(bulk.pk)
    with pytest.raises(generating.PatternTooSmall) as refusal:
        generating.generate("OURS", 41, actor=till.clerk)
    assert refusal.value.members["codes"] == 101
    generating.generate("OURS", 40, actor=till.clerk)
    actions.cancel(bulk.pk, actor=till.clerk, reason="never mind")
    generating.generate("OURS", 50, actor=till.clerk)


# -- the key changes -------------------------------------------------------------------------------


@pytest.mark.parametrize("steps_before", [0, 1])
def test_rotation_names_the_imports_that_still_need_the_old_key(
    till: Till, settings: Settings, steps_before: int
) -> None:
    till.given("TENOFF", "TEN-0001")
    bulk = offer(till, b"code\nTEN-0002\n")
    for _ in range(steps_before):
        steps.step(bulk.pk)
    settings.CODE_KEYS = [fresh := new_key(), KEY]
    after = offer(till, b"code\nTEN-0003\n")
    rotation = rotate_keys()
    assert next(rotation) == 1
    with pytest.raises(ImportsWaiting) as refusal:
        next(rotation)
    assert refusal.value.members["jobs"] == [str(bulk.pk)]
    run(bulk)
    list(rotate_keys())
    settings.CODE_KEYS = [fresh]
    assert run(after).state == "done"
    assert verify(till.series["TENOFF"], opens_codes=True) == []


def test_rotation_does_not_wait_for_an_import_that_was_cancelled(
    till: Till, settings: Settings
) -> None:
    bulk = offer(till, b"code\nTEN-0002\n")
    settings.CODE_KEYS = [new_key(), KEY]
    actions.cancel(bulk.pk, actor=till.clerk, reason="the key changes")
    assert list(rotate_keys()) == []


def test_codes_of_a_file_that_waits_expire_with_their_series_that_is_extended(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROWS_PER_STEP", 5)
    later = SOON + timedelta(days=1)
    terms = SeriesTerms(code="MOON", title="A night", issuer_name="Fan shop", expires_at=SOON)
    moon = create_series(terms, actor=None)
    rows = "".join(f"MOON-{number:04}\n" for number in range(10))
    imported = offer(till, f"code\n{rows}".encode(), "MOON")
    steps.step(imported.pk)
    run(changing.extend("MOON", later, actor=till.clerk, reason="The match was moved"))
    assert run(imported).state == "done"
    expiries = VoucherCode.objects.filter(series=moon).values_list("expires_at", flat=True)
    assert list(expiries) == [later] * 10
