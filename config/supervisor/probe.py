"""Asks an address for its health, where no other tool is at hand: in a container.

    python -m config.supervisor.probe http://127.0.0.1:8002/healthz
    python -m config.supervisor.probe http://web:8002/readyz relay

Ends with 0 if the answer is 200, or if the named part of /readyz is ready.
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

TIMEOUT_S = 4


def is_well(url: str, part: str = "") -> bool:
    """Say whether the address, or one part of what it reports, is well."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 (ours)
            status, body = response.status, response.read()
    except HTTPError as error:
        status, body = error.code, error.read()
    except (URLError, TimeoutError, ConnectionError):
        return False
    if not part:
        return bool(status == HTTPStatus.OK)
    try:
        return bool(json.loads(body)["parts"][part]["is_ready"])
    except (ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_well(*sys.argv[1:]) else 1)
