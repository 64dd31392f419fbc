"""Programs that some tests need and that no package brings."""

from __future__ import annotations

import os
import shutil

import pytest

OTHER_NAMES = {"chromium": ("chromium-browser", "google-chrome", "chrome")}


def require(program: str) -> str:
    """Give the path of a program; without it the test is skipped and says so.

    With REQUIRE_ALL=1, as in CI, the test fails instead: nothing is left untested unseen.
    """
    for name in (program, *OTHER_NAMES.get(program, ())):
        path: str | None = shutil.which(name)
        if path:
            return path
    reason = f"needs {program}, which is not installed (CONTRIBUTING.md says how)"
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
