"""What is done to people and API keys. Each action is one transaction, audited."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.key_format import PREFIXES, SECRET_BYTES, read_token, write_token
from accounts.models import ApiKey, User
from accounts.roles import Role
from accounts.scopes import Scope, allowed_scopes
from edge.audit import record
from edge.journey import Journey
from edge.problems import Refusal

MOST_KEYS = 25
"""Usable keys a person may have at a time."""
MOST_PER_S = 1_000_000
MOST_BURST = 1_000_000
LONGEST_LIFE = timedelta(days=366 * 5)
USE_NOTED_EVERY = timedelta(minutes=1)
NOTE_USE = """
UPDATE accounts_apikey SET last_used_at = $2::timestamptz
 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3::timestamptz)
"""


class TooManyKeys(Refusal):
    """The person has as many keys as anyone may have."""

    code = "too_many_api_keys"
    title = f"No more than {MOST_KEYS} usable API keys a person"
    status = 409


class ScopeNotAllowed(Refusal):
    """The person may not do this themselves, so their key may not either."""

    code = "scope_not_allowed"
    title = "A key can only do what its owner may do"
    status = 403


class ExpiryOutOfRange(Refusal):
    """The key would already be dead, or live longer than any key should."""

    code = "expiry_out_of_range"
    title = "A key expires in the future, within five years"
    status = 422


class ReasonMissing(Refusal):
    """Somebody will ask why; the answer is written down now."""

    code = "reason_missing"
    title = "This needs a reason"
    status = 422


class RateOutOfRange(Refusal):
    """A key's own rate says both how many a second and how many at once."""

    code = "rate_out_of_range"
    title = f"A rate is 1 to {MOST_PER_S} a second and 1 to {MOST_BURST} at once"
    status = 422


class CannotDeactivateYourself(Refusal):
    """Nobody locks themselves out by accident."""

    code = "cannot_deactivate_yourself"
    title = "Ask somebody else to deactivate you"
    status = 409


@dataclass(frozen=True)
class NewKey:
    """A key just made, and its token: shown now and never again."""

    key: ApiKey
    token: str


def create_key(
    owner: User,
    *,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None = None,
    ip: str | None = None,
) -> NewKey:
    """Make an API key for its owner. The token is in the result and nowhere else.

    Locks the owner's row, so two at once cannot both be the last one allowed. Refuses
    scopes the owner does not have, an expiry out of range, and more than `MOST_KEYS`.
    """
    now = timezone.now()
    if expires_at is not None and not now < expires_at <= now + LONGEST_LIFE:
        raise ExpiryOutOfRange
    wanted = sorted({Scope(scope) for scope in scopes})
    assert wanted
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        _check_scopes(owner, wanted)
        if ApiKey.objects.usable().filter(owner=owner).count() >= MOST_KEYS:
            raise TooManyKeys
        made = _write_key(owner, name=name, scopes=wanted, expires_at=expires_at, now=now)
        record(
            actor=owner,
            action="accounts.create_key",
            object_type="api_key",
            object_id=made.key.pk,
            after={"name": name, "scopes": wanted, "prefix": made.key.prefix},
            ip=ip,
        )
    return made


def _check_scopes(owner: User, wanted: Iterable[Scope]) -> None:
    allowed = allowed_scopes(works_in_finance=owner.works_in(Role.FINANCE))
    if refused := [scope for scope in wanted if scope not in allowed]:
        raise ScopeNotAllowed(f"You do not have {', '.join(refused)}.", scopes=refused)


def _write_key(
    owner: User, *, name: str, scopes: list[Scope], expires_at: datetime | None, now: datetime
) -> NewKey:
    token = write_token(
        prefix_number=secrets.randbelow(PREFIXES), secret=secrets.token_bytes(SECRET_BYTES)
    )
    read = read_token(token)
    assert read is not None
    key = ApiKey.objects.create(
        owner=owner,
        prefix=read.prefix,
        digest=read.digest,
        name=name,
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    return NewKey(key, token)


def revoke_keys(
    key_ids: Collection[int], *, by: User, reason: str, ip: str | None = None
) -> list[int]:
    """Revoke keys for good and say which ones were not revoked before.

    Gateways refuse them within a second. The caller has checked that `by` may do this. A
    reason is needed unless every key is their own.
    """
    reason = reason.strip()
    with transaction.atomic():
        keys = list(
            ApiKey.objects.select_for_update(no_key=True)
            .filter(pk__in=key_ids, revoked_at__isnull=True)
            .order_by("pk")
        )
        if not reason and any(key.owner_id != by.pk for key in keys):
            raise ReasonMissing
        now = timezone.now()
        revoked = [key.pk for key in keys]
        ApiKey.objects.filter(pk__in=revoked).update(revoked_at=now)
        for key in keys:
            record(
                actor=by,
                action="accounts.revoke_key",
                object_type="api_key",
                object_id=key.pk,
                reason=reason,
                before={"name": key.name, "prefix": key.prefix, "owner": key.owner_id},
                ip=ip,
            )
    return revoked


def check_rate(per_s: int | None, burst: int | None) -> None:
    """Refuse a rate that says only half, or that is out of range."""
    if per_s is None and burst is None:
        return
    if per_s is None or burst is None:
        raise RateOutOfRange
    if not (1 <= per_s <= MOST_PER_S and 1 <= burst <= MOST_BURST):
        raise RateOutOfRange


def set_rate(
    key_id: int,
    *,
    per_s: int | None,
    burst: int | None,
    by: User | None,
    reason: str,
    ip: str | None = None,
) -> None:
    """Give a key a rate of its own at the gateway, or with `None` and `None` take it away.

    Gateways follow within a second. Needs a reason.
    """
    if not (reason := reason.strip()):
        raise ReasonMissing
    check_rate(per_s, burst)
    with transaction.atomic():
        key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
        record(
            actor=by,
            action="accounts.set_rate",
            object_type="api_key",
            object_id=key.pk,
            reason=reason,
            before={"per_s": key.rate_per_s, "burst": key.rate_burst},
            after={"per_s": per_s, "burst": burst},
            ip=ip,
        )
        ApiKey.objects.filter(pk=key.pk).update(rate_per_s=per_s, rate_burst=burst)


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Remember that a key was used, at most once a minute. One cheap UPDATE when it is due.

    A crash of the database may lose it; a request does not wait for the disk for that.
    """
    if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
        return
    journey = Journey()
    due = (now - USE_NOTED_EVERY).isoformat()
    journey.add(NOTE_USE, key.pk, now.isoformat(), due)
    journey.run_lazily()


def set_active(
    person_ids: Collection[int],
    is_active: bool,
    *,
    by: User,
    reason: str,
    ip: str | None = None,
) -> list[int]:
    """Deactivate people, or let them in again, and say whom it changed.

    A deactivated person's sessions, API keys and tokens stop within a second. Their keys
    come back with them. Needs a reason; nobody deactivates themselves.
    """
    if not (reason := reason.strip()):
        raise ReasonMissing
    if not is_active and by.pk in person_ids:
        raise CannotDeactivateYourself
    with transaction.atomic():
        people = User.objects.select_for_update(no_key=True).filter(
            ~Q(is_active=is_active), pk__in=person_ids
        )
        changed = [person.pk for person in people.order_by("pk")]
        User.objects.filter(pk__in=changed).update(is_active=~F("is_active"))
        for person_id in changed:
            record(
                actor=by,
                action="accounts.reactivate" if is_active else "accounts.deactivate",
                object_type="user",
                object_id=person_id,
                reason=reason,
                ip=ip,
            )
    return changed
