"""`manage.py waiting_room …`: open, list, change and close waiting rooms."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from edge.problems import Refusal
from sequencer.models import WaitingRoom
from sequencer.waiting_room.actions import change_room, close_room, open_room
from sequencer.waiting_room.live import people

TERMS = (
    ("--title", str), ("--opens-at", "moment"), ("--starts-at", "moment"),
    ("--passes-per-minute", int), ("--pass-life-s", int), ("--market", str),
    ("--path-prefix", str),
)  # fmt: skip


class Command(BaseCommand):
    """One deed a call; a refusal ends with 1 and its code."""

    help = "Open, list, change and close waiting rooms."

    def add_arguments(self, parser: CommandParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        deeds.add_parser("list", help="all rooms that are not closed, with who waits")
        for deed in ("open", "change", "close"):
            one = deeds.add_parser(deed)
            one.add_argument("name")
            one.add_argument("--by", metavar="HANDLE", help="who decides it")
            one.add_argument("--reason", default="", required=deed != "open")
            for term, kind in TERMS if deed != "close" else ():
                one.add_argument(term, type=moment if kind == "moment" else kind)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["deed"])(options)
        except Refusal as refusal:
            raise CommandError(f"{refusal.code}: {refusal.detail or refusal.title}") from None

    def open(self, options: dict[str, Any]) -> None:
        terms = _given(options)
        for needed in ("title", "starts_at", "passes_per_minute"):
            if needed not in terms:
                raise CommandError(f"--{needed.replace('_', '-')} is needed.")
        room = WaitingRoom(name=options["name"], **terms)
        open_room(room, by=_person(options["by"]), reason=options["reason"])
        self.stdout.write(f"{room.name} opens {room.opens_at:%F %T} UTC: /waiting/{room.name}/")

    def change(self, options: dict[str, Any]) -> None:
        by, reason = _person(options["by"]), options["reason"]
        change_room(options["name"], by=by, reason=reason, **_given(options))
        self.stdout.write(f"{options['name']} is changed.")

    def close(self, options: dict[str, Any]) -> None:
        close_room(options["name"], by=_person(options["by"]), reason=options["reason"])
        self.stdout.write(f"{options['name']} is closed.")

    def list(self, options: dict[str, Any]) -> None:
        for room in WaitingRoom.objects.filter(closed_at__isnull=True).order_by("starts_at"):
            guards = room.market or room.path_prefix or "claims that name it"
            self.stdout.write(
                f"{room.name}: starts {room.starts_at:%F %T} UTC, {room.passes_per_minute} passes"
                f" a minute, guards {guards}, {people(room.pk)}"
            )


def moment(text: str) -> datetime:
    """Read a time; without a zone it is UTC."""
    read = parse_datetime(text)
    if read is None:
        raise ValueError(text)
    return read if timezone.is_aware(read) else timezone.make_aware(read)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    names = [term.removeprefix("--").replace("-", "_") for term, _ in TERMS]
    return {name: options[name] for name in names if options.get(name) is not None}


def _person(handle: str | None) -> AbstractBaseUser | None:
    if handle is None:
        return None
    person: AbstractBaseUser | None = get_user_model().objects.filter(handle=handle.lower()).first()
    if person is None:
        raise CommandError(f"Nobody is called {handle}.")
    return person
