"""How fast codes are made, come in and go out: generated, from a CSV, and revealed.

    python -m bench.rewards [lines]

The import is the whole of it: read, checked, sealed, compared with what is stored, and its
units issued, in one durable transaction. 200,000 lines by default, because a million take
half a minute; the rate is the same. A second file meets the first one's codes in the index.
Reveals are the action itself, without HTTP, each a durable transaction of its own.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from accounts.models import User  # noqa: E402
from config.embedded import Embedded, stop, var_dir  # noqa: E402
from rewards.actions import SeriesTerms, create_series, hand_out  # noqa: E402
from rewards.bulk import steps  # noqa: E402
from rewards.bulk.generating import generate  # noqa: E402
from rewards.importing import CodeFile, import_codes  # noqa: E402
from rewards.models import Series  # noqa: E402
from rewards.patterns import USUAL_PATTERN  # noqa: E402
from rewards.revealing import reveal  # noqa: E402
from rewards.verifying import verify  # noqa: E402

LINES = 200_000
CODES = 1_000_000
ALPHABET = "ABCDEFGHJKMNPQRTUVWXY346789"
PEOPLE = 8
REVEALS_EACH = 150


def measure(lines: int = LINES) -> dict[str, float]:
    """All figures, by flat names. Starts the embedded servers if they do not run."""
    with servers():
        return measure_generation(CODES) | measure_import(lines) | measure_reveals()


def measure_generation(count: int) -> dict[str, float]:
    """Make codes step by step, as the job does, each step a durable transaction; and the memory
    that grew meanwhile."""
    series = new_series(code_pattern=USUAL_PATTERN)
    bulk = generate(series.code, count, actor=None)
    first_step()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    is_last = False
    while not is_last:
        with transaction.atomic():
            is_last = steps.step(bulk.pk).is_last
    rate = count / (time.perf_counter() - started)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    assert verify(series) == []
    return {"rewards.codes_generated_per_s": rate, "rewards.codes_generated_memory_mb": grown_mb}


def first_step() -> None:
    """Make a step of another series, so that memory is measured after everything is loaded."""
    bulk = generate(new_series(code_pattern=USUAL_PATTERN).code, 50_000, actor=None)
    with transaction.atomic():
        steps.step(bulk.pk)


def measure_import(lines: int) -> dict[str, float]:
    """Two files of the same length into one series; the slower one counts."""
    series = new_series()
    files = [code_file(lines, seed) for seed in (1, 2)]
    rates = []
    for number, content in enumerate(files):
        started = time.perf_counter()
        outcome = import_codes(
            series_code=series.code,
            file=CodeFile(io.BytesIO(content), f"{number}.csv"),
            actor=None,
        )
        rates.append(lines / (time.perf_counter() - started))
        assert outcome.is_clean, outcome.report.counts
    assert verify(series) == []
    return {"rewards.import_lines_per_s": min(rates)}


def measure_reveals() -> dict[str, float]:
    """One person after the other reveal, then eight people at once, all of one series."""
    series, people = new_series(), new_people()
    count = PEOPLE * REVEALS_EACH * 2
    content = code_file(count, seed=3)
    import_codes(series_code=series.code, file=CodeFile(io.BytesIO(content), "r.csv"), actor=None)
    for person in people:
        reference = f"bench:{series.pk}:{person.pk}"
        units = REVEALS_EACH * 2
        hand_out(series.code, owner=person, amount=units, reference=reference, actor=None)

    def reveals(person: User) -> None:
        for _ in range(REVEALS_EACH):
            reveal(series_code=series.code, owner=person, request=uuid4())
        if len(people) > 1:
            connection.close()

    figures = {}
    for name, workers in (("1_client_", 1), ("", PEOPLE)):
        started = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(reveals, people))
        rate = PEOPLE * REVEALS_EACH / (time.perf_counter() - started)
        figures[f"rewards.{name}reveals_per_s"] = rate
    assert verify(series) == []
    return figures


def code_file(lines: int, seed: int) -> bytes:
    """A CSV of made-up codes, 14 characters each, half of them with a date of their own."""
    draw = random.Random(f"{seed}:{time.time_ns()}")
    rows = (
        f"{''.join(draw.choices(ALPHABET, k=14))},{'2036-06-30' if line % 2 else ''}\r\n"
        for line in range(lines)
    )
    return ("code,expires_at\r\n" + "".join(rows)).encode()


def new_series(code_pattern: str = "") -> Series:
    """A series of its own for each run, so that runs do not meet."""
    code = f"BENCH-{time.time_ns()}"
    terms = SeriesTerms(code=code, title="Bench", issuer_name="Bench", code_pattern=code_pattern)
    return create_series(terms, actor=None)


def new_people() -> list[User]:
    """People of their own for each run."""
    run = time.time_ns() % 10**12
    return [
        User.objects.create_user(f"b{run}_{number}@example.com", handle=f"b{run}_{number}")
        for number in range(PEOPLE)
    ]


@contextmanager
def servers() -> Iterator[None]:
    """Run PostgreSQL and Valkey unless they run already; stop what was started."""
    embedded = Embedded(var_dir())
    started = []
    if not embedded.postgres_answers():
        started.append(embedded.start_postgres())
    if not embedded.valkey_answers():
        started.append(embedded.start_valkey())
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        connection.close()
        for process in reversed(started):
            stop(process)


if __name__ == "__main__":
    made = measure(int(sys.argv[1]) if len(sys.argv) > 1 else LINES)
    print(json.dumps({key: round(value, 1) for key, value in made.items()}, indent=2))
