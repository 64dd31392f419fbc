"""The sweeper, sweep by sweep; the clock's ticks; the table's days."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from edge.database import database_conninfo
from edge.ids import first_id_at
from jobs import beat, bell, claims, days, enqueue, sweeper
from jobs.models import Job, Sweeper, UniqueKey
from jobs.rules import Reason
from jobs.runner import run_one
from jobs.sweeper import Connection, sweep
from tests.jobs.conftest import left, the_job

Rings = list[tuple[str, list[int]]]
State = Job.State
LONG_AGO = "2026-01-01T00:00:00Z"
pytestmark = pytest.mark.usefixtures("effects", "messages")


@pytest.fixture
def session(effects: None) -> Iterator[Connection]:
    with psycopg.connect(database_conninfo(), autocommit=True) as session:
        yield session


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many messages the broker says it holds."""
    held: dict[str, int] = {}
    monkeypatch.setattr(bell, "waiting", lambda queues: {q: held.get(q, 0) for q in queues})
    return held


def put(number: int = 1, **options: Any) -> int:
    with transaction.atomic():
        return enqueue("tests.leave", {"number": number}, **options)


def change(job_id: int, **columns: Any) -> None:
    Job.objects.filter(pk=job_id).update(**columns)


def test_only_rings_that_nobody_heard_are_rung_again(session: Connection, rings: Rings) -> None:
    fresh, unheard, later = put(1), put(2), put(3, due_at=datetime.now(UTC) + timedelta(hours=1))
    change(unheard, rung_at=LONG_AGO)
    rings.clear()
    sweep(session)
    sweep(session)
    assert rings == [("scrip", [unheard])]
    assert the_job(fresh).rung_at is not None and the_job(later).rung_at is None
    assert Sweeper.objects.get(pk=1).rung == 1


def test_job_for_later_is_rung_when_it_is_due(session: Connection, rings: Rings) -> None:
    number = put(due_at=datetime.now(UTC) + timedelta(hours=1))
    change(number, due_at=LONG_AGO)
    sweep(session)
    assert rings == [("scrip", [number])]


@pytest.mark.parametrize(("held", "rung"), [(0, 300), (5, 200), (1_000, 0)])
def test_sweeper_rings_less_while_the_broker_holds_messages(
    session: Connection, rings: Rings, messages: dict[str, int], held: int, rung: int
) -> None:
    with transaction.atomic():
        for number in range(300):
            enqueue("tests.leave", {"number": number}, due_at=datetime.now(UTC))
    messages["scrip"] = held
    sweep(session)
    assert sum(len(ids) for _, ids in rings) == rung


def test_backlog_is_not_rung_over_and_over(
    session: Connection, rings: Rings, messages: dict[str, int]
) -> None:
    number = put()
    change(number, rung_at=datetime.now(UTC) - timedelta(seconds=5))
    rings.clear()
    messages["scrip"] = 100
    sweep(session)
    assert rings == []
    messages["scrip"] = 10
    sweep(session)
    assert rings == [("scrip", [number])]


def test_job_whose_worker_has_lost_its_session_is_taken_back(
    session: Connection, rings: Rings
) -> None:
    number, alive = put(1), put(2)
    assert claims.claim(number) and claims.claim(alive)
    with psycopg.connect(database_conninfo()) as gone:
        pid = gone.info.backend_pid
    change(number, session=pid)
    sweep(session)
    job = the_job(number)
    assert (job.state, job.reason, job.attempt) == (State.QUEUED, "worker_lost", 1)
    assert the_job(alive).state == State.RUNNING


def test_lease_that_ran_out_is_taken_back_for_the_last_time(
    session: Connection, rings: Rings
) -> None:
    number = put(unique="k")
    assert claims.claim(number)
    change(number, lease_until=LONG_AGO, attempt=8)
    sweep(session)
    assert (the_job(number).state, UniqueKey.objects.count()) == (State.DEAD, 0)


