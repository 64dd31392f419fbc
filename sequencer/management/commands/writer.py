"""`manage.py writer --shard 0`: apply one shard's commands until told to stop."""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import import_string

from sequencer.engine import Engines
from sequencer.session import FencedOff, Session
from sequencer.stream import RedisCommandStream
from sequencer.writer import Writer


class Command(BaseCommand):
    help = "Apply one shard's commands. A second writer of the same shard waits as a standby."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--shard", type=int, default=0)

    def handle(self, *args: Any, shard: int, **options: Any) -> None:
        engines = [import_string(path)(shard) for path in settings.SEQUENCER_ENGINES]
        writer = Writer(
            stream=RedisCommandStream(settings.REDIS_URL, shard),
            engine=Engines(engines),
            session=Session(shard),
        )
        for how in (signal.SIGTERM, signal.SIGINT):
            signal.signal(how, lambda *_: writer.stop())
        try:
            writer.run()
        except FencedOff as error:
            self.stderr.write(f"another writer has taken over: {error}")
            raise SystemExit(3) from None
