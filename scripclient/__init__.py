"""A Python client for Scrip's public API: typed, and safe to repeat.

    from scripclient import Scrip

    with Scrip("http://localhost:8000", token="scrip_live_…") as scrip:
        scrip.wallets()
        order = scrip.place_order("STADIUM-DRINK.PTS", side="buy", price=120, quantity=2)
        scrip.cancel_order("STADIUM-DRINK.PTS", order["order_id"])
        for book in scrip.follow_book("STADIUM-DRINK.PTS"):
            print(book.best_bid, book.best_ask)

Every method returns the answer's JSON (`types.py` says its shape). A refusal is raised as
`Refused` with its stable `code`. Writes carry an idempotency key or a client order id, so a
time-out is safe: the client asks again with the same key, up to 5 times, and gets the first
answer. `AsyncScrip` is the same for asyncio. A `LocalBook` follows a market by its changes and
checks each against the market's checksum.
"""

from scripclient.aio import AsyncScrip
from scripclient.answers import Refused
from scripclient.book import LocalBook, OutOfStep
from scripclient.client import Scrip

__all__ = ["AsyncScrip", "LocalBook", "OutOfStep", "Refused", "Scrip"]
