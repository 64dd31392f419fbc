"""Voucher series, their sealed codes, where the codes came from and who opened them.

Codes and reveals grow to many millions, so they carry no index without a reader; the
migration says which query each one serves. No table holds a code in the clear.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from rewards.bulk.models import BulkJob, UploadBlock
from rewards.codes import CheckScheme
from rewards.disputes.models import Cover, Dispute, DisputeQuerySet, Guarantee
from rewards.patterns import ALPHABET, Pattern, pattern_of
from rewards.presents.models import Present
from rewards.redemption import rules
from rewards.redemption.models import (
    ExpirySweep,
    GenericCode,
    Partner,
    Redemption,
    Voucher,
)
from rewards.redemption.rules import BPS
from rewards.reports import WARNINGS
from wallet.models import Asset

__all__ = [
    "BulkJob",
    "CodeImport",
    "Cover",
    "Dispute",
    "DisputeQuerySet",
    "ExpirySweep",
    "GenericCode",
    "Guarantee",
    "ImportFault",
    "Partner",
    "Present",
    "Redemption",
    "Reveal",
    "RevealQuerySet",
    "Series",
    "SeriesQuerySet",
    "UploadBlock",
    "Voucher",
    "VoucherCode",
]


class SeriesQuerySet(models.QuerySet["Series"]):
    """Reads of series."""

    def with_assets(self) -> SeriesQuerySet:
        """Each series with its asset and the asset of its face value."""
        return self.select_related("asset", "face_value_asset")

    def public(self) -> SeriesQuerySet:
        """What anybody may see: series that have been issued, whether or not still open."""
        return self.with_assets().exclude(state=Series.State.DRAFT)


class Series(models.Model):
    """Vouchers of one kind: interchangeable units, each standing for one sealed code.

    The series' code is its asset's code. `expires_at` is for codes that say nothing else.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        ISSUED = "issued"
        CLOSED = "closed"

    class Kind(models.TextChoices):
        PERCENTAGE = rules.Kind.PERCENTAGE, "percentage off"
        AMOUNT = rules.Kind.AMOUNT, "amount off"
        ITEM = rules.Kind.ITEM, "free item"
        GIFT = rules.Kind.GIFT, "gift balance"
        TICKET = rules.Kind.TICKET, "entry ticket"

    asset = models.OneToOneField(Asset, on_delete=models.PROTECT, related_name="series")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.ITEM)
    discount_bps = models.IntegerField(
        null=True, blank=True, help_text="Of a percentage, in hundredths of a percent."
    )
    is_redeemed_here = models.BooleanField(
        default=False,
        help_text="Partners redeem its codes with us, so we owe them the face value.",
    )
    is_personal = models.BooleanField(
        default=False, help_text="Only who revealed a code may use it."
    )
    code_pattern = models.CharField(
        max_length=64, blank=True, help_text="What all codes of the series look like: ####-####*"
    )
    code_alphabet = models.CharField(max_length=36, blank=True, default=ALPHABET)
    title = models.CharField(max_length=120)
    description = models.TextField(max_length=2_000, blank=True)
    issuer_name = models.CharField(max_length=120)
    terms = models.TextField(max_length=10_000, blank=True)
    face_value_minor = models.BigIntegerField(
        null=True, blank=True, help_text="What one voucher is worth, in minor units."
    )
    face_value_asset = models.ForeignKey(
        Asset,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        limit_choices_to={"kind": Asset.Kind.CURRENCY},
    )
    valid_from = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    check_scheme = models.CharField(
        max_length=20,
        choices=[(scheme.value, scheme.value) for scheme in CheckScheme],
        default=CheckScheme.NONE.value,
        help_text="How the issuer's codes carry a check character, if they do.",
    )
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SeriesQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "series"
        constraints = [
            models.CheckConstraint(
                condition=Q(face_value_minor__isnull=True, face_value_asset__isnull=True)
                | Q(face_value_minor__gt=0, face_value_asset__isnull=False),
                name="rewards_series_face_value",
            ),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True)
                | Q(expires_at__isnull=True)
                | Q(expires_at__gt=F("valid_from")),
                name="rewards_series_validity",
            ),
            models.CheckConstraint(
                condition=Q(kind=rules.Kind.PERCENTAGE, discount_bps__range=(1, BPS))
                | (~Q(kind=rules.Kind.PERCENTAGE) & Q(discount_bps__isnull=True)),
                name="rewards_series_discount",
            ),
            models.CheckConstraint(
                condition=~Q(kind=rules.Kind.GIFT) | Q(face_value_minor__isnull=False),
                name="rewards_series_gift_value",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def code(self) -> str:
        """The name the series goes by, in addresses and on the market."""
        return self.asset.code

    @property
    def pattern(self) -> Pattern | None:
        """What its codes look like, if it was said."""
        return pattern_of(self.code_pattern, self.code_alphabet) if self.code_pattern else None

    @property
    def backing_minor(self) -> int:
        """What we owe for one voucher of it: its face value if partners redeem it with us."""
        return (self.face_value_minor or 0) if self.is_redeemed_here else 0


class CodeImport(models.Model):
    """Codes that came together: a file, taken whole or refused whole with its report, or codes
    that were generated."""

    class Source(models.TextChoices):
        FILE = "file"
        GENERATED = "generated"

    class State(models.TextChoices):
        IMPORTING = "importing"
        CANCELLED = "cancelled"
        IMPORTED = "imported"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="imports")
    source = models.CharField(max_length=10, choices=Source, default=Source.FILE)
    file_name = models.CharField(max_length=200)
    sha256 = models.BinaryField(max_length=32)
    size_bytes = models.BigIntegerField()
    delimiter = models.CharField(max_length=1, blank=True)
    has_bom = models.BooleanField(default=False)
    line_ends = models.CharField(max_length=20, blank=True, help_text="CR, CRLF, LF, or several.")
    row_count = models.IntegerField()
    code_count = models.IntegerField(help_text="Codes taken in: all rows, or none.")
    fault_count = models.IntegerField()
    warning_count = models.IntegerField()
    counts = models.JSONField(help_text="How often each fault and warning was found.")
    stopped_at_line = models.IntegerField(
        null=True, help_text="Where the file could not be read any further."
    )
    state = models.CharField(max_length=10, choices=State)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text="Who got the units; nobody: the series' treasury.",
    )
    transfer_id = models.BigIntegerField(null=True, help_text="The transfer that issued the units.")
    first_code_id = models.BigIntegerField(null=True)
    last_code_id = models.BigIntegerField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "import"
        constraints = [
            models.UniqueConstraint(
                fields=["series", "sha256"],
                condition=Q(state="imported"),
                name="rewards_codeimport_once",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=("refused", "importing", "cancelled"),
                    code_count=0,
                    transfer_id__isnull=True,
                )
                | Q(code_count=F("row_count"), code_count__gt=0, fault_count=0),
                name="rewards_codeimport_whole_or_none",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} #{self.pk}"


