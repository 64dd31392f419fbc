"""What may go wrong with campaigns, as people are told it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge.problems import Refusal
from rewards.campaigns.deciding import Refused
from rewards.campaigns.rules import Fault

MOST_FAULTS = 100
TEMPORARY = frozenset({"campaign_paused", "too_fast", "campaign_not_started"})


class CampaignUnknown(Refusal):
    """No campaign has this code, or it was never published."""

    code = "campaign_unknown"
    title = "There is no such campaign"
    status = 404


class CampaignExists(Refusal):
    """Codes name a campaign for ever."""

    code = "campaign_exists"
    title = "There is a campaign of this code already"
    status = 409


class CampaignStateDiffers(Refusal):
    """The deed does not fit the campaign's state: resuming what is not paused, and the like."""

    code = "campaign_state_differs"
    title = "The campaign's state does not allow this"
    status = 409


class VersionUnknown(Refusal):
    """The campaign has no version of this number."""

    code = "version_unknown"
    title = "There is no such version"
    status = 404


class VersionDecided(Refusal):
    """The version was published or rejected before."""

    code = "version_decided"
    title = "This version has been decided"
    status = 409


class OwnVersion(Refusal):
    """Four eyes: whoever wrote a version does not publish it."""

    code = "version_needs_another_person"
    title = "Somebody else must decide this version"
    status = 403


class VersionSuperseded(Refusal):
    """A later version is in force, so this one would never be."""

    code = "version_superseded"
    title = "A version that starts later is in force already"
    status = 409


class BudgetBelowSpent(Refusal):
    """The new budget is smaller than what was given already."""

    code = "budget_below_spent"
    title = "More than this budget was given already"
    status = 409


class SourceMissing(Refusal):
    """A budget of an asset that nobody can fund."""

    code = "budget_source_missing"
    title = "There is nothing to fund this budget from"
    status = 422


class TermsRefused(Refusal):
    """The terms do not hold together; `errors` says where and why."""

    code = "terms_invalid"
    title = "A campaign cannot have these terms"
    status = 422

    def __init__(self, faults: Iterable[Fault]) -> None:
        found = list(faults)
        errors = [
            {"pointer": f"#/terms{fault.path}", "code": fault.code, "detail": fault.says}
            for fault in found[:MOST_FAULTS]
        ]
        super().__init__(f"{len(found)} in all.", errors=errors)
        self.faults = found


class NameUnknown(Refusal):
    """No segment, attribute, activity or place has this name."""

    code = "name_unknown"
    title = "There is no such name"
    status = 422


class NameInvalid(Refusal):
    """The name, its kind or its type is not one that we can keep."""

    code = "name_invalid"
    title = "This cannot be a name"
    status = 422


class ValueInvalid(Refusal):
    """An attribute was given a value of another type."""

    code = "value_invalid"
    title = "The value does not fit the attribute"
    status = 422


class ActivityInvalid(Refusal):
    """An activity lies in the future, or is half an order."""

    code = "activity_invalid"
    title = "Such an activity cannot be"
    status = 422


class ActivityKeyReused(Refusal):
    """The key names another activity already."""

    code = "activity_key_reused"
    title = "This key was used for another activity"
    status = 422


class ProgramExists(Refusal):
    """A tier program has this code, or an asset of its name exists."""

    code = "program_exists"
    title = "There is a tier program of this code already"
    status = 409


class ProgramInvalid(Refusal):
    """The levels of a program do not hold together."""

    code = "program_invalid"
    title = "A tier program cannot be like this"
    status = 422


class AccountMerged(Refusal):
    """The account was merged into another one, which goes on for it."""

    code = "account_merged"
    title = "This account was merged with another one before"
    status = 409


class ClaimUnknown(Refusal):
    """No claim has this id, or it is somebody else's."""

    code = "claim_unknown"
    title = "There is no such claim"
    status = 404


class ClaimReversed(Refusal):
    """The claim was reversed before."""

    code = "claim_reversed"
    title = "This claim is reversed already"
    status = 409


class RewardSpent(Refusal):
    """A voucher unit that the claim gave is no longer held, so it cannot be taken back."""

    code = "reward_spent"
    title = "What the claim gave is not there any more"
    status = 409


class RewardTakenBack(Refusal):
    """A grant of the claim was taken back by itself, whole or in part, which happens once."""

    code = "reward_taken_back"
    title = "Finance has taken back something of this claim by itself, so it stands"
    status = 409


class ReasonMissing(Refusal):
    """Somebody will ask why; the answer is written down now."""

    code = "reason_missing"
    title = "This needs a reason"
    status = 422


class SeedSecret(Refusal):
    """The seed is shown once no draw can depend on it any more."""

    code = "seed_secret"
    title = "The seed is shown when the version is over"
    status = 409


class SimulationUnknown(Refusal):
    """No simulation has this id."""

    code = "simulation_unknown"
    title = "There is no such simulation"
    status = 404


class ClaimRefused(Refusal):
    """A claim was refused by a rule; `code` is the rule's."""

    title = "The claim was refused"
    status = 422


def claim_refused(refused: Refused) -> ClaimRefused:
    """Tell a decision's refusal as a problem, with every leaf that decided."""
    misses = [
        {"pointer": f"#{miss.path}", "leaf": miss.leaf, "detail": miss.says}
        for miss in refused.misses
    ]
    members: dict[str, Any] = {"misses": misses} if misses else {}
    return ClaimRefused(refused.says, code=refused.code, **members)
