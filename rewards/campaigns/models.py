"""Campaigns, their versions, what is known of people, what is counted, and every claim.

What a version says never changes (a trigger refuses it); claims and counters are written by
`claiming` alone. Budgets are ledger accounts; `CampaignBudget` says which.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from wallet.models import Asset

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,59}$"
_PERSON = settings.AUTH_USER_MODEL


class FactName(models.Model):
    """A word that rules may use: a segment, an attribute, something people do, a place."""

    class Kind(models.TextChoices):
        SEGMENT = "segment"
        ATTRIBUTE = "attribute"
        ACTIVITY = "activity"
        PLACE = "place"

    class Type(models.TextChoices):
        NONE = "", "none"
        TEXT = "text"
        NUMBER = "number"
        FLAG = "flag"

    kind = models.CharField(max_length=10, choices=Kind)
    code = models.CharField(max_length=60)
    title = models.CharField(max_length=120, blank=True)
    type = models.CharField(max_length=6, choices=Type, blank=True, default=Type.NONE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "name"
        constraints = [
            models.UniqueConstraint(fields=["kind", "code"], name="campaigns_name_once"),
            models.CheckConstraint(condition=Q(code__regex=NAME), name="campaigns_name_code"),
            models.CheckConstraint(
                condition=Q(kind="attribute", type__in=("text", "number", "flag"))
                | (~Q(kind="attribute") & Q(type="")),
                name="campaigns_name_type",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class SegmentMember(models.Model):
    """A person is in a segment."""

    person = models.ForeignKey(_PERSON, on_delete=models.PROTECT, db_index=False, related_name="+")
    segment = models.ForeignKey(FactName, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "segment"], name="campaigns_member_once")
        ]


class PersonAttribute(models.Model):
    """What an attribute says of a person: one text, whole number or flag."""

    person = models.ForeignKey(_PERSON, on_delete=models.PROTECT, db_index=False, related_name="+")
    name = models.ForeignKey(FactName, on_delete=models.PROTECT, related_name="+")
    value = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "name"], name="campaigns_attribute_once")
        ]


class Activity(models.Model):
    """Something a person did, reported once under its key. With an amount it is an order."""

    person = models.ForeignKey(_PERSON, on_delete=models.PROTECT, db_index=False, related_name="+")
    kind = models.ForeignKey(FactName, on_delete=models.PROTECT, db_index=False, related_name="+")
    key = models.CharField(max_length=60, unique=True, help_text="The reporter's own name for it.")
    at = models.DateTimeField()
    asset = models.ForeignKey(
        Asset, on_delete=models.PROTECT, null=True, db_index=False, related_name="+"
    )
    amount = models.BigIntegerField(null=True, help_text="In minor units.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "activities"
        indexes = [models.Index(fields=["person", "kind", "-at"], name="campaigns_activity_story")]
        constraints = [
            models.CheckConstraint(
                condition=Q(asset__isnull=True, amount__isnull=True)
                | Q(asset__isnull=False, amount__gte=1),
                name="campaigns_activity_amount",
            )
        ]

    def __str__(self) -> str:
        return self.key


class Campaign(models.Model):
    """A promotion under one code. What it gives stands in its versions."""

    class State(models.TextChoices):
        DRAFT = "draft"
        LIVE = "live"
        PAUSED = "paused"
        ENDED = "ended"

    code = models.CharField(max_length=60, unique=True)
    title = models.CharField(max_length=120)
    description = models.TextField(max_length=2_000, blank=True)
    partner = models.CharField(
        max_length=60, blank=True, help_text="Who pays for the currency it gives; empty: we do."
    )
    state = models.CharField(max_length=6, choices=State, default=State.DRAFT)
    revision = models.IntegerField(default=0, help_text="Grows with every change of what holds.")
    created_by = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, null=True, db_index=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(code__regex=NAME), name="campaigns_campaign_code"),
            models.CheckConstraint(
                condition=Q(state="ended", ended_at__isnull=False)
                | (~Q(state="ended") & Q(ended_at__isnull=True)),
                name="campaigns_campaign_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(state="live"), name="campaigns_campaign_live")
        ]

    def __str__(self) -> str:
        return self.code


class CampaignVersion(models.Model):
    """What a campaign says from a date on. Written once; four eyes publish it."""

    class State(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"
        REJECTED = "rejected"

    campaign = models.ForeignKey(
        Campaign, on_delete=models.PROTECT, db_index=False, related_name="versions"
    )
    number = models.IntegerField()
    terms = models.JSONField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    nonce = models.BinaryField(max_length=32, help_text="Half of the secret of its draws.")
    commitment = models.CharField(max_length=64, help_text="SHA-256 of the seed of its draws.")
    state = models.CharField(max_length=9, choices=State, default=State.DRAFT)
    proposed_by = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    proposed_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, null=True, db_index=False, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True, help_text="Why it was rejected.")

    class Meta:
        verbose_name = "version"
        constraints = [
            models.UniqueConstraint(fields=["campaign", "number"], name="campaigns_version_once"),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="campaigns_version_dates",
            ),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=F("proposed_by")),
                name="campaigns_version_four_eyes",
            ),
            models.CheckConstraint(
                condition=Q(state="draft", decided_at__isnull=True, decided_by__isnull=True)
                | (~Q(state="draft") & Q(decided_at__isnull=False) & Q(decided_by__isnull=False)),
                name="campaigns_version_decided",
            ),
        ]
        permissions = [("publish_campaignversion", "May publish or reject others' versions")]

    def __str__(self) -> str:
        return f"{self.campaign.code} v{self.number}"


class CampaignBudget(models.Model):
    """The ledger account that a campaign pays one asset from, and what was put into it."""

    campaign = models.ForeignKey(
        Campaign, on_delete=models.PROTECT, db_index=False, related_name="budgets"
    )
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, db_index=False, related_name="+")
    account_id = models.BigIntegerField(unique=True)
    source_id = models.BigIntegerField(help_text="The account that it was funded from.")
    funded = models.BigIntegerField(default=0, help_text="Put in, less what was taken out again.")

    class Meta:
        verbose_name = "budget"
        constraints = [
            models.UniqueConstraint(fields=["campaign", "asset"], name="campaigns_budget_once"),
            models.CheckConstraint(condition=Q(funded__gte=0), name="campaigns_budget_funded"),
        ]


class Counted(models.Model):
    """A counter: how many grants a person (0: all) had in a scope and period.

    The rows are the locks of a claim: `counting.locked` takes them in one order.
    """

    pk = models.CompositePrimaryKey("person", "scope", "period")
    person = models.BigIntegerField()
    scope = models.CharField(max_length=80)
    period = models.CharField(max_length=80)
    used = models.BigIntegerField(default=0)
    recent = ArrayField(models.BigIntegerField(), default=list, help_text="Latest grants, in µs.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(used__gte=0), name="campaigns_counted_used")
        ]


class Claim(models.Model):
    """A grant: what was given to whom under which version. The story is never changed.

    What it names was read and held by whoever writes it and is never deleted, so PostgreSQL
    does not look each of them up again: at a rush that was a fifth of its work.
    """

    class State(models.TextChoices):
        GRANTED = "granted"
        REVERSED = "reversed"

    id = models.BigIntegerField(primary_key=True)
    campaign = models.ForeignKey(
        Campaign,
        on_delete=models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="claims",
    )
    version = models.ForeignKey(
        CampaignVersion,
        on_delete=models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )
    owner = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    request = models.UUIDField(unique=True, help_text="Digest of the claim's own key: once, ever.")
    at = models.DateTimeField()
    channel = models.CharField(max_length=60, blank=True)
    order_key = models.CharField(max_length=60, blank=True)
    referrer = models.ForeignKey(
        _PERSON,
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )
    variant = models.CharField(max_length=60, blank=True)
    payments = models.JSONField(help_text="What was given, each with its transfer.")
    drawn = models.JSONField(default=list)
    counted = models.JSONField(help_text="The counters that went up.")
    state = models.CharField(max_length=8, choices=State, default=State.GRANTED)
    reversed_at = models.DateTimeField(null=True)
    reversed_by = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, null=True, db_index=False, related_name="+"
    )
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was reversed.")

    class Meta:
        indexes = [
            models.Index(fields=["owner", "-id"], name="campaigns_claim_owner"),
            models.Index(fields=["campaign", "-id"], name="campaigns_claim_campaign"),
        ]

    def __str__(self) -> str:
        return f"claim #{self.pk}"


class MergedPerson(models.Model):
    """One account that goes on as another: what it counted is counted there."""

    old = models.BigIntegerField(primary_key=True)
    new = models.BigIntegerField(db_index=True)


class ClaimRefusal(models.Model):
    """A claim that was refused, and why: the code, and the leaves of the rule that decided."""

    campaign = models.ForeignKey(
        Campaign,
        on_delete=models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="refusals",
    )
    version = models.ForeignKey(
        CampaignVersion,
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )
    owner = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    at = models.DateTimeField()
    channel = models.CharField(max_length=60, blank=True)
    order_key = models.CharField(max_length=60, blank=True)
    code = models.CharField(max_length=40)
    misses = models.JSONField(default=list)

    class Meta:
        verbose_name = "refusal"
        indexes = [
            models.Index(fields=["owner", "-id"], name="campaigns_refusal_owner"),
            models.Index(fields=["campaign", "-id"], name="campaigns_refusal_campaign"),
        ]

    def __str__(self) -> str:
        return f"{self.code} #{self.pk}"


class TierProgram(models.Model):
    """A ladder of levels, climbed by tier points within a calendar period."""

    class Every(models.TextChoices):
        MONTH = "month"
        YEAR = "year"

    code = models.CharField(max_length=40, unique=True)
    title = models.CharField(max_length=120)
    asset = models.OneToOneField(Asset, on_delete=models.PROTECT, related_name="+")
    every = models.CharField(max_length=5, choices=Every, default=Every.YEAR)
    time_zone = models.CharField(max_length=60, default="UTC")
    levels = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.code


class TierStanding(models.Model):
    """The level of a person that was last told to the platform's listeners."""

    program = models.ForeignKey(
        TierProgram, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    person = models.ForeignKey(_PERSON, on_delete=models.PROTECT, db_index=False, related_name="+")
    rank = models.SmallIntegerField()
    keeps_until = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["program", "person"], name="campaigns_standing_once")
        ]


class Simulation(models.Model):
    """A version tried out on a crowd, without touching anything."""

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"

    version = models.ForeignKey(
        CampaignVersion, on_delete=models.PROTECT, related_name="simulations"
    )
    parameters = models.JSONField()
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    runs_done = models.IntegerField(default=0)
    report = models.JSONField(null=True)
    job_id = models.BigIntegerField(null=True)
    created_by = models.ForeignKey(
        _PERSON, on_delete=models.PROTECT, null=True, db_index=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"simulation #{self.pk}"
