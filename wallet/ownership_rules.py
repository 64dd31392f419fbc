"""Who may own units of an asset, and which of them may be passed on. Pure.

Vouchers are not like money: a promotion's gift must not be sold, what was bought a minute ago
may be held back for some days (a stolen card shows itself by then), and an issuer may serve
one country only. Most assets have no such rules, and then nothing here is asked.

Units are alike, so a person's units have no birthdays. The oldest are taken to leave first:
what was received within the holding period is what would still be there after everything
older was passed on.

    free = balance - held - received within the period        (never below 0)
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

LONGEST_HOLDING_S = 366 * 86_400
MOST_REGIONS = 300
REGION_PATTERN = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
"""ISO 3166: a country (`DE`), or a part of one (`DE-BY`)."""


class Barred(StrEnum):
    """Why an asset's own rules forbid something; the values are stable, clients compare them."""

    NOT_TRANSFERABLE = "not_transferable"
    TRADING_ENDED = "trading_ended"
    UNITS_TOO_YOUNG = "units_too_young"
    REGION_UNKNOWN = "region_unknown"
    REGION_NOT_ALLOWED = "region_not_allowed"


TITLES: dict[Barred, str] = {
    Barred.NOT_TRANSFERABLE: "These units stay with whoever got them",
    Barred.TRADING_ENDED: "These vouchers expire too soon to be traded",
    Barred.UNITS_TOO_YOUNG: "These units were received too recently to be passed on",
    Barred.REGION_UNKNOWN: "These units are for people of certain regions; yours is not known",
    Barred.REGION_NOT_ALLOWED: "These units are not for people of this region",
}
STATUSES: dict[Barred, int] = {
    Barred.NOT_TRANSFERABLE: 403,
    Barred.TRADING_ENDED: 409,
    Barred.UNITS_TOO_YOUNG: 409,
    Barred.REGION_UNKNOWN: 403,
    Barred.REGION_NOT_ALLOWED: 403,
}


class Ownership(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one asset. No regions: everybody may own it.

    `expires_s` is when its units expire (seconds since 1970; 0: never), and trading in them
    ends `stops_before_s` earlier.
    """

    is_transferable: bool = True
    holding_s: int = 0
    regions: frozenset[str] = frozenset()
    expires_s: int = 0
    stops_before_s: int = 0

    @property
    def binds(self) -> bool:
        """Say whether any rule could ever refuse somebody to pass units on or to get them."""
        return not self.is_transferable or self.holding_s > 0 or bool(self.regions)


FREE = Ownership()
"""The rules of an asset that has none."""


def region_fault(rules: Ownership, region: str) -> Barred | None:
    """Say why somebody may not get units. `region` is "" when it is not known: that is a no."""
    if not rules.regions:
        return None
    if not region:
        return Barred.REGION_UNKNOWN
    country, _, _ = region.partition("-")
    if region in rules.regions or country in rules.regions:
        return None
    return Barred.REGION_NOT_ALLOWED


def free_units(balance: int, held: int, received: int) -> int:
    """Say how many units may be passed on; `received` came in within the holding period."""
    return max(0, balance - held - received)


def passing_fault(
    rules: Ownership, amount: int, *, balance: int, held: int, received: int
) -> Barred | None:
    """Say why somebody may not pass on so many units. More than there are is not our matter."""
    if not rules.is_transferable:
        return Barred.NOT_TRANSFERABLE
    if not rules.holding_s or amount > balance - held:
        return None
    if amount > free_units(balance, held, received):
        return Barred.UNITS_TOO_YOUNG
    return None


def is_looser(before: Ownership, after: Ownership) -> bool:
    """Say whether new rules take nothing away from somebody who owns units already."""
    regions_grow = not after.regions or (bool(before.regions) and before.regions <= after.regions)
    lasts = not after.expires_s or (bool(before.expires_s) and before.expires_s <= after.expires_s)
    return (
        (after.is_transferable or not before.is_transferable)
        and after.holding_s <= before.holding_s
        and after.stops_before_s <= before.stops_before_s
        and regions_grow
        and lasts
    )
