"""Which region a person belongs to: established by somebody, with its source, audited."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from accounts.models import Residence, User
from edge.audit import record
from edge.journey import ask
from edge.postgres import array
from edge.problems import Refusal

REGION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?\Z")
REGIONS = "SELECT person_id, region FROM accounts_residence WHERE person_id = ANY($1::bigint[])"


class RegionInvalid(Refusal):
    """A region is a country or a part of one, by ISO 3166."""

    code = "region_invalid"
    title = "A region is a country (DE) or a part of one (DE-BY)"
    status = 422


def regions_of(person_ids: Iterable[int]) -> dict[int, str]:
    """Say the regions of people; those of whom nothing is known are left out. One look-up."""
    found = ask(REGIONS, array(person_ids))
    return {int(person_id): str(region) for person_id, region in found.fetchall()}


@transaction.atomic
def set_region(
    person: User,
    region: str | None,
    *,
    source: Residence.Source,
    actor: AbstractBaseUser | None,
    reason: str = "",
    ip: str | None = None,
) -> None:
    """Write down where a person belongs and how that is known; `None` makes it unknown again."""
    if region is not None and not REGION.match(region):
        raise RegionInvalid
    before = Residence.objects.select_for_update().filter(pk=person.pk).first()
    earlier = {"region": before.region, "source": before.source} if before else None
    if region is None:
        Residence.objects.filter(pk=person.pk).delete()
    else:
        Residence.objects.update_or_create(
            person=person,
            defaults={
                "region": region,
                "source": source,
                "set_by_id": actor.pk if actor else None,
                "set_at": timezone.now(),
            },
        )
    record(
        actor=actor,
        action="accounts.set_region",
        object_type="user",
        object_id=person.pk,
        reason=reason,
        before=earlier,
        after={"region": region, "source": str(source)} if region else None,
        ip=ip,
    )
