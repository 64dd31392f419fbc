"""What comes in and goes out at the till, field by field."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge.fields import Amount, AssetCode, Id, StrictSerializer, UtcDateTime
from rewards.api.serializers import KINDS, expiry_out
from rewards.models import GenericCode, Partner, Redemption
from rewards.redemption import money, rules
from rewards.redemption.actions import LONGEST_REFERENCE, Verdict
from rewards.redemption.rules import State

STATES = [state.name.lower() for state in State]


class ValueOut(serializers.Serializer[Any]):
    """What a use is worth."""

    amount = serializers.IntegerField(min_value=0)
    asset = AssetCode()


class AskIn(StrictSerializer):
    """A code as it was typed or scanned, and what it is to be used for."""

    code = serializers.CharField(max_length=200, trim_whitespace=False)
    series = AssetCode(required=False, help_text="Where two series have this code.")
    partner = serializers.CharField(
        max_length=40, required=False, help_text="For whom, if you redeem for several."
    )
    amount = Amount(required=False, help_text="What to spend of a gift balance.")
    order = Amount(required=False, help_text="What the customer buys for.")
    customer = serializers.CharField(max_length=31, required=False, help_text="A handle.")


class RedeemIn(AskIn):
    """Use a code now, or reserve it for some seconds."""

    reserve_s = serializers.IntegerField(
        min_value=1,
        max_value=int(rules.LONGEST_RESERVATION.total_seconds()),
        required=False,
        help_text="Reserve it for so long; without it, it is used at once.",
    )
    reference = serializers.CharField(
        max_length=LONGEST_REFERENCE, required=False, default="", allow_blank=True,
        help_text="Your own name for the purchase.",
    )  # fmt: skip


class ConfirmIn(StrictSerializer):
    """How much of a reserved gift balance is used; without it, all."""

    amount = Amount(required=False)


class VoucherReasonIn(StrictSerializer):
    """Why."""

    reason = serializers.CharField(min_length=3, max_length=500)


class ReasonOut(serializers.Serializer[Any]):
    """One thing that stands against it."""

    code = serializers.CharField(help_text="As in the refusals of redeeming.")
    title = serializers.CharField()


class VerdictOut(serializers.Serializer[Verdict]):
    """Whether a code could be used now, and what it would be worth."""

    qualifies = serializers.SerializerMethodField()
    series = AssetCode(source="found.series.code")
    title = serializers.CharField(source="found.series.title")
    kind = serializers.ChoiceField(KINDS, source="found.series.kind")
    value = serializers.SerializerMethodField(method_name="worth_of")
    balance = serializers.IntegerField(
        source="balance_minor", allow_null=True, help_text="Left of a gift balance."
    )
    reasons = serializers.SerializerMethodField()

    def get_qualifies(self, verdict: Verdict) -> bool:
        return not verdict.reasons

    @extend_schema_field(ValueOut(allow_null=True))
    def worth_of(self, verdict: Verdict) -> Any:
        return value_of(verdict.found.series, verdict.value_minor)

    @extend_schema_field(ReasonOut(many=True))
    def get_reasons(self, verdict: Verdict) -> Any:
        return [{"code": str(each), "title": rules.TITLES[each]} for each in verdict.reasons]


class RedemptionOut(serializers.Serializer[Redemption]):
    """A redemption as it stands. `value` is what the partner is or will be credited."""

    id = Id(source="pk")
    partner = serializers.CharField(source="partner.code")
    series = AssetCode(source="series.code")
    title = serializers.CharField(source="series.title")
    kind = serializers.ChoiceField(KINDS, source="series.kind")
    state = serializers.SerializerMethodField()
    value = serializers.SerializerMethodField(method_name="worth_of")
    order = serializers.IntegerField(source="order_minor", allow_null=True)
    customer = serializers.CharField(source="customer.handle", default=None, allow_null=True)
    reference = serializers.CharField()
    reserved_until = UtcDateTime(allow_null=True)
    made_at = UtcDateTime()
    ended_at = UtcDateTime(allow_null=True)
    transfer_id = Id(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(STATES))
    def get_state(self, redemption: Redemption) -> str:
        return State(redemption.state).name.lower()

    @extend_schema_field(ValueOut(allow_null=True))
    def worth_of(self, redemption: Redemption) -> Any:
        return value_of(redemption.series, redemption.value_minor)


def value_of(series: Any, amount: int) -> dict[str, Any] | None:
    """An amount with its currency; nothing where the series names none."""
    if series.face_value_asset is None:
        return None
    return {"amount": amount, "asset": series.face_value_asset.code}


# -- partners and generic codes ------------------------------------------------------------


class PartnerIn(StrictSerializer):
    """A new partner."""

    code = serializers.CharField(max_length=40)
    name = serializers.CharField(max_length=120)


class PartnerOut(serializers.Serializer[Partner]):
    """A partner: who redeems for it, and what."""

    code = serializers.CharField()
    name = serializers.CharField()
    is_active = serializers.BooleanField()
    staff = serializers.SerializerMethodField()
    series = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_staff(self, partner: Partner) -> Any:
        return [person.handle for person in partner.staff.all()]

    @extend_schema_field(serializers.ListField(child=AssetCode()))
    def get_series(self, partner: Partner) -> Any:
        return [series.asset.code for series in partner.series.all()]


class StaffIn(StrictSerializer):
    """Somebody who redeems for a partner, or does no more."""

    handle = serializers.CharField(max_length=31)
    redeems = serializers.BooleanField(default=True)


class PartnerSeriesIn(StrictSerializer):
    """A series that a partner redeems, or does no more."""

    series = AssetCode()
    redeems = serializers.BooleanField(default=True)


class GenericIn(StrictSerializer):
    """A code for many."""

    code = serializers.CharField(max_length=64)
    use_limit = Amount()
    person_limit = serializers.IntegerField(
        min_value=1, max_value=1_000_000, allow_null=True, default=None
    )
    expires_at = UtcDateTime(allow_null=True, default=None)


class GenericOut(serializers.Serializer[GenericCode]):
    """A code for many, and how often it can still be used."""

    id = Id(source="pk")
    series = AssetCode(source="series.code")
    code = serializers.CharField(source="text")
    use_limit = serializers.IntegerField()
    person_limit = serializers.IntegerField(allow_null=True)
    uses_left = serializers.SerializerMethodField()
    expires_at = serializers.SerializerMethodField()
    is_active = serializers.BooleanField()

    def get_uses_left(self, generic: GenericCode) -> int:
        return money.available(money.uses_of(generic).left)

    @extend_schema_field(UtcDateTime(allow_null=True))
    def get_expires_at(self, generic: GenericCode) -> str | None:
        return expiry_out(generic.expires_at)
