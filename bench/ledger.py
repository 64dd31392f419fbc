"""How fast money moves: the door in batches and alone, beside the ORM; and reads as books grow.

    python -m bench ledger

Every law is on: limits, references, entries with the balance after, append-only triggers.
Baseline and ours take turns in the same run, and medians are compared, so that a busy
moment of the machine hits both.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from bench.support import Clients, Figures, percentile, timed
from edge.ids import TICK_US, batch_at, first_id, first_id_at
from wallet import items, statements
from wallet.accounts import Purpose, open_accounts
from wallet.actions import post
from wallet.models import Account, Asset, Code, Entry, Reference, Transfer
from wallet.references import digest_of, fingerprint_of
from wallet.seal import seal

PEOPLE = 1_000
MANY_PEOPLE = 10_000
STAKE = 1_000_000
BATCH_SIZE = 2_048
WARM_ROUNDS = 20
ROUNDS = 8
ORM_TRANSFERS_A_ROUND = 150
SMALL_BATCHES = 160
CLIENTS = 8
CLIENT_ROUNDS = 3
CLIENT_SECONDS = 3.0
READS = 400
OPENINGS = 400
BESIDE = {
    "ledger.batch_transfers_per_s": "ledger.orm_transfers_per_s",
    "ledger.batch_10k_accounts_transfers_per_s": "ledger.orm_transfers_per_s",
    "ledger.batch512_transfers_per_s": "ledger.orm_transfers_per_s",
    "ledger.hot_account_transfers_per_s": "ledger.batch_transfers_per_s",
    "ledger.single_transfers_per_s": "ledger.orm_transfers_per_s",
    "ledger.single_1_client_transfers_per_s": "ledger.orm_transfers_per_s",
    "ledger.orm_8_clients_transfers_per_s": "ledger.orm_transfers_per_s",
    "ledger.balance_1m_p50_ms": "ledger.balance_10k_p50_ms",
    "ledger.balance_as_of_1m_p50_ms": "ledger.balance_as_of_10k_p50_ms",
    "ledger.statement_1m_p50_ms": "ledger.statement_10k_p50_ms",
    "ledger.open_account_1m_p50_us": "ledger.open_account_1k_p50_us",
}
_numbers = count(1)


def measure() -> Figures:
    """All figures of the ledger, by flat names."""
    asset = Asset.objects.create(code="BENCH", name="Bench points", kind=Asset.Kind.POINTS)
    figures = measure_openings(asset, 1_000, "1k")
    people = open_people(asset)
    figures |= measure_batches(asset, people)
    figures |= measure_clients(asset, people[:PEOPLE])
    figures |= measure_seals()
    figures |= measure_reads(asset)
    return figures | measure_openings(asset, 1_000_000, "1m")


def open_people(asset: Asset) -> list[int]:
    """Open accounts that may not go below zero, and give each a stake."""
    purposes = [Purpose(None, asset.pk, "budget", str(n)) for n in range(MANY_PEOPLE)]
    ids = list(open_accounts(purposes).values())
    issuer = Purpose(None, asset.pk, "issuance")
    issuer_id = open_accounts([issuer])[issuer]
    for start in range(0, MANY_PEOPLE, BATCH_SIZE):
        batch = [transfer(asset, issuer_id, id, STAKE) for id in ids[start : start + BATCH_SIZE]]
        assert all(result.is_created for result in post(batch))
    analyze()
    return ids


def transfer(asset: Asset, debit: int, credit: int, amount: int = 1) -> items.Transfer:
    """Spell a transfer under a reference of its own."""
    return items.Transfer(
        reference=f"{os.getpid()}:{time.time_ns()}:{next(_numbers)}",
        asset_id=asset.pk,
        debit_account_id=debit,
        credit_account_id=credit,
        amount=amount,
        code=Code.PAYMENT,
    )


# -- writing ---------------------------------------------------------------------------------


def measure_batches(asset: Asset, people: list[int]) -> Figures:
    """The door in batches, a hot account and the ORM in turns; then many small batches."""
    few = people[:PEOPLE]

    def batch(size: int, among: list[int] = few) -> list[items.Item]:
        return [transfer(asset, *random.sample(among, 2)) for _ in range(size)]

    def hot_batch() -> list[items.Item]:
        payers = random.choices(few[1:], k=BATCH_SIZE)
        return [transfer(asset, payer, few[0]) for payer in payers]

    for _ in range(WARM_ROUNDS):
        post(batch(BATCH_SIZE))
    settle()
    spread, many, hot, orm = [], [], [], []
    for _ in range(ROUNDS):
        orm.append(ORM_TRANSFERS_A_ROUND / timed(lambda: orm_round(asset, few)))
        for _ in range(2):
            spread.append(BATCH_SIZE / timed_post(batch(BATCH_SIZE)))
            hot.append(BATCH_SIZE / timed_post(hot_batch()))
            many.append(BATCH_SIZE / timed_post(batch(BATCH_SIZE, people)))
    settle()
    small = [timed_post(batch(512)) for _ in range(SMALL_BATCHES)]
    return {
        "ledger.batch_size": BATCH_SIZE,
        "ledger.batch_transfers_per_s": statistics.median(spread),
        "ledger.batch_10k_accounts_transfers_per_s": statistics.median(many),
        "ledger.hot_account_transfers_per_s": statistics.median(hot),
        "ledger.batch512_transfers_per_s": 512 / statistics.median(small),
        "ledger.batch512_p99_ms": 1000 * percentile(small, 99),
        "ledger.orm_transfers_per_s": statistics.median(orm),
    }


def settle() -> None:
    """Bring us to where a running process is: log files to be used again, a heap set aside."""
    gc.collect()
    gc.freeze()
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")


def timed_post(batch: list[items.Item]) -> float:
    """The seconds that a batch takes, all of whose items must be done."""
    started = time.perf_counter()
    results = post(batch)
    seconds = time.perf_counter() - started
    assert all(result.is_created for result in results)
    return seconds


def orm_round(asset: Asset, people: list[int]) -> None:
    for _ in range(ORM_TRANSFERS_A_ROUND):
        orm_transfer(transfer(asset, *random.sample(people, 2)))


def orm_transfer(item: items.Transfer, client: int = 0) -> None:
    """The baseline: one transaction a transfer, as good Django would write it.

    It locks both rows in order, checks, and leaves the same rows behind as the door does.
    Clients draw ids of their own by their number.
    """
    with transaction.atomic():
        sides = (item.debit_account_id, item.credit_account_id)
        locked = Account.objects.select_for_update(no_key=True).filter(pk__in=sides).order_by("pk")
        accounts = {account.pk: account for account in locked}
        debit, credit = (accounts[side] for side in sides)
        assert debit.asset_id == credit.asset_id == item.asset_id
        assert not debit.status and not credit.status and debit.available >= item.amount
        newest = max(debit.last_transfer_id, credit.last_transfer_id)
        batch = batch_at(time.time_ns() // 1000, sequence=client, after_id=newest)
        made = Transfer.objects.create(
            id=first_id(batch),
            kind=items.Kind.TRANSFER,
            code=item.code,
            asset_id=item.asset_id,
            debit_account_id=debit.pk,
            credit_account_id=credit.pk,
            amount=item.amount,
            reference=item.reference,
        )
        Reference.objects.create(
            digest=UUID(bytes=digest_of(item.reference)),
            transfer_id=made.pk,
            fingerprint=fingerprint_of(item),
            refusal=0,
        )
        for account, amount in ((debit, -item.amount), (credit, item.amount)):
            account.balance += amount
            account.entry_count += 1
            account.last_transfer_id = made.pk
            account.save(update_fields=["balance", "entry_count", "last_transfer_id"])
        Entry.objects.bulk_create(
            Entry(
                account_id=account.pk,
                transfer_id=made.pk,
                amount=amount,
                balance_after=account.balance,
            )
            for account, amount in ((debit, -item.amount), (credit, item.amount))
        )


def measure_clients(asset: Asset, people: list[int]) -> Figures:
    """Single transfers by eight processes at once, ours and the ORM's in turns; and by one."""
    rates: dict[str, list[float]] = {}
    for clients_count, suffix in ((1, "_1_client"), (CLIENTS, "")):
        clients = Clients(clients_count, "bench.ledger:client", (asset.pk, people))
        for work in ("ours", "orm"):
            clients.rate(work, 0.5)
        for _ in range(CLIENT_ROUNDS):
            for work in ("ours", "orm"):
                rate = clients.rate(work, CLIENT_SECONDS)
                rates.setdefault(work + suffix, []).append(rate)
        clients.close()
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "ledger.single_transfers_per_s": medians["ours"],
        "ledger.single_1_client_transfers_per_s": medians["ours_1_client"],
        "ledger.orm_8_clients_transfers_per_s": medians["orm"],
    }


