"""Market engines on computers whose clocks are wrong."""

from __future__ import annotations

from orderbook.engine import MarketEngine


class TenMinutesBehind(MarketEngine):
    """The clock was stepped back just before it started."""

    def wall_us(self) -> int:
        return super().wall_us() - 600_000_000
