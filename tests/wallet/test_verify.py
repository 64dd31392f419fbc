"""`ledger verify` names what was tampered with: one test for each law, and none on clean books."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from tests.wallet.books import Books, created, new_reference, pay, release
from wallet.actions import post
from wallet.items import Item
from wallet.laws import LAWS
from wallet.models import Batch, Reference
from wallet.references import digest_of
from wallet.seal import seal
from wallet.verify import MOST_DIFFERENCES, Difference, verify

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Story:
    """Books in which everything happened once, with the ids by which tests speak of it."""

    def __init__(self) -> None:
        self.books = books = Books("PTS")
        self.other = Books("EUR")
        self.other.open("eva", balance=70)
        self.ann, self.bob = books.open("ann", balance=100), books.open("bob")
        self.late = self._hold("late", 5, expires_at=NOW)
        self.open_hold = self._hold("open", 30)
        self.part_kept = self._hold("kept", 20)
        self.part_freed = self._hold("freed", 20)
        self.voided = self._hold("voided", 7)
        [self.pay] = created(post([books.transfer("ann", "bob", 10, "pay", memo="lunch")]))
        self.dated = books.transfer("bob", "ann", 1, effective_at=NOW - HOUR)
        created(post([self.dated]))
        ends: list[Item] = [
            pay(self.part_kept, 4, rest_is_kept=True),
            pay(self.part_freed, 4),
            release(self.voided),
            release(self.late),
        ]
        [self.kept_post, self.freed_post, self.void, self.expiry] = created(post(ends))
        post([books.transfer("ann", "bob", 10_000, "refused")])
        seal()

    def _hold(self, name: str, amount: int, expires_at: datetime | None = None) -> int:
        hold = self.books.hold("ann", "bob", amount, name, expires_at=expires_at)
        [hold_id] = created(post([hold], now=NOW - HOUR))
        return hold_id


@pytest.fixture
def story() -> Story:
    return Story()


def corrupt(sql: str) -> None:
    """Change rows as somebody with the database's own rights could: no trigger runs."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql)
        assert cursor.rowcount > 0


def differences(law: str) -> list[Difference]:
    [finding] = [each for each in verify().findings if each.law == law]
    return finding.differences


def test_clean_books_keep_every_law(story: Story) -> None:
    report = verify()
    assert report.is_clean, report
    assert [finding.law for finding in report.findings] == [
        *(law.name for law in LAWS),
        "references",
        "seals",
    ]


