"""What a batch of claims reads before it decides, in one journey to PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from edge.journey import Answered, Journey
from edge.postgres import text_array, uuid_array
from rewards.campaigns import budgets, counting, knowing
from rewards.campaigns.directory import Seen, remembered
from rewards.campaigns.facts import Facts, Needs

EARLIER = "SELECT request FROM campaigns_claim WHERE request = ANY($1::uuid[])"
HOLD = f"""
SELECT id, code, state, revision, {counting.TURN_ALONE} FROM campaigns_campaign
 WHERE code = ANY($1::varchar[]) ORDER BY id FOR SHARE
"""
NEW_IDS = "SELECT nextval('campaigns_claim_id') FROM generate_series(1, $1::int)"


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one person asks for, by ids. `request` is the digest that names the claim."""

    campaign: str
    person: int
    request: bytes
    channel: str = ""
    order_key: str = ""
    referrer: str = ""


class Read(NamedTuple):
    """What was read, once the campaigns were held.

    `earlier` are requests that were granted before, `left` what is left by budget account,
    `claim_ids` an id for each wish. `facts` are those that `needs` names.
    """

    now: datetime
    people: list[int]
    earlier: list[UUID]
    campaigns: dict[str, Seen]
    left: dict[int, int]
    claim_ids: list[int]
    needs: Needs
    facts: dict[int, Facts]

    def facts_for(self, needs: Needs) -> dict[int, Facts]:
        """The facts of all people that rules ask for; read anew if they ask for more."""
        if needs | self.needs == self.needs:
            return self.facts
        return knowing.facts_of_many(self.people, needs, now=self.now)


def read(wishes: Sequence[Wish], now: datetime) -> Read:
    """Hold the campaigns, have their counters alone, and read what their rules ask about people.

    What they ask is known of earlier batches, but for the first of a new version.
    """
    codes = sorted({wish.campaign for wish in wishes})
    people = sorted({wish.person for wish in wishes})
    needs = _needs_of(codes, now)
    journey = Journey()
    # First of all: what is read after it is as whoever held the campaigns before has left it.
    journey.add(HOLD, text_array(codes))
    journey.add(EARLIER, uuid_array([wish.request for wish in wishes]))
    budgets.ask_left(journey, codes)
    journey.add(NEW_IDS, len(wishes))
    knowing.ask_facts(journey, people, needs, now=now)
    held, earlier, left, new_ids, facts = journey.run()
    return Read(
        now,
        people,
        _column(earlier),
        {row[1]: Seen(*row[:-1]) for row in held.fetchall()},
        budgets.hear_left(left),
        _column(new_ids),
        needs,
        knowing.hear_facts(facts, needs, now=now),
    )


def _needs_of(codes: Sequence[str], now: datetime) -> Needs:
    """What the versions as they were last seen ask about people."""
    entries = [entry for code in codes if (entry := remembered(code))]
    versions = [version for entry in entries if (version := entry.version_at(now))]
    return Needs.of(version.needs for version in versions)


def _column(answered: Answered) -> list[Any]:
    return [value for (value,) in answered.fetchall()]
