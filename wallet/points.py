"""Points that people are given: granted, lapsing, taken back. (`wallet.expiry` sweeps them.)

A grant with `expires_at` is a lot; see `wallet.lots` for what becomes of it. Nothing about
lots is written when points move: `expiring` derives what is left of them when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser

from edge.audit import record
from edge.problems import Refusal, Unavailable
from wallet import items
from wallet.accounts import ISSUANCE, OWED, WALLET, Purpose, open_accounts
from wallet.actions import BatchTooLarge
from wallet.door import Posting, opened
from wallet.freezing import LONGEST_REASON, ReasonMissing
from wallet.items import Result, Status
from wallet.ledger import check_credit
from wallet.lot_history import LotHistory, LotsRebuilt
from wallet.lots import Part
from wallet.models import Account, Asset, Code, Transfer
from wallet.once import ATTEMPTS, apply_once, retried
from wallet.problems import LedgerRefusal
from wallet.references import digest_of

MOST_GRANTS = 2_000
"""At once: each may make a second transfer, a repayment, and a commit holds 4,096."""


class ExpiryNotKept(Refusal):
    """The asset was not made to lapse: nobody would ever sweep it."""

    code = "asset_does_not_expire"
    title = "This asset does not expire"


class GrantUnknown(Refusal):
    """No grant has this id."""

    code = "grant_unknown"
    title = "There is no such grant"
    status = 404


class GrantTakenBack(Refusal):
    """The grant was taken back or reversed before."""

    code = "grant_taken_back"
    title = "This grant was taken back or reversed before"
    status = 409


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Points for one person. Comes from issuance unless `source_id` names an account."""

    reference: str
    owner_id: int
    asset_id: int
    amount: int
    expires_at: datetime | None = None
    memo: str = ""
    code: Code = Code.GRANT
    source_id: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Clawback:
    """What was taken back at once, and what the person owes since it was spent."""

    taken: int
    owed: int


def grant(
    grants: Sequence[Grant],
    *,
    also: Sequence[items.Transfer] = (),
    now: datetime | None = None,
) -> list[Result]:
    """Give points to people, up to 2,000 grants at once; answer each by itself, in order.

    Idempotent by reference, like `post`. Whoever owes points (see `clawback`) pays them back
    first, out of the grant and in the same commit. Opens wallets at their first use. Refused
    as a whole (`ExpiryNotKept`) where an asset with an expiry does not lapse. `also` are
    transfers of the same deed; their results follow. Passes through the door, once.
    """
    if not grants and not also:
        return []
    granting = Granting(grants, also)

    def attempt() -> list[Result]:
        with opened(granting.account_ids, digests=granting.digests, now=now) as posting:
            return granting.decide(posting)

    return retried(attempt)


