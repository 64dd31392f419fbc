"""Gives units of a series to many people, each once however often a step is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accounts.handles import normalise_handle
from accounts.models import User
from edge.problems import Refusal
from jobs import Step
from rewards import units
from rewards.bulk import actions
from rewards.models import BulkJob
from wallet.accounts import Purpose, open_accounts
from wallet.actions import post
from wallet.items import Refusal as Reason
from wallet.items import Transfer
from wallet.models import Code

MOST_PEOPLE = 10_000
MOST_EACH = 1_000
PEOPLE_PER_STEP = 500
NAMES_TOLD = 200


class PeopleInvalid(Refusal):
    """The list of people or the number of units is out of bounds."""

    code = "assignment_invalid"
    title = f"Units go to 1 to {MOST_PEOPLE:,} people, 1 to {MOST_EACH:,} each"
    status = 422


def assign(series_code: str, handles: Sequence[str], each: int, *, actor: User | None) -> BulkJob:
    """Start giving each of these people units from the treasury. Who is named twice gets them once.

    Handles that nobody active has are listed in the report; so is who came too late because
    the treasury was empty.
    """
    names = list(dict.fromkeys(normalise_handle(handle) for handle in handles))
    if not 1 <= len(names) <= MOST_PEOPLE or not 1 <= each <= MOST_EACH:
        raise PeopleInvalid
    parameters: dict[str, Any] = {"each": each, "handles": names}
    return actions.start(
        BulkJob.Kind.ASSIGN, series_code, parameters, actor=actor, total=len(names)
    )


def step(bulk: BulkJob) -> Step:
    """Give the next people theirs, by one passage through the ledger's door."""
    names = bulk.parameters["handles"][bulk.done : bulk.done + PEOPLE_PER_STEP]
    active = User.objects.filter(handle__in=names, is_active=True)
    people = dict(active.values_list("handle", "pk"))
    report = bulk.report or {"given": 0, "unknown": 0, "refused": 0, "names": []}
    unknown = [name for name in names if name not in people]
    found = [name for name in names if name in people]
    bulk.done += len(names)
    refused = _give(bulk, [people[name] for name in found])
    report["given"] += len(found) - len(refused)
    report["unknown"] += len(unknown)
    report["refused"] += len(refused)
    late = [{"handle": found[at], "code": reason.name.lower()} for at, reason in refused.items()]
    lost = [{"handle": name, "code": "person_unknown"} for name in unknown]
    report["names"] = [*report["names"], *lost, *late][:NAMES_TOLD]
    bulk.report = report
    is_last = bulk.done >= (bulk.total or 0)
    if is_last:
        actions.end(bulk, BulkJob.State.DONE)
    else:
        bulk.save(update_fields=["report", "done"])
    return Step(done=bulk.done, total=bulk.total, is_last=is_last)


def _give(bulk: BulkJob, people: Sequence[int]) -> dict[int, Reason]:
    """Move the units; say who was refused, by position, and why."""
    asset_id = bulk.series.asset_id
    wallets = open_accounts(Purpose(person, asset_id) for person in people)
    treasury = units.house_accounts(asset_id).treasury
    results = post(
        [
            Transfer(
                reference=f"assign:{bulk.pk}:{person}",
                asset_id=asset_id,
                debit_account_id=treasury,
                credit_account_id=wallets[Purpose(person, asset_id)],
                amount=bulk.parameters["each"],
                code=Code.GRANT,
            )
            for person in people
        ]
    )
    return {at: each.refusal for at, each in enumerate(results) if not each.is_created}
