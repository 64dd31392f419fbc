"""What an export is asked for: which time, which asset, which account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from edge.ids import EPOCH, LARGEST_ID, first_id_at, time_of
from edge.problems import Refusal
from wallet.models import Account, Asset

LATEST = time_of(LARGEST_ID)


class ExportRefused(Refusal):
    """The export was asked for something that does not exist or does not fit together."""

    code = "export_refused"
    title = "The export cannot be made as asked"
    status = 422


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The slice of the ledger that an export covers: from `start` until just before `end`.

    Both moments know their time zone; without `start` the slice reaches back to the first
    transfer. A report "as of" a date has that date as its `end`. `by_effective_date` counts
    a transfer on the date that it was given, where it was given one; otherwise all count
    when they were written. `by_account` lists accounts one by one where a report would
    otherwise add them up by kind.
    """

    end: datetime
    start: datetime | None = None
    asset_id: int | None = None
    account_id: int | None = None
    by_effective_date: bool = False
    by_account: bool = False

    @property
    def first_id(self) -> int:
        """The smallest id a transfer written in the slice can have."""
        return 0 if self.start is None else first_id_at(self.start)

    @property
    def end_id(self) -> int:
        """The smallest id a transfer written after the slice can have."""
        return first_id_at(self.end)

    @property
    def begins(self) -> datetime:
        """When the slice starts: never before the first moment that an id can name."""
        return EPOCH if self.start is None else self.start.astimezone(UTC)

    @property
    def dates(self) -> str:
        """The slice in a file's name: its two dates, or the one it is as of."""
        until = f"{self.end.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        return until if self.start is None else f"{self.begins:%Y%m%dT%H%M%SZ}-{until}"


def check(scope: Scope) -> None:
    """Refuse a slice that is empty by its own dates, or names what does not exist."""
    for moment in (scope.start, scope.end):
        if moment is not None and moment.tzinfo is None:
            raise ExportRefused("A moment needs its time zone.", code="export_zone_missing")
    if scope.begins >= scope.end:
        raise ExportRefused("The period ends before it starts.", code="export_period_empty")
    if not EPOCH <= scope.begins < scope.end <= LATEST:
        raise ExportRefused(
            f"The ledger knows the years {EPOCH.year} to {LATEST.year}.", code="export_out_of_range"
        )
    if scope.asset_id is not None and not Asset.objects.filter(pk=scope.asset_id).exists():
        raise ExportRefused("There is no such asset.", code="asset_unknown", status=404)
    if scope.account_id is not None and not Account.objects.filter(pk=scope.account_id).exists():
        raise ExportRefused("There is no such account.", code="account_unknown", status=404)
