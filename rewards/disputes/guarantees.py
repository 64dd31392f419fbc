"""Giving a guarantee, covering what is revealed, and letting the issuer's money go again.

Locks go in one order: series, guarantee, cover, the ledger's accounts.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.problems import Refusal
from rewards import units
from rewards.disputes import money, rules
from rewards.disputes.models import Cover, Guarantee
from rewards.disputes.problems import (
    CodesStillLeft,
    GuaranteeClosed,
    GuaranteeFixed,
    GuaranteeInvalid,
)
from rewards.events import announce
from rewards.importing import SeriesUnknown
from rewards.models import Reveal, Series, VoucherCode
from rewards.redemption.rules import Kind
from wallet.accounts import find_accounts
from wallet.items import LARGEST_AMOUNT
from wallet.models import Account, Asset

logger = logging.getLogger(__name__)

RELEASES_AT_ONCE = 1_000
MOST_RELEASES = 200_000
"""The most covers one run settles; the next goes on from there."""

# Shared with other reveals, but not with the closing of the guarantee.
STILL_OPEN = """
SELECT window_s FROM rewards_guarantee WHERE series_id = %s AND state = 0 FOR KEY SHARE
"""


def give_guarantee(
    series_code: str,
    *,
    issuer: User,
    asset_code: str,
    refund_minor: int,
    window_s: int,
    answer_s: int,
    two_people_over_minor: int = 5_000,
    actor: User | None,
) -> Guarantee:
    """Promise, for a series that has no codes yet, that its codes work. Audited; never changed.

    From then on every code that comes in takes `refund_minor` from the issuer's wallet.
    """
    asset = Asset.objects.filter(code=asset_code).exclude(kind=Asset.Kind.SERIES).first()
    if asset is None:
        raise GuaranteeInvalid("A guarantee is in money or in points.")
    _check(refund_minor, window_s, answer_s)
    with transaction.atomic():
        found = Series.objects.select_for_update(no_key=True, of=("self",))
        series = found.select_related("asset").filter(asset__code=series_code).first()
        if series is None:
            raise SeriesUnknown
        if series.state != Series.State.DRAFT or Guarantee.objects.filter(pk=series.pk).exists():
            raise GuaranteeFixed
        if series.kind == Kind.GIFT:
            raise GuaranteeInvalid(
                "A gift balance is spent in parts: its redemptions are reversed."
            )
        made = Guarantee.objects.create(
            series=series,
            issuer=issuer,
            asset=asset,
            refund_minor=refund_minor,
            window_s=window_s,
            answer_s=answer_s,
            two_people_over_minor=two_people_over_minor,
        )
        audit.record(
            actor=actor,
            action="rewards.give_guarantee",
            object_type="series",
            object_id=series_code,
            after={
                "issuer": issuer.handle, "asset": asset_code, "refund_minor": refund_minor,
                "window_s": window_s, "answer_s": answer_s,
                "two_people_over_minor": two_people_over_minor,
            },
        )  # fmt: skip
        announce("guarantee_given", series_code, series=series_code, refund=refund_minor)
    return made


def _check(refund_minor: int, window_s: int, answer_s: int) -> None:
    if not 1 <= refund_minor <= LARGEST_AMOUNT:
        raise GuaranteeInvalid("A refund is at least 1, and at most 2^62.")
    if not rules.LEAST_WINDOW_S <= window_s <= rules.LONGEST_WINDOW_S:
        raise GuaranteeInvalid(
            f"A window is {rules.LEAST_WINDOW_S} to {rules.LONGEST_WINDOW_S} seconds."
        )
    if not rules.LEAST_ANSWER_S <= answer_s <= rules.LONGEST_ANSWER_S:
        raise GuaranteeInvalid(
            f"An answer takes {rules.LEAST_ANSWER_S} to {rules.LONGEST_ANSWER_S} seconds."
        )


# -- a reveal ----------------------------------------------------------------------------------


def window_of(series_id: int) -> int | None:
    """Say for how many seconds codes revealed now can be disputed; `None`: not at all.

    In the reveal's transaction, before the ledger: the guarantee stays open until it ends.
    """
    with connection.cursor() as cursor:
        cursor.execute(STILL_OPEN, [series_id])
        row = cursor.fetchone()
    return row[0] if row else None


def cover(reveal: Reveal, series_id: int, window_s: int | None) -> Cover | None:
    """Note what stands behind a revealed code, in the reveal's own transaction."""
    if window_s is None:
        return None
    closes_at = reveal.at + timedelta(seconds=window_s)
    return Cover.objects.create(reveal=reveal, guarantee_id=series_id, closes_at=closes_at)


# -- afterwards --------------------------------------------------------------------------------


def release_due(now: datetime | None = None, limit: int = MOST_RELEASES) -> int:
    """Give issuers back what lay behind codes whose window closed undisputed; say how many.

    One transaction for at most 1,000 codes of a guarantee. May be run again at any time, by
    several at once: each cover is released once, by whoever locks it.
    """
    moment = now or timezone.now()
    due = Cover.objects.filter(state=Cover.State.OPEN, closes_at__lte=moment)
    done = 0
    for guarantee_id in list(due.values_list("guarantee_id", flat=True).distinct()):
        while done < limit:
            try:
                count = _release_some(guarantee_id, moment)
            except Refusal as refusal:
                logger.warning("guarantee %s keeps its money: %s", guarantee_id, refusal.code)
                break
            done += count
            if count < RELEASES_AT_ONCE:
                break
    return done


