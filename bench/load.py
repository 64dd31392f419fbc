"""An open-loop load generator for HTTP: requests leave when they are due, answered or not.

    python -m bench.load --port 8001 --per-s 3000 --seconds 10 < requests

A closed loop waits for its answers and so asks less of a server the slower it gets, hiding
just what we want to see. Here latency counts from the moment a request was due, so time
spent waiting for a free connection is part of it. With `--per-s 0` the loop is closed:
every connection always has one request out, which finds the capacity.

Standard input holds whole HTTP requests, each preceded by its length in 4 bytes
(big-endian); they are sent in turn, from the start again when used up.
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
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple, cast

import uvloop

CONNECTIONS = 128
DRAIN_S = 6.0
"""How long to wait for answers after the last request: longer than the gateway waits."""
TICK_S = 0.001
"""The event loop's finest timer; anything less would spin and eat the core."""


class Outcome(NamedTuple):
    """What became of a load. Latencies are milliseconds from when a request was due."""

    offered: int
    answered: int
    elapsed_s: float
    statuses: dict[str, int]
    own_cpu_us_each: float
    per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    most_ms: float


class Client(asyncio.Protocol):
    """One connection, one request at a time. Reads just enough of an answer to see its end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._due_at = 0.0
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes, *, due_at: float) -> None:
        assert self._transport is not None
        self._due_at = due_at
        self._transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, chunk: bytes) -> None:
        self._received += chunk
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end].lower()
        start = head.index(b"content-length:") + 15
        stop = head.find(b"\r", start)
        length = int(head[start : stop if stop > 0 else None])
        if len(self._received) < head_end + 4 + length:
            return
        status = head[9:12].decode()
        self._received = b""
        self._load.answered(self, status, self._due_at)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self)


class Load:
    """A load in progress: who is free, what waits, what was answered."""

    def __init__(self, requests: Iterator[bytes], *, per_s: float, seconds: float) -> None:
        self._requests = requests
        self._per_s = per_s
        self._seconds = seconds
        self._free: deque[Client] = deque()
        self._due: deque[float] = deque()
        self._statuses: Counter[str] = Counter()
        self._latencies_ms: list[float] = []
        self._offered = 0
        self._last_answer_at = 0.0
        self._is_over = False

    async def run(self, *, host: str, port: int, connections: int) -> Outcome:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, client = await loop.create_connection(lambda: Client(self), host, port)
            self._free.append(client)
        started = time.perf_counter()
        if self._per_s:
            await self._offer(started)
        else:
            await self._saturate(started)
        self._is_over = True
        for _ in range(round(DRAIN_S / 0.01)):
            if sum(self._statuses.values()) == self._offered:
                break
            await asyncio.sleep(0.01)
        return self._outcome(started)

    async def _offer(self, started: float) -> None:
        total = round(self._per_s * self._seconds)
        while self._offered < total:
            due = min(total, int((time.perf_counter() - started) * self._per_s) + 1)
            for number in range(self._offered, due):
                self._due.append(started + number / self._per_s)
            self._offered = due
            self._send_due()
            await asyncio.sleep(TICK_S)

    async def _saturate(self, started: float) -> None:
        for client in list(self._free):
            self._again(client)
        await asyncio.sleep(started + self._seconds - time.perf_counter())

    def _send_due(self) -> None:
        while self._due and self._free:
            self._free.popleft().send(next(self._requests), due_at=self._due.popleft())

    def _again(self, client: Client) -> None:
        self._offered += 1
        client.send(next(self._requests), due_at=time.perf_counter())

    def answered(self, client: Client, status: str, due_at: float) -> None:
        now = self._last_answer_at = time.perf_counter()
        self._statuses[status] += 1
        self._latencies_ms.append((now - due_at) * 1000)
        if self._per_s:
            self._free.append(client)
            self._send_due()
        elif not self._is_over:
            self._again(client)

    def lost(self, client: Client) -> None:
        if not self._is_over:
            self._statuses["lost"] += 1

    def _outcome(self, started: float) -> Outcome:
        latencies = sorted(self._latencies_ms) or [0.0]
        elapsed_s = max(self._last_answer_at - started, 1e-9)
        return Outcome(
            offered=self._offered,
            answered=len(self._latencies_ms),
            elapsed_s=round(elapsed_s, 3),
            statuses=dict(self._statuses),
            own_cpu_us_each=round(time.process_time() / max(1, self._offered) * 1e6, 1),
            per_s=round(len(self._latencies_ms) / elapsed_s, 1),
            p50_ms=_quantile(latencies, 0.5),
            p99_ms=_quantile(latencies, 0.99),
            p999_ms=_quantile(latencies, 0.999),
            most_ms=round(latencies[-1], 2),
        )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)


def request(method: str, path: str, *, key: str, body: bytes = b"") -> bytes:
    """Write down one HTTP request, as a trader's program would send it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--per-s", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args()
    requests = cycle(unpack(sys.stdin.buffer.read()))
    load = Load(requests, per_s=options.per_s, seconds=options.seconds)
    gc.freeze()
    outcome = uvloop.run(
        load.run(host=options.host, port=options.port, connections=options.connections)
    )
    print(json.dumps(outcome._asdict()))


if __name__ == "__main__":
    main()
