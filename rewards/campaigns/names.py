"""The words of rules and what is said with them: segments, attributes, activities, places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.fields import LARGEST_AMOUNT
from rewards.campaigns.events import announce, event
from rewards.campaigns.models import (
    NAME,
    Activity,
    Campaign,
    FactName,
    PersonAttribute,
    SegmentMember,
    TierProgram,
)
from rewards.campaigns.problems import (
    ActivityInvalid,
    ActivityKeyReused,
    NameInvalid,
    NameUnknown,
    ValueInvalid,
)
from rewards.campaigns.standings import levels_of
from rewards.campaigns.terms import Known
from wallet.models import Asset
from wallet.people import AssetUnknown

LONGEST_TEXT = 200
LARGEST_NUMBER = 1 << 53
CLOCK_SKEW = timedelta(minutes=5)
MOST_PEOPLE = 10_000


def known() -> Known:
    """Everything that terms may refer to now."""
    names: dict[str, list[FactName]] = {kind: [] for kind in FactName.Kind.values}
    for name in FactName.objects.all():
        names[name.kind].append(name)
    assets = list(Asset.objects.all())
    return Known(
        assets={asset.code: asset.kind for asset in assets},
        lapsing=frozenset(asset.code for asset in assets if asset.expires),
        segments=frozenset(name.code for name in names[FactName.Kind.SEGMENT]),
        attributes={name.code: name.type for name in names[FactName.Kind.ATTRIBUTE]},
        events=frozenset(name.code for name in names[FactName.Kind.ACTIVITY]),
        places=frozenset(name.code for name in names[FactName.Kind.PLACE]),
        programs={
            program.code: tuple(level.code for level in levels_of(program))
            for program in TierProgram.objects.all()
        },
        campaigns=frozenset(Campaign.objects.values_list("code", flat=True)),
    )


def declare(
    *, kind: str, code: str, title: str = "", value_type: str = "", actor: User | None
) -> FactName:
    """Add a name that rules may use, or change its title. A name keeps its kind and type."""
    if kind not in FactName.Kind.values or not re.fullmatch(NAME, code):
        raise NameInvalid("Letters, digits and . _ : - up to 60, of a kind that there is.")
    is_typed = value_type in {"text", "number", "flag"}
    if is_typed != (kind == FactName.Kind.ATTRIBUTE) or (value_type and not is_typed):
        raise NameInvalid("An attribute, and nothing else, has a type: text, number or flag.")
    with transaction.atomic():
        name, is_new = FactName.objects.get_or_create(
            kind=kind, code=code, defaults={"title": title, "type": value_type}
        )
        if name.type != value_type:
            raise NameInvalid(f"It is a {name.type} already.")
        if not is_new and name.title != title:
            FactName.objects.filter(pk=name.pk).update(title=title)
            name.title = title
        _note(actor, "declare_name", "name", f"{kind}:{code}", title=title, type=value_type)
        announce(event("name_declared", code, kind=kind))
    return name


def change_segment(
    code: str, *, add: Sequence[User] = (), remove: Sequence[User] = (), actor: User | None
) -> tuple[int, int]:
    """Put people into a segment and take others out; say how many of each that changed."""
    assert len(add) <= MOST_PEOPLE and len(remove) <= MOST_PEOPLE
    segment = _named(FactName.Kind.SEGMENT, code)
    with transaction.atomic():
        made = SegmentMember.objects.filter(segment=segment, person__in=add)
        already = set(made.values_list("person_id", flat=True))
        fresh = [person for person in add if person.pk not in already]
        SegmentMember.objects.bulk_create(
            (SegmentMember(person=person, segment=segment) for person in fresh),
            ignore_conflicts=True,
        )
        gone, _ = SegmentMember.objects.filter(segment=segment, person__in=remove).delete()
        _note(actor, "change_segment", "segment", code, added=len(fresh), removed=gone)
        announce(event("segment_changed", code, added=len(fresh), removed=gone))
    return len(fresh), gone


def set_attributes(person: User, values: dict[str, Any], *, actor: User | None) -> None:
    """Set attributes of a person; `None` removes one. All of them, or none."""
    names = {
        name.code: name
        for name in FactName.objects.filter(kind=FactName.Kind.ATTRIBUTE, code__in=values)
    }
    for code, value in values.items():
        if code not in names:
            raise NameUnknown(f"There is no attribute {code!r}.")
        _check_value(names[code], value)
    with transaction.atomic():
        for code, value in sorted(values.items()):
            found = PersonAttribute.objects.filter(person=person, name=names[code])
            if value is None:
                found.delete()
            else:
                PersonAttribute.objects.update_or_create(
                    person=person, name=names[code], defaults={"value": value}
                )
        _note(actor, "set_attributes", "user", person.pk, names=sorted(values))
        announce(event("attributes_changed", str(person.pk), names=sorted(values)))


def _check_value(name: FactName, value: object) -> None:
    if value is None:
        return
    wanted = {"text": str, "number": int, "flag": bool}[name.type]
    if type(value) is not wanted:
        raise ValueInvalid(f"{name.code} is a {name.type}.")
    if isinstance(value, str) and (len(value) > LONGEST_TEXT or "\x00" in value):
        raise ValueInvalid(f"{name.code} has at most {LONGEST_TEXT} characters.")
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ValueInvalid(f"{name.code} is at most 2^53.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An activity as somebody trusted reports it. With an amount it is an order."""

    key: str
    kind: str
    person: User
    at: datetime | None = None
    asset: str | None = None
    amount: int | None = None


