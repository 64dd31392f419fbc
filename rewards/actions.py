"""What operators do to a series: set it up, close it, hand out its units, withdraw an import.

Each action is one transaction, audited. Importing and revealing have modules of their own.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import IntegrityError, connection, transaction

from accounts.models import User
from edge import audit
from edge.fields import ASSET_CODE_PATTERN, LARGEST_AMOUNT
from edge.problems import Refusal
from rewards import trading, units
from rewards.codes import CheckScheme
from rewards.disputes.money import unsecuring
from rewards.events import announce
from rewards.importing import SeriesUnknown
from rewards.models import CodeImport, GenericCode, Series
from rewards.patterns import ALPHABET, PatternInvalid, pattern_of
from rewards.redemption import money
from rewards.redemption.rules import BPS, Kind
from wallet.models import Asset, Code

LONGEST_REASON = 500
LONGEST_TITLE = 120

WITHDRAW = """
WITH spare AS (
    SELECT id FROM rewards_vouchercode
     WHERE id BETWEEN %(first)s AND %(last)s AND code_import_id = %(code_import)s AND state = 0
     ORDER BY id FOR NO KEY UPDATE
), gone AS (
    UPDATE rewards_vouchercode AS code SET state = 2 FROM spare WHERE code.id = spare.id
    RETURNING code.id, code.expires_at
)
SELECT count(*), count(*) FILTER (
           WHERE sweep.through IS NULL OR (expires_at, id) > (sweep.through, sweep.code_id))
  FROM gone LEFT JOIN rewards_expirysweep AS sweep ON sweep.series_id = %(series)s
