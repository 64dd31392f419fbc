"""The way into a waiting room: who signs in gets a ticket; the gateway shows the rest."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sequencer.models import WaitingRoom
from sequencer.waiting_room.api import ticket_cookie
from sequencer.waiting_room.tokens import UNPLACED, Ticket, read_ticket, write_ticket
from web.people import person

TICKET_LIFE_S = 7 * 24 * 3600


@login_required
@never_cache
@require_safe
def enter(request: HttpRequest, name: str) -> HttpResponse:
    """Give the signed-in person a ticket, and show them the room.

    The ticket names the person and no place: the room gives the place, the same however
    often one enters.
    """
    now = timezone.now()
    rooms = WaitingRoom.objects.filter(closed_at__isnull=True, opens_at__lte=now)
    room = rooms.filter(name=name).first()
    if room is None:
        raise Http404
    response = redirect(f"/waiting/{room.name}/")
    cookie = ticket_cookie(room.name).decode()
    if not _is_own(request.COOKIES.get(cookie, ""), room, person(request).pk):
        ticket = Ticket(room.pk, person(request).pk, UNPLACED)
        response.set_cookie(
            cookie,
            write_ticket(ticket),
            max_age=TICKET_LIFE_S,
            httponly=True,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )
    return response


def _is_own(text: str, room: WaitingRoom, user_id: int) -> bool:
    """Say whether a ticket is this person's for this room: then its place is kept."""
    ticket = read_ticket(text)
    return ticket is not None and (ticket.room_id, ticket.user_id) == (room.pk, user_id)
