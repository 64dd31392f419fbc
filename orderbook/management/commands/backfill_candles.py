"""`manage.py backfill_candles`: make candles anew from the fills, day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orderbook.market_data.rebuilding import backfill_day
from orderbook.models import Market

MOST_DAYS = 3_660


class Command(BaseCommand):
    help = "Make candles anew from the fills. Safe while trading and projecting go on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("codes", nargs="*", metavar="market", help="all by default")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True)
        parser.add_argument("--to", dest="last", type=date.fromisoformat, help="this day included")

    def handle(self, *args: Any, **options: Any) -> None:
        markets = _markets(options["codes"])
        days = _days(options["first"], options["last"] or datetime.now(UTC).date())
        for market in markets:
            for day in days:
                if not backfill_day(market.pk, day):
                    self.stderr.write(f"{market.code}: nothing is projected yet; left alone")
                    break
            else:
                self.stdout.write(f"{market.code}: {len(days)} days made anew")


def _markets(codes: list[str]) -> list[Market]:
    markets = Market.objects.order_by("code")
    found = list(markets.filter(code__in=codes) if codes else markets)
    if unknown := set(codes) - {market.code for market in found}:
        raise CommandError(f"there is no market {', '.join(sorted(unknown))}")
    return found


def _days(first: date, last: date) -> list[datetime]:
    count = (last - first).days + 1
    if not 1 <= count <= MOST_DAYS:
        raise CommandError(f"1 to {MOST_DAYS} days, the first one first")
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    return [start + timedelta(days=number) for number in range(count)]