def client(argument: tuple[int, list[int]], number: int) -> dict[str, Callable[[], object]]:
    """What a client process does: one transfer through the door, or through the ORM."""
    asset_id, people = argument
    asset = Asset.objects.get(pk=asset_id)
    random.seed(number)
    return {
        "ours": lambda: post([transfer(asset, *random.sample(people, 2))]),
        "orm": lambda: orm_transfer(transfer(asset, *random.sample(people, 2)), number),
    }


def measure_seals() -> Figures:
    """Sealing all that was written so far."""
    started = time.perf_counter()
    made = seal()
    seconds = time.perf_counter() - started
    return {"ledger.seal_transfers_per_s": sum(each.transfer_count for each in made) / seconds}


# -- reading, as the books grow --------------------------------------------------------------

HISTORY = """
WITH made AS (
    SELECT n, %(first)s + n * %(step)s AS id FROM generate_series(1, %(count)s) AS n
), moved AS (
    INSERT INTO wallet_transfer (id, kind, code, asset_id, debit_account_id, credit_account_id,
                                 amount, reference, memo)
    SELECT id, 1, 4, %(asset)s, %(other)s, %(account)s, 1, '', '' FROM made
)
INSERT INTO wallet_entry (account_id, transfer_id, amount, balance_after)
SELECT side.account_id, id, side.sign, side.sign * n
  FROM made CROSS JOIN LATERAL (VALUES (%(other)s::bigint, -1), (%(account)s::bigint, 1))
    AS side(account_id, sign)
"""
HISTORY_DAYS = 300


