"""`manage.py maintain_partitions`: five months ahead on every table cut by month."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from wallet.partitions import TableReport, maintain


class Command(BaseCommand):
    """Call the action and print what it did; exit with 1 when something is not well."""

    help = "Make the coming months' partitions, and say which rows lie in no month."

    def handle(self, *args: Any, **options: Any) -> None:
        reports = maintain()
        for report in reports:
            self.stdout.write(_line(report))
        if not all(report.is_well for report in reports):
            raise SystemExit(1)


def _line(report: TableReport) -> str:
    words = [f"{report.table}: {len(report.made)} made"]
    if report.default_rows:
        words.append(f"{report.default_rows} rows in {report.table}_default, which no month covers")
    if report.error:
        words.append(report.error)
    return "; ".join(words)
