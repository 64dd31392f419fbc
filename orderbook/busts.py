"""Undoing a trade: one of our people asks and says why, another approves, and all of it goes back.

The units go back to the seller, the price to the buyer, and both fees out of the market's
earnings: one chain of reversals, all or nothing. The orders stay as they are, and so do the
candles; the fill is marked as busted (`is_busted`) and both people are told.

If somebody has spent what they got, nothing moves, and the answer says who lacks how much. The
request stays open: approve it again once that wallet has been filled (the house may pay it in,
finance may freeze the wallet so that it fills), or reject it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from edge.audit import record
from edge.ids import ROWS_PER_BATCH
from edge.problems import Refusal
from live import outbox
from live.events import Event
from orderbook.models import Bust, Fill, Market
from wallet.freezing import LONGEST_REASON, check_reason
from wallet.models import Account
from wallet.trades import Leg, legs_of_commit, reverse_together

State = Bust.State


class TradeUnknown(Refusal):
    """No trade has this id."""

    code = "trade_unknown"
    title = "There is no such trade"
    status = 404


class BustExists(Refusal):
    """The trade is busted already, or somebody asked for it before."""

    code = "bust_exists"
    title = "This trade is busted, or its bust is asked for"
    status = 409


class BustUnknown(Refusal):
    """No bust request has this id."""

    code = "bust_unknown"
    title = "There is no such bust request"
    status = 404


class BustDecided(Refusal):
    """The request was approved or rejected before."""

    code = "bust_decided"
    title = "This bust request has been decided"
    status = 409


class OwnBust(Refusal):
    """Four eyes: whoever asked may not decide; nor may anybody on their own trade."""

    code = "bust_needs_another_person"
    title = "Somebody else must decide this request"
    status = 403


class Shortfall(NamedTuple):
    """Why a bust moved nothing: the ledger's word, whose wallet, and what it lacks."""

    refusal: str
    account_id: int
    asset: str
    lacks: int

    @property
    def words(self) -> str:
        """What to do about it."""
        if self.refusal != "insufficient_funds":
            return f"The ledger refused: {self.refusal}."
        return (
            f"Account {self.account_id} lacks {self.lacks} {self.asset}. Nothing moved. Approve "
            "again when it has been filled: the house can pay it in, and a frozen wallet fills "
            "with what comes in."
        )


# -- asking ------------------------------------------------------------------------------------


@transaction.atomic
def request_bust(
    fill_id: int, *, actor: AbstractBaseUser, reason: str, ip: str | None = None
) -> Bust:
    """Ask that a trade be undone, and say why. Nothing moves yet. Audited."""
    check_reason(reason)
    fill = Fill.objects.filter(pk=fill_id).first()
    if fill is None:
        raise TradeUnknown
    _refuse_party(fill, actor)
    try:
        with transaction.atomic():
            made = Bust.objects.create(
                fill_id=fill.pk, market_id=fill.market_id, reason=reason, requested_by_id=actor.pk
            )
    except IntegrityError:
        raise BustExists from None
    _audit("request_bust", made, actor, reason, ip)
    return made


@transaction.atomic
def reject(bust_id: int, *, actor: AbstractBaseUser, note: str, ip: str | None = None) -> Bust:
    """Turn down a bust that somebody else asked for. It may be asked for anew."""
    check_reason(note)
    bust = _locked_open(bust_id, actor)
    bust.note = note
    _decide(bust, State.REJECTED, actor)
    _audit("reject_bust", bust, actor, note, ip)
    return bust


@transaction.atomic
def approve(
    bust_id: int, *, actor: AbstractBaseUser, ip: str | None = None
) -> tuple[Bust, Shortfall | None]:
    """Approve a bust that somebody else asked for, and reverse the trade, in one transaction.

    When the ledger refuses, nothing moves: the request comes back open with what is missing,
    and may be approved again later. Locks the request, then passes through the door.
    """
    bust = _locked_open(bust_id, actor)
    fill = Fill.objects.get(pk=bust.fill_id)
    _refuse_party(fill, actor)
    legs = legs_of(fill)
    results = reverse_together(legs)
    refused = next((i for i, each in enumerate(results) if each.refusal.depends_on_state), None)
    if refused is None and not all(result.is_created for result in results):
        refused = next(i for i, each in enumerate(results) if not each.is_created)
    if refused is not None:
        shortfall = _shortfall(legs[refused], results[refused].refusal.name.lower())
        bust.last_refusal = shortfall.refusal
        bust.save(update_fields=["last_refusal"])
        _audit("refused_bust", bust, actor, shortfall.words, ip)
        return bust, shortfall
    bust.reversal_ids = [result.transfer_id for result in results]
    bust.last_refusal = ""
    _decide(bust, State.APPROVED, actor)
    _audit("approve_bust", bust, actor, bust.reason, ip)
    outbox.record([_told(bust, fill)])
    return bust, None


