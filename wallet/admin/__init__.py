"""The back office of the ledger: finance reads, freezes, reverses, exports; none edits money."""

from wallet.admin.accounts import AccountAdmin
from wallet.admin.catalog import AccountKindAdmin, AssetAdmin
from wallet.admin.reversals import ReversalRequestAdmin
from wallet.admin.transfers import TransferAdmin

__all__ = [
    "AccountAdmin",
    "AccountKindAdmin",
    "AssetAdmin",
    "ReversalRequestAdmin",
    "TransferAdmin",
]
