"""What operators do to series: handing out, closing, withdrawing, verifying, rotating keys."""

from __future__ import annotations

import io
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from edge.models import AuditEvent
from edge.problems import Refusal
from rewards import units
from rewards.actions import (
    ImportUnknown,
    NothingToWithdraw,
    ReasonMissing,
    SeriesTerms,
    create_series,
    set_closed,
    withdraw,
)
from rewards.codes import CheckScheme
from rewards.importing import SeriesClosed, SeriesExpired
from rewards.models import CodeImport, Series, VoucherCode
from rewards.revealing import reveal, view
from rewards.rotation import rotate_keys
from rewards.sealing import CannotOpen, key_id_in, new_key, sealer
from rewards.verifying import verify
from tests.rewards.conftest import NOW, World, everything, told
from wallet.models import Account, Code, Transfer
from wallet.problems import LedgerRefusal

pytestmark = pytest.mark.django_db(transaction=True)


def import_id(world: World, lines: str = "AAAA\nBBBB\nCCCC\n") -> int:
    made = world.offer("code\n" + lines).code_import
    assert made is not None
    return int(made.pk)


def test_units_are_handed_out_once_a_reference(world: World) -> None:
    import_id(world)
    first = world.give(world.ann, 2, "prize")
    assert world.give(world.ann, 2, "prize") == first
    assert world.units(world.ann) == 2
    with pytest.raises(LedgerRefusal) as refused:
        world.give(world.ann, 1, "prize")
    assert refused.value.code == "reference_reused"
    with pytest.raises(LedgerRefusal) as refused:
        world.give(world.ben, 2, "another")
    assert refused.value.code == "insufficient_funds"
    assert (world.units(world.ann), world.units(world.ben)) == (2, 0)


def test_closed_series_takes_no_codes_until_it_opens(world: World) -> None:
    import_id(world)
    assert set_closed("DRINK", True, actor=world.marla, reason="season is over")
    assert not set_closed("DRINK", True, actor=world.marla, reason="again")
    before = everything()
    with pytest.raises(SeriesClosed):
        world.offer("code\nDDDD\n")
    assert everything() == before
    assert set_closed("DRINK", False, actor=world.marla, reason="one more match")
    assert world.offer("code\nDDDD\n").is_clean
    with pytest.raises(ReasonMissing):
        set_closed("DRINK", True, actor=world.marla, reason=" ")


def test_expired_series_takes_no_codes(world: World) -> None:
    Series.objects.update(expires_at=NOW)
    with pytest.raises(SeriesExpired):
        world.offer("code\nDDDD\n")


def test_series_checks_the_check_characters_of_its_codes(world: World) -> None:
    terms = SeriesTerms(
        code="CARD", title="A card", issuer_name="x", check_scheme=CheckScheme.ISO_7064
    )
    create_series(terms, actor=world.marla)
    content = "code\nA12425GABC1234002M\nA12425GABC1234020M\n"
    assert told(world.offer(content, series_code="CARD")) == [(3, "code", "code_check_wrong")]


# -- withdrawing ---------------------------------------------------------------------------


def test_withdrawn_import_takes_codes_and_units_back(world: World) -> None:
    kept, gone = import_id(world), import_id(world, "DDDD\nEEEE\n")
    assert withdraw(gone, actor=world.marla, reason="wrong file") == 2
    states = VoucherCode.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == [0, 0, 0, 2, 2]
    counts = units.counts_of([world.drink.asset_id])[world.drink.asset_id]
    assert (counts.issued, counts.in_treasury) == (3, 3)
    back = Transfer.objects.get(reference=f"withdraw:{gone}")
    assert (back.amount, back.code) == (2, Code.CLAWBACK)
    assert verify(world.drink) == []
    assert CodeImport.objects.get(pk=kept).state == "imported"
    event = AuditEvent.objects.get(action="rewards.withdraw_import")
    assert (event.reason, event.after) == ("wrong file", {"import_id": str(gone), "codes": 2})


def test_revealed_codes_are_not_withdrawn(world: World) -> None:
    outcome = world.stock(world.ann, ["AAAA", "BBBB"])
    reveal(series_code="DRINK", owner=world.ann, request=uuid4(), now=NOW)
    assert outcome.code_import is not None
    assert withdraw(outcome.code_import.pk, actor=None, reason="recall") == 1
    assert world.units(world.ann) == 0
    assert verify(world.drink, opens_codes=True) == []


