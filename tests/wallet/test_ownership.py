"""Who may own units and which of them may be passed on: laws, and the wallet's own doors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Residence, User
from accounts.regions import RegionInvalid, set_region
from wallet import people
from wallet.accounts import ISSUANCE, Purpose, open_accounts, system_account
from wallet.actions import post
from wallet.items import Transfer
from wallet.models import Account, Asset, AssetRules, Code, Entry
from wallet.ownership import OwnershipBarred, RulesInvalid, RulesTightened, free_of, set_rules
from wallet.ownership_rules import (
    Barred,
    Ownership,
    free_units,
    is_looser,
    passing_fault,
    region_fault,
)

# -- the holding period against units that have birthdays ------------------------------------


@dataclass
class Box:
    """The plain model: each unit with the hour it came in; the oldest leave first."""

    holding: int
    born: list[int] = field(default_factory=list)
    received: list[tuple[int, int]] = field(default_factory=list)
    held: int = 0
    now: int = 0

    def free(self) -> int:
        """Units old enough, less those that are set aside already."""
        old = sum(self.now - hour >= self.holding for hour in self.born)
        return max(0, old - self.held)

    def said(self) -> int:
        """What the rule makes of balance, holds and receipts."""
        lately = sum(n for hour, n in self.received if self.now - hour < self.holding)
        return free_units(len(self.born), self.held, lately)


STEPS = st.lists(
    st.tuples(st.sampled_from(["receive", "spend", "hold", "post", "void", "wait"]),
              st.integers(1, 6)),
    max_size=40,
)  # fmt: skip


@given(holding=st.integers(1, 12), steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_free_units_are_those_that_are_old_enough(
    holding: int, steps: list[tuple[str, int]]
) -> None:
    box = Box(holding)
    for step, n in steps:
        if step == "receive":
            box.born += [box.now] * n
            box.received.append((box.now, n))
        elif step == "spend" and n <= len(box.born) - box.held:
            del box.born[:n]
        elif step == "hold" and n <= box.free():
            box.held += n
        elif step == "post" and n <= box.held:
            box.held -= n
            del box.born[:n]
        elif step == "void" and n <= box.held:
            box.held -= n
        elif step == "wait":
            box.now += n
        assert box.said() == box.free()


REGIONS = ["DE", "DE-BY", "FR", "AT"]
RULES = st.builds(
    Ownership,
    is_transferable=st.booleans(),
    holding_s=st.integers(0, 5),
    regions=st.frozensets(st.sampled_from(REGIONS), max_size=3),
    expires_s=st.sampled_from([0, 10, 20]),
    stops_before_s=st.integers(0, 5),
)


@given(
    before=RULES, after=RULES, region=st.sampled_from(["", *REGIONS, "US"]),
    balance=st.integers(0, 9), held=st.integers(0, 9), lately=st.integers(0, 9),
    amount=st.integers(1, 9),
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_looser_rules_forbid_nothing_that_was_allowed(
    before: Ownership, after: Ownership, region: str, balance: int, held: int, lately: int,
    amount: int,
) -> None:  # fmt: skip
    if not is_looser(before, after):
        return
    if region_fault(before, region) is None:
        assert region_fault(after, region) is None
    # A shorter period has at most as many receipts in it.
    shorter = lately if after.holding_s == before.holding_s else 0
    state = {"balance": balance, "held": min(held, balance)}
    if passing_fault(before, amount, received=lately, **state) is None:
        assert passing_fault(after, amount, received=shorter, **state) is None


@pytest.mark.parametrize(
    ("regions", "region", "fault"),
    [
        ([], "", None),
        (["DE"], "", Barred.REGION_UNKNOWN),
        (["DE"], "DE", None),
        (["DE"], "DE-BY", None),
        (["DE-BY"], "DE", Barred.REGION_NOT_ALLOWED),
        (["DE-BY"], "DE-BY", None),
        (["DE-BY"], "DE-BE", Barred.REGION_NOT_ALLOWED),
        (["FR", "AT"], "DE", Barred.REGION_NOT_ALLOWED),
    ],
)
def test_regions(regions: list[str], region: str, fault: Barred | None) -> None:
    assert region_fault(Ownership(regions=frozenset(regions)), region) == fault


# -- the wallet's doors ------------------------------------------------------------------------

_numbers = count(1)


@dataclass
class Pair:
    cups: Asset
    ann: User
    ben: User

    def give(self, amount: int) -> None:
        purpose = Purpose(self.ann.pk, self.cups.pk)
        item = Transfer(
            reference=f"give-{next(_numbers)}",
            asset_id=self.cups.pk,
            debit_account_id=system_account(self.cups, ISSUANCE).pk,
            credit_account_id=open_accounts([purpose])[purpose],
            amount=amount,
            code=Code.GRANT,
        )
        [result] = post([item])
        assert result.is_created

    def rule(self, **rules: object) -> None:
        set_rules(self.cups, AssetRules(**rules), may_tighten=True, actor=None)

    def pay(self, amount: int, key: str = "") -> bool:
        key = key or f"key-{next(_numbers)}"
        paid = people.pay(sender=self.ann, to="ben", asset="CUPS", amount=amount, memo="", key=key)
        return paid.is_created

    def hold(self, amount: int) -> bool:
        held = people.hold(
            owner=self.ann, to="ben", asset="CUPS", amount=amount, memo="",
            expires_at=datetime.now(UTC) + timedelta(days=1), key=f"key-{next(_numbers)}",
        )  # fmt: skip
        return held.is_created


@pytest.fixture
def pair(db: None) -> Pair:
    cups = Asset.objects.create(code="CUPS", name="Cups", kind="series")
    people_ = [User.objects.create_user(f"{n}@x.example", handle=n) for n in ("ann", "ben")]
    made = Pair(cups, *people_)
    made.give(5)
    return made


def barred(pair: Pair, deed: str, amount: int) -> str:
    before = list(Account.objects.order_by("pk").values_list("pk", "balance", "held"))
    entries = Entry.objects.count()
    with pytest.raises(OwnershipBarred) as caught:
        getattr(pair, deed)(amount)
    after = list(Account.objects.order_by("pk").values_list("pk", "balance", "held"))
    assert (after[: len(before)], Entry.objects.count()) == (before, entries)
    return caught.value.code


@pytest.mark.parametrize("deed", ["pay", "hold"])
def test_units_of_a_promotion_stay_with_their_owner(pair: Pair, deed: str) -> None:
    pair.rule(is_transferable=False)
    assert barred(pair, deed, 1) == "not_transferable"


@pytest.mark.parametrize("deed", ["pay", "hold"])
def test_young_units_are_not_passed_on(pair: Pair, deed: str) -> None:
    pair.rule(holding_s=3600)
    assert barred(pair, deed, 1) == "units_too_young"
    assert free_of(Account.objects.get(owner=pair.ann).pk) == 0
    later = datetime.now(UTC) + timedelta(hours=2)
    assert free_of(Account.objects.get(owner=pair.ann).pk, now=later) == 5


@pytest.mark.parametrize("deed", ["pay", "hold"])
def test_receivers_live_where_they_may(pair: Pair, deed: str) -> None:
    pair.rule(regions=["DE"])
    assert barred(pair, deed, 1) == "region_unknown"
    set_region(pair.ben, "FR", source=Residence.Source.ADDRESS, actor=None)
    assert barred(pair, deed, 1) == "region_not_allowed"
    set_region(pair.ben, "DE", source=Residence.Source.ADDRESS, actor=None)
    assert getattr(pair, deed)(1)


def test_a_repeat_is_answered_as_the_first_time(pair: Pair) -> None:
    assert pair.pay(1, key="once")
    pair.rule(is_transferable=False)
    assert pair.pay(1, key="once")
    assert Account.objects.get(owner=pair.ben).balance == 1


def test_rules_are_checked_and_only_loosen_for_owners(pair: Pair) -> None:
    for wrong in (AssetRules(regions=["Germany"]), AssetRules(regions=["DE", "DE"]),
                  AssetRules(holding_s=-1), AssetRules(stops_before_s=10**9)):  # fmt: skip
        with pytest.raises(RulesInvalid):
            set_rules(pair.cups, wrong, may_tighten=True, actor=None)
    pair.rule(holding_s=60)
    with pytest.raises(RulesTightened):
        set_rules(pair.cups, AssetRules(holding_s=61), may_tighten=False, actor=None)
    set_rules(pair.cups, AssetRules(holding_s=59), may_tighten=False, actor=None)
    with pytest.raises(RegionInvalid):
        set_region(pair.ann, "germany", source=Residence.Source.OPERATOR, actor=None)
