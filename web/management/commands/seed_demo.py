"""`manage.py seed_demo`: fill an empty installation with people, vouchers and markets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from web.demo import seed


class Command(BaseCommand):
    help = "Fill an empty installation with a lively demo. Running it again changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(settings.VAR_DIR) / "demo.json"
        if seed(path):
            self.stdout.write(f"The demo is ready; how to sign in: {path}")
        else:
            self.stdout.write("The demo was made before.")
