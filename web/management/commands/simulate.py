"""`manage.py simulate`: gentle trading on the demo's markets until told to stop."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from web.simulator import Simulator


class Command(BaseCommand):
    help = "Trade on the demo's markets through the public API, as six people would."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--origin", default=settings.PUBLIC_URL or "http://127.0.0.1:8000")
        parser.add_argument("--per-second", type=float, default=2.0, help="Actions a second.")

    def handle(self, *args: Any, origin: str, per_second: float, **options: Any) -> None:
        if not 0 < per_second <= 100:
            raise CommandError("--per-second is more than 0 and at most 100")
        path = Path(settings.VAR_DIR) / "demo.json"
        if not path.exists():
            raise CommandError(f"{path} is missing: run `manage.py seed_demo` first")
        demo = json.loads(path.read_text())
        keys = {name: key for name, key in demo["keys"].items() if name.startswith("trader")}
        simulator = Simulator(origin, keys, demo["markets"])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: simulator.stop())
        simulator.run(per_second)
