"""An app that declares the tests' jobs, and can make the bell deaf: the fault is in here alone."""

from __future__ import annotations

import os
import random
from typing import Any

from django.apps import AppConfig


class ChaosApp(AppConfig):
    name = "tests.jobs"
    label = "tests_jobs"

    def ready(self) -> None:
        """Drop this share of all that is published, if the test says so."""
        share = float(os.environ.get("DROPPED_SHARE", "0"))
        if share:
            lose_some(share)


dropped = {"count": 0}


def lose_some(share: float) -> None:
    """From here on a share of Celery's messages is lost on its way, and the sender is glad."""
    from celery.app.amqp import AMQP

    publish = AMQP.send_task_message.func if hasattr(AMQP.send_task_message, "func") else None
    assert publish is not None
    chance = random.Random(os.getpid())

    def make(self: AMQP) -> Any:
        send = publish(self)

        def sends(*args: Any, **options: Any) -> Any:
            if chance.random() < share:
                dropped["count"] += 1
                return None
            return send(*args, **options)

        return sends

    AMQP.send_task_message = property(make)
