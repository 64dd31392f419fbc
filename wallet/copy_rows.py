"""Ledger rows packed for PostgreSQL's binary COPY (`edge.postgres` says how)."""

from __future__ import annotations

from struct import Struct

from edge.postgres import NULL, int64_field, text_field, timestamp_field, timestamp_microseconds
from wallet.ledger import EntryRow, HeldFunds, TransferRow
from wallet.references import ReferenceRow

# field count, then (length, value) for each field that is never NULL
_TRANSFER = Struct("!h iq ih ih ii iq iq").pack
_ENTRY = Struct("!h iq iq iq iq i").pack
_ENTRY_DATED = Struct("!h iq iq iq iq iq").pack
_HOLD = Struct("!h iq iq ii iq iq ih").pack
_REFERENCE = Struct("!h i16s iq iq ih").pack
# Most transfers reverse nothing, carry no dates, and have neither reference nor memo.
_NO_DATES = (None, None, None)
_NO_DATE_BYTES = NULL * 3
_NO_WORDS = ("", "", None)
_NO_WORD_BYTES = text_field("") * 2 + NULL


def transfer_bytes(row: TransferRow) -> bytes:
    """Pack one row of `wallet_transfer`, in the order of the COPY statement."""
    head = _TRANSFER(
        14, 8, row[0], 2, row[1], 2, row[2], 4, row[3], 8, row[4], 8, row[6]
    )  # fmt: skip
    dates, words = _NO_DATE_BYTES, _NO_WORD_BYTES
    if row[8:11] != _NO_DATES:
        dates = int64_field(row[8]) + timestamp_field(row[9]) + timestamp_field(row[10])
    if row[11:14] != _NO_WORDS:
        words = text_field(row[11]) + text_field(row[12]) + int64_field(row[13])
    return head + int64_field(row[5]) + int64_field(row[7]) + dates + words


def entry_bytes(row: EntryRow) -> bytes:
    """Pack one row of `wallet_entry`."""
    if row[4] is None:
        return _ENTRY(5, 8, row[0], 8, row[1], 8, row[2], 8, row[3], -1)
    return _ENTRY_DATED(
        5, 8, row[0], 8, row[1], 8, row[2], 8, row[3], 8, timestamp_microseconds(row[4])
    )  # fmt: skip


def hold_bytes(hold: HeldFunds) -> bytes:
    """Pack one new row of `wallet_hold`."""
    head = _HOLD(
        8, 8, hold.id, 8, hold.account_id, 4, hold.asset_id, 8, hold.amount,
        8, hold.remaining, 2, hold.state,
    )  # fmt: skip
    return head + int64_field(hold.credit_account_id) + timestamp_field(hold.expires_at)


def reference_bytes(row: ReferenceRow) -> bytes:
    """Pack one row of `wallet_reference`."""
    return _REFERENCE(4, 16, row[0], 8, row[1], 8, row[2], 2, row[3])
