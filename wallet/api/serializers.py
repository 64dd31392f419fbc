"""What comes in and goes out. Amounts are integers in minor units; ids are texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge.fields import LARGEST_AMOUNT, Amount, AssetCode, Id, StrictSerializer, UtcDateTime
from wallet.freezing import LONGEST_REASON
from wallet.items import LONGEST_MEMO, HoldState, Kind, Status
from wallet.models import Asset, Code, ReversalRequest
from wallet.statements import Line

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
SIGNED = {"type": "integer", "format": "int64"}


@extend_schema_field(SIGNED | {"example": -500})
class SignedAmount(serializers.Field[int, int, int, Any]):
    """An amount that may be negative: a balance, or one side of a transfer."""

    def to_representation(self, value: int) -> int:
        return value


@extend_schema_field({"type": "string", "example": "2026-01-31"})
class DayOrTime(UtcDateTime):
    """A bound of a period: a moment, or a day in UTC, which is in the period as a whole."""

    default_error_messages = {
        "invalid": "A day looks like 2026-01-31, a time like 2026-01-31T12:00:00Z."
    }

    def __init__(self, *, is_end: bool, **kwargs: Any) -> None:
        self.is_end = is_end
        super().__init__(**kwargs)

    def to_internal_value(self, data: object) -> datetime:
        if not isinstance(data, str) or not _DAY.fullmatch(data):
            return super().to_internal_value(data)
        try:
            day = datetime.fromisoformat(data).replace(tzinfo=UTC)
            return day + timedelta(days=1) if self.is_end else day
        except (ValueError, OverflowError):
            self.fail("invalid")


@extend_schema_field(SIGNED | {"minimum": -LARGEST_AMOUNT, "maximum": LARGEST_AMOUNT})
class Limit(serializers.Field[int, int, int, Any]):
    """A limit in minor units: a JSON integer within ±2^62, or null for none."""

    default_error_messages = {"invalid": "A limit is a JSON integer in minor units."}

    def to_internal_value(self, data: object) -> int:
        if type(data) is not int or abs(data) > LARGEST_AMOUNT:
            self.fail("invalid")
        assert isinstance(data, int)
        return data

    def to_representation(self, value: int) -> int:
        return value


class NameField(serializers.ChoiceField):
    """A number inside, its name in small letters outside: `order_hold`, `open`."""

    def __init__(self, names: type[Enum], **options: Any) -> None:
        self.names = {int(member.value): member.name.lower() for member in names}
        super().__init__(choices=list(self.names.values()), **options)

    def to_representation(self, value: Any) -> str:
        return self.names[int(value)]

    def to_internal_value(self, data: Any) -> int:  # type: ignore[override]
        name = super().to_internal_value(data)
        return next(value for value, each in self.names.items() if each == name)


def reason_field(**options: Any) -> serializers.CharField:
    """Why a deed is done: 1 to 500 characters that say something."""
    return serializers.CharField(max_length=LONGEST_REASON, **options)


# -- in --------------------------------------------------------------------------------


class PaymentIn(StrictSerializer):
    """A payment to another person."""

    to = serializers.CharField(max_length=31, help_text="The receiver's handle.")
    asset = AssetCode()
    amount = Amount()
    memo = serializers.CharField(max_length=LONGEST_MEMO, required=False, allow_blank=True)


class HoldIn(PaymentIn):
    """Money to set aside for another person."""

    expires_at = UtcDateTime(help_text="When it lapses; at most 31 days away.")


class HoldPostIn(StrictSerializer):
    """How much of a hold to pay; all that remains if nothing is said."""

    amount = Amount(required=False)
    rest_is_kept = serializers.BooleanField(
        required=False, default=False, help_text="Keep what is left on hold for a later post."
    )


class HoldVoidIn(StrictSerializer):
    """How much of a hold to release; all that remains if nothing is said."""

    amount = Amount(required=False)


class ReasonIn(StrictSerializer):
    """Why a deed is done; it is written to the audit trail."""

    reason = reason_field()


class LimitsIn(ReasonIn):
    """An account's new limits, all three of them; null is no limit."""

    floor = Limit(allow_null=True)
    ceiling = Limit(allow_null=True)
    largest_debit = Limit(allow_null=True)


