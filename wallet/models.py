"""The ledger's tables. Rows are read freely and written through `wallet.door` alone.

Transfers, entries, holds and batches grow for ever: they are cut by month of their id
(`edge.ids`), and transfers, entries and batches refuse UPDATE and DELETE by trigger.
References are unique for ever across all months, so they have a table of their own.
`docs/decisions/0001-ledger-tables.md` says why.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import CompositePrimaryKey, F, Q

from edge.ids import first_id_at, time_of
from wallet.items import HoldState, Kind, Refusal, Status
from wallet.ownership_models import AssetRules

__all__ = [
    "Account",
    "AccountKind",
    "AccountQuerySet",
    "Asset",
    "AssetRules",
    "Batch",
    "Code",
    "Entry",
    "EntryQuerySet",
    "Hold",
    "Reference",
    "ReversalRequest",
    "Seal",
    "Transfer",
]


class Code(models.IntegerChoices):
    """What a transfer was for; finance sees the label."""

    ADJUSTMENT = 1, "adjustment"
    ISSUE = 2, "issue"
    GRANT = 3, "grant"
    PAYMENT = 4, "payment"
    ORDER_HOLD = 5, "order hold"
    TRADE_UNITS = 6, "trade units"
    TRADE_PRICE = 7, "trade price"
    TRADE_FEE = 8, "trade fee"
    REVEAL = 9, "reveal"
    EXPIRY = 10, "expiry"
    CLAWBACK = 11, "clawback"
    REPAYMENT = 12, "repayment"
    REVERSAL = 13, "reversal"
    DEPOSIT = 14, "deposit"
    WITHDRAWAL = 15, "withdrawal"
    CLAIM = 16, "claim"
    REDEMPTION = 17, "redemption"
    HOLD = 18, "hold"
    RELEASE = 19, "release"


class Asset(models.Model):
    """Anything countable: a currency in minor units, points, or the units of a voucher series."""

    class Kind(models.TextChoices):
        CURRENCY = "currency"
        POINTS = "points"
        SERIES = "series"

    id = models.AutoField(primary_key=True)
    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=Kind)
    scale = models.PositiveSmallIntegerField(default=0, help_text="Decimal places of the unit.")
    expires = models.BooleanField(default=False, help_text="Grants of it may lapse (points).")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[A-Z][A-Z0-9_.-]{1,39}$"), name="wallet_asset_code"
            ),
            models.CheckConstraint(condition=Q(scale__lte=8), name="wallet_asset_scale"),
        ]

    def __str__(self) -> str:
        return self.code


class AccountKind(models.Model):
    """A purpose that accounts serve, and the limits that accounts of it are opened with."""

    class Side(models.TextChoices):
        """Where the account stands in the books (beancount's and hledger's five roots)."""

        ASSETS = "Assets"
        LIABILITIES = "Liabilities"
        EQUITY = "Equity"
        INCOME = "Income"
        EXPENSES = "Expenses"

    code = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=80)
    side = models.CharField(max_length=12, choices=Side)
    is_owned = models.BooleanField(default=False, help_text="Belongs to a person.")
    floor = models.BigIntegerField(null=True, blank=True, help_text="Least available balance.")
    ceiling = models.BigIntegerField(null=True, blank=True, help_text="Greatest balance.")
    largest_debit = models.BigIntegerField(null=True, blank=True, help_text="Per transfer.")

    def __str__(self) -> str:
        return self.name


class AccountQuerySet(models.QuerySet["Account"]):
    """Reads of accounts."""

    def of(self, owner_id: int) -> AccountQuerySet:
        """The accounts of one person, each with its asset."""
        return self.filter(owner_id=owner_id).select_related("asset", "kind")


class Account(models.Model):
    """Holds one asset for one owner and one purpose. The door alone changes its amounts."""

    # The unique constraint below is the only index these need: it starts with the owner.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="ledger_accounts",
    )
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, db_index=False)
    kind = models.ForeignKey(AccountKind, on_delete=models.PROTECT, db_index=False)
    label = models.CharField(max_length=60, blank=True, default="")
    balance = models.BigIntegerField(default=0, help_text="Posted credits less posted debits.")
    held = models.BigIntegerField(default=0, help_text="Set aside by open holds.")
    incoming = models.BigIntegerField(default=0, help_text="Promised by open holds of others.")
    floor = models.BigIntegerField(null=True, blank=True)
    ceiling = models.BigIntegerField(null=True, blank=True)
    largest_debit = models.BigIntegerField(null=True, blank=True)
    status = models.SmallIntegerField(
        default=Status.OPEN.value, choices=[(s.value, s.name.lower()) for s in Status]
    )
    entry_count = models.BigIntegerField(default=0)
    last_transfer_id = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AccountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "asset", "kind", "label"],
                nulls_distinct=False,
                name="wallet_account_purpose",
            ),
            models.CheckConstraint(
                condition=Q(held__gte=0) & Q(incoming__gte=0), name="wallet_account_holds"
            ),
            models.CheckConstraint(
                condition=Q(floor__isnull=True) | Q(balance__gte=F("floor") + F("held")),
                name="wallet_account_floor",
            ),
            models.CheckConstraint(
                condition=Q(ceiling__isnull=True) | Q(balance__lte=F("ceiling") - F("incoming")),
                name="wallet_account_ceiling",
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.CLOSED.value) | Q(balance=0, held=0, incoming=0),
                name="wallet_account_closed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind_id} {self.asset_id} #{self.pk}"

    @property
    def available(self) -> int:
        """What can be spent now, in minor units."""
        return self.balance - self.held


class Transfer(models.Model):
    """A movement, a hold, a post or a void, once decided: an immutable fact."""

    id = models.BigIntegerField(primary_key=True)
    kind = models.SmallIntegerField(choices=[(k.value, k.name.lower()) for k in Kind])
    code = models.SmallIntegerField(choices=Code)
    asset_id = models.IntegerField()
    debit_account_id = models.BigIntegerField()
    credit_account_id = models.BigIntegerField(null=True)
    amount = models.BigIntegerField()
    hold_id = models.BigIntegerField(null=True)
    reverses_id = models.BigIntegerField(null=True)
    effective_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    reference = models.CharField(max_length=100, blank=True)
    memo = models.CharField(max_length=200, blank=True)
    released = models.BigIntegerField(null=True, help_text="Rest of the hold that a post freed.")

    @property
    def at(self) -> datetime:
        """When it was written, to 64 µs."""
        return time_of(self.id)


class EntryQuerySet(models.QuerySet["Entry"]):
    """Reads of entries: each is one range of the primary key (account, transfer)."""

    def before(self, moment: datetime) -> EntryQuerySet:
        """The entries written before `moment`."""
        return self.filter(transfer_id__lt=first_id_at(moment))


class Entry(models.Model):
    """One side of a transfer on one account, with the account's balance after it."""

    pk = CompositePrimaryKey("account_id", "transfer_id")
    account_id = models.BigIntegerField()
    transfer_id = models.BigIntegerField()
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField()
    effective_at = models.DateTimeField(null=True)

    objects = EntryQuerySet.as_manager()

    @property
    def at(self) -> datetime:
        """When it was written, to 64 µs."""
        return time_of(self.transfer_id)


