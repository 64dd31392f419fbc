"""`manage.py market …`: open, list, halt, reopen, close and verify markets."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from accounts.models import User
from edge.problems import Refusal
from orderbook.actions import change_state, open_market
from orderbook.market_data.days import feed_of
from orderbook.models import Market
from orderbook.verifying import verify_market
from wallet.models import Asset

STATES = {
    "halt": Market.State.HALTED, "reopen": Market.State.OPEN, "close": Market.State.CLOSED,
}  # fmt: skip
DIFFERENCES_SHOWN = 50


class Command(BaseCommand):
    """One deed a call; a refusal ends with 1 and its code."""

    help = "Open, list, halt, reopen, close and verify markets."

    def add_arguments(self, parser: CommandParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        opened = deeds.add_parser("open", help="open a market; its terms are fixed from then on")
        opened.add_argument("code")
        opened.add_argument("--base", required=True, help="what is traded: an asset's code")
        opened.add_argument("--quote", required=True, help="what it is traded for")
        opened.add_argument("--name", default="")
        opened.add_argument("--tick", type=int, default=1, help="quote minor units")
        opened.add_argument("--lot", type=int, default=1, help="base units")
        opened.add_argument("--maker-fee-bps", type=int, default=0)
        opened.add_argument("--taker-fee-bps", type=int, default=0)
        opened.add_argument("--shard", type=int, default=0)
        deeds.add_parser("list", help="all markets")
        verify = deeds.add_parser("verify", help="compare orders, fills, book and holds")
        verify.add_argument("codes", nargs="*", metavar="code", help="all by default")
        for name in STATES:
            change = deeds.add_parser(name)
            change.add_argument("code")
            change.add_argument("--reason", required=True)
            change.add_argument("--by", required=True, metavar="HANDLE", help="who decides it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["deed"] in STATES:
                self.change(options)
            else:
                getattr(self, options["deed"])(options)
        except Refusal as refusal:
            raise CommandError(f"{refusal.code}: {refusal.detail or refusal.title}") from None

    def open(self, options: dict[str, Any]) -> None:
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
        )
        try:
            open_market(market, actor=None)
        except IntegrityError as error:
            raise CommandError(f"the market cannot be opened so: {error}".split("\n")[0]) from None
        self.stdout.write(f"market {market.code} is open")

    def list(self, options: dict[str, Any]) -> None:
        for market in Market.objects.select_related("base_asset", "quote_asset", "feed").order_by(
            "code"
        ):
            pair = f"{market.base_asset.code} for {market.quote_asset.code}"
            price = feed_of(market).last_price
            self.stdout.write(
                f"{market.code:24} {market.state:8} shard {market.shard}  {pair}"
                f"  last {'none' if price is None else price}"
            )

    def change(self, options: dict[str, Any]) -> None:
        market = _market(options["code"])
        actor = User.objects.by_handle(options["by"])
        if actor is None:
            raise CommandError(f"nobody has the handle {options['by']}")
        state = STATES[options["deed"]]
        change_state(market.pk, state, reason=options["reason"], actor=actor)
        self.stdout.write(f"market {market.code} is {state.label.lower()}")

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
