"""Putting work down: in the caller's transaction, checked, once under a unique key."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from config.supervisor.table import Place, processes
from jobs import SLOW_QUEUE, enqueue, enqueue_many, registry
from jobs.models import Job, UniqueKey
from jobs.problems import (
    BadArguments,
    BadDueTime,
    BadKey,
    NotInTransaction,
    UnknownJob,
    UnknownQueue,
)
from jobs.rules import QUEUES
from jobs.runner import run_one
from tests.jobs.conftest import left, the_job

Rings = list[tuple[str, list[int]]]
pytestmark = pytest.mark.usefixtures("effects")


def test_job_commits_with_its_cause_and_the_bell_rings_after(rings: Rings) -> None:
    with transaction.atomic():
        number = enqueue("tests.leave", {"number": 7})
        assert rings == []
    job = the_job(number)
    assert (job.name, job.arguments, job.queue) == ("tests.leave", {"number": 7}, "scrip")
    assert (job.state, job.attempt, job.fence, job.version) == (Job.State.QUEUED, 0, 0, 1)
    assert abs(job.created_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert rings == [("scrip", [number])]


def test_job_goes_with_the_transaction_that_fails(rings: Rings) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue("tests.leave", {"number": 7}, unique="k")
        math.floor(1 / 0)
    assert (Job.objects.count(), UniqueKey.objects.count(), rings) == (0, 0, [])


def test_a_savepoint_that_is_rolled_back_rings_for_nothing(rings: Rings) -> None:
    with transaction.atomic():
        kept = enqueue("tests.leave", {"number": 1})
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            enqueue("tests.leave", {"number": 2})
            math.floor(1 / 0)
    assert rings == [("scrip", [kept])]


def test_job_outside_a_transaction_is_refused(rings: Rings) -> None:
    for refused in (
        lambda: enqueue("tests.leave", {"number": 7}),
        lambda: enqueue("tests.leave", {"number": 7}, unique="k"),
        lambda: enqueue_many("tests.leave", [{"number": 7}]),
    ):
        with pytest.raises(NotInTransaction):
            refused()
    assert (Job.objects.count(), UniqueKey.objects.count(), rings) == (0, 0, [])


class Strange:
    pass


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"number": Strange()}, "not JSON serializable"),
        ({"number": datetime(2026, 1, 1, tzinfo=UTC)}, "not JSON serializable"),
        ({"number": math.nan}, "not JSON compliant"),
        ({"number": "x" * 65_536}, "bytes of arguments"),
        ({"number": "a\0b"}, "NUL"),
        ({"number": "a\\\0b"}, "NUL"),
        ({"number": "\ud800"}, "surrogates not allowed"),
        ({}, "missing a required argument: 'number'"),
        ({"number": 1, "colour": 2}, "unexpected keyword argument 'colour'"),
    ],
)
def test_strange_arguments_are_refused_and_nothing_is_written(
    arguments: dict[str, object], why: str, rings: Rings
) -> None:
    for unique in (None, "k"):
        with pytest.raises(BadArguments, match=why), transaction.atomic():
            enqueue("tests.leave", arguments, unique=unique)
    assert (Job.objects.count(), UniqueKey.objects.count(), rings) == (0, 0, [])


def test_arguments_of_64_kb_are_taken(rings: Rings) -> None:
    with transaction.atomic():
        number = enqueue("tests.leave", {"number": "x" * (65_536 - len('{"number":""}'))})
    assert len(the_job(number).arguments["number"]) == 65_523


def test_arguments_are_counted_as_the_bytes_they_take(rings: Rings) -> None:
    room = 65_536 - len('{"number":""}')
    with transaction.atomic():
        number = enqueue("tests.leave", {"number": "é" * (room // 2)})
        with pytest.raises(BadArguments, match="65537 bytes"):
            enqueue("tests.leave", {"number": "é" * (room // 2) + "xx"})
    assert the_job(number).arguments["number"] == "é" * (room // 2)


def test_text_that_only_looks_like_a_nul_is_kept(rings: Rings) -> None:
    with transaction.atomic():
        number = enqueue("tests.leave", {"number": "\\u0000"})
    assert the_job(number).arguments == {"number": "\\u0000"}


def test_queue_that_nobody_works_on_is_refused(rings: Rings) -> None:
    with transaction.atomic():
        for queue in ("mail", "", "q" * 100):
            with pytest.raises(UnknownQueue):
                enqueue("tests.leave", {"number": 1}, queue=queue)
        slow = enqueue("tests.leave", {"number": 1}, queue=SLOW_QUEUE)
    assert rings == [("slow", [slow])]
    with pytest.raises(AssertionError, match="nobody works on the queue mail"):
        registry.job("tests.of_no_queue", queue="mail")
    assert Job.objects.count() == 1


def test_every_queue_has_a_worker_in_the_table() -> None:
    heard = [each.command[each.command.index("--queues") + 1]
             for each in processes(Place()) if "--queues" in each.command]  # fmt: skip
    assert sorted(heard) == sorted(QUEUES)


def test_time_without_a_zone_is_refused(rings: Rings) -> None:
    with pytest.raises(BadDueTime), transaction.atomic():
        enqueue("tests.leave", {"number": 1}, due_at=datetime(2030, 1, 1))
    assert Job.objects.count() == 0


def test_unknown_name_and_strange_key_are_refused(rings: Rings) -> None:
    with transaction.atomic():
        with pytest.raises(UnknownJob):
            enqueue("tests.nobody_does_this", {})
        for key in ("", "k" * 201, "a\0b", "\ud800"):
            with pytest.raises(BadKey):
                enqueue("tests.leave", {"number": 1}, unique=key)
    assert (Job.objects.count(), rings) == (0, [])


def test_many_at_once_keep_their_order_and_ring_once(rings: Rings) -> None:
    with transaction.atomic():
        numbers = enqueue_many("tests.leave", [{"number": n} for n in range(1_000)])
    assert numbers == sorted(set(numbers))
    found = Job.objects.filter(pk__in=numbers).order_by("pk").values_list("arguments", flat=True)
    assert [each["number"] for each in found] == list(range(1_000))
    assert rings == [("scrip", numbers)]


def test_more_than_ten_thousand_at_once_are_refused(rings: Rings) -> None:
    with pytest.raises(BadArguments), transaction.atomic():
        enqueue_many("tests.leave", [{"number": 1}] * 10_001)
    assert Job.objects.count() == 0


def test_unique_job_is_made_again_only_after_the_first_has_ended(rings: Rings) -> None:
    with transaction.atomic():
        first = enqueue("tests.leave", {"number": 1}, unique="k")
        assert enqueue("tests.leave", {"number": 2}, unique="k") == first
        other = enqueue("tests.leave", {"number": 3}, unique="l")
    assert run_one(first)
    with transaction.atomic():
        again = enqueue("tests.leave", {"number": 4}, unique="k")
    assert len({first, other, again}) == 3
    assert rings == [("scrip", [first]), ("scrip", [other]), ("scrip", [again])]
    assert left() == [(1, "")]


def test_of_eight_at_once_under_one_key_one_is_made(rings: Rings) -> None:
    assert len(set(enqueue_from_threads("k"))) == 1
    assert Job.objects.count() == 1


def test_without_the_key_eight_are_made(rings: Rings) -> None:
    """The control of the test above."""
    assert len(set(enqueue_from_threads(None))) == 8
    assert Job.objects.count() == 8


def enqueue_from_threads(unique: str | None) -> list[int]:
    barrier, made = threading.Barrier(8), []

    def one() -> None:
        barrier.wait(10)
        with transaction.atomic():
            made.append(enqueue("tests.leave", {"number": 1}, unique=unique))
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return made


def test_job_for_later_is_not_rung_and_not_run_before(rings: Rings) -> None:
    with transaction.atomic():
        number = enqueue(
            "tests.leave", {"number": 1}, due_at=datetime.now(UTC) + timedelta(hours=1)
        )
    assert rings == []
    assert the_job(number).rung_at is None
    assert run_one(number) is False
    assert left() == []
