"""What Prometheus reads: only with the token, and it parses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.test import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from config.health import check_parts
from edge.database import database_conninfo
from jobs import bell, enqueue, tally
from jobs.models import Job, Sweeper, Tally
from jobs.runner import run_one
from jobs.sweeper import Connection

pytestmark = pytest.mark.usefixtures("transactional_db", "rings")
TOKEN = "for-the-tests-alone"


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "ring", lambda queue, ids, limit_s: True)


@pytest.fixture(autouse=True)
def token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


@pytest.fixture
def session() -> Iterator[Connection]:
    with psycopg.connect(database_conninfo(), autocommit=True) as session:
        yield session


def scrape(**headers: str) -> Any:
    return Client().get("/metrics", headers={"authorization": f"Bearer {TOKEN}", **headers})


def figures() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = scrape().content.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def put() -> int:
    with transaction.atomic():
        return enqueue("jobs.clear_sessions", {})


def ended_ago(number: int, seconds: float, *, wait_s: float = 0.02, work_s: float = 2.0) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET ended_at = now() - %(ago)s * interval '1 second',"
            " began_at = now() - (%(ago)s + %(work)s) * interval '1 second',"
            " started_at = now() - (%(ago)s + %(work)s) * interval '1 second',"
            " due_at = now() - (%(ago)s + %(work)s + %(wait)s) * interval '1 second'"
            " WHERE id = %(id)s",
            {"ago": seconds, "work": work_s, "wait": wait_s, "id": number},
        )


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN}é"])
def test_without_the_token_nobody_reads_figures(shown: str) -> None:
    refused = Client().get("/metrics", headers={"authorization": shown} if shown else {})
    assert (refused.status_code, refused.json()["code"]) == (401, "metrics_token_wrong")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_without_the_setting_there_is_no_such_address(settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"authorization": "Bearer "}).status_code == 404


def test_figures_tell_of_queues_states_and_parts() -> None:
    number = put()
    found = figures()
    assert found["scrip_jobs_waiting", (("due", "now"), ("queue", "slow"))] == 1
    assert found["scrip_part_ready", (("part", "database"),)] == 1
    assert found["scrip_part_ready", (("part", "relay"),)] == 0
    assert found["scrip_writer_waiting_entries", (("shard", "0"),)] == 0
    Job.objects.filter(pk=number).update(state=Job.State.PAUSED)
    assert figures()["scrip_jobs_in_state", (("state", "paused"),)] == 1


def test_each_ended_job_is_counted_once_with_its_times(session: Connection) -> None:
    tally.count_ended(session)
    numbers = [put(), put()]
    for number in numbers:
        assert run_one(number)
    tally.count_ended(session)
    assert not Tally.objects.exists(), "what ended just now may not have settled"
    Sweeper.objects.update(tallied_until="2026-01-01T00:00:00Z")
    for number in numbers:
        ended_ago(number, 10)
    tally.count_ended(session)
    tally.count_ended(session)
    name = ("name", "jobs.clear_sessions")
    found = figures()
    assert found["scrip_jobs_ended_total", (name, ("state", "done"))] == 2
    assert found["scrip_jobs_attempts_total", (name,)] == 2
    assert found["scrip_jobs_wait_seconds_count", (name,)] == 2
    assert found["scrip_jobs_wait_seconds_sum", (name,)] == pytest.approx(0.04, abs=0.001)
    assert found["scrip_jobs_wait_seconds_bucket", (("le", "0.01"), name)] == 0
    assert found["scrip_jobs_wait_seconds_bucket", (("le", "0.025"), name)] == 2
    assert found["scrip_jobs_work_seconds_bucket", (("le", "1.0"), name)] == 0
    assert found["scrip_jobs_work_seconds_bucket", (("le", "2.5"), name)] == 2
    assert found["scrip_jobs_work_seconds_bucket", (("le", "+Inf"), name)] == 2


def test_openmetrics_is_spoken_to_those_who_ask() -> None:
    answer = scrape(accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    spoken = open_metrics(answer.content.decode())  # type: ignore[no-untyped-call]
    assert any(family.name == "scrip_part_ready" for family in spoken)


def test_part_that_does_not_answer_is_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = check_parts()
    silent = {"is_ready": False, "error": "OperationalError", "took_ms": 5000.0}
    monkeypatch.setattr("config.metrics.check_parts", lambda: dict.fromkeys(parts, silent))
    found = figures()
    assert {found["scrip_part_ready", (("part", name),)] for name in parts} == {0}
    assert not [name for name, _ in found if name.startswith("scrip_jobs")]
