"""What the way from HTTP to a durable row and back holds, and how long it takes.

    python -m bench.gateway

Generator, gateway, writer, PostgreSQL and Valkey are processes of their own and share this
machine's cores. The engine only writes a row a command (`bench/echo.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from typing import Any

import psycopg

from bench.cpu import cpu_s
from bench.echo import TABLE
from bench.load import pack, request
from config.embedded import ROOT, Embedded
from config.guard import Guard

FOLDER = ROOT / "var" / "bench-gateway"
PORT = 18_455
REQUESTS = 20_000
OFFERED_PER_S = 3_000
SECONDS = 10.0
START_TIMEOUT_S = 30.0
ORDERS = "/api/v1/markets/DEMO/orders"


def run() -> dict[str, Any]:
    """Start everything, measure the capacity and the latency at a fixed rate, stop it all."""
    guard = Guard()
    try:
        parts = _start(guard)
        _wait_until_served()
        requests = pack(_orders())
        _load(requests, per_s=1_000, seconds=2)  # warm
        capacity = _measured(parts, requests, per_s=0)
        steady = _measured(parts, requests, per_s=OFFERED_PER_S)
    finally:
        guard.close()
    return {
        "gateway.echo_orders_per_s": capacity["per_s"],
        f"gateway.echo_p50_ms_at_{OFFERED_PER_S}_per_s": steady["p50_ms"],
        f"gateway.echo_p99_ms_at_{OFFERED_PER_S}_per_s": steady["p99_ms"],
        "capacity": capacity,
        "steady": steady,
    }


Parts = dict[str, subprocess.Popen[bytes]]


def _start(guard: Guard) -> Parts:
    embedded = Embedded(FOLDER)
    parts = {"postgres": embedded.start_postgres(guard), "valkey": embedded.start_valkey(guard)}
    environment = os.environ | {
        "DATABASE_URL": embedded.database_url,
        "REDIS_URL": embedded.redis_url,
        "SECRET_KEY": "only-for-measuring",
        "DJANGO_SETTINGS_MODULE": "bench.echo_settings",
    }
    migrate = [sys.executable, "manage.py", "migrate", "-v0", "--skip-checks"]
    subprocess.run(migrate, env=environment, check=True, cwd=ROOT)
    with psycopg.connect(embedded.database_url) as connection:
        connection.execute(TABLE)
        connection.execute("TRUNCATE bench_echo, sequencer_shard")
    with (FOLDER / "processes.log").open("wb") as log:
        for part in (["writer"], ["gateway", str(PORT)]):
            command = [sys.executable, "-m", "bench.echo", *part]
            process = guard.start(command, output=log, folder=ROOT, environment=environment)
            parts[part[0]] = process
    return parts


def _measured(parts: Parts, requests: bytes, *, per_s: float) -> dict[str, Any]:
    """One load, with the CPU that each part took for a command, and the mean batch."""
    batches = _batches()
    before = {name: cpu_s(part.pid) for name, part in parts.items()}
    outcome = _load(requests, per_s=per_s, seconds=SECONDS)
    count = max(1, outcome["answered"])
    outcome["mean_batch"] = round(count / max(1, _batches() - batches), 1)
    outcome["cpu_us_each"] = {
        name: round((cpu_s(part.pid) - before[name]) / count * 1e6, 1)
        for name, part in parts.items()
    }
    return outcome


def _wait_until_served() -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz").close()
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing is served; see {FOLDER}/processes.log")


def _orders(count: int = REQUESTS) -> list[bytes]:
    orders = []
    for number in range(count):
        body = {
            "client_order_id": f"bench-{number:08d}",
            "side": "buy" if number % 2 else "sell",
            "price": 1_000 + number % 50,
            "quantity": 1 + number % 9,
        }
        key = f"scrip_live_{number % 100:032d}"
        orders.append(request("POST", ORDERS, key=key, body=json.dumps(body).encode()))
    return orders


def _load(requests: bytes, *, per_s: float, seconds: float) -> dict[str, Any]:
    """Run the generator as a process of its own."""
    options = ["--port", str(PORT), "--per-s", str(per_s), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "bench.load", *options]
    done = subprocess.run(command, input=requests, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def _batches() -> int:
    with psycopg.connect(Embedded(FOLDER).database_url) as connection:
        row = connection.execute("SELECT coalesce(sum(batches), 0) FROM sequencer_shard").fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
