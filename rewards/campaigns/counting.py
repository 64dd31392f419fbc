"""Counters: locked in one order, read, and counted up or down in one statement.

A claim's limits hold because whoever decides by a counter has its row locked until the
grant is durable. All claims lock in the same order, personal counters first and the one that
everybody shares last, so that it is held as briefly as can be and nobody waits in a circle.

A batch of claims has whole campaigns to itself instead (`TURN_ALONE`), while claims made one by
one share theirs (`TURN_TOGETHER`). Then the counters of those campaigns need no locks: they are
read, and written once. Only a reversal may count them down meanwhile, which is safe because
`add_on` counts up from whatever is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from edge.journey import Journey, ask
from edge.postgres import array, repeated_texts
from rewards.campaigns.deciding import Counter, Counts
from rewards.campaigns.facts import microseconds
from rewards.campaigns.terms import MOST_RECENT

# Creates what is missing and locks what is there without writing it: PostgreSQL locks every
# row that an ON CONFLICT DO UPDATE reaches, even if its WHERE says no.
LOCK = """
INSERT INTO campaigns_counted AS c (person, scope, period, used, recent)
SELECT person, scope, period, 0, '{}'
  FROM unnest($1::bigint[], $2::varchar[], $3::varchar[]) AS asked(person, scope, period)
 ORDER BY person DESC, scope, period
ON CONFLICT (person, scope, period) DO UPDATE SET used = c.used WHERE false
"""
READ = """
SELECT c.person, c.scope, c.period, c.used, c.recent
  FROM unnest($1::bigint[], $2::varchar[], $3::varchar[]) AS asked(person, scope, period)
  JOIN campaigns_counted AS c USING (person, scope, period)
"""
COUNT = """
UPDATE campaigns_counted AS c
   SET used = c.used + $4,
       recent = CASE WHEN (c.person, c.scope, c.period) = ($5::bigint, $6::varchar, $7::varchar)
                     THEN $8::bigint[] ELSE c.recent END
  FROM unnest($1::bigint[], $2::varchar[], $3::varchar[]) AS asked(person, scope, period)
 WHERE (c.person, c.scope, c.period) = (asked.person, asked.scope, asked.period)
"""

TURN_CLASS = 0x5C05
"""The first half of the advisory lock's key; the second is the campaign's id."""
TURN_ALONE = f"pg_advisory_xact_lock({TURN_CLASS}, id::int)"
TURN_TOGETHER = f"pg_advisory_xact_lock_shared({TURN_CLASS}, id::int)"
MERGE_ALONE = f"SELECT pg_advisory_xact_lock({TURN_CLASS}, 0)"
MERGE_LATER = f"SELECT pg_advisory_xact_lock_shared({TURN_CLASS}, 0)"
"""Two accounts become one while no campaign is published and no claim reversed: whoever does
that, first of all, has merging wait. No campaign's id is 0."""

ADD = f"""
INSERT INTO campaigns_counted AS c (person, scope, period, used, recent)
SELECT person, scope, period, used, recent::bigint[]
  FROM unnest($1::bigint[], $2::varchar[], $3::varchar[], $4::bigint[], $5::text[])
    AS asked(person, scope, period, used, recent)
 ORDER BY person DESC, scope, period
ON CONFLICT (person, scope, period) DO UPDATE
   SET used = c.used + excluded.used,
       recent = (c.recent || excluded.recent)
                [greatest(1, cardinality(c.recent || excluded.recent) - {MOST_RECENT - 1}):]
"""
Rows = dict[Counter, tuple[int, list[int]]]


def locked(counters: Sequence[Counter], own: Counter) -> Counts:
    """Lock counters until the transaction ends, making those that are missing, and read them."""
    return counts_from(lock_rows(counters), counters, own)


def lock_rows(counters: Collection[Counter]) -> Rows:
    """Lock many counters until the transaction ends, making those that are missing; read them."""
    ask(LOCK, *_columns(list(counters)))
    return read_rows(counters)


def add_on(journey: Journey, rows: Rows) -> None:
    """Count up: so many more grants, and when they were. Makes counters that are missing.

    Of people in one order, like all who lock counters, and before the ledger's door.
    """
    if rows:
        used = array([used for used, _ in rows.values()])
        recent = repeated_texts([array(times) for _, times in rows.values()])
        journey.add(ADD, *_columns(list(rows)), used, recent)


def read(counters: Iterable[Counter], own: Counter) -> Counts:
    """Read counters without a lock; one that was never counted shows 0."""
    wanted = list(counters)
    return counts_from(read_rows(wanted), wanted, own)


def read_rows(counters: Iterable[Counter]) -> Rows:
    """Read many counters in one statement."""
    found = ask(READ, *_columns(list(counters)))
    return {
        Counter(scope, person, period): (used, recent)
        for person, scope, period, used, recent in found.fetchall()
    }


def counts_from(rows: Rows, counters: Iterable[Counter], own: Counter) -> Counts:
    """Pick out what one campaign's decision looks at."""
    used = {counter: rows[counter][0] for counter in counters if counter in rows}
    return Counts(used=used, recent=tuple(rows[own][1]) if own in rows else ())


def count_up(counters: Sequence[Counter], own: Counter, counts: Counts, now: datetime) -> None:
    """Count a grant. The counters are locked; `counts` is what they showed then."""
    recent = [*counts.recent, microseconds(now)][-MOST_RECENT:]
    _count(1, counters, own, recent)


def count_down(counters: Sequence[Counter], own: Counter, at: datetime) -> None:
    """Give back what a grant counted, when it is reversed; forget its time too.

    A batch has one time: of several grants that were made then, one is forgotten.
    """
    recent = list(locked(counters, own).recent)
    if (gone := microseconds(at)) in recent:
        recent.remove(gone)
    _count(-1, counters, own, recent)


def _count(by: int, counters: Sequence[Counter], own: Counter, recent: list[int]) -> None:
    place = (own.person, own.scope, own.period)
    counted = ask(COUNT, *_columns(counters), by, *place, array(recent))
    assert counted.count == len(counters)


def _columns(counters: Sequence[Counter]) -> tuple[str, str, str]:
    return (
        array([counter.person for counter in counters]),
        repeated_texts([counter.scope for counter in counters]),
        repeated_texts([counter.period for counter in counters]),
    )
