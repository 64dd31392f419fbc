"""What few orders have beside their row: conditions, amendments, another place in a queue."""

from __future__ import annotations

from django.db import models


class SpecialOrder(models.Model):
    """What sets an order apart: what it asked for beside price and size, and what became of it.

    0 stands for "not asked" and "not so". The first part never changes; `reduced_lots` counts
    what an amendment or a kept-apart trade took off the order (negative: added to it). Among
    orders of one price the smaller `(priority_id, priority_index)` comes first; where it is 0,
    the order's own id stands for it. A stop has run if it has a `ran_id`, and waits for its
    turn to run if it has a `turn`. `cause` says why an order was cancelled (`matching.Cause`); 0:
    its owner asked, or it never waits.
    """

    id = models.BigIntegerField(primary_key=True)
    market_id = models.IntegerField()
    stop_ticks = models.BigIntegerField()
    minimum_lots = models.BigIntegerField()
    peak_lots = models.BigIntegerField()
    expires_us = models.BigIntegerField()
    partner_id = models.BigIntegerField()

    amended_price_ticks = models.BigIntegerField()
    amended_stop_ticks = models.BigIntegerField()
    reduced_lots = models.BigIntegerField()
    shown_lots = models.BigIntegerField()
    priority_id = models.BigIntegerField()
    priority_index = models.IntegerField()
    turn = models.IntegerField()
    ran_id = models.BigIntegerField()
    cause = models.SmallIntegerField(default=0, db_default=0)
