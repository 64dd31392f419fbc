"""Every reading through the ORM that asks for no order comes in a random one.

    make test ARGS='-p tests.support.unordered'

PostgreSQL promises no order and yet mostly keeps one, so a missing `order_by` is found by luck.
Run this now and then. It reaches the process of the tests alone, not those they start.
"""

from __future__ import annotations

from typing import Any

from django.db.models.expressions import OrderBy
from django.db.models.functions import Random
from django.db.models.sql.compiler import SQLCompiler

_get_order_by = SQLCompiler.get_order_by


def _shuffled(self: SQLCompiler) -> Any:
    query = self.query
    asked = _get_order_by(self)
    may_shuffle = (
        type(self) is SQLCompiler
        and not (asked or query.distinct or query.group_by or query.combinator)
        and not (query.subquery or query.select_for_update or query.is_sliced)
        and not any(each.contains_aggregate for each in query.annotation_select.values())
    )
    if not may_shuffle:
        return asked
    order = OrderBy(Random()).resolve_expression(query)
    return [(order, (*self.compile(order), False))]


SQLCompiler.get_order_by = _shuffled  # type: ignore[method-assign]
