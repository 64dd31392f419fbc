"""What comes in and what goes out, field by field."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge.fields import Amount, AssetCode, Id, StrictSerializer, UtcDateTime
from rewards.campaigns.models import Campaign, CampaignVersion, Claim, FactName, Simulation
from rewards.campaigns.publishing import LONGEST_REASON

OBJECT = {"type": "object", "additionalProperties": True}


@extend_schema_field(OBJECT)
class Json(serializers.JSONField):
    """A JSON object as it is."""


# -- in ----------------------------------------------------------------------------------


class CampaignIn(StrictSerializer):
    """A campaign to set up."""

    code = serializers.CharField(max_length=60)
    title = serializers.CharField(max_length=120)
    description = serializers.CharField(max_length=2_000, required=False, allow_blank=True)
    partner = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$", required=False, allow_blank=True
    )


class VersionIn(StrictSerializer):
    """Terms of a version; `dry_run` only checks them."""

    terms = Json()
    dry_run = serializers.BooleanField(default=False)


class WhyIn(StrictSerializer):
    """Why."""

    reason = serializers.CharField(max_length=LONGEST_REASON)


class NothingIn(StrictSerializer):
    """A body that says nothing: `{}`, or none at all."""


class ClaimIn(StrictSerializer):
    """What a claim brings along."""

    channel = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,59}$", default="", allow_blank=True
    )
    order = serializers.RegexField(
        r"^[\x21-\x7e]{1,60}$", default="", allow_blank=True, help_text="The key of an order."
    )
    referrer = serializers.CharField(
        max_length=60, default="", allow_blank=True, help_text="The handle of who referred you."
    )


class NameIn(StrictSerializer):
    """A word for rules."""

    kind = serializers.ChoiceField(FactName.Kind.choices)
    code = serializers.CharField(max_length=60)
    title = serializers.CharField(max_length=120, default="", allow_blank=True)
    type = serializers.ChoiceField(["", "text", "number", "flag"], default="")


class MembersIn(StrictSerializer):
    """Handles of people to put into a segment, and to take out; 1,000 of each."""

    add = serializers.ListField(
        child=serializers.CharField(max_length=60), max_length=1_000, default=list
    )
    remove = serializers.ListField(
        child=serializers.CharField(max_length=60), max_length=1_000, default=list
    )


class AttributesIn(StrictSerializer):
    """Attributes by name; null removes one."""

    values = Json()


class ActivityIn(StrictSerializer):
    """Something a person did. With an amount it is an order."""

    key = serializers.CharField(max_length=60)
    kind = serializers.CharField(max_length=60)
    person = serializers.CharField(max_length=60, help_text="Their handle.")
    at = UtcDateTime(required=False)
    asset = AssetCode(required=False)
    amount = Amount(required=False)


class ActivitiesIn(StrictSerializer):
    """At most a hundred at once: all are kept, or none."""

    activities = serializers.ListField(child=ActivityIn(), min_length=1, max_length=100)


class ProgramIn(StrictSerializer):
    """A tier program; levels from the lowest."""

    code = serializers.CharField(max_length=35)
    title = serializers.CharField(max_length=120)
    every = serializers.ChoiceField(["month", "year"], default="year")
    time_zone = serializers.CharField(max_length=60, default="UTC")
    levels = serializers.ListField(child=Json(), min_length=1, max_length=20)


class SimulationIn(StrictSerializer):
    """How to try a version out: on `history`, or on a made-up crowd."""

    crowd = serializers.ChoiceField(["history", "synthetic"], default="synthetic")
    people = serializers.IntegerField(min_value=1, max_value=20_000, default=1_000)
    runs = serializers.IntegerField(min_value=1, max_value=200, default=50)
    seed = serializers.IntegerField(min_value=0, max_value=1 << 31, default=1)
    days = serializers.IntegerField(min_value=1, max_value=366, default=30)


# -- out ---------------------------------------------------------------------------------


class BudgetOut(serializers.Serializer[Any]):
    """What was put into a budget, and what is left."""

    asset = AssetCode()
    funded = serializers.IntegerField()
    left = serializers.IntegerField()


class CampaignOut(serializers.Serializer[Any]):
    """A campaign as everybody may read it. `version` is the one that counts now."""

    code = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    state = serializers.ChoiceField(Campaign.State.choices)
    version = serializers.IntegerField(allow_null=True)
    starts_at = UtcDateTime(allow_null=True)
    ends_at = UtcDateTime(allow_null=True)
    effects = serializers.ListField(child=Json(), help_text="Empty where a test has arms.")
    odds = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()),
        help_text="Of each draw, the chance of each outcome.",
    )
    commitment = serializers.CharField(allow_null=True, help_text="SHA-256 of the draws' seed.")


class VersionOut(serializers.ModelSerializer[CampaignVersion]):
    """A version of a campaign."""

    campaign = serializers.CharField(source="campaign.code")
    terms = Json()
    starts_at = UtcDateTime()
    ends_at = UtcDateTime(allow_null=True)
    state = serializers.ChoiceField(CampaignVersion.State.choices)
    proposed_by = serializers.CharField(source="proposed_by.handle")
    decided_by = serializers.CharField(source="decided_by.handle", allow_null=True, default=None)
    decided_at = UtcDateTime(allow_null=True)

    class Meta:
        model = CampaignVersion
        fields = (
            "campaign", "number", "state", "terms", "starts_at", "ends_at", "commitment",
            "proposed_by", "decided_by", "decided_at", "note",
        )  # fmt: skip


class CheckedOut(serializers.Serializer[Any]):
    """Terms that hold together, as they would be kept."""

    state = serializers.CharField()
    terms = Json()


class PaymentOut(serializers.Serializer[Any]):
    """One thing that a claim gave; `to` is the person, or the referrer."""

    kind = serializers.CharField()
    asset = serializers.CharField()
    amount = serializers.IntegerField()
    to = serializers.ChoiceField(["person", "referrer"])
    transfer_id = serializers.CharField()
    expires_at = serializers.CharField(allow_null=True)


class DrawnOut(serializers.Serializer[Any]):
    """A draw: the number, and which outcome it meant."""

    number = serializers.CharField()
    outcome = serializers.IntegerField()
    title = serializers.CharField()


class ClaimOut(serializers.Serializer[Claim]):
    """What was granted. `draw_name` is what the draw was made of, beside the seed."""

    id = Id()
    campaign = serializers.CharField(source="campaign.code")
    version = serializers.IntegerField(source="version.number")
    at = UtcDateTime()
    state = serializers.ChoiceField(Claim.State.choices)
    variant = serializers.CharField()
    order = serializers.CharField(source="order_key")
    payments = serializers.SerializerMethodField()
    drawn = DrawnOut(many=True)
    draw_name = serializers.SerializerMethodField()
    reversed_at = UtcDateTime(allow_null=True)

    @extend_schema_field(PaymentOut(many=True))
    def get_payments(self, claim: Claim) -> Any:
        shown = ("kind", "asset", "amount", "transfer_id")
        return [
            {name: row[name] for name in shown}
            | {
                "to": "person" if row["person"] == str(claim.owner_id) else "referrer",
                "expires_at": row.get("expires_at"),
            }
            for row in claim.payments
        ]

    def get_draw_name(self, claim: Claim) -> str:
        return f"{claim.version_id}:{claim.owner_id}:{claim.request.hex}"


class TakenOut(serializers.Serializer[Any]):
    """What a reversal took back at once, and what the person owes."""

    asset = serializers.CharField()
    person = serializers.CharField()
    taken = serializers.IntegerField()
    owed = serializers.IntegerField()


class ReversedOut(serializers.Serializer[Any]):
    """A claim that was undone."""

    claim = ClaimOut()
    taken = TakenOut(many=True)


class MissOut(serializers.Serializer[Any]):
    """A leaf of the rule that decided."""

    pointer = serializers.CharField()
    leaf = serializers.CharField()
    detail = serializers.CharField()


class ProgressOut(serializers.Serializer[Any]):
    """How far a mission or a streak has come."""

    pointer = serializers.CharField()
    event = serializers.CharField()
    done = serializers.IntegerField()
    needed = serializers.IntegerField()


class AnswerOut(serializers.Serializer[Any]):
    """Whether a claim would be granted now, and if not, why."""

    campaign = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    qualifies = serializers.BooleanField()
    variant = serializers.CharField()
    code = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_null=True)
    misses = MissOut(many=True)
    progress = ProgressOut(many=True)


class AnswersOut(serializers.Serializer[Any]):
    """All live campaigns, each with its answer."""

    results = AnswerOut(many=True)


class SeedOut(serializers.Serializer[Any]):
    """What proves the draws of a version: the SHA-256 of `seed` is `commitment`."""

    commitment = serializers.CharField()
    seed = serializers.CharField()


class NameOut(serializers.ModelSerializer[FactName]):
    """A word that rules may use."""

    kind = serializers.ChoiceField(FactName.Kind.choices)
    type = serializers.ChoiceField(["", "text", "number", "flag"])

    class Meta:
        model = FactName
        fields = ("kind", "code", "title", "type")


class MembersOut(serializers.Serializer[Any]):
    """How many people came into a segment, and how many went."""

    added = serializers.IntegerField()
    removed = serializers.IntegerField()


class KeptOut(serializers.Serializer[Any]):
    """How many activities were new; the others had been reported before."""

    reported = serializers.IntegerField()
    repeated = serializers.IntegerField()


class TierOut(serializers.Serializer[Any]):
    """Where you stand in a program: earned, needed, and by when."""

    program = serializers.CharField()
    title = serializers.CharField()
    level = serializers.CharField(allow_null=True)
    earned = serializers.IntegerField()
    next_level = serializers.CharField(allow_null=True)
    needed_to_rise = serializers.IntegerField(allow_null=True)
    needed_to_keep = serializers.IntegerField()
    period_ends_at = UtcDateTime()
    keeps_until = UtcDateTime()


class TiersOut(serializers.Serializer[Any]):
    """Your standing in every program."""

    results = TierOut(many=True)


class ProgramOut(serializers.Serializer[Any]):
    """A tier program."""

    code = serializers.CharField()
    title = serializers.CharField()
    asset = serializers.CharField(source="asset.code")
    every = serializers.ChoiceField(["month", "year"])
    time_zone = serializers.CharField()
    levels = serializers.ListField(child=Json())


class SimulationOut(serializers.ModelSerializer[Simulation]):
    """A trial and, once it is done, its report."""

    id = Id()
    campaign = serializers.CharField(source="version.campaign.code")
    version = serializers.IntegerField(source="version.number")
    state = serializers.ChoiceField(Simulation.State.choices)
    parameters = Json()
    report = Json(allow_null=True)

    class Meta:
        model = Simulation
        fields = ("id", "campaign", "version", "state", "runs_done", "parameters", "report")


class ReportOut(serializers.Serializer[Any]):
    """What a campaign has done so far."""

    campaign = serializers.CharField()
    state = serializers.ChoiceField(Campaign.State.choices)
    budgets = BudgetOut(many=True)
    granted = serializers.IntegerField()
    reversed = serializers.IntegerField()
    people = serializers.IntegerField()
    refusals = Json(help_text="How often each reason refused a claim.")
    variants = serializers.ListField(child=Json())


class LiabilityOut(serializers.Serializer[Any]):
    """What is still owed of what each campaign granted in each month."""

    asset = serializers.CharField()
    as_of = UtcDateTime()
    wallets = serializers.IntegerField(help_text="What the ledger says that all wallets hold.")
    rows = serializers.ListField(child=Json())


class StoryOut(serializers.Serializer[Any]):
    """Everything that campaigns know and did of one person."""

    handle = serializers.CharField()
    segments = serializers.ListField(child=serializers.CharField())
    attributes = Json()
    tiers = TierOut(many=True)
    claims = ClaimOut(many=True)
    refusals = serializers.ListField(child=Json())
    activities = serializers.ListField(child=Json())
