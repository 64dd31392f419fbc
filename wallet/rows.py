"""Ledger rows packed as `edge.journey` sends them: one compiled struct a row, where it can be."""

from __future__ import annotations

from struct import Struct

from edge.journey import NO_TEXT, NULL_INT8, NULL_TIMESTAMP, int8, row, text, timestamp
from wallet.ledger import Account, EntryRow, HeldFunds, TransferRow
from wallet.references import ReferenceRow

_TRANSFER = Struct("!i iiq iih iih iii iiq iiq").pack
# The rest of a row that reverses nothing, carries no dates, and has neither reference nor memo.
_PLAIN_TAIL = NULL_INT8 + NULL_TIMESTAMP * 2 + NO_TEXT * 2 + NULL_INT8
_TAIL = f"{len(_PLAIN_TAIL)}s"
_PLAIN = Struct("!ii iiq iih iih iii iiq iiq" + "iiq iiq" + _TAIL)
_PLAIN_HOLD = Struct("!ii iiq iih iih iii iiq iiq" + "ii ii" + _TAIL)
_PLAIN_VOID = Struct("!ii iiq iih iih iii iiq iiq" + "ii iiq" + _TAIL)
_PLAIN_MOVE = Struct("!ii iiq iih iih iii iiq iiq" + "iiq ii" + _TAIL)
_ENTRY = Struct("!ii iiq iiq iiq iiq ii").pack
_ENTRY_BODY = Struct("!i iiq iiq iiq iiq").pack
_HOLD = Struct("!i iiq iiq iii iiq iiq iih").pack
_PLAIN_ORDER_HOLD = Struct("!ii iiq iiq iii iiq iiq iih ii ii")
_REFERENCE = Struct("!ii ii16s iiq iiq iih").pack
_ACCOUNT = Struct("!ii iiq iiq iiq iiq iiq iiq").pack
_ENTRY_BYTES = 4 + 4 * 16 + 8
_REFERENCE_BYTES = 4 + 24 + 16 + 16 + 10
_ACCOUNT_BYTES = 4 + 6 * 16
_NOBODY = (20, -1, 20, -1)
_NOTHING_BESIDE = (None, None, None, "", "", None)


def transfer_row(transfer: TransferRow) -> bytes:
    """Pack a `wallet_transfer_row`. Most have nothing beside: one struct packs them."""
    id, kind, code, asset_id, debit_id, credit_id, amount, hold_id = transfer[:8]
    if transfer[8:] == _NOTHING_BESIDE:
        named: tuple[int | None, ...] = (20, 8, credit_id, 20, 8, hold_id)
        plain = _PLAIN
        if credit_id is None:
            plain, named = _PLAIN_VOID, (20, -1, 20, 8, hold_id)
            if hold_id is None:
                plain, named = _PLAIN_HOLD, _NOBODY
        elif hold_id is None:
            plain, named = _PLAIN_MOVE, (20, 8, credit_id, 20, -1)
        return plain.pack(
            plain.size - 4, 14, 20, 8, id, 21, 2, kind, 21, 2, code, 23, 4, asset_id,
            20, 8, debit_id, 20, 8, amount, *named, _PLAIN_TAIL,
        )  # fmt: skip
    head = _TRANSFER(
        14, 20, 8, id, 21, 2, kind, 21, 2, code, 23, 4, asset_id, 20, 8, debit_id, 20, 8, amount
    )
    return row(
        head + int8(credit_id) + int8(hold_id) + int8(transfer.reverses_id)
        + timestamp(transfer.effective_at) + timestamp(transfer.expires_at)
        + text(transfer.reference) + text(transfer.memo) + int8(transfer.released)
    )  # fmt: skip


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
    if hold.credit_account_id is None and hold.expires_at is None:
        return _PLAIN_ORDER_HOLD.pack(
            _PLAIN_ORDER_HOLD.size - 4, 8, 20, 8, hold.id, 20, 8, hold.account_id,
            23, 4, hold.asset_id, 20, 8, hold.amount, 20, 8, hold.remaining, 21, 2, hold.state,
            20, -1, 1184, -1,
        )  # fmt: skip
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
