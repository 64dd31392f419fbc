"""How to reach the database without Django's connection: for LISTEN, and for asyncio."""

from __future__ import annotations

from django.db import connection
from psycopg.conninfo import make_conninfo

_NOT_LIBPQ = {"context", "cursor_factory", "prepare_threshold", "server_side_binding"}


def database_conninfo() -> str:
    """Write the settings of the default database as one connection string of libpq."""
    parameters = connection.get_connection_params()
    return make_conninfo(**{k: v for k, v in parameters.items() if k not in _NOT_LIBPQ})
