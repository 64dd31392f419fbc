"""Tries a version out on a crowd: what it would cost, whom it leaves out, what it collides with.

Nothing is touched: counters and budgets are dictionaries, the decisions are the real ones.
The crowd comes once as it is; then people are drawn from it with replacement, again and
again, and the spread of the costs gives P50 and P95.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from django.db import transaction
from django.utils import timezone
from msgspec.structs import replace

from accounts.models import User
from edge import audit
from jobs import enqueue
from rewards.campaigns import crowds
from rewards.campaigns.crowds import Visit
from rewards.campaigns.deciding import (
    Counter,
    Counts,
    Grant,
    Version,
    decide,
    own_counter,
)
from rewards.campaigns.directory import compiled, version_of
from rewards.campaigns.events import announce, event
from rewards.campaigns.facts import Facts
from rewards.campaigns.models import Campaign, CampaignVersion, Simulation
from rewards.campaigns.problems import SimulationUnknown, VersionUnknown
from rewards.campaigns.rules import EVERYBODY
from rewards.campaigns.terms import MOST_RECENT, Chance, Effects, Terms, most_of
from rewards.campaigns.terms import Outcome as TermsOutcome

JOB = "campaigns.simulate"
RUNS_A_STEP = 10
UNLIMITED = 1 << 62


@dataclass(slots=True)
class Run:
    """One pass of a crowd: what was granted, what it cost, whom it left out and why."""

    granted: int = 0
    people: set[int] = field(default_factory=set)
    cost: Tally[str] = field(default_factory=Tally)
    refusals: Tally[str] = field(default_factory=Tally)
    misses: Tally[str] = field(default_factory=Tally)


def run(version: Version, visits: Sequence[Visit], budgets: Mapping[str, int]) -> Run:
    """Let a crowd come once. Counters and budgets start fresh and live in memory."""
    done = Run()
    used: dict[Counter, int] = {}
    recent: dict[int, tuple[int, ...]] = {}
    left = dict(budgets)
    for facts, ask in visits:
        own = own_counter(version, facts.person)
        times = recent.get(facts.person, ())
        facts = _with_claims(facts, version.campaign, used.get(own, 0), times)  # noqa: PLW2901
        decision = decide(version, facts, ask, Counts(used=used, recent=times), left)
        if isinstance(decision, Grant):
            done.granted += 1
            done.people.add(facts.person)
            for counter in decision.counted:
                used[counter] = used.get(counter, 0) + 1
            recent[facts.person] = (*times, facts.now_us)[-MOST_RECENT:]
            for payment in decision.payments:
                done.cost[payment.asset] += payment.amount
                if payment.asset in left:
                    left[payment.asset] -= payment.amount
        else:
            done.refusals[decision.code] += 1
            done.misses.update({f"{miss.leaf} {miss.path}" for miss in decision.misses})
    return done


def _with_claims(facts: Facts, campaign: str, count: int, times: tuple[int, ...]) -> Facts:
    if not count:
        return facts
    return replace(
        facts,
        claims={**facts.claims, campaign: count},
        claimed_at={**facts.claimed_at, campaign: times[-1]},
    )


def resampled(visits: Sequence[Visit], chance: Random) -> list[Visit]:
    """Draw as many people as there are, with replacement; each drawn is a person of their own."""
    by_person: dict[int, list[Visit]] = {}
    for visit in visits:
        by_person.setdefault(visit.facts.person, []).append(visit)
    people = list(by_person)
    drawn = []
    for number in range(1, len(people) + 1):
        for facts, ask in by_person[chance.choice(people)]:
            order = facts.order and replace(facts.order, key=f"{facts.order.key}~{number}")
            someone = replace(facts, person=number, order=order)
            drawn.append(Visit(someone, replace(ask, request=f"{chance.getrandbits(64):x}")))
    return sorted(drawn, key=lambda visit: (visit.facts.now, visit.facts.person))


def worst(version: Version) -> Version:
    """The version as if everybody qualified and always drew the dearest outcome."""
    terms = replace(
        version.terms,
        rule=EVERYBODY,
        effects=_dearest(version.terms.effects),
        variants=tuple(
            replace(each, effects=_dearest(each.effects)) for each in version.terms.variants
        ),
    )
    return Version(
        id=version.id,
        campaign=version.campaign,
        number=version.number,
        terms=terms,
        seed=version.seed,
    )


def _dearest(effects: Effects) -> Effects:
    return tuple(
        replace(effect, outcomes=(max(effect.outcomes, key=_dearness),))
        if isinstance(effect, Chance)
        else effect
        for effect in effects
    )


def _dearness(outcome: TermsOutcome) -> int:
    return sum(most_of(outcome.effects).values())


def collisions(
    version: Version, others: Sequence[Version], visits: Sequence[Visit]
) -> list[dict[str, Any]]:
    """Which live campaigns would give to the same visitors, and what keeps them apart."""
    budgets = {asset: UNLIMITED for each in (version, *others) for asset in each.terms.budgets}
    meets = [v for v in visits if isinstance(decide(version, *v, Counts(), budgets), Grant)]
    found = []
    for other in others:
        count = sum(isinstance(decide(other, *visit, Counts(), budgets), Grant) for visit in meets)
        if count:
            found.append(
                {
                    "campaign": other.campaign,
                    "visits": count,
                    "share": count / len(meets),
                    "same_group": other.terms.group is not None
                    and other.terms.group == version.terms.group,
                    "combine": other.terms.stacks and version.terms.stacks,
                }
            )
    return sorted(found, key=lambda row: (-row["visits"], row["campaign"]))


def quantile(values: Sequence[int], share: float) -> int:
    """The value below which this share of them lies; the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# -- kept trials ---------------------------------------------------------------------------


