"""What becomes of a series while work on it waits, or other work on it goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from edge.fields import format_time
from rewards.actions import set_closed
from rewards.bulk import files, generating, steps
from rewards.models import CodeImport, ImportFault, VoucherCode
from rewards.verifying import faults_of as verify
from tests.rewards.bulk.conftest import SOON, run, tables
from tests.rewards.bulk.test_bulk import offer
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
