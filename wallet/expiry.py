"""Points that have lapsed leave people's wallets for breakage.

Which accounts are due stands in `wallet_lot_position.due_at`: when the soonest lot lapses,
as far as the account is folded, or sooner when something that lapses came in since. Grants
enter it when they lapse, found by an index that holds nothing but grants with an expiry;
what people paid each other enters it when the payer is folded. What is truly left of a lot
is derived with the account locked, so a spend in between cannot make the expiry too large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction

from edge.ids import ROWS_PER_BATCH
from wallet import items
from wallet.accounts import BREAKAGE, Purpose, open_accounts
from wallet.door import Posting, opened
from wallet.items import Status
from wallet.ledger import Account
from wallet.lot_history import LotHistory
from wallet.lots import Lots, Movement, Part
from wallet.models import Code
from wallet.once import apply_new

ACCOUNTS_AT_ONCE = 1_000
GRANTS_AT_ONCE = 20_000
OVERLAP = timedelta(minutes=5)
"""A grant that was being written when the last sweep looked is found by the next one."""

LAST_OF_PAGE = """
SELECT expires_at, id FROM (
    SELECT expires_at, id FROM wallet_transfer
     WHERE kind = 1 AND expires_at IS NOT NULL AND expires_at <= %(now)s
       AND (expires_at, id) > (%(after)s, %(after_id)s)
     ORDER BY expires_at, id LIMIT %(most)s) AS page
 ORDER BY expires_at DESC, id DESC LIMIT 1
"""
SCHEDULE_PAGE = """
INSERT INTO wallet_lot_position AS p
    (account_id, transfer_id, undated, lots, incoming_at, incoming_id)
SELECT t.credit_account_id, 0, 0, '[]', min(t.expires_at), max(t.id)
  FROM wallet_transfer AS t
  JOIN wallet_account AS a ON a.id = t.credit_account_id
  JOIN wallet_accountkind AS k ON k.code = a.kind_id AND k.is_owned AND k.side = 'Liabilities'
  JOIN wallet_asset AS s ON s.id = a.asset_id AND s.expires
  LEFT JOIN wallet_lot_position AS folded ON folded.account_id = a.id
 WHERE t.kind = 1 AND t.expires_at IS NOT NULL
   AND (t.expires_at, t.id) > (%(after)s, %(after_id)s)
   AND (t.expires_at, t.id) <= (%(upto)s, %(upto_id)s)
   AND (folded.account_id IS NULL OR folded.transfer_id < t.id)
 GROUP BY 1 ORDER BY 1
ON CONFLICT (account_id) DO UPDATE SET
    incoming_at = least(p.incoming_at, excluded.incoming_at),
    incoming_id = greatest(p.incoming_id, excluded.incoming_id)
 WHERE p.transfer_id < excluded.incoming_id
"""
DUE = """
SELECT p.account_id, p.due_at, a.asset_id, a.last_transfer_id
  FROM wallet_lot_position AS p
  JOIN wallet_account AS a ON a.id = p.account_id
  JOIN wallet_asset AS s ON s.id = a.asset_id AND s.expires
 WHERE p.due_at <= %s AND (p.due_at, p.account_id) > (%s, %s)
 ORDER BY p.due_at, p.account_id LIMIT %s
"""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Due(NamedTuple):
    """An account that something lapses in, and how far it has moved."""

    account_id: int
    due_at: datetime
    asset_id: int
    last_transfer_id: int


@dataclass(slots=True)
class Sweep:
    """What a sweep has done: accounts looked at, expiries posted, accounts that must wait.

    An account waits while lapsed points are on hold, or while it is frozen.
    """

    account_count: int = 0
    expiry_count: int = 0
    amount: int = 0
    waiting_count: int = 0


def expire_due(
    *,
    now: datetime | None = None,
    limit: int | None = None,
    on_progress: Callable[[Sweep], None] | None = None,
) -> Sweep:
    """Move what is left of lapsed lots to breakage, for up to `limit` accounts (or all)
    and any that must wait.

    Goes a thousand accounts a commit: stop it anywhere, run it again or twice at once, and
    each lot is expired once. Each lapsed lot leaves by a transfer of its own, effective when
    it lapsed. Points on hold lapse when they are released. Must not run in a transaction.
    """
    assert not connection.in_atomic_block
    moment = now or datetime.now(UTC)
    schedule(moment)
    sweep = Sweep()
    waiting: set[int] = set()
    is_complete = False
    while not is_complete:
        is_complete = True
        for batch in _due(moment, limit, sweep):
            fresh = [due for due in batch if due.account_id not in waiting]
            if fresh and _expire(fresh, now, sweep, waiting):
                # Lapsed points were on their way into accounts that this pass may have passed.
                is_complete = False
            if on_progress is not None:
                on_progress(sweep)
    return sweep


def schedule(now: datetime) -> None:
    """Enter the grants that have lapsed since the last time as due, 20,000 a commit.

    A grant is refused once it has lapsed, so what lapsed long ago was entered long ago.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT scheduled_until FROM wallet_lot_sweep")
        page = {"now": now, "after": cursor.fetchone()[0] - OVERLAP, "after_id": 0}
        while True:
            cursor.execute(LAST_OF_PAGE, page | {"most": GRANTS_AT_ONCE})
            last = cursor.fetchone()
            if last is None:
                break
            upto, upto_id = last
            cursor.execute(SCHEDULE_PAGE, page | {"upto": upto, "upto_id": upto_id})
            page |= {"after": upto, "after_id": upto_id}
        cursor.execute(
            "UPDATE wallet_lot_sweep SET scheduled_until = greatest(scheduled_until, %s)", [now]
        )


