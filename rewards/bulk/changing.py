"""Changes codes that exist: lets them be used for longer, or takes them out of use.

Both go along the ids of the codes, so a step knows where the one before ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.fields import format_time
from edge.problems import Refusal
from jobs import Step
from rewards import trading, units
from rewards.actions import ImportUnknown, checked_reason
from rewards.bulk import actions
from rewards.bulk.generating import ExpiryPast
from rewards.code_files import NEVER
from rewards.disputes.money import unsecuring
from rewards.events import announce
from rewards.models import BulkJob, CodeImport, Series, VoucherCode
from rewards.redemption import money
from rewards.units import post_all
from wallet.items import Item
from wallet.models import Account, Code

CODES_PER_EXTENSION = 20_000
CODES_PER_DEACTIVATION = 2_000

EXTEND = """
WITH page AS (
    SELECT id FROM rewards_vouchercode
     WHERE id > %(after)s AND id <= %(last)s AND series_id = %(series)s
       AND (%(code_import)s::bigint IS NULL OR code_import_id = %(code_import)s)
     ORDER BY id LIMIT %(most)s FOR NO KEY UPDATE
), changed AS (
    UPDATE rewards_vouchercode AS code SET expires_at = %(expires_at)s FROM page
     WHERE code.id = page.id AND state IN (0, 1)
       AND expires_at > %(now)s AND expires_at < %(expires_at)s
    RETURNING code.id
)
SELECT (SELECT max(id) FROM page), (SELECT count(*) FROM page), (SELECT count(*) FROM changed)
"""
# Codes that went out; those nobody has been given are withdrawn with their import.
OUT = """
SELECT id FROM rewards_vouchercode
 WHERE id > %(after)s AND id <= %(last)s AND series_id = %(series)s AND state = 1
   AND (%(code_import)s::bigint IS NULL OR code_import_id = %(code_import)s)
   AND (%(export)s::bigint IS NULL OR export_id = %(export)s)
 ORDER BY id LIMIT %(most)s
"""
TOUCH = """
INSERT INTO rewards_voucher (code_id, use)
SELECT id, 0 FROM unnest(%s::bigint[]) AS id ORDER BY id ON CONFLICT (code_id) DO NOTHING
"""
LOCK = """
SELECT voucher.code_id, voucher.account_id FROM rewards_voucher AS voucher
  JOIN rewards_vouchercode AS code ON code.id = voucher.code_id
 WHERE voucher.code_id = ANY(%(ids)s) AND code.expires_at > %(now)s
   AND (voucher.use = 0 OR (voucher.use = 1 AND voucher.reserved_until <= %(now)s))
 ORDER BY voucher.code_id FOR NO KEY UPDATE OF voucher
