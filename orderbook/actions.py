"""What operators do to markets: open one, and tell the writer what to do with it.

A market's state belongs to the writer of its shard. So operators leave an `Instruction`; the
writer carries it out between two commands and says in its row what came of it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection, transaction

from edge import audit
from edge.problems import Refusal
from orderbook.memory import terms_of
from orderbook.models import DeadMansSwitch, Instruction, Market, TradingLimit
from sequencer.commands import LARGEST_SHARD
from sequencer.models import Shard
from wallet.freezing import check_reason
from wallet.ownership_rules import LONGEST_HOLDING_S

LONGEST_S = 86_400
Deed = Instruction.Deed
TIMES = frozenset(
    {
        "opens_at", "closes_at", "auction_s", "halt_s", "static_band_bps", "dynamic_band_bps",
        "minimum_life_s",
    }
)  # fmt: skip
SIZES = frozenset({"least_lots", "most_lots", "least_price_ticks", "most_price_ticks"})
"""What new orders may be; those that wait already stay."""
FREE_ARGUMENTS = {
    Deed.OPEN: {"seconds"}, Deed.RESUME: {"seconds"}, Deed.CALL: {"seconds"},
    Deed.HALT: {"seconds"}, Deed.CANCEL: {"user_id", "side", "order_id"}, Deed.MOVE: {"shard"},
}  # fmt: skip
ARM = """
INSERT INTO orderbook_deadmansswitch AS s (key_id, shard, timeout_s, is_armed, renewal)
SELECT %s, shard, %s, %s, 1 FROM (SELECT DISTINCT shard FROM orderbook_market) AS m
ON CONFLICT (key_id, shard) DO UPDATE
   SET timeout_s = excluded.timeout_s, is_armed = excluded.is_armed, renewal = s.renewal + 1
"""


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


class InstructionInvalid(Refusal):
    """The instruction asks for something that no market can do."""

    code = "instruction_invalid"
    title = "The instruction makes no sense"
    status = 422


def check_terms(market: Market) -> None:
    """Refuse sizes, fees and times that do not fit together."""
    try:
        terms_of(market)
    except ValueError as error:
        raise TermsInvalid(str(error)) from error
    if market.opens_at and market.closes_at and market.opens_at >= market.closes_at:
        raise TermsInvalid("it would close before it opens")


@transaction.atomic
def open_market(market: Market, *, actor: AbstractBaseUser | None, reason: str = "") -> Market:
    """Make a new market: open at once, or scheduled, as its state says. Audited.

    The writer of its shard knows it with the next batch. Its assets, sizes and fees are fixed
    from now on (PostgreSQL refuses to change them): funds are held under them.
    """
    if market.state not in (Market.State.OPEN, Market.State.SCHEDULED):
        raise TermsInvalid("a new market is open or scheduled")
    check_terms(market)
    market.save(force_insert=True)
    audit.record(
        actor=actor, action="market.open", object_type="market", object_id=market.code,
        reason=reason, after={"state": str(market.state)},
    )  # fmt: skip
    return market


@transaction.atomic
def reschedule(
    market_id: int, *, reason: str, actor: AbstractBaseUser | None, **times: Any
) -> Market:
    """Change when a market opens and closes, how long its auctions and halts last, its bands,
    how much life its units must have left, its name, and how large orders may be.

    The writer goes by it from the next batch on. Audited. Refused for a closed market.
    """
    assert times.keys() <= {"name", *TIMES, *SIZES}
    check_reason(reason)
    market = Market.objects.select_for_update().get(pk=market_id)
    _refuse_closed(market)
    before = {name: str(getattr(market, name)) for name in times}
    for name, value in times.items():
        setattr(market, name, value)
    check_terms(market)
    if not (0 <= market.auction_s <= LONGEST_S and 0 <= market.halt_s <= LONGEST_S):
        raise TermsInvalid(f"auctions and halts last at most {LONGEST_S} s")
    if not all(0 <= bps <= 100_000 for bps in (market.static_band_bps, market.dynamic_band_bps)):
        raise TermsInvalid("bands are 0 to 100,000 basis points")
    if not 0 <= market.minimum_life_s <= LONGEST_HOLDING_S:
        raise TermsInvalid(f"a minimum life is at most {LONGEST_HOLDING_S} s")
    market.save(update_fields=list(times))
    audit.record(
        actor=actor, action="market.reschedule", object_type="market", object_id=market.code,
        reason=reason, before=before, after={name: str(value) for name, value in times.items()},
    )  # fmt: skip
    return market


@transaction.atomic
def instruct(
    market_id: int,
    deed: Instruction.Deed,
    *,
    reason: str,
    actor: AbstractBaseUser | None,
    **arguments: int,
) -> Instruction:
    """Leave an instruction for the market's writer. Audited, with who and why.

    `seconds`: how long the auction or the halt lasts, in place of the market's own (a halt
    without it lasts until it is resumed). `user_id`, `side` (1 buy, 2 sell), `order_id`:
    which orders to cancel; none of them: all. `shard`: where to move.
    """
    check_reason(reason)
    market = Market.objects.get(pk=market_id)
    _refuse_closed(market)
    _check_arguments(market, deed, arguments)
    instruction = Instruction.objects.create(
        market=market, deed=deed, arguments=arguments, reason=reason, actor_id=_id(actor)
    )
    audit.record(
        actor=actor, action=f"market.ask_{deed.value}", object_type="market",
        object_id=market.code, reason=reason,
        after={"instruction": instruction.pk, **arguments},
    )  # fmt: skip
    return instruction


def arm_switch(key_id: int, timeout_s: int) -> None:
    """Arm an API key's dead man's switch on every shard, or renew it; 0 disarms it.

    Unless it is renewed within the time, the writers cancel every order the key placed.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ARM, [key_id, max(1, timeout_s), timeout_s > 0])


