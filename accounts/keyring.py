"""Every usable API key in memory, for the gateway: a key is checked without a look-up.

One task follows the database. It loads all keys once, then hears of each change by NOTIFY
(triggers on keys, people and roles), fetches what changed, and asks a trivial question every
second to know that the line is alive. Every minute, and after any break, it loads all
again, so a lost notification cannot matter for long.

When nothing was heard for `STALE_AFTER_S` the keyring answers 503: a key that may have
been revoked opens nothing. No Django request, no ORM, no thread: asyncio and psycopg.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec
import psycopg
from psycopg.rows import TupleRow

from accounts.key_format import read_token
from accounts.roles import Role
from accounts.scopes import Scope, effective_scopes
from accounts.tokens import BRAND as SESSION_BRAND
from accounts.tokens import read_session_token
from edge.problems import Refusal, ScopeMissing, Unavailable
from edge.rates import Rate

logger = logging.getLogger(__name__)

CHANNEL = "accounts_keyring"
STALE_AFTER_S = 10.0
HEARTBEAT_S = 1.0
RELOAD_EVERY_S = 60.0
USE_NOTED_EVERY_S = 60.0
"""A key's last use is written at most this often, by all gateways together."""
NOTE_USES_EVERY_S = 20.0
QUERY_TIMEOUT_S = 5.0
RETRY_AFTER_S = 0.2
LOAD_TIMEOUT_S = 60.0
ROWS_A_FETCH = 500
LONGEST_HEADER = 700

Connection = psycopg.AsyncConnection[TupleRow]


class Unauthenticated(Refusal):
    """The caller did not show a key or token that is in use."""

    code = "unauthenticated"
    title = "The API key or token is not in use"
    status = 401


class KeyringStale(Unavailable):
    """Keys cannot be checked: the database has been out of reach for too long."""

    code = "keyring_stale"
    title = "API keys cannot be checked just now"


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Who is asking and what they may do. `key_id` is `None` for a browser's token.

    `rate` is the key's own limit at the gateway; `None` is what everybody has.
    """

    user_id: int
    key_id: int | None
    scopes: frozenset[Scope]
    session_hash: str = ""
    rate: Rate | None = None

    def require(self, scope: Scope) -> None:
        """Refuse (403 `scope_missing`) unless the grant has the scope."""
        if scope not in self.scopes:
            raise ScopeMissing(scope)


class _Key(msgspec.Struct, frozen=True, gc=False):
    grant: Grant
    prefix: str
    expires_at: float


_COLUMNS = f"""
    SELECT k.id, k.digest, k.prefix, k.owner_id, k.scopes, k.expires_at,
           k.revoked_at IS NULL AND u.is_active,
           u.is_superuser OR EXISTS (
               SELECT FROM accounts_user_groups m JOIN auth_group g ON g.id = m.group_id
               WHERE m.user_id = u.id AND g.name = '{Role.FINANCE}'),
           k.rate_per_s, k.rate_burst
    FROM accounts_apikey k JOIN accounts_user u ON u.id = k.owner_id
"""
_ALL = f"{_COLUMNS} WHERE k.revoked_at IS NULL AND u.is_active"
_CHANGED = f"{_COLUMNS} WHERE k.id = ANY(%s) OR k.owner_id = ANY(%s)"
_INACTIVE = "SELECT id FROM accounts_user WHERE NOT is_active"
_ACTIVITY = "SELECT id, is_active FROM accounts_user WHERE id = ANY(%s)"
# In order of id, so two gateways that note the same keys cannot wait for each other.
_NOTE_USE = """
    UPDATE accounts_apikey k SET last_used_at = used.at
    FROM (SELECT k.id, to_timestamp(u.at) AS at
          FROM unnest(%s::bigint[], %s::float8[]) AS u(id, at) JOIN accounts_apikey k USING (id)
          WHERE k.last_used_at IS NULL OR k.last_used_at < to_timestamp(u.at - %s)
          ORDER BY k.id FOR NO KEY UPDATE OF k) AS used
    WHERE k.id = used.id
