"""`make` by itself: what it lists, and what it says when it cannot go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

TARGETS = ["help", "run", "test", "lint", "bench", "chaos", "lock", "clean"]
INSTALL = ROOT / "requirements" / "install.py"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_bare_make_lists_every_target() -> None:
    listed = re.findall(r"^  make (\w+) +\S", make().stdout, re.MULTILINE)
    assert listed == TARGETS
    assert make().stdout == make("help").stdout


def test_python_that_is_none_is_refused_with_a_way_out() -> None:
    done = make("lint", "PYTHON=/no/such/python")
    assert done.returncode == 2
    assert "Scrip needs Python 3.11 or newer, and found none." in done.stderr
    assert "make PYTHON=/path/to/python3.11" in done.stderr


def test_python_without_ensurepip_is_told_what_to_install(tmp_path: Path) -> None:
    """As on Debian, where the module is a package of its own."""
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "install.py").write_text(INSTALL.read_text())
    done = subprocess.run(
        [sys.executable, "requirements/install.py", "base"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "On Debian and Ubuntu: apt-get install python3-venv." in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("name", ["base", "embedded", "dev", "bench"])
def test_lock_holds_hashes_and_no_address(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()
    pinned = re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==\S+", lock, re.MULTILINE)
    assert pinned
    hashed = re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==\S+.*\\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(hashed) == len(pinned)
    assert "://" not in lock
    assert "--index-url" not in lock