"""
END = "UPDATE rewards_voucher SET use = 3, reserved_until = NULL WHERE code_id = ANY(%s)"


class NothingChosen(Refusal):
    """Taking all codes of a series out of use at once is no slip anybody should make."""

    code = "nothing_chosen"
    title = "Name the import or the export whose codes are meant"
    status = 422


class CodeInUse(Refusal):
    """The code was used, is reserved, has expired, or is out of use already."""

    code = "code_not_changeable"
    title = "The code is used, reserved, expired or out of use"
    status = 409


class ExportUnknown(Refusal):
    """No export of this series has this id."""

    code = "export_unknown"
    title = "There is no such export"
    status = 404


# -- extend ----------------------------------------------------------------------------------


def extend(
    series_code: str,
    expires_at: datetime,
    *,
    actor: User | None,
    reason: str,
    import_id: int | None = None,
) -> BulkJob:
    """Start letting the codes of a series, or of one import, be used for longer.

    Those that expire later anyway stay as they are; what has expired stays expired.
    """
    if not timezone.now() < expires_at < NEVER:
        raise ExpiryPast
    with transaction.atomic():
        bulk = actions.prepare(
            BulkJob.Kind.EXTEND,
            series_code,
            {"expires_at": format_time(expires_at), "import_id": import_id},
            actor=actor,
            reason=checked_reason(reason),
        )
        _choose(bulk, import_id)
        return actions.launch(bulk)


def extend_step(bulk: BulkJob) -> Step:
    """Extend the next codes in the order of their ids.

    For a series, the last step looks once more at what came in since the work began, when no
    more can: from its commit on codes get the series' new expiry.
    """
    is_last_look = bulk.report["after"] >= bulk.parameters["last"]
    if is_last_look:
        _look_further(bulk)
    with connection.cursor() as cursor:
        cursor.execute(
            EXTEND,
            {
                "after": bulk.report["after"],
                "last": bulk.parameters["last"],
                "series": bulk.series_id,
                "code_import": bulk.parameters["import_id"],
                "expires_at": bulk.parameters["expires_at"],
                "now": timezone.now(),
                "most": CODES_PER_EXTENSION,
            },
        )
        after, seen, changed = cursor.fetchone()
    is_through = seen < CODES_PER_EXTENSION
    if is_through:
        after = bulk.parameters["last"]
    return _advance(bulk, after, seen, changed, is_last=is_through and is_last_look)


def _look_further(bulk: BulkJob) -> None:
    """Take in the codes that came in meanwhile; whoever brings in more waits for the series."""
    if bulk.parameters["import_id"] is None:
        # Locked before its codes, as who withdraws an import does.
        Series.objects.select_for_update(no_key=True).get(pk=bulk.series_id)
        newest = _imports_of(bulk).aggregate(last=Max("last_code_id"))["last"]
        bulk.parameters |= {"last": newest or 0}


# -- deactivate ------------------------------------------------------------------------------


def deactivate(
    series_code: str,
    *,
    actor: User | None,
    reason: str,
    import_id: int | None = None,
    export_id: int | None = None,
) -> BulkJob:
    """Start taking codes that went out, of one import or export, out of use.

    Used, reserved and expired ones stay as they are. What the others could have cost is owed
    no longer.
    """
    if import_id is None and export_id is None:
        raise NothingChosen
    with transaction.atomic():
        bulk = actions.prepare(
            BulkJob.Kind.DEACTIVATE,
            series_code,
            {"import_id": import_id, "export_id": export_id},
            actor=actor,
            reason=checked_reason(reason),
        )
        exports = BulkJob.objects.filter(series=bulk.series, kind=BulkJob.Kind.EXPORT)
        if export_id is not None and not exports.filter(pk=export_id).exists():
            raise ExportUnknown
        _choose(bulk, import_id)
        return actions.launch(bulk)


def deactivate_step(bulk: BulkJob) -> Step:
    """Take the next codes out of use, and what they could have cost off the books."""
    with connection.cursor() as cursor:
        cursor.execute(
            OUT,
            {
                "after": bulk.report["after"],
                "last": bulk.parameters["last"],
                "series": bulk.series_id,
                "code_import": bulk.parameters["import_id"],
                "export": bulk.parameters["export_id"],
                "most": CODES_PER_DEACTIVATION,
            },
        )
        ids = [row[0] for row in cursor.fetchall()]
    reference = f"deactivate:{bulk.pk}:{bulk.report['after']}"
    ended = _take_out(bulk.series, ids, reference, None)
    after = ids[-1] if ids else None
    is_last = len(ids) < CODES_PER_DEACTIVATION
    return _advance(bulk, after, len(ids), ended, is_last=is_last)


class Ended(NamedTuple):
    """A voucher about to be taken out of use."""

    code_id: int
    account_id: int | None


def _take_out(series: Series, ids: Sequence[int], reference: str, now: datetime | None) -> int:
    """Lock vouchers, take the free ones out of use and their money back; say how many."""
    with connection.cursor() as cursor:
        cursor.execute(TOUCH, [list(ids)])
        cursor.execute(LOCK, {"ids": list(ids), "now": now or timezone.now()})
        found = [Ended(row[0], row[1]) for row in cursor.fetchall()]
        cursor.execute(END, [[each.code_id for each in found]])
    if series.backing_minor and found:
        post_all(_money_back(series, found, reference))
    return len(found)


def _money_back(series: Series, found: Sequence[Ended], reference: str) -> list[Item]:
    untouched = sum(each.account_id is None for each in found)
    items: list[Item] = [*money.unbacking(series, untouched, reference)] if untouched else []
    accounts = [each.account_id for each in found if each.account_id is not None]
    left = {account.pk: account.available for account in Account.objects.filter(pk__in=accounts)}
    cost, asset_id = money.purse_of(series).cost, series.face_value_asset_id or 0
    for account_id, amount in sorted(left.items()):
        items += money.transfer(
            f"{reference}:{account_id}", asset_id, account_id, cost, amount, code=Code.CLAWBACK
        )
    return items


# -- both ------------------------------------------------------------------------------------


def _choose(bulk: BulkJob, import_id: int | None) -> None:
    """Note between which ids the codes lie; refuse an import of another series."""
    imports = _imports_of(bulk)
    if import_id is not None:
        imports = imports.filter(pk=import_id)
        if not imports.exists():
            raise ImportUnknown
    span = imports.aggregate(first=Min("first_code_id"), last=Max("last_code_id"))
    bulk.parameters |= {"last": span["last"] or 0}
    bulk.report = {"after": (span["first"] or 1) - 1, "changed": 0}
    bulk.save(update_fields=["parameters", "report"])


def _imports_of(bulk: BulkJob) -> QuerySet[CodeImport]:
    return CodeImport.objects.filter(series=bulk.series_id, first_code_id__isnull=False)


def _advance(bulk: BulkJob, after: int | None, seen: int, changed: int, *, is_last: bool) -> Step:
    bulk.done += seen
    bulk.report = {
        "after": after or bulk.report["after"],
        "changed": bulk.report["changed"] + changed,
    }
    if is_last:
        _finish(bulk)
    else:
        bulk.save(update_fields=["parameters", "report", "done"])
    return Step(done=bulk.done, total=bulk.total, is_last=is_last)


def _finish(bulk: BulkJob) -> None:
    is_extension = bulk.kind == BulkJob.Kind.EXTEND
    if is_extension and bulk.parameters["import_id"] is None:
        until: Any = datetime.fromisoformat(bulk.parameters["expires_at"])
        later = Series.objects.filter(pk=bulk.series_id, expires_at__lt=until)
        if later.update(expires_at=until):
            trading.extend(bulk.series_id, until, actor=bulk.created_by)
    audit.record(
        actor=bulk.created_by,
        action=f"rewards.{bulk.kind}_codes",
        object_type="series",
        object_id=bulk.series.code,
        reason=bulk.reason,
        after={"codes": bulk.report["changed"], "bulk_job_id": str(bulk.pk)},
    )
    actions.end(bulk, BulkJob.State.DONE)


# -- one code --------------------------------------------------------------------------------


def deactivate_code(
    code_id: int, *, actor: User | None, reason: str, now: datetime | None = None
) -> None:
    """Take one code out of use: one that went out, or one nobody was given yet.

    The latter takes a unit from the treasury with it. Raises `CodeInUse` for one that is used,
    reserved, expired or out of use already; or what the ledger refuses.
    """
    reason = checked_reason(reason)
    with transaction.atomic():
        code = _code(code_id)
        series = code.series
        _note(code, "deactivate_code", actor, reason)
        if code.state == VoucherCode.State.REVEALED:
            if not _take_out(series, [code.pk], f"deactivate:code:{code.pk}", now):
                raise CodeInUse
        else:
            _take_away(code, series, now)
        announce("code_deactivated", series.code, series=series.code, code_id=str(code.pk))


def _take_away(code: VoucherCode, series: Series, now: datetime | None) -> None:
    spare = VoucherCode.objects.filter(pk=code.pk, state=VoucherCode.State.AVAILABLE)
    is_over = code.expires_at <= (now or timezone.now())
    if is_over or not spare.update(state=VoucherCode.State.DEACTIVATED):
        raise CodeInUse
    accounts = units.house_accounts(series.asset_id)
    reference = f"deactivate:code:{code.pk}"
    post_all(
        [
            *money.transfer(
                reference, series.asset_id, accounts.treasury, accounts.issuance, 1,
                code=Code.CLAWBACK,
            ),
            *money.unbacking(series, 1, reference),
            *unsecuring(series, 1, reference),
        ]
    )  # fmt: skip


def extend_code(code_id: int, expires_at: datetime, *, actor: User | None, reason: str) -> None:
    """Let one code, not yet expired, be used for longer."""
    reason = checked_reason(reason)
    now = timezone.now()
    with transaction.atomic():
        code = _code(code_id)
        live = VoucherCode.objects.filter(pk=code.pk, state__in=(0, 1), expires_at__gt=now)
        if not live.filter(expires_at__lt=expires_at).update(expires_at=expires_at):
            raise CodeInUse
        _note(code, "extend_code", actor, reason, expires_at=format_time(expires_at))
        code_name = code.series.code
        announce("code_extended", code_name, series=code_name, code_id=str(code.pk))


def _code(code_id: int) -> VoucherCode:
    found = (
        VoucherCode.objects.select_related("series__asset", "series__face_value_asset")
        .defer("sealed")
        .filter(pk=code_id)
        .first()
    )
    if found is None:
        raise CodeInUse
    return found


def _note(code: VoucherCode, deed: str, actor: User | None, reason: str, **after: object) -> None:
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="code",
        object_id=code.pk,
        reason=reason,
        after=after or None,
    )
