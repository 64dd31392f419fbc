"""The laws of the ledger as SQL: each statement finds the rows that break one.

Every statement answers in rows (where, field, expected, found) and gives none when its law
holds. Expected is always what follows from the journal (transfers, then entries); found is
what the row in question says. `%(asset_id)s` narrows a law to one asset, NULL is all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Law:
    """A law: its name, what it says in words, and the statement that finds who breaks it."""

    name: str
    says: str
    sql: str
    is_per_asset: bool = True


ZERO_SUM = """
SELECT 'asset ' || s.code, 'sum of balances', 0, sum(a.balance)
  FROM wallet_account AS a JOIN wallet_asset AS s ON s.id = a.asset_id
 WHERE %(asset_id)s::int IS NULL OR a.asset_id = %(asset_id)s
 GROUP BY s.code HAVING sum(a.balance) <> 0
"""

BALANCES = """
WITH moved AS (
    SELECT account_id, sum(amount) AS balance, count(*) AS entry_count
      FROM wallet_entry GROUP BY account_id
)
SELECT 'account ' || coalesce(a.id, m.account_id), f.field, f.expected, f.found
  FROM wallet_account AS a FULL JOIN moved AS m ON m.account_id = a.id
 CROSS JOIN LATERAL (VALUES
    ('balance', coalesce(m.balance, 0), a.balance),
    ('entry_count', coalesce(m.entry_count, 0), a.entry_count)) AS f(field, expected, found)
 WHERE f.expected IS DISTINCT FROM f.found
   AND (%(asset_id)s::int IS NULL OR a.asset_id = %(asset_id)s)
"""

ENTRY_CHAIN = """
SELECT 'account ' || c.account_id || ' entry of transfer ' || c.transfer_id, 'balance_after',
       c.expected, c.balance_after
  FROM (SELECT e.account_id, e.transfer_id, e.balance_after,
               coalesce(lag(e.balance_after) OVER account, 0) + e.amount AS expected
          FROM wallet_entry AS e
         WHERE %(asset_id)s::int IS NULL OR EXISTS (
               SELECT FROM wallet_account AS a
                WHERE a.id = e.account_id AND a.asset_id = %(asset_id)s)
        WINDOW account AS (PARTITION BY e.account_id ORDER BY e.transfer_id)) AS c
 WHERE c.expected <> c.balance_after
"""

SIDES = """
WITH side AS (
    SELECT debit_account_id AS account_id, id AS transfer_id, -amount AS amount, effective_at
      FROM wallet_transfer
     WHERE kind IN (1, 3) AND (%(asset_id)s::int IS NULL OR asset_id = %(asset_id)s)
    UNION ALL
    SELECT credit_account_id, id, amount, effective_at
      FROM wallet_transfer
     WHERE kind IN (1, 3) AND (%(asset_id)s::int IS NULL OR asset_id = %(asset_id)s)
), entry AS (
    SELECT e.account_id, e.transfer_id, e.amount, e.effective_at FROM wallet_entry AS e
     WHERE %(asset_id)s::int IS NULL OR EXISTS (
           SELECT FROM wallet_account AS a
            WHERE a.id = e.account_id AND a.asset_id = %(asset_id)s)
)
SELECT 'account ' || coalesce(s.account_id, e.account_id)
           || ' entry of transfer ' || coalesce(s.transfer_id, e.transfer_id),
       f.field, f.expected, f.found
  FROM side AS s FULL JOIN entry AS e
    ON e.account_id = s.account_id AND e.transfer_id = s.transfer_id
 CROSS JOIN LATERAL (VALUES
    ('amount', s.amount::text, e.amount::text),
    ('effective_at', s.effective_at::text, e.effective_at::text)) AS f(field, expected, found)
 WHERE f.expected IS DISTINCT FROM f.found
"""

ASSETS = """
SELECT 'transfer ' || t.id, f.field, t.asset_id, f.found
  FROM wallet_transfer AS t
  LEFT JOIN wallet_account AS d ON d.id = t.debit_account_id
  LEFT JOIN wallet_account AS c ON c.id = t.credit_account_id
 CROSS JOIN LATERAL (VALUES
    ('asset of the debit account', d.asset_id, true),
    ('asset of the credit account', c.asset_id, t.credit_account_id IS NOT NULL)
 ) AS f(field, found, is_named)
 WHERE f.is_named AND f.found IS DISTINCT FROM t.asset_id
   AND (%(asset_id)s::int IS NULL OR t.asset_id = %(asset_id)s)
