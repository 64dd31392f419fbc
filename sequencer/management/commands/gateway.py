"""`manage.py gateway`: serve the hot path over HTTP until told to stop."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from sequencer.http import serve


class Command(BaseCommand):
    help = "Serve orders and other commands over HTTP."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument("--uds", default=None, help="A Unix socket in place of a port.")

    def handle(self, *args: Any, host: str, port: int, uds: str | None, **options: Any) -> None:
        serve(settings.ASGI_APPLICATION, host=host, port=port, uds=uds)