"""


class Keyring:
    """Checks keys and tokens from memory, and keeps that memory true.

    Use it as `async with Keyring(database_url) as keyring:`; entering waits for nothing,
    and until the first load `grant_for` answers 503.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._keys: dict[bytes, _Key] = {}
        self._digests: dict[int, bytes] = {}
        self._inactive_people: set[int] = set()
        self._used: dict[int, float] = {}
        self._noted_at = time.monotonic()
        self._heard_at = float("-inf")
        self._is_following = False
        self._loaded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- checking ------------------------------------------------------------------------

    def grant_for(self, authorization: str) -> Grant:
        """Say what the header `Authorization` grants, from memory alone: some microseconds.

        Refuses with `Unauthenticated` what is not in use, and with `KeyringStale` everything
        once the database has been silent for `STALE_AFTER_S`.
        """
        if time.monotonic() - self._heard_at > STALE_AFTER_S:
            raise KeyringStale("The database does not answer.")
        scheme, _, text = authorization[:LONGEST_HEADER].partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Send the header Authorization: Bearer and your key.")
        if text.startswith(SESSION_BRAND):
            return self._grant_for_session(text)
        return self._grant_for_key(text)

    def _grant_for_key(self, text: str) -> Grant:
        token = read_token(text)
        if token is None:
            raise Unauthenticated("This is no API key: it was mistyped or cut short.")
        key = self._keys.get(token.digest)
        now = time.time()
        if key is None or key.prefix != token.prefix or key.expires_at <= now:
            raise Unauthenticated("This API key is not in use.")
        assert key.grant.key_id is not None
        self._used[key.grant.key_id] = now
        return key.grant

    def _grant_for_session(self, text: str) -> Grant:
        token = read_session_token(text)
        if token is None or token.user_id in self._inactive_people:
            raise Unauthenticated("This token is not valid any more; sign in again.")
        return Grant(token.user_id, None, token.scopes, token.session_hash)

    def is_in_use(self, grant: Grant) -> bool:
        """Say whether a grant given earlier still holds; long streams ask now and then."""
        if grant.key_id is None:
            return grant.user_id not in self._inactive_people
        digest = self._digests.get(grant.key_id)
        return digest is not None and self._keys[digest].expires_at > time.time()

    @property
    def silence_s(self) -> float:
        """How long the database has not been heard; health checks show it."""
        return time.monotonic() - self._heard_at

    def __len__(self) -> int:
        return len(self._keys)

    # -- following -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow_for_ever(), name="keyring")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(QUERY_TIMEOUT_S), self._connected() as connection:
                await self._note_uses(connection)

    async def loaded(self, timeout_s: float) -> None:
        """Wait until the first load is done."""
        async with asyncio.timeout(timeout_s):
            await self._loaded.wait()

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                async with self._connected() as connection:
                    await self._follow(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._report(error)
            await asyncio.sleep(RETRY_AFTER_S)

    def _report(self, error: Exception) -> None:
        """Log a break once, not at every try."""
        if self._is_following or not self._loaded.is_set():
            logger.warning("The keyring cannot reach the database: %s", error)
        self._is_following = False

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            connection = await psycopg.AsyncConnection.connect(
                self._database_url, autocommit=True, application_name="scrip-keyring"
            )
        try:
            yield connection
        finally:
            await connection.close()

    async def _follow(self, connection: Connection) -> None:
        # Listening comes before loading: what changes in between is heard, not missed.
        await self._query(connection, f"LISTEN {CHANNEL}")
        reload_at = float("-inf")
        while True:
            if time.monotonic() >= reload_at:
                await self._load(connection)
                reload_at = time.monotonic() + RELOAD_EVERY_S
            changed = [
                notice.payload
                async for notice in connection.notifies(timeout=HEARTBEAT_S, stop_after=1)
            ]
            await self._catch_up(connection, changed)
            if time.monotonic() - self._noted_at >= NOTE_USES_EVERY_S:
                await self._note_uses(connection)

    async def _load(self, connection: Connection) -> None:
        """Load everything afresh, some hundred rows at a time so that requests go on."""
        keys: dict[bytes, _Key] = {}
        digests: dict[int, bytes] = {}
        asked_at = time.monotonic()
        async with connection.cursor() as cursor:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                async for row in cursor.stream(_ALL, size=ROWS_A_FETCH):
                    digests[row[0]] = bytes(row[1])
                    keys[digests[row[0]]] = _key_of(row)
                    if len(keys) % ROWS_A_FETCH == 0:
                        await asyncio.sleep(0)
        inactive = {row[0] for row in await self._query(connection, _INACTIVE)}
        self._keys, self._digests, self._inactive_people = keys, digests, inactive
        self._heard_at = asked_at
        if not self._is_following:
            logger.info("The keyring follows the database: %d keys", len(keys))
        self._is_following = True
        self._loaded.set()

    async def _catch_up(self, connection: Connection, changed: list[str]) -> None:
        """Fetch what the notices name; with none, ask all the same: it is the heartbeat."""
        asked_at = time.monotonic()
        people, key_ids = _named(changed, "user:"), _named(changed, "key:")
        if not changed:
            await self._query(connection, "SELECT 1")
        elif people or key_ids:
            rows = await self._query(connection, _CHANGED, [key_ids, people])
            activity = await self._query(connection, _ACTIVITY, [people])
            self._replace(set(key_ids), rows)
            self._inactive_people -= {person for person, _ in activity}
            self._inactive_people |= {person for person, is_active in activity if not is_active}
        self._heard_at = asked_at

    def _replace(self, gone: set[int], rows: list[TupleRow]) -> None:
        for key_id in gone | {row[0] for row in rows}:
            if (digest := self._digests.pop(key_id, None)) is not None:
                del self._keys[digest]
        for row in rows:
            if row[6]:
                self._digests[row[0]] = bytes(row[1])
                self._keys[self._digests[row[0]]] = _key_of(row)

    async def _note_uses(self, connection: Connection) -> None:
        """Write when each key was last used, for those due: one UPDATE for all."""
        used, self._used = self._used, {}
        self._noted_at = time.monotonic()
        if used:
            arguments = [list(used), list(used.values()), USE_NOTED_EVERY_S]
            await self._query(connection, _NOTE_USE, arguments)

    async def _query(
        self, connection: Connection, sql: Any, arguments: list[Any] | None = None
    ) -> list[TupleRow]:
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            cursor = await connection.execute(sql, arguments)
            return await cursor.fetchall() if cursor.description else []


def _named(changed: list[str], kind: str) -> list[int]:
    names = (name.removeprefix(kind) for name in changed if name.startswith(kind))
    return [int(number) for number in names if number.isdecimal()]


def _key_of(row: TupleRow) -> _Key:
    key_id, _, prefix, owner_id, scopes, expires_at, _, works_in_finance, per_s, burst = row
    granted = effective_scopes(frozenset(scopes), works_in_finance=works_in_finance)
    expiry = expires_at.timestamp() if expires_at else float("inf")
    rate = None if per_s is None else Rate(per_s, burst)
    return _Key(Grant(owner_id, key_id, granted, rate=rate), prefix, expiry)
