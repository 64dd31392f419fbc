"""The whole story of a code, or of a person and their vouchers, for operators. Read only.

A code is found by its keyed digest, in all series at once; it is shown masked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from accounts.models import User
from edge.models import AuditEvent
from rewards.code_files import NEVER
from rewards.codes import CodeProblem, cleaned
from rewards.models import (
    GenericCode,
    Present,
    Redemption,
    Reveal,
    Series,
    Voucher,
    VoucherCode,
)
from rewards.redemption import money
from rewards.redemption.rules import Kind
from rewards.revealing import masked
from rewards.sealing import sealer
from wallet.models import Account

MOST_SERIES = 5_000
MOST_FOUND = 20
MOST_EVENTS = 100


class Happening(NamedTuple):
    """One line of a story."""

    at: datetime
    what: str
    who: str
    why: str = ""


@dataclass(slots=True)
class CodeStory:
    """What is known of one code. `facts` are pairs of a name and a value."""

    code: VoucherCode
    masked: str
    facts: list[tuple[str, str]]
    redemptions: list[Redemption]
    happenings: list[Happening]


@dataclass(slots=True)
class GenericStory:
    """What is known of a code for many."""

    generic: GenericCode
    uses_left: int
    redemptions: list[Redemption]
    happenings: list[Happening]


@dataclass(slots=True)
class PersonStory:
    """What is known of a person's vouchers."""

    person: User
    units: list[tuple[str, int, int]]
    reveals: list[tuple[Reveal, str]]
    redemptions: list[Redemption]
    presents: list[Present] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)


def find_codes(typed: str) -> list[int]:
    """Find the codes that are written so, by id; in every series, each by its own digest."""
    text = cleaned(typed)
    if not text:
        return []
    pairs = [(series.pk, _written(series, text)) for series in Series.objects.all()[:MOST_SERIES]]
    wanted = Q()
    for series_id, written in pairs:
        wanted |= Q(series=series_id, digest=sealer().digest(series_id, written).hex())
    found = VoucherCode.objects.filter(wanted) if pairs else VoucherCode.objects.none()
    return list(found.values_list("pk", flat=True)[:MOST_FOUND])


def _written(series: Series, text: str) -> str:
    read = series.pattern.read(text) if series.pattern else text
    return text if isinstance(read, CodeProblem) else read


def find_generic(typed: str) -> list[GenericCode]:
    """Find the codes for many that are written so."""
    found = GenericCode.objects.select_related("series__asset")
    return list(found.filter(text=cleaned(typed).upper())[:MOST_FOUND])


def of_code(code_id: int) -> CodeStory | None:
    """Tell one code's story."""
    code = (
        VoucherCode.objects.select_related("series__asset", "series__face_value_asset", "export")
        .filter(pk=code_id)
        .first()
    )
    if code is None:
        return None
    reveal = Reveal.objects.select_related("owner").filter(code=code).first()
    redemptions = list(
        Redemption.objects.with_story().filter(code=code).order_by("-id")[:MOST_EVENTS]
    )
    objects = [("code", str(code.pk))]
    objects += [("redemption", str(each.pk)) for each in redemptions]
    objects += [("reveal", str(reveal.pk))] if reveal else []
    plain = sealer().open(code.series_id, code.digest.bytes, bytes(code.sealed))
    return CodeStory(code, plain.masked, _facts(code, reveal), redemptions, _trail(objects))


def _facts(code: VoucherCode, reveal: Reveal | None) -> list[tuple[str, str]]:
    voucher = Voucher.objects.filter(code=code).first()
    facts = [
        ("Series", f"{code.series.code}: {code.series.title}"),
        ("Code", VoucherCode.State(code.state).label),
        ("Expires", _moment(code.expires_at)),
        ("Came with import", str(code.code_import_id)),
    ]
    if code.export_id is not None:
        facts.append(("Went out with export", str(code.export_id)))
    if reveal is not None:
        facts.append(("Revealed", f"{reveal.at:%Y-%m-%d %H:%M} by {reveal.owner}"))
        facts.append(("Unit burnt by transfer", str(reveal.transfer_id)))
    if voucher is not None:
        facts.append(("Voucher", Voucher.Use(voucher.use).label))
    if code.series.kind == Kind.GIFT and code.series.face_value_asset is not None:
        left = code.series.face_value_minor or 0
        if voucher is not None and voucher.account_id is not None:
            left = money.available(voucher.account_id)
        facts.append(("Balance", f"{left} {code.series.face_value_asset.code} minor"))
    return facts


def _moment(at: datetime) -> str:
    return "never" if at == NEVER else f"{at:%Y-%m-%d %H:%M} UTC"


def of_generic(generic: GenericCode) -> GenericStory:
    """Tell the story of a code for many."""
    redemptions = Redemption.objects.with_story().filter(generic=generic).order_by("-id")
    return GenericStory(
        generic,
        money.available(money.uses_of(generic).left),
        list(redemptions[:MOST_EVENTS]),
        _trail([("generic_code", str(generic.pk))]),
    )


def of_person(person: User) -> PersonStory:
    """Tell a person's story: units, codes seen, uses, presents, and what was done about them."""
    wallets = Account.objects.of(person.pk).filter(kind="wallet", asset__kind="series")
    reveals = Reveal.objects.of(person.pk).order_by("-id")[:MOST_EVENTS]
    redemptions = Redemption.objects.with_story().filter(customer=person).order_by("-id")
    presents = Present.objects.filter(Q(giver=person) | Q(receiver=person))
    events = AuditEvent.objects.filter(actor_id=person.pk, action__startswith="rewards.")
    return PersonStory(
        person,
        [(wallet.asset.code, wallet.available, wallet.held) for wallet in wallets],
        [(reveal, masked(reveal)) for reveal in reveals],
        list(redemptions[:MOST_EVENTS]),
        list(
            presents.select_related("series__asset", "giver", "receiver").order_by("-id")[
                :MOST_EVENTS
            ]
        ),
        [_happened(event) for event in events.order_by("-id")[:MOST_EVENTS]],
    )


def _trail(objects: list[tuple[str, str]]) -> list[Happening]:
    wanted = Q()
    for object_type, object_id in objects:
        wanted |= Q(object_type=object_type, object_id=object_id)
    events = AuditEvent.objects.filter(wanted).order_by("-id")[:MOST_EVENTS]
    return [_happened(event) for event in events]


def _happened(event: AuditEvent) -> Happening:
    return Happening(event.at, event.action, event.actor_name, event.reason)