def measure_reads(asset: Asset) -> Figures:
    """Balances and statement pages of an account of 10 thousand entries and one of a million."""
    accounts = {"10k": grow_history(asset, 10_000), "1m": grow_history(asset, 1_000_000)}
    analyze()
    samples: dict[str, list[float]] = {}
    for _ in range(READS):
        for size, account_id in accounts.items():
            for name, read in reads(account_id).items():
                samples.setdefault(f"{name}_{size}", []).append(timed(read))
    return {f"ledger.{name}_p50_ms": 1000 * statistics.median(s) for name, s in samples.items()}


def reads(account_id: int) -> dict[str, Callable[[], Any]]:
    """One read of each kind; those of the past at a random moment."""
    moment = datetime.now(UTC) - random.random() * timedelta(days=HISTORY_DAYS)
    return {
        "balance": lambda: statements.balance_now(account_id),
        "balance_as_of": lambda: statements.balance_as_of(account_id, moment),
        "statement": lambda: statements.page(account_id, limit=50),
        "statement_as_of": lambda: statements.page(account_id, end=moment, limit=50),
    }


def grow_history(asset: Asset, entries: int) -> int:
    """Lay down an account's history evenly over 300 days, as years of use would have."""
    purposes = [Purpose(None, asset.pk, "suspense", f"{side} {entries}") for side in "ab"]
    other, account = open_accounts(purposes).values()
    start = datetime.now(UTC) - timedelta(days=HISTORY_DAYS)
    ticks = HISTORY_DAYS * 86_400_000_000 // TICK_US
    parameters = {
        "first": first_id_at(start) + account % 4096,
        "step": ticks // (entries + 1) << 17,
        "count": entries,
        "asset": asset.pk,
        "other": other,
        "account": account,
    }
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, parameters)
    last_id = parameters["first"] + entries * parameters["step"]
    for id, balance in ((other, -entries), (account, entries)):
        Account.objects.filter(pk=id).update(
            balance=balance, entry_count=entries, last_transfer_id=last_id
        )
    return account


MANY_ACCOUNTS = """
INSERT INTO wallet_account
    (asset_id, kind_id, label, balance, held, incoming, status, entry_count, last_transfer_id,
     created_at)
SELECT %s, 'clearing', 'many ' || n, 0, 0, 0, 0, 0, 0, now()
  FROM generate_series((SELECT count(*) FROM wallet_account) + 1, %s) AS n
ON CONFLICT DO NOTHING
"""


def measure_openings(asset: Asset, accounts: int, size: str) -> Figures:
    """Opening one account when there are so many."""
    with connection.cursor() as cursor:
        cursor.execute(MANY_ACCOUNTS, [asset.pk, accounts])
    analyze()
    samples = []
    for n in range(OPENINGS):
        purpose = Purpose(None, asset.pk, "clearing", f"new {accounts} {n}")
        samples.append(timed(partial(open_accounts, [purpose])))
    return {f"ledger.open_account_{size}_p50_us": 1e6 * statistics.median(samples)}


def analyze() -> None:
    """Let PostgreSQL write down what it holds, as it does by itself in time."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
