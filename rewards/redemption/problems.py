"""Why a redemption is refused, each with its stable code."""

from __future__ import annotations

from edge.problems import RateLimited, Refusal
from rewards.codes import CodeProblem
from rewards.redemption import rules
from rewards.redemption.rules import Reason

NOW_REFUSED = frozenset({Reason.CUSTOMER_MISSING, Reason.ORDER_MISSING, Reason.AMOUNT_MISSING,
                         Reason.AMOUNT_NOT_TAKEN, Reason.BALANCE_TOO_SMALL,
                         Reason.ANOTHERS, Reason.PERSON_LIMIT})  # fmt: skip


class PartnerUnknown(Refusal):
    """The caller redeems for nobody, or not for the partner they name."""

    code = "not_a_partner"
    title = "You do not redeem for any partner of this name"
    status = 403


class PartnerAmbiguous(Refusal):
    """The caller works for several partners and must say for which this is."""

    code = "partner_missing"
    title = "Say for which partner this is"
    status = 422


class CodeUnknown(Refusal):
    """No voucher of this partner's has this code. It may be another's: nobody learns of that."""

    code = "code_unknown"
    title = "There is no such code"
    status = 404


class CodeMistyped(Refusal):
    """The code was misread or mistyped; it was never made."""

    status = 422

    def __init__(self, problem: str) -> None:
        super().__init__(code=str(problem), title=MISTYPED[problem])


MISTYPED: dict[str, str] = {
    CodeProblem.MISSING: "Type the code",
    CodeProblem.TOO_SHORT: "The code is too short",
    CodeProblem.TOO_LONG: "The code is too long",
    CodeProblem.CHARACTERS: "The code has a character that no code has",
    CodeProblem.DELIMITER: "The code has a character that no code has",
    CodeProblem.PATTERN: "No code looks like this",
    CodeProblem.CHECK_WRONG: "The code was mistyped: its check character does not agree",
    "code_case_differs": "There is a code like this with other capitals: read it again",
    "code_looks_like": "There is a code that looks like this: read O and 0, I and 1 again",
}


class CodeAmbiguous(Refusal):
    """Two series of the partner have this code."""

    code = "code_ambiguous"
    title = "Two series have this code: say which is meant"
    status = 409


class TooManyGuesses(RateLimited):
    """Too many codes that do not exist were tried."""

    code = "too_many_guesses"
    title = "Too many codes were tried that do not exist"


class VoucherRefused(Refusal):
    """The voucher cannot be used now; `reasons` lists everything against it."""

    def __init__(self, reasons: list[Reason]) -> None:
        first = reasons[0]
        super().__init__(
            code=str(first),
            title=rules.TITLES[first],
            status=422 if first in NOW_REFUSED else 409,
            reasons=[{"code": str(each), "title": rules.TITLES[each]} for each in reasons],
        )


class RedemptionUnknown(Refusal):
    """No redemption of this partner has this id."""

    code = "redemption_unknown"
    title = "There is no such redemption"
    status = 404


class RedemptionMovedOn(Refusal):
    """The redemption is in no state for this; `state` says in which."""

    code = "redemption_moved_on"
    title = "The redemption can do that no more"
    status = 409


class ReservationLapsed(Refusal):
    """It was reserved until a moment that has passed; the voucher is free again."""

    code = "reservation_lapsed"
    title = "The reservation has lapsed"
    status = 409


class ReservationTooLong(Refusal):
    """A reservation keeps a voucher from its owner, so it ends soon."""

    code = "reservation_too_long"
    title = f"A reservation lasts 1 second to {rules.LONGEST_RESERVATION.days * 24} hours"
    status = 422


class ReversalTooLate(Refusal):
    """A partner reverses within a month; after that an operator does."""

    code = "reversal_too_late"
    title = "A partner can reverse a redemption for 31 days"
    status = 409


class NotGeneric(Refusal):
    """A gift balance belongs to one code."""

    code = "kind_not_generic"
    title = "A gift balance cannot have one code for many people"
    status = 422


class GenericExists(Refusal):
    """The series has this generic code."""

    code = "generic_code_exists"
    title = "The series has this code already"
    status = 409


class GenericInvalid(Refusal):
    """The code or its limits do not hold together; the detail says which."""

    code = "generic_code_invalid"
    title = "A generic code cannot be like this"
    status = 422


class NotRedeemedHere(Refusal):
    """The issuer redeems these codes at its own tills; we hear nothing of it."""

    code = "not_redeemed_here"
    title = "Codes of this series are not redeemed here"
    status = 409
