"""A program that puts down many jobs, and does not know when servers die.

    python -m tests.jobs.enqueuer rows|messages FIRST LAST PAUSE_S

Each batch of twenty is a transaction with its cause, a row for each number. After an error
the batch is tried again, and the cause tells whether the commit had come through.
"""

from __future__ import annotations

import sys
import time

import django

django.setup()

from django.db import InterfaceError, OperationalError, connection, transaction  # noqa: E402

import jobs  # noqa: E402
from tests.jobs.tasks import plain  # noqa: E402

BATCH = 20
TRIES = 600
CAUSE = "INSERT INTO causes SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING"


def put_rows(numbers: list[int]) -> None:
    for _ in range(TRIES):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(CAUSE, [numbers])
                if cursor.rowcount:
                    for number in numbers:
                        jobs.enqueue("tests.dawdle", {"number": number})
            return
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.1)
    raise RuntimeError("the database did not come back")


def put_messages(numbers: list[int]) -> None:
    for number in numbers:
        for _ in range(TRIES):
            try:
                plain.delay(number)
                break
            except plain.OperationalError:
                time.sleep(0.1)


def main() -> None:
    how, first, last, pause_s = sys.argv[1:]
    put = put_rows if how == "rows" else put_messages
    for start in range(int(first), int(last), BATCH):
        put(list(range(start, min(start + BATCH, int(last)))))
        time.sleep(float(pause_s))


if __name__ == "__main__":
    main()
