"""People who sign in, and the API keys their programs use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now
from django.utils import timezone

from accounts.handles import HANDLE_PATTERN, HANDLE_RULE, RESERVED, normalise_handle
from accounts.key_format import BRAND, PREFIX_LENGTH
from accounts.region_models import Residence
from accounts.roles import Role

__all__ = ["ApiKey", "ApiKeyQuerySet", "Residence", "User", "UserManager"]

LONGEST_EMAIL = 254
MOST_SCOPES = 20


def refuse_reserved(handle: str) -> None:
    """Refuse a handle that could be taken for the platform's own."""
    if normalise_handle(handle) in RESERVED:
        raise ValidationError("This handle is reserved.", code="reserved")


HANDLE_VALIDATORS: list[Callable[[Any], None]] = [
    RegexValidator(HANDLE_PATTERN, f"A handle is {HANDLE_RULE}."),
    refuse_reserved,
]


class UserManager(BaseUserManager["User"]):
    """Makes people, and finds them by e-mail address or handle."""

    def create_user(
        self, email: str, password: str | None = None, *, handle: str, **fields: Any
    ) -> User:
        """Make a person. Without a password they can sign in only after resetting it."""
        user = self.model(email=email.strip().lower(), handle=normalise_handle(handle), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, email: str, password: str | None = None, *, handle: str, **fields: Any
    ) -> User:
        """Make a person who may do everything."""
        fields |= {"is_staff": True, "is_superuser": True}
        return self.create_user(email, password, handle=handle, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        """Find a person by e-mail address, whatever its case."""
        return self.get(email=(username or "").strip().lower())

    def by_handle(self, handle: str) -> User | None:
        """Find an active person by handle, whatever its case, with or without the @."""
        return self.filter(handle=normalise_handle(handle), is_active=True).first()


class User(AbstractBaseUser, PermissionsMixin):
    """A person: a fan, a marketer, a finance clerk, a partner's engineer.

    E-mail address and handle are stored in small letters, so both are unique whatever the
    case; PostgreSQL checks it. People are deactivated, never deleted.
    """

    email = models.EmailField("e-mail address", max_length=LONGEST_EMAIL, unique=True)
    handle = models.CharField(
        max_length=30, unique=True, validators=HANDLE_VALIDATORS, help_text=HANDLE_RULE
    )
    name = models.CharField(max_length=120, blank=True)
    is_staff = models.BooleanField("staff", default=False, help_text="May open the admin.")
    is_active = models.BooleanField("active", default=True)
    date_joined = models.DateTimeField(default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["handle"]

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(email=Lower("email")), name="accounts_user_email"),
            models.CheckConstraint(
                condition=Q(handle__regex=HANDLE_PATTERN), name="accounts_user_handle"
            ),
        ]

    def __str__(self) -> str:
        return f"@{self.handle}"

    def clean(self) -> None:
        """Write e-mail address and handle as they are stored, for forms."""
        self.email = self.email.strip().lower()
        self.handle = normalise_handle(self.handle)

    def get_full_name(self) -> str:
        return self.name or f"@{self.handle}"

    def get_short_name(self) -> str:
        return f"@{self.handle}"

    def works_in(self, role: Role) -> bool:
        """Say whether the person has a role; a superuser has them all. One query."""
        return self.is_superuser or self.groups.filter(name=role).exists()


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Reads of API keys."""

    def usable(self) -> ApiKeyQuerySet:
        """Keys that open something now: neither revoked nor expired, of an active person."""
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
        return self.filter(unexpired, revoked_at__isnull=True, owner__is_active=True)


class ApiKey(models.Model):
    """A program's key to its owner's things. The secret itself is never stored.

    A trigger tells every gateway at once when a key or its owner changes
    (`accounts.keyring`); `last_used_at` is the one column it leaves out.
    """

    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="api_keys")
    prefix = models.CharField(max_length=PREFIX_LENGTH, unique=True)
    digest = models.BinaryField(unique=True, max_length=32, help_text="SHA-256 of the secret.")
    name = models.CharField(max_length=80)
    scopes = ArrayField(models.CharField(max_length=30), help_text="What it may do.")
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")
    expires_at = models.DateTimeField(null=True, blank=True)
    rate_per_s = models.PositiveIntegerField(
        "commands a second",
        null=True,
        blank=True,
        help_text="What the gateway takes from this key; empty is what everybody may send.",
    )
    rate_burst = models.PositiveIntegerField(
        "commands at once", null=True, blank=True, help_text="After a rest; 500 make a full batch."
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__len__gte=1) & Q(scopes__len__lte=MOST_SCOPES),
                name="accounts_apikey_scopes",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="accounts_apikey_expiry",
            ),
            models.CheckConstraint(
                condition=Q(rate_per_s__isnull=True, rate_burst__isnull=True)
                | Q(rate_per_s__gte=1, rate_burst__gte=1),
                name="accounts_apikey_rate",
            ),
        ]

    def __str__(self) -> str:
        return f"{BRAND}_{self.prefix}_…"

    def state_at(self, moment: datetime) -> str:
        """Say in one word whether the key opens anything: usable, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        is_expired = self.expires_at is not None and self.expires_at <= moment
        return "expired" if is_expired else "usable"
