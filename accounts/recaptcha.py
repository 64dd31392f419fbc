"""Tells people from programs with Google reCAPTCHA, where the site has keys for it.

django-recaptcha talks to Google; the verdict is ours, because it checks little: a token
must come from our own host, for this action, with a good score, not long ago, and not
have been used. When Google or our memory of used tokens cannot be reached, the action's
policy says whether to let people in.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.core import context
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django_recaptcha import client
from django_recaptcha.fields import ReCaptchaField
from django_recaptcha.widgets import ReCaptchaV3
from redis import RedisError

from edge.callers import client_ip

logger = logging.getLogger(__name__)

OLDEST_TOKEN = timedelta(minutes=2)
CLOCK_SLACK = timedelta(seconds=30)
LONGEST_TOKEN = 4096


@dataclass(frozen=True)
class Policy:
    """What one action asks of a token. Scores run from 0.0 (program) to 1.0 (person)."""

    action: str
    least_score: float
    opens_in_outage: bool


SIGN_UP = Policy("signup", least_score=0.5, opens_in_outage=True)
"""Signing up gives nothing away by itself and is rate limited: an outage lets people in."""


class TokenRefused(Exception):
    """Google's answer does not speak for a person here and now; the message says why."""


class OutOfReach(Exception):
    """Google, or our memory of used tokens, did not answer in time."""


def is_configured() -> bool:
    """Say whether the site has reCAPTCHA keys."""
    return bool(settings.RECAPTCHA_PUBLIC_KEY and settings.RECAPTCHA_PRIVATE_KEY)


def verify(token: str, policy: Policy, *, ip: str, now: datetime) -> None:
    """Accept a token, once, or raise `TokenRefused` or `OutOfReach`.

    One HTTPS request with `RECAPTCHA_VERIFY_REQUEST_TIMEOUT` seconds for each step.
    """
    if not token or len(token) > LONGEST_TOKEN:
        raise TokenRefused("no token")
    said = _ask_google(token, ip)
    if not said["success"]:
        raise TokenRefused(f"Google says {said['errors']}")
    if said.get("hostname") not in settings.RECAPTCHA_HOSTNAMES:
        raise TokenRefused(f"made for the host {said.get('hostname')}")
    if said.get("action") != policy.action:
        raise TokenRefused(f"made for the action {said.get('action')}")
    if not _number(said.get("score")) >= policy.least_score:
        raise TokenRefused(f"score {said.get('score')}")
    if not -CLOCK_SLACK <= now - _moment(said.get("challenge_ts")) <= OLDEST_TOKEN:
        raise TokenRefused(f"made at {said.get('challenge_ts')}")
    _use_up(token)


def _ask_google(token: str, ip: str) -> dict[str, Any]:
    try:
        answer = client.submit(token, settings.RECAPTCHA_PRIVATE_KEY, ip)
    # A refused connection, a time-out and an HTTP error are all OSError; no JSON is ValueError.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutOfReach(repr(error)) from error
    return {
        **answer.extra_data,
        "success": answer.is_valid is True,
        "errors": answer.error_codes,
        "action": answer.action,
    }


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise TokenRefused("no time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _use_up(token: str) -> None:
    """Remember the token for longer than its age allows, so that it opens once."""
    name = f"recaptcha:{hashlib.sha256(token.encode()).hexdigest()}"
    kept_s = 2 * (OLDEST_TOKEN + CLOCK_SLACK).total_seconds()
    try:
        is_first = cache.add(name, 1, kept_s)
    except RedisError as error:
        raise OutOfReach(repr(error)) from error
    if not is_first:
        raise TokenRefused("used before")


class ScriptedByFile(ReCaptchaV3):
    """django-recaptcha's widget without scripts inside the page: our content policy has none."""

    template_name = "accounts/recaptcha.html"


class GuardedReCaptchaField(ReCaptchaField):
    """A form field whose token `verify` judges by the action's policy."""

    def __init__(self, policy: Policy, **kwargs: Any) -> None:
        self.policy = policy
        kwargs["widget"] = ScriptedByFile(action=policy.action)
        super().__init__(label="", **kwargs)

    def validate(self, value: Any) -> None:
        """Run the verdict in place of django-recaptcha's own."""
        try:
            ip = client_ip(context.request) if context.request else ""
            verify(str(value or ""), self.policy, ip=ip, now=datetime.now(UTC))
        except TokenRefused as error:
            logger.warning("reCAPTCHA refused %s: %s", self.policy.action, error)
            raise ValidationError(
                self.error_messages["captcha_invalid"], code="captcha_invalid"
            ) from None
        except OutOfReach as error:
            logger.warning("reCAPTCHA is out of reach for %s: %s", self.policy.action, error)
            if not self.policy.opens_in_outage:
                raise ValidationError(
                    self.error_messages["captcha_error"], code="captcha_error"
                ) from None
