"""Running the same work in many threads at once, each with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import connection

T = TypeVar("T")
PATIENCE_S = 60


def at_once(works: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """Run each work in a thread, all released together; give back results or what was raised."""
    barrier = threading.Barrier(len(works))
    results: list[T | BaseException] = [AssertionError("never ended")] * len(works)

    def run(place: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(PATIENCE_S)
            results[place] = works[place]()
        except BaseException as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return results
