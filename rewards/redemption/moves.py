"""What each step of a redemption asks of the ledger. Every list goes through the door at once."""

from __future__ import annotations

from rewards.models import GenericCode, Redemption, Series, Voucher
from rewards.redemption import money
from rewards.redemption.rules import Kind
from wallet.items import Hold, Item, Post, Transfer, Void
from wallet.models import Code


def name(redemption: Redemption, what: str) -> str:
    """Name a move for the ledger, once for ever."""
    return f"redemption:{redemption.pk}:{what}"


def open_gift(series: Series, voucher: Voucher) -> tuple[int, list[Transfer]]:
    """Say where a gift balance lies; the first time its face value is moved there."""
    asset_id = series.face_value_asset_id or 0
    if voucher.account_id is not None:
        return voucher.account_id, []
    voucher.account_id = money.gift_account(voucher.pk, asset_id)
    return voucher.account_id, money.transfer(
        f"gift:{voucher.pk}",
        asset_id,
        money.purse_of(series).liability,
        voucher.account_id,
        series.backing_minor,
        code=Code.ISSUE,
    )


def free_lapsed(lapsed: list[Redemption]) -> list[Void]:
    """Give back what lapsed reservations set aside, in the words of the ledger's own sweep."""
    return [
        Void(reference=f"hold-expiry:{each.hold_id}", hold_id=each.hold_id, code=Code.RELEASE)
        for each in lapsed
        if each.hold_id is not None
    ]


# -- reserve -------------------------------------------------------------------------------


def set_aside_gift(redemption: Redemption, account_id: int) -> Hold:
    """Hold a part of a gift balance for the partner."""
    asset_id = redemption.series.face_value_asset_id or 0
    return Hold(
        reference=name(redemption, "hold"),
        asset_id=asset_id,
        debit_account_id=account_id,
        credit_account_id=money.settlement_of(redemption.partner, asset_id),
        amount=redemption.value_minor,
        code=Code.REDEMPTION,
        expires_at=redemption.reserved_until,
    )


def set_aside_use(redemption: Redemption, generic: GenericCode) -> Hold:
    """Hold one use of a generic code."""
    uses = money.uses_of(generic)
    return Hold(
        reference=name(redemption, "use"),
        asset_id=redemption.series.asset_id,
        debit_account_id=uses.left,
        credit_account_id=uses.used,
        amount=1,
        code=Code.REDEMPTION,
        expires_at=redemption.reserved_until,
    )


# -- confirm -------------------------------------------------------------------------------


def pay_gift(redemption: Redemption, account_id: int) -> list[Item]:
    """Pay a part of a gift balance to the partner: from the hold, or at once."""
    asset_id = redemption.series.face_value_asset_id or 0
    if redemption.hold_id is not None:
        return [
            Post(
                reference=name(redemption, "pay"),
                hold_id=redemption.hold_id,
                code=Code.REDEMPTION,
                amount=redemption.value_minor,
            )
        ]
    partner = money.settlement_of(redemption.partner, asset_id)
    return [
        *money.transfer(
            name(redemption, "pay"), asset_id, account_id, partner, redemption.value_minor
        )
    ]


def count_use(redemption: Redemption, generic: GenericCode) -> Item:
    """Use a generic code up by one: from the hold, or at once."""
    if redemption.hold_id is not None:
        return Post(
            reference=name(redemption, "count"), hold_id=redemption.hold_id, code=Code.REDEMPTION
        )
    uses = money.uses_of(generic)
    [item] = money.transfer(
        name(redemption, "count"), redemption.series.asset_id, uses.left, uses.used, 1
    )
    return item


def pay_whole(redemption: Redemption) -> list[Item]:
    """Pay the partner what a voucher is worth, and book what of its face value is not used."""
    series = redemption.series
    if not series.backing_minor:
        return []
    asset_id = series.face_value_asset_id or 0
    purse = money.purse_of(series)
    partner = money.settlement_of(redemption.partner, asset_id)
    rest = money.rest_account(series, purse)
    return [
        *money.transfer(
            name(redemption, "pay"), asset_id, purse.liability, partner, redemption.value_minor
        ),
        *money.transfer(
            name(redemption, "rest"), asset_id, purse.liability, rest, redemption.rest_minor
        ),
    ]


# -- reverse -------------------------------------------------------------------------------


def take_back(redemption: Redemption, to_account_id: int) -> list[Transfer]:
    """Take back from the partner what a redemption paid."""
    if redemption.transfer_id is None:
        return []
    asset_id = redemption.series.face_value_asset_id or 0
    return money.transfer(
        name(redemption, "reverse"),
        asset_id,
        money.settlement_of(redemption.partner, asset_id),
        to_account_id,
        redemption.value_minor,
        code=Code.REVERSAL,
        reverses_id=redemption.transfer_id,
    )


def take_back_rest(redemption: Redemption) -> list[Transfer]:
    """Owe again the part of the face value that was not used."""
    if redemption.rest_transfer_id is None:
        return []
    series = redemption.series
    purse = money.purse_of(series)
    return money.transfer(
        name(redemption, "reverse-rest"),
        series.face_value_asset_id or 0,
        money.rest_account(series, purse),
        purse.liability,
        redemption.rest_minor,
        code=Code.REVERSAL,
        reverses_id=redemption.rest_transfer_id,
    )


def give_use_back(redemption: Redemption, generic: GenericCode) -> list[Transfer]:
    """Let a generic code be used once more."""
    uses = money.uses_of(generic)
    return money.transfer(
        name(redemption, "uncount"),
        redemption.series.asset_id,
        uses.used,
        uses.left,
        1,
        code=Code.REVERSAL,
        reverses_id=redemption.unit_transfer_id,
    )


def is_gift(redemption: Redemption) -> bool:
    """Say whether it took a part of a balance."""
    return redemption.series.kind == Kind.GIFT
