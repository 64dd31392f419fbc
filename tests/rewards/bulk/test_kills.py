"""A worker killed in the middle of each kind of work: the next goes on, and nothing is done twice.

The child process does the job as a worker does, says each step before its commit, and is
killed there. The control forgets what a step noted, and the work is done twice.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.db.models.functions import Now

from jobs.models import Job
from jobs.runner import run_one
from jobs.sweeper import sweep
from rewards.bulk import assigning, changing, exporting, files, generating
from rewards.importing import CodeFile
from rewards.models import BulkJob, VoucherCode
from rewards.units import units_of
from rewards.verifying import verify
from tests.rewards.bulk.conftest import SOON
from tests.rewards.conftest import KEY, LOOKUP_KEY, person
from tests.rewards.redemption.conftest import Till, make_till
from wallet.models import Transfer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[3]

WORKER = """
import sys, time
import django
django.setup()
from django.db import connection
from django.db.models.functions import Now
connection.settings_dict["NAME"] = sys.argv[1]
from jobs import runner
from jobs.models import Job
from rewards.bulk import assigning, changing, exporting, files, generating, steps
generating.CODES_PER_STEP = exporting.CODES_PER_STEP = 100
files.ROWS_PER_STEP = changing.CODES_PER_EXTENSION = changing.CODES_PER_DEACTIVATION = 100
assigning.PEOPLE_PER_STEP = 5
step = steps.step

def told(bulk_job_id):
    done = step(bulk_job_id)
    print("step", flush=True)
    time.sleep(0.05)
    return done

steps.step = told
# A worker hears of a job again until it has ended. An attempt that failed need not wait here.
for _ in range(200):
    Job.objects.filter(pk=int(sys.argv[2]), state=Job.State.QUEUED).update(due_at=Now())
    runner.run_one(int(sys.argv[2]))
    job = Job.objects.get(pk=int(sys.argv[2]))
    if job.state != Job.State.QUEUED:
        break
    print(job.error, file=sys.stderr, flush=True)
    time.sleep(0.05)
print("end", flush=True)
"""


@pytest.fixture
def till(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Till:
    for module, name in (
        (generating, "CODES_PER_STEP"), (exporting, "CODES_PER_STEP"), (files, "ROWS_PER_STEP"),
        (changing, "CODES_PER_EXTENSION"), (changing, "CODES_PER_DEACTIVATION"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(assigning, "PEOPLE_PER_STEP", 5)
    return make_till()


def worker(job_id: int) -> subprocess.Popen[str]:
    keys = {"CODE_KEYS": KEY, "CODE_LOOKUP_KEY": LOOKUP_KEY}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, connection.settings_dict["NAME"], str(job_id)],
        cwd=ROOT,
        env={**os.environ, **keys, "DJANGO_SETTINGS_MODULE": "config.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )


def go_on(bulk: BulkJob) -> None:
    """Let the sweeper take the job back, and this process be the next worker."""
    assert bulk.job_id is not None
    for _ in range(200):
        sweep(connection.connection)
        if Job.objects.get(pk=bulk.job_id).state == Job.State.QUEUED:
            run(bulk.job_id)
            return
        time.sleep(0.05)
    raise AssertionError("the worker's session stayed")


def run(job_id: int) -> None:
    """Do a job here, in the steps that the child takes."""
    Job.objects.filter(pk=job_id).update(due_at=Now())
    assert run_one(job_id)


def killed_and_done(bulk: BulkJob, *, after_steps: int = 2) -> BulkJob:
    """Kill one worker in its second step, before the commit, and let another end the work."""
    assert bulk.job_id is not None
    process = worker(bulk.job_id)
    assert process.stdout is not None
    for _ in range(after_steps):
        said = process.stdout.readline()
        assert said == "step\n", Job.objects.get(pk=bulk.job_id).error
    process.send_signal(signal.SIGKILL)
    process.wait()
    bulk.refresh_from_db()
    assert bulk.state == "open"
    go_on(bulk)
    assert Job.objects.get(pk=bulk.job_id).state == 5
    bulk.refresh_from_db()
    return bulk


def made(till: Till, count: int) -> None:
    """Codes without a kill."""
    run(generating.generate("OURS", count, actor=till.clerk).job_id or 0)


def test_killed_generation_makes_each_code_once(till: Till) -> None:
    bulk = killed_and_done(generating.generate("OURS", 350, actor=till.clerk))
    assert (bulk.state, bulk.done, VoucherCode.objects.count()) == ("done", 350, 350)
    assert verify(till.series["OURS"], opens_codes=True) == []


def test_killed_import_takes_each_line_once(till: Till) -> None:
    content = b"code\n" + b"".join(b"CODE-%05d\n" % number for number in range(350))
    bulk = killed_and_done(
        files.import_in_steps(
            series_code="TENOFF", file=CodeFile(io.BytesIO(content), "big.csv"), actor=till.clerk
        )
    )
    assert (bulk.state, VoucherCode.objects.count()) == ("done", 350)
    assert verify(till.series["TENOFF"], opens_codes=True) == []


def test_killed_export_takes_each_code_once(till: Till) -> None:
    made(till, 400)
    bulk = killed_and_done(exporting.export("OURS", 350, actor=till.clerk))
    assert (bulk.state, bulk.done) == ("done", 350)
    assert VoucherCode.objects.filter(export=bulk).count() == 350
    assert verify(till.series["OURS"]) == []


def test_killed_assignment_gives_each_person_once(till: Till) -> None:
    made(till, 100)
    fans = [person(f"fan_{number}") for number in range(18)]
    names = [fan.handle for fan in fans]
    bulk = killed_and_done(assigning.assign("OURS", names, 3, actor=till.clerk))
    asset_id = till.series["OURS"].asset_id
    assert bulk.report["given"] == 18
    assert {units_of(fan.pk, [asset_id])[asset_id] for fan in fans} == {3}
    assert Transfer.objects.filter(reference__startswith="assign:").count() == 18


@pytest.mark.parametrize("kind", ["extend", "deactivate"])
def test_killed_change_is_made_once(till: Till, kind: str) -> None:
    made(till, 350)
    out = exporting.export("OURS", 350, actor=till.clerk)
    run(out.job_id or 0)
    VoucherCode.objects.update(expires_at="2120-01-01T00:00:00Z")
    start: dict[str, Callable[[], BulkJob]] = {
        "extend": lambda: changing.extend("OURS", SOON, actor=till.clerk, reason="moved"),
        "deactivate": lambda: changing.deactivate(
            "OURS", actor=till.clerk, reason="lost", export_id=out.pk
        ),
    }
    bulk = killed_and_done(start[kind]())
    assert (bulk.state, bulk.report["changed"], bulk.done) == ("done", 350, 350)
    assert verify(till.series["OURS"]) == []


def test_control_without_its_notes_work_is_done_twice(till: Till) -> None:
    """The same kill, but progress is forgotten: codes are made again, and the count is wrong."""
    bulk = generating.generate("OURS", 350, actor=till.clerk)
    process = worker(bulk.job_id or 0)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    BulkJob.objects.filter(pk=bulk.pk).update(done=0)
    go_on(bulk)
    assert VoucherCode.objects.count() > 350
