"""Many people reveal at once, or one person many times, or a process dies in the middle.

Every race comes with its control: the same race with the guard taken away, which fails.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import User
from edge.problems import Refusal
from rewards import revealing
from rewards.importing import ImportInProgress
from rewards.models import Reveal, VoucherCode
from rewards.revealing import Opened, reveal
from rewards.verifying import verify
from tests.rewards.conftest import KEY, LOOKUP_KEY, World, make_world, person

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(transactional_db: None) -> World:
    return make_world()


def at_once(people: Sequence[User], requests: Sequence[UUID] | None = None) -> list[str]:
    """Let everybody reveal at the same moment; codes shown, or names of refusals and errors."""
    start = threading.Barrier(len(people))
    wishes = requests or [uuid4() for _ in people]

    def one(owner: User, request: UUID) -> str:
        try:
            start.wait()
            opened: Opened = reveal(series_code="DRINK", owner=owner, request=request)
            return opened.code.for_its_owner()
        except Refusal as refusal:
            return refusal.code
        except Exception as error:
            return type(error).__name__
        finally:
            connection.close()

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(one, people, wishes))


def crowd(world: World, *, people: int, units: int, codes: int) -> list[User]:
    """People of whom the first `units` hold one unit each, and the codes for them."""
    made = [person(f"fan_{number}") for number in range(people)]
    lines = "".join(f"CODE-{number:04}\n" for number in range(codes))
    assert world.offer("code\n" + lines).is_clean
    for number, owner in enumerate(made[:units]):
        world.give(owner, 1, f"ticket-{number}")
    return made


def fifty_reveal_twenty(world: World) -> Counter[str]:
    people = crowd(world, people=50, units=20, codes=20)
    return Counter(at_once(people))


def test_fifty_people_reveal_twenty_codes_and_each_code_goes_to_one(world: World) -> None:
    seen = fifty_reveal_twenty(world)
    assert seen == {f"CODE-{number:04}": 1 for number in range(20)} | {"no_units": 30}
    assert Reveal.objects.count() == 20
    assert verify(world.drink) == []


def test_control_without_the_lock_holders_go_empty_handed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TAKE_FREE", "TAKE_WAITING"):
        bare = re.sub("FOR NO KEY UPDATE( SKIP LOCKED)?", "", getattr(revealing, name))
        monkeypatch.setattr(revealing, name, bare)
    seen = fifty_reveal_twenty(world)
    assert sum(count for code, count in seen.items() if code.startswith("CODE-")) < 20


def test_one_unit_asked_for_twenty_times_shows_one_code(world: World) -> None:
    [owner] = crowd(world, people=1, units=1, codes=20)
    seen = Counter(at_once([owner] * 20))
    assert (seen.pop("no_units"), list(seen.values())) == (19, [1])
    assert world.units(owner) == 0
    assert verify(world.drink) == []


def test_holder_waits_for_a_code_that_others_give_back(world: World) -> None:
    """The last code is locked by somebody the ledger will refuse; the holder still gets it."""
    [owner] = crowd(world, people=1, units=1, codes=1)
    locked, release = threading.Event(), threading.Event()

    def hold_and_give_back() -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            VoucherCode.objects.select_for_update(no_key=True).get()
            locked.set()
            release.wait(10)
            raise ZeroDivisionError
        connection.close()

    holder = threading.Thread(target=hold_and_give_back)
    holder.start()
    locked.wait(10)
    threading.Timer(0.2, release.set).start()
    assert at_once([owner]) == ["CODE-0000"]
    holder.join()


def test_same_request_at_once_burns_one_unit(world: World) -> None:
    [owner] = crowd(world, people=1, units=1, codes=20)
    world.give(owner, 9, "more")
    request = uuid4()
    seen = at_once([owner] * 10, [request] * 10)
    assert len(set(seen)) == 1
    assert seen[0].startswith("CODE-")
    assert (world.units(owner), Reveal.objects.count()) == (9, 1)


def last_unit_asked_for_under_one_key(world: World, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What ten requests say that are one wish, when none has found an earlier one."""
    [owner] = crowd(world, people=1, units=1, codes=20)
    valid_series, meeting = revealing._valid_series, threading.Barrier(10)

    def met(*args: Any) -> Any:
        meeting.wait(10)
        return valid_series(*args)

    monkeypatch.setattr(revealing, "_valid_series", met)
    return set(at_once([owner] * 10, [uuid4()] * 10))