def switch_of(key_id: int) -> DeadMansSwitch | None:
    """The key's switch, as it stands on one of the shards."""
    return DeadMansSwitch.objects.filter(key_id=key_id).order_by("-is_armed", "-renewal").first()


@transaction.atomic
def set_limit(
    user_id: int | None,
    *,
    most_open_orders: int | None,
    most_open_notional: int | None,
    reason: str,
    actor: AbstractBaseUser | None,
) -> TradingLimit:
    """Set what one person may have waiting, or everybody (no user). Audited.

    What waits already stays; only new orders are refused. Known to the writers in a second.
    """
    check_reason(reason)
    known = TradingLimit.objects.select_for_update().filter(
        **({"user_id": user_id} if user_id else {"user__isnull": True})
    )
    limit = known.first() or TradingLimit(user_id=user_id)
    limit.most_open_orders, limit.most_open_notional = most_open_orders, most_open_notional
    limit.reason = reason
    limit.save()
    audit.record(
        actor=actor, action="trading_limit.set", object_type="trading_limit",
        object_id=user_id or "everybody", reason=reason,
        after={"most_open_orders": most_open_orders, "most_open_notional": most_open_notional},
    )  # fmt: skip
    return limit


def _refuse_closed(market: Market) -> None:
    if market.state in (Market.State.CLOSED, Market.State.CLOSING):
        raise MarketIsClosed


def _check_arguments(market: Market, deed: Instruction.Deed, arguments: dict[str, int]) -> None:
    if stray := arguments.keys() - FREE_ARGUMENTS.get(deed, set()):
        raise InstructionInvalid(f"{deed.value} takes no {', '.join(sorted(stray))}")
    if not 0 <= arguments.get("seconds", 0) <= LONGEST_S:
        raise InstructionInvalid(f"it lasts 0 to {LONGEST_S} s")
    if deed is Deed.MOVE:
        shard = arguments.get("shard", -1)
        if not 0 <= shard <= LARGEST_SHARD or shard == market.shard:
            raise InstructionInvalid("name another shard to move to")
        if not Shard.objects.filter(pk=shard, state=Shard.State.RUNNING).exists():
            raise InstructionInvalid(f"no writer runs on shard {shard}")
    if "side" in arguments and arguments["side"] not in (1, 2):
        raise InstructionInvalid("the side is 1 (buy) or 2 (sell)")


def _id(actor: AbstractBaseUser | None) -> int | None:
    return actor.pk if actor else None
