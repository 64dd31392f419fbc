"""What people do with their own wallets: pay each other, and hold money for one another.

People name each other by handle. Each deed takes the caller's own key; the ledger's
reference is made of the person and that key, so a repeat never pays twice, even after years.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from uuid import UUID

from django.db import transaction

from accounts.models import User
from edge.problems import Refusal
from wallet import items
from wallet.accounts import WALLET, Purpose, open_accounts
from wallet.actions import post
from wallet.items import Result
from wallet.models import Account, Asset, Code, Hold, Reference, Transfer
from wallet.ownership import check_passing, rules_of
from wallet.references import digest_of

LONGEST_HOLD = timedelta(days=31)
LONGEST_PLAIN_KEY = 40


class PersonUnknown(Refusal):
    """Nobody active has this handle."""

    code = "person_unknown"
    title = "There is no such person"
    status = 422


class AssetUnknown(Refusal):
    """No asset has this code."""

    code = "asset_unknown"
    title = "There is no such asset"
    status = 422


class HoldTooLong(Refusal):
    """People's holds end soon, so that no one's money is set aside and forgotten."""

    code = "hold_too_long"
    title = f"A hold lasts at most {LONGEST_HOLD.days} days"
    status = 422


class HoldUnknown(Refusal):
    """No hold of this person has this id."""

    code = "hold_unknown"
    title = "There is no such hold"
    status = 404


class HoldNotYours(Refusal):
    """The platform made this hold (for an order, say), and alone posts or voids it."""

    code = "hold_not_yours"
    title = "This hold ends by what it was made for"
    status = 403


def pay(*, sender: User, to: str, asset: str, amount: int, memo: str, key: str) -> Result:
    """Pay another person at once. Opens their wallet at its first use.

    What the asset's own rules forbid (`OwnershipBarred`) is refused before anything moves.
    """
    paid_in, receiver = _asset(asset), _person(to)
    sender_account, receiver_account = _wallets(sender, receiver, paid_in)
    return _pass_on(
        receiver,
        items.Transfer(
            reference=reference(sender, "pay", key),
            asset_id=paid_in.pk,
            debit_account_id=sender_account,
            credit_account_id=receiver_account,
            amount=amount,
            code=Code.PAYMENT,
            memo=memo,
        ),
    )


def hold(
    *, owner: User, to: str, asset: str, amount: int, memo: str, expires_at: datetime, key: str
) -> Result:
    """Set money aside for another person until it is posted, voided or lapses.

    The receiver is named now: money of an account that is frozen later can still go only
    where it was promised. `expires_at` is at most 31 days away.
    """
    if expires_at > datetime.now(UTC) + LONGEST_HOLD:
        raise HoldTooLong
    held_in, receiver = _asset(asset), _person(to)
    owner_account, receiver_account = _wallets(owner, receiver, held_in)
    return _pass_on(
        receiver,
        items.Hold(
            reference=reference(owner, "hold", key),
            asset_id=held_in.pk,
            debit_account_id=owner_account,
            credit_account_id=receiver_account,
            amount=amount,
            code=Code.HOLD,
            memo=memo,
            expires_at=expires_at,
        ),
    )


def post_hold(
    *, owner: User, hold_id: int, amount: int | None, rest_is_kept: bool, key: str
) -> Result:
    """Pay from a hold to whom it promised: `amount`, or all that remains."""
    _check_own(owner, hold_id)
    return _post(
        items.Post(
            reference=reference(owner, f"post:{hold_id}", key),
            hold_id=hold_id,
            code=Code.PAYMENT,
            amount=amount,
            rest_is_kept=rest_is_kept,
        )
    )


def void_hold(*, owner: User, hold_id: int, amount: int | None, key: str) -> Result:
    """Release a hold: `amount` of it, or all that remains."""
    _check_own(owner, hold_id)
    return _post(
        items.Void(
            reference=reference(owner, f"void:{hold_id}", key),
            hold_id=hold_id,
            code=Code.RELEASE,
            amount=amount,
        )
    )


def reference(person: User, deed: str, key: str) -> str:
    """Name a deed for the ledger: nobody else can make the same name.

    Long keys are shortened to a digest, and so are those that look like one.
    """
    if len(key) > LONGEST_PLAIN_KEY or key.startswith("~"):
        key = "~" + blake2b(key.encode(), digest_size=16).hexdigest()
    return f"{_prefix(person)}{deed}:{key}"


def _prefix(person: User) -> str:
    return f"person:{person.pk}:"


def own_hold(owner: User, hold_id: int) -> Hold:
    """Find a hold on one of the person's accounts."""
    found = Hold.objects.filter(pk=hold_id).first()
    if found is None or not Account.objects.filter(pk=found.account_id, owner=owner).exists():
        raise HoldUnknown
    return found


def _check_own(owner: User, hold_id: int) -> None:
    own_hold(owner, hold_id)
    made_as = Transfer.objects.values_list("reference", flat=True).get(pk=hold_id)
    if not made_as.startswith(_prefix(owner)):
        raise HoldNotYours


def _person(handle: str) -> User:
    person = User.objects.by_handle(handle)
    if person is None:
        raise PersonUnknown
    return person


def _asset(code: str) -> Asset:
    asset = Asset.objects.filter(code=code).first()
    if asset is None:
        raise AssetUnknown
    return asset


def _wallets(payer: User, receiver: User, asset: Asset) -> tuple[int, int]:
    purposes = [Purpose(person.pk, asset.pk, WALLET) for person in (payer, receiver)]
    opened = open_accounts(purposes)
    return opened[purposes[0]], opened[purposes[1]]


def _pass_on(receiver: User, item: items.Transfer | items.Hold) -> Result:
    """Post what goes to another person, if the asset's rules let it; a repeat is only a repeat."""
    assert item.credit_account_id is not None
    with transaction.atomic():
        has_rules = rules_of(item.asset_id).binds
        if has_rules and item.amount > 0 and not _is_repeat(item.reference):
            check_passing(
                asset_id=item.asset_id,
                sender_account=item.debit_account_id,
                receiver_account=item.credit_account_id,
                receiver_id=receiver.pk,
                amount=item.amount,
            )
        return _post(item)


def _is_repeat(reference: str) -> bool:
    return Reference.objects.filter(digest=UUID(bytes=digest_of(reference))).exists()


def _post(item: items.Item) -> Result:
    [result] = post([item])
    return result
