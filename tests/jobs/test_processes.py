"""The real worker and beat: the bell, the sweeper, and every way for a worker to die."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from config.embedded import Embedded
from config.guard import Guard
from tests.jobs.work import TABLE
from tests.support.processes import Scrip

pytestmark = pytest.mark.timeout(900)
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.jobs.site"}
PUT = """
from django.db import transaction
import jobs
with transaction.atomic():
    print(jobs.enqueue({name!r}, {arguments!r}))
"""
PUT_BOTH = """
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
import jobs
with transaction.atomic():
    print(jobs.enqueue("tests.count_briskly", {"upto": 60, "pause_s": 0.25}))
    soon = timezone.now() + timedelta(seconds=3)
    print(jobs.enqueue("tests.leave", {"number": 70}, due_at=soon))
"""


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    with Scrip(guard, embedded_servers, environment=SETTINGS) as scrip:
        scrip.query(TABLE)
        scrip.start("worker", "beat")
        yield scrip


def put(scrip: Scrip, name: str, **arguments: float) -> int:
    code = PUT.format(name=name, arguments=arguments)
    return int(scrip.manage("shell", "-v", "0", "-c", code))


def state(scrip: Scrip, job: int) -> tuple[int, str]:
    return scrip.query("SELECT state, reason FROM jobs_job WHERE id = %s", job)[0]


def wait_for(scrip: Scrip, job: int, wanted: tuple[int, str], *, within_s: float = 90) -> None:
    until = time.monotonic() + within_s
    while state(scrip, job) != wanted:
        if time.monotonic() > until:
            logs = f"{scrip.log('worker')[-3000:]}\n{scrip.log('beat')[-1000:]}"
            pytest.fail(f"job {job} is {state(scrip, job)}, not {wanted}:\n{logs}")
        time.sleep(0.05)


def effects(scrip: Scrip, number: int) -> int:
    return int(scrip.query("SELECT count(*) FROM effects WHERE number = %s", number)[0][0])


def test_job_is_done_by_the_worker(scrip: Scrip) -> None:
    wait_for(scrip, put(scrip, "tests.leave", number=1), (5, ""))
    assert effects(scrip, 1) == 1


def test_job_whose_ring_was_lost_is_rung_again_within_seconds(scrip: Scrip) -> None:
    (job,) = scrip.query(
        "INSERT INTO jobs_job (name, version, queue, arguments, most_attempts, backoff_s,"
        " time_limit_s, rung_at) VALUES ('tests.leave', 1, 'scrip', '{\"number\": 2}', 3, 1, 9,"
        " now()) RETURNING id"
    )[0]
    wait_for(scrip, job, (5, ""))
    assert effects(scrip, 2) == 1


def test_child_that_is_killed_names_it_at_once_and_the_worker_lives(scrip: Scrip) -> None:
    wait_for(scrip, put(scrip, "tests.die", number=3), (6, "killed"))
    assert "SIGKILL" in scrip.query("SELECT error FROM jobs_job WHERE reason = 'killed'")[0][0]
    assert effects(scrip, 3) == 0
    wait_for(scrip, put(scrip, "tests.leave", number=4), (5, ""))


def test_job_that_hangs_is_stopped_by_its_limit(scrip: Scrip) -> None:
    wait_for(scrip, put(scrip, "tests.hang", number=5), (6, "time_limit"))
    assert effects(scrip, 5) == 0


def test_job_that_hears_no_signal_is_killed_with_its_process(scrip: Scrip) -> None:
    wait_for(scrip, put(scrip, "tests.hang_hard", number=6), (6, "time_limit"))
    assert effects(scrip, 6) == 0
    wait_for(scrip, put(scrip, "tests.leave", number=7), (5, ""))


def test_worker_group_killed_in_a_job_is_found_out_by_its_session(scrip: Scrip) -> None:
    job = put(scrip, "tests.sleep", number=8)
    wait_for(scrip, job, (2, ""))
    scrip.kill("worker")
    wait_for(scrip, job, (6, "worker_lost"))
    scrip.start("worker")
    assert effects(scrip, 8) == 0


def test_long_job_goes_on_after_kills_where_it_was(scrip: Scrip) -> None:
    job = put(scrip, "tests.count", upto=40, pause_s=0.05)
    for done in (5, 15, 25):
        until = time.monotonic() + 20
        while scrip.query("SELECT done FROM jobs_job WHERE id = %s", job)[0][0] < done:
            assert time.monotonic() < until
            time.sleep(0.02)
        scrip.kill("worker")
        scrip.start("worker")
    wait_for(scrip, job, (5, ""))
    assert scrip.query("SELECT count(*), count(DISTINCT number) FROM effects"
                       " WHERE number BETWEEN 11 AND 40 AND what = ''") == [(30, 30)]  # fmt: skip


def test_long_job_outlasts_its_limit_and_lets_others_in_between(scrip: Scrip) -> None:
    """Its whole takes longer than Celery lets one message last; and there is one worker."""
    long, quick = (
        int(number) for number in scrip.manage("shell", "-v", "0", "-c", PUT_BOTH).split()
    )
    wait_for(scrip, quick, (5, ""))
    assert state(scrip, long) in {(1, ""), (2, "")}
    wait_for(scrip, long, (5, ""))
    assert scrip.query("SELECT fence > 2, attempt FROM jobs_job WHERE id = %s", long) == [(True, 1)]


def test_slow_queue_has_a_worker_of_its_own(scrip: Scrip) -> None:
    """So what takes minutes there keeps nobody waiting here."""
    slow = put(scrip, "tests.sleep_slowly", number=80)
    wait_for(scrip, put(scrip, "tests.leave", number=81), (5, ""))
    assert state(scrip, slow) == (1, "")
    scrip.start("worker-slow")
    wait_for(scrip, slow, (2, ""))
    wait_for(scrip, put(scrip, "tests.leave", number=82), (5, ""))
    assert state(scrip, slow) == (2, "")
    scrip.kill("worker-slow")


def test_valkey_killed_and_back_delays_and_loses_nothing(scrip: Scrip) -> None:
    scrip.kill_valkey()
    job = put(scrip, "tests.leave", number=50)
    scrip.start_valkey()
    wait_for(scrip, job, (5, ""))
    assert effects(scrip, 50) == 1


def test_periodic_work_runs_once_with_two_beats(scrip: Scrip) -> None:
    scrip.start_another("beat")
    time.sleep(17)
    gaps = scrip.query(
        "SELECT extract(epoch FROM due_at - lag(due_at) OVER (ORDER BY id))::float"
        "  FROM jobs_job WHERE name = 'wallet.expire_holds'"
    )
    seconds = [gap for (gap,) in gaps if gap is not None]
    assert seconds and min(seconds) > 13
