"""What the way from HTTP to a settled, durable order and back holds, and how long it takes.

The real gateway, writer, engine and ledger; one market, two hundred traders with keys.
Generator, gateway, writer, PostgreSQL and Valkey are processes of their own and share this
machine's cores. Beside it, in the same run, a DRF view that inserts one row a request.

    python -m bench gateway
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import connection

from accounts.actions import create_key, set_rate
from accounts.models import User
from accounts.scopes import Scope
from bench.cpu import cpu_s
from bench.drf import TABLE
from bench.engine import Flow
from bench.load import NUMBER, pack, request
from config.embedded import ROOT
from config.guard import Guard
from sequencer.models import Shard

TRADERS = 200
REQUESTS = 4_000
STEADY_PER_S = 3_000
SECONDS = 10.0
OVERLOAD_S = 20.0
CROWD_PER_S = 30_000
"""Five times what is wanted of the gateway, whatever it holds: a crowd that can be compared."""
RECOVERY_S = 2.0
CONNECTIONS = 160
"""For the capacity: less than the gateway lets in or wait, so that nobody is refused."""
CROWD = 500
"""For the overload: so many that nobody who wants to send waits for a free connection."""
BATCH = 500
BATCH_CONNECTIONS = 6
START_TIMEOUT_S = 30.0
RATE = 1_000_000
LOG = settings.VAR_DIR / "bench-gateway.log"
BESIDE = {"gateway.durable_orders_per_s": "gateway.drf_baseline_per_s"}


class Served:
    """The market behind a gateway, with the processes that serve it."""

    def __init__(self, guard: Guard) -> None:
        self.flow = Flow()
        self.port = free_port()
        self._random = random.Random(7)
        self.keys = self._make_keys()
        shard = str(self.flow.market.shard)
        self.parts = {
            "writer": start(guard, "manage.py", "writer", "--shard", shard),
            "gateway": start(guard, "manage.py", "gateway", "--port", str(self.port)),
        }
        wait_until_served(self.port)
        self.pids = {name: part.pid for name, part in self.parts.items()}
        self.pids["postgres"] = int(
            (settings.VAR_DIR / "postgres/postmaster.pid").read_text().split()[0]
        )
        self.orders = pack(self._order() for _ in range(REQUESTS))
        self.batches = pack(self._batch() for _ in range(TRADERS))

    def _make_keys(self) -> list[str]:
        """Keys of a rate that is never in the way."""
        people = User.objects.order_by("-pk")[:TRADERS]
        keys = []
        for person in people:
            made = create_key(person, name="bench", scopes=[Scope.ORDERS_WRITE])
            set_rate(made.key.pk, per_s=RATE, burst=RATE, by=None, reason="measuring")
            keys.append(made.token)
        return keys

    @property
    def _path(self) -> str:
        return f"/api/v1/markets/{self.flow.market.code}/orders/"

    def _terms(self) -> dict[str, Any]:
        """Nine orders in ten wait in the book, one takes what waits."""
        side = self._random.choice(("buy", "sell"))
        away = self._random.randint(1, 100) if self._random.random() < 0.9 else -10
        return {
            "client_order_id": NUMBER.decode(),
            "side": side,
            "price": 1_000 - away if side == "buy" else 1_000 + away,
            "quantity": self._random.randint(1, 20),
        }

    def _order(self) -> bytes:
        body = json.dumps(self._terms()).encode()
        return request("POST", self._path, key=self._random.choice(self.keys), body=body)

    def _batch(self) -> bytes:
        commands = [{"place": self._terms()} for _ in range(BATCH)]
        body = json.dumps({"commands": commands}).encode()
        key = self._random.choice(self.keys)
        return request("POST", f"{self._path}batch/", key=key, body=body)

    def load(self, requests: bytes, phases: str, *, connections: int = 128) -> Outcome:
        """Run a load, with the CPU that each part took for a request that was answered."""
        before = {name: cpu_s(pid) for name, pid in self.pids.items()}
        batches = _batches()
        outcome = run_load(self.port, requests, phases, connections=connections)
        answered = max(1, sum(phase["answered"] for phase in outcome["phases"]))
        outcome["cpu_us_each"] = {
            name: round((cpu_s(pid) - before[name]) / answered * 1e6, 1)
            for name, pid in self.pids.items()
        }
        done = sum(phase["done"] for phase in outcome["phases"])
        outcome["mean_batch"] = round(done / max(1, _batches() - batches), 1)
        say(phases, outcome)
        return outcome


Outcome = dict[str, Any]


def measure() -> dict[str, float]:
    """All figures of the gateway, its baseline first."""
    guard = Guard()
    try:
        baseline = drf_baseline(guard)
        served = Served(guard)
        served.load(served.orders, "1000x3")  # warm
        capacity = served.load(served.orders, f"0x{SECONDS}", connections=CONNECTIONS)
        steady = served.load(served.orders, f"{STEADY_PER_S}x{SECONDS}")
        batches = served.load(served.batches, f"0x{SECONDS}", connections=BATCH_CONNECTIONS)
        overload = overloaded(served, capacity["phases"][0]["done_per_s"])
        crowd = served.load(served.orders, f"{CROWD_PER_S}x{SECONDS}", connections=CROWD)
        refusal_us = refusal_cost_us(served)
    finally:
        guard.close()
    [full], [even], [swamped] = (each["phases"] for each in (capacity, steady, crowd))
    return {
        "gateway.drf_baseline_per_s": baseline,
        "gateway.durable_orders_per_s": full["done_per_s"],
        "gateway.capacity_not_done": full["answered"] - full["done"],
        "gateway.capacity_p99_ms": full["p99_ms"],
        f"gateway.p50_ms_at_{STEADY_PER_S}_per_s": even["p50_ms"],
        f"gateway.p99_ms_at_{STEADY_PER_S}_per_s": even["p99_ms"],
        f"gateway.not_done_at_{STEADY_PER_S}_per_s": even["answered"] - even["done"],
        "gateway.batch_orders_per_s": batches["phases"][0]["done_per_s"] * BATCH,
        "gateway.batch_p99_ms": batches["phases"][0]["p99_ms"],
        **overload,
        f"gateway.done_per_s_at_{CROWD_PER_S}_per_s": swamped["done_per_s"],
        f"gateway.p99_ms_at_{CROWD_PER_S}_per_s": swamped["p99_ms"],
        "gateway.cpu_us_an_order": capacity["cpu_us_each"]["gateway"],
        "gateway.refusal_cpu_us": refusal_us,
    }


def overloaded(served: Served, capacity_per_s: float) -> dict[str, float]:
    """Offer five times the capacity; then a third of it, at once and after two seconds."""
    offered, third = 5 * capacity_per_s, capacity_per_s / 3
    phases = f"{third}x3,{offered}x{OVERLOAD_S},{third}x{RECOVERY_S},{third}x3"
    outcome = served.load(served.orders, phases, connections=CROWD)
    before, during, _, after = outcome["phases"]
    return {
        "gateway.overload_offered_per_s": offered,
        "gateway.overload_share_of_capacity": during["done_per_s"] / capacity_per_s,
        "gateway.overload_p99_ms": during["p99_ms"],
        "gateway.overload_others": during["answered"]
        - during["done"]
        - during["statuses"].get("429", 0),
        "gateway.overload_p99_ms_before": before["p99_ms"],
        "gateway.overload_p99_ms_after": after["p99_ms"],
    }


def refusal_cost_us(served: Served) -> float:
    """The gateway's CPU for one request that is turned away: nothing else is done meanwhile."""
    writer = served.parts["writer"]
    writer.send_signal(signal.SIGSTOP)
    try:
        outcome = served.load(served.orders, "0x4", connections=500)
    finally:
        writer.send_signal(signal.SIGCONT)
    return float(outcome["cpu_us_each"]["gateway"])