def test_units_that_were_passed_on_keep_an_import(world: World) -> None:
    made = import_id(world)
    world.give(world.ann, 1, "prize")
    before = everything()
    with pytest.raises(LedgerRefusal) as refused:
        withdraw(made, actor=world.marla, reason="wrong file")
    assert refused.value.code == "insufficient_funds"
    assert everything() == before


@pytest.mark.parametrize(
    ("number", "reason", "kind"),
    [(4711, "why", ImportUnknown), (0, "", ReasonMissing), (0, "twice", NothingToWithdraw)],
)
def test_withdrawal_is_refused(world: World, number: int, reason: str, kind: type[Refusal]) -> None:
    made = import_id(world)
    if reason == "twice":
        withdraw(made, actor=world.marla, reason="once")
    with pytest.raises(kind):
        withdraw(number or made, actor=world.marla, reason=reason)


def test_refused_import_has_nothing_to_withdraw(world: World) -> None:
    with pytest.raises(NothingToWithdraw):
        withdraw(import_id(world, "AB\n"), actor=world.marla, reason="why")


def test_withdrawn_codes_stay_known_and_are_never_given(world: World) -> None:
    withdraw(import_id(world, "AAAA\n"), actor=world.marla, reason="wrong")
    assert told(world.offer("code\nAAAA\nBBBB\n")) == [(2, "code", "code_stored")]


# -- verifying -----------------------------------------------------------------------------

FIRST = """
UPDATE rewards_vouchercode SET state = {state}
 WHERE id = (SELECT min(id) FROM rewards_vouchercode WHERE state = 0)
"""
DAMAGES = [
    # what is done behind the platform's back; what verify then says
    (
        FIRST.format(state=2),
        ["DRINK: 3 units in circulation, 2 codes available"],
    ),
    (
        FIRST.format(state=1),
        [
            "DRINK: 3 units in circulation, 2 codes available",
            "DRINK: 1 units burnt, 2 codes revealed",
            "DRINK: 1 reveals and codes exported, 2 codes revealed",
            "DRINK: 1 codes and reveals that disagree, 0 none",
        ],
    ),
    (
        "DELETE FROM rewards_vouchercode WHERE state = 0",
        [
            "DRINK: 3 units in circulation, 0 codes available",
            "DRINK: 4 rows imported, 1 codes stored",
        ],
    ),
    (
        "UPDATE rewards_reveal SET transfer_id = 1",
        ["DRINK: 1 reveals without their transfer, 0 none"],
    ),
    (
        "UPDATE wallet_account SET balance = balance - 1 WHERE kind_id = 'issuance'",
        ["DRINK: 4 units in circulation, 3 codes available"],
    ),
]


@pytest.mark.parametrize(("damage", "faults"), DAMAGES)
def test_verify_says_what_does_not_add_up(world: World, damage: str, faults: list[str]) -> None:
    world.stock(world.ann, ["AAAA", "BBBB", "CCCC", "DDDD"])
    reveal(series_code="DRINK", owner=world.ann, request=uuid4(), now=NOW)
    assert verify(world.drink, opens_codes=True) == []
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; SET LOCAL session_replication_role = replica")
        cursor.execute(damage)
        cursor.execute("COMMIT")
    assert verify(world.drink) == faults


def test_verify_finds_codes_that_do_not_open(world: World) -> None:
    world.stock(world.ann, ["AAAA", "BBBB"])
    first, second = VoucherCode.objects.order_by("pk")
    VoucherCode.objects.filter(pk=second.pk).update(sealed=first.sealed)
    assert verify(world.drink) == []
    assert verify(world.drink, opens_codes=True) == [
        f"DRINK: 1 codes do not open, with ids {second.pk}"
    ]


# -- rotating keys ---------------------------------------------------------------------------


def key_ids() -> set[bytes]:
    return {
        key_id_in(bytes(sealed)) for sealed in VoucherCode.objects.values_list("sealed", flat=True)
    }


def test_rotation_seals_every_code_by_the_new_key(world: World, settings: Settings) -> None:
    world.stock(world.ann, [f"CODE-{number:04}" for number in range(1_200)])
    made = reveal(series_code="DRINK", owner=world.ann, request=uuid4(), now=NOW).reveal
    settings.CODE_KEYS = [new_key(), *settings.CODE_KEYS]
    assert list(rotate_keys()) == [500, 1000, 1200]
    assert key_ids() == {sealer().current_key_id}
    assert list(rotate_keys()) == []
    settings.CODE_KEYS = settings.CODE_KEYS[:1]
    assert view(reveal_id=made.pk, owner=world.ann).code.for_its_owner() == "CODE-0000"
    assert verify(world.drink, opens_codes=True) == []