def report(deed: Deed, *, actor: User | None, now: datetime | None = None) -> tuple[Activity, bool]:
    """Keep an activity, once under its key; gives it, and whether it is new.

    The same key with the same content changes nothing; with other content it is refused.
    """
    now = now or timezone.now()
    kind = _named(FactName.Kind.ACTIVITY, deed.kind)
    content = _content(deed, now)
    with transaction.atomic():
        activity, is_new = Activity.objects.get_or_create(
            key=deed.key,
            defaults={"person": deed.person, "kind": kind, "at": deed.at or now, **content},
        )
        if not is_new:
            _check_same(activity, deed, kind, content)
            return activity, False
        _note(actor, "report_activity", "activity", deed.key, kind=deed.kind)
        announce(event("activity_reported", deed.kind, key=deed.key, person=str(deed.person.pk)))
    return activity, True


def _content(deed: Deed, now: datetime) -> dict[str, Any]:
    if not re.fullmatch(r"[\x21-\x7e]{1,60}", deed.key):
        raise ActivityInvalid("A key is 1 to 60 visible ASCII characters.")
    if deed.at is not None and deed.at > now + CLOCK_SKEW:
        raise ActivityInvalid("It lies in the future.")
    if (deed.asset is None) != (deed.amount is None):
        raise ActivityInvalid("An order has an amount and its asset.")
    if deed.asset is None:
        return {"asset": None, "amount": None}
    if deed.amount is None or not 1 <= deed.amount <= LARGEST_AMOUNT:
        raise ActivityInvalid("An amount is at least 1.")
    asset = Asset.objects.filter(code=deed.asset).first()
    if asset is None:
        raise AssetUnknown
    return {"asset": asset, "amount": deed.amount}


def _check_same(activity: Activity, deed: Deed, kind: FactName, content: dict[str, Any]) -> None:
    asset = content["asset"]
    same = (
        activity.person_id == deed.person.pk
        and activity.kind_id == kind.pk
        and activity.amount == content["amount"]
        and activity.asset_id == (asset and asset.pk)
        and (deed.at is None or activity.at == deed.at)
    )
    if not same:
        raise ActivityKeyReused


def _named(kind: str, code: str) -> FactName:
    name = FactName.objects.filter(kind=kind, code=code).first()
    if name is None:
        raise NameUnknown(f"There is no {kind} {code!r}.")
    return name


def _note(actor: User | None, deed: str, kind: str, id: object, /, **after: object) -> None:
    audit.record(
        actor=actor, action=f"campaigns.{deed}", object_type=kind, object_id=id, after=after
    )
