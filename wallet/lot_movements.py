"""Reads the entries that lots are folded from.

In few statements by key, each of bounded size: a join of all of it would have PostgreSQL
guess how many rows each account gives, and read whole tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from edge.postgres import array
from wallet.lots import Movement, Reversed

READ_ENTRIES = """
SELECT e.account_id, e.transfer_id, e.amount, e.balance_after
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS w (account_id, after_id, upto_id)
 CROSS JOIN LATERAL (
       SELECT * FROM wallet_entry
        WHERE account_id = w.account_id AND transfer_id > w.after_id AND transfer_id <= w.upto_id
        ORDER BY transfer_id LIMIT %s) AS e
"""
# The bounds say the same as the list; they spare PostgreSQL the months outside of them.
READ_FACTS = """
SELECT id, code, amount, debit_account_id, credit_account_id, expires_at, reverses_id
  FROM wallet_transfer WHERE id = ANY(%s::bigint[]) AND id >= %s AND id <= %s
"""
# What carries lots: an account of a person that we owe.
READ_PERSONAL = """
SELECT a.id FROM wallet_account AS a JOIN wallet_accountkind AS k ON k.code = a.kind_id
 WHERE a.id = ANY(%s::bigint[]) AND k.is_owned AND k.side = 'Liabilities'
"""


class Facts(NamedTuple):
    """What the lots of a transfer follow from."""

    id: int
    code: int
    amount: int
    debit_account_id: int
    credit_account_id: int
    expires_at: datetime | None
    reverses_id: int | None

    def other_side(self, account_id: int) -> int:
        """The account at the other end."""
        if account_id == self.debit_account_id:
            return self.credit_account_id
        return self.debit_account_id


class Movements:
    """Reads movements; remembers whose accounts are a person's, which never changes."""

    def __init__(self) -> None:
        self._is_personal: dict[int, bool] = {}

    def page(
        self,
        cursor: psycopg.Cursor[Any],
        after: Mapping[int, int],
        upto: Mapping[int, int],
        limit: int,
    ) -> list[Movement]:
        """Read up to `limit` entries of each account in `upto`, between two of its transfers.

        All in the order of their transfers, a debit before the credit it pays.
        """
        if not upto:
            return []
        parameters = (array(upto), array(after[a] for a in upto), array(upto.values()), limit)
        entries = cursor.execute(READ_ENTRIES, parameters, prepare=True, binary=True).fetchall()
        facts = _facts(cursor, {entry[1] for entry in entries})
        undone = _facts(cursor, {f.reverses_id for f in facts.values() if f.reverses_id})
        self._learn(cursor, [*facts.values(), *undone.values()])
        found = [self._movement(entry, facts[entry[1]], undone) for entry in entries]
        found.sort(key=lambda movement: (movement.transfer_id, movement.amount))
        return found

    def _movement(
        self, entry: tuple[int, int, int, int], facts: Facts, undone: Mapping[int, Facts]
    ) -> Movement:
        account_id, transfer_id, amount, balance_after = entry
        counter_id = facts.other_side(account_id)
        reverses = undone.get(facts.reverses_id or 0)
        return Movement(
            transfer_id=transfer_id,
            account_id=account_id,
            code=facts.code,
            amount=amount,
            balance_after=balance_after,
            counter_id=counter_id,
            is_between_people=self._is_personal[counter_id],
            expires_at=facts.expires_at,
            reverses=None if reverses is None else self._reversed(account_id, reverses),
        )

    def _reversed(self, account_id: int, undone: Facts) -> Reversed | None:
        """The transfer undone as the account saw it; nothing where it had no part in it."""
        if account_id not in (undone.debit_account_id, undone.credit_account_id):
            return None
        was_debited = account_id == undone.debit_account_id
        return Reversed(
            transfer_id=undone.id,
            expires_at=undone.expires_at,
            amount=-undone.amount if was_debited else undone.amount,
            is_between_people=self._is_personal[undone.other_side(account_id)],
        )

    def _learn(self, cursor: psycopg.Cursor[Any], transfers: Iterable[Facts]) -> None:
        sides = {id for t in transfers for id in (t.debit_account_id, t.credit_account_id)}
        unknown = sides.difference(self._is_personal)
        if unknown:
            rows = cursor.execute(READ_PERSONAL, (array(unknown),), prepare=True).fetchall()
            self._is_personal |= dict.fromkeys(unknown, False)
            self._is_personal |= {account_id: True for (account_id,) in rows}


def _facts(cursor: psycopg.Cursor[Any], ids: Collection[int]) -> dict[int, Facts]:
    if not ids:
        return {}
    parameters = (array(ids), min(ids), max(ids))
    rows = cursor.execute(READ_FACTS, parameters, prepare=True, binary=True).fetchall()
    return {row[0]: Facts._make(row) for row in rows}