def test_stopped_rotation_goes_on_where_it_was(world: World, settings: Settings) -> None:
    world.stock(world.ann, [f"CODE-{number:04}" for number in range(1_200)])
    settings.CODE_KEYS = [new_key(), *settings.CODE_KEYS]
    assert next(rotate_keys()) == 500
    assert len(key_ids()) == 2
    assert list(rotate_keys()) == [500, 700]
    assert verify(world.drink, opens_codes=True) == []


def test_rotation_without_the_old_key_changes_nothing(world: World, settings: Settings) -> None:
    world.stock(world.ann, ["AAAA", "BBBB"])
    before = key_ids()
    settings.CODE_KEYS = [new_key()]
    with pytest.raises(CannotOpen):
        list(rotate_keys())
    assert key_ids() == before


# -- commands --------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_series_is_made_filled_and_verified_by_commands(world: World, tmp_path: Path) -> None:
    file = tmp_path / "seats.csv"
    file.write_text("code\nAAAA-1111\nBBBB-2222\n")
    create = ("series", "create", "SEAT", "--title", "A seat", "--issuer", "The Club")
    run(*create, "--face-value", "3500", "--currency", "EUR", "--expires-at", "2127-01-31")
    assert run("import_codes", "SEAT", str(file), "--dry-run").startswith("2 good codes;")
    assert "2 codes, as many units" in run("import_codes", "SEAT", str(file), "--owner", "@ann")
    assert run("series", "verify", "SEAT", "--open") == "SEAT: ok\n"
    made = Series.objects.get(asset__code="SEAT")
    assert Account.objects.get(owner=world.ann, asset=made.asset).balance == 2
    with pytest.raises(CommandError, match="file_already_imported"):
        run("import_codes", "SEAT", str(file))


def test_file_with_faults_ends_with_its_lines(world: World, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("code\nSECRET-1\nAB\nSECRET-1\n")
    out = io.StringIO()
    with pytest.raises(CommandError, match="2 faults; nothing was imported"):
        call_command("import_codes", "DRINK", str(file), stdout=out, stderr=out)
    assert out.getvalue().splitlines() == [
        "line 3, code: fault: The code is shorter than 4 characters.",
        "line 4, code: fault: The same code stands in line 2.",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import_codes", "NO-SUCH", __file__), "series_unknown"),
        (("import_codes", "DRINK", "/no/such/file"), "No such file"),
        (("import_codes", "DRINK", "/"), "Is a directory"),
        (("import_codes", "DRINK", __file__, "--owner", "nobody_here"), "no person nobody_here"),
        (("series", "create", "DRINK", "--title", "x", "--issuer", "x"), "series_exists"),
        (
            ("series", "create", "S-1", "--title", "x", "--issuer", "x", "--expires-at", "soon"),
            "--expires-at",
        ),
        (("series", "create", "small", "--title", "x", "--issuer", "x"), "series_terms_invalid"),
        (("series", "create", "S-1", "--title", " ", "--issuer", "x"), "series_terms_invalid"),
        (("series", "create", "S-1", "--title", "x", "--issuer", "x" * 121), "series_terms_inv"),
        (
            ("series", "create", "S-1", "--title", "x", "--issuer", "x", "--face-value", "5"),
            "series_terms_invalid",
        ),
        (("series", "hand-out", "DRINK", "ann", "1", "--reference", "r"), "insufficient_funds"),
        (("series", "hand-out", "DRINK", "ann", "0", "--reference", "r"), "amount_not_positive"),
        (("series", "withdraw", "4711", "--reason", "why"), "import_unknown"),
        (("series", "verify", "NO-SUCH"), "series_unknown"),
    ],
)
def test_bad_commands_say_why(world: World, arguments: tuple[str, ...], message: str) -> None:
    before = everything()
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert everything() == before


def test_commands_hand_out_withdraw_and_rotate(world: World, settings: Settings) -> None:
    made = import_id(world)
    assert "2 units for @ann" in run("series", "hand-out", "DRINK", "ann", "2", "--reference", "r")
    run("series", "hand-out", "DRINK", "ann", "2", "--reference", "r")
    assert world.units(world.ann) == 2
    settings.CODE_KEYS = [run("series", "new-key").strip(), *settings.CODE_KEYS]
    assert "3 codes encrypted again" in run("series", "rotate-keys")
    with pytest.raises(CommandError, match="insufficient_funds"):
        run("series", "withdraw", str(made), "--reason", "why")
