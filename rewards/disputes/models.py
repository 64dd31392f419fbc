"""Guarantees of issuers, the cover of each revealed code, and disputes."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from rewards.disputes import rules


class Guarantee(models.Model):
    """An issuer's promise that the codes of a series work, with money behind each of them.

    Made while the series is a draft; the promise never changes (a trigger holds that). Closed:
    no code that could still be given is covered, and what lay behind such codes went back.
    """

    class State(models.IntegerChoices):
        OPEN = 0, "open"
        CLOSED = 1, "closed"

    series = models.OneToOneField(
        "rewards.Series", on_delete=models.PROTECT, primary_key=True, related_name="guarantee"
    )
    issuer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="guarantees"
    )
    asset = models.ForeignKey(
        "wallet.Asset", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    refund_minor = models.BigIntegerField(help_text="What a holder gets for a code in vain.")
    window_s = models.IntegerField(help_text="How long after its reveal a code may be disputed.")
    answer_s = models.IntegerField(help_text="How long the issuer has to answer a dispute.")
    two_people_over_minor = models.BigIntegerField(
        default=5_000, help_text="Above this refund, two of our people decide a contested dispute."
    )
    state = models.SmallIntegerField(choices=State, default=State.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(refund_minor__gt=0, two_people_over_minor__gte=0),
                name="rewards_guarantee_amounts",
            ),
            models.CheckConstraint(
                condition=Q(
                    window_s__range=(rules.LEAST_WINDOW_S, rules.LONGEST_WINDOW_S),
                    answer_s__range=(rules.LEAST_ANSWER_S, rules.LONGEST_ANSWER_S),
                ),
                name="rewards_guarantee_times",
            ),
        ]

    def __str__(self) -> str:
        return f"guarantee of series {self.pk}"

    @property
    def needs_two_people(self) -> bool:
        """Say whether two of our people must agree on a contested dispute."""
        return self.refund_minor > self.two_people_over_minor


class Cover(models.Model):
    """The money behind one revealed code: there until the window closes, or a dispute ends."""

    class State(models.IntegerChoices):
        OPEN = rules.Cover.OPEN, "open"
        DISPUTED = rules.Cover.DISPUTED, "disputed"
        RELEASED = rules.Cover.RELEASED, "released"
        REFUNDED = rules.Cover.REFUNDED, "refunded"

    reveal = models.OneToOneField(
        "rewards.Reveal", on_delete=models.PROTECT, primary_key=True, related_name="cover"
    )
    guarantee = models.ForeignKey(Guarantee, on_delete=models.PROTECT, db_index=False)
    closes_at = models.DateTimeField()
    state = models.SmallIntegerField(choices=State, default=State.OPEN)
    transfer_id = models.BigIntegerField(null=True, help_text="What the money went away by.")

    class Meta:
        indexes = [
            # What is still covered of a guarantee, and whose window closes next.
            models.Index(
                fields=["guarantee", "closes_at"],
                condition=Q(state__in=(rules.Cover.OPEN, rules.Cover.DISPUTED)),
                name="rewards_cover_due",
            )
        ]

    def __str__(self) -> str:
        return f"cover of reveal {self.pk}"


class DisputeQuerySet(models.QuerySet["Dispute"]):
    """Reads of disputes."""

    def with_story(self) -> DisputeQuerySet:
        """Each with what an answer tells of it; never the code."""
        return self.select_related(
            "holder", "cover__guarantee__asset", "cover__guarantee__issuer",
            "cover__guarantee__series__asset",
        )  # fmt: skip

    def undecided(self) -> DisputeQuerySet:
        """Those that still hold money back."""
        return self.filter(state__in=(rules.State.ASKED, rules.State.CONTESTED))


class Dispute(models.Model):
    """A holder says that a code did not work. One for each code, for ever."""

    class State(models.IntegerChoices):
        ASKED = rules.State.ASKED, "asked"
        CONTESTED = rules.State.CONTESTED, "contested"
        REFUNDED = rules.State.REFUNDED, "refunded"
        REJECTED = rules.State.REJECTED, "rejected"
        WITHDRAWN = rules.State.WITHDRAWN, "withdrawn"

    class Problem(models.TextChoices):
        UNKNOWN = "unknown", "the shop does not know the code"
        USED = "used", "the shop says it was used"
        EXPIRED = "expired", "the shop says it has expired"
        REFUSED = "refused", "the shop did not take it"
        OTHER = "other", "something else"

    class End(models.TextChoices):
        ISSUER = "issuer", "the issuer agreed"
        SILENCE = "silence", "the issuer did not answer"
        HOLDER = "holder", "the holder withdrew"
        SUPPORT = "support", "our support decided"

    cover = models.OneToOneField(Cover, on_delete=models.PROTECT, related_name="dispute")
    holder = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    request = models.UUIDField(unique=True, help_text="Digest of person and key: once, for ever.")
    problem = models.CharField(max_length=10, choices=Problem)
    evidence = models.CharField(max_length=2_000)
    hold_id = models.BigIntegerField(help_text="The issuer's money, frozen.")
    is_voucher_held = models.BooleanField(help_text="The code could be used until then.")
    state = models.SmallIntegerField(choices=State, default=State.ASKED)
    opened_at = models.DateTimeField()
    answer_by = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=2_000, blank=True)
    proposal = models.CharField(max_length=10, blank=True)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    reason = models.CharField(max_length=500, blank=True)
    end = models.CharField(max_length=10, choices=End, blank=True)
    ended_at = models.DateTimeField(null=True)
    transfer_id = models.BigIntegerField(null=True, help_text="What ended the freeze.")

    objects = DisputeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__lt=rules.State.REFUNDED, ended_at__isnull=True, end="")
                | (Q(state__gte=rules.State.REFUNDED, ended_at__isnull=False) & ~Q(end="")),
                name="rewards_dispute_ended",
            ),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True)
                | Q(proposed_by__isnull=True)
                | ~Q(decided_by=F("proposed_by")),
                name="rewards_dispute_four_eyes",
            ),
        ]
        indexes = [
            models.Index(fields=["holder", "-id"], name="rewards_dispute_holder"),
            models.Index(
                fields=["answer_by"],
                condition=Q(state=rules.State.ASKED),
                name="rewards_dispute_due",
            ),
        ]

    def __str__(self) -> str:
        return f"dispute #{self.pk}"
