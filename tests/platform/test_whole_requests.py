"""Who is refused before their body was read spoils nobody else's connection to the web."""

from __future__ import annotations

import contextlib
import http.client
import io
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from config.embedded import ROOT
from config.supervisor.ports import free_ports
from config.whole_requests import MOST_READ_BYTES, WholeRequests
from tests.platform.refusing import bare

LARGE = MOST_READ_BYTES // 2


@contextlib.contextmanager
def served(name: str) -> Iterator[http.client.HTTPConnection]:
    """Serve one of the applications in `refusing` as the web is served; give a connection."""
    [port] = free_ports(("127.0.0.1", 25_100))
    command = (sys.executable, "-m", "granian", f"tests.platform.refusing:{name}")
    options = ("--interface", "wsgi", "--http", "1", "--no-ws", "--blocking-threads", "1")
    process = subprocess.Popen(
        [*command, *options, "--port", str(port), "--log-level", "error"], cwd=ROOT
    )
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(200):
            with contextlib.suppress(OSError):
                connection.connect()
                break
            time.sleep(0.05)
        connection.auto_open = 0  # One connection is what this is about.
        yield connection
    finally:
        process.terminate()
        process.wait(15)


def ask(connection: http.client.HTTPConnection, body: bytes) -> int:
    connection.request("POST", "/", body)
    response = connection.getresponse()
    response.read()
    return response.status


@pytest.mark.parametrize("size", [0, 100_000, LARGE])
def test_connection_outlives_a_body_that_nobody_wanted(size: int) -> None:
    with served("whole") as connection:
        assert [ask(connection, b"x" * size) for _ in range(3)] == [401, 401, 401]


def test_without_it_the_next_request_is_lost() -> None:
    with served("bare") as connection, pytest.raises((OSError, http.client.HTTPException)):
        for _ in range(10):
            ask(connection, b"x" * LARGE)


@pytest.mark.parametrize(
    ("size", "closes"), [(0, False), (MOST_READ_BYTES, False), (MOST_READ_BYTES + 1, True)]
)
def test_front_is_told_when_more_comes_than_is_read(size: int, closes: bool) -> None:
    said: list[Any] = []
    body = io.BytesIO(b"x" * size)
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(size), "wsgi.input": body}
    WholeRequests(bare)(environ, lambda *each: said.extend(each))
    assert said[0] == "401 Unauthorized"
    assert (("Connection", "close") in said[1]) is closes


class Stalled(io.BytesIO):
    """A body that stops coming: whoever reads beyond what is there would wait for ever."""

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        assert piece, "it was waited for"
        return piece


@pytest.mark.parametrize("declared", [{"CONTENT_LENGTH": str(MOST_READ_BYTES + 1)}, {}])
def test_large_body_that_stops_coming_keeps_nobody(declared: dict[str, str]) -> None:
    said: list[Any] = []
    body = Stalled(b"x" * MOST_READ_BYTES)
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": body, **declared}
    WholeRequests(bare)(environ, lambda *each: said.extend(each))
    assert ("Connection", "close") in said[1]


@pytest.mark.django_db
def test_large_form_of_a_stranger_is_not_read(client: Client) -> None:
    environ = {
        "CONTENT_TYPE": "multipart/form-data; boundary=x",
        "CONTENT_LENGTH": str(MOST_READ_BYTES + 1),
        "wsgi.input": Stalled(b""),
    }
    answer = client.post("/admin/rewards/series/1/import/", **environ)  # type: ignore[arg-type]
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")
