"""A shard, a table and writer processes of its own for each test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings
from django.db import connection

from sequencer.stream import stream_key
from tests.sequencer.servers import environment, own_postgres, own_valkey, wait_for
from tests.sequencer.tally import TABLE

__all__ = ["environment", "own_postgres", "own_valkey"]

_shards = count(100 + os.getpid() % 30 * 100)

StartWriter = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def shard(transactional_db: None) -> Iterator[int]:
    """A shard that no other test uses, with an empty tally."""
    number = next(_shards)
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.delete(stream_key(number))
    yield number
    client.delete(stream_key(number))
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS sequencer_tally")


@pytest.fixture
def start_writer(shard: int, environment: dict[str, str]) -> Iterator[StartWriter]:
    """Start tally writers of the test's shard as processes; none outlives the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*trap: str | int) -> subprocess.Popen[bytes]:
        arguments = [str(shard), *(str(argument) for argument in trap)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.sequencer.boundaries", *arguments], env=environment
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


@dataclass
class Served:
    """A gateway that runs as a process of its own."""

    port: int
    process: subprocess.Popen[bytes]

    def client(self, **options: Any) -> httpx.Client:
        """A client with the good key."""
        headers = {"Authorization": "Bearer key-1"}
        base_url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=base_url, headers=headers, timeout=30, **options)

    def connect(self) -> socket.socket:
        """A bare connection, for requests that no client library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes and read until the gateway closes the connection."""
        with self.connect() as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))


ServeGateway = Callable[..., Served]


@pytest.fixture
def serve_gateway(shard: int, environment: dict[str, str]) -> Iterator[ServeGateway]:
    """Start gateways over the tally; none outlives the test."""
    started: list[Served] = []

    def start(*, patience_s: float = 5, **options: str) -> Served:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options |= {"TALLY_SHARD": str(shard)}
        code = f"""
from sequencer import http
http.HEAD_TIMEOUT_S = http.BODY_TIMEOUT_S = http.READ_TIMEOUT_S = {patience_s}
http.serve("tests.sequencer.serving:application", host="127.0.0.1", port={port})
"""
        process = subprocess.Popen([sys.executable, "-c", code], env=environment | options)
        started.append(Served(port, process))
        wait_for(lambda: started[-1].client().get("/healthz").json()["redis"])
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.process.wait()
