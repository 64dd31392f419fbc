"""Long lists in pages: a cursor says where the next page starts.

A page is found by its key (keyset), so the last page costs as much as the first and rows
written meanwhile shift nothing. The key is one column or two, and the queryset's index
must lead with them. The cursor is opaque and signed: it fits the list it came from, and
nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.problems import Refusal

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
LONGEST_CURSOR = 512
SIGNATURE_BYTES = 8
_LIMIT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)

Row = TypeVar("Row")


class InvalidCursor(Refusal):
    """The cursor is no cursor of this list: take it unchanged from `next`."""

    code = "invalid_cursor"
    title = "The cursor does not belong to this list"
    status = 400


class InvalidLimit(Refusal):
    """The page size asked for is not one we serve."""

    code = "invalid_limit"
    title = f"The limit is a number from 1 to {LARGEST_LIMIT}"
    status = 400


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows in order, and the cursor of the page after them (`None` at the end)."""

    rows: list[Row]
    next_cursor: str | None


def page(
    queryset: QuerySet[Any, Any],
    *,
    key: Sequence[str],
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    scope: str = "",
    key_of: Callable[[Any], Sequence[Any]] | None = None,
) -> Page[Any]:
    """Fetch one page of a queryset, ordered by its key.

    `key` names one or two columns, all rising or (each with a leading `-`) all falling;
    together they must be unique. `scope` names the list: a cursor of another scope is
    refused. `key_of` reads the key from a row that is neither model nor mapping.
    Costs one index range of `limit + 1` rows.
    """
    names, falling = _read_key(key)
    scope = f"{scope}|{','.join(key)}"
    queryset = queryset.order_by(*key)
    if cursor is not None:
        queryset = _after(queryset, names, falling, read_cursor(cursor, scope, len(names)))
    rows = list(queryset[: limit + 1])
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    values = key_of(last) if key_of else [_column(last, name) for name in names]
    return Page(rows[:limit], write_cursor(values, scope))


def _read_key(key: Sequence[str]) -> tuple[list[str], bool]:
    falling = key[0].startswith("-")
    assert 1 <= len(key) <= 2 and all(name.startswith("-") == falling for name in key), key
    return [name.lstrip("-") for name in key], falling


def _after(
    queryset: QuerySet[Any, Any], names: list[str], falling: bool, values: list[Any]
) -> QuerySet[Any, Any]:
    if len(names) == 1:
        return queryset.filter(**{f"{names[0]}__{'lt' if falling else 'gt'}": values[0]})
    # A row comparison, (a, b) < (x, y), is the one form PostgreSQL answers by one index range.
    lookup = TupleLessThan if falling else TupleGreaterThan
    return queryset.filter(lookup(Tuple(*(F(name) for name in names)), values))


def _column(row: Any, name: str) -> Any:
    if isinstance(row, Mapping):
        return row[name]
    for part in name.split("__"):
        row = getattr(row, part)
    return row.pk if isinstance(row, Model) else row


# -- cursors ---------------------------------------------------------------------------


def write_cursor(values: Sequence[Any], scope: str) -> str:
    """Seal the key of a page's last row. Values are integers, texts or times."""
    packed = msgspec.msgpack.encode(list(values))
    return _text(_signature(packed, scope) + packed)


def read_cursor(cursor: str, scope: str, length: int) -> list[Any]:
    """Open a cursor; refuses what `write_cursor` did not write for this scope."""
    if len(cursor) > LONGEST_CURSOR or not cursor.isascii():
        raise InvalidCursor
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise InvalidCursor from None
    signature, packed = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(packed, scope)) or _text(raw) != cursor:
        raise InvalidCursor
    values = msgspec.msgpack.decode(packed)
    if not isinstance(values, list) or len(values) != length:
        raise InvalidCursor
    return values


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(packed: bytes, scope: str) -> bytes:
    key = hashlib.sha256(b"edge.pagination" + settings.SECRET_KEY.encode()).digest()
    return hmac.digest(key, scope.encode() + b"\0" + packed, "sha256")[:SIGNATURE_BYTES]


def read_limit(text: str | None) -> int:
    """Read `?limit=`; refuses anything but 1 to 200."""
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or int(text) > LARGEST_LIMIT:
        raise InvalidLimit(limit=LARGEST_LIMIT)
    return int(text)


# -- DRF -------------------------------------------------------------------------------


class CursorPage(BasePagination):
    """Pages a DRF list: `{"results": […], "next": "/api/v1/…?cursor=…"}`.

    Set `key` in a subclass where the list is not ordered by falling id. The view's address
    is the cursor's scope, so a cursor of one account's entries is refused on another's.
    """

    key: Sequence[str] = ("-id",)

    def paginate_queryset(  # type: ignore[override]  # a list in memory needs no cursor
        self, queryset: QuerySet[Any, Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.request = request
        key = getattr(view, "page_key", None) or self.key
        self.limit = read_limit(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")
        self.page = page(queryset, key=key, limit=self.limit, cursor=cursor, scope=request.path)
        return self.page.rows

    @property
    def next_address(self) -> str | None:
        """The address of the next page, relative to this origin, with the same filters."""
        if self.page.next_cursor is None:
            return None
        query = self.request.query_params.copy()
        query["cursor"] = self.page.next_cursor
        return f"{self.request.path}?{urlencode(sorted(query.items()))}"

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.next_address})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {
                    "type": "string",
                    "format": "uri-reference",
                    "nullable": True,
                    "example": None,
                    "description": "The address of the next page; null at the end.",
                },
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT}
        return [
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "Rows a page.",
                "schema": limit | {"default": DEFAULT_LIMIT},
            },
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where to go on; taken from `next`.",
                "schema": {"type": "string"},
            },
        ]
