"""Serializer fields for what every API speaks of: ids, amounts, assets, times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from edge.answers import InvalidQuery
from edge.ids import LARGEST_ID

LARGEST_AMOUNT = 1 << 62
ASSET_CODE_PATTERN = r"^[A-Z][A-Z0-9_.-]{1,39}$"
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_ASSET_CODE = re.compile(ASSET_CODE_PATTERN.rstrip("$") + r"\Z", re.ASCII)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_id(text: object) -> int | None:
    """Read an id as clients hold it, a string of digits; `None` when it is no id."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        return None
    number = int(text)
    return number if number <= LARGEST_ID else None


def format_time(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC, to the microsecond, ending in Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@extend_schema_field({"type": "string", "pattern": "^[1-9][0-9]{0,18}$", "example": "4711"})
class Id(serializers.Field[int, str, str, Any]):
    """An id: a string outside, a positive 63-bit integer inside."""

    default_error_messages: ClassVar = {"invalid": "This is not an id."}

    def to_internal_value(self, data: object) -> int:
        number = parse_id(data)
        return self.fail("invalid") if number is None else number

    def to_representation(self, value: int) -> str:
        return str(value)

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        super().fail(key, **kwargs)


@extend_schema_field(
    {"type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_AMOUNT, "example": 500}
)
class Amount(serializers.Field[int, int, int, Any]):
    """An amount in minor units: a JSON integer of at least 1 and at most 2^62.

    A text, a fraction, an exponent or a truth value is refused: money is never guessed.
    """

    default_error_messages: ClassVar = {
        "invalid": "An amount is a JSON integer in minor units.",
        "min_value": "An amount is at least 1.",
        "max_value": f"An amount is at most {LARGEST_AMOUNT}.",
    }

    def to_internal_value(self, data: object) -> int:
        if type(data) is not int:
            self.fail("invalid")
        if data < 1:
            self.fail("min_value")
        if data > LARGEST_AMOUNT:
            self.fail("max_value")
        return data

    def to_representation(self, value: int) -> int:
        return value

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        super().fail(key, **kwargs)


@extend_schema_field({"type": "string", "pattern": ASSET_CODE_PATTERN, "example": "EUR"})
class AssetCode(serializers.Field[str, str, str, Any]):
    """The code of an asset, such as EUR, POINTS or CAFE-10: capitals, digits, `_`, `.`, `-`."""

    default_error_messages: ClassVar = {"invalid": "This is not the code of an asset."}

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str) or not _ASSET_CODE.match(data):
            self.fail("invalid")
        return data

    def to_representation(self, value: str) -> str:
        return value

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        super().fail(key, **kwargs)


@extend_schema_field({"type": "string", "format": "date-time"})
class UtcDateTime(serializers.Field[datetime, str, str, Any]):
    """A time: RFC 3339 with an offset comes in, UTC with a Z goes out."""

    default_error_messages: ClassVar = {
        "invalid": "A time looks like 2026-01-31T12:00:00Z (RFC 3339, with an offset)."
    }

    def to_internal_value(self, data: object) -> datetime:
        if not isinstance(data, str) or not _RFC3339.fullmatch(data):
            self.fail("invalid")
        try:
            return datetime.fromisoformat(data.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")

    def to_representation(self, value: datetime) -> str:
        return format_time(value)

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        super().fail(key, **kwargs)


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know: a misspelt one is never ignored."""

    default_error_messages: ClassVar = {"unknown": "There is no such field."}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                message = serializers.ErrorDetail(
                    str(self.error_messages["unknown"]), code="unknown"
                )
                raise serializers.ValidationError({name: [message] for name in unknown})
        return super().to_internal_value(data)


def checked_query(
    serializer_class: type[serializers.Serializer[Any]], request: Request
) -> dict[str, Any]:
    """Validate the query parameters; the errors of a bad one name the parameter."""
    serializer = serializer_class(data=request.query_params.dict())
    if not serializer.is_valid():
        raise InvalidQuery(serializer.errors)
    return dict(serializer.validated_data)


def checked_body(
    serializer_class: type[serializers.Serializer[Any]], request: Request, **context: Any
) -> dict[str, Any]:
    """Validate the request body; the errors of a bad one point into the body."""
    serializer = serializer_class(data=request.data, context=context)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
