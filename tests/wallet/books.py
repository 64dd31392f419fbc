"""Small books for tests: one asset, its issuer, and named accounts that hold it."""

from __future__ import annotations

from itertools import count

from wallet.actions import post
from wallet.items import Hold, Post, Result, Transfer, Void
from wallet.models import Account, Asset, Code

_numbers = count(1)
State = tuple[int, int, int]


class Books:
    """One asset and accounts on it by name; `issuer` may go below zero, others may not."""

    def __init__(self, code: str = "") -> None:
        self.asset = Asset.objects.create(
            code=code or f"TEST{next(_numbers)}", name="Test points", kind=Asset.Kind.POINTS
        )
        self.ids: dict[str, int] = {}
        self.open("issuer", floor=None)

    def open(
        self,
        name: str,
        *,
        balance: int = 0,
        floor: int | None = 0,
        ceiling: int | None = None,
        largest_debit: int | None = None,
    ) -> int:
        """Open an account and give it a balance from the issuer."""
        account = Account.objects.create(
            asset=self.asset,
            kind_id="suspense",
            label=f"{name} {next(_numbers)}",
            floor=floor,
            ceiling=ceiling,
            largest_debit=largest_debit,
        )
        self.ids[name] = account.pk
        if balance:
            [result] = post([self.transfer("issuer", name, balance)])
            assert result.is_created
        return account.pk

    def transfer(
        self, debit: str, credit: str, amount: int, reference: str = "", **more: object
    ) -> Transfer:
        """Spell a transfer between two named accounts."""
        return Transfer(
            reference=reference or new_reference(),
            asset_id=self.asset.pk,
            debit_account_id=self.ids[debit],
            credit_account_id=self.ids[credit],
            amount=amount,
            code=Code.ADJUSTMENT,
            **more,  # type: ignore[arg-type]
        )

    def hold(
        self, debit: str, credit: str | None, amount: int, reference: str = "", **more: object
    ) -> Hold:
        """Spell a hold, for a named receiver or for one still to be named."""
        return Hold(
            reference=reference or new_reference(),
            asset_id=self.asset.pk,
            debit_account_id=self.ids[debit],
            credit_account_id=None if credit is None else self.ids[credit],
            amount=amount,
            code=Code.HOLD,
            **more,  # type: ignore[arg-type]
        )

    def state(self, name: str) -> State:
        """Balance, held and incoming of an account, as the database has them now."""
        return Account.objects.values_list("balance", "held", "incoming").get(pk=self.ids[name])

    def states(self) -> dict[str, State]:
        """The state of every account."""
        return {name: self.state(name) for name in self.ids}


def new_reference() -> str:
    """A reference that nobody used."""
    return f"reference {next(_numbers)}"


def pay(hold_id: int, amount: int | None = None, reference: str = "", **more: object) -> Post:
    """Spell a post of a hold."""
    return Post(
        reference=reference or new_reference(),
        hold_id=hold_id,
        amount=amount,
        code=Code.PAYMENT,
        **more,  # type: ignore[arg-type]
    )


def release(hold_id: int, amount: int | None = None, reference: str = "", **more: object) -> Void:
    """Spell a void of a hold."""
    return Void(
        reference=reference or new_reference(),
        hold_id=hold_id,
        amount=amount,
        code=Code.RELEASE,
        **more,  # type: ignore[arg-type]
    )


def created(results: list[Result]) -> list[int]:
    """The ids of the transfers, all of which must have been created."""
    assert all(result.is_created for result in results), results
    return [result.transfer_id for result in results]
