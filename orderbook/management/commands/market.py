"""`manage.py market …`: make, schedule, run, move and verify markets."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from accounts.models import User
from edge.problems import Refusal
from orderbook.actions import instruct, open_market, reschedule
from orderbook.market_data.days import feed_of
from orderbook.models import Instruction, Market
from orderbook.verifying import verify_market
from wallet.models import Asset

DIFFERENCES_SHOWN = 50
WAIT_S = 10.0
POLL_S = 0.1
TURNS = {
    "begin": (Instruction.Deed.OPEN, "begin a scheduled market's opening auction now"),
    "halt": (Instruction.Deed.HALT, "take no orders until it is resumed"),
    "resume": (Instruction.Deed.RESUME, "resume through an auction"),
    "call": (Instruction.Deed.CALL, "interrupt trading by an auction"),
    "uncross": (Instruction.Deed.UNCROSS, "end an auction now"),
    "close": (Instruction.Deed.CLOSE, "cancel all orders and close for good"),
}
TIMES = {
    "auction_s": "how long auctions gather orders, in seconds",
    "halt_s": "how long a volatility halt lasts, in seconds",
    "minimum_life_s": "how long before its units expire trading ends, at least",
    "static_band_bps": "how far from the last auction orders may be, in basis points",
    "dynamic_band_bps": "how far from the last trade the next may be, in basis points",
}
SIZES = {
    "min_quantity": ("least_lots", "lot_units", "the smallest order, in base units"),
    "max_quantity": ("most_lots", "lot_units", "the largest order, in base units"),
    "min_price": ("least_price_ticks", "tick_minor", "the lowest price, in quote minor units"),
    "max_price": ("most_price_ticks", "tick_minor", "the highest price, in quote minor units"),
}
"""An option, the field it sets, and what one of the field's steps is."""
SIDES = {"buy": 1, "sell": 2}