def test_balance_is_computed_from_entries(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET balance = balance + 1 WHERE id = {story.ann}")
    assert differences("balances") == [Difference(f"account {story.ann}", "balance", "83", "84")]


def test_sum_of_an_asset_is_zero(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET balance = balance + 1 WHERE id = {story.ann}")
    assert differences("zero_sum") == [Difference("asset PTS", "sum of balances", "0", "1")]


def test_entries_of_no_account_are_named(story: Story) -> None:
    corrupt(f"INSERT INTO wallet_entry VALUES (999, {story.pay}, 5, 5)")
    assert differences("balances") == [
        Difference("account 999", "balance", "5", "nothing"),
        Difference("account 999", "entry_count", "1", "nothing"),
    ]


def test_balance_after_follows_from_the_entry_before(story: Story) -> None:
    corrupt(
        "UPDATE wallet_entry SET balance_after = 91"
        f" WHERE (account_id, transfer_id) = ({story.ann}, {story.pay})"
    )
    where = f"account {story.ann} entry of transfer {story.pay}"
    assert differences("entry_chain")[0] == Difference(where, "balance_after", "90", "91")


def test_changed_amount_of_an_entry_is_named(story: Story) -> None:
    corrupt(
        "UPDATE wallet_entry SET amount = -11"
        f" WHERE (account_id, transfer_id) = ({story.ann}, {story.pay})"
    )
    where = f"account {story.ann} entry of transfer {story.pay}"
    assert differences("sides") == [Difference(where, "amount", "-10", "-11")]


def test_deleted_entry_is_named(story: Story) -> None:
    corrupt(
        f"DELETE FROM wallet_entry WHERE (account_id, transfer_id) = ({story.bob}, {story.pay})"
    )
    where = f"account {story.bob} entry of transfer {story.pay}"
    assert differences("sides") == [Difference(where, "amount", "10", "nothing")]


def test_entry_of_an_account_its_transfer_does_not_name_is_found(story: Story) -> None:
    eva = story.other.ids["eva"]
    corrupt(f"INSERT INTO wallet_entry VALUES ({eva}, {story.pay}, 5, 75)")
    where = f"account {eva} entry of transfer {story.pay}"
    assert differences("sides") == [Difference(where, "amount", "nothing", "5")]


def test_date_of_an_entry_is_its_transfers(story: Story) -> None:
    corrupt("UPDATE wallet_entry SET effective_at = NULL WHERE effective_at IS NOT NULL")
    assert [each.field for each in differences("sides")] == ["effective_at", "effective_at"]


def test_transfer_between_assets_is_named(story: Story) -> None:
    eva = story.other.ids["eva"]
    corrupt(f"UPDATE wallet_transfer SET credit_account_id = {eva} WHERE id = {story.pay}")
    assert differences("assets") == [
        Difference(
            f"transfer {story.pay}",
            "asset of the credit account",
            str(story.books.asset.pk),
            str(story.other.asset.pk),
        )
    ]


@pytest.mark.parametrize(
    ("hold", "change", "field", "expected", "found"),
    [
        ("open_hold", "remaining = 29", "remaining", "30", "29"),
        ("part_kept", "remaining = 0, state = 1", "remaining", "16", "0"),
        ("part_freed", "remaining = 16, state = 0", "remaining", "0", "16"),
        ("voided", "state = 1", "state", "2", "1"),
        ("voided", "state = 3", "state", "2", "3"),
        ("late", "state = 2", "state", "3", "2"),
        ("open_hold", "amount = 31", "amount", "30", "31"),
        ("open_hold", "credit_account_id = NULL", "credit account", "{bob}", "nothing"),
        ("open_hold", "account_id = {bob}", "account", "{ann}", "{bob}"),
        ("late", "expires_at = NULL", "expires_at", "2026-06-01 12:00:00+00", "nothing"),
    ],
)
def test_hold_is_rebuilt_from_its_transfers(
    story: Story, hold: str, change: str, field: str, expected: str, found: str
) -> None:
    hold_id, names = getattr(story, hold), {"ann": story.ann, "bob": story.bob}
    corrupt(f"UPDATE wallet_hold SET {change.format(**names)} WHERE id = {hold_id}")
    named = Difference(f"hold {hold_id}", field, expected.format(**names), found.format(**names))
    assert named in differences("holds")


def test_deleted_hold_is_named(story: Story) -> None:
    corrupt(f"DELETE FROM wallet_hold WHERE id = {story.open_hold}")
    named = Difference(f"hold {story.open_hold}", "remaining", "30", "nothing")
    assert named in differences("holds")


def test_post_of_another_accounts_hold_is_named(story: Story) -> None:
    corrupt(f"UPDATE wallet_transfer SET debit_account_id = 7 WHERE id = {story.freed_post}")
    assert differences("hold_ends") == [
        Difference(f"transfer {story.freed_post}", "debit account of the hold", str(story.ann), "7")
    ]


def test_void_of_no_hold_is_named(story: Story) -> None:
    corrupt(f"UPDATE wallet_transfer SET hold_id = 8 WHERE id = {story.void}")
    assert differences("hold_ends")[0] == Difference(
        f"transfer {story.void}", "hold before it", "8", "nothing"
    )


def test_held_and_incoming_are_sums_of_open_holds(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET held = held - 1 WHERE id = {story.ann}")
    corrupt(f"UPDATE wallet_account SET incoming = incoming + 1 WHERE id = {story.bob}")
    assert sorted(differences("held"), key=lambda each: each.field) == [
        Difference(f"account {story.ann}", "held", "46", "45"),
        Difference(f"account {story.bob}", "incoming", "46", "47"),
    ]


def test_account_below_its_floor_is_named(story: Story) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE wallet_account DROP CONSTRAINT wallet_account_floor")
    try:
        corrupt(f"UPDATE wallet_account SET floor = 60 WHERE id = {story.ann}")
        assert differences("limits") == [
            Difference(f"account {story.ann}", "available", ">= 60", "37")
        ]
        corrupt(f"UPDATE wallet_account SET floor = 0 WHERE id = {story.ann}")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE wallet_account ADD CONSTRAINT wallet_account_floor"
                " CHECK (floor IS NULL OR balance >= floor + held)"
            )


def test_newest_transfer_of_an_account_is_checked(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET last_transfer_id = {story.pay} WHERE id = {story.ann}")
    assert differences("newest") == [
        Difference(f"account {story.ann}", "last_transfer_id", str(story.expiry), str(story.pay))
    ]


def test_missing_transfer_shows_in_its_batch(story: Story) -> None:
    batch = Batch.objects.get(id=story.kept_post)
    corrupt(f"DELETE FROM wallet_transfer WHERE id = {story.void}")
    assert differences("batches") == [
        Difference(f"batch {batch.id}", "transfer_count", "3", "4"),
        Difference(f"batch {batch.id}", "ids in a row", "3", "4"),
    ]


def test_transfer_of_no_batch_is_named(story: Story) -> None:
    forged = (story.pay >> 12 << 12) + (1 << 40)
    corrupt(
        f"INSERT INTO wallet_transfer SELECT {forged}, kind, code, asset_id, debit_account_id,"
        " credit_account_id, amount, hold_id, reverses_id, effective_at, expires_at, '', ''"
        f" FROM wallet_transfer WHERE id = {story.pay}"
    )
    assert Difference(f"batch {forged}", "transfer_count", "1", "nothing") in differences("batches")


def test_reference_that_points_elsewhere_is_named(story: Story) -> None:
    digest = digest_of("pay").hex()
    corrupt(f"UPDATE wallet_reference SET transfer_id = {story.void} WHERE digest = '{digest}'")
    assert differences("references") == [
        Difference(
            f"reference of transfer {story.pay}", "transfer", str(story.pay), str(story.void)
        )
    ]
    assert Difference(f"transfer {story.void}", "references", "1", "2") in differences(
        "reference_rows"
    )


def test_deleted_reference_is_named(story: Story) -> None:
    corrupt(f"DELETE FROM wallet_reference WHERE digest = '{digest_of('pay').hex()}'")
    assert differences("references") == [
        Difference(f"reference of transfer {story.pay}", "transfer", str(story.pay), "nothing")
    ]


def test_changed_fingerprint_is_named(story: Story) -> None:
    reference = Reference.objects.get(transfer_id=story.pay)
    corrupt(f"UPDATE wallet_reference SET fingerprint = 1 WHERE transfer_id = {story.pay}")
    assert differences("references") == [
        Difference(
            f"reference of transfer {story.pay}", "fingerprint", str(reference.fingerprint), "1"
        )
    ]


def test_changed_content_of_a_transfer_is_named(story: Story) -> None:
    corrupt(f"UPDATE wallet_transfer SET memo = 'dinner' WHERE id = {story.pay}")
    [difference] = differences("references")
    assert (difference.where, difference.field) == (
        f"reference of transfer {story.pay}",
        "fingerprint",
    )


def test_reference_that_made_nothing_is_named(story: Story) -> None:
    digest = "00000000-0000-0000-0000-000000000001"
    corrupt(f"INSERT INTO wallet_reference VALUES ('{digest}', 12, 0, 0)")
    assert differences("reference_rows") == [
        Difference(f"reference {digest}", "transfer", "12", "0")
    ]


def test_tampered_seal_window_is_named(story: Story) -> None:
    corrupt(f"UPDATE wallet_transfer SET memo = 'dinner' WHERE id = {story.pay}")
    [difference] = differences("seals")
    assert (difference.where, difference.field) == ("seal 1", "sha256")


def test_one_asset_is_checked_alone(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET balance = balance + 1 WHERE id = {story.ann}")
    assert verify(story.other.asset).is_clean
    assert not verify(story.books.asset).is_clean


def test_long_lists_are_cut(story: Story) -> None:
    items = [story.books.transfer("issuer", "ann", 1, new_reference()) for _ in range(150)]
    ids = created(post(items))
    corrupt(f"DELETE FROM wallet_reference WHERE transfer_id >= {ids[0]}")
    [finding] = [each for each in verify().findings if each.law == "references"]
    assert finding.is_cut
    assert len(finding.differences) == MOST_DIFFERENCES


# -- the command ---------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str, str]:
    out, progress = StringIO(), StringIO()
    code = 0
    try:
        call_command("ledger", *arguments, stdout=out, stderr=progress)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, out.getvalue(), progress.getvalue()


def test_command_says_clean_and_reports_progress_on_stderr(story: Story) -> None:
    code, out, progress = run("verify")
    assert (code, out) == (0, "The ledger is clean: 14 laws hold.\n")
    assert [line.split()[0] for line in progress.splitlines()][:2] == ["zero_sum", "balances"]


def test_command_fails_and_says_where(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET held = 0 WHERE id = {story.ann}")
    code, out, _ = run("verify")
    assert code == 1
    assert out == f"held: account {story.ann}: held should be 46, is 0\n"


def test_command_speaks_json(story: Story) -> None:
    corrupt(f"UPDATE wallet_account SET held = 0 WHERE id = {story.ann}")
    code, out, _ = run("verify", "--json", "--asset", "PTS")
    report = json.loads(out)
    assert (code, report["is_clean"], report["asset"]) == (1, False, "PTS")
    [held] = [each for each in report["findings"] if each["law"] == "held"]
    assert held["differences"] == [
        {"where": f"account {story.ann}", "field": "held", "expected": "46", "found": "0"}
    ]


def test_command_refuses_an_asset_that_does_not_exist() -> None:
    with pytest.raises(CommandError, match="there is no asset NONE"):
        call_command("ledger", "verify", "--asset", "NONE")


def test_verify_sees_one_moment_while_postings_go_on(story: Story) -> None:
    """Between two laws money moves; the snapshot does not see it."""
    moved: list[str] = []

    def move(finding: object) -> None:
        if not moved:
            created(post([story.books.transfer("ann", "bob", 1)]))
            moved.append("once")

    listen: Callable[[object], None] = move
    assert verify(on_law=listen).is_clean
    assert moved and verify().is_clean
