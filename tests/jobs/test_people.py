"""What clerks see of jobs and do with them, in the admin and in a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from accounts.models import User
from edge.models import AuditEvent
from jobs import claims, control, enqueue, health
from jobs.models import Job, UniqueKey
from jobs.problems import NotPossible
from jobs.rules import Reason
from jobs.runner import run_all, run_one
from tests.jobs.conftest import left, the_job

Rings = list[tuple[str, list[int]]]
State = Job.State
JOBS = "/admin/jobs/job/"
pytestmark = pytest.mark.usefixtures("effects")


@pytest.fixture
def clerk(db: None) -> Client:
    user = User.objects.create_superuser("olga@example.com", handle="olga")
    client = Client()
    client.force_login(user)
    return client


def put(name: str = "tests.leave", *, unique: str | None = None, **arguments: Any) -> int:
    with transaction.atomic():
        return enqueue(name, arguments, unique=unique)


def dead(unique: str | None = None) -> int:
    number = put("tests.raise", number=7, unique=unique)
    Job.objects.filter(pk=number).update(most_attempts=1)
    assert run_one(number)
    return number


def test_dead_job_is_retried_from_the_start_and_audited(rings: Rings, clerk: Client) -> None:
    number = dead()
    rings.clear()
    body = {"action": "retry", "_selected_action": [number], "reason": "The bank is back"}
    page = clerk.post(JOBS, body, follow=True).content.decode()
    assert "Done for 1 of 1 jobs." in page
    job = the_job(number)
    assert (job.state, job.attempt, job.ended_at) == (State.QUEUED, 0, None)
    assert rings == [("scrip", [number])]
    event = AuditEvent.objects.get(action="jobs.retry")
    assert (event.object_id, event.reason) == (str(number), "The bank is back")


def test_retry_asks_for_a_reason_first(rings: Rings, clerk: Client) -> None:
    number = dead()
    page = clerk.post(JOBS, {"action": "retry", "_selected_action": [number]}).content.decode()
    assert "Reason" in page
    assert the_job(number).state == State.DEAD


def test_retry_does_not_break_into_a_key_that_another_job_holds(rings: Rings) -> None:
    first = dead("k")
    second = put(number=2, unique="k")
    with pytest.raises(NotPossible):
        control.retry([first], actor=None, reason="again")
    assert the_job(first).state == State.DEAD
    assert run_one(second)
    assert control.retry([first], actor=None, reason="again") == 1
    assert UniqueKey.objects.get(key="k").job_id == first


def test_discarded_job_is_out_of_the_way(rings: Rings) -> None:
    number = dead()
    assert control.discard([number], actor=None, reason="was a test") == 1
    assert (the_job(number).state, health.report().dead) == (State.CANCELLED, 0)


def test_paused_job_waits_until_it_is_resumed(rings: Rings) -> None:
    number = put(number=1)
    assert control.pause([number], actor=None, reason="wait") == 1
    assert (the_job(number).state, run_one(number)) == (State.PAUSED, False)
    assert control.resume([number], actor=None, reason="go") == 1
    assert run_one(number)
    assert left() == [(1, "")]


def test_cancelled_job_frees_its_key_and_never_runs(rings: Rings) -> None:
    number = put(number=1, unique="k")
    assert control.cancel([number], actor=None, reason="not needed") == 1
    assert (the_job(number).state, run_one(number), left()) == (State.CANCELLED, False, [])
    assert UniqueKey.objects.count() == 0


def test_ended_job_can_be_neither_paused_nor_cancelled_nor_retried(rings: Rings) -> None:
    number = put(number=1)
    assert run_one(number)
    for deed in (control.pause, control.resume, control.cancel, control.retry, control.discard):
        with pytest.raises(NotPossible):
            deed([number], actor=None, reason="late")
    assert the_job(number).state == State.DONE
    assert not AuditEvent.objects.exists()


def test_list_shows_queues_errors_and_progress(rings: Rings, clerk: Client) -> None:
    number = dead()
    put(number=1)
    Job.objects.filter(pk=number).update(done=30, total=40)
    page = clerk.get(JOBS).content.decode()
    assert "no luck with 7" in page
    assert '<progress value="30" max="40">' in page
    assert "0 running, 0 paused, 0 stranded," in page
    assert "1 dead" in page
    detail = clerk.get(f"{JOBS}{number}/change/").content.decode()
    assert "in leave_and_raise" in detail


def test_list_is_filtered_without_reading_every_day(rings: Rings, clerk: Client) -> None:
    number, other = dead(), put(number=2)
    with CaptureQueriesContext(connection) as asked:
        page = clerk.get(JOBS, {"reason": "raised", "name": "tests.raise", "queue": "scrip"})
    assert f"{JOBS}{number}/change/" in page.content.decode()
    assert f"{JOBS}{other}/change/" not in page.content.decode()
    of_jobs = [each["sql"] for each in asked if 'FROM "jobs_job"' in each["sql"]]
    assert not [sql for sql in of_jobs if "COUNT(" in sql or "DISTINCT" in sql]
    assert all("LIMIT" in sql for sql in of_jobs)


def test_job_cannot_be_edited_by_hand(rings: Rings, clerk: Client) -> None:
    number = dead()
    clerk.post(f"{JOBS}{number}/change/", {"state": "5", "name": "x"})
    assert the_job(number).state == State.DEAD
    assert clerk.get(f"{JOBS}add/").status_code == 403


def entry(**fields: str) -> dict[str, str]:
    every = IntervalSchedule.objects.get_or_create(every=1, period="hours")[0]
    arguments = '{"number": 1}'
    filled = {"name": "nightly", "task": "tests.leave", "kwargs": arguments, "enabled": "on"}
    return filled | {"interval": str(every.pk), "start_time_0": "", "start_time_1": ""} | fields


TIMETABLE = "/admin/django_celery_beat/periodictask/"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"task": "tests.nobody_does_this"}, "is not one of the available choices"),
        ({"kwargs": "{}"}, "missing a required argument"),
        ({"kwargs": "[1]"}, "Arguments have names"),
        ({"kwargs": "{"}, "This is no JSON"),
    ],
)
def test_entry_that_could_not_be_enqueued_is_refused(
    clerk: Client, fields: dict[str, str], why: str
) -> None:
    page = clerk.post(f"{TIMETABLE}add/", entry(**fields))
    assert why in page.content.decode()
    assert not PeriodicTask.objects.filter(name="nightly").exists()


def test_entry_can_be_made_now_and_once_while_its_job_waits(rings: Rings, clerk: Client) -> None:
    assert clerk.post(f"{TIMETABLE}add/", entry()).status_code == 302
    chosen = {"action": "make_now", "_selected_action": [PeriodicTask.objects.get().pk]}
    for _ in range(2):
        page = clerk.post(TIMETABLE, chosen, follow=True).content.decode()
        assert f"nightly: job {Job.objects.get().pk}." in page
    assert clerk.post(TIMETABLE, chosen | {"action": "disable"}, follow=True).status_code == 200
    assert not PeriodicTask.objects.get().enabled


def test_terminal_shows_the_same(rings: Rings) -> None:
    dead()
    put(number=1)
    out = StringIO()
    call_command("jobs", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["queue", "due", "later", "oldest", "s"]
    assert lines[1].split()[:3] == ["scrip", "1", "0"]
    assert "dead 1" in out.getvalue()
    assert "ValueError: no luck with 7" in out.getvalue()


def test_report_says_whether_the_sweeper_lives(rings: Rings) -> None:
    put(number=1)
    found = health.report()
    assert [(q.name, q.due, q.later) for q in found.queues] == [("scrip", 1, 0)]
    assert not found.is_ready
    assert found.part()["is_ready"] is False


def test_cancelled_job_that_was_put_back_unbegun_is_not_done(rings: Rings) -> None:
    number = put("tests.share", unique="seven", number=7)
    [held] = claims.claim_named([number], ["tests.share"])
    assert control.cancel([number], actor=None, reason="No more") == 1
    claims.unclaim([held])
    run_all([number])
    assert (the_job(number).state, left()) == (State.CANCELLED, [])
    assert not UniqueKey.objects.exists(), "the next of its name may be put down"


def test_cancelled_job_that_nobody_knows_is_cancelled(rings: Rings) -> None:
    number = put(unique="seven", number=7)
    held = claims.claim(number)
    assert held is not None
    assert control.cancel([number], actor=None, reason="No more") == 1
    claims.strand(held, Reason.UNKNOWN_NAME, "nobody here declares it")
    assert (the_job(number).state, UniqueKey.objects.exists()) == (State.CANCELLED, False)


def test_pause_of_a_job_that_was_put_back_unbegun_holds(rings: Rings) -> None:
    number = put("tests.share", number=7)
    [held] = claims.claim_named([number], ["tests.share"])
    assert control.pause([number], actor=None, reason="Later") == 1
    claims.unclaim([held])
    run_all([number])
    assert (the_job(number).state, left()) == (State.PAUSED, [])
