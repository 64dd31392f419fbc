"""Which lots people's accounts hold, derived from the entries and remembered on the way.

`LotHistory.bring_up` folds accounts up to given transfers. A credit that another person paid
brings what that person's debit took, so their account must be folded that far first. Transfer
ids grow along every account, so what an account needs always lies before its own entry: the
search for it ends, and goes account by account in rounds, without recursion.

What was folded is remembered in `wallet_lot_position`, and what debits took of lots that lapse
in `wallet_lot_move`. Both follow from the entries alone: it does not matter who writes them,
or whether two do, for they write the same. So no lock is needed to fold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.db import connection, transaction

from edge.postgres import array, raw_cursor
from wallet.lot_movements import Movements
from wallet.lots import NOTHING, Lots, Movement, Part, Parts, dated, fold
from wallet.models import Code

ACCOUNTS_A_ROUND = 1_000
"""At least two: who pays and who is paid wait for the same transfer."""
ENTRIES_A_ROUND = 64
"""Of one account: a round reads at most 64,000 entries, whatever the histories' lengths."""
MOST_UNWRITTEN = 5_000
"""Positions and takings kept in memory before they are written down."""
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

READ_POSITIONS = """
SELECT account_id, transfer_id, undated, lots FROM {positions} WHERE account_id = ANY(%s::bigint[])
"""
READ_GENERATION = "SELECT generation FROM wallet_lot_generation"
HOLD_GENERATION = READ_GENERATION + " FOR SHARE"
READ_TAKEN = """
SELECT transfer_id, expires_at, amount FROM {moves} WHERE transfer_id = ANY(%s::bigint[])
 ORDER BY transfer_id, expires_at
"""
WRITE_TAKEN = """
INSERT INTO {moves} (transfer_id, expires_at, amount)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""
# Of two positions of an account the later one is right. What is still to come in stays noted
# until the position has passed it.
WRITE_POSITIONS = """
INSERT INTO {positions} AS p
    (account_id, transfer_id, undated, lots, soonest_at, incoming_at, incoming_id)
SELECT account_id, transfer_id, undated, lots::jsonb, soonest_at, incoming_at, incoming_id
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[],
              %s::timestamptz[], %s::bigint[])
    AS u (account_id, transfer_id, undated, lots, soonest_at, incoming_at, incoming_id)
 ORDER BY account_id
ON CONFLICT (account_id) DO UPDATE SET
    transfer_id = greatest(p.transfer_id, excluded.transfer_id),
    undated = CASE WHEN excluded.transfer_id > p.transfer_id
              THEN excluded.undated ELSE p.undated END,
    lots = CASE WHEN excluded.transfer_id > p.transfer_id THEN excluded.lots ELSE p.lots END,
    soonest_at = CASE WHEN excluded.transfer_id > p.transfer_id
                 THEN excluded.soonest_at ELSE p.soonest_at END,
    incoming_at = CASE WHEN greatest(p.incoming_id, excluded.incoming_id)
                          > greatest(p.transfer_id, excluded.transfer_id)
                  THEN least(p.incoming_at, excluded.incoming_at) END,
    incoming_id = CASE WHEN greatest(p.incoming_id, excluded.incoming_id)
                          > greatest(p.transfer_id, excluded.transfer_id)
                  THEN greatest(p.incoming_id, excluded.incoming_id) END
"""


class LotsRebuilt(RuntimeError):
    """What was remembered of lots was thrown away meanwhile: begin again."""


@dataclass(frozen=True)
class Tables:
    """Where what was folded is remembered: for everyone, or in tables of one's own."""

    positions: str = "wallet_lot_position"
    moves: str = "wallet_lot_move"
    are_shared: bool = True

    def into(self, sql: str) -> str:
        return sql.format(positions=self.positions, moves=self.moves)


@dataclass(slots=True)
class Position:
    """How far an account was folded, and its lots there."""

    transfer_id: int
    lots: Lots


@dataclass(slots=True)
class Incoming:
    """What another account brought that is not folded yet: the soonest lapse, the last transfer."""

    lapses_at: datetime
    transfer_id: int


