"""Ledger rows packed as `edge.journey` sends them: one compiled struct a row, where it can be."""

from __future__ import annotations

from struct import Struct

from edge.journey import NO_TEXT, NULL_INT8, NULL_TIMESTAMP, int8, row, text, timestamp
from wallet.ledger import Account, EntryRow, HeldFunds, TransferRow
from wallet.references import ReferenceRow

_TRANSFER = Struct("!i iiq iih iih iii iiq iiq").pack
_ENTRY = Struct("!ii iiq iiq iiq iiq ii").pack
_ENTRY_BODY = Struct("!i iiq iiq iiq iiq").pack
_HOLD = Struct("!i iiq iiq iii iiq iiq iih").pack
_REFERENCE = Struct("!ii ii16s iiq iiq iih").pack
_ACCOUNT = Struct("!ii iiq iiq iiq iiq iiq iiq").pack
_ENTRY_BYTES = 4 + 4 * 16 + 8
_REFERENCE_BYTES = 4 + 24 + 16 + 16 + 10
_ACCOUNT_BYTES = 4 + 6 * 16
# Most transfers reverse nothing, carry no dates, and have neither reference nor memo.
_NO_DATES = (None, None, None)
_NO_DATE_BYTES = NULL_INT8 + NULL_TIMESTAMP * 2
_NO_WORDS = ("", "", None)
_NO_WORD_BYTES = NO_TEXT * 2 + NULL_INT8


def transfer_row(transfer: TransferRow) -> bytes:
    """Pack a `wallet_transfer_row`."""
    head = _TRANSFER(
        14, 20, 8, transfer[0], 21, 2, transfer[1], 21, 2, transfer[2], 23, 4, transfer[3],
        20, 8, transfer[4], 20, 8, transfer[6],
    )  # fmt: skip
    dates, words = _NO_DATE_BYTES, _NO_WORD_BYTES
    if transfer[8:11] != _NO_DATES:
        dates = int8(transfer[8]) + timestamp(transfer[9]) + timestamp(transfer[10])
    if transfer[11:14] != _NO_WORDS:
        words = text(transfer[11]) + text(transfer[12]) + int8(transfer[13])
    return row(head + int8(transfer[5]) + int8(transfer[7]) + dates + words)


def entry_row(entry: EntryRow) -> bytes:
    """Pack a `wallet_entry_row`."""
    account_id, transfer_id, amount, balance_after, effective_at = entry
    if effective_at is None:
        return _ENTRY(
            _ENTRY_BYTES, 5, 20, 8, account_id, 20, 8, transfer_id, 20, 8, amount,
            20, 8, balance_after, 1184, -1,
        )  # fmt: skip
    body = _ENTRY_BODY(
        5, 20, 8, account_id, 20, 8, transfer_id, 20, 8, amount, 20, 8, balance_after
    )
    return row(body + timestamp(effective_at))


def hold_row(hold: HeldFunds) -> bytes:
    """Pack a `wallet_hold_row`."""
    head = _HOLD(
        8, 20, 8, hold.id, 20, 8, hold.account_id, 23, 4, hold.asset_id, 20, 8, hold.amount,
        20, 8, hold.remaining, 21, 2, hold.state,
    )  # fmt: skip
    return row(head + int8(hold.credit_account_id) + timestamp(hold.expires_at))


def reference_row(used: ReferenceRow) -> bytes:
    """Pack a `wallet_reference_row`."""
    return _REFERENCE(
        _REFERENCE_BYTES, 4, 2950, 16, used[0], 20, 8, used[1], 20, 8, used[2], 21, 2, used[3]
    )


def account_row(account: Account) -> bytes:
    """Pack a `wallet_account_state`: what a batch changes of an account."""
    return _ACCOUNT(
        _ACCOUNT_BYTES, 6, 20, 8, account.id, 20, 8, account.balance, 20, 8, account.held,
        20, 8, account.incoming, 20, 8, account.entry_count, 20, 8, account.last_transfer_id,
    )  # fmt: skip
