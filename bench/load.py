"""An open-loop load generator for HTTP: requests leave when they are due, answered or not.

    python -m bench.load --port 8001 --phases 3000x10 < requests

A closed loop waits for its answers and so asks less of a server the slower it gets, hiding
just what we want to see. Here latency counts from the moment a request was due, so time
spent waiting for a free connection is part of it. A phase of `0x10` is closed for ten seconds:
every connection always has one request out, which finds the capacity. Phases follow one
another without a pause; each is told apart by when its requests were due.

Standard input holds whole HTTP requests, each preceded by its length in 4 bytes
(big-endian); they are sent in turn, from the start again when used up. `############` in a
request is replaced by a number that no other request has.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import count, cycle
from typing import Any, NamedTuple, cast

import uvloop

CONNECTIONS = 128
DRAIN_S = 6.0
"""How long to wait for answers after the last request: longer than the gateway waits."""
TICK_S = 0.001
"""The event loop's finest timer; anything less would spin and eat the core."""
REFUSALS_KNOWN = 100
NUMBER = b"#" * 12
FIRST_NUMBER = time.time_ns() // 1_000 % 1_000_000_000 * 1_000


class Phase(NamedTuple):
    """So many requests a second for so long; 0 is a closed loop."""

    per_s: float
    seconds: float


class Tally:
    """What became of the requests of one phase. Latencies are from when a request was due."""

    def __init__(self) -> None:
        self.offered = 0
        self.statuses: Counter[bytes] = Counter()
        self.good_ms: list[float] = []
        self.other_ms: list[float] = []
        self.started = 0.0
        self.last_answer_at = 0.0

    def outcome(self) -> dict[str, Any]:
        """The figures of the phase; quantiles are of what was done (2xx)."""
        good = sorted(self.good_ms) or [0.0]
        elapsed_s = max(self.last_answer_at - self.started, 1e-9)
        return {
            "offered": self.offered,
            "answered": sum(self.statuses.values()),
            "done": len(self.good_ms),
            "elapsed_s": round(elapsed_s, 3),
            "statuses": {status.decode(): count for status, count in self.statuses.items()},
            "done_per_s": round(len(self.good_ms) / elapsed_s, 1),
            "p50_ms": quantile(good, 0.5),
            "p99_ms": quantile(good, 0.99),
            "p999_ms": quantile(good, 0.999),
            "most_ms": round(good[-1], 2),
            "refused_p99_ms": quantile(sorted(self.other_ms) or [0.0], 0.99),
        }


