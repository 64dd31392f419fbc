"""`manage.py points`: what it does and what it says."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from edge.ids import time_of
from tests.finance.ledgers import Ledger, day
from wallet.models import Account, Code, Transfer
from wallet.tasks import expire_points, fold_points


@pytest.fixture
def ledger(transactional_db: None) -> Ledger:
    made = Ledger("PTS", expires=True)
    made.open("ann", "ben")
    made.move("issuance", "ann", 30, Code.GRANT, at=day("01-10"), expires_at=day("02-01"))
    made.move("ann", "ben", 12, at=day("01-11"))
    return made


def run(*arguments: str) -> str:
    stdout = io.StringIO()
    call_command("points", *arguments, stdout=stdout)
    return stdout.getvalue().strip()


def test_expire_sweeps_and_says_what_it_moved(ledger: Ledger) -> None:
    """The lots lapsed in February of 2026, which is over."""
    assert run("expire") == "2 accounts, 2 expiries of 30 in all, 0 waiting for holds or frozen"
    assert run("expire") == "0 accounts, 0 expiries of 0 in all, 0 waiting for holds or frozen"
    assert Account.objects.get(pk=ledger.ids["breakage"]).balance == 30
    expiry = Transfer.objects.filter(code=Code.EXPIRY)[0]
    assert time_of(expiry.pk) > day("02-01")


def test_expire_does_so_many_accounts(ledger: Ledger) -> None:
    assert run("expire", "--limit", "1").startswith("1 accounts, 1 expiries of 18 in all")


def test_fold_verify_and_rebuild_say_how_much(ledger: Ledger) -> None:
    assert run("fold") == "2 accounts folded"
    assert run("verify") == "The lots are what the entries say."
    assert run("rebuild") == "2 accounts rebuilt"


def test_verify_names_the_accounts_that_differ(ledger: Ledger) -> None:
    run("fold")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM wallet_lot_move")
    with pytest.raises(CommandError, match=f"accounts {ledger.ids['ann']}"):
        run("verify")


def test_a_limit_that_makes_no_sense_is_refused(transactional_db: None) -> None:
    for arguments in (("expire", "--limit", "0"), ("fold", "--limit", "5")):
        with pytest.raises(CommandError, match="--limit"):
            run(*arguments)


def test_the_jobs_do_the_same(ledger: Ledger) -> None:
    assert fold_points() == 2
    assert expire_points() == 2
    assert expire_points() == 0