def drf_baseline(guard: Guard) -> float:
    """Rows a second through DRF, one a request, each committed durably."""
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    port = free_port()
    serve = ("-m", "granian", "bench.drf:application", "--interface", "wsgi", "--host", "127.0.0.1")
    options = ("--port", str(port), "--blocking-threads", "1", "--http", "1", "--no-ws")
    own = {"DJANGO_SETTINGS_MODULE": "bench.drf_settings"}
    process = start(guard, *serve, *options, environment=own)
    wait_until_served(port)
    terms = {"client_order_id": NUMBER.decode(), "side": "buy", "price": 1_000, "quantity": 3}
    rows = pack([request("POST", "/orders/", key="none", body=json.dumps(terms).encode())])
    run_load(port, rows, "0x2", connections=32)
    outcome = run_load(port, rows, f"0x{SECONDS / 2}", connections=32)
    say("DRF", outcome)
    process.terminate()
    process.wait()
    assert set(outcome["phases"][0]["statuses"]) == {"201"}, outcome
    return float(outcome["phases"][0]["done_per_s"])


def start(
    guard: Guard, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process of the measurement; what it says goes into a log."""
    command = [sys.executable, *arguments]
    with LOG.open("ab") as log:
        own = os.environ | (environment or {})
        return guard.start(command, output=log, folder=ROOT, environment=own)


def run_load(port: int, requests: bytes, phases: str, *, connections: int) -> Outcome:
    """Run the generator as a process of its own."""
    options = ["--port", str(port), "--phases", phases, "--connections", str(connections)]
    command = [sys.executable, "-m", "bench.load", *options]
    done = subprocess.run(command, input=requests, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    outcome: Outcome = json.loads(done.stdout)
    return outcome


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def wait_until_served(port: int) -> None:
    """Wait until something answers, whatever it says."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").close()
            except urllib.error.HTTPError:
                return
            else:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing is served; see {LOG}")


def say(what: str, outcome: Outcome) -> None:
    """Show the whole outcome to whoever watches."""
    print(f"  {what}: {json.dumps(outcome)}", file=sys.stderr, flush=True)


def _batches() -> int:
    return sum(Shard.objects.values_list("batches", flat=True))
