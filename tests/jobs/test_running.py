"""A job runs once, its effect and its end are one, and every way to fail has a name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from edge.database import database_conninfo
from jobs import bell, claims, enqueue, enqueue_many, registry
from jobs.models import Job, UniqueKey
from jobs.pace import rate_per_s, time_left
from jobs.problems import LeaseLost
from jobs.rules import Reason
from jobs.runner import run_all, run_one
from tests.jobs import work
from tests.jobs.conftest import left, the_job

State = Job.State
pytestmark = pytest.mark.usefixtures("effects", "rings")


def put(name: str, **arguments: Any) -> int:
    with transaction.atomic():
        return enqueue(name, arguments)


def change(job_id: int, **columns: Any) -> None:
    Job.objects.filter(pk=job_id).update(**columns)


def test_job_is_done_once_however_often_it_is_rung() -> None:
    number = put("tests.leave", number=7)
    assert run_all([number, number, 12345]) == 1
    assert run_all([number]) == 0
    job = the_job(number)
    assert (job.state, job.attempt, job.fence, job.reason) == (State.DONE, 1, 1, "")
    assert job.ended_at is not None and job.lease_until is None
    assert left() == [(7, "")]


def test_failed_job_leaves_no_effect_and_is_tried_again_later() -> None:
    number = put("tests.raise", number=7)
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.attempt, job.reason) == (State.QUEUED, 1, Reason.RAISED)
    assert job.error.endswith("ValueError: no luck with 7\n")
    assert "in leave_and_raise" in job.error
    assert (job.rung_at, left()) == (None, [])


def test_after_its_last_attempt_a_job_is_dead_and_keeps_its_error() -> None:
    with transaction.atomic():
        number = enqueue("tests.raise", {"number": 7}, unique="k")
    for _ in range(3):
        change(number, due_at="2026-01-01T00:00:00Z")
        assert run_one(number)
    job = the_job(number)
    assert (job.state, job.attempt, job.reason) == (State.DEAD, 3, Reason.RAISED)
    assert "no luck with 7" in job.error
    assert job.arguments == {"number": 7}
    assert (UniqueKey.objects.count(), run_one(number), left()) == (0, False, [])


def test_waits_between_attempts_grow_within_their_cap() -> None:
    number = put("tests.raise", number=7)
    for attempt, most_s in ((1, 1), (2, 2), (3, 4), (30, 600)):
        change(number, state=State.QUEUED, attempt=attempt - 1, most_attempts=99,
               due_at="2026-01-01T00:00:00Z")  # fmt: skip
        assert run_one(number)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM due_at - clock_timestamp()) FROM jobs_job WHERE id = %s",
                [number],
            )
            assert -1 < cursor.fetchone()[0] <= most_s


def test_job_that_takes_too_long_is_stopped_and_says_so() -> None:
    number = put("tests.hang", number=7)
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.reason) == (State.DEAD, Reason.TIME_LIMIT)
    assert (job.error, left()) == ("took longer than 1 s", [])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"name": "tests.gone"}, Reason.UNKNOWN_NAME),
        ({"version": 2}, Reason.NEWER_VERSION),
        ({"arguments": {"old_number": 7}}, Reason.WRONG_ARGUMENTS),
    ],
)
def test_job_of_another_release_is_stranded_in_sight(
    columns: dict[str, Any], reason: Reason
) -> None:
    number = put("tests.leave", number=7)
    change(number, **columns)
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.reason, job.attempt) == (State.STRANDED, reason, 0)
    assert job.error != ""
    assert left() == []


def test_rings_for_what_is_done_cost_one_look() -> None:
    with transaction.atomic():
        ids = enqueue_many("tests.leave", [{"number": number} for number in range(20)])
    assert run_all(ids) == 20
    with CaptureQueriesContext(connection) as asked:
        assert run_all(ids) == 0
    assert len(asked) < 6, "a look for all, no claim for each"
    assert len(left()) == 20


# -- jobs that share a commit ----------------------------------------------------------


def put_shared(*numbers: int) -> list[int]:
    with transaction.atomic():
        return enqueue_many("tests.share", [{"number": number} for number in numbers])


def test_jobs_rung_together_commit_together() -> None:
    ids = put_shared(*range(100, 130))
    assert run_all(ids) == 30
    assert left() == [(number, "") for number in range(100, 130)]
    assert set(Job.objects.values_list("state", flat=True)) == {State.DONE}


def test_one_that_raises_takes_no_other_with_it() -> None:
    ids = put_shared(1, -2, 3)
    assert run_all(ids) == 3
    assert left() == [(1, ""), (3, "")]
    assert [the_job(each).state for each in ids] == [State.DONE, State.DEAD, State.DONE]
    assert the_job(ids[1]).error.endswith("ValueError: no luck with -2\n")


def test_one_that_hangs_is_stopped_and_the_others_are_done_once() -> None:
    ids = put_shared(1, 13, 3)
    assert run_all(ids) == 3
    assert left() == [(1, ""), (3, "")]
    assert [the_job(each).state for each in ids] == [State.DONE, State.DEAD, State.DONE]
    assert the_job(ids[1]).reason == Reason.TIME_LIMIT


def test_others_of_one_that_hangs_are_put_back_when_time_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bell, "TURN_S", 0)
    ids = put_shared(13, 1, 2)
    assert run_all(ids) == 1
    assert [(the_job(each).state, the_job(each).attempt) for each in ids] == [
        (State.DEAD, 1),
        (State.QUEUED, 0),
        (State.QUEUED, 0),
    ]
    assert left() == []
    assert run_all(ids) == 2
    assert left() == [(1, ""), (2, "")]


def test_what_failed_once_shares_with_nobody() -> None:
    ids = put_shared(1, 2, 3)
    change(ids[1], attempt=1, most_attempts=2)
    assert [held.id for held in claims.claim_named(ids, ["tests.share"])] == [ids[0], ids[2]]
    assert run_one(ids[1])
    assert left() == [(2, "")]


def test_one_whose_lease_is_lost_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = put_shared(1, 2, 3)
    end = claims.end_together

    def lose_the_second(held: list[claims.Claim]) -> None:
        with psycopg.connect(database_conninfo()) as sweeper:
            sweeper.execute(
                "UPDATE jobs_job SET state = 1, lease_until = NULL WHERE id = %s", [ids[1]]
            )
        end(held)

    monkeypatch.setattr(claims, "end_together", lose_the_second)
    monkeypatch.setattr("jobs.runner.run_one", lambda job_id: False)
    assert run_all(ids) == 3
    assert left() == [(1, ""), (3, "")]
    assert the_job(ids[1]).state == State.QUEUED


# -- the lease and its fence -----------------------------------------------------------


def lose_lease(job_id: int) -> None:
    """What the sweeper does to a worker that it takes for dead."""
    change(job_id, state=State.QUEUED, lease_until=None)


def test_worker_that_lost_its_lease_commits_nothing() -> None:
    number = put("tests.leave", number=7)
    late = claims.claim(number)
    assert late is not None
    lose_lease(number)
    assert run_one(number)
    with pytest.raises(LeaseLost), transaction.atomic():
        work.leave(7, "late")
        claims.end(late)
    assert left() == [(7, "")]
    assert the_job(number).fence == 2


def test_without_the_fence_the_effect_is_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(claims, "DONE", "UPDATE jobs_job SET state = 5 WHERE id = %s OR id = -%s")
    number = put("tests.leave", number=7)
    late = claims.claim(number)
    assert late is not None
    lose_lease(number)
    with transaction.atomic():
        work.leave(7)
    change(number, state=State.DONE, lease_until=None, ended_at="2026-01-01T00:00:00Z")
    with transaction.atomic():
        work.leave(7, "late")
        claims.end(late)
    assert left() == [(7, ""), (7, "late")]


def test_late_failure_does_not_touch_the_job_of_another() -> None:
    number = put("tests.leave", number=7)
    late = claims.claim(number)
    assert late is not None
    lose_lease(number)
    assert run_one(number)
    claims.fail(late, Reason.RAISED, "late")
    assert the_job(number).state == State.DONE


def test_what_a_dead_process_held_is_taken_back_by_name_alone() -> None:
    mine, other = put("tests.leave", number=1), put("tests.leave", number=2)
    assert claims.claim(mine) and claims.claim(other)
    change(other, worker="elsewhere:1")
    with transaction.atomic():
        raw = connection.connection
        claims.lose(raw, [mine, other], int(the_job(mine).worker.rpartition(":")[2]),
                    Reason.KILLED, "signal 9")  # fmt: skip
    assert (the_job(mine).state, the_job(mine).reason) == (State.QUEUED, Reason.KILLED)
    assert the_job(other).state == State.RUNNING


# -- outside jobs ----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet_outside() -> None:
    work.calls.clear()
    work.breaks_before.clear()


def test_outside_job_goes_from_point_to_point() -> None:
    number = put("tests.call", number=7)
    assert run_one(number)
    assert left() == [(7, "finished answer 7"), (7, "intent")]
    job = the_job(number)
    assert (job.state, job.point) == (State.DONE, "answer")
    assert job.progress == {"asked": 7, "answer": "answer 7"}


def test_answer_that_was_noted_is_not_asked_for_again() -> None:
    number = put("tests.call", number=7)
    change(number, point="answer", progress={"asked": 7, "answer": "kept"})
    assert run_one(number)
    assert work.calls == []
    assert (7, "finished kept") in left()


def test_outside_that_breaks_leaves_the_points_so_far_for_the_next_attempt() -> None:
    number = put("tests.call", number=7)
    work.breaks_before.append("no line")
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.point, job.reason) == (State.QUEUED, "intent", Reason.RAISED)
    assert left() == [(7, "intent")]


def test_recovery_point_needs_the_lease() -> None:
    number = put("tests.call", number=7)
    held = claims.claim(number)
    assert held is not None
    lose_lease(number)
    with pytest.raises(LeaseLost), transaction.atomic():
        work.leave(7)
        claims.reach(held, "intent", {})
    assert left() == []


# -- long jobs -------------------------------------------------------------------------


def test_long_job_commits_each_step_with_its_progress() -> None:
    number = put("tests.count", upto=5)
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.done, job.total, job.progress) == (State.DONE, 5, 5, {"number": 5})
    assert left() == [(n, "") for n in range(1, 6)]


def test_long_job_goes_on_after_its_last_committed_step() -> None:
    number = put("tests.count", upto=5)
    change(number, progress={"number": 3}, done=3, attempt=2)
    assert run_one(number)
    job = the_job(number)
    assert left() == [(4, ""), (5, "")]
    assert (job.done_at_start, job.attempt) == (3, 1)


@pytest.mark.parametrize(("wish", "state"), [(1, State.PAUSED), (2, State.CANCELLED)])
def test_wish_is_heard_after_the_step(wish: int, state: State) -> None:
    with transaction.atomic():
        number = enqueue("tests.count", {"upto": 5}, unique="k")
    change(number, wish=wish)
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.done, job.wish, job.lease_until) == (state, 1, 0, None)
    assert left() == [(1, "")]
    assert UniqueKey.objects.count() == (1 if wish == 1 else 0)


def test_long_job_steps_aside_after_its_turn_and_goes_on(
    rings: list[tuple[str, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "TURN_S", 0)
    number = put("tests.count", upto=3)
    for done in (1, 2):
        rings.clear()
        assert run_one(number)
        job = the_job(number)
        assert (job.state, job.done, job.attempt, job.reason) == (State.QUEUED, done, 0, "")
        assert rings == [("scrip", [number])]
    began_at = job.began_at
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.done, job.done_at_start) == (State.DONE, 3, 0)
    assert job.began_at == began_at is not None
    assert left() == [(1, ""), (2, ""), (3, "")]


def test_rate_counts_over_all_turns_since_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "TURN_S", 0)
    number = put("tests.count", upto=100)
    assert run_one(number)
    assert run_one(number)
    began_at = timezone.now() - timedelta(seconds=10)
    change(number, began_at=began_at, done=60, done_at_start=10)
    assert rate_per_s(the_job(number)) == pytest.approx(5, rel=0.05)
    assert time_left(the_job(number)) == timedelta(seconds=8)


def test_failed_long_job_counts_its_rate_anew() -> None:
    number = put("tests.count", upto=0)
    change(number, progress={"number": "no number"})
    assert run_one(number)
    job = the_job(number)
    assert (job.state, job.reason, job.began_at) == (State.QUEUED, Reason.RAISED, None)


@pytest.mark.parametrize(("wish", "state"), [(1, State.PAUSED), (2, State.CANCELLED)])
def test_wish_is_heard_when_a_job_without_steps_fails(wish: int, state: State) -> None:
    with transaction.atomic():
        number = enqueue("tests.raise", {"number": 7}, unique="k")
    change(number, wish=wish)
    assert run_one(number)
    assert (the_job(number).state, the_job(number).wish) == (state, 0)
    assert UniqueKey.objects.count() == (1 if wish == 1 else 0)


def test_every_kind_is_declared_once() -> None:
    with pytest.raises(AssertionError, match="declared twice"):
        registry.job("edge.forget_old_keys")(lambda: None)
