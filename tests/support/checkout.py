"""Copies of the code, for tests that run or break one."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
PACKAGES: list[str] = CONFIGURATION["root_packages"]


def copy_of_the_code(folder: Path) -> Path:
    """Copy all rooms, without git, data and caches."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=_caches)
    shutil.copytree(ROOT / "requirements", folder / "requirements", ignore=_caches)
    for file in ("pyproject.toml", "manage.py", "Makefile"):
        shutil.copy(ROOT / file, folder)
    return folder


def _caches(folder: str, names: list[str]) -> Iterator[str]:
    return (name for name in names if name == "__pycache__")
