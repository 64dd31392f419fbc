"""An export takes no more memory for a long history than for a short one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from django.db import connection

from config.embedded import ROOT
from edge.ids import first_id_at
from tests.finance.ledgers import Ledger, day

SMALL, LARGE = 12_000, 60_000
ALLOWED_GROWTH_MB = 16
# Runs in a process of its own: the largest memory of a process never shrinks again.
MEASURE = """
import json, pathlib, sys
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from datetime import datetime
from wallet.exports import EXPORTS, Scope

def peak_mb():
    # Not ru_maxrss: a process inherits that from the one that started it.
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def size(name, scope):
    return sum(len(chunk) for chunk in EXPORTS[name].stream(scope))

def measured(end):
    sizes = []
    for name in ("journal", "parquet", "beancount", "hledger", "statement"):
        account = int(sys.argv[2]) if name == "statement" else None
        sizes.append(size(name, Scope(end=datetime.fromisoformat(end), account_id=account)))
    return sizes, peak_mb()

print(json.dumps([measured(end) for end in sys.argv[3:]]))
"""
HOLD_ALL = """
def size(name, scope):
    from wallet.exports.journal import lines
    from wallet.exports.snapshot import taken
    if name != "journal":
        return 0
    with taken() as snapshot:
        return len(list(lines(snapshot, scope)))

print("""


@pytest.fixture
def history(transactional_db: None) -> Ledger:
    """60,000 transfers and 120,000 entries, a fifth of them by the second of March."""
    ledger = Ledger("PTS")
    ledger.open("ann")
    parameters = {
        "asset": ledger.asset.pk,
        "issuance": ledger.ids["issuance"],
        "ann": ledger.ids["ann"],
        "march": first_id_at(day("03-01")),
        "april": first_id_at(day("04-01")),
        "small": SMALL,
        "large": LARGE,
    }
    with connection.cursor() as cursor:
        cursor.execute(TRANSFERS, parameters)
        cursor.execute(ENTRIES, parameters)
        cursor.execute(BALANCES, parameters)
        cursor.execute("ANALYZE wallet_transfer, wallet_entry")
    return ledger


TRANSFERS = """
INSERT INTO wallet_transfer
    (id, kind, code, asset_id, debit_account_id, credit_account_id, amount, reference, memo)
SELECT CASE WHEN n <= %(small)s THEN %(march)s ELSE %(april)s END + n, 1, 3, %(asset)s,
       %(issuance)s, %(ann)s, 1, 'reference ' || n, 'a memo of some length ' || n
  FROM generate_series(1, %(large)s) AS n
"""
ENTRIES = """
INSERT INTO wallet_entry (account_id, transfer_id, amount, balance_after)
SELECT account_id, id, sign, sign * row_number() OVER (PARTITION BY account_id ORDER BY id)
  FROM wallet_transfer, (VALUES (%(issuance)s, -1), (%(ann)s, 1)) AS side (account_id, sign)
"""
BALANCES = """
UPDATE wallet_account AS a
   SET balance = CASE WHEN id = %(ann)s THEN %(large)s ELSE -%(large)s END,
       entry_count = %(large)s,
       last_transfer_id = (SELECT max(id) FROM wallet_transfer)
 WHERE id IN (%(issuance)s, %(ann)s)
"""


@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_the_history(history: Ledger) -> None:
    (small_sizes, small_mb), (large_sizes, large_mb) = _measured(history, MEASURE)
    assert all(large > 4 * small for small, large in zip(small_sizes, large_sizes, strict=True))
    assert large_mb - small_mb < ALLOWED_GROWTH_MB


@pytest.mark.timeout(900)
def test_a_list_of_all_rows_would_be_noticed(history: Ledger) -> None:
    """The control: hold the rows instead of streaming them."""
    held = MEASURE.replace("print(", HOLD_ALL.lstrip())
    (_, small_mb), (_, large_mb) = _measured(history, held)
    assert large_mb - small_mb > 2 * ALLOWED_GROWTH_MB


def _measured(history: Ledger, script: str) -> list[tuple[list[int], float]]:
    """Make every export of the fifth, then of the whole; say their sizes and the largest memory."""
    ends = [f"2026-{month}-15T00:00:00+00:00" for month in ("03", "04")]
    database = str(connection.settings_dict["NAME"])
    arguments = [database, str(history.ids["ann"]), *ends]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
    )
    assert ran.returncode == 0, ran.stderr
    return [(sizes, peak) for sizes, peak in json.loads(ran.stdout)]