"""

HOLDS = """
WITH taken AS (
    SELECT hold_id, sum(amount + coalesce(released, 0)) AS amount, max(id) AS last_id
      FROM wallet_transfer WHERE kind IN (3, 4) GROUP BY hold_id
), rebuilt AS (
    SELECT t.id, t.debit_account_id, t.credit_account_id, t.asset_id, t.amount, t.expires_at,
           t.amount - coalesce(k.amount, 0) AS remaining,
           CASE WHEN t.amount > coalesce(k.amount, 0) THEN 0
                WHEN l.kind = 3 THEN 1
                WHEN l.expires_at IS NULL THEN 2 ELSE 3 END AS state
      FROM wallet_transfer AS t
      LEFT JOIN taken AS k ON k.hold_id = t.id
      LEFT JOIN wallet_transfer AS l ON l.id = k.last_id
     WHERE t.kind = 2
)
SELECT 'hold ' || coalesce(r.id, h.id), f.field, f.expected, f.found
  FROM rebuilt AS r FULL JOIN wallet_hold AS h ON h.id = r.id
 CROSS JOIN LATERAL (VALUES
    ('account', r.debit_account_id::text, h.account_id::text),
    ('credit account', r.credit_account_id::text, h.credit_account_id::text),
    ('asset', r.asset_id::text, h.asset_id::text),
    ('amount', r.amount::text, h.amount::text),
    ('expires_at', r.expires_at::text, h.expires_at::text),
    ('remaining', r.remaining::text, h.remaining::text),
    ('state', r.state::text, h.state::text)) AS f(field, expected, found)
 WHERE f.expected IS DISTINCT FROM f.found
   AND (%(asset_id)s::int IS NULL OR coalesce(r.asset_id, h.asset_id) = %(asset_id)s)
"""

HOLD_ENDS = """
SELECT 'transfer ' || p.id, f.field, f.expected, f.found
  FROM wallet_transfer AS p
  LEFT JOIN wallet_transfer AS h ON h.id = p.hold_id AND h.kind = 2 AND h.id < p.id
 CROSS JOIN LATERAL (VALUES
    ('hold before it', p.hold_id, h.id),
    ('debit account of the hold', h.debit_account_id, p.debit_account_id),
    ('credit account of the hold', coalesce(h.credit_account_id, p.credit_account_id),
                                   p.credit_account_id),
    ('asset of the hold', h.asset_id, p.asset_id)) AS f(field, expected, found)
 WHERE p.kind IN (3, 4) AND f.expected IS DISTINCT FROM f.found
   AND (%(asset_id)s::int IS NULL OR p.asset_id = %(asset_id)s)
"""

HELD = """
WITH open AS (
    SELECT side.account_id, sum(side.held) AS held, sum(side.incoming) AS incoming
      FROM wallet_hold AS h
     CROSS JOIN LATERAL (VALUES
        (h.account_id, h.remaining, 0), (h.credit_account_id, 0, h.remaining)
     ) AS side(account_id, held, incoming)
     WHERE h.state = 0 AND side.account_id IS NOT NULL
     GROUP BY side.account_id
)
SELECT 'account ' || a.id, f.field, f.expected, f.found
  FROM wallet_account AS a LEFT JOIN open AS o ON o.account_id = a.id
 CROSS JOIN LATERAL (VALUES
    ('held', coalesce(o.held, 0), a.held),
    ('incoming', coalesce(o.incoming, 0), a.incoming)) AS f(field, expected, found)
 WHERE f.expected <> f.found
   AND (%(asset_id)s::int IS NULL OR a.asset_id = %(asset_id)s)
