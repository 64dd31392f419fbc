"""A module is one idea, a function fits a screen: 500 lines and 70 are where it stops.

Migrations are left out: Django writes most of them.
"""

from __future__ import annotations

import ast

from tests.support.checkout import PACKAGES, ROOT

LONGEST_MODULE = 500
LONGEST_FUNCTION = 70


def test_no_module_and_no_function_outgrows_its_screen() -> None:
    too_long = []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        if path.parent.name == "migrations":
            continue
        text = path.read_text()
        place = path.relative_to(ROOT)
        if len(text.splitlines()) > LONGEST_MODULE:
            too_long.append(f"{place}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    too_long.append(f"{place}:{node.lineno} {node.name}: {length} lines")
    assert too_long == []
