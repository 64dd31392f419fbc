"""The money behind codes: set apart when they are issued, gone back or paid out afterwards.

`guarantee` (one account a series, the house's) always holds refund * (codes not yet given +
codes given whose cover is not settled). It is filled from the issuer's wallet in the very
transaction that issues the codes, so no code goes about without it.
"""

from __future__ import annotations

from rewards.disputes.models import Cover, Dispute, Guarantee
from rewards.disputes.problems import GuaranteeClosed, GuaranteeNotCovered
from rewards.models import Series
from wallet.accounts import WALLET, Purpose, open_accounts
from wallet.items import Hold, Item, Post, Transfer
from wallet.models import Account, Code

GUARANTEE = "guarantee"


def secured_account(guarantee: Guarantee) -> int:
    """Say the account that holds the money behind a series' codes, opening it at first use."""
    purpose = secured_purpose(guarantee)
    return open_accounts([purpose])[purpose]


def secured_purpose(guarantee: Guarantee) -> Purpose:
    """Name that account."""
    return Purpose(None, guarantee.asset_id, GUARANTEE, guarantee.series.code)


def wallet(person_id: int, guarantee: Guarantee) -> int:
    """Say a person's wallet for the guarantee's money, opening it at first use."""
    purpose = Purpose(person_id, guarantee.asset_id, WALLET)
    return open_accounts([purpose])[purpose]


def securing(series: Series, count: int, reference: str) -> list[Item]:
    """Put the issuer's money behind so many new codes; nothing where nobody guarantees.

    Refuses (`GuaranteeNotCovered`) when the issuer's wallet has less; the ledger refuses it
    too, should the wallet be emptied meanwhile.
    """
    guarantee = _of(series)
    if guarantee is None:
        return []
    if guarantee.state != Guarantee.State.OPEN:
        raise GuaranteeClosed
    amount, issuers = count * guarantee.refund_minor, wallet(guarantee.issuer_id, guarantee)
    available = Account.objects.get(pk=issuers).available
    if available < amount:
        raise GuaranteeNotCovered(
            f"{count} codes need {amount}; the issuer's wallet has {max(0, available)}.",
            needed=amount, available=max(0, available), asset=guarantee.asset.code,
        )  # fmt: skip
    return [
        Transfer(
            reference=f"{reference}:guarantee",
            asset_id=guarantee.asset_id,
            debit_account_id=issuers,
            credit_account_id=secured_account(guarantee),
            amount=amount,
            code=Code.HOLD,
            memo=f"guarantee for {count} codes",
        )
    ]


def unsecuring(series: Series, count: int, reference: str) -> list[Item]:
    """Give the issuer back what lay behind codes that will never be given."""
    guarantee = _of(series)
    if guarantee is None or guarantee.state != Guarantee.State.OPEN:
        return []
    return [back(guarantee, count * guarantee.refund_minor, f"{reference}:guarantee")]


def back(guarantee: Guarantee, amount: int, reference: str) -> Transfer:
    """Spell a return of money to the issuer."""
    return Transfer(
        reference=reference,
        asset_id=guarantee.asset_id,
        debit_account_id=secured_account(guarantee),
        credit_account_id=wallet(guarantee.issuer_id, guarantee),
        amount=amount,
        code=Code.RELEASE,
        memo="guarantee released",
    )


def freeze(guarantee: Guarantee, cover: Cover) -> Hold:
    """Set aside what a dispute is about."""
    return Hold(
        reference=f"dispute:{cover.pk}",
        asset_id=guarantee.asset_id,
        debit_account_id=secured_account(guarantee),
        credit_account_id=None,
        amount=guarantee.refund_minor,
        code=Code.HOLD,
    )


def pay_out(dispute: Dispute, guarantee: Guarantee, *, is_refund: bool) -> Post:
    """End the freeze: the money goes to the holder, or back to the issuer."""
    person_id = dispute.holder_id if is_refund else guarantee.issuer_id
    return Post(
        reference=f"dispute-end:{dispute.pk}",
        hold_id=dispute.hold_id,
        credit_account_id=wallet(person_id, guarantee),
        code=Code.REPAYMENT if is_refund else Code.RELEASE,
        memo="refund for a code in vain" if is_refund else "guarantee released",
    )


def _of(series: Series) -> Guarantee | None:
    found = Guarantee.objects.select_related("asset", "series__asset").filter(pk=series.pk)
    return found.first()