def test_same_request_at_once_brings_the_code_of_the_last_unit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [seen] = last_unit_asked_for_under_one_key(world, monkeypatch)
    assert seen.startswith("CODE-")
    assert Reveal.objects.count() == 1


def test_control_without_a_second_look_it_has_no_units(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revealing, "Refusal", IntegrityError)
    assert "no_units" in last_unit_asked_for_under_one_key(world, monkeypatch)


def test_second_import_at_the_same_time_is_told_to_wait(world: World) -> None:
    with transaction.atomic():
        world.offer("code\nAAAA\n")

        def second() -> str:
            try:
                world.offer("code\nBBBB\n")
            except ImportInProgress as refusal:
                return refusal.code
            finally:
                connection.close()
            return "imported"

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(second).result() == "import_in_progress"
    assert verify(world.drink) == []


# -- kill -9 -----------------------------------------------------------------------------

REVEALER = """
import os, sys, uuid
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from accounts.models import User
from rewards.revealing import reveal
owner = User.objects.get(handle="fan_0")
for number in range(int(sys.argv[2]), 10_000):
    opened = reveal(series_code="DRINK", owner=owner, request=uuid.UUID(int=number))
    print(number, opened.reveal.pk, flush=True)
"""


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own on the test's database, until it is killed."""
    keys = {"CODE_KEYS": KEY, "CODE_LOOKUP_KEY": LOOKUP_KEY}
    return subprocess.Popen(
        [sys.executable, "-c", program, connection.settings_dict["NAME"], *arguments],
        cwd=ROOT,
        env={**os.environ, **keys, "DJANGO_SETTINGS_MODULE": "config.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_process_loses_nothing(world: World) -> None:
    crowd(world, people=1, units=1, codes=2_000)
    world.give(User.objects.get(handle="fan_0"), 1_999, "the rest")
    told: dict[int, int] = {}
    for round_number in range(3):
        process = child(REVEALER, str(max(told, default=-1) + 1))
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.013 * (round_number + 1))
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
        process.wait()
        told |= dict(map(_numbers, filter(None, map(str.strip, lines))))
        assert verify(world.drink) == []
    assert len(told) >= 3
    stored = dict(Reveal.objects.values_list("request", "pk"))
    assert all(stored[UUID(int=number)] == made for number, made in told.items())
    # At most the one that was at work when each process died was done without being told.
    assert len(told) <= len(stored) <= len(told) + 3


IMPORTER = """
import sys
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from rewards.importing import CodeFile, import_codes
print("ready", flush=True)
with open(sys.argv[2], "rb") as stream:
    import_codes(series_code="DRINK", file=CodeFile(stream, "big.csv"), actor=None)
print("done", flush=True)
"""


def test_killed_import_leaves_nothing_or_all(world: World, tmp_path: Path) -> None:
    file = tmp_path / "big.csv"
    file.write_text("code\n" + "".join(f"CODE-{number:06}\n" for number in range(20_000)))
    for delay_s in (0.05, 0.3):
        process = child(IMPORTER, str(file))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        is_done = "done" in process.stdout.read()
        process.wait()
        stored = VoucherCode.objects.count()
        assert stored == 20_000 if is_done else stored in {0, 20_000}
        assert verify(world.drink) == []
        if stored:
            break
    else:
        assert offer_patiently(world, file.read_bytes()) == 20_000
    assert verify(world.drink) == []


def offer_patiently(world: World, content: bytes) -> int:
    """Import once PostgreSQL has noticed that the killed client is gone; say how many codes."""
    for _ in range(100):
        with suppress(ImportInProgress):
            return world.offer(content).report.row_count
        time.sleep(0.1)
    raise AssertionError("the series stayed locked")


def _numbers(line: str) -> tuple[int, int]:
    number, made = line.split()
    return int(number), int(made)