@transaction.atomic
def _release_some(guarantee_id: int, now: datetime) -> int:
    covers = list(
        Cover.objects.select_for_update(skip_locked=True)
        .filter(guarantee_id=guarantee_id, state=Cover.State.OPEN, closes_at__lte=now)
        .order_by("closes_at", "pk")[:RELEASES_AT_ONCE]
    )
    if not covers:
        return 0
    guarantee = Guarantee.objects.select_related("series__asset").get(pk=guarantee_id)
    ids = [each.pk for each in covers]
    Cover.objects.filter(pk__in=ids).update(state=Cover.State.RELEASED)
    amount = len(covers) * guarantee.refund_minor
    _post_back(guarantee, amount, f"cover:{ids[0]}", covers)
    code = guarantee.series.code
    announce("guarantee_released", code, series=code, codes=len(covers), amount=amount)
    return len(covers)


def _post_back(guarantee: Guarantee, amount: int, reference: str, covers: Sequence[Cover]) -> None:
    [result] = units.post_all([money.back(guarantee, amount, reference)])
    ids = [each.pk for each in covers]
    Cover.objects.filter(pk__in=ids).update(transfer_id=result.transfer_id)


def close_guarantee(series_code: str, *, actor: User | None, now: datetime | None = None) -> int:
    """End a guarantee once no code is left to give: what lay behind such codes goes back.

    Codes that were revealed stay covered until their windows close. Says how much went back.
    Raises `CodesStillLeft` while a code can still be given.
    """
    moment = now or timezone.now()
    with transaction.atomic():
        found = Series.objects.select_for_update(no_key=True, of=("self",))
        series = found.select_related("asset").filter(asset__code=series_code).first()
        guarantee = (
            series
            and Guarantee.objects.select_for_update(of=("self",))
            .filter(pk=series.pk)
            .select_related("series__asset", "asset")
            .first()
        )
        if series is None or guarantee is None:
            raise SeriesUnknown
        if guarantee.state != Guarantee.State.OPEN:
            raise GuaranteeClosed
        available = VoucherCode.State.AVAILABLE
        if VoucherCode.objects.filter(
            series=series, state=available, expires_at__gt=moment
        ).exists():
            raise CodesStillLeft
        guarantee.state = Guarantee.State.CLOSED
        guarantee.save(update_fields=["state"])
        amount = _spare(guarantee)
        audit.record(
            actor=actor,
            action="rewards.close_guarantee",
            object_type="series",
            object_id=series_code,
            after={"released_minor": amount},
        )
        if amount:
            units.post_all([money.back(guarantee, amount, f"guarantee-close:{series.pk}")])
        announce("guarantee_closed", series_code, series=series_code, amount=amount)
    return amount


def _spare(guarantee: Guarantee) -> int:
    """What lies behind codes that will never be given.

    Covers and money change together under locks that this waits for: first the account, then
    the count.
    """
    secured = money.secured_account(guarantee)
    account = Account.objects.select_for_update(no_key=True).get(pk=secured)
    living = Cover.objects.filter(
        guarantee=guarantee, state__in=(Cover.State.OPEN, Cover.State.DISPUTED)
    ).count()
    spare = account.balance - living * guarantee.refund_minor
    assert spare >= 0, f"guarantee of {guarantee.series.code} lacks {-spare}"
    return spare


def close_finished(now: datetime | None = None) -> int:
    """End the guarantees of series that have expired; say how many."""
    moment = now or timezone.now()
    over = Guarantee.objects.filter(state=Guarantee.State.OPEN, series__expires_at__lte=moment)
    done = 0
    for code in list(over.values_list("series__asset__code", flat=True)):
        try:
            close_guarantee(code, actor=None, now=moment)
        except (CodesStillLeft, GuaranteeClosed):
            continue
        except Refusal as refusal:
            logger.warning("guarantee of %s stays open: %s", code, refusal.code)
            continue
        done += 1
    return done


def faults_of(guarantee: Guarantee) -> list[str]:
    """Say where a guarantee's money does not agree with its codes; an empty list is good.

    Reads alone, so that it may run in a snapshot.
    """
    purpose = money.secured_purpose(guarantee)
    found = find_accounts([purpose])
    account = Account.objects.get(pk=found[purpose]) if found else Account(balance=0, held=0)
    living = Cover.objects.filter(guarantee=guarantee)
    disputed = living.filter(state=Cover.State.DISPUTED).count()
    open_covers = living.filter(state=Cover.State.OPEN).count()
    codes = 0
    if guarantee.state == Guarantee.State.OPEN:
        counts = units.counts_of([guarantee.series.asset_id]).get(guarantee.series.asset_id)
        codes = counts.available if counts else 0
    refund, name = guarantee.refund_minor, guarantee.series.code
    wanted = rules.secured_minor(refund, codes=codes, covers=open_covers + disputed)
    faults = []
    if account.balance != wanted:
        faults.append(f"{name}: {account.balance} secured by its guarantee, {wanted} promised")
    if account.held != disputed * refund:
        faults.append(f"{name}: {account.held} frozen by disputes, {disputed * refund} disputed")
    return faults
