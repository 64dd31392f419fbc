"""Which waiting rooms there are, kept in a gateway's memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Self

import psycopg

from edge.problems import Refusal, Unavailable
from sequencer.waiting_room.rules import Room

logger = logging.getLogger(__name__)

REFRESH_S = 1.0
ROOMS = """
SELECT id, name, title, extract(epoch FROM opens_at)::float8,
       extract(epoch FROM starts_at)::float8, passes_per_minute, pass_life_s, market,
       path_prefix, seed
  FROM sequencer_waitingroom WHERE closed_at IS NULL ORDER BY id
"""


class UnknownRoom(Refusal):
    """No waiting room has this name, or it has closed."""

    code = "unknown_waiting_room"
    title = "There is no such waiting room now"
    status = 404


class RoomDirectory:
    """All rooms that are not closed, read once a second.

    Use it as `async with RoomDirectory(database_url)`. While the database is away the last
    that was read stays in force.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._rooms: dict[str, Room] | None = None
        self.guarding: tuple[Room, ...] = ()
        self._task: asyncio.Task[None] | None = None

    def find(self, name: str) -> Room:
        """The room of this name. Refuses a name nobody uses."""
        if self._rooms is None:
            raise Unavailable("The waiting rooms are not known yet.")
        room = self._rooms.get(name)
        if room is None:
            raise UnknownRoom(room=name[:60])
        return room

    @property
    def is_known(self) -> bool:
        """Say whether the rooms were read at all."""
        return self._rooms is not None

    def set_rooms(self, rooms: Sequence[Room]) -> None:
        """These are all rooms there are."""
        self._rooms = {room.name: room for room in rooms}
        self.guarding = tuple(room for room in rooms if room.market or room.path_prefix)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_fresh())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _stay_fresh(self) -> None:
        while True:
            try:
                await self._read_for_ever()
            except psycopg.Error as error:
                logger.warning("the waiting rooms are stale: %s", error)
            await asyncio.sleep(REFRESH_S)

    async def _read_for_ever(self) -> None:
        url = self._database_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                rows = await (await connection.execute(ROOMS)).fetchall()
                self.set_rooms([Room(*row) for row in rows])
                await asyncio.sleep(REFRESH_S)