def start(
    code: str, number: int, parameters: Mapping[str, Any], *, actor: User | None
) -> Simulation:
    """Put a trial down as a job. Drafts can be tried as well as what is published."""
    with transaction.atomic():
        version = CampaignVersion.objects.filter(campaign__code=code, number=number).first()
        if version is None:
            raise VersionUnknown
        trial = Simulation.objects.create(
            version=version, parameters=dict(parameters), created_by=actor
        )
        trial.job_id = enqueue(JOB, {"simulation_id": trial.pk})
        trial.save(update_fields=["job_id"])
        audit.record(
            actor=actor,
            action="campaigns.simulate",
            object_type="simulation",
            object_id=trial.pk,
            after={"campaign": code, "version": number, **parameters},
        )
        announce(event("simulation_started", code, simulation_id=str(trial.pk), version=number))
    return trial


def trial_of(simulation_id: int) -> Simulation:
    """Find a trial."""
    found = Simulation.objects.select_related("version__campaign").filter(pk=simulation_id).first()
    if found is None:
        raise SimulationUnknown
    return found


def step(simulation_id: int, costs: list[dict[str, int]]) -> tuple[int, int, list[dict[str, int]]]:
    """Do the next runs of a trial; gives how many are done, of how many, and all costs so far.

    The crowd is made anew each time, the same by its seed, so that a step can be repeated.
    """
    trial = trial_of(simulation_id)
    version, visits = crowd_of(trial.version, trial.parameters, trial.created_at)
    runs = int(trial.parameters["runs"])
    for number in range(len(costs), min(runs, len(costs) + RUNS_A_STEP)):
        chance = Random(int(trial.parameters["seed"]) * 1_000_003 + number)
        done = run(version, resampled(visits, chance), version.terms.budgets)
        costs = [*costs, dict(done.cost)]
    is_done = len(costs) >= runs
    if is_done:
        trial.report = report(version, visits, costs)
        announce(
            event(
                "simulation_done", version.campaign, simulation_id=str(trial.pk),
                version=version.number,
            )
        )  # fmt: skip
    trial.runs_done = len(costs)
    trial.state = Simulation.State.DONE if is_done else Simulation.State.RUNNING
    trial.save(update_fields=["runs_done", "state", "report"])
    return len(costs), runs, costs


def crowd_of(
    row: CampaignVersion, parameters: Mapping[str, Any], now: Any = None
) -> tuple[Version, list[Visit]]:
    """The version and its crowd, as the parameters say."""
    version = version_of(row, row.campaign.code)
    days, people = int(parameters["days"]), int(parameters["people"])
    if parameters["crowd"] == "history":
        moment = now or timezone.now()
        return version, crowds.from_history(version, days=days, people=people, now=moment)
    seed = int(parameters["seed"])
    return version, crowds.synthetic(version, people=people, days=days, seed=seed)


def report(
    version: Version, visits: Sequence[Visit], costs: Sequence[Mapping[str, int]]
) -> dict[str, Any]:
    """What a trial came to."""
    terms: Terms = version.terms
    once = run(version, visits, terms.budgets)
    most = run(worst(version), visits, dict.fromkeys(terms.budgets, UNLIMITED))
    live = Campaign.objects.filter(state=Campaign.State.LIVE).exclude(code=version.campaign)
    entries = compiled(list(live)).values()
    others = [each for entry in entries if (each := entry.version_at(terms.starts_at))]
    return {
        "visits": len(visits),
        "people": len({visit.facts.person for visit in visits}),
        "granted": once.granted,
        "people_granted": len(once.people),
        "excluded": dict(once.refusals.most_common()),
        "leaves": dict(once.misses.most_common(50)),
        "cost": {
            asset: {
                "once": once.cost[asset],
                "p50": quantile([cost.get(asset, 0) for cost in costs], 0.5),
                "p95": quantile([cost.get(asset, 0) for cost in costs], 0.95),
                "worst": most.cost[asset],
                "budget": budget,
            }
            for asset, budget in terms.budgets.items()
        },
        "collisions": collisions(version, others, visits),
    }