class ReversalIn(ReasonIn):
    """A transfer to undo."""

    transfer_id = Id()


# -- in, as query ----------------------------------------------------------------------


class PageQuery(StrictSerializer):
    """What every list takes; `edge.pagination` reads these two."""

    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


class PeriodQuery(PageQuery):
    """Entries written from `from` until just before `to`."""

    to = UtcDateTime(required=False, help_text="Written before this moment.")

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of Python, so the field cannot be declared by that name.
        since = UtcDateTime(required=False, source="since", help_text="Written at or after this.")
        return {"from": since, **super().get_fields()}


class BalanceQuery(StrictSerializer):
    """At which moment, and counting entries by which date."""

    as_of = UtcDateTime(required=False, help_text="The balance just before this; now if missing.")
    effective = serializers.BooleanField(
        required=False, help_text="Count entries at the date they were given, not written."
    )


class AssetQuery(PageQuery):
    kind = serializers.ChoiceField(Asset.Kind.choices, required=False)


class HoldQuery(PageQuery):
    asset = AssetCode(required=False)


class AccountQuery(PageQuery):
    """Whose accounts: a person's by handle, or the house's. `asset` narrows either."""

    owner = serializers.CharField(required=False, max_length=31, help_text="A person's handle.")
    house = serializers.BooleanField(required=False, help_text="Accounts without an owner.")
    asset = AssetCode(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "owner" in attrs and attrs.get("house"):
            raise serializers.ValidationError({"house": ["Ask for an owner or for the house."]})
        if "asset" in attrs and not ("owner" in attrs or attrs.get("house")):
            raise serializers.ValidationError({"asset": ["Needs `owner` or `house` beside it."]})
        return attrs


class ReversalQuery(PageQuery):
    state = NameField(ReversalRequest.State, required=False)


class ExportQuery(StrictSerializer):
    """What an export covers: written from `from` until just before `to`, of one asset or all."""

    to = DayOrTime(
        is_end=True,
        required=False,
        help_text="The last day, or the moment after; now if missing.",
    )
    asset = AssetCode(required=False)
    account = Id(required=False)
    by_account = serializers.BooleanField(
        required=False, help_text="One row for each account, where kinds would be added up."
    )
    effective = serializers.BooleanField(
        required=False, help_text="Count transfers at the date they were given, not written."
    )

    def get_fields(self) -> dict[str, Any]:
        since = DayOrTime(
            is_end=False, required=False, source="since", help_text="The first day or moment."
        )
        return {"from": since, **super().get_fields()}


# -- out -------------------------------------------------------------------------------


class AssetOut(serializers.Serializer[Any]):
    """Anything countable. One unit shown is 10^scale minor units."""

    code = AssetCode()
    name = serializers.CharField()
    kind = serializers.ChoiceField(Asset.Kind.choices)
    scale = serializers.IntegerField()
    expires = serializers.BooleanField()


class WalletOut(serializers.Serializer[Any]):
    """What one person has of one asset."""

    asset = AssetCode(source="asset.code")
    name = serializers.CharField(source="asset.name")
    scale = serializers.IntegerField(source="asset.scale")
    balance = SignedAmount(help_text="Everything that was posted.")
    held = SignedAmount(help_text="Set aside by open holds.")
    available = SignedAmount(help_text="What can be spent: balance less held.")
    incoming = SignedAmount(help_text="Promised by others' open holds.")
    status = NameField(Status)


class LapsingOut(serializers.Serializer[Any]):
    """Some of a wallet that lapses at one moment."""

    amount = Amount()
    expires_at = UtcDateTime()


class OneWalletOut(WalletOut):
    """One wallet, and what of it lapses when, the soonest first."""

    expiring = LapsingOut(many=True)


class ExportOut(serializers.Serializer[Any]):
    """A file that finance can take away."""

    name = serializers.CharField()
    title = serializers.CharField()
    content_type = serializers.CharField()


class BalanceOut(serializers.Serializer[Any]):
    """What a wallet held at a moment."""

    asset = AssetCode()
    balance = SignedAmount()
    as_of = UtcDateTime()
    effective = serializers.BooleanField()


class EntryOut(serializers.Serializer[Any]):
    """One movement on one account, with the balance after it. Money in is positive."""

    transfer_id = Id()
    at = UtcDateTime(source="written_at")
    effective_at = UtcDateTime(allow_null=True)
    amount = SignedAmount()
    balance_after = SignedAmount()
    code = NameField(Code)
    counterparty = serializers.SerializerMethodField()
    memo = serializers.CharField()
    hold_id = Id(allow_null=True)
    reverses_id = Id(allow_null=True)

    def get_counterparty(self, line: Line) -> str | None:
        """The other person's handle, for payments between people."""
        handle: str | None = self.context["handles"].get(line.transfer_id)
        return handle


class TransferOut(serializers.Serializer[Any]):
    """A movement, a hold, a post or a void: an immutable fact."""

    id = Id(source="transfer.pk")
    at = UtcDateTime(source="transfer.at")
    kind = NameField(Kind, source="transfer.kind")
    code = NameField(Code, source="transfer.code")
    asset = AssetCode()
    amount = Amount(source="transfer.amount")
    sender = serializers.CharField(allow_null=True, help_text="A handle, where it may be known.")
    receiver = serializers.CharField(allow_null=True, help_text="A handle, where it may be known.")
    memo = serializers.CharField(source="transfer.memo")
    hold_id = Id(source="transfer.hold_id", allow_null=True)
    reverses_id = Id(source="transfer.reverses_id", allow_null=True)
    effective_at = UtcDateTime(source="transfer.effective_at", allow_null=True)
    expires_at = UtcDateTime(source="transfer.expires_at", allow_null=True)


class HoldOut(serializers.Serializer[Any]):
    """Money set aside, and what remains of it."""

    id = Id(source="hold.pk")
    at = UtcDateTime()
    code = NameField(Code, source="movement.transfer.code")
    asset = AssetCode(source="movement.asset")
    amount = Amount(source="hold.amount")
    remaining = SignedAmount(source="hold.remaining")
    state = NameField(HoldState, source="hold.state")
    receiver = serializers.CharField(source="movement.receiver", allow_null=True)
    memo = serializers.CharField(source="movement.transfer.memo")
    expires_at = UtcDateTime(source="hold.expires_at", allow_null=True)


class AccountOut(serializers.Serializer[Any]):
    """An account as finance sees it."""

    id = Id(source="pk")
    owner = serializers.CharField(source="owner.handle", allow_null=True, default=None)
    asset = AssetCode(source="asset.code")
    kind = serializers.CharField(source="kind_id")
    label = serializers.CharField()  # type: ignore[assignment]
    balance = SignedAmount()
    held = SignedAmount()
    available = SignedAmount()
    incoming = SignedAmount()
    floor = SignedAmount(allow_null=True)
    ceiling = SignedAmount(allow_null=True)
    largest_debit = SignedAmount(allow_null=True)
    status = NameField(Status)
    created_at = UtcDateTime()


class ReversalOut(serializers.Serializer[Any]):
    """A request to undo a transfer, and what became of it."""

    id = Id(source="pk")
    transfer_id = Id()
    reason = serializers.CharField()
    state = NameField(ReversalRequest.State)
    requested_by = serializers.CharField(source="requested_by.handle")
    requested_at = UtcDateTime()
    decided_by = serializers.CharField(source="decided_by.handle", allow_null=True, default=None)
    decided_at = UtcDateTime(allow_null=True)
    note = serializers.CharField(help_text="Why it was rejected.")
    reversal_id = Id(allow_null=True)
    last_refusal = serializers.SerializerMethodField()

    def get_last_refusal(self, request: ReversalRequest) -> str | None:
        """Why the last approval moved nothing."""
        return request.refusal.name.lower() if request.refusal else None
