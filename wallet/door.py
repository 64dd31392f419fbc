"""The one door to the ledger: lock the accounts, decide in memory, write once.

`opened()` locks every account that may be touched, in id order, in one statement, and
yields a `Posting`. `Posting.apply()` decides chains of items by the rules of
`wallet.ledger`, and leaving the block writes what was decided in one journey
(`edge.journey`): an INSERT for each table and one UPDATE for balances and one for holds,
whatever the number of rows. Nothing is written a row at a time and no balance is ever a SUM.

The order engine decides ahead, while PostgreSQL still writes what it decided before:
a `Foresight` gives a `Posting` on accounts as they were last seen, which are not locked.
`lock_unchanged()` locks them when they are to be written, and nothing is if anybody has
changed one since.

The caller owns the transaction and passes through the door once in it: two passes could
wait for each other's locks. `wallet.actions.post` is the everyday way in; the order
engine comes straight here, because it decides whether to go on between two chains.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import connection

from edge.ids import batch_at, batch_of, first_id
from edge.journey import Answered, Journey, Rows, ask
from edge.postgres import array, uuid_array
from wallet.items import Item, Result
from wallet.ledger import Account, HeldFunds, Ledger
from wallet.references import ReferenceRow
from wallet.rows import account_row, entry_row, hold_row, reference_row, transfer_row

ACCOUNT = """id, asset_id, balance, held, incoming, floor, ceiling, largest_debit, status,
       entry_count, last_transfer_id"""
LOCK_ACCOUNTS = f"""
SELECT {ACCOUNT}, (SELECT nextval('wallet_batch_sequence'))
  FROM wallet_account WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
READ_ACCOUNTS = f"""
SELECT {ACCOUNT}, xmin::text::bigint FROM wallet_account WHERE id = ANY($1::bigint[])
"""
NEXT_SEQUENCE = "SELECT nextval('wallet_batch_sequence')"
LOCK_UNCHANGED = """
SELECT edge_expect(count(*), $3, 'accounts'), pg_current_xact_id()::xid::text::bigint FROM (
    SELECT a.xmin AS now, u.xmin AS before
      FROM unnest((SELECT $1::bigint[]), (SELECT $2::xid[])) AS u(id, xmin)
      JOIN wallet_account AS a ON a.id = u.id
     ORDER BY a.id FOR NO KEY UPDATE OF a
) AS locked WHERE now = before
"""
HOLD_ACCOUNTS = """
SELECT account_id, credit_account_id FROM wallet_hold WHERE id = ANY($1::bigint[])
"""
READ_HOLDS = """
SELECT id, account_id, credit_account_id, asset_id, amount, remaining, state, expires_at
  FROM wallet_hold WHERE id = ANY($1::bigint[])
"""
# Behind a SELECT the planner does not count an array's elements. Else it prefers reading
# every account there is to a few thousand steps down an index, and is five times slower.
WRITE_ACCOUNTS = """
UPDATE wallet_account AS a
   SET balance = u.balance, held = u.held, incoming = u.incoming,
       entry_count = u.entry_count, last_transfer_id = u.last_transfer_id
  FROM unnest((SELECT $1::wallet_account_state[])) AS u
 WHERE a.id = u.id RETURNING 1
"""
WRITE_HOLDS = """
UPDATE wallet_hold AS h SET remaining = u.remaining, state = u.state
  FROM unnest((SELECT $1::bigint[]), (SELECT $2::bigint[]), (SELECT $3::smallint[]))
    AS u(id, remaining, state)
 WHERE h.id = u.id AND h.id = ANY($1::bigint[]) RETURNING 1
"""
"""The ids come twice: a join alone does not tell PostgreSQL which months to leave out."""
WRITE_BATCH = "INSERT INTO wallet_batch (id, transfer_count) VALUES ($1, $2)"
WRITE_TRANSFERS = """
INSERT INTO wallet_transfer (id, kind, code, asset_id, debit_account_id, amount,
    credit_account_id, hold_id, reverses_id, effective_at, expires_at, reference, memo, released)
SELECT * FROM unnest($1::wallet_transfer_row[])
"""
WRITE_ENTRIES = """
INSERT INTO wallet_entry (account_id, transfer_id, amount, balance_after, effective_at)
SELECT * FROM unnest($1::wallet_entry_row[])
"""
OPEN_HOLDS = """
INSERT INTO wallet_hold (id, account_id, asset_id, amount, remaining, state, credit_account_id,
    expires_at)
SELECT * FROM unnest($1::wallet_hold_row[])
"""
USED_REFERENCES = """
SELECT digest, transfer_id, fingerprint, refusal
  FROM wallet_reference WHERE digest = ANY($1::uuid[])
"""
WRITE_REFERENCES = """
INSERT INTO wallet_reference (digest, transfer_id, fingerprint, refusal)
SELECT * FROM unnest($1::wallet_reference_row[])
"""


