"""What is refused about guarantees and disputes."""

from __future__ import annotations

from edge.problems import Refusal
from rewards.disputes.rules import TITLES, Fault

STATUSES = {
    Fault.NO_GUARANTEE: 404,
    Fault.TOO_MANY_REJECTED: 403,
    Fault.TOO_MANY_OPEN: 429,
    Fault.TOO_MANY_TODAY: 429,
}


class DisputeRefused(Refusal):
    """The code cannot be disputed; the code of the problem says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(code=fault.value, title=TITLES[fault], status=STATUSES.get(fault, 409))
        self.fault = fault


class EvidenceMissing(Refusal):
    """Whoever is asked for money must be able to check what happened."""

    code = "evidence_missing"
    title = "Say what happened: where, when, and what you were told"
    status = 422


class DisputeUnknown(Refusal):
    """No dispute that this person may see has this id."""

    code = "dispute_unknown"
    title = "There is no such dispute"
    status = 404


class DisputeMovedOn(Refusal):
    """The dispute has ended, or is not at the point where this can be done."""

    code = "dispute_moved_on"
    title = "The dispute is not at that point"
    status = 409


class OwnDispute(Refusal):
    """Nobody decides on their own money."""

    code = "dispute_is_your_own"
    title = "Somebody who is not part of the dispute must decide it"
    status = 403


class AnotherMustAgree(Refusal):
    """Four eyes: whoever proposed a decision may not be the second to agree."""

    code = "dispute_needs_another_person"
    title = "Somebody else must agree to this decision"
    status = 403


class GuaranteeInvalid(Refusal):
    """The promise does not hold together; the detail says why."""

    code = "guarantee_invalid"
    title = "A series cannot have this guarantee"
    status = 422


class GuaranteeFixed(Refusal):
    """What was promised with the first codes stays."""

    code = "guarantee_fixed"
    title = "A guarantee is given before the first codes, once"
    status = 409


class GuaranteeNotCovered(Refusal):
    """The issuer has less money with us than the new codes need behind them."""

    code = "guarantee_not_covered"
    title = "The issuer's wallet does not cover the guarantee of so many codes"
    status = 422


class GuaranteeClosed(Refusal):
    """The guarantee of this series has ended: it takes no codes any more."""

    code = "guarantee_closed"
    title = "The guarantee of this series has ended"
    status = 409


class CodesStillLeft(Refusal):
    """Codes that can still be given are covered; the guarantee ends after them."""

    code = "guarantee_still_needed"
    title = "Codes of the series can still be given"
    status = 409