class Granting:
    """Grants, and transfers of the same deed, on their way through the door.

    For who opens the door himself, and writes along with other things (`wallet.door.locked`).
    Opens wallets, so not with accounts locked. Raises as `grant` does. `beside` are wallets that
    may be asked for their `room` too; they are not opened.
    """

    def __init__(
        self,
        grants: Sequence[Grant],
        also: Sequence[items.Transfer] = (),
        *,
        beside: Iterable[Purpose] = (),
    ) -> None:
        if len(grants) + len(also) > MOST_GRANTS:
            raise BatchTooLarge(f"{len(grants) + len(also)} grants; at most {MOST_GRANTS} at once")
        _check_assets(grants)
        self._grants = grants
        self._also = also
        names = [*(each.reference for each in grants), *(each.reference for each in also)]
        self.digests = [digest_of(name) for name in names]
        wallets = {Purpose(g.owner_id, g.asset_id) for g in grants}
        issuance = {Purpose(None, g.asset_id, ISSUANCE) for g in grants if g.source_id is None}
        debts = [Purpose(p.owner_id, p.asset_id, OWED) for p in wallets]
        self._ids = open_accounts([*wallets, *issuance], also=[*debts, *beside])
        named = {g.source_id for g in grants if g.source_id is not None}
        self.account_ids = {*self._ids.values(), *named} | _sides(also)

    def room(self, posting: Posting, wallet: Purpose, amount: int) -> items.Refusal:
        """Say whether a wallet could take so much, on accounts that are locked."""
        if wallet not in self._ids:
            return items.Refusal.CREATED
        account = posting.ledger.accounts[self._ids[wallet]]
        if account.status == Status.CLOSED:
            return items.Refusal.CREDIT_ACCOUNT_CLOSED
        return check_credit(account, amount)

    def decide(self, posting: Posting) -> list[Result]:
        """Decide all of it in order, on accounts that are locked; answer each by itself."""
        results = []
        for grant in self._grants:
            result = apply_once(posting, self._item(grant))
            if result.is_created and not result.is_replay:
                self._repay(posting, grant, result.transfer_id)
            results.append(result)
        return results + [apply_once(posting, each) for each in self._also]

    def _source(self, grant: Grant) -> int:
        if grant.source_id is not None:
            return grant.source_id
        return self._ids[Purpose(None, grant.asset_id, ISSUANCE)]

    def _wallet(self, grant: Grant) -> int:
        return self._ids[Purpose(grant.owner_id, grant.asset_id)]

    def _item(self, grant: Grant) -> items.Transfer:
        return items.Transfer(
            reference=grant.reference,
            asset_id=grant.asset_id,
            debit_account_id=self._source(grant),
            credit_account_id=self._wallet(grant),
            amount=grant.amount,
            code=grant.code,
            memo=grant.memo,
            expires_at=grant.expires_at,
        )

    def _repay(self, posting: Posting, grant: Grant, grant_id: int) -> None:
        """Pay a debt from a grant just made. A frozen wallet pays nothing: it stays in debt."""
        debt_id = self._ids.get(Purpose(grant.owner_id, grant.asset_id, OWED))
        if debt_id is None:
            return
        accounts, wallet_id = posting.ledger.accounts, self._wallet(grant)
        amount = min(-accounts[debt_id].balance, grant.amount, accounts[wallet_id].spare)
        if amount <= 0:
            return
        repayment = items.Transfer(
            reference=f"repayment:{grant_id}",
            asset_id=grant.asset_id,
            debit_account_id=wallet_id,
            credit_account_id=debt_id,
            amount=amount,
            code=Code.REPAYMENT,
            memo=f"out of grant {grant_id}",
        )
        apply_once(posting, repayment)


def _sides(transfers: Iterable[items.Transfer]) -> set[int]:
    return {id for each in transfers for id in (each.debit_account_id, each.credit_account_id)}


def clawback(
    transfer_id: int,
    *,
    actor: AbstractBaseUser | None,
    reason: str,
    amount: int | None = None,
    now: datetime | None = None,
) -> Clawback:
    """Take back a grant, or `amount` of it, even where it is spent; say what was there.

    What the wallet has available goes back at once, the grant's own lot first. The rest
    becomes a debt on the person's `owed` account, which later grants pay back. Refused for
    what is no grant to a person, for more than was granted, a second time, and while the
    wallet is frozen. Audited. Passes through the door, once.
    """
    _check_reason(reason)
    granted, wallet = _granted(transfer_id)
    asked = granted.amount if amount is None else amount
    if not 0 < asked <= granted.amount:
        raise LedgerRefusal(
            items.Refusal.AMOUNT_NOT_POSITIVE if asked <= 0 else items.Refusal.AMOUNT_TOO_LARGE
        )
    debt_id = _debt_of(wallet)

    def take_back() -> Clawback:
        account_ids = [wallet.pk, debt_id, granted.debit_account_id]
        with opened(account_ids, digests=[_reversed_by(transfer_id)], now=now) as posting:
            taken_back = _take_back(posting, granted, debt_id, asked)
            _audit(granted, actor, reason, taken_back)
        return taken_back

    return retried(take_back)


