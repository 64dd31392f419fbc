"""`manage.py series …`: set up series, hand out units, withdraw imports, verify, rotate keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from edge.problems import Refusal
from rewards import actions
from rewards.actions import SeriesTerms
from rewards.code_files import parse_expiry
from rewards.codes import CheckScheme
from rewards.importing import SeriesUnknown
from rewards.management.commands.import_codes import named, told
from rewards.models import Series
from rewards.rotation import rotate_keys
from rewards.sealing import CannotOpen, new_key
from rewards.verifying import verify


class Command(BaseCommand):
    """One deed a call; a refusal ends with 1 and its code."""

    help = "Set up series, hand out units, withdraw imports, verify codes, rotate their keys."

    def add_arguments(self, parser: CommandParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        create = deeds.add_parser("create", help="set up a series as a draft")
        create.add_argument("code")
        create.add_argument("--title", required=True)
        create.add_argument("--issuer", required=True)
        create.add_argument("--face-value", type=int, metavar="MINOR")
        create.add_argument("--currency")
        create.add_argument("--expires-at", help="a date, or a time with its offset")
        create.add_argument("--check-scheme", choices=list(CheckScheme), default=CheckScheme.NONE)
        hand_out = deeds.add_parser("hand-out", help="give units from the treasury to a person")
        hand_out.add_argument("code")
        hand_out.add_argument("handle")
        hand_out.add_argument("amount", type=int)
        hand_out.add_argument("--reference", required=True, help="makes it once for ever")
        withdraw = deeds.add_parser("withdraw", help="take back an import's unrevealed codes")
        withdraw.add_argument("import_id", type=int)
        withdraw.add_argument("--reason", required=True)
        check = deeds.add_parser("verify", help="compare codes, reveals and the ledger")
        check.add_argument("codes", nargs="*", metavar="code", help="all series by default")
        check.add_argument("--open", action="store_true", help="decrypt every code too")
        deeds.add_parser("rotate-keys", help="encrypt every code by the first of CODE_KEYS")
        deeds.add_parser("new-key", help="make a secret for CODE_KEYS or CODE_LOOKUP_KEY")

    def handle(self, *args: Any, **options: Any) -> None:
        deed = getattr(self, options["deed"].replace("-", "_"))
        try:
            deed(options)
        except Refusal as refusal:
            raise CommandError(told(refusal)) from None

    def create(self, options: dict[str, Any]) -> None:
        expires_at = None
        if options["expires_at"] and (expires_at := parse_expiry(options["expires_at"])) is None:
            raise CommandError("--expires-at is a date, or a time with its offset")
        promise = SeriesTerms(
            code=options["code"],
            title=options["title"],
            issuer_name=options["issuer"],
            face_value_minor=options["face_value"],
            face_value_currency=options["currency"],
            expires_at=expires_at,
            check_scheme=CheckScheme(options["check_scheme"]),
        )
        made = actions.create_series(promise, actor=None)
        self.stdout.write(f"series {made.code} is a draft; import its codes to issue it")

    def hand_out(self, options: dict[str, Any]) -> None:
        owner = named(options["handle"])
        assert owner is not None
        transfer_id = actions.hand_out(
            options["code"],
            owner=owner,
            amount=options["amount"],
            reference=options["reference"],
            actor=None,
        )
        self.stdout.write(f"transfer {transfer_id}: {options['amount']:,} units for {owner}")

    def withdraw(self, options: dict[str, Any]) -> None:
        count = actions.withdraw(options["import_id"], actor=None, reason=options["reason"])
        self.stdout.write(f"{count:,} codes withdrawn, with as many units")

    def verify(self, options: dict[str, Any]) -> None:
        faults = []
        for series in _chosen(options["codes"]):
            found = verify(series, opens_codes=options["open"])
            faults += found
            self.stdout.write(f"{series.code}: {'differs' if found else 'ok'}")
        for fault in faults:
            self.stderr.write(fault)
        if faults:
            raise CommandError(f"{len(faults)} differences")

    def rotate_keys(self, options: dict[str, Any]) -> None:
        done = 0
        try:
            for done in rotate_keys():
                self.stdout.write(f"{done:,} codes encrypted again", ending="\r")
        except CannotOpen as error:
            raise CommandError(f"stopped after {done:,} codes: {error}") from None
        self.stdout.write(f"{done:,} codes encrypted again; older keys may leave CODE_KEYS")

    def new_key(self, options: dict[str, Any]) -> None:
        self.stdout.write(new_key())


def _chosen(codes: list[str]) -> Iterator[Series]:
    series = Series.objects.with_assets().order_by("pk")
    if not codes:
        yield from series
    for code in codes:
        found = series.filter(asset__code=code).first()
        if found is None:
            raise SeriesUnknown(f"There is no series {code}.")
        yield found
