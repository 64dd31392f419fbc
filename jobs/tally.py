"""Counts what has ended, for metrics: how many of each name, how they ended, how long it took.

Workers count nothing: what they count in memory dies with them. The sweeper reads off the
rows what ended since it last looked. Times are counted in steps, `STEPS_S`: step 0 is up to
the first, the last one is beyond all.
"""

from __future__ import annotations

from typing import Any

import psycopg

EVERY_S = 5.0
SETTLED_S = 5
"""A job notes its end a moment before it commits; what is older than this has committed."""
STEPS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

Connection = psycopg.Connection[tuple[Any, ...]]

UNTIL = f"""
UPDATE jobs_sweeper AS s SET tallied_until = now() - {SETTLED_S} * interval '1 second'
  FROM (SELECT id, coalesce(tallied_until, to_timestamp(0)) AS since FROM jobs_sweeper
         WHERE id = 1 FOR UPDATE) AS before
 WHERE s.id = before.id AND before.since < now() - {SETTLED_S} * interval '1 second'
RETURNING before.since, s.tallied_until
"""
# `width_bucket` puts a time that equals a step beyond it; clocks do not hit steps.
COUNT = """
INSERT INTO jobs_tally AS t (name, state, wait_step, work_step, jobs, attempts, wait_s, work_s)
SELECT e.name, e.state, width_bucket(e.wait_s, %(steps)s::float[]),
       width_bucket(e.work_s, %(steps)s::float[]),
       count(*), sum(e.attempt), sum(e.wait_s), sum(e.work_s)
  FROM (SELECT name, state, attempt,
               greatest(0, extract(epoch FROM started_at - due_at))::float AS wait_s,
               greatest(0, extract(epoch FROM ended_at - coalesce(began_at, started_at)))::float
                   AS work_s
          FROM jobs_job
         WHERE state >= 5 AND ended_at >= %(since)s AND ended_at < %(until)s
           AND started_at IS NOT NULL) AS e
 GROUP BY 1, 2, 3, 4
    ON CONFLICT (name, state, wait_step, work_step) DO UPDATE
   SET jobs = t.jobs + EXCLUDED.jobs, attempts = t.attempts + EXCLUDED.attempts,
       wait_s = t.wait_s + EXCLUDED.wait_s, work_s = t.work_s + EXCLUDED.work_s
"""


def count_ended(connection: Connection) -> None:
    """Add what ended since the last count, up to five seconds ago. Each job counts once."""
    with connection.transaction():
        span = connection.execute(UNTIL.encode()).fetchone()
        if span is not None:
            since, until = span
            connection.execute(
                COUNT.encode(), {"steps": list(STEPS_S), "since": since, "until": until}
            )