"""

LIMITS = """
SELECT 'account ' || a.id, f.field, f.expected, f.found
  FROM wallet_account AS a
 CROSS JOIN LATERAL (VALUES
    ('available', '>= ' || a.floor, a.balance - a.held, a.balance - a.held >= a.floor),
    ('balance and incoming', '<= ' || a.ceiling, a.balance + a.incoming,
                             a.balance + a.incoming <= a.ceiling),
    ('held', '>= 0', a.held, a.held >= 0),
    ('incoming', '>= 0', a.incoming, a.incoming >= 0),
    ('balance of a closed account', '0', a.balance, a.status <> 2 OR a.balance = 0)
 ) AS f(field, expected, found, is_kept)
 WHERE NOT f.is_kept AND (%(asset_id)s::int IS NULL OR a.asset_id = %(asset_id)s)
"""

NEWEST = """
WITH touched AS (
    SELECT account_id, max(id) AS last_transfer_id
      FROM (SELECT debit_account_id AS account_id, id FROM wallet_transfer
            UNION ALL
            SELECT credit_account_id, id FROM wallet_transfer
             WHERE credit_account_id IS NOT NULL) AS side
     GROUP BY account_id
)
SELECT 'account ' || a.id, 'last_transfer_id', coalesce(t.last_transfer_id, 0), a.last_transfer_id
  FROM wallet_account AS a LEFT JOIN touched AS t ON t.account_id = a.id
 WHERE coalesce(t.last_transfer_id, 0) <> a.last_transfer_id
   AND (%(asset_id)s::int IS NULL OR a.asset_id = %(asset_id)s)
"""

BATCHES = """
WITH written AS (
    SELECT id >> 12 << 12 AS id, count(*) AS transfer_count, max(id) - min(id) + 1 AS span,
           min(id) AS first_id
      FROM wallet_transfer GROUP BY 1
), told AS (
    SELECT id, sum(transfer_count) AS transfer_count FROM wallet_batch GROUP BY id
)
SELECT 'batch ' || coalesce(w.id, t.id), f.field, f.expected, f.found
  FROM written AS w FULL JOIN told AS t ON t.id = w.id
 CROSS JOIN LATERAL (VALUES
    ('transfer_count', w.transfer_count, t.transfer_count),
    ('first id', w.id, coalesce(w.first_id, w.id)),
    ('ids in a row', w.transfer_count, w.span)) AS f(field, expected, found)
 WHERE f.expected IS DISTINCT FROM f.found
"""

REFERENCE_ROWS = """
SELECT 'reference ' || r.digest, f.field, f.expected, f.found
  FROM wallet_reference AS r
  LEFT JOIN wallet_transfer AS t ON t.id = r.transfer_id AND t.reference <> ''
 CROSS JOIN LATERAL (VALUES
    ('transfer', r.transfer_id::text, coalesce(t.id, 0)::text),
    ('transfer or refusal', 'one of the two',
        CASE WHEN (r.transfer_id <> 0) = (r.refusal = 0) THEN 'one of the two' ELSE 'both or none'
        END)
 ) AS f(field, expected, found)
 WHERE f.expected <> f.found
UNION ALL
SELECT 'transfer ' || r.transfer_id, 'references', '1', count(*)::text
  FROM wallet_reference AS r WHERE r.refusal = 0
 GROUP BY r.transfer_id HAVING count(*) > 1
"""

LAWS = (
    Law("zero_sum", "the balances of each asset sum to zero", ZERO_SUM),
    Law("balances", "a balance is the sum of the account's entries", BALANCES),
    Law("entry_chain", "the balance after an entry is the one before plus its amount", ENTRY_CHAIN),
    Law("sides", "a transfer leaves two entries, and every entry has its transfer", SIDES),
    Law("assets", "both accounts of a transfer hold its asset", ASSETS),
    Law("holds", "a hold is what its transfers left of it", HOLDS),
    Law("hold_ends", "a post or void fits its hold and came after it", HOLD_ENDS),
    Law("held", "what is held and incoming is the sum of open holds", HELD),
    Law("limits", "every account keeps its limits", LIMITS),
    Law("newest", "an account knows the newest transfer that touched it", NEWEST),
    Law("batches", "a batch has all its transfers, and every transfer its batch", BATCHES, False),
    Law("reference_rows", "a used reference made one transfer or a refusal", REFERENCE_ROWS, False),
)