class ImportFault(models.Model):
    """One line of an import's report. It never repeats what stood in the file."""

    code_import = models.ForeignKey(CodeImport, on_delete=models.CASCADE, related_name="faults")
    line = models.IntegerField(help_text="Counted from 1; 0 for the whole file.")
    column = models.CharField(max_length=40, blank=True)
    code = models.CharField(max_length=40)
    message = models.CharField(max_length=250)

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"

    @property
    def is_warning(self) -> bool:
        return self.code in WARNINGS


class VoucherCode(models.Model):
    """One sealed code. It is taken once, by whoever burns a unit for it.

    Series and import are written by the import in one go and never deleted (triggers), so
    a foreign key's check of every row would cost much and find nothing.
    """

    class State(models.IntegerChoices):
        AVAILABLE = 0, "available"
        REVEALED = 1, "revealed"
        DEACTIVATED = 2, "deactivated"

    series = models.ForeignKey(
        Series, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    code_import = models.ForeignKey(
        CodeImport, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    expires_at = models.DateTimeField(help_text="The year 9999 stands for never.")
    digest = models.UUIDField(help_text="Keyed digest of series and code, 128 bits.")
    state = models.SmallIntegerField(choices=State)
    sealed = models.BinaryField()
    export = models.ForeignKey(
        BulkJob,
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        db_constraint=False,
        related_name="+",
        help_text="The file that it went out in, to nobody in particular.",
    )

    class Meta:
        constraints = [
            # Keeps a code single in its series, and finds it.
            models.UniqueConstraint(fields=["series", "digest"], name="rewards_code_digest"),
            models.CheckConstraint(condition=Q(state__range=(0, 2)), name="rewards_code_state"),
        ]
        indexes = [
            # Finds the code to give next: the first of its series that has not expired; and
            # the codes that expired since the last look.
            models.Index(fields=["series", "state", "expires_at", "id"], name="rewards_code_next"),
            # Writes out what a file holds.
            models.Index(
                fields=["export", "id"],
                condition=Q(export__isnull=False),
                name="rewards_code_export",
            ),
        ]

    def __str__(self) -> str:
        return f"code #{self.pk}"


class RevealQuerySet(models.QuerySet["Reveal"]):
    """Reads of reveals."""

    def of(self, owner_id: int) -> RevealQuerySet:
        """What one person revealed, with code, series and asset."""
        return self.filter(owner_id=owner_id).select_related("code__series__asset")


class Reveal(models.Model):
    """One unit burnt for one code: who opened which, when, by which transfer. Never changed."""

    id = models.BigIntegerField(primary_key=True)
    code = models.OneToOneField(VoucherCode, on_delete=models.PROTECT, related_name="reveal")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    request = models.UUIDField(
        unique=True, help_text="Digest of person, address and Idempotency-Key: once, for ever."
    )
    transfer_id = models.BigIntegerField(help_text="The transfer that burnt the unit.")
    at = models.DateTimeField()

    objects = RevealQuerySet.as_manager()

    class Meta:
        # A person's own history, newest first.
        indexes = [models.Index(fields=["owner", "-id"], name="rewards_reveal_owner")]

    def __str__(self) -> str:
        return f"reveal #{self.pk}"
