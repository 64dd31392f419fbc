"""Checks that budgets, counters and claims agree with the ledger, and says where they do not."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection

from edge.snapshots import one_snapshot

# What was put in, less what standing claims took out, is on the account. Of a claim that stands
# finance may have taken something back by itself (`wallet.points.clawback`).
BUDGETS = """
WITH paid AS (
    SELECT (p->>'budget')::bigint AS account_id, (p->>'transfer_id')::bigint AS transfer_id,
           (p->>'amount')::bigint AS amount
      FROM campaigns_claim AS c CROSS JOIN LATERAL jsonb_array_elements(c.payments) AS p
     WHERE c.state = 'granted' AND p->>'budget' IS NOT NULL
), back AS (
    SELECT e.account_id, t.reverses_id AS transfer_id, sum(e.amount) AS amount
      FROM campaigns_campaignbudget AS b
      JOIN wallet_entry AS e ON e.account_id = b.account_id AND e.amount > 0
      JOIN wallet_transfer AS t ON t.id = e.transfer_id AND t.reverses_id IS NOT NULL
     GROUP BY 1, 2
), given AS (
    SELECT account_id, sum(paid.amount - coalesce(back.amount, 0)) AS amount
      FROM paid LEFT JOIN back USING (account_id, transfer_id)
     GROUP BY 1
)
SELECT 'budget ' || k.code || ' of ' || s.code, b.funded - coalesce(g.amount, 0), a.balance
  FROM campaigns_campaignbudget AS b
  JOIN campaigns_campaign AS k ON k.id = b.campaign_id
  JOIN wallet_asset AS s ON s.id = b.asset_id
  JOIN wallet_account AS a ON a.id = b.account_id
  LEFT JOIN given AS g ON g.account_id = b.account_id
 WHERE a.balance <> b.funded - coalesce(g.amount, 0)
"""
COUNTERS = """
WITH counted AS (
    SELECT n->>0 AS scope, coalesce(m.new, (n->>1)::bigint) AS person, n->>2 AS period,
           count(*) AS used
      FROM campaigns_claim AS c CROSS JOIN LATERAL jsonb_array_elements(c.counted) AS n
      LEFT JOIN campaigns_mergedperson AS m ON m.old = (n->>1)::bigint
     WHERE c.state = 'granted' GROUP BY 1, 2, 3
)
SELECT 'counter ' || scope || ' ' || person || ' ' || period,
       coalesce(x.used, 0), coalesce(c.used, 0)
  FROM campaigns_counted AS c FULL JOIN counted AS x USING (scope, person, period)
 WHERE coalesce(x.used, 0) <> coalesce(c.used, 0)
"""
# Every payment of a claim is a transfer of that amount, made under the claim's own name.
PAYMENTS = """
SELECT 'claim ' || c.id || ' payment ' || (p.place - 1),
       (p.said->>'amount')::bigint, t.amount
  FROM campaigns_claim AS c
 CROSS JOIN LATERAL jsonb_array_elements(c.payments) WITH ORDINALITY AS p(said, place)
  LEFT JOIN wallet_transfer AS t
    ON t.id = (p.said->>'transfer_id')::bigint
   AND t.reference = 'claim:' || c.id || ':' || (p.place - 1)
 WHERE t.amount IS DISTINCT FROM (p.said->>'amount')::bigint
"""


def verify() -> list[str]:
    """List what does not add up; an empty list is good. Reads every claim, in one snapshot."""
    with one_snapshot():
        return [fault for law in (BUDGETS, COUNTERS, PAYMENTS) for fault in _broken(law)]


def _broken(law: str) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(law)
        for where, expected, found in cursor.fetchall():
            yield f"{where}: {found}, expected {expected}"