MOVED = "accounts"
"""What `edge.journey.Unexpected` names when an account was changed since it was read."""
Used = dict[bytes, ReferenceRow]


class Posting:
    """One pass through the door: accounts and holds, and what is decided on them.

    `used` are those of the references that the caller named (by their digests) that are used
    up, as they were once the locks were held; `references` the ones that this pass uses up.
    """

    def __init__(self, ledger: Ledger, batch: int, used: Used | None = None) -> None:
        self.ledger = ledger
        self.batch = batch
        self.used: Used = used or {}
        self.references: list[ReferenceRow] = []

    def apply(self, chain: Sequence[Item]) -> list[Result]:
        """Decide one chain in memory; see `Ledger.apply`. Nothing is written yet."""
        return self.ledger.apply(chain)


class Seen:
    """Accounts and holds as one writer last knew them, so that it need not read them each time.

    They are as they were read, or as a pass that was decided on them leaves them, be it under
    way still. `versions` says which transaction wrote the account as it is known here: its
    `xmin`, which PostgreSQL gives every version of a row. By it whatever anybody else has
    changed is found out when the accounts are locked (`lock_unchanged`). Whoever changes a hold
    changes its account, and a hold is here only with its account.

    Where people are busy beside the writer, what was seen is soon wrong, and a pass that builds
    on it comes to nothing. So after one that `failed` nothing is kept from pass to pass for a
    while, twice as long each time, but for what is under way.
    """

    MOST = 200_000
    """So many are known at most, some 30 MB."""
    FIRST_CAUTION, MOST_CAUTION = 16, 1_024
    """For so many passes nothing is kept, after a failure and after many."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.holds: dict[int, HeldFunds] = {}
        self.versions: dict[int, int] = {}
        self._caution = 0
        self._cautious_for = 0
        self._well_for = 0

    def begin(self, latest: Ledger | None) -> None:
        """A pass begins; the one before it, if there is one, is perhaps under way."""
        if self._cautious_for:
            self._cautious_for -= 1
        else:
            self._well_for += 1
            if self._well_for > self.MOST_CAUTION:
                self._caution = 0
            if len(self.accounts) + len(self.holds) <= self.MOST:
                return
        self.accounts = dict(latest.accounts) if latest else {}
        self.holds = dict(latest.holds) if latest else {}
        self.versions = {id: self.versions[id] for id in self.accounts}

    def failed(self) -> None:
        """A pass came to nothing: somebody has changed what it was decided on.

        What was decided after it falls with it: that is one failure, not two.
        """
        self.clear()
        if self._caution and self._cautious_for == self._caution:
            return
        self._well_for = 0
        self._caution = min(max(2 * self._caution, self.FIRST_CAUTION), self.MOST_CAUTION)
        self._cautious_for = self._caution

    def clear(self) -> None:
        """Forget everything."""
        self.accounts.clear()
        self.holds.clear()
        self.versions.clear()


class Foreseen(Posting):
    """A pass on accounts that are not locked yet, as `seen` knows them."""

    def __init__(self, ledger: Ledger, batch: int, seen: Seen) -> None:
        super().__init__(ledger, batch)
        self._seen = seen

    def versions(self, account_ids: Iterable[int]) -> list[int]:
        """Which transactions wrote the accounts. The pass before this one is committed."""
        return [self._seen.versions[id] for id in account_ids]

    def decided(self) -> None:
        """The next pass may build on this one."""
        ledger = self.ledger
        self._seen.holds.update((id, ledger.holds[id]) for id in ledger.new_hold_ids)

    def left(self, xid: int) -> None:
        """The pass was written, by this transaction."""
        ledger, seen = self.ledger, self._seen
        if ledger.transfers:
            seen.versions.update(dict.fromkeys(ledger.touched_account_ids, xid))
        for hold_id in ledger.touched_hold_ids:
            if not ledger.holds[hold_id].remaining:
                seen.holds.pop(hold_id, None)


@contextmanager
def opened(
    account_ids: Iterable[int],
    hold_ids: Iterable[int] = (),
    *,
    digests: Sequence[bytes] = (),
    now: datetime | None = None,
) -> Iterator[Posting]:
    """Open the door on these accounts and holds (and the holds' accounts), and write at the end.

    Must run inside a transaction, once. Ids that do not exist are simply not there: the
    rules refuse what names them. An exception in the block writes nothing. `digests` are of
    references (`Posting.used`). `now` is for tests; it defaults to the clock, read after the
    locks are held.
    """
    accounts, holds = set(account_ids), sorted(set(hold_ids))
    if holds:
        accounts.update(_accounts_of_holds(holds))
    posting = locked(accounts, holds, digests=digests, now=now)
    yield posting
    journey = Journey()
    write_to(journey, posting)
    journey.run()


def locked(
    account_ids: AbstractSet[int],
    hold_ids: Sequence[int] = (),
    *,
    digests: Sequence[bytes] = (),
    now: datetime | None = None,
    first: Journey | None = None,
) -> Posting:
    """Lock accounts, those of the holds among them, and leave the writing to the caller.

    Inside a transaction, once; `write_to` puts on a journey what was decided. `first` goes
    ahead of the locks in the same journey, for what must be locked before; its answers are
    not looked at.
    """
    assert connection.in_atomic_block, "money moves inside a transaction"
    journey = Journey()
    if first is not None:
        journey.then(first)
    journey.add(LOCK_ACCOUNTS, array(sorted(account_ids)))
    # Each read by a statement of its own, once the locks are held: as they are now.
    if hold_ids:
        journey.add(READ_HOLDS, array(hold_ids))
    if digests:
        journey.add(USED_REFERENCES, uuid_array(digests))
    answers = journey.run()
    used = _used(answers.pop()) if digests else {}
    held = answers.pop().fetchall() if hold_ids else []
    rows = answers.pop().fetchall()
    accounts = {row[0]: Account(*row[:-1]) for row in rows}
    # The accounts of a hold that came after our first look are not locked: not here yet.
    known = accounts.keys() | {None}
    holds = {row[0]: HeldFunds(*row) for row in held if known >= set(row[1:3])}
    return Posting(*_ledger(accounts, holds, rows[0][-1] if rows else 0, now), used)


def _used(found: Answered) -> Used:
    return {digest.bytes: ReferenceRow(digest.bytes, *rest) for digest, *rest in found.fetchall()}


class Foresight:
    """What accounts and holds a pass needs that is to be decided ahead, locking nothing.

    What is not seen yet is read: outside a transaction, and checked when it is locked
    (`lock_unchanged`).
    """

    def __init__(self, account_ids: set[int], hold_ids: set[int], seen: Seen) -> None:
        self._ids = (account_ids, hold_ids)
        self._seen = seen
        # Not by subtracting all that was seen: that would walk through it each time.
        accounts, holds = seen.accounts, seen.holds
        self._missing = (
            [id for id in account_ids if id not in accounts],
            [id for id in hold_ids if id not in holds],
        )

    @property
    def is_blind(self) -> bool:
        """Say whether anything is to be read first."""
        return any(self._missing)

    def ask(self, journey: Journey) -> None:
        """Put on a journey what is to be read: two statements."""
        # Accounts before holds: whoever changes a hold changes its account, so a hold that is
        # newer than its account here is found out when the account is locked.
        journey.add(READ_ACCOUNTS, array(self._missing[0]))
        journey.add(READ_HOLDS, array(self._missing[1]))

    def hear(self, read: Answered, held: Answered) -> None:
        """Take in the answers."""
        seen = self._seen
        for *account, version in read.fetchall():
            seen.accounts[account[0]] = Account(*account)
            seen.versions[account[0]] = version
        seen.holds.update((row[0], HeldFunds(*row)) for row in held.fetchall())

    def foreseen(self, sequence: int) -> Foreseen:
        """Begin the pass. `sequence` is the next of NEXT_SEQUENCE."""
        seen = self._seen
        accounts = {id: known for id in self._ids[0] if (known := seen.accounts.get(id))}
        holds = {id: hold for id in self._ids[1] if (hold := seen.holds.get(id))}
        return Foreseen(*_ledger(accounts, holds, sequence, None), seen)


def lock_unchanged(journey: Journey, posting: Foreseen) -> None:
    """Put on a journey, first in its transaction: lock the accounts, if they are as foreseen.

    Its answer's second column is the transaction's id, for `Foreseen.left`. The pass before
    must be committed. Where an account has changed the journey ends, by `Unexpected(MOVED)`.
    """
    ids = sorted(posting.ledger.accounts)
    journey.add(LOCK_UNCHANGED, array(ids), array(posting.versions(ids)), len(ids))


def _accounts_of_holds(hold_ids: list[int]) -> Iterator[int]:
    found = ask(HOLD_ACCOUNTS, array(hold_ids))
    return (id for row in found.fetchall() for id in row if id is not None)


def _ledger(
    accounts: dict[int, Account], holds: dict[int, HeldFunds], sequence: int, now: datetime | None
) -> tuple[Ledger, int]:
    newest = max((account.last_transfer_id for account in accounts.values()), default=0)
    moment_us = time.time_ns() // 1000 if now is None else int(now.timestamp() * 1_000_000)
    batch = batch_at(moment_us, sequence=sequence, after_id=newest)
    ledger = Ledger(
        first_id=first_id(batch),
        now=now or datetime.fromtimestamp(moment_us / 1_000_000, UTC),
        accounts=accounts,
        holds=holds,
    )
    return ledger, batch


def write_to(journey: Journey, posting: Posting) -> None:
    """Put on a journey what was decided. Its accounts must be locked by then."""
    ledger = posting.ledger
    if posting.references:
        # In order of digest: two batches that share references wait for each other one way.
        references = [reference_row(used) for used in sorted(posting.references)]
        journey.write(WRITE_REFERENCES, Rows("wallet_reference_row", references))
    if not ledger.transfers:
        return
    assert batch_of(ledger.transfers[-1].id) == posting.batch, "too many items in one batch"
    accounts = [account_row(ledger.accounts[id]) for id in sorted(ledger.touched_account_ids)]
    states = Rows("wallet_account_state", accounts)
    journey.write(WRITE_ACCOUNTS, states, changes=(len(accounts), "balances"))
    transfers = [transfer_row(transfer) for transfer in ledger.transfers]
    journey.write(WRITE_TRANSFERS, Rows("wallet_transfer_row", transfers))
    if ledger.entries:
        entries = [entry_row(entry) for entry in ledger.entries]
        journey.write(WRITE_ENTRIES, Rows("wallet_entry_row", entries))
    if ledger.new_hold_ids:
        holds = [hold_row(ledger.holds[id]) for id in ledger.new_hold_ids]
        journey.write(OPEN_HOLDS, Rows("wallet_hold_row", holds))
    if changed := _changed_holds(ledger):
        journey.write(WRITE_HOLDS, *_hold_columns(changed), changes=(len(changed), "holds"))
    journey.write(WRITE_BATCH, first_id(posting.batch), len(transfers))


def _changed_holds(ledger: Ledger) -> list[HeldFunds]:
    """The holds of earlier batches that this one shrank or ended, by id."""
    changed = ledger.touched_hold_ids.difference(ledger.new_hold_ids)
    return [ledger.holds[id] for id in sorted(changed)]


def _hold_columns(holds: list[HeldFunds]) -> tuple[str, str, str]:
    return (
        array(h.id for h in holds),
        array(h.remaining for h in holds),
        array(h.state for h in holds),
    )
