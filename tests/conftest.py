"""Real servers for every test: an embedded PostgreSQL and Valkey of this session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from config.embedded import Embedded, var_dir
from config.guard import Guard
from tests.flush import remember_first_rows
from tests.support.processes import Scrip, StartScrip


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Starts processes that end with this session, even if it is killed."""
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture(scope="session", autouse=True)
def embedded_servers(guard: Guard) -> Embedded:
    """Start PostgreSQL and Valkey in this session's folder, unless they run there already."""
    embedded = Embedded(var_dir())
    if not embedded.postgres_answers():
        embedded.start_postgres(guard)
    if not embedded.valkey_answers():
        embedded.start_valkey(guard)
    return embedded


@pytest.fixture(scope="session")
def django_db_setup(
    embedded_servers: Embedded, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> None:
    """The database waits for its server; tests that commit leave it as they found it."""
    with django_db_blocker.unblock():
        remember_first_rows()


@pytest.fixture
def start_scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[StartScrip]:
    """Start real processes over a fresh database: `start_scrip("web", "gateway", "writer")`.

    Returns a `Scrip` (tests/support/processes.py says what it can do) once they all serve.
    Keywords: `own_postgres`, `with_pages`, `environment`. Everything ends with the test.
    Do not use it beside `db`: a test's open transaction holds up the relay.
    """
    with ExitStack() as running:

        def start(*names: str, **options: Any) -> Scrip:
            scrip = running.enter_context(Scrip(guard, embedded_servers, **options))
            scrip.start(*names)
            return scrip

        yield start
