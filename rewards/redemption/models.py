"""Who redeems, what has become of a voucher, and every redemption there was.

`Voucher` has a row only for codes that something happened to after they went out; most never
need one. Redemptions grow for ever and carry no index without a reader.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from rewards.redemption import rules


class Partner(models.Model):
    """A shop or chain that takes vouchers; its staff redeem, and we owe it what they took."""

    code = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    is_active = models.BooleanField(default=True)
    staff = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="redeems_for", blank=True)
    series = models.ManyToManyField("rewards.Series", related_name="partners", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class GenericCode(models.Model):
    """One code for many: WELCOME10. It is public, so it is stored as it is read, in capitals.

    Its uses are units of the series on an account of its own: it cannot be used too often.
    """

    series = models.ForeignKey("rewards.Series", on_delete=models.PROTECT, db_index=False)
    text = models.CharField(max_length=64)
    use_limit = models.BigIntegerField()
    person_limit = models.IntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="The year 9999 stands for never.")
    is_active = models.BooleanField(default=True)
    is_expired = models.BooleanField(default=False, help_text="What was left has been broken.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["text", "series"], name="rewards_genericcode_text"),
            models.CheckConstraint(
                condition=Q(use_limit__gt=0)
                & (Q(person_limit__isnull=True) | Q(person_limit__gt=0)),
                name="rewards_genericcode_limits",
            ),
        ]

    def __str__(self) -> str:
        return self.text


class Voucher(models.Model):
    """What became of a code after it went out: reserved, used, spent in part, out of use."""

    class Use(models.IntegerChoices):
        FREE = rules.Use.FREE, "free"
        RESERVED = rules.Use.RESERVED, "reserved"
        USED = rules.Use.USED, "used"
        DEACTIVATED = rules.Use.DEACTIVATED, "deactivated"
        EXPIRED = rules.Use.EXPIRED, "expired"

    code = models.OneToOneField(
        "rewards.VoucherCode", on_delete=models.PROTECT, primary_key=True, related_name="voucher"
    )
    use = models.SmallIntegerField(choices=Use, default=Use.FREE)
    reserved_until = models.DateTimeField(null=True)
    account_id = models.BigIntegerField(null=True, help_text="Where a gift balance lies.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(use=rules.Use.RESERVED) | Q(reserved_until__isnull=False),
                name="rewards_voucher_reserved",
            )
        ]

    def __str__(self) -> str:
        return f"voucher #{self.pk}"


class RedemptionQuerySet(models.QuerySet["Redemption"]):
    """Reads of redemptions."""

    def with_story(self) -> RedemptionQuerySet:
        """Each with what an answer tells of it."""
        told = ("partner", "series__asset", "series__face_value_asset", "customer", "code")
        return self.select_related(*told, "generic__series").defer("code__sealed")

    def counting(self) -> RedemptionQuerySet:
        """Those that take up a use: confirmed, or reserved and not given back."""
        return self.filter(state__in=(rules.State.RESERVED, rules.State.CONFIRMED))


class Redemption(models.Model):
    """One use of a voucher, or of a part of a gift balance, from reservation to its end."""

    class State(models.IntegerChoices):
        RESERVED = rules.State.RESERVED, "reserved"
        CONFIRMED = rules.State.CONFIRMED, "confirmed"
        ROLLED_BACK = rules.State.ROLLED_BACK, "rolled back"
        LAPSED = rules.State.LAPSED, "lapsed"
        REVERSED = rules.State.REVERSED, "reversed"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, db_index=False)
    series = models.ForeignKey("rewards.Series", on_delete=models.PROTECT, db_index=False)
    code = models.ForeignKey(
        "rewards.VoucherCode", on_delete=models.PROTECT, null=True, db_index=False
    )
    generic = models.ForeignKey(GenericCode, on_delete=models.PROTECT, null=True, db_index=False)
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="+",
    )
    request = models.UUIDField(unique=True, help_text="Digest of partner and key: once, for ever.")
    fingerprint = models.BinaryField(max_length=32)
    state = models.SmallIntegerField(choices=State, default=rules.State.RESERVED)
    is_whole = models.BooleanField(help_text="Takes the whole voucher, not a part of a balance.")
    value_minor = models.BigIntegerField()
    rest_minor = models.BigIntegerField(default=0, help_text="Of the face value, not used.")
    order_minor = models.BigIntegerField(null=True)
    reserved_until = models.DateTimeField(null=True)
    hold_id = models.BigIntegerField(null=True)
    transfer_id = models.BigIntegerField(null=True, help_text="What the partner was credited by.")
    rest_transfer_id = models.BigIntegerField(null=True)
    unit_transfer_id = models.BigIntegerField(null=True)
    reversal_id = models.BigIntegerField(null=True)
    reference = models.CharField(max_length=80, blank=True, help_text="The partner's own.")
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    made_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = RedemptionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(code__isnull=False, generic__isnull=True)
                | Q(code__isnull=True, generic__isnull=False),
                name="rewards_redemption_of_one",
            ),
            models.CheckConstraint(
                condition=Q(value_minor__gte=0, rest_minor__gte=0),
                name="rewards_redemption_amounts",
            ),
            models.CheckConstraint(
                condition=Q(state=rules.State.RESERVED, ended_at__isnull=True)
                | (~Q(state=rules.State.RESERVED) & Q(ended_at__isnull=False)),
                name="rewards_redemption_ended",
            ),
            # No voucher is used twice, whatever the locks.
            models.UniqueConstraint(
                fields=["code"],
                condition=Q(is_whole=True, state__in=(rules.State.RESERVED, rules.State.CONFIRMED)),
                name="rewards_redemption_once",
            ),
        ]
        indexes = [
            models.Index(fields=["partner", "-id"], name="rewards_redemption_partner"),
            models.Index(
                fields=["code", "id"],
                condition=Q(code__isnull=False),
                name="rewards_redemption_code",
            ),
            models.Index(
                fields=["customer", "-id"],
                condition=Q(customer__isnull=False),
                name="rewards_redemption_person",
            ),
            models.Index(
                fields=["generic", "customer"],
                condition=Q(
                    generic__isnull=False, state__in=(rules.State.RESERVED, rules.State.CONFIRMED)
                ),
                name="rewards_redemption_generic",
            ),
            models.Index(
                fields=["reserved_until"],
                condition=Q(state=rules.State.RESERVED),
                name="rewards_redemption_due",
            ),
        ]

    def __str__(self) -> str:
        return f"redemption #{self.pk}"


class ExpirySweep(models.Model):
    """How far breakage has been posted for a series: codes up to here have been dealt with."""

    series = models.OneToOneField(
        "rewards.Series", on_delete=models.PROTECT, primary_key=True, related_name="sweep"
    )
    through = models.DateTimeField()
    code_id = models.BigIntegerField(default=0, help_text="The last one of that moment.")
    broken_minor = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"series {self.pk} through {self.through}"
