"""What the ledger does by itself: seals, sweeps lapsed holds, keeps months ahead.

Each takes many transactions of its own and may be run again at any time.
"""

from __future__ import annotations

import logging

from jobs import SLOW_QUEUE, repeatable_job
from wallet import expiry, holds, lot_upkeep, partitions
from wallet import seal as chain

MOST_ACCOUNTS = 200_000
"""The most accounts that one run sweeps for lapsed points; the next run goes on from there."""

logger = logging.getLogger(__name__)


@repeatable_job("wallet.seal", queue=SLOW_QUEUE, time_limit_s=300)
def seal() -> int:
    """Seal what was committed since the last seal, and say how many seals it took."""
    return len(chain.seal())


@repeatable_job("wallet.expire_holds", time_limit_s=300)
def expire_holds() -> int:
    """Release the holds that lapsed, and say how many."""
    return holds.expire_holds()


@repeatable_job("wallet.expire_points", queue=SLOW_QUEUE, time_limit_s=600)
def expire_points() -> int:
    """Move lapsed points to breakage, and say how many lots there were."""
    return expiry.expire_due(limit=MOST_ACCOUNTS).expiry_count


@repeatable_job("wallet.fold_points", queue=SLOW_QUEUE, time_limit_s=600)
def fold_points() -> int:
    """Derive lots before anybody asks for them, and say for how many accounts."""
    return lot_upkeep.fold_all()


@repeatable_job("wallet.maintain_partitions", queue=SLOW_QUEUE, time_limit_s=300)
def maintain_partitions() -> int:
    """Make the coming months' partitions, and say how many were missing."""
    reports = partitions.maintain()
    for report in reports:
        if not report.is_well:
            logger.error("partitions of %s: %s", report.table, report)
    return sum(len(report.made) for report in reports)
