"""The ASGI door: the gateway, with the rooms' routes and the keyring that guards them."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402

from accounts.keyring import Keyring  # noqa: E402
from edge.database import database_conninfo  # noqa: E402
from edge.rates import Rate  # noqa: E402
from orderbook.directory import MarketDirectory  # noqa: E402
from orderbook.gateway_routes import routes  # noqa: E402
from rewards.campaigns.rush import gateway_routes as claims  # noqa: E402
from sequencer.admission import Admission  # noqa: E402
from sequencer.gateway import Gateway  # noqa: E402
from sequencer.limits import AimdLimit, GradientLimit  # noqa: E402
from sequencer.sender import RedisCommandSender  # noqa: E402
from sequencer.waiting_room.api import API, PAGE, WaitingRoomPages  # noqa: E402
from sequencer.waiting_room.directory import RoomDirectory  # noqa: E402
from sequencer.waiting_room.guard import RoomGuard  # noqa: E402
from sequencer.waiting_room.line import WaitingLines  # noqa: E402

LIMITS = {"gradient": GradientLimit, "aimd": AimdLimit}


def gateway() -> Gateway:
    """Put the gateway together. Its services connect when the server starts it."""
    keyring = Keyring(database_conninfo())
    directory = MarketDirectory(database_conninfo())
    rooms = RoomDirectory(database_conninfo())
    lines = WaitingLines(settings.REDIS_URL)
    waiting = WaitingRoomPages(
        directory=rooms,
        lines=lines,
        authenticator=keyring,
        has_secure_cookies=settings.SESSION_COOKIE_SECURE,
    )
    return Gateway(
        routes=[*routes(directory), *claims.routes(settings.SHARD_COUNT)],
        authenticator=keyring,
        sender=RedisCommandSender(settings.REDIS_URL),
        admission=Admission(LIMITS[settings.GATEWAY_LIMIT]()),
        rate=Rate(settings.GATEWAY_RATE_PER_S, settings.GATEWAY_RATE_BURST),
        guard=RoomGuard(rooms),
        pages={API: waiting, PAGE: waiting},
        services=[keyring, directory, rooms, lines],
    )


application = gateway()
