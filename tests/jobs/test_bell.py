"""The bell costs whoever rings little, whatever has become of the broker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from celery import Celery, current_app
from django.db import transaction

from config.embedded import Embedded
from config.guard import Guard
from config.redis_urls import CELERY, celery_broker
from jobs import bell, enqueue
from jobs.models import Job
from tests.support.processes import Scrip

AT_MOST_S = 5.0
"""One time-out, and the patience of a busy machine."""


@pytest.fixture
def broker(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    """A Valkey of its own that may be frozen or killed."""
    with Scrip(guard, embedded_servers) as scrip:
        yield scrip


@pytest.fixture
def celery(broker: Scrip, monkeypatch: pytest.MonkeyPatch) -> Celery:
    """A Celery that rings there, with the settings of ours."""
    app = Celery("scrip", broker=celery_broker(broker.redis_url, CELERY), set_as_current=False)
    app.conf.update({
        name: current_app.conf[name]
        for name in ("broker_transport_options", "broker_pool_acquire_timeout",
                     "task_publish_retry", "task_serializer")
    })  # fmt: skip
    monkeypatch.setattr(bell, "current_app", app)
    monkeypatch.setattr(bell, "_silence", bell._Silence())
    return app


def ringing() -> tuple[bool, float]:
    """Ring; say whether somebody heard, and how long it took in seconds."""
    began = time.monotonic()
    heard = bell.ring("scrip", [1], limit_s=60)
    return heard, time.monotonic() - began


@pytest.mark.usefixtures("celery")
def test_frozen_broker_costs_a_second_and_then_nothing(broker: Scrip) -> None:
    assert ringing()[0]
    os.kill(broker.valkey_pid, signal.SIGSTOP)
    try:
        heard, took_s = ringing()
        assert not heard and took_s < AT_MOST_S
        heard, took_s = ringing()
        assert not heard and took_s < 0.9
    finally:
        os.kill(broker.valkey_pid, signal.SIGCONT)


def test_without_the_time_out_whoever_rings_waits_for_the_frozen_broker(
    broker: Scrip, celery: Celery
) -> None:
    """The control of the test above."""
    options = {**celery.conf.broker_transport_options, "socket_timeout": None}
    celery.conf.broker_transport_options = options
    assert ringing()[0]
    os.kill(broker.valkey_pid, signal.SIGSTOP)
    waker = os.fork()
    if not waker:
        time.sleep(AT_MOST_S + 1)
        os.kill(broker.valkey_pid, signal.SIGCONT)
        os._exit(0)
    assert ringing()[1] > AT_MOST_S
    os.waitpid(waker, 0)


@pytest.mark.usefixtures("celery")
def test_broker_that_is_gone_is_tried_once_and_without_a_pause(broker: Scrip) -> None:
    assert ringing()[0]
    broker.kill_valkey()
    for _ in range(2):
        bell._silence.until = 0.0
        heard, took_s = ringing()
        assert not heard and took_s < AT_MOST_S
    broker.start_valkey()
    bell._silence.until = 0.0
    assert ringing()[0]


def test_silence_doubles_up_to_its_limit_and_ends_with_the_first_ring() -> None:
    silence, lasts = bell._Silence(), []
    for _ in range(5):
        silence.fall()
        lasts.append(round(silence.until - time.monotonic()))
    assert lasts == [2, 4, 8, 16, 16]
    silence.end()
    silence.fall()
    assert round(silence.until - time.monotonic()) == 2


@pytest.mark.usefixtures("effects")
def test_bell_that_breaks_breaks_nothing_that_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(queue: str, ids: list[int], *, limit_s: int) -> bool:
        raise AssertionError("what nobody thought of")

    monkeypatch.setattr(bell, "ring", breaks)
    heard = []
    with transaction.atomic():
        number = enqueue("tests.leave", {"number": 1})
        transaction.on_commit(lambda: heard.append("the next"))
    assert Job.objects.filter(pk=number).exists()
    assert heard == ["the next"]
