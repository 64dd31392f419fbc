"""Found by the registry as every app's `tasks.py` is; and the plain task that is the control."""

from __future__ import annotations

import time

from celery import shared_task

from tests.jobs import work


@shared_task(name="tests.plain")  # type: ignore[untyped-decorator]
def plain(number: int) -> None:
    """What others do: the arguments travel in the message, and nothing else is kept."""
    work.leave(number)
    time.sleep(0.002)
