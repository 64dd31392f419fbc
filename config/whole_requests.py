"""Reads what a view left of a request, so that the next one on its connection is heard.

The front keeps connections to us open and sends the requests of many people over each. Who is
refused early (not signed in, too large, no such page) leaves a body behind that nobody read:
the server then ends the connection, while the front already sends the next person's request
down it, and that person hears 503. So the rest is read first; the front holds as much of it
ready as we read here. Of more than that the front is told that the connection ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

MOST_READ_BYTES = 2_000_000
"""What the front reads ahead (config/supervisor/front.py): reading it keeps nobody waiting."""
PIECE_BYTES = 65_536

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class WholeRequests:
    """A WSGI application that never answers over a body it has not read."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        begun: list[tuple[Any, ...]] = []
        answer = self._application(environ, lambda *said: begun.append(said))
        (status, headers, *rest) = begun[-1]
        if not _read_rest(environ):
            headers = [*headers, ("Connection", "close")]
        start_response(status, headers, *rest)
        return answer


def _read_rest(environ: Environ) -> bool:
    """Read what is left of the body and say whether that was all of it."""
    if environ.get("REQUEST_METHOD") in {"GET", "HEAD"} and not environ.get("CONTENT_LENGTH"):
        return True
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if size > MOST_READ_BYTES:
        return False  # the front may still wait for it, and we do not
    left = MOST_READ_BYTES
    while left > 0:
        piece = environ["wsgi.input"].read(min(PIECE_BYTES, left))
        if not piece:
            return True
        left -= len(piece)
    return size == MOST_READ_BYTES
