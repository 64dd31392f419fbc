"""The files that finance takes away: `EXPORTS` by name, each asked with a `Scope`."""

from wallet.exports.catalog import EXPORTS, Export
from wallet.exports.scope import ExportRefused, Scope

__all__ = ["EXPORTS", "Export", "ExportRefused", "Scope"]
