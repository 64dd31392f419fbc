"""`manage.py ledger verify | seal | head`: prove the books, seal them, show the chain's head."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from edge.fields import format_time
from wallet import seal
from wallet.models import Asset
from wallet.verify import Finding, Report, verify

LARGEST_HEAD_BYTES = 10_000


class Command(BaseCommand):
    """Parse, call one action, print."""

    help = "Prove the ledger, seal it, or show the head of its hash chain."

    def add_arguments(self, parser: CommandParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        proof = deeds.add_parser("verify", help="Compute everything anew and say what differs.")
        proof.add_argument("--asset", help="Only this asset, by its code.")
        proof.add_argument("--json", action="store_true", help="Print the report as JSON.")
        deeds.add_parser("seal", help="Seal what was committed since the last seal.")
        head = deeds.add_parser("head", help="Print the newest seal as JSON, to be kept elsewhere.")
        head.add_argument("--check", type=Path, help="Say whether this saved head is on the chain.")

    def handle(self, *args: Any, **options: Any) -> None:
        deed = options["deed"]
        if deed == "verify":
            self._verify(options["asset"], options["json"])
        elif deed == "seal":
            self._seal()
        elif options["check"] is None:
            self._head()
        else:
            self._check_head(options["check"])

    def _verify(self, code: str | None, as_json: bool) -> None:
        asset = Asset.objects.filter(code=code).first() if code else None
        if code and asset is None:
            raise CommandError(f"there is no asset {code}")
        report = verify(asset, on_law=self._progress)
        if as_json:
            self.stdout.write(json.dumps({"is_clean": report.is_clean, **asdict(report)}, indent=2))
        else:
            self._print(report)
        if not report.is_clean:
            raise SystemExit(1)

    def _progress(self, finding: Finding) -> None:
        found = len(finding.differences)
        verdict = f"{found}{'+' if finding.is_cut else ''} differences" if found else "holds"
        self.stderr.write(f"{finding.law:<15} {finding.seconds:>8.2f} s  {verdict}")

    def _print(self, report: Report) -> None:
        for finding in report.findings:
            for each in finding.differences:
                self.stdout.write(
                    f"{finding.law}: {each.where}: {each.field}"
                    f" should be {each.expected}, is {each.found}"
                )
            if finding.is_cut:
                self.stdout.write(f"{finding.law}: … and more")
        if report.is_clean:
            self.stdout.write(f"The ledger is clean: {len(report.findings)} laws hold.")

    def _seal(self) -> None:
        for made in seal.seal():
            self.stdout.write(
                f"seal {made.number}: {made.transfer_count} transfers, {bytes(made.digest).hex()}"
            )

    def _head(self) -> None:
        head = seal.head()
        if head is None:
            raise CommandError("nothing is sealed yet")
        words = {**asdict(head), "sealed_at": format_time(head.sealed_at)}
        self.stdout.write(json.dumps(words, indent=2))

    def _check_head(self, path: Path) -> None:
        head = _read_head(path)
        if not seal.is_on_chain(head):
            self.stdout.write(f"seal {head.seal} is not on the chain: it was sealed differently")
            raise SystemExit(1)
        self.stdout.write(f"seal {head.seal} is on the chain")


def _read_head(path: Path) -> seal.Head:
    try:
        with path.open(encoding="utf-8") as file:
            words = json.loads(file.read(LARGEST_HEAD_BYTES))
        return seal.Head(
            seal=int(words["seal"]),
            horizon=int(words["horizon"]),
            sha256=str(words["sha256"]),
            sealed_at=datetime.fromisoformat(words["sealed_at"]),
            transfer_count=int(words["transfer_count"]),
        )
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise CommandError(f"{path} is not a saved head: {error}") from error
