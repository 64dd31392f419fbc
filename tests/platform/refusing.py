"""An application that answers without reading, with and without what we put around it."""

from __future__ import annotations

from collections.abc import Iterable

from config.whole_requests import Environ, StartResponse, WholeRequests


def bare(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("401 Unauthorized", [("Content-Length", "2")])
    return [b"no"]


whole = WholeRequests(bare)