def test_job_that_ends_and_its_key_go_together_or_not_at_all(
    session: Connection, rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweeper that dies in between must not leave a key without its job: for ever taken."""
    number = put(unique="k")
    assert claims.claim(number)
    change(number, lease_until=LONG_AGO, attempt=8)
    monkeypatch.setattr(sweeper, "FREE_KEY", "SELECT 1 / 0, %s::text, %s::bigint")
    with pytest.raises(psycopg.errors.DivisionByZero):
        sweep(session)
    assert (the_job(number).state, UniqueKey.objects.count()) == (State.RUNNING, 1)


def test_two_sweeps_at_once_take_a_job_back_once(rings: Rings) -> None:
    numbers = [put(n) for n in range(50)]
    for number in numbers:
        assert claims.claim(number)
    Job.objects.update(lease_until=LONG_AGO, most_attempts=99)
    barrier = threading.Barrier(2)

    def one() -> None:
        with psycopg.connect(database_conninfo(), autocommit=True) as session:
            barrier.wait(10)
            sweep(session)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert Sweeper.objects.get(pk=1).returned == 50
    assert set(Job.objects.values_list("state", "attempt", "fence")) == {(State.QUEUED, 1, 1)}


def test_stranded_job_goes_on_when_its_name_is_known_again(
    session: Connection, rings: Rings
) -> None:
    number = put(7)
    change(number, name="tests.gone")
    assert run_one(number)
    sweep(session)
    assert the_job(number).state == State.STRANDED
    change(number, name="tests.leave")
    sweep(session)
    assert run_one(number)
    assert left() == [(7, "")]


def test_stranded_job_is_dead_after_a_week(session: Connection, rings: Rings) -> None:
    number = put(unique="k")
    change(number, name="tests.gone")
    assert run_one(number)
    change(number, started_at=LONG_AGO)
    sweep(session)
    job = the_job(number)
    assert (job.state, job.reason, UniqueKey.objects.count()) == (State.DEAD, "unknown_name", 0)


def test_silent_broker_stops_nothing_else(
    session: Connection, rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(queues: Any) -> dict[str, int]:
        raise ConnectionRefusedError

    monkeypatch.setattr(bell, "waiting", away)
    number = put()
    assert claims.claim(number)
    change(number, lease_until=LONG_AGO)
    put()
    sweep(session)
    assert the_job(number).state == State.QUEUED


# -- the clock -------------------------------------------------------------------------


def tick_from_eight(gap_s: float) -> list[int | None]:
    barrier, made = threading.Barrier(8), []

    def one() -> None:
        barrier.wait(10)
        made.append(beat.enqueue_tick("nightly", "tests.leave", {"number": 1}, gap_s=gap_s))
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return made


def test_eight_beats_make_one_job_of_a_tick(rings: Rings) -> None:
    assert len([number for number in tick_from_eight(30) if number]) == 1
    assert Job.objects.count() == 1


def test_without_the_noted_tick_each_beat_makes_its_own(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(beat, "TICK", "SELECT %s, %s")
    monkeypatch.setattr(beat, "enqueue", lambda name, arguments, unique: enqueue(name, arguments))
    tick_from_eight(30)
    assert Job.objects.count() == 8


def test_tick_whose_job_has_not_ended_makes_no_second(rings: Rings) -> None:
    first = beat.enqueue_tick("nightly", "tests.leave", {"number": 1}, gap_s=0)
    assert beat.enqueue_tick("nightly", "tests.leave", {"number": 1}, gap_s=0) == first
    assert first is not None and run_one(first)
    assert beat.enqueue_tick("nightly", "tests.leave", {"number": 1}, gap_s=0) != first


# -- days ------------------------------------------------------------------------------


def test_old_day_is_dropped_and_what_is_still_wanted_moves_out(
    session: Connection, rings: Rings
) -> None:
    day = datetime.now(UTC).date() - timedelta(days=30)
    for statement in days.making(day, 1):
        session.execute(statement.encode())
    old = first_id_at(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    names = {"done": State.DONE, "waiting": State.QUEUED, "dead": State.DEAD}
    for at, (name, state) in enumerate(names.items()):
        number = put(at)
        ended = {"ended_at": "2036-01-01T00:00:00Z"} if state >= State.DONE else {}
        change(number, id=old + at, state=state, queue=name, **ended)
    days.maintain(session)
    assert f"jobs_job_{day:%Y_%m_%d}" not in [name for (name,) in session.execute(days.DAYS)]
    assert sorted(Job.objects.values_list("queue", flat=True)) == ["dead", "waiting"]
    assert run_one(old + 1)


def test_days_lie_ahead_and_a_row_that_came_before_its_day_moves_in(
    session: Connection, rings: Rings
) -> None:
    day = datetime.now(UTC).date() + timedelta(days=days.AHEAD_DAYS)
    session.execute(f"DROP TABLE IF EXISTS jobs_job_{day:%Y_%m_%d}".encode())
    number = put()
    early = first_id_at(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    change(number, id=early)
    days.maintain(session)
    (table,) = session.execute(
        "SELECT tableoid::regclass::text FROM jobs_job WHERE id = %s", [early]
    ).fetchone() or ("",)
    assert table == f"jobs_job_{day:%Y_%m_%d}"


def given_back(session: Connection) -> claims.Claim:
    """A claim that the sweeper has taken back, because its connection was closed."""
    held = claims.claim(put())
    assert held is not None
    connection.close()  # as when a time limit has struck
    sweep(session)
    job = the_job(held.id)
    assert (job.state, job.reason) == (State.QUEUED, "worker_lost")
    return held


def test_the_sweeper_was_quicker_than_who_knows_what_happened(session: Connection) -> None:
    held = given_back(session)
    claims.fail(held, Reason.TIME_LIMIT, "took longer than 1 s")
    job = the_job(held.id)
    assert (job.state, job.reason, job.error) == (
        State.QUEUED, "time_limit", "took longer than 1 s",
    )  # fmt: skip


def test_a_reason_that_comes_late_is_not_put_on_the_next_attempt(session: Connection) -> None:
    held = given_back(session)
    change(held.id, due_at=LONG_AGO)
    assert claims.claim(held.id) is not None
    claims.fail(held, Reason.RAISED, "of the attempt before")
    job = the_job(held.id)
    assert (job.state, job.reason) == (State.RUNNING, "worker_lost")