"""


class SeriesExists(Refusal):
    """An asset has this code already; a series needs one of its own."""

    code = "series_exists"
    title = "There is an asset of this code already"
    status = 409


class CurrencyUnknown(Refusal):
    """A face value is in a currency, and there is none of this code."""

    code = "currency_unknown"
    title = "There is no such currency"
    status = 422


class TermsInvalid(Refusal):
    """The terms of a series do not hold together; the detail says which."""

    code = "series_terms_invalid"
    title = "A series cannot have these terms"
    status = 422


class ValidityImpossible(Refusal):
    """The series would expire before it becomes valid."""

    code = "validity_impossible"
    title = "A series expires after it becomes valid"
    status = 422


class ReasonMissing(Refusal):
    """Somebody will ask why; the answer is written down now."""

    code = "reason_missing"
    title = "This needs a reason"
    status = 422


class ImportUnknown(Refusal):
    """No import has this id."""

    code = "import_unknown"
    title = "There is no such import"
    status = 404


class NothingToWithdraw(Refusal):
    """The import was refused or withdrawn before, or all its codes are revealed."""

    code = "nothing_to_withdraw"
    title = "The import has no code that could be withdrawn"
    status = 409


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesTerms:
    """What a series promises. `face_value_minor` and `face_value_currency` come together."""

    code: str
    title: str
    issuer_name: str
    description: str = ""
    terms: str = ""
    face_value_minor: int | None = None
    face_value_currency: str | None = None
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    check_scheme: CheckScheme = CheckScheme.NONE
    kind: Kind | None = None
    discount_bps: int | None = None
    is_redeemed_here: bool = False
    is_personal: bool = False
    code_pattern: str = ""
    code_alphabet: str = ALPHABET

    @property
    def true_kind(self) -> Kind:
        """What the vouchers are good for; if nobody says, a face value makes them amounts."""
        return self.kind or (Kind.AMOUNT if self.face_value_minor is not None else Kind.ITEM)


def create_series(promise: SeriesTerms, *, actor: User | None) -> Series:
    """Set up a series as a draft: its asset, its terms and its accounts on the ledger."""
    _check(promise)
    with transaction.atomic():
        series = Series.objects.create(
            asset=_new_asset(promise),
            title=promise.title,
            description=promise.description,
            issuer_name=promise.issuer_name,
            terms=promise.terms,
            face_value_minor=promise.face_value_minor,
            face_value_asset=_currency(promise.face_value_currency),
            valid_from=promise.valid_from,
            expires_at=promise.expires_at,
            check_scheme=promise.check_scheme.value,
            kind=promise.true_kind.value,
            discount_bps=promise.discount_bps,
            is_redeemed_here=promise.is_redeemed_here,
            is_personal=promise.is_personal,
            code_pattern=promise.code_pattern,
            code_alphabet=promise.code_alphabet,
            created_by=actor,
        )
        units.house_accounts(series.asset_id)
        trading.first_rules(series, actor=actor)
        story = {key: value for key, value in asdict(promise).items() if value}
        if not promise.code_pattern:
            del story["code_alphabet"]
        _note(actor, "create_series", series, after={key: str(story[key]) for key in story})
        announce("series_created", series.code, series=series.code)
    return series


def _check(promise: SeriesTerms) -> None:
    if not re.fullmatch(ASSET_CODE_PATTERN, promise.code):
        raise TermsInvalid("A code has 2 to 40 capitals, digits, hyphens, dots or underscores.")
    for text in (promise.title, promise.issuer_name):
        if not text.strip() or len(text) > LONGEST_TITLE:
            raise TermsInvalid(f"Title and issuer have 1 to {LONGEST_TITLE} characters.")
    amount = promise.face_value_minor
    if (amount is None) != (promise.face_value_currency is None):
        raise TermsInvalid("A face value has an amount and a currency.")
    if amount is not None and not 1 <= amount <= LARGEST_AMOUNT:
        raise TermsInvalid("A face value is at least 1, and at most 2^62.")
    if promise.valid_from and promise.expires_at and promise.expires_at <= promise.valid_from:
        raise ValidityImpossible
    _check_kind(promise)


def _check_kind(promise: SeriesTerms) -> None:
    kind, discount = promise.true_kind, promise.discount_bps
    if (kind is Kind.PERCENTAGE) != (discount is not None):
        raise TermsInvalid("A percentage says how much, in hundredths of a percent; nothing else.")
    if discount is not None and not 1 <= discount <= BPS:
        raise TermsInvalid(f"A percentage is 1 to {BPS} hundredths of a percent.")
    if kind in (Kind.AMOUNT, Kind.GIFT) and promise.face_value_minor is None:
        raise TermsInvalid("An amount and a gift balance have a face value.")
    if kind is Kind.GIFT and not promise.is_redeemed_here:
        raise TermsInvalid("A gift balance is spent with us: it is redeemed here.")
    if promise.code_pattern:
        if promise.check_scheme is not CheckScheme.NONE:
            raise TermsInvalid("Codes have a pattern of ours or a check scheme of their issuer's.")
        try:
            pattern_of(promise.code_pattern, promise.code_alphabet)
        except PatternInvalid as why:
            raise TermsInvalid(str(why)) from None


def _new_asset(promise: SeriesTerms) -> Asset:
    try:
        with transaction.atomic():
            return Asset.objects.create(
                code=promise.code, name=promise.title, kind=Asset.Kind.SERIES
            )
    except IntegrityError:
        if not Asset.objects.filter(code=promise.code).exists():
            raise
        raise SeriesExists from None


def _currency(code: str | None) -> Asset | None:
    if code is None:
        return None
    currency = Asset.objects.filter(code=code, kind=Asset.Kind.CURRENCY).first()
    if currency is None:
        raise CurrencyUnknown
    return currency


def describe(series_code: str, *, actor: User | None, **texts: str) -> bool:
    """Change what a series says of itself; say whether that changed anything.

    `texts` may hold title, description, issuer_name and terms. What a unit is worth and how
    long it is valid was promised to whoever holds one, and stays.
    """
    assert texts.keys() <= {"title", "description", "issuer_name", "terms"}, texts.keys()
    with transaction.atomic():
        series = _locked(series_code)
        before = {name: getattr(series, name) for name in texts}
        changed = {name: text for name, text in texts.items() if text != before[name]}
        if not changed:
            return False
        Series.objects.filter(pk=series.pk).update(**changed)
        said = {name: before[name] for name in changed}
        _note(actor, "describe_series", series, before=said, after=changed)
        announce("series_described", series.code, series=series.code)
    return True


def set_closed(series_code: str, is_closed: bool, *, actor: User | None, reason: str) -> bool:
    """Close a series to further codes, or open it again; say whether that changed anything.

    Who holds a unit of a closed series can still reveal its code.
    """
    reason = checked_reason(reason)
    with transaction.atomic():
        series = _locked(series_code)
        if (series.state == Series.State.CLOSED) == is_closed:
            return False
        generic = GenericCode.objects.filter(series=series)
        has_codes = series.imports.filter(code_count__gt=0).exists() or generic.exists()
        opened = Series.State.ISSUED if has_codes else Series.State.DRAFT
        before = series.state
        series.state = Series.State.CLOSED if is_closed else opened
        series.save(update_fields=["state"])
        deed = "close_series" if is_closed else "reopen_series"
        change = {"before": {"state": before}, "after": {"state": series.state}}
        _note(actor, deed, series, reason=reason, **change)
    return True


def hand_out(
    series_code: str, *, owner: User, amount: int, reference: str, actor: User | None
) -> int:
    """Give units from the series' treasury to a person; say the transfer's id.

    The reference makes it once for ever. Refused by the ledger when the treasury has too few.
    """
    with transaction.atomic():
        series = _series(series_code)
        _note(actor, "hand_out", series, after={"owner": owner.pk, "amount": amount})
        return units.move(
            reference=f"hand-out:{reference}",
            asset_id=series.asset_id,
            debit=units.house_accounts(series.asset_id).treasury,
            credit=units.holding_account(series.asset_id, owner.pk),
            amount=amount,
            code=Code.GRANT,
        )


def withdraw(import_id: int, *, actor: User | None, reason: str) -> int:
    """Take back the codes of an import that nobody has revealed; say how many.

    Their units leave the account that got them, so this is refused by the ledger once too
    many of them were passed on. The codes stay stored and are never given or taken again.
    """
    reason = checked_reason(reason)
    with transaction.atomic():
        code_import = _locked_import(import_id)
        count, owed = _deactivate(code_import)
        code_import.state = CodeImport.State.WITHDRAWN
        code_import.save(update_fields=["state"])
        series = code_import.series
        story = {"import_id": str(import_id), "codes": count}
        _note(actor, "withdraw_import", series, reason=reason, after=story)
        reference = f"withdraw:{import_id}"
        units.post_all(
            [
                *money.transfer(
                    reference,
                    series.asset_id,
                    units.holding_account(series.asset_id, code_import.owner_id),
                    units.house_accounts(series.asset_id).issuance,
                    count,
                    code=Code.CLAWBACK,
                ),
                *money.unbacking(series, owed, reference),
                *unsecuring(series, count, reference),
            ]
        )
        announce("codes_withdrawn", series.code, series=series.code, **story)
    return count


def _locked_import(import_id: int) -> CodeImport:
    """Lock an import and, before it, its series: so do generation and the sweep of what expired."""
    seen = CodeImport.objects.only("series_id").filter(pk=import_id).first()
    if seen is None:
        raise ImportUnknown
    Series.objects.select_for_update(no_key=True).get(pk=seen.series_id)
    imports = CodeImport.objects.select_for_update(no_key=True, of=("self",))
    with_series = imports.select_related("series__asset", "series__face_value_asset")
    found = with_series.get(pk=import_id)
    if found.state != CodeImport.State.IMPORTED:
        raise NothingToWithdraw
    return found


def _deactivate(code_import: CodeImport) -> tuple[int, int]:
    """Take codes out of use; say how many, and of how many the face value is still owed."""
    with connection.cursor() as cursor:
        cursor.execute(
            WITHDRAW,
            {
                "first": code_import.first_code_id,
                "last": code_import.last_code_id,
                "code_import": code_import.pk,
                "series": code_import.series_id,
            },
        )
        count, owed = cursor.fetchone()
    if not count:
        raise NothingToWithdraw
    return count, owed


def _series(series_code: str) -> Series:
    series = Series.objects.with_assets().filter(asset__code=series_code).first()
    if series is None:
        raise SeriesUnknown
    return series


def _locked(series_code: str) -> Series:
    series = Series.objects.select_related("asset").filter(asset__code=series_code)
    found = series.select_for_update(no_key=True, of=("self",)).first()
    if found is None:
        raise SeriesUnknown
    return found


def checked_reason(reason: str) -> str:
    """Shorten a reason to what is stored; refuse an empty one."""
    reason = reason.strip()[:LONGEST_REASON]
    if not reason:
        raise ReasonMissing
    return reason


def _note(actor: User | None, deed: str, series: Series, **more: object) -> None:
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="series",
        object_id=series.code,
        **more,  # type: ignore[arg-type]
    )
