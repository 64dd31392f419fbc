"""Two walls that import-linter does not know by itself; pyproject.toml puts them up."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

SAYS_PURE = re.compile(r"\bPure[.:]")
WRITES_LEDGER = re.compile(
    r"\b(insert\s+into|update|delete\s+from|truncate(\s+table)?|copy)\s+(only\s+)?\"?wallet_",
    re.IGNORECASE,
)
Tree = ast.Module


class PureModules(Contract):
    """Modules whose first docstring says "Pure." reach no framework, clock, network or chance.

    `must_be_pure` names modules that have to say so, as soon as they exist.
    """

    must_be_pure = fields.ListField(subfield=fields.StringField())
    forbidden_modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        faults: list[str] = []
        for module, tree in _sources(graph):
            if SAYS_PURE.search(ast.get_docstring(tree) or ""):
                faults += self._impurities(graph, module)
            elif module in self.must_be_pure:  # type: ignore[operator]
                faults.append(f'{module} must be pure, and say "Pure." in its docstring')
        return ContractCheck(kept=not faults, metadata={"faults": faults})

    def _impurities(self, graph: ImportGraph, module: str) -> Iterator[str]:
        for forbidden in self.forbidden_modules:  # type: ignore[attr-defined]
            if forbidden in graph.modules:
                chain = graph.find_shortest_chain(importer=module, imported=forbidden)
                if chain:
                    yield f"{module} is pure, but: {' -> '.join(chain)}"

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render(check)


class LedgerTables(Contract):
    """Only `wallet` writes the ledger's tables: by their models or by SQL."""

    table_models = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        faults: list[str] = []
        for module, tree in _sources(graph):
            if module.split(".")[0] not in {"wallet", "tests", "bench"}:
                faults += self._touches(module, tree)
        return ContractCheck(kept=not faults, metadata={"faults": faults})

    def _touches(self, module: str, tree: Tree) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "wallet.models":
                for name in node.names:
                    if name.name in self.table_models:  # type: ignore[operator]
                        yield f"{module}:{node.lineno} imports wallet.models.{name.name}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if WRITES_LEDGER.search(node.value):
                    yield f"{module}:{node.lineno} writes a ledger table by SQL"

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render(check)


def _sources(graph: ImportGraph) -> Iterator[tuple[str, Tree]]:
    """Our own modules, with their syntax trees. None is imported: that would run it."""
    for module in sorted(graph.modules):
        if graph.is_module_squashed(module):
            continue  # Somebody else's.
        room, *inside = module.split(".")
        spec = importlib.util.find_spec(room)
        assert spec is not None
        assert spec.submodule_search_locations
        path = Path(spec.submodule_search_locations[0], *inside)
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        yield module, ast.parse(file.read_text())


def _render(check: ContractCheck) -> None:
    metadata: Any = check.metadata
    for fault in metadata["faults"]:
        output.print_error(fault)
