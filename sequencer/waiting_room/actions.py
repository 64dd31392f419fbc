"""Waiting rooms are opened, changed and closed; each deed is one transaction, audited."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from edge.audit import record
from edge.problems import Refusal
from sequencer.models import WaitingRoom
from sequencer.waiting_room.directory import UnknownRoom
from sequencer.waiting_room.guard import PASS_HEADER, is_good, pass_cookie, pass_required
from sequencer.waiting_room.tokens import read_pass

TERMS = (
    "title", "opens_at", "starts_at", "passes_per_minute", "pass_life_s", "market", "path_prefix",
)  # fmt: skip


class RoomRefused(Refusal):
    """The terms do not make a waiting room; `errors` says which and why."""

    code = "waiting_room_refused"
    title = "The terms do not make a waiting room"
    status = 422


class RoomStarted(Refusal):
    """Who came before the start has a lot and goes first: another start would mix up the line."""

    code = "waiting_room_started"
    title = "The room has started: its start stays"
    status = 409


class RoomClosed(Refusal):
    """A closed room stays closed: open another, with a name of its own."""

    code = "waiting_room_closed"
    title = "The waiting room is closed"
    status = 409


def check_terms(room: WaitingRoom) -> None:
    """Refuse terms that make no room."""
    try:
        room.full_clean()
    except ValidationError as error:
        words = [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
        raise RoomRefused("; ".join(words), errors=error.message_dict) from None


def open_room(room: WaitingRoom, *, by: AbstractBaseUser | None, reason: str = "") -> WaitingRoom:
    """Make a room that was not saved yet."""
    assert room._state.adding
    check_terms(room)
    with transaction.atomic():
        room.save()
        _record("open", room, by=by, reason=reason, after=_terms(room))
    return room


def change_room(
    name: str, *, by: AbstractBaseUser | None, reason: str, **terms: Any
) -> WaitingRoom:
    """Change a room's terms, also while it runs, but for its start once that has passed.

    Gateways follow within a second. Raises `RoomRefused`, `RoomStarted`, `RoomClosed`.
    """
    assert set(terms) <= set(TERMS)
    with transaction.atomic():
        room = _locked(name)
        before = _terms(room)
        if terms.get("starts_at", room.starts_at) != room.starts_at <= timezone.now():
            raise RoomStarted
        for term, value in terms.items():
            setattr(room, term, value)
        check_terms(room)
        room.save()
        _record("change", room, by=by, reason=reason, before=before, after=_terms(room))
    return room


def close_room(name: str, *, by: AbstractBaseUser | None, reason: str) -> None:
    """Close a room for good: from now on it guards nothing."""
    with transaction.atomic():
        room = _locked(name)
        room.closed_at = timezone.now()
        room.save(update_fields=["closed_at"])
        _record("close", room, by=by, reason=reason)


def require_passes(
    request: HttpRequest, path: str, *, user_id: int, now: datetime | None = None
) -> None:
    """Refuse (403) unless a request shows a pass for each open room that guards an address.

    For what the web does of what the gateway guards (`sequencer.waiting_room.guard`). A room
    that is not open yet or has closed guards nothing. One query.
    """
    moment = now or timezone.now()
    rooms = WaitingRoom.objects.filter(closed_at__isnull=True, opens_at__lte=moment)
    for room in rooms.exclude(path_prefix="").order_by("pk"):
        if not path.startswith(room.path_prefix):
            continue
        shown = request.headers.get(PASS_HEADER.decode())
        held = read_pass(shown or request.COOKIES.get(pass_cookie(room.name).decode(), ""))
        if not is_good(held, room_id=room.pk, user_id=user_id, now=moment.timestamp()):
            raise pass_required(room.name)


def _locked(name: str) -> WaitingRoom:
    room = WaitingRoom.objects.select_for_update(no_key=True).filter(name=name).first()
    if room is None:
        raise UnknownRoom(room=name[:60])
    if room.closed_at is not None:
        raise RoomClosed
    return room


def _terms(room: WaitingRoom) -> dict[str, Any]:
    values = {term: getattr(room, term) for term in TERMS}
    return {
        term: value.isoformat() if isinstance(value, datetime) else value
        for term, value in values.items()
    }


def _record(
    deed: str, room: WaitingRoom, *, by: AbstractBaseUser | None, reason: str, **states: Any
) -> None:
    record(
        actor=by,
        action=f"sequencer.{deed}_waiting_room",
        object_type="waiting_room",
        object_id=room.name,
        reason=reason,
        **states,
    )
