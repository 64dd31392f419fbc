"""manage.py verify_campaigns: do budgets, counters and claims agree with the ledger?"""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError

from rewards.campaigns.verifying import verify


class Command(BaseCommand):
    help = "Check that budgets, counters and claims agree with the ledger."

    def handle(self, *args: Any, **options: Any) -> None:
        faults = verify()
        for fault in faults:
            self.stderr.write(fault)
        if faults:
            raise CommandError(f"{len(faults)} things do not add up.")
        self.stdout.write("Budgets, counters and claims agree with the ledger.")
