"""The examples of docs/api/wallet.md, as they stand there, against a server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from accounts.actions import create_key
from accounts.models import User
from accounts.roles import Role
from config.embedded import ROOT
from tests.support.needs import require
from tests.walletapi.conftest import World, person
from wallet.models import Asset, ReversalRequest

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse 7"
DOCUMENT = (ROOT / "docs" / "api" / "wallet.md").read_text()
FAN = ["wallet:read", "wallet:write"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def demo(world: World, tmp_path: Path) -> dict[str, User]:
    """The people of the demo that the examples speak of, and the file that names their keys."""
    points = Asset.objects.create(code="PTS", name="Points", kind=Asset.Kind.POINTS, expires=True)
    people = {name: person(name) for name in ("ada", "grace")}
    people |= {name: person(name, Role.FINANCE) for name in ("finn", "fiona")}
    accounts = []
    for name, user in people.items():
        user.email = f"{name}@scrip.example"
        user.set_password(PASSWORD)
        user.save()
        accounts.append({"email": user.email, "password": PASSWORD})
    keys = {name: create_key(people[name], name="demo", scopes=FAN).token for name in people}
    world.give(people["ada"], 5000, points)
    (tmp_path / "demo.json").write_text(json.dumps({"accounts": accounts, "keys": keys}))
    return people


def run(script: str, origin: str, var: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "ORIGIN": origin, "PYTHON": sys.executable}
    done = subprocess.run(
        [require("bash"), "-euc", script],
        cwd=ROOT,
        env={**environment, "SCRIP_VAR": str(var)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(printed: str) -> list[Any]:
    """Read JSON documents that stand one after the other."""
    found = []
    while printed := printed.strip():
        document, end = json.JSONDecoder().raw_decode(printed)
        found.append(document)
        printed = printed[end:]
    return found


def test_examples_work_in_order(
    demo: dict[str, User], live_server: LiveServer, tmp_path: Path
) -> None:
    require("curl")
    script = "\n".join(blocks("sh")).replace(". docs/tour.sh ", "set +eu; . docs/tour.sh ")
    printed = run(script, live_server.url, tmp_path)
    assert "urn:scrip:problem" not in printed
    answers = documents(printed)
    paid = [each for each in answers if isinstance(each, dict) and each.get("memo") == "lunch"]
    assert len({each["id"] for each in paid}) == 1
    [documented] = [json.loads(block) for block in blocks("json")]
    assert any(each == documented for each in answers)
    assert answers[-1]["state"] == "approved"
    assert ReversalRequest.objects.get().decided_by == demo["fiona"]