def _due(now: datetime, limit: int | None, sweep: Sweep) -> Iterator[list[Due]]:
    """Page through the due accounts, the longest overdue first."""
    after, after_id = BEGINNING, 0
    while True:
        most = ACCOUNTS_AT_ONCE
        if limit is not None:
            # Who waits is looked at anew each time, and must not keep the others from their turn.
            most = min(most, limit - (sweep.account_count - sweep.waiting_count))
        if most <= 0:
            return
        with connection.cursor() as cursor:
            cursor.execute(DUE, [now, after, after_id, most])
            batch = [Due._make(row) for row in cursor.fetchall()]
        if not batch:
            return
        yield batch
        after, after_id = batch[-1].due_at, batch[-1].account_id


def _expire(batch: Sequence[Due], now: datetime | None, sweep: Sweep, waiting: set[int]) -> bool:
    """Expire what has lapsed in these accounts; say whether that made others due.

    Derives without a lock first, so that with the locks only the latest entries remain.
    """
    history = LotHistory()
    history.bring_up({due.account_id: due.last_transfer_id for due in batch})
    purposes = {Purpose(None, due.asset_id, BREAKAGE) for due in batch}
    breakage = {p.asset_id: id for p, id in open_accounts(purposes).items()}
    with transaction.atomic():
        with opened({*breakage.values(), *(due.account_id for due in batch)}, now=now) as posting:
            accounts = posting.ledger.accounts
            heads = {due.account_id: accounts[due.account_id].last_transfer_id for due in batch}
            for account_id, lots in history.bring_up(heads).items():
                account = accounts[account_id]
                lapsed = _Lapsed(posting, account, breakage[account.asset_id])
                history.follow(lapsed.expire(lots, sweep))
                if lots.lapsed(posting.ledger.now):
                    waiting.add(account_id)
            has_announced = history.announces(posting.ledger.now)
        history.write()
    sweep.account_count += len(batch)
    sweep.waiting_count = len(waiting)
    return has_announced


class _Lapsed:
    """One locked account whose lapsed lots leave it."""

    def __init__(self, posting: Posting, account: Account, breakage_id: int) -> None:
        self._posting = posting
        self._account = account
        self._breakage_id = breakage_id

    def expire(self, lots: Lots, sweep: Sweep) -> list[Movement]:
        """Post an expiry for each lapsed lot, as far as nothing holds it; say what moved."""
        moved: list[Movement] = []
        ledger = self._posting.ledger
        if self._account.status != Status.OPEN:
            return moved
        for lot in lots.lapsed(ledger.now):
            amount = min(lot.amount, self._account.spare)
            if amount <= 0 or len(ledger.transfers) == ROWS_PER_BATCH:
                break
            result = apply_new(self._posting, self._item(lot, amount))
            if not result.is_created:
                break
            moved.append(self._movement(result.transfer_id, amount))
            sweep.expiry_count += 1
            sweep.amount += amount
            if amount < lot.amount:
                break
        return moved

    def _item(self, lot: Part, amount: int) -> items.Transfer:
        # The account's last transfer makes the name new: after an expiry it is another.
        return items.Transfer(
            reference=f"expiry:{self._account.id}:{self._account.last_transfer_id}",
            asset_id=self._account.asset_id,
            debit_account_id=self._account.id,
            credit_account_id=self._breakage_id,
            amount=amount,
            code=Code.EXPIRY,
            effective_at=lot.expires_at,
        )

    def _movement(self, transfer_id: int, amount: int) -> Movement:
        return Movement(
            transfer_id=transfer_id,
            account_id=self._account.id,
            code=Code.EXPIRY,
            amount=-amount,
            balance_after=self._account.balance,
            counter_id=self._breakage_id,
            is_between_people=False,
            expires_at=None,
            reverses=None,
        )
