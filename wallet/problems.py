"""How the ledger's refusals are told to a caller: one table from name to status and title.

The stable code of a refusal is its name in small letters: `insufficient_funds`. 404 means
"not there, or not yours", 409 "its state does not allow it now", 422 "understood, and
refused by a rule". Pure.
"""

from __future__ import annotations

from typing import Any

from edge.problems import Refusal as Problem
from wallet.items import LARGEST_AMOUNT, LONGEST_MEMO, LONGEST_REFERENCE, Refusal

TABLE: dict[Refusal, tuple[int, str]] = {
    Refusal.REFERENCE_INVALID: (422, f"A reference has 1 to {LONGEST_REFERENCE} characters"),
    Refusal.MEMO_INVALID: (422, f"A memo has at most {LONGEST_MEMO} characters"),
    Refusal.AMOUNT_NOT_POSITIVE: (422, "An amount is at least 1"),
    Refusal.AMOUNT_TOO_LARGE: (422, f"An amount is at most {LARGEST_AMOUNT}"),
    Refusal.ACCOUNTS_SAME: (422, "The payer is the receiver"),
    Refusal.CHAIN_OPEN: (422, "The last item is linked to nothing"),
    Refusal.REFERENCE_REUSED: (422, "The reference was used for something else"),
    Refusal.EFFECTIVE_IN_FUTURE: (422, "The effective date lies in the future"),
    Refusal.EXPIRY_IN_PAST: (422, "The expiry lies in the past"),
    Refusal.HOLD_UNKNOWN: (404, "There is no such hold"),
    Refusal.DEBIT_ACCOUNT_UNKNOWN: (404, "There is no such account to pay from"),
    Refusal.CREDIT_ACCOUNT_UNKNOWN: (404, "There is no such account to pay to"),
    Refusal.ASSET_MISMATCH: (422, "The accounts do not hold this asset"),
    Refusal.CREDIT_ACCOUNT_MISSING: (422, "Nobody is named to receive"),
    Refusal.CREDIT_ACCOUNT_DIFFERS: (422, "The hold is for another receiver"),
    Refusal.HOLD_ALREADY_POSTED: (409, "The hold has been paid out"),
    Refusal.HOLD_ALREADY_VOIDED: (409, "The hold has been released"),
    Refusal.HOLD_EXPIRED: (409, "The hold has lapsed"),
    Refusal.AMOUNT_EXCEEDS_HOLD: (422, "The hold does not cover the amount"),
    Refusal.DEBIT_ACCOUNT_CLOSED: (409, "The account to pay from is closed"),
    Refusal.CREDIT_ACCOUNT_CLOSED: (409, "The account to pay to is closed"),
    Refusal.DEBIT_ACCOUNT_FROZEN: (409, "The account to pay from is frozen"),
    Refusal.AMOUNT_EXCEEDS_LIMIT: (422, "The account may not pay so much at once"),
    Refusal.INSUFFICIENT_FUNDS: (422, "There are not enough funds"),
    Refusal.CEILING_EXCEEDED: (422, "The account to pay to may not hold so much"),
    Refusal.BALANCE_OVERFLOW: (422, "The balance would leave the range of the ledger"),
    Refusal.CHAIN_REFUSED: (409, "Another item of the chain was refused"),
}


class LedgerRefusal(Problem):
    """The ledger said no; `reason` is its name for why."""

    def __init__(self, reason: Refusal, detail: str = "", **members: Any) -> None:
        status, title = TABLE[reason]
        super().__init__(detail, code=reason.name.lower(), title=title, status=status, **members)
        self.reason = reason