def legs_of(fill: Fill) -> list[Leg]:
    """Find the transfers that settled a trade: the units first, then the price, then the fees.

    One commit settles its trades one after the other, each beginning with its units: the
    trade's place among the commit's trades is the place of its legs among the commit's legs.
    """
    first = fill.ledger_batch_id
    settled = legs_of_commit(first)
    trades = [index for index, leg in enumerate(settled) if leg.is_units]
    place = Fill.objects.filter(ledger_batch_id=first, pk__lt=fill.pk, pk__gte=_near(fill)).count()
    end = trades[place + 1] if place + 1 < len(trades) else len(settled)
    legs = settled[trades[place] : end]
    market = Market.objects.get(pk=fill.market_id)
    assert legs[0].amount == fill.quantity_lots * market.lot_units, fill.pk
    paid = sum(leg.amount for leg in legs[1:])
    buyer_fee = fill.taker_fee_minor if fill.taker_side == 1 else fill.maker_fee_minor
    assert paid == fill.amount_minor + buyer_fee, fill.pk
    return legs


def _near(fill: Fill) -> int:
    """The least id a fill of the same commit can have; it only bounds the search."""
    return fill.pk - ROWS_PER_BATCH


def _shortfall(leg: Leg, refusal: str) -> Shortfall:
    payer = Account.objects.select_related("asset").get(pk=leg.receiver)
    spendable = payer.available - (payer.floor or 0)
    return Shortfall(refusal, payer.pk, payer.asset.code, max(0, leg.amount - spendable))


def busted_among(fill_ids: Collection[int]) -> set[int]:
    """Say which of these trades were undone. One look-up."""
    approved = Bust.objects.filter(fill_id__in=list(fill_ids), state=State.APPROVED)
    return set(approved.values_list("fill_id", flat=True))


def _locked_open(bust_id: int, actor: AbstractBaseUser) -> Bust:
    bust = Bust.objects.select_for_update(no_key=True).filter(pk=bust_id).first()
    if bust is None:
        raise BustUnknown
    if bust.state != State.OPEN:
        raise BustDecided(f"It was {bust.get_state_display()}.")
    if bust.requested_by_id == actor.pk:
        raise OwnBust
    return bust


def _refuse_party(fill: Fill, actor: AbstractBaseUser) -> None:
    if actor.pk in (fill.maker_user_id, fill.taker_user_id):
        raise OwnBust("It is your own trade.")


def _decide(bust: Bust, state: Bust.State, actor: AbstractBaseUser) -> None:
    bust.state = state
    bust.decided_by_id = actor.pk
    bust.decided_at = timezone.now()
    bust.save()


def _told(bust: Bust, fill: Fill) -> Event:
    """Both people hear of it, and who keeps the tape; on a topic of its own."""
    story = {
        "type": "trade_busted",
        "market": Market.objects.values_list("code", flat=True).get(pk=fill.market_id),
        "fill_id": str(fill.pk),
        "order_ids": [str(fill.maker_order_id), str(fill.taker_order_id)],
        "user_ids": [str(fill.maker_user_id), str(fill.taker_user_id)],
        "reversal_ids": [str(each) for each in bust.reversal_ids],
    }
    return Event("busts", str(fill.pk), msgspec.json.encode(story))


def _audit(verb: str, bust: Bust, actor: AbstractBaseUser, reason: str, ip: str | None) -> None:
    record(
        actor=actor,
        action=f"orderbook.{verb}",
        object_type="bust",
        object_id=bust.pk,
        reason=reason[:LONGEST_REASON],
        after={
            "fill_id": str(bust.fill_id),
            "reversal_ids": [str(each) for each in bust.reversal_ids],
        },
        ip=ip,
    )
