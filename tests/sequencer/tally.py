"""An engine small enough to be obviously right: it numbers client ids, densely, once each.

Memory and table must agree for ever, so a command applied twice, lost after its answer,
or applied by two writers shows as a wrong number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from sequencer.commands import Answer, Command
from sequencer.engine import Timeless

TABLE = """
CREATE TABLE IF NOT EXISTS sequencer_tally (
    shard int NOT NULL, number int NOT NULL, client_id text NOT NULL, epoch bigint NOT NULL,
    PRIMARY KEY (shard, number)
)
"""
INSERT = """
INSERT INTO sequencer_tally (shard, number, client_id, epoch)
SELECT %s, number, client_id, (SELECT epoch FROM sequencer_shard WHERE id = %s)
  FROM unnest(%s::int[], %s::text[]) AS u(number, client_id)
"""


class Tally(Timeless):
    """A command's body is its client id; its answer is the number the id got."""

    prefixes: tuple[str, ...] = ("tally.",)

    def __init__(self, shard: int, *, at_most: int = 512) -> None:
        self.shard = shard
        self.at_most = at_most
        self.loads = 0
        self.numbers: dict[str, int] = {}
        self._journal: list[str] = []

    def load(self) -> None:
        self.loads += 1
        self.numbers = rows(self.shard)
        self._journal.clear()

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        answers = [self._decide(command) for command in commands[: self.at_most]]
        numbers = [self.numbers[client_id] for client_id in self._journal]
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [self.shard, self.shard, numbers, self._journal])
        return answers

    def committed(self) -> None:
        self._journal.clear()

    def rolled_back(self) -> None:
        for client_id in self._journal:
            del self.numbers[client_id]
        self._journal.clear()

    def _decide(self, command: Command) -> Answer:
        client_id = command.body.decode()
        if client_id.startswith("poison"):
            raise ValueError(f"{client_id} cannot be decided")
        is_known = client_id in self.numbers
        if not is_known:
            self.numbers[client_id] = len(self.numbers) + 1
            self._journal.append(client_id)
        return Answer(command.id, 200, b"%d" % self.numbers[client_id], is_known)


def rows(shard: int, *, using: Any = connection) -> dict[str, int]:
    """What the table says: each client id with its number."""
    select = "SELECT client_id, number FROM sequencer_tally WHERE shard = %s ORDER BY number"
    with using.cursor() as cursor:
        cursor.execute(select, [shard])
        return dict(cursor.fetchall())


def row_count(shard: int, *, using: Any = connection) -> int:
    """How many rows there are, a client id written twice counted twice."""
    with using.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sequencer_tally WHERE shard = %s", [shard])
        return int(cursor.fetchone()[0])


def epochs(shard: int) -> list[int]:
    """In which epochs the rows were written."""
    select = "SELECT DISTINCT epoch FROM sequencer_tally WHERE shard = %s ORDER BY epoch"
    with connection.cursor() as cursor:
        cursor.execute(select, [shard])
        return [epoch for (epoch,) in cursor.fetchall()]