class Hold(models.Model):
    """Money set aside by a hold transfer of the same id, and what still remains of it."""

    id = models.BigIntegerField(primary_key=True)
    account_id = models.BigIntegerField()
    credit_account_id = models.BigIntegerField(null=True)
    asset_id = models.IntegerField()
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    state = models.SmallIntegerField(choices=[(s.value, s.name.lower()) for s in HoldState])
    expires_at = models.DateTimeField(null=True)


class Batch(models.Model):
    """One commit through the door: what the hash chain seals and event readers follow."""

    pk = CompositePrimaryKey("xid", "id")
    xid = models.BigIntegerField()
    id = models.BigIntegerField()
    transfer_count = models.IntegerField()


class Reference(models.Model):
    """A caller's reference, used up for ever: what it made, or why it was refused."""

    digest = models.UUIDField(primary_key=True)
    transfer_id = models.BigIntegerField()
    fingerprint = models.BigIntegerField()
    refusal = models.SmallIntegerField()


class Seal(models.Model):
    """A link of the hash chain: nothing it covers can change without being seen."""

    number = models.BigIntegerField(primary_key=True)
    from_xid = models.BigIntegerField()
    horizon = models.BigIntegerField(help_text="The first transaction id not covered.")
    batch_count = models.BigIntegerField()
    transfer_count = models.BigIntegerField()
    entry_count = models.BigIntegerField()
    digest = models.BinaryField(help_text="SHA-256 of the one before and the rows.")
    sealed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(number__gte=1), name="wallet_seal_number"),
            models.CheckConstraint(
                condition=Q(horizon__gt=F("from_xid")), name="wallet_seal_window"
            ),
        ]

    def __str__(self) -> str:
        return f"seal {self.number}"


class ReversalRequest(models.Model):
    """Somebody asks that a transfer be undone; somebody else approves it, or does not."""

    class State(models.IntegerChoices):
        OPEN = 0, "open"
        APPROVED = 1, "approved"
        REJECTED = 2, "rejected"

    transfer_id = models.BigIntegerField(help_text="The transfer to undo.")
    reason = models.CharField(max_length=500)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    requested_at = models.DateTimeField(auto_now_add=True)
    state = models.SmallIntegerField(choices=State, default=State.OPEN)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        db_index=False,
        null=True,
        related_name="+",
    )
    decided_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True, help_text="Why it was rejected.")
    reversal_id = models.BigIntegerField(null=True, help_text="The transfer that undid it.")
    last_refusal = models.SmallIntegerField(
        null=True, help_text="Why the last approval moved nothing: a Refusal."
    )

    class Meta:
        permissions = [
            ("freeze_account", "May freeze, unfreeze and close accounts and change limits"),
            ("reverse_transfer", "May ask for reversals and decide those that others ask for"),
            ("export_ledger", "May export the books"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | ~Q(requested_by=F("decided_by")),
                name="wallet_reversal_four_eyes",
            ),
            models.CheckConstraint(
                condition=Q(state=0, decided_by__isnull=True, decided_at__isnull=True)
                | Q(state__in=(1, 2), decided_by__isnull=False, decided_at__isnull=False),
                name="wallet_reversal_decided",
            ),
            models.CheckConstraint(
                condition=Q(state=1, reversal_id__isnull=False)
                | (~Q(state=1) & Q(reversal_id__isnull=True)),
                name="wallet_reversal_posted",
            ),
            models.UniqueConstraint(
                fields=["transfer_id"],
                condition=Q(state__in=(0, 1)),
                name="wallet_reversal_once",
            ),
        ]

    def __str__(self) -> str:
        return f"reversal of {self.transfer_id}"

    @property
    def refusal(self) -> Refusal | None:
        """Why the last approval moved nothing, if it did not."""
        return None if self.last_refusal is None else Refusal(self.last_refusal)
