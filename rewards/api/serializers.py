"""What comes in and what goes out, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge.fields import Amount, AssetCode, Id, StrictSerializer, UtcDateTime
from rewards.code_files import NEVER
from rewards.codes import CheckScheme
from rewards.models import CodeImport, Cover, Reveal, Series
from rewards.patterns import ALPHABET
from rewards.redemption.rules import Kind
from rewards.reports import Report
from rewards.revealing import Opened, masked
from rewards.units import UnitCounts

FAULTS_IN_ANSWER = 100
KINDS = [kind.value for kind in Kind]

# -- series ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SeriesView:
    """A series as one caller sees it. `own_units` is `None` for a stranger."""

    series: Series
    units: UnitCounts
    own_units: int | None


class FaceValueOut(serializers.Serializer[Any]):
    """What one voucher is worth."""

    amount = Amount(source="face_value_minor")
    asset = AssetCode(source="face_value_asset.code")


class UnitsOut(serializers.Serializer[UnitCounts]):
    """How many vouchers there are: all that were issued, and those not yet revealed."""

    issued = serializers.IntegerField()
    revealed = serializers.IntegerField()
    available = serializers.IntegerField()


class SeriesOut(serializers.Serializer[SeriesView]):
    """A voucher series. `expires_at` holds for codes that say nothing else."""

    code = AssetCode(source="series.code")
    title = serializers.CharField(source="series.title")
    description = serializers.CharField(source="series.description")
    issuer = serializers.CharField(source="series.issuer_name")
    terms = serializers.CharField(source="series.terms")
    face_value = serializers.SerializerMethodField()
    valid_from = UtcDateTime(source="series.valid_from", allow_null=True)
    expires_at = UtcDateTime(source="series.expires_at", allow_null=True)
    kind = serializers.ChoiceField(KINDS, source="series.kind")
    discount_bps = serializers.IntegerField(source="series.discount_bps", allow_null=True)
    is_redeemed_here = serializers.BooleanField(source="series.is_redeemed_here")
    is_personal = serializers.BooleanField(source="series.is_personal")
    state = serializers.ChoiceField(Series.State.choices, source="series.state")
    units = UnitsOut()
    own_units = serializers.IntegerField(
        allow_null=True, help_text="What you can spend of it; null when you are not signed in."
    )

    @extend_schema_field(FaceValueOut(allow_null=True))
    def get_face_value(self, seen: SeriesView) -> Any:
        has_face_value = seen.series.face_value_minor is not None
        return FaceValueOut(seen.series).data if has_face_value else None


class FaceValueIn(StrictSerializer):
    """What one voucher is worth, in a currency."""

    amount = Amount()
    asset = AssetCode()


class SeriesIn(StrictSerializer):
    """A new series."""

    code = AssetCode()
    title = serializers.CharField(max_length=120)
    issuer = serializers.CharField(max_length=120)
    description = serializers.CharField(max_length=2_000, allow_blank=True, default="")
    terms = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    face_value = FaceValueIn(allow_null=True, default=None)
    valid_from = UtcDateTime(allow_null=True, default=None)
    expires_at = UtcDateTime(allow_null=True, default=None)
    check_scheme = serializers.ChoiceField(
        [scheme.value for scheme in CheckScheme], default=CheckScheme.NONE.value
    )
    kind = serializers.ChoiceField(
        KINDS, required=False, help_text="Without it: amount with a face value, else item."
    )
    discount_bps = serializers.IntegerField(
        min_value=1, max_value=10_000, allow_null=True, default=None,
        help_text="Of a percentage, in hundredths of a percent.",
    )  # fmt: skip
    is_redeemed_here = serializers.BooleanField(
        default=False, help_text="Partners redeem its codes with us."
    )
    is_personal = serializers.BooleanField(
        default=False, help_text="Only who revealed a code may use it."
    )
    code_pattern = serializers.CharField(
        max_length=64, required=False, default="", allow_blank=True,
        help_text="What codes made here look like: # is random, * the check character.",
    )  # fmt: skip
    code_alphabet = serializers.CharField(max_length=36, required=False, default=ALPHABET)


class HandOutIn(StrictSerializer):
    """Units from the treasury for a person."""

    to = serializers.CharField(max_length=31, help_text="A handle.")
    amount = Amount()


class HandOutOut(serializers.Serializer[Any]):
    """Units handed out, and the transfer that did it."""

    transfer_id = Id()
    to = serializers.CharField()
    amount = Amount()


# -- imports -----------------------------------------------------------------------------


class ImportIn(StrictSerializer):
    """A file of codes, and who gets the units."""

    file = serializers.FileField(allow_empty_file=True)
    owner = serializers.CharField(
        max_length=31, required=False, help_text="A handle; without it the treasury gets them."
    )
    dry_run = serializers.BooleanField(
        default=False, help_text="Only check the file; nothing is stored."
    )
    background = serializers.BooleanField(
        required=False, help_text="Take it in as a job; a file over a megabyte always is."
    )


class FaultOut(serializers.Serializer[Any]):
    """One thing wrong in one line; a warning does not stop an import."""

    line = serializers.IntegerField(help_text="Counted from 1; 0 for the whole file.")
    column = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    is_warning = serializers.BooleanField()


class CheckOut(serializers.Serializer[Report]):
    """What a dry run found. `faults` lists the first hundred; `counts` is complete."""

    state = serializers.SerializerMethodField()
    is_clean = serializers.SerializerMethodField()
    row_count = serializers.IntegerField()
    fault_count = serializers.IntegerField()
    warning_count = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField())
    stopped_at_line = serializers.IntegerField(allow_null=True)
    faults = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ChoiceField(["checked"]))
    def get_state(self, report: Report) -> str:
        return "checked"

    def get_is_clean(self, report: Report) -> bool:
        return not report.fault_count

    @extend_schema_field(FaultOut(many=True))
    def get_faults(self, report: Report) -> Any:
        return faults_out(report.faults)


class ImportOut(serializers.Serializer[CodeImport]):
    """A file that was offered: taken in whole, refused whole, or withdrawn later."""

    id = Id(source="pk")
    series = AssetCode(source="series.code")
    state = serializers.ChoiceField(CodeImport.State.choices)
    file_name = serializers.CharField()
    size_bytes = serializers.IntegerField()
    row_count = serializers.IntegerField()
    code_count = serializers.IntegerField()
    fault_count = serializers.IntegerField()
    warning_count = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField())
    stopped_at_line = serializers.IntegerField(allow_null=True)
    owner = serializers.CharField(source="owner.handle", default=None, allow_null=True)
    transfer_id = Id(allow_null=True)
    created_at = UtcDateTime()


def faults_out(faults: Iterable[Any]) -> list[dict[str, Any]]:
    """Lay out the first hundred faults of a report."""
    return list(FaultOut(list(faults)[:FAULTS_IN_ANSWER], many=True).data)


# -- reveals -----------------------------------------------------------------------------


class MaskedRevealOut(serializers.Serializer[Reveal]):
    """A code you revealed, masked."""

    id = Id(source="pk")
    series = AssetCode(source="code.series.code")
    title = serializers.CharField(source="code.series.title")
    masked = serializers.SerializerMethodField()
    expires_at = serializers.SerializerMethodField()
    revealed_at = UtcDateTime(source="at")
    transfer_id = Id()

    def get_masked(self, reveal: Reveal) -> str:
        return masked(reveal)

    @extend_schema_field(UtcDateTime(allow_null=True))
    def get_expires_at(self, reveal: Reveal) -> str | None:
        return expiry_out(reveal.code.expires_at)


class RevealOut(serializers.Serializer[Opened]):
    """A code you revealed, in the clear: yours alone."""

    id = Id(source="reveal.pk")
    series = AssetCode(source="reveal.code.series.code")
    title = serializers.CharField(source="reveal.code.series.title")
    code = serializers.SerializerMethodField()
    expires_at = serializers.SerializerMethodField()
    revealed_at = UtcDateTime(source="reveal.at")
    transfer_id = Id(source="reveal.transfer_id")
    disputable_until = serializers.SerializerMethodField(
        help_text="Until when you can say that the code does not work; null: you cannot."
    )

    @extend_schema_field(UtcDateTime(allow_null=True))
    def get_disputable_until(self, opened: Opened) -> str | None:
        cover = Cover.objects.filter(pk=opened.reveal.pk, state=Cover.State.OPEN).first()
        return UtcDateTime().to_representation(cover.closes_at) if cover else None

    def get_code(self, opened: Opened) -> str:
        return opened.code.for_its_owner()

    @extend_schema_field(UtcDateTime(allow_null=True))
    def get_expires_at(self, opened: Opened) -> str | None:
        return expiry_out(opened.reveal.code.expires_at)


def expiry_out(moment: datetime) -> str | None:
    """Write when a code expires; nothing for never."""
    return None if moment == NEVER else UtcDateTime().to_representation(moment)
