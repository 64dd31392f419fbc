"""Other work on the codes of a series, at the same time. Every race comes with its control."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import connection, transaction

from rewards.bulk import exporting
from rewards.models import BulkJob, VoucherCode
from rewards.verifying import faults_of as verify
from tests.rewards.bulk.conftest import run
from tests.rewards.bulk.test_bulk import make
from tests.rewards.redemption.conftest import Till, make_till

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def till(transactional_db: None) -> Till:
    return make_till("OURS")


# -- an export while others hold codes -------------------------------------------------------------


def export_beside_others(till: Till) -> int:
    """Ask for fifty of a hundred codes while others hold seventy; say how many came."""
    make(till, 100)
    bulk = exporting.export("OURS", 50, actor=till.clerk)

    def exported() -> BulkJob:
        try:
            return run(bulk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            list(VoucherCode.objects.select_for_update(no_key=True).order_by("pk")[:70])
            export = pool.submit(exported)
            wait([export], timeout=1)
        return int(export.result().report["codes"])


def test_export_waits_for_codes_that_others_hold(till: Till) -> None:
    assert export_beside_others(till) == 50
    assert VoucherCode.objects.filter(export__isnull=False).count() == 50
    assert verify(till.series["OURS"]) == []


def test_control_that_passes_them_by_ends_too_early(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TAKE_WAITING", exporting.TAKE_FREE)
    assert export_beside_others(till) == 30
