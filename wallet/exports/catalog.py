"""The exports by name: what each is called, and how to get its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wallet.exports.account_statement import statement_csv
from wallet.exports.beancount import beancount_file
from wallet.exports.hledger import hledger_journal
from wallet.exports.journal import journal_csv
from wallet.exports.roll_forward import roll_forward_csv
from wallet.exports.scope import ExportRefused, Scope, check
from wallet.exports.snapshot import Progress, Snapshot, taken
from wallet.exports.trial_balance import trial_balance_csv

CSV = "text/csv; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
CHUNK_CHARACTERS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Export:
    """One kind of file that finance takes away."""

    name: str
    title: str
    content_type: str
    extension: str
    write: Callable[[Snapshot, Scope], Iterator[bytes]]
    needs_account: bool = False
    takes_account: bool = False
    takes_detail: bool = False
    takes_effective_date: bool = False

    def stream(self, scope: Scope, on_rows: Progress | None = None) -> Iterator[bytes]:
        """Make the file: chunks of bytes, in constant memory, from one snapshot of the ledger.

        Refusals (`ExportRefused`) come at once, before the first chunk is asked for. The
        snapshot is taken at the first chunk and kept, with a connection of its own, until
        the last, or until the iterator is closed. `on_rows` hears how many rows were read.
        """
        self.check(scope)
        return self._stream(scope, on_rows)

    def _stream(self, scope: Scope, on_rows: Progress | None) -> Iterator[bytes]:
        with taken(on_rows) as snapshot:
            yield from self.write(snapshot, scope)

    def check(self, scope: Scope) -> None:
        """Refuse a scope that this export cannot serve."""
        check(scope)
        if self.needs_account and scope.account_id is None:
            raise ExportRefused("Say which account.", code="export_account_missing")
        asked = (
            (scope.account_id is not None, self.takes_account, "an account"),
            (scope.by_account, self.takes_detail, "one row for each account"),
            (scope.by_effective_date, self.takes_effective_date, "effective dates"),
        )
        for is_asked, is_taken, what in asked:
            if is_asked and not is_taken:
                raise ExportRefused(
                    f"The {self.title} does not go by {what}.", code="export_option_unknown"
                )

    def filename(self, scope: Scope) -> str:
        """Name the file: the export, the asset or account, the dates."""
        asset = "" if scope.asset_id is None else f"-asset-{scope.asset_id}"
        account = "" if scope.account_id is None else f"-account-{scope.account_id}"
        return f"{self.name}{asset}{account}-{scope.dates}.{self.extension}"


def _encoded(
    write: Callable[[Snapshot, Scope], Iterable[str]],
) -> Callable[[Snapshot, Scope], Iterator[bytes]]:
    """Hand text over as UTF-8, in chunks of about 64 kB."""

    def chunks(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
        parts: list[str] = []
        waiting = 0
        for part in write(snapshot, scope):
            parts.append(part)
            waiting += len(part)
            if waiting >= CHUNK_CHARACTERS:
                yield "".join(parts).encode()
                parts.clear()
                waiting = 0
        if parts:
            yield "".join(parts).encode()

    return chunks


def _parquet(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    # pyarrow takes a fifth of a second and 60 MB to load: only who asks for it pays.
    from wallet.exports.parquet import journal_parquet

    return journal_parquet(snapshot, scope)


EXPORTS: dict[str, Export] = {
    export.name: export
    for export in (
        Export(
            name="journal",
            title="journal",
            content_type=CSV,
            extension="csv",
            write=journal_csv,
            takes_account=True,
        ),
        Export(
            name="parquet",
            title="journal in Parquet",
            content_type="application/vnd.apache.parquet",
            extension="parquet",
            write=_parquet,
            takes_account=True,
        ),
        Export(
            name="beancount",
            title="beancount file",
            content_type=PLAIN,
            extension="beancount",
            write=_encoded(beancount_file),
        ),
        Export(
            name="hledger",
            title="hledger journal",
            content_type=PLAIN,
            extension="journal",
            write=_encoded(hledger_journal),
        ),
        Export(
            name="trial-balance",
            title="trial balance",
            content_type=CSV,
            extension="csv",
            write=trial_balance_csv,
            takes_detail=True,
            takes_effective_date=True,
        ),
        Export(
            name="statement",
            title="account statement",
            content_type=CSV,
            extension="csv",
            write=statement_csv,
            needs_account=True,
            takes_account=True,
        ),
        Export(
            name="roll-forward",
            title="liability roll-forward",
            content_type=CSV,
            extension="csv",
            write=roll_forward_csv,
            takes_effective_date=True,
        ),
    )
}
