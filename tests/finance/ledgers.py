"""Small ledgers with a history, for the tests of what finance reads."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

from accounts.models import User
from wallet import items
from wallet.accounts import Purpose, open_accounts, system_account
from wallet.actions import post
from wallet.items import Item, Result
from wallet.models import Asset, Code

_numbers = count(1)


def day(text: str, hour: int = 12) -> datetime:
    """A moment on a day of 2026: `day("03-01")` is noon of the first of March, UTC."""
    month, of_month = text.split("-")
    return datetime(2026, int(month), int(of_month), hour, tzinfo=UTC)


def person() -> int:
    """The id of somebody new."""
    number = next(_numbers)
    return User.objects.create_user(f"person{number}@example.com", handle=f"person{number}").pk


class Ledger:
    """One asset with its house accounts, and wallets by the name of their owner."""

    def __init__(self, code: str = "PTS", *, scale: int = 0, expires: bool = False) -> None:
        self.asset = Asset.objects.create(
            code=code, name=f"{code} of the tests", kind="points", scale=scale, expires=expires
        )
        self.owners: dict[str, int] = {}
        self.ids = {
            kind: system_account(self.asset, kind).pk
            for kind in ("issuance", "clearing", "fees", "breakage", "redeemed", "budget")
        }

    def open(self, *names: str) -> None:
        """Open a wallet for each name."""
        for name in names:
            self.owners[name] = person()
        purposes = {name: Purpose(self.owners[name], self.asset.pk) for name in names}
        opened = open_accounts(purposes.values())
        self.ids |= {name: opened[purpose] for name, purpose in purposes.items()}

    def transfer(
        self, debit: str, credit: str, amount: int, code: Code = Code.PAYMENT, **more: object
    ) -> items.Transfer:
        """Spell a transfer between two named accounts."""
        return items.Transfer(
            reference=str(more.pop("reference", "")) or f"finance {next(_numbers)}",
            asset_id=self.asset.pk,
            debit_account_id=self.ids[debit],
            credit_account_id=self.ids[credit],
            amount=amount,
            code=code,
            **more,  # type: ignore[arg-type]
        )

    def move(
        self,
        debit: str,
        credit: str,
        amount: int,
        code: Code = Code.PAYMENT,
        *,
        at: datetime | None = None,
        **more: object,
    ) -> int:
        """Make a transfer, at a moment of the past where one is given; say its id."""
        [result] = done([self.transfer(debit, credit, amount, code, **more)], at)
        return result.transfer_id


def done(asked: list[Item], at: datetime | None = None) -> list[Result]:
    """Post items, all of which must happen, in April where no moment is given."""
    results = post(asked, now=at or day("04-02"))
    assert all(result.is_created for result in results), results
    return results
