"""Keeping what is remembered of lots: folding ahead, checking it, and making it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.db import connection, transaction

from wallet.lot_history import LotHistory, Tables

ACCOUNTS_AT_ONCE = 1_000
Progress = Callable[[int], None]

# The accounts that carry lots, and how far they can be folded.
HEADS = """
SELECT a.id, a.last_transfer_id
  FROM wallet_account AS a
  JOIN wallet_asset AS s ON s.id = a.asset_id AND s.expires
  JOIN wallet_accountkind AS k ON k.code = a.kind_id AND k.is_owned AND k.side = 'Liabilities'
  LEFT JOIN wallet_lot_position AS p ON p.account_id = a.id
 WHERE a.id > %s AND a.last_transfer_id > coalesce(p.transfer_id, 0)
 ORDER BY a.id LIMIT %s
"""
POSITIONS = """
SELECT account_id, transfer_id FROM wallet_lot_position
 WHERE account_id > %s AND transfer_id > 0 ORDER BY account_id LIMIT %s
"""
SCRATCH = Tables("wallet_lot_checked", "wallet_lot_checked_move", are_shared=False)
MAKE_SCRATCH = """
CREATE TEMPORARY TABLE wallet_lot_checked (LIKE wallet_lot_position INCLUDING ALL) ON COMMIT DROP;
CREATE TEMPORARY TABLE wallet_lot_checked_move (LIKE wallet_lot_move INCLUDING ALL) ON COMMIT DROP;
"""
# What we remember against what the entries say, as far as each account was folded.
WRONG_POSITIONS = """
SELECT p.account_id FROM wallet_lot_position AS p
  JOIN wallet_lot_checked AS c ON c.account_id = p.account_id AND c.transfer_id = p.transfer_id
 WHERE (p.undated, p.lots, p.soonest_at) IS DISTINCT FROM (c.undated, c.lots, c.soonest_at)
 ORDER BY 1 LIMIT %s
"""
WRONG_MOVES = """
SELECT t.debit_account_id
  FROM (SELECT * FROM wallet_lot_move EXCEPT SELECT * FROM wallet_lot_checked_move) AS wrong
  JOIN wallet_transfer AS t ON t.id = wrong.transfer_id
 UNION
SELECT t.debit_account_id
  FROM (SELECT * FROM wallet_lot_checked_move EXCEPT SELECT * FROM wallet_lot_move) AS missing
  JOIN wallet_transfer AS t ON t.id = missing.transfer_id
  JOIN wallet_lot_position AS p ON p.account_id = t.debit_account_id
 WHERE missing.transfer_id <= p.transfer_id
 ORDER BY 1 LIMIT %s
"""
MOST_NAMED = 100


def fold_all(on_progress: Progress | None = None) -> int:
    """Fold every account that moved since it was last derived; say how many there were.

    Makes later reads and sweeps quick. A thousand accounts a commit: stop it anywhere.
    """
    return _fold(HEADS, Tables(), on_progress)


def rebuild(on_progress: Progress | None = None) -> int:
    """Throw away what is remembered of lots and derive it all again; say for how many accounts.

    Sweeps and folds that are under way notice and begin again (`LotsRebuilt`).
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE wallet_lot_generation SET generation = generation + 1")
        # TRUNCATE would wait for readers who wait for us.
        cursor.execute("DELETE FROM wallet_lot_position")
        cursor.execute("DELETE FROM wallet_lot_move")
        cursor.execute("UPDATE wallet_lot_sweep SET scheduled_until = '2025-01-01 00:00+00'")
    return fold_all(on_progress)


def verify(on_progress: Progress | None = None) -> list[int]:
    """Derive all lots anew beside what is remembered; name up to 100 accounts that differ.

    Reads one snapshot of the ledger and writes to temporary tables only.
    """
    assert not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(MAKE_SCRATCH)
        _fold(POSITIONS, SCRATCH, on_progress)
        wrong: set[int] = set()
        for sql in (WRONG_POSITIONS, WRONG_MOVES):
            cursor.execute(sql, [MOST_NAMED])
            wrong.update(account_id for (account_id,) in cursor.fetchall())
    return sorted(wrong)[:MOST_NAMED]


def _fold(pages: str, tables: Tables, on_progress: Progress | None) -> int:
    account_count = 0
    for targets in _pages(pages):
        history = LotHistory(tables)
        history.bring_up(targets)
        history.write()
        account_count += len(targets)
        if on_progress is not None:
            on_progress(account_count)
    return account_count


def _pages(sql: str) -> Iterator[dict[int, int]]:
    after = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql, [after, ACCOUNTS_AT_ONCE])
            targets = dict(cursor.fetchall())
        if not targets:
            return
        yield targets
        after = max(targets)