class Command(BaseCommand):
    """One deed a call; a refusal ends with 1 and its code."""

    help = "Make, schedule, halt, resume, call, close, cancel, move, list and verify markets."

    def add_arguments(self, parser: CommandParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        for name in ("create", "open"):
            self._add_create(deeds.add_parser(name, help="make a market; its terms are fixed then"))
        deeds.add_parser("list", help="all markets")
        verify = deeds.add_parser("verify", help="compare orders, fills, book and holds")
        verify.add_argument("codes", nargs="*", metavar="code", help="all by default")
        schedule = deeds.add_parser("schedule", help="change its times and bands")
        self._add_asked(schedule)
        self._add_times(schedule)
        for name, (_, text) in TURNS.items():
            turn = deeds.add_parser(name, help=text)
            self._add_asked(turn)
            if name not in ("uncross", "close"):
                turn.add_argument("--seconds", type=int, help="in place of the market's own time")
        cancel = deeds.add_parser("cancel", help="cancel orders: all, or a person's, or one side's")
        self._add_asked(cancel)
        cancel.add_argument("--user", metavar="HANDLE")
        cancel.add_argument("--side", choices=SIDES)
        cancel.add_argument("--order", type=int, metavar="ID")
        move = deeds.add_parser("move", help="hand it to another shard's writer, orders and all")
        self._add_asked(move)
        move.add_argument("--to", type=int, required=True, metavar="SHARD")

    def _add_create(self, parser: CommandParser) -> None:
        parser.add_argument("code")
        parser.add_argument("--base", required=True, help="what is traded: an asset's code")
        parser.add_argument("--quote", required=True, help="what it is traded for")
        parser.add_argument("--name", default="")
        parser.add_argument("--tick", type=int, default=1, help="quote minor units")
        parser.add_argument("--lot", type=int, default=1, help="base units")
        parser.add_argument("--maker-fee-bps", type=int, default=0)
        parser.add_argument("--taker-fee-bps", type=int, default=0)
        parser.add_argument("--shard", type=int, default=0)
        parser.add_argument("--scheduled", action="store_true", help="takes no orders yet")
        parser.add_argument(
            "--reference-price", type=int, help="what bands are around before the first auction"
        )
        parser.add_argument("--reason", default="", help="for the audit trail")
        parser.add_argument("--by", metavar="HANDLE", help="who decides it")
        self._add_times(parser)

    def _add_times(self, parser: CommandParser) -> None:
        parser.add_argument("--opens-at", type=_moment, help="ISO 8601 with a time zone")
        parser.add_argument("--closes-at", type=_moment)
        for name, text in TIMES.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=text)
        for name, (_, _, text) in SIZES.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=text)

    def _add_asked(self, parser: CommandParser) -> None:
        parser.add_argument("code")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", required=True, metavar="HANDLE", help="who decides it")

    def handle(self, *args: Any, **options: Any) -> None:
        deed = options["deed"]
        try:
            if deed in TURNS:
                given = {} if options.get("seconds") is None else {"seconds": options["seconds"]}
                self.ask(TURNS[deed][0], options, given)
            else:
                getattr(self, "create" if deed == "open" else deed)(options)
        except Refusal as refusal:
            raise CommandError(f"{refusal.code}: {refusal.detail or refusal.title}") from None

    def create(self, options: dict[str, Any]) -> None:
        market = Market(
            code=options["code"],
            name=options["name"] or options["code"],
            base_asset=_asset(options["base"]),
            quote_asset=_asset(options["quote"]),
            tick_minor=options["tick"],
            lot_units=options["lot"],
            maker_fee_bps=options["maker_fee_bps"],
            taker_fee_bps=options["taker_fee_bps"],
            shard=options["shard"],
            state=Market.State.SCHEDULED if options["scheduled"] else Market.State.OPEN,
            **_times(options),
        )
        _set_sizes(market, options)
        if options["reference_price"] is not None:
            market.reference_ticks = _whole(options["reference_price"], market.tick_minor, "price")
        actor = _person(options["by"]) if options["by"] else None
        try:
            open_market(market, actor=actor, reason=options["reason"])
        except IntegrityError as error:
            raise CommandError(f"the market cannot be opened so: {error}".split("\n")[0]) from None
        self.stdout.write(f"market {market.code} is {market.state}")

    def schedule(self, options: dict[str, Any]) -> None:
        market = _market(options["code"])
        times = _times(options) | _set_sizes(market, options)
        if not times:
            raise CommandError("say what to change")
        reschedule(market.pk, reason=options["reason"], actor=_person(options["by"]), **times)
        for name, value in times.items():
            self.stdout.write(f"market {market.code}: {name} {value}")

    def cancel(self, options: dict[str, Any]) -> None:
        arguments = {}
        if options["user"]:
            arguments["user_id"] = _person(options["user"]).pk
        if options["side"]:
            arguments["side"] = SIDES[options["side"]]
        if options["order"]:
            arguments["order_id"] = options["order"]
        self.ask(Instruction.Deed.CANCEL, options, arguments)

    def move(self, options: dict[str, Any]) -> None:
        self.ask(Instruction.Deed.MOVE, options, {"shard": options["to"]})

    def ask(self, deed: Instruction.Deed, options: dict[str, Any], given: dict[str, int]) -> None:
        """Leave an instruction, and wait a little for what the writer makes of it."""
        market, actor = _market(options["code"]), _person(options["by"])
        asked = instruct(market.pk, deed, reason=options["reason"], actor=actor, **given)
        deadline = time.monotonic() + WAIT_S
        while asked.state == Instruction.State.WAITING and time.monotonic() < deadline:
            time.sleep(POLL_S)
            asked.refresh_from_db()
        if asked.state == Instruction.State.REFUSED:
            raise CommandError(f"refused: {asked.outcome}")
        if asked.state == Instruction.State.WAITING:
            self.stdout.write(f"market {market.code}: asked; no writer has done it yet")
        else:
            self.stdout.write(f"market {market.code}: {asked.outcome}")

    def list(self, options: dict[str, Any]) -> None:
        for market in Market.objects.select_related("base_asset", "quote_asset", "feed").order_by(
            "code"
        ):
            pair = f"{market.base_asset.code} for {market.quote_asset.code}"
            price = feed_of(market).last_price
            until = f" until {market.state_until:%F %T}" if market.state_until else ""
            self.stdout.write(
                f"{market.code:24} {market.state:9} shard {market.shard}  {pair}"
                f"  last {'none' if price is None else price}{until}"
            )

    def verify(self, options: dict[str, Any]) -> None:
        codes = options["codes"] or Market.objects.order_by("code").values_list("code", flat=True)
        found = 0
        for code in codes:
            for found_row_id, problem in verify_market(_market(code)):
                found += 1
                if found <= DIFFERENCES_SHOWN:
                    self.stderr.write(f"{code}: {found_row_id}: {problem}")
        if found:
            raise CommandError(f"{found} differences")
        self.stdout.write(f"{len(codes)} markets agree with their orders, fills and holds")


def _times(options: dict[str, Any]) -> dict[str, Any]:
    """The times and bands that were given."""
    names = ("opens_at", "closes_at", *TIMES)
    return {name: options[name] for name in names if options[name] is not None}


def _set_sizes(market: Market, options: dict[str, Any]) -> dict[str, int]:
    """Set what the market's orders may be, as far as it is given; the fields that changed."""
    changed = {}
    for name, (field, step, _) in SIZES.items():
        if options[name] is not None:
            changed[field] = _whole(options[name], getattr(market, step), name)
            setattr(market, field, changed[field])
    return changed


def _whole(amount: int, step: int, name: str) -> int:
    """Count the ticks or lots in an amount; refused if it is no whole number of them."""
    if amount < 1 or amount % step:
        raise CommandError(f"{name.replace('_', ' ')}: {amount} is no multiple of {step}")
    return amount // step


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone: 2026-11-21T18:00:00+00:00")
    return moment


def _person(handle: str) -> User:
    person = User.objects.by_handle(handle)
    if person is None:
        raise CommandError(f"nobody has the handle {handle}")
    return person


def _asset(code: str) -> Asset:
    asset = Asset.objects.filter(code=code).first()
    if asset is None:
        raise CommandError(f"there is no asset {code}")
    return asset


def _market(code: str) -> Market:
    market = Market.objects.filter(code=code).first()
    if market is None:
        raise CommandError(f"there is no market {code}")
    return market
