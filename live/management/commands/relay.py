"""`manage.py relay`: tell events until told to stop."""

from __future__ import annotations

import signal
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand

from edge.database import database_conninfo
from live.publisher import RedisPublisher
from live.reader import Connection
from live.relay import Relay


class Command(BaseCommand):
    help = "Publish events in order. A second relay waits as a standby."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        relay = Relay(connect, RedisPublisher(settings.REDIS_URL))
        for how in (signal.SIGTERM, signal.SIGINT):
            signal.signal(how, lambda *_: relay.stop())
        relay.run()


def connect(conninfo: str | None = None) -> Connection:
    """Open a session of its own to the default database, without transactions."""
    return psycopg.connect(conninfo or database_conninfo(), autocommit=True)
