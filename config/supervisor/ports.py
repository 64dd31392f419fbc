"""Finds ports that nobody uses, and keeps other Scrips off them."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

TRIES = 50


class NoFreePort(RuntimeError):
    """Neither the port that was asked for nor the next ones are free."""


def free_ports(*wanted: tuple[str, int], claims: ExitStack | None = None) -> list[int]:
    """For each address and port: that port if it is free, or else the next that is.

    All are found before any is let go, so none is given twice. With `claims` no other Scrip
    of this machine is given them until that is closed, or its process ends: a port is served
    a while after it was chosen, and two Caddys of one user would share it without a word.
    """
    with ExitStack() as taken:
        held = taken if claims is None else claims
        return [_take(taken, held, host, port) for host, port in wanted]


def _take(taken: ExitStack, claims: ExitStack, host: str, port: int) -> int:
    for candidate in range(port, min(port + TRIES, 65536)):
        with ExitStack() as attempt:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = attempt.enter_context(socket.socket(family, socket.SOCK_STREAM))
            # A port that was closed a moment ago counts as free; one that somebody serves does not.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, candidate))
                listener.listen()
                claims.enter_context(_claim(candidate))
            except OSError:
                continue
            taken.push(attempt.pop_all())
            return candidate
    raise NoFreePort(f"No port from {port} to {port + TRIES - 1} is free on {host}.")


def _claim(port: int) -> socket.socket:
    """Take the name of a port among Scrips. `OSError` if another has it.

    An abstract socket: one process can hold the name, whoever it belongs to, and the kernel
    lets go of it when that process ends, however it ends. Only Linux has them.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sys.platform == "linux":
        try:
            claim.bind(f"\0scrip-port-{port}")
        except OSError:
            claim.close()
            raise
    return claim
