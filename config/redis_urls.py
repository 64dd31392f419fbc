"""One Redis address, several numbered databases: pure rules for writing the addresses."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

STREAMS = 0
CELERY = 1
CACHE = 2


def at_database(url: str, number: int) -> str:
    """Give the address of another database of the same server, as redis-py reads it."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        return (
            f"unix://{parts.netloc}{parts.path}?{urlencode(query | {'db': str(number)}, safe='/')}"
        )
    query.pop("db", None)
    return urlunsplit(parts._replace(path=f"/{number}", query=urlencode(query, safe="/")))


def celery_broker(url: str, number: int) -> str:
    """Give the address of a database as Celery reads it: Unix sockets have a form of their own."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={number}"
    return at_database(url, number)
