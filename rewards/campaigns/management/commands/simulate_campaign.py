"""manage.py simulate_campaign CODE VERSION: try a version out on a crowd, touching nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from random import Random
from typing import Any

from django.core.management import BaseCommand, CommandError

from rewards.campaigns import simulating
from rewards.campaigns.models import CampaignVersion


class Command(BaseCommand):
    help = "Let a crowd meet a version of a campaign, and say what it would cost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code")
        parser.add_argument("version", type=int)
        parser.add_argument("--crowd", choices=("synthetic", "history"), default="synthetic")
        parser.add_argument("--people", type=int, default=1_000)
        parser.add_argument("--days", type=int, default=30)
        parser.add_argument("--runs", type=int, default=50)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--json", action="store_true", help="Print the report as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        row = (
            CampaignVersion.objects.select_related("campaign")
            .filter(campaign__code=options["code"], number=options["version"])
            .first()
        )
        if row is None:
            raise CommandError("There is no such version.")
        if not (options["people"] > 0 and options["days"] > 0 and options["runs"] > 0):
            raise CommandError("People, days and runs are at least 1.")
        version, visits = simulating.crowd_of(row, options)
        costs = []
        for number in range(options["runs"]):
            chance = Random(options["seed"] * 1_000_003 + number)
            crowd = simulating.resampled(visits, chance)
            costs.append(dict(simulating.run(version, crowd, version.terms.budgets).cost))
            if (number + 1) % simulating.RUNS_A_STEP == 0 or number + 1 == options["runs"]:
                self.stdout.write(f"{number + 1} of {options['runs']} runs")
        self._tell(simulating.report(version, visits, costs), as_json=options["json"])

    def _tell(self, report: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(report, indent=2))
            return
        self.stdout.write(
            f"{report['visits']} visits of {report['people']} people: {report['granted']} granted"
            f" to {report['people_granted']}"
        )
        for asset, cost in report["cost"].items():
            self.stdout.write(
                f"{asset}: P50 {cost['p50']}, P95 {cost['p95']}, worst {cost['worst']},"
                f" budget {cost['budget']}"
            )
        for reason, count in report["excluded"].items():
            self.stdout.write(f"{count:>8} {reason}")
        for row in report["collisions"]:
            self.stdout.write(f"collides with {row['campaign']}: {row['share']:.0%} of grants")
