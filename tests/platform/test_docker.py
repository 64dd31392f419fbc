"""The containers run what the supervisor runs. (No engine is needed to see that.)"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.embedded import POSTGRES_SETTINGS
from config.supervisor.front import GATEWAY_PATHS, docker_caddyfile
from config.supervisor.table import STEPS, Place, processes
from orderbook.directory import MarketDirectory
from orderbook.gateway_routes import routes
from tests.support.checkout import PACKAGES, ROOT

DOCKER = ROOT / "docker"
SERVICES: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
PLACE = Place(
    python="python",
    host="0.0.0.0",
    gateway_host="0.0.0.0",
    origin="http://caddy:8000",
    web_workers=2,
    celery_workers=2,
    caddyfile="/etc/caddy/Caddyfile",
)
SERVERS = {"postgres", "valkey"}
DONE_IN_THE_IMAGE = {"collectstatic"}
OUR_OWN = {"DEBUG", "SHARD_COUNT", "CACHE_URL", "CELERY_BROKER_URL"}
"""Not for production, or follows from the other services: one writer is one shard."""


def test_containers_are_the_supervisors_processes_and_steps() -> None:
    table = {process.name for process in processes(PLACE)} | {step.name for step in STEPS}
    assert set(SERVICES) == (table - DONE_IN_THE_IMAGE) | SERVERS


@pytest.mark.parametrize("process", processes(PLACE), ids=lambda process: process.name)
def test_container_runs_the_supervisors_command(process: Any) -> None:
    service = SERVICES[process.name]
    assert tuple(service["command"]) == process.command
    if process.name != "caddy":
        assert process.environment.items() <= service["environment"].items()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step_runs_once_in_a_container_or_in_the_image(step: Any) -> None:
    if step.name in DONE_IN_THE_IMAGE:
        command = " ".join(step.command(PLACE))
        assert command in (DOCKER / "Dockerfile").read_text()
    else:
        assert tuple(SERVICES[step.name]["command"]) == step.command(PLACE)


def test_postgres_has_the_settings_of_the_embedded_one() -> None:
    wanted = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
    assert SERVICES["postgres"]["command"] == ["postgres", *wanted]


def test_caddyfile_is_the_one_that_python_writes() -> None:
    assert (DOCKER / "Caddyfile").read_text() == docker_caddyfile()


def test_caddy_accepts_it() -> None:
    caddy = Path(sysconfig.get_path("scripts")) / "caddy"
    done = subprocess.run(
        [str(caddy), "validate", "--config", str(DOCKER / "Caddyfile"), "--adapter", "caddyfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_service_that_others_wait_for_has_a_health_check() -> None:
    for service in SERVICES.values():
        for name, how in (service.get("depends_on") or {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]


def test_containers_are_told_every_setting_that_has_one_value_for_all() -> None:
    settings = (ROOT / "config/settings.py").read_text()
    named = set(re.findall(r'\benv\.\w+\(\s*"([A-Z_]+)"', settings))
    assert named - OUR_OWN == SERVICES["web"]["environment"].keys() - {"PGOPTIONS"}


def test_image_holds_every_room() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert kept == {*PACKAGES, "manage.py", "requirements"} - {"tests", "bench"}


def test_front_sends_every_route_of_the_gateway_to_it() -> None:
    whole = re.compile(f"^({'|'.join(GATEWAY_PATHS)})$")
    for route in routes(MarketDirectory("postgresql:///none")):
        assert whole.match(re.sub(r"\{\w+\}", "x-1", route.pattern)), route.pattern
    assert not whole.match("/api/v1/markets/x-1/book/")
    assert not whole.match("/api/v1/orders/")
