"""A small Python client for Scrip's public API.

    from scripclient import Scrip

    scrip = Scrip("http://localhost:8000", token="scrip_live_…")
    scrip.wallets()
    order = scrip.place_order("STADIUM-DRINK/PTS", side="buy", price=120, quantity=2)
    scrip.cancel_order("STADIUM-DRINK/PTS", order["order_id"])

Every method returns the answer's JSON. A refusal is raised as `Refused` with its stable
`code`. Writes carry an idempotency key (or a client order id), so a time-out is safe: the
client asks again with the same key, up to `TRIES` times, and gets the first answer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

TRIES = 5
TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 5.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

Json = dict[str, Any]


class Refused(Exception):
    """The platform said no: `code` is stable, `status` is HTTP's, `problem` is all it said."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.problem = dict(problem)
        super().__init__(f"{self.code}: {problem.get('detail') or problem.get('title', '')}")


class Scrip:
    """One person's view of a Scrip installation, through one of their API keys."""

    def __init__(self, origin: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=f"{origin.rstrip('/')}/api/v1", headers=headers, timeout=TIMEOUT_S
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # -- wallets -----------------------------------------------------------------------------

    def wallets(self) -> list[Json]:
        """One's own wallets, each with its balance and what of it is available."""
        return list(self._pages("/wallets/"))

    def entries(self, asset: str) -> Iterator[Json]:
        """The movements on one wallet, newest first, page after page."""
        return self._pages(f"/wallets/{asset}/entries/")

    def pay(self, to: str, asset: str, amount: int, *, memo: str = "", key: str = "") -> Json:
        """Pay somebody by handle, in minor units."""
        body = {"to": to, "asset": asset, "amount": amount, "memo": memo}
        return self._write("POST", "/payments/", body, key=key)

    # -- the market --------------------------------------------------------------------------

    def markets(self) -> list[Json]:
        """All markets."""
        return list(self._pages("/markets/"))

    def book(self, market: str) -> Json:
        """The best prices of both sides."""
        return self._read(f"/markets/{market}/book/")

    def trades(self, market: str) -> Iterator[Json]:
        """The tape, newest first."""
        return self._pages(f"/markets/{market}/trades/")

    def place_order(
        self,
        market: str,
        *,
        side: str,
        price: int,
        quantity: int,
        time_in_force: str = "gtc",
        client_order_id: str = "",
    ) -> Json:
        """Place a limit order: price in quote minor units for one lot, quantity in units."""
        body = {
            "side": side,
            "price": price,
            "quantity": quantity,
            "time_in_force": time_in_force,
            "client_order_id": client_order_id or uuid.uuid4().hex,
        }
        return self._write("POST", f"/markets/{market}/orders/", body)

    def cancel_order(self, market: str, order_id: str) -> Json:
        """Take an order off the book."""
        return self._write("DELETE", f"/markets/{market}/orders/{order_id}/")

    def orders(self, *, only_open: bool = False) -> Iterator[Json]:
        """One's own orders, newest first."""
        return self._pages("/orders/", {"status": "open"} if only_open else {})

    def fills(self) -> Iterator[Json]:
        """One's own trades, newest first."""
        return self._pages("/fills/")

    # -- vouchers ----------------------------------------------------------------------------

    def series(self) -> list[Json]:
        """The voucher series there are."""
        return list(self._pages("/series/"))

    def reveal(self, series: str, *, key: str = "") -> Json:
        """Burn one unit of a series and see its code."""
        return self._write("POST", f"/series/{series}/reveal/", {}, key=key)

    # -- how it asks -------------------------------------------------------------------------

    def _pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Json]:
        page = self._read(path, query)
        while True:
            yield from page["results"]
            if page["next"] is None:
                return
            page = self._read(page["next"].removeprefix("/api/v1"))

    def _read(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return self._ask("GET", path, params=query or None)

    def _write(self, method: str, path: str, body: Json | None = None, *, key: str = "") -> Json:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._ask(method, path, json=body, headers=headers)

    def _ask(self, method: str, path: str, **request: Any) -> Json:
        """Ask, and ask again where nothing can go wrong by it: all writes carry a key."""
        for attempt in range(1, TRIES + 1):
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError:
                if attempt == TRIES:
                    raise
                time.sleep(_pause_s(attempt))
                continue
            if response.status_code in RETRIED_STATUSES and attempt < TRIES:
                time.sleep(_pause_s(attempt, response.headers.get("Retry-After")))
                continue
            return _read_answer(response)
        raise AssertionError("unreachable")


def _pause_s(attempt: int, retry_after: str | None = None) -> float:
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), LONGEST_PAUSE_S)
    return min(0.1 * 2.0**attempt, LONGEST_PAUSE_S)


def _read_answer(response: httpx.Response) -> Json:
    try:
        answer = response.json()
    except ValueError:
        answer = {"code": "not_json", "title": response.text[:200]}
    if response.is_error:
        raise Refused(response.status_code, answer)
    return answer  # type: ignore[no-any-return]
