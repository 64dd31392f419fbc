"""A room's line in Redis: one script keeps it, asked for many people at once.

Nothing here must last. Lots are drawn from a seed, places are on the tickets that people hold,
and passes are checked without Redis. So after a wipe the line grows again from the tickets:
for `GRACE_S` nobody passes, so that those in front have shown theirs before those behind
them are counted; the passes of that time are not lost but given right after it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import Any, Self

import redis.asyncio
from redis.exceptions import RedisError

from edge.problems import Unavailable
from sequencer.waiting_room.rules import BURST_S, GRACE_S, PRESENT_S, Room, Standing, draw
from sequencer.waiting_room.tokens import UNPLACED

logger = logging.getLogger(__name__)

GATHER_S = 0.01
PEOPLE_A_CALL = 200
REMEMBERED_S = 1.0
MOST_REMEMBERED = 50_000
TIMEOUT_S = 2.0
KEPT_S = 7 * 24 * 3600

# KEYS: line, seen, state, passes. ARGV: start in ms, ms a pass, life of a pass in ms, presence,
# grace and burst in ms, seconds to keep; then for each person: id, lot, place on the ticket.
# The time is Redis's own, so that gateways whose clocks differ agree on who came first.
_ASK = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local starts, step, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local presence, grace, burst = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local due = tonumber(redis.call('HGET', KEYS[3], 'due'))
local held = tonumber(redis.call('HGET', KEYS[3], 'held_until') or '0')
if not due then
  due, held = now, 0
  if now > starts then held = now + grace end
  redis.call('HSET', KEYS[3], 'due', due, 'held_until', held)
end
if now >= starts then due = math.max(due, starts, now - burst) end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - presence, 'LIMIT', 0, 500)
for _, who in ipairs(gone) do
  redis.call('ZREM', KEYS[1], who)
  redis.call('ZREM', KEYS[2], who)
end
local out, waiting = {}, {}
for i = 8, #ARGV, 3 do
  local who = ARGV[i]
  local pass = redis.call('HGET', KEYS[4], who)
  if pass and tonumber(pass) > now then
    out[#out + 1] = {who, pass, '0', '-1'}
  else
    local score = redis.call('ZSCORE', KEYS[1], who)
    if not score then
      if ARGV[i + 2] ~= '-1' and not pass then score = ARGV[i + 2]
      elseif now < starts then score = ARGV[i + 1]
      else score = string.format('%.3f', 1 + (now - starts) / 1000) end
      redis.call('ZADD', KEYS[1], score, who)
    end
    redis.call('ZADD', KEYS[2], now, who)
    waiting[#waiting + 1] = {who, score}
  end
end
local free = 0
if now >= starts and now >= held and now >= due then
  free = math.floor((now - due) / step) + 1
end
local granted = {}
for _, each in ipairs(waiting) do
  if redis.call('ZRANK', KEYS[1], each[1]) < free then granted[each[1]] = true end
end
for who, _ in pairs(granted) do
  redis.call('ZREM', KEYS[1], who)
  redis.call('ZREM', KEYS[2], who)
  redis.call('HSET', KEYS[4], who, now + life)
  due = due + step
end
for _, each in ipairs(waiting) do
  if granted[each[1]] then
    out[#out + 1] = {each[1], tostring(now + life), '0', each[2]}
  else
    out[#out + 1] = {each[1], '0', tostring(redis.call('ZRANK', KEYS[1], each[1])), each[2]}
  end
end
redis.call('HSET', KEYS[3], 'due', string.format('%.3f', due))
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[7]) end
return {redis.call('ZCARD', KEYS[1]), out}
"""


def line_keys(room_id: int) -> list[str]:
    """Name a room's keys. The braces keep them on one Redis node."""
    return [f"scrip:{{room-{room_id}}}:{part}" for part in ("line", "seen", "state", "passes")]


class WaitingLines:
    """Asks for many people at once, and not more often than the answer changes.

    Use it as `async with WaitingLines(url) as lines`. Belongs to one event loop.
    """

    def __init__(
        self, url: str, *, grace_s: float = GRACE_S, presence_s: float = PRESENT_S
    ) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._script = self._redis.register_script(_ASK)
        self._grace_s = grace_s
        self._presence_s = presence_s
        self._asked: defaultdict[Room, dict[int, _Asked]] = defaultdict(dict)
        self._known: dict[tuple[int, int], tuple[float, Standing]] = {}
        self._gathering: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._gathering is not None:
            await asyncio.gather(self._gathering, return_exceptions=True)
        await self._redis.aclose()

    async def standing(self, room: Room, user_id: int, *, claimed: float = UNPLACED) -> Standing:
        """Say where a person stands, giving them a place if they have none.

        `claimed` is the place on their ticket. Refuses with 503 while Redis is away: the
        ticket keeps the place meanwhile.
        """
        known = self._known.get((room.id, user_id))
        if known is not None and time.monotonic() - known[0] < REMEMBERED_S:
            return known[1]
        people = self._asked[room]
        asked = people.get(user_id)
        if asked is None:
            future = asyncio.get_running_loop().create_future()
            asked = people[user_id] = _Asked(claimed, future)
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())
        return await asyncio.shield(asked.standing)

    async def _gather(self) -> None:
        """Wait a moment for others to ask, then ask Redis for all of them."""
        await asyncio.sleep(GATHER_S)
        asked, self._asked = self._asked, defaultdict(dict)
        self._gathering = None
        for room, people in asked.items():
            ids = list(people)
            for start in range(0, len(ids), PEOPLE_A_CALL):
                chunk = {user_id: people[user_id] for user_id in ids[start : start + PEOPLE_A_CALL]}
                await self._ask(room, chunk)

    async def _ask(self, room: Room, people: dict[int, _Asked]) -> None:
        try:
            waiting, found = await self._script(
                keys=line_keys(room.id), args=self._args(room, people)
            )
        except RedisError as error:
            logger.warning("the line of room %s does not answer: %s", room.name, error)
            for asked in people.values():
                if not asked.standing.done():
                    refusal = Unavailable("Keep your ticket and ask again.", retry_after_s=2)
                    asked.standing.set_exception(refusal)
            return
        now = time.monotonic()
        if len(self._known) > MOST_REMEMBERED:
            self._known.clear()
        for who, until_ms, ahead, score in found:
            standing = Standing(float(score), int(until_ms) // 1000, int(ahead), int(waiting))
            self._known[room.id, int(who)] = (now, standing)
            if not people[int(who)].standing.done():
                people[int(who)].standing.set_result(standing)

    def _args(self, room: Room, people: dict[int, _Asked]) -> list[Any]:
        args: list[Any] = [
            int(room.starts_at * 1000),
            60_000 / room.passes_per_minute,
            room.pass_life_s * 1000,
            int(self._presence_s * 1000),
            int(self._grace_s * 1000),
            max(BURST_S * 1000, 60_000 // room.passes_per_minute),
            KEPT_S,
        ]
        for user_id, asked in people.items():
            claimed = "-1" if asked.claimed == UNPLACED else repr(asked.claimed)
            args += [user_id, repr(draw(room.seed, user_id)), claimed]
        return args


class _Asked:
    """A question that is open: the place on the ticket, and where the answer goes."""

    __slots__ = ("claimed", "standing")

    def __init__(self, claimed: float, standing: asyncio.Future[Standing]) -> None:
        self.claimed = claimed
        self.standing = standing
