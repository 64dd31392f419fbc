"""Markets, orders and fills in the admin: markets are run from here, the rest is read."""

from orderbook.admin import markets, orders

__all__ = ["markets", "orders"]
