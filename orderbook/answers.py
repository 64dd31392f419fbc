"""What a trader is told: the order as JSON, or why it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from edge.ids import batch_of, first_id, time_of
from edge.problems import Refusal, answer
from orderbook.cancelled import CancelAllAnswer
from orderbook.instructions import NO_CONDITIONS, OrderType, SelfTrade
from orderbook.matching import Cause
from orderbook.models import OrderState
from orderbook.refusal_words import WORDS
from orderbook.rows import NewOrder, StoredOrder, unsaid_cause
from orderbook.stops import stop_ticks_of
from sequencer.commands import Answer, Command

if TYPE_CHECKING:
    from orderbook.charges import Charges
    from orderbook.plans import AmendPlan

_encode = msgspec.json.Encoder().encode
_CANCELLED, _REFUSED = OrderState.CANCELLED.value, OrderState.REFUSED.value
NO_MEMBERS: Mapping[str, Any] = {}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
"""Types whose price is a limit; of the others it is the worst price."""

SIDES = {1: "buy", 2: "sell"}
TIMES_IN_FORCE = {0: "gtc", 1: "ioc", 2: "fok", 3: "post_only", 4: "gtd"}
TYPES = {kind.value: kind.name.lower() for kind in OrderType}
SELF_TRADES = {policy.value: policy.name.lower() for policy in SelfTrade}
STATES: dict[int, str] = {state.value: state.name.lower() for state in OrderState}
CANCEL_REASONS = {
    Cause.REQUESTED: "requested",
    Cause.IMMEDIATE: "immediate_or_cancel",
    Cause.SELF_TRADE: "self_trade",
    Cause.TOO_MANY_FILLS: "too_many_fills",
    Cause.EXPIRED: "expired",
    Cause.PARTNER: "oco",
    Cause.NOT_POSSIBLE: "not_possible",
    Cause.VOLATILITY: "volatility_halt",
    Cause.SILENCE: "dead_mans_switch",
    Cause.OPERATOR: "operator",
    Cause.CLOSURE: "market_closed",
}
"""Why an order, or what was left of it, was cancelled."""


class Terms(Protocol):
    """What of a market is needed to speak of its orders."""

    code: str
    quote_code: str

    @property
    def tick_minor(self) -> int: ...
    @property
    def lot_units(self) -> int: ...


class GuardAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stop of a pair, as it stood after its entry."""

    order_id: str
    type: str
    stop_price: int
    price: int | None = None
    worst_price: int | None = None
    status: str


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a new order: what it asked, and what it took from the book on entry.

    The same for ever, whatever happened to the order later. What was not asked is left out.
    """

    order_id: str
    client_order_id: str
    market: str
    side: str
    type: str
    price: int | None = None
    worst_price: int | None = None
    stop_price: int | None = None
    quantity: int
    display_quantity: int | None = None
    min_quantity: int | None = None
    time_in_force: str
    expires_at: str | None = None
    self_trade: str
    status: str
    cancel_reason: str | None = None
    filled_quantity: int
    filled_amount: int
    fee: int
    quote_asset: str
    created_at: str
    oco: GuardAnswer | None = None


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a cancellation."""

    order_id: str
    market: str
    status: str


class AmendAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to an amendment: the order as it stands, and what it took at once."""

    order_id: str
    market: str
    status: str
    price: int
    stop_price: int | None = None
    remaining_quantity: int
    kept_place: bool
    filled_quantity: int
    filled_amount: int
    fee: int


class OrderRefused(Refusal):
    """The market did not take the order; the code says why."""


@lru_cache(maxsize=1024)
def _written_at(batch: int) -> str:
    """When a batch was written: the same for all of its orders."""
    return rfc3339(time_of(first_id(batch)))


def order_answer(
    command: Command, row: NewOrder | StoredOrder, terms: Terms, *, replayed: bool = False
) -> Answer:
    """Tell a trader what became of a new order, or of the same order asked for again."""
    if row.entry_state == _REFUSED:
        kept_as = {"order_id": str(row.id)}
        return refused_answer(command, row.refusal, replayed=replayed, members=kept_as)
    price = row.price_ticks * terms.tick_minor
    has_limit = row.kind in WITH_LIMIT
    body = OrderAnswer(
        order_id=str(row.id),
        client_order_id=row.client_order_id,
        market=terms.code,
        side=SIDES[row.side],
        type=TYPES[row.kind],
        price=price if has_limit else None,
        worst_price=None if has_limit else price,
        quantity=row.quantity_lots * terms.lot_units,
        time_in_force=TIMES_IN_FORCE[row.time_in_force],
        self_trade=SELF_TRADES[row.self_trade],
        status=STATES[row.entry_state],
        filled_quantity=row.taken_lots * terms.lot_units,
        filled_amount=row.taken_minor,
        fee=row.taken_fee_minor,
        quote_asset=terms.quote_code,
        created_at=_written_at(batch_of(row.id)),
    )
    if row.conditions is not NO_CONDITIONS or row.guard or row.entry_state == _CANCELLED:
        body = _with_the_rest(body, row, terms)
    return Answer(command.id, 201, _encode(body), replayed)


def _with_the_rest(body: OrderAnswer, row: NewOrder | StoredOrder, terms: Terms) -> OrderAnswer:
    """Add what few orders have: conditions, a partner, a reason why they were cancelled."""
    guard, asked = row.guard, row.conditions
    return msgspec.structs.replace(
        body,
        stop_price=asked.stop_ticks * terms.tick_minor or None,
        display_quantity=asked.peak_lots * terms.lot_units or None,
        min_quantity=asked.minimum_lots * terms.lot_units or None,
        expires_at=rfc3339(moment_of(asked.expires_us)) if asked.expires_us else None,
        oco=None if guard is None else _guard_answer(guard, terms),
        cancel_reason=cancel_reason(row.entry_state, row.entry_state, row.cause),
    )


def cancel_reason(entry_state: int, state: int, cause: int) -> str | None:
    """Why an order was cancelled; None if it was not. A cause of 0 goes without saying."""
    if state != OrderState.CANCELLED:
        return None
    return CANCEL_REASONS[Cause(cause or unsaid_cause(entry_state))]


def _prices(row: NewOrder | StoredOrder, terms: Terms) -> dict[str, Any]:
    """The price of an order, under the name that it has for its type."""
    name = "price" if row.kind in WITH_LIMIT else "worst_price"
    return {name: row.price_ticks * terms.tick_minor}


def _guard_answer(row: NewOrder | StoredOrder, terms: Terms) -> GuardAnswer:
    return GuardAnswer(
        order_id=str(row.id),
        type=TYPES[row.kind],
        stop_price=row.conditions.stop_ticks * terms.tick_minor,
        status=STATES[row.entry_state],
        **_prices(row, terms),
    )


def moment_of(unix_us: int) -> datetime:
    """An instant from microseconds since 1970."""
    return EPOCH + timedelta(microseconds=unix_us)


def rfc3339(moment: datetime) -> str:
    """Spell an instant as all answers do."""
    return moment.isoformat().replace("+00:00", "Z")


def amended_of(plan: AmendPlan, charges: Charges | None) -> AmendAnswer:
    """What an amendment did, without charges: nothing. Call it before the book goes on."""
    report, terms, order = plan.report, plan.trading.terms, plan.order
    assert report is not None
    status = OrderState.OPEN
    if not report.resting_lots:
        status = OrderState.CANCELLED if report.cancelled_lots else OrderState.FILLED
    settled = charges.settlements if charges else []
    return AmendAnswer(
        order_id=str(plan.order_id),
        market=plan.trading.code,
        status=STATES[status],
        price=order.price_ticks * terms.tick_minor,
        stop_price=stop_ticks_of(order) * terms.tick_minor or None,
        remaining_quantity=report.resting_lots * terms.lot_units,
        kept_place=not report.is_replaced,
        filled_quantity=sum(settlement.units for settlement in settled),
        filled_amount=sum(settlement.amount_minor for settlement in settled),
        fee=sum(settlement.taker_fee_minor for settlement in settled),
    )


def amend_answer(command: Command, amended: AmendAnswer) -> Answer:
    """Tell a trader how the order stands now."""
    return Answer(command.id, 200, msgspec.json.encode(amended))


def cancel_all_answer(command: Command, cancelled: int, left: int) -> Answer:
    """Tell a trader how many orders are off the book, and how many ask for another call."""
    body = CancelAllAnswer(cancelled=cancelled, remaining=left)
    return Answer(command.id, 200, msgspec.json.encode(body))


def cancel_answer(
    command: Command, order_id: int, terms: Terms, *, replayed: bool = False
) -> Answer:
    """Tell a trader that the order is off the book."""
    body = CancelAnswer(
        order_id=str(order_id),
        market=terms.code,
        status=STATES[OrderState.CANCELLED],
    )
    return Answer(command.id, 200, _encode(body), replayed)


def refused_answer(
    command: Command,
    code: str,
    *,
    replayed: bool = False,
    members: Mapping[str, Any] = NO_MEMBERS,
) -> Answer:
    """Tell a trader why not, as problem+json; `members` are its own, for machines."""
    title, status = WORDS.get(code, (code.replace("_", " ").capitalize(), 422))
    refusal = OrderRefused(code=code, title=title, status=status, **members)
    status, _, body = answer(refusal)
    return Answer(command.id, status, body, replayed)
