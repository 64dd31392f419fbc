"""manage.py campaign_people merge OLD NEW | erase HANDLE: people who are one, people who leave."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from accounts.models import User
from edge.problems import Refusal
from rewards.campaigns import people


class Command(BaseCommand):
    help = "Bring two accounts together, or forget what campaigns know of one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        merge = verbs.add_parser("merge", help="NEW goes on for both")
        merge.add_argument("old")
        merge.add_argument("new")
        erase = verbs.add_parser("erase", help="forget what is personal; the ledger stays")
        erase.add_argument("handle")
        for verb in (merge, erase):
            verb.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["verb"] == "merge":
                old, new = _person(options["old"]), _person(options["new"])
                if old == new:
                    raise CommandError("That is one account.")
                people.merge(old=old, new=new, actor=None, reason=options["reason"])
            else:
                people.erase(_person(options["handle"]), actor=None, reason=options["reason"])
        except Refusal as refusal:
            raise CommandError(f"{refusal.title}. {refusal.detail}".strip()) from None
        self.stdout.write("Done.")


def _person(handle: str) -> User:
    # Also those who were deactivated before they left.
    found = User.objects.filter(handle=handle.strip().lstrip("@").lower()).first()
    if found is None:
        raise CommandError(f"There is no {handle}.")
    return found
