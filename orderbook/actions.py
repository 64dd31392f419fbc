"""What operators do to markets: open one, halt it, open it again, close it."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from edge import audit
from edge.problems import Refusal
from orderbook.memory import terms_of
from orderbook.models import Market


class TermsInvalid(Refusal):
    """A market with such sizes or fees could not be settled."""

    code = "market_terms_invalid"
    title = "The market's terms do not fit together"
    status = 422


class MarketIsClosed(Refusal):
    """A closed market stays closed: open another one."""

    code = "market_is_closed"
    title = "The market is closed for good"
    status = 409


def check_terms(market: Market) -> None:
    """Refuse sizes and fees under which an order could outgrow the ledger."""
    try:
        terms_of(market)
    except ValueError as error:
        raise TermsInvalid(str(error)) from error


@transaction.atomic
def open_market(market: Market, *, actor: AbstractBaseUser | None) -> Market:
    """Open a new market. The writer of its shard knows it with the next batch. Audited.

    Its assets, sizes and fees are fixed from now on (PostgreSQL refuses to change them):
    funds are held under them.
    """
    check_terms(market)
    market.save(force_insert=True)
    _note("market.open", market, actor)
    return market


@transaction.atomic
def change_state(
    market_id: int, state: Market.State, *, reason: str, actor: AbstractBaseUser
) -> Market:
    """Halt a market, let it trade again, or close it for good. Audited.

    New orders are refused from the next batch on; cancelling stays possible.
    """
    market = Market.objects.select_for_update().get(pk=market_id)
    if market.state == Market.State.CLOSED:
        raise MarketIsClosed
    before, market.state = market.state, state
    market.save(update_fields=["state"])
    _note(f"market.{state.value}", market, actor, reason=reason, before={"state": before})
    return market


def _note(
    action: str,
    market: Market,
    actor: AbstractBaseUser | None,
    *,
    reason: str = "",
    before: dict[str, str] | None = None,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="market",
        object_id=market.code,
        reason=reason,
        before=before,
        after={"state": str(market.state)},
    )
