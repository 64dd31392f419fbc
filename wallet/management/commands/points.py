"""`manage.py points`: sweep what has lapsed, and keep what is remembered of lots."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from wallet.expiry import Sweep, expire_due
from wallet.lot_history import LotsRebuilt
from wallet.lot_upkeep import fold_all, rebuild, verify
from wallet.lots import LotsDoNotTie

REPORT_EVERY_S = 1.0


class Command(BaseCommand):
    """Parses, then calls one action."""

    help = (
        "expire: move lapsed points to breakage. fold: derive lots ahead of being asked. "
        "verify: check what is remembered against the entries. rebuild: derive it all anew."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("deed", choices=("expire", "fold", "verify", "rebuild"))
        parser.add_argument("--limit", type=int, help="expire: accounts at most")

    def handle(self, *_: Any, deed: str, limit: int | None, **__: Any) -> None:
        """Do the deed and say what came of it."""
        if limit is not None and (limit < 1 or deed != "expire"):
            raise CommandError("--limit is a number of accounts, for expire only.")
        deeds = {"fold": self._fold, "verify": self._verify, "rebuild": self._rebuild}
        self._said = time.monotonic()
        try:
            if deed == "expire":
                self._expire(limit)
            else:
                deeds[deed]()
        except LotsDoNotTie as broken:
            raise CommandError(f"{broken}. Run `ledger verify`, then `points rebuild`.") from None
        except LotsRebuilt:
            raise CommandError("The lots were rebuilt meanwhile: run it again.") from None

    def _expire(self, limit: int | None) -> None:
        self.stdout.write(_told(expire_due(limit=limit, on_progress=self._swept)))

    def _fold(self) -> None:
        self.stdout.write(f"{fold_all(self._folded)} accounts folded")

    def _rebuild(self) -> None:
        self.stdout.write(f"{rebuild(self._folded)} accounts rebuilt")

    def _verify(self) -> None:
        wrong = verify(self._folded)
        if wrong:
            accounts = ", ".join(map(str, wrong))
            raise CommandError(f"Lots differ from the entries on accounts {accounts}.")
        self.stdout.write("The lots are what the entries say.")

    def _swept(self, sweep: Sweep) -> None:
        self._say(_told(sweep))

    def _folded(self, account_count: int) -> None:
        self._say(f"{account_count} accounts")

    def _say(self, progress: str) -> None:
        if time.monotonic() - self._said >= REPORT_EVERY_S:
            self._said = time.monotonic()
            self.stderr.write(progress)


def _told(sweep: Sweep) -> str:
    return (
        f"{sweep.account_count} accounts, {sweep.expiry_count} expiries of {sweep.amount} in all,"
        f" {sweep.waiting_count} waiting for holds or frozen"
    )
