"""The line in a real Valkey: lots before the start, order after it, the rate, and a wipe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import pytest
import redis
from django.conf import settings

from sequencer.waiting_room import line as line_module
from sequencer.waiting_room.line import WaitingLines, line_keys
from sequencer.waiting_room.rules import Room, Standing, draw

_ids = count(1_000_000)


@pytest.fixture(autouse=True)
def always_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "REMEMBERED_S", 0)


@pytest.fixture
def room_id(embedded_servers: object) -> Iterator[int]:
    number = next(_ids)
    yield number
    redis.Redis.from_url(settings.REDIS_URL).delete(*line_keys(number))


def room(room_id: int, *, starts_in_s: float, per_minute: int = 60) -> Room:
    now = time.time()
    return Room(
        room_id,
        f"r{room_id}",
        "A drop",
        now - 3600,
        now + starts_in_s,
        per_minute,
        600,
        "",
        "",
        "s",
    )


def run(
    story: Callable[[WaitingLines], Awaitable[None]], *, grace_s: float = 0, presence_s: float = 25
) -> None:
    async def tell() -> None:
        lines = WaitingLines(settings.REDIS_URL, grace_s=grace_s, presence_s=presence_s)
        async with asyncio.timeout(30), lines:
            await story(lines)

    asyncio.run(tell())


async def all_of(lines: WaitingLines, room: Room, people: range) -> list[Standing]:
    return list(await asyncio.gather(*(lines.standing(room, person) for person in people)))


def passed(standings: list[Standing]) -> list[bool]:
    return [bool(each.pass_until) for each in standings]


def test_before_the_start_the_order_is_the_lot_and_coming_first_is_nothing(room_id: int) -> None:
    lobby = room(room_id, starts_in_s=60)

    async def story(lines: WaitingLines) -> None:
        await lines.standing(lobby, 5)
        await all_of(lines, lobby, range(40))
        standings = await all_of(lines, lobby, range(40))
        order = sorted(range(40), key=lambda person: standings[person].ahead)
        assert order == sorted(range(40), key=lambda person: draw("s", person))
        assert not any(passed(standings))
        assert standings[0].waiting == 40

    run(story)


def test_after_the_start_first_come_first_served_and_behind_all_lots(room_id: int) -> None:
    async def story(lines: WaitingLines) -> None:
        lobby = room(room_id, starts_in_s=60, per_minute=1)
        await all_of(lines, lobby, range(10))
        running = room(room_id, starts_in_s=-0.01, per_minute=1)
        await lines.standing(running, 100)
        await asyncio.sleep(0.02)
        await lines.standing(running, 50)
        standings = await all_of(lines, running, range(10))
        late = [await lines.standing(running, person) for person in (100, 50)]
        ahead = [each.ahead for each in late]
        assert sorted(each.ahead for each in standings if not each.pass_until) == list(range(9))
        assert ahead == [9, 10]

    run(story)


def test_passes_go_out_at_the_rate_in_order_and_no_faster(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=1_200)

    async def story(lines: WaitingLines) -> None:
        started = time.monotonic()
        for person in range(60):
            await lines.standing(running, person)
        while time.monotonic() - started < 2:
            standings = await all_of(lines, running, range(60))
            seconds = time.monotonic() - started
            got = passed(standings)
            assert sum(got) <= 1 + seconds * 20 + 1
            assert got == sorted(got, reverse=True)
            await asyncio.sleep(0.1)
        assert sum(got) >= 35

    run(story)


def test_control_a_room_that_ignores_the_rate_lets_everybody_pass(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=1_000_000)

    async def story(lines: WaitingLines) -> None:
        await all_of(lines, running, range(60))
        await asyncio.sleep(0.1)
        assert all(passed(await all_of(lines, running, range(60))))

    run(story)


def test_asking_from_many_places_gives_one_place_and_one_pass(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=60)

    async def story(lines: WaitingLines) -> None:
        await lines.standing(running, 1)
        many = await asyncio.gather(*(lines.standing(running, 2) for _ in range(50)))
        other = WaitingLines(settings.REDIS_URL, grace_s=0)
        many += [await other.standing(running, 2) for _ in range(10)]
        assert {each.score for each in many} == {many[0].score}
        assert {each.waiting for each in many} <= {1, 2}
        await asyncio.sleep(1.1)
        first = await lines.standing(running, 2)
        assert first.pass_until
        assert (await other.standing(running, 2)).pass_until == first.pass_until
        await other.__aexit__()

    run(story)


def test_who_leaves_is_skipped_and_gets_the_old_place_back_with_the_ticket(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=1)

    async def story(lines: WaitingLines) -> None:
        first = await lines.standing(running, 1)
        leaving = await lines.standing(running, 2)
        behind = await lines.standing(running, 3)
        assert first.pass_until
        assert (leaving.ahead, behind.ahead) == (0, 1)
        for _ in range(4):
            await asyncio.sleep(0.15)
            behind = await lines.standing(running, 3)
        assert behind.ahead == 0
        back = await lines.standing(running, 2, claimed=leaving.score)
        assert back.ahead == 0
        assert (await lines.standing(running, 3)).ahead == 1
        assert (await lines.standing(running, 4)).ahead == 2

    run(story, presence_s=0.4)


def test_a_wiped_redis_brings_everybody_back_by_their_tickets(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=300)
    client = redis.Redis.from_url(settings.REDIS_URL)

    async def story(lines: WaitingLines) -> None:
        before = [await lines.standing(running, person) for person in range(30)]
        client.delete(*line_keys(room_id))
        wiped = time.monotonic()
        # Those at the end come back first; one of them has lost the ticket.
        for person in reversed(range(10, 30)):
            claimed = -1.0 if person == 12 else before[person].score
            after = await lines.standing(running, person, claimed=claimed)
            assert not after.pass_until, "nobody passes before those in front are back"
        order = [await lines.standing(running, person) for person in range(10, 30)]
        places = [each.ahead for each in order]
        assert places[2] == 19
        assert places[:2] + places[3:] == list(range(19))
        await asyncio.sleep(2.1)
        again = await all_of(lines, running, range(10, 30))
        # What was held back meanwhile is given now, five a second, and those in front have it.
        count = sum(passed(again))
        assert 10 <= count <= (time.monotonic() - wiped) * 5 + 2
        in_front = [ok for number, ok in enumerate(passed(again)) if number != 2]
        assert [*in_front, passed(again)[2]] == [True] * count + [False] * (20 - count)

    run(story, grace_s=2)


def test_control_without_the_grace_those_who_come_back_first_pass_first(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=600)
    client = redis.Redis.from_url(settings.REDIS_URL)

    async def story(lines: WaitingLines) -> None:
        before = [await lines.standing(running, person) for person in range(30)]
        client.delete(*line_keys(room_id))
        after = await lines.standing(running, 29, claimed=before[29].score)
        assert after.pass_until

    run(story)


def test_a_pass_that_ran_out_sends_its_holder_to_the_end(room_id: int) -> None:
    running = room(room_id, starts_in_s=-3600, per_minute=1)

    async def story(lines: WaitingLines) -> None:
        first = await lines.standing(running, 1)
        assert first.pass_until
        waiting = [await lines.standing(running, person) for person in (2, 3)]
        redis.Redis.from_url(settings.REDIS_URL).hset(line_keys(room_id)[3], "1", "5")
        again = await lines.standing(running, 1, claimed=waiting[0].score - 0.5)
        assert (again.pass_until, again.ahead) == (0, 2)

    run(story)
