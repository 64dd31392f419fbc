"""What end-to-end tests may rely on: real processes that serve, die and come back."""

from __future__ import annotations

import httpx

from tests.support.processes import StartScrip, is_running

ALL = ("web", "gateway", "writer", "relay")


def test_real_processes_serve_and_come_back_after_kill(start_scrip: StartScrip) -> None:
    scrip = start_scrip(*ALL)
    ready = httpx.get(f"{scrip.web_url}/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    jobs = ready.json()["parts"]["jobs"]
    assert not jobs["is_ready"], "no beat was started: the sweeper is shown to be silent"
    assert (jobs["queues"], jobs["dead"]) == ([], 0)
    [(epoch,)] = scrip.query("SELECT epoch FROM sequencer_shard")
    writer = scrip.pid("writer")
    scrip.kill("writer")
    assert not is_running(writer)
    scrip.start("writer")
    assert scrip.query("SELECT epoch FROM sequencer_shard") == [(epoch + 1,)]
    assert httpx.get(f"{scrip.gateway_url}/healthz").status_code == 200


def test_readiness_names_what_is_missing(start_scrip: StartScrip) -> None:
    scrip = start_scrip("web", "writer", "relay", own_postgres=True)
    assert httpx.get(f"{scrip.web_url}/readyz").status_code == 200
    scrip.kill_valkey()
    problem = httpx.get(f"{scrip.web_url}/readyz")
    assert problem.status_code == 503
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["code"] == "unavailable"
    assert not problem.json()["parts"]["redis"]["is_ready"]
    assert problem.json()["parts"]["database"]["is_ready"]
    scrip.start_valkey()
    scrip.kill_postgres()
    problem = httpx.get(f"{scrip.web_url}/readyz")
    assert problem.status_code == 503
    assert problem.json()["detail"] == "Not ready: database, writers, relay."
    assert httpx.get(f"{scrip.web_url}/healthz").text == "alive\n"
    scrip.start_postgres()
    assert httpx.get(f"{scrip.web_url}/readyz").json()["parts"]["database"]["is_ready"]
