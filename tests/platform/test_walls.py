"""The walls between rooms stand: a copy of the code that breaks through them is refused."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.checkout import CONFIGURATION, PACKAGES, ROOT, copy_of_the_code

CONTRACTS: list[str] = [contract["name"] for contract in CONFIGURATION["contracts"]]
DOWNWARDS, INSIDE, PURE, TABLES, INNER = CONTRACTS

BREACHES = {
    DOWNWARDS: ("edge/breach.py", "import wallet.actions\n"),
    INSIDE: ("wallet/models.py", "from wallet import actions\n"),
    PURE: ("orderbook/matching.py", "import time\n"),
    TABLES: ("rewards/breach.py", "from wallet.models import Entry\n"),
    INNER: ("orderbook/breach.py", "import wallet.rows\n"),
}
"""For each contract a file and a line that breaks it."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copy_of_the_code(tmp_path / "a copy")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    command = [sys.executable, str(program), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_wall_stops_who_breaks_through_it(copy: Path) -> None:
    for file, line in BREACHES.values():
        path = copy / file
        before = path.read_text() if path.exists() else ""
        # After the docstring and the future import, where imports belong.
        head, found, rest = before.partition("from __future__ import annotations\n")
        path.write_text(f"{head}{found}{line}{rest}" if found else f"{before}\n{line}")
    done = lint(copy)
    assert done.returncode == 1
    for name in CONTRACTS:
        assert f"{name} BROKEN" in done.stdout


def test_code_as_it_is_stays_within_its_walls(copy: Path) -> None:
    """The control of the test above."""
    done = lint(copy)
    assert (done.returncode, "BROKEN" in done.stdout) == (0, False), done.stdout


def test_writing_a_ledger_table_by_sql_is_seen(copy: Path) -> None:
    (copy / "rewards" / "breach.py").write_text('SQL = "UPDATE wallet_account SET balance = 1"\n')
    assert f"{TABLES} BROKEN" in lint(copy).stdout


def test_rule_that_does_not_say_it_is_pure_is_seen(copy: Path) -> None:
    (copy / "rewards" / "rules.py").write_text('"""Who may have what."""\n')
    assert "rewards.rules must be pure" in lint(copy).stdout


def test_every_package_stands_within_the_walls() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found == set(PACKAGES)


def test_every_import_is_of_a_locked_package_that_we_name() -> None:
    """What we import we name in requirements/*.in, and do not get by way of others."""
    from grimp import build_graph

    named = {
        _normal(Requirement(line.split("#")[0]).name)
        for file in ("base", "embedded", "dev", "bench")
        for line in (ROOT / "requirements" / f"{file}.in").read_text().splitlines()
        if line.split("#")[0].strip() and not line.startswith("-c")
    }
    graph = build_graph(PACKAGES[0], *PACKAGES[1:], include_external_packages=True, cache_dir=None)
    owners = packages_distributions()
    for module in graph.modules:
        if graph.is_module_squashed(module) and module not in sys.stdlib_module_names:
            distributions = {_normal(name) for name in owners.get(module, [module])}
            assert distributions & named, f"{module} is imported, {distributions} not named"


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