def clawback_all(
    transfer_ids: Sequence[int],
    *,
    actor: AbstractBaseUser | None,
    reason: str,
    also: Sequence[items.Transfer] = (),
    now: datetime | None = None,
) -> list[Clawback]:
    """Take back several grants whole, and make the transfers in `also`: all of it, or nothing.

    For a deed that gave several things at once. Each grant goes as in `clawback`; a refused
    transfer of `also` is raised. Audited. Passes through the door, once.
    """
    _check_reason(reason)
    found = [(*each, _debt_of(each[1])) for each in map(_granted, transfer_ids)]
    account_ids = _sides(also)
    digests = [_reversed_by(id) for id in transfer_ids]
    digests += [digest_of(each.reference) for each in also]
    for granted, wallet, debt_id in found:
        account_ids |= {wallet.pk, debt_id, granted.debit_account_id}

    def take_back() -> list[Clawback]:
        taken_back = []
        with opened(account_ids, digests=digests, now=now) as posting:
            for granted, _, debt_id in found:
                share = _take_back(posting, granted, debt_id, granted.amount)
                _audit(granted, actor, reason, share)
                taken_back.append(share)
            for each in also:
                result = apply_once(posting, each)
                if not result.is_created:
                    raise LedgerRefusal(result.refusal)
        return taken_back

    return retried(take_back)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > LONGEST_REASON or "\x00" in reason:
        raise ReasonMissing


def _debt_of(wallet: Account) -> int:
    debt = Purpose(wallet.owner_id, wallet.asset_id, OWED)
    return open_accounts([debt])[debt]


def _granted(transfer_id: int) -> tuple[Transfer, Account]:
    granted = Transfer.objects.filter(pk=transfer_id, code__in=(Code.GRANT, Code.CLAIM)).first()
    if granted is None:
        raise GrantUnknown
    wallet = Account.objects.filter(pk=granted.credit_account_id or 0, kind_id=WALLET).first()
    if wallet is None:
        raise GrantUnknown
    return granted, wallet


def _take_back(posting: Posting, granted: Transfer, debt_id: int, amount: int) -> Clawback:
    reference = f"reversal:{granted.pk}"
    if _reversed_by(granted.pk) in posting.used:
        raise GrantTakenBack
    assert granted.credit_account_id is not None
    wallet = posting.ledger.accounts[granted.credit_account_id]
    taken = max(0, min(amount, wallet.spare))
    shares = [(wallet.id, taken, reference), (debt_id, amount - taken, f"{reference}:owed")]
    if not taken:
        shares = [(debt_id, amount, reference)]
    chain = [
        items.Transfer(
            reference=name,
            asset_id=granted.asset_id,
            debit_account_id=account_id,
            credit_account_id=granted.debit_account_id,
            amount=share,
            code=Code.CLAWBACK,
            reverses_id=granted.pk,
            memo=f"takes back {granted.pk}",
        )
        for account_id, share, name in shares
        if share
    ]
    for item in chain:
        result = apply_once(posting, item)
        if not result.is_created:
            # Leaves the door by an exception: nothing of it is written.
            raise LedgerRefusal(result.refusal)
    return Clawback(taken=taken, owed=amount - taken)


def _reversed_by(grant_id: int) -> bytes:
    """The name that a reversal of the grant would use too: only one of them can happen."""
    return digest_of(f"reversal:{grant_id}")


def _audit(
    granted: Transfer, actor: AbstractBaseUser | None, reason: str, taken_back: Clawback
) -> None:
    record(
        actor=actor,
        action="wallet.clawback",
        object_type="transfer",
        object_id=granted.pk,
        reason=reason,
        after={"taken": taken_back.taken, "owed": taken_back.owed},
    )


def expiring(account_id: int) -> list[Part]:
    """Say what of a person's account lapses when, the soonest first: lots still there.

    Lots that have lapsed and were not swept yet are in it. Reads what has moved since it was
    last derived; nothing for assets that do not expire. Raises `Account.DoesNotExist`.
    """
    account = Account.objects.select_related("asset").get(pk=account_id)
    if not account.asset.expires:
        return []
    for _ in range(ATTEMPTS):
        with suppress(LotsRebuilt):
            return LotHistory().bring_up({account.pk: account.last_transfer_id})[account.pk].dated
    raise Unavailable("The lots of all accounts are being rebuilt.")


def _check_assets(grants: Iterable[Grant]) -> None:
    lapsing = {grant.asset_id for grant in grants if grant.expires_at is not None}
    if Asset.objects.filter(pk__in=lapsing, expires=False).exists():
        raise ExpiryNotKept
