"""Finds ports that nobody uses."""

from __future__ import annotations

import socket
from contextlib import ExitStack

TRIES = 50


class NoFreePort(RuntimeError):
    """Neither the port that was asked for nor the next ones are free."""


def free_ports(*wanted: tuple[str, int]) -> list[int]:
    """For each address and port: that port if it is free, or else the next that is.

    All are found before any is let go, so none is given twice.
    """
    with ExitStack() as taken:
        return [_take(taken, host, port) for host, port in wanted]


def _take(taken: ExitStack, host: str, port: int) -> int:
    for candidate in range(port, min(port + TRIES, 65536)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = taken.enter_context(socket.socket(family, socket.SOCK_STREAM))
        # A port that was closed a moment ago counts as free; one that somebody serves does not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen()
        except OSError:
            continue
        return candidate
    raise NoFreePort(f"No port from {port} to {port + TRIES - 1} is free on {host}.")
