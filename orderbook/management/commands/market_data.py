"""`manage.py market_data`: keep the markets' books, candles and own events for readers."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand

from orderbook.market_data.projector import Projector


class Command(BaseCommand):
    help = "Follow the markets' events for readers. A second one waits as a standby."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        projector = Projector()
        for how in (signal.SIGTERM, signal.SIGINT):
            signal.signal(how, lambda *_: projector.stop())
        projector.run()
