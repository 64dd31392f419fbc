"""Other work on the codes of a series, at the same time. Every race comes with its control."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from edge.problems import Refusal
from rewards.bulk import actions, changing, exporting, generating, steps
from rewards.models import BulkJob, VoucherCode
from rewards.verifying import faults_of as verify
from tests.rewards.bulk.conftest import SOON, create_sun, run
from tests.rewards.bulk.test_bulk import make
from tests.rewards.redemption.conftest import Till, make_till

pytestmark = pytest.mark.django_db(transaction=True)
LATER = SOON + timedelta(days=1)


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


# -- generations that begin at once ----------------------------------------------------------------


def begin_at_once(till: Till, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Begin four generations of as many codes as the pattern bears; how often each ended how."""
    pattern = till.series["OURS"].pattern
    assert pattern is not None
    monkeypatch.setattr(generating, "SPACE_PER_CODE", pattern.space // 100)
    start = threading.Barrier(4)

    def begun(_: int) -> str:
        try:
            start.wait(10)
            generating.generate("OURS", 100, actor=till.clerk)
        except Refusal as refusal:
            return refusal.code
        else:
            return "begun"
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        return Counter(pool.map(begun, range(4)))


def test_one_of_four_generations_that_take_all_the_space_begins(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begin_at_once(till, monkeypatch) == {"begun": 1, "pattern_too_small": 3}


def test_control_without_the_lock_several_begin(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "ONE_SERIES", "SELECT %s")
    meeting, launch = threading.Barrier(4), actions.launch

    def after_all_have_counted(bulk: BulkJob) -> BulkJob:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(5)
        return launch(bulk)

    monkeypatch.setattr(actions, "launch", after_all_have_counted)
    assert begin_at_once(till, monkeypatch)["begun"] > 1


# -- codes that are made while others are extended -------------------------------------------------


def expiries_of_codes_made_beside_the_last_step(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> set[datetime]:
    """Let a generation go on between the last look of an extension and its commit."""
    create_sun()
    run(generating.generate("SUN", 10, actor=till.clerk))
    extension = changing.extend("SUN", LATER, actor=till.clerk, reason="the match was moved")
    generation = generating.generate("SUN", 10, actor=till.clerk)
    with transaction.atomic():
        steps.step(extension.pk)
    advance = changing._advance

    def generated() -> BulkJob:
        try:
            return run(generation)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:

        def then_advance(*args: Any, **named: Any) -> Any:
            waiting.append(pool.submit(generated))
            wait(waiting, timeout=1)
            return advance(*args, **named)

        waiting: list[Future[BulkJob]] = []
        monkeypatch.setattr(changing, "_advance", then_advance)
        assert run(extension).state == "done"
    assert [each.result().state for each in waiting] == ["done"]
    return set(VoucherCode.objects.values_list("expires_at", flat=True))


def test_codes_made_beside_an_extension_get_the_new_expiry(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expiries_of_codes_made_beside_the_last_step(till, monkeypatch) == {LATER}


def test_control_without_the_lock_of_the_series_they_keep_the_old_one(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "_look_further", lambda bulk: None)
    assert expiries_of_codes_made_beside_the_last_step(till, monkeypatch) == {SOON, LATER}


def step_and_undo(bulk: BulkJob, start: threading.Barrier) -> str:
    try:
        start.wait(30)
        with transaction.atomic():
            steps.step(bulk.pk)
            transaction.set_rollback(True)
        return "stepped"
    except OperationalError as error:
        return type(error.__cause__).__name__
    finally:
        connection.close()


def test_two_exports_that_come_short_do_not_wait_for_each_other(till: Till) -> None:
    make(till, 2_000)
    told = []
    for _ in range(3):
        pair = [exporting.export("OURS", 20_000, actor=till.clerk) for _ in range(2)]
        start = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            told += [each.result() for each in [pool.submit(step_and_undo, b, start) for b in pair]]
        BulkJob.objects.filter(pk__in=[bulk.pk for bulk in pair]).update(state="done")
    assert told == ["stepped"] * 6