class Client(asyncio.Protocol):
    """One connection, one request at a time. Reads just enough of an answer to see its end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self.due_at = 0.0
        self.tally = Tally()
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes, *, due_at: float, tally: Tally) -> None:
        assert self._transport is not None
        self.due_at = due_at
        self.tally = tally
        self._transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, chunk: bytes) -> None:
        if chunk in self._load.refusals and not self._received:
            self._load.answered(self, chunk[9:12])
            return
        received = self._received + chunk if self._received else chunk
        head_end = received.find(b"\r\n\r\n")
        start = received.find(b"content-length: ", 0, head_end) + 16
        if start < 16 and head_end > 0:
            start = received[:head_end].lower().index(b"content-length:") + 15
        if head_end < 0 or len(received) < head_end + 4 + int(
            received[start : received.find(b"\r", start)]
        ):
            self._received = received
            return
        self._received = b""
        if received[9:10] == b"4" and len(self._load.refusals) < REFUSALS_KNOWN:
            self._load.refusals.add(received)
        self._load.answered(self, received[9:12])

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self)


class Load:
    """A load in progress: who is free, what waits, what was answered."""

    def __init__(self, requests: Sequence[bytes], phases: Sequence[Phase]) -> None:
        self._requests = cycle([each.split(NUMBER) for each in requests])
        self._phases = phases
        self._free: deque[Client] = deque()
        self._due: deque[tuple[float, Tally]] = deque()
        self._numbers = count(FIRST_NUMBER)
        self.refusals: set[bytes] = set()  # answers that need not be read again
        self._closed: Tally | None = None
        self._open_answers = 0
        self._is_over = False

    async def run(self, *, host: str, port: int, connections: int) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, client = await loop.create_connection(lambda: Client(self), host, port)
            self._free.append(client)
        tallies = [await self._run_phase(phase) for phase in self._phases]
        for _ in range(round(DRAIN_S / 0.01)):
            if not self._open_answers and not self._due:
                break
            await asyncio.sleep(0.01)
        self._is_over = True
        return [tally.outcome() for tally in tallies]

    async def _run_phase(self, phase: Phase) -> Tally:
        tally = Tally()
        tally.started = started = time.perf_counter()
        if not phase.per_s:
            self._closed = tally
            while self._free:
                self._again(self._free.popleft(), tally)
            await asyncio.sleep(phase.seconds)
            self._closed = None
            return tally
        total = round(phase.per_s * phase.seconds)
        while tally.offered < total:
            due = min(total, int((time.perf_counter() - started) * phase.per_s) + 1)
            for number in range(tally.offered, due):
                self._due.append((started + number / phase.per_s, tally))
            tally.offered = due
            self._send_due()
            await asyncio.sleep(TICK_S)
        return tally

    def _send_due(self) -> None:
        while self._due and self._free:
            due_at, tally = self._due.popleft()
            self._open_answers += 1
            self._free.popleft().send(self._next(), due_at=due_at, tally=tally)

    def _again(self, client: Client, tally: Tally) -> None:
        tally.offered += 1
        self._open_answers += 1
        client.send(self._next(), due_at=time.perf_counter(), tally=tally)

    def _next(self) -> bytes:
        parts = next(self._requests)
        if len(parts) == 2:
            return b"%b%012d%b" % (parts[0], next(self._numbers), parts[1])
        numbered = [b"%b%012d" % (part, next(self._numbers)) for part in parts[:-1]]
        return b"".join(numbered) + parts[-1]

    def answered(self, client: Client, status: bytes) -> None:
        tally = client.tally
        now = tally.last_answer_at = time.perf_counter()
        self._open_answers -= 1
        tally.statuses[status] += 1
        latencies = tally.good_ms if status[0] == 50 else tally.other_ms
        latencies.append((now - client.due_at) * 1000)
        if self._closed is not None:
            self._again(client, self._closed)
            return
        self._free.append(client)
        if self._due:
            self._send_due()

    def lost(self, client: Client) -> None:
        if not self._is_over:
            client.tally.statuses[b"lost"] += 1


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)


def request(method: str, path: str, *, key: str, body: bytes = b"", once: str = "") -> bytes:
    """Write down one HTTP request, as a person's program would send it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
    if once:
        lines.append(f"Idempotency-Key: {once}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def pack(requests: Iterable[bytes]) -> bytes:
    """Lay requests out as this program's standard input wants them."""
    return b"".join(struct.pack("!I", len(each)) + each for each in requests)


def unpack(packed: bytes) -> list[bytes]:
    """Read what `pack` laid out."""
    requests, at = [], 0
    while at < len(packed):
        (length,) = struct.unpack_from("!I", packed, at)
        requests.append(packed[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def phases(text: str) -> list[Phase]:
    """Read phases: `3000x10,0x5`."""
    return [Phase(*map(float, each.split("x"))) for each in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--phases", type=phases, default="0x10")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args()
    load = Load(unpack(sys.stdin.buffer.read()), options.phases)
    gc.freeze()
    outcomes = uvloop.run(
        load.run(host=options.host, port=options.port, connections=options.connections)
    )
    offered = sum(outcome["offered"] for outcome in outcomes)
    own_us = round(time.process_time() / max(1, offered) * 1e6, 1)
    print(json.dumps({"phases": outcomes, "own_cpu_us_each": own_us}))


if __name__ == "__main__":
    main()