class LotHistory:
    """Folds accounts and keeps what it found, until it is written down."""

    def __init__(self, tables: Tables = Tables()) -> None:
        self._tables = tables
        self._movements = Movements()
        self._generation: int | None = None
        self._positions: dict[int, Position] = {}
        self._taken: dict[int, Parts] = {}
        self._unwritten_positions: set[int] = set()
        self._unwritten_taken: set[int] = set()
        self._incoming: dict[int, Incoming] = {}
        self._announced_at: datetime | None = None

    def bring_up(self, targets: Mapping[int, int]) -> dict[int, Lots]:
        """Fold each account (a person's) up to the transfer given for it; say its lots there.

        Folds other accounts as far as that needs. Reads in rounds of bounded size. Outside
        a transaction, long searches are written down on the way; see `write`.
        """
        needs: dict[int, int] = {}
        while True:
            work = self._unmet(targets, needs)
            if not work:
                return {account: self._lots(account) for account in targets}
            self._keep_within_memory(targets)
            with transaction.atomic(savepoint=False), raw_cursor() as cursor:
                for account, transfer_id in self._round(cursor, work).items():
                    needs[account] = min(needs.get(account, transfer_id), transfer_id)

    def follow(self, movements: Iterable[Movement]) -> None:
        """Fold entries that the caller is writing just now; they need nothing but the past."""
        for movement in movements:
            self._fold(movement)

    def announces(self, now: datetime) -> bool:
        """Say whether lots that have lapsed are on their way into accounts not folded so far."""
        self._note_announced()
        return self._announced_at is not None and self._announced_at <= now

    def write(self) -> None:
        """Remember what was folded. Takes its row locks in order of id, takings first.

        Raises `LotsRebuilt` when what this history began from is gone.
        """
        with transaction.atomic(savepoint=False), raw_cursor() as cursor:
            self._check_generation(cursor, HOLD_GENERATION)
            self._note_announced()
            self._write_taken(cursor)
            self._write_positions(cursor)

    # -- rounds ----------------------------------------------------------------------------

    def _unmet(self, targets: Mapping[int, int], needs: dict[int, int]) -> dict[int, int]:
        """Choose what this round reads: accounts by how early a transfer is waited for.

        Whoever waits for the earliest transfer waits for nothing that is left out here, so
        every round gets further. A need that was met is forgotten.
        """
        for account in [a for a, upto in needs.items() if self._has_reached(a, upto)]:
            del needs[account]
        waiting = {a: upto for a, upto in targets.items() if not self._has_reached(a, upto)}
        waiting |= {a: min(upto, waiting.get(a, upto)) for a, upto in needs.items()}
        chosen = sorted(waiting.items(), key=lambda item: (item[1], item[0]))
        return {a: max(upto, targets.get(a, 0)) for a, upto in chosen[:ACCOUNTS_A_ROUND]}

    def _round(self, cursor: psycopg.Cursor[Any], work: Mapping[int, int]) -> dict[int, int]:
        """Read a page of each account and fold what can be folded; say what else is needed."""
        self._check_generation(cursor, READ_GENERATION)
        self._load_positions(cursor, work)
        unread = {a: upto for a, upto in work.items() if not self._has_reached(a, upto)}
        after = {account: self._positions[account].transfer_id for account in unread}
        movements = self._movements.page(cursor, after, unread, ENTRIES_A_ROUND)
        payers = {m.counter_id for m in movements if m.is_between_people and m.amount > 0}
        self._load_positions(cursor, payers)
        self._load_taken(cursor, movements)
        waits_for: dict[int, int] = {}
        blocked: set[int] = set()
        for movement in movements:
            if movement.account_id in blocked:
                continue
            payer = movement.counter_id
            if (
                movement.amount > 0
                and movement.is_between_people
                and not self._has_reached(payer, movement.transfer_id)
            ):
                blocked.add(movement.account_id)
                waits_for.setdefault(payer, movement.transfer_id)
            else:
                self._fold(movement)
        read = Counter(movement.account_id for movement in movements)
        for account, upto in unread.items():
            if account not in blocked and read[account] < ENTRIES_A_ROUND:
                self._pass(account, upto)
        return waits_for

    def _fold(self, movement: Movement) -> None:
        position = self._positions[movement.account_id]
        taken = self._taken
        if movement.amount > 0 and movement.is_between_people:
            taken.setdefault(movement.transfer_id, NOTHING)
        took = dated(fold(position.lots, movement, taken))
        position.transfer_id = movement.transfer_id
        self._unwritten_positions.add(movement.account_id)
        # What lapsed is gone: taking an expiry back gives points that do not lapse.
        if took and movement.code != Code.EXPIRY:
            taken[movement.transfer_id] = took
            self._unwritten_taken.add(movement.transfer_id)
            if movement.is_between_people:
                self._announce(movement.counter_id, movement.transfer_id, took)

    def _pass(self, account: int, transfer_id: int) -> None:
        """Note that an account has no entries until then: its last transfer may be a hold."""
        position = self._positions[account]
        if position.transfer_id < transfer_id:
            position.transfer_id = transfer_id
            self._unwritten_positions.add(account)

    def _announce(self, account: int, transfer_id: int, brought: Parts) -> None:
        """Note that lots are on their way into an account, in case it is not folded that far."""
        soonest = min(part.expires_at for part in brought if part.expires_at is not None)
        known = self._incoming.get(account)
        if known is not None:
            soonest = min(soonest, known.lapses_at)
            transfer_id = max(transfer_id, known.transfer_id)
        self._incoming[account] = Incoming(soonest, transfer_id)

    def _note_announced(self) -> None:
        for account, incoming in self._incoming.items():
            if not self._has_reached(account, incoming.transfer_id):
                soonest = self._announced_at or incoming.lapses_at
                self._announced_at = min(soonest, incoming.lapses_at)

    def _has_reached(self, account: int, transfer_id: int) -> bool:
        position = self._positions.get(account)
        return position is not None and position.transfer_id >= transfer_id

    def _lots(self, account: int) -> Lots:
        position = self._positions.get(account)
        return Lots() if position is None else position.lots

    # -- what is remembered ----------------------------------------------------------------

    def _check_generation(self, cursor: psycopg.Cursor[Any], sql: str) -> None:
        """Positions of before a rebuild must not stand beside takings of after it."""
        if not self._tables.are_shared:
            return
        row = cursor.execute(sql, prepare=True).fetchone()
        assert row is not None
        if self._generation not in (None, row[0]):
            raise LotsRebuilt
        self._generation = row[0]

    def _load_positions(self, cursor: psycopg.Cursor[Any], accounts: Collection[int]) -> None:
        unknown = [account for account in accounts if account not in self._positions]
        if not unknown:
            return
        sql = self._tables.into(READ_POSITIONS)
        for account, transfer_id, undated, lots in cursor.execute(sql, (array(unknown),)):
            self._positions[account] = Position(transfer_id, Lots(_parts(lots), undated))
        for account in unknown:
            self._positions.setdefault(account, Position(0, Lots()))

    def _load_taken(self, cursor: psycopg.Cursor[Any], movements: Iterable[Movement]) -> None:
        wanted = {m.transfer_id for m in movements if m.is_between_people and m.amount > 0}
        wanted |= {m.reverses.transfer_id for m in movements if m.reverses is not None}
        unknown = [transfer_id for transfer_id in wanted if transfer_id not in self._taken]
        if not unknown:
            return
        sql = self._tables.into(READ_TAKEN)
        for transfer_id, expires_at, amount in cursor.execute(sql, (array(unknown),)):
            before = self._taken.get(transfer_id, NOTHING)
            self._taken[transfer_id] = (*before, Part(expires_at, amount))

    def _keep_within_memory(self, targets: Collection[int]) -> None:
        unwritten = len(self._unwritten_positions) + len(self._unwritten_taken)
        may_write = not (self._tables.are_shared and connection.in_atomic_block)
        if unwritten <= MOST_UNWRITTEN or not may_write:
            return
        self.write()
        self._taken.clear()
        self._positions = {a: p for a, p in self._positions.items() if a in targets}

    def _write_taken(self, cursor: psycopg.Cursor[Any]) -> None:
        rows = [
            (transfer_id, *part)
            for transfer_id in sorted(self._unwritten_taken)
            for part in self._taken[transfer_id]
        ]
        if rows:
            sql = self._tables.into(WRITE_TAKEN)
            cursor.execute(sql, [list(column) for column in zip(*rows, strict=True)])
        self._unwritten_taken.clear()

    def _write_positions(self, cursor: psycopg.Cursor[Any]) -> None:
        accounts = self._unwritten_positions.union(self._incoming)
        rows = [self._position_row(account) for account in sorted(accounts)]
        if rows:
            sql = self._tables.into(WRITE_POSITIONS)
            cursor.execute(sql, [list(column) for column in zip(*rows, strict=True)])
        self._unwritten_positions.clear()
        self._incoming.clear()

    def _position_row(self, account: int) -> tuple[object, ...]:
        position = self._positions.get(account) or Position(0, Lots())
        incoming = self._incoming.get(account)
        if incoming is not None and incoming.transfer_id <= position.transfer_id:
            incoming = None
        return (
            account, position.transfer_id, position.lots.undated, _written(position.lots),
            position.lots.soonest, incoming and incoming.lapses_at,
            incoming and incoming.transfer_id,
        )  # fmt: skip


def _written(lots: Lots) -> str:
    """Spell lots as JSON: pairs of microseconds since 1970 and amount."""
    pairs = ((lot.expires_at, lot.amount) for lot in lots.dated)
    return json.dumps(
        [
            ((expires_at - _UNIX) // _MICROSECOND, amount)
            for expires_at, amount in pairs
            if expires_at
        ]
    )


def _parts(written: str) -> Iterator[Part]:
    # Django leaves jsonb as text on its connections.
    return (
        Part(_UNIX + timedelta(microseconds=since), amount) for since, amount in json.loads(written)
    )
