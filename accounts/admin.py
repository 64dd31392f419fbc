"""People and API keys in the admin: found, deactivated, revoked; secrets are never shown."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import CharField, Form, ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import actions
from accounts.forms import HandleField
from accounts.models import ApiKey, Residence, User
from accounts.regions import set_region
from edge.admin import ReadOnlyAdmin
from edge.audit import record
from edge.callers import client_ip
from edge.problems import Refusal
from edge.reasons import ReasonForm, do_with_reason

TRUST_FIELDS = ("is_active", "is_staff", "is_superuser", "groups")
"""What decides who may do what: only a superuser changes it here."""


class NewPersonForm(UserCreationForm):
    """A person made by hand."""

    handle = HandleField()

    class Meta:
        model = User
        fields = ("email", "handle", "name")


class PersonForm(UserChangeForm):
    """A person as they are."""

    handle = HandleField()

    class Meta:
        model = User
        fields = ("email", "handle", "name", *TRUST_FIELDS)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """People. Roles and rights are a superuser's to give; nobody is deleted."""

    form = PersonForm
    add_form = NewPersonForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("handle", "email", "name", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    search_fields = ("=handle", "=email", "name")
    ordering = ("-id",)
    filter_horizontal = ()
    show_full_result_count = False
    list_per_page = 50
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "handle", "name", "password")}),
        ("Rights", {"fields": TRUST_FIELDS}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "handle", "name", "password1", "password2")}),)
    actions = ("deactivate", "reactivate")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        if _is_superuser(request):
            # Activity goes through the actions, which ask for the reason.
            return (*self.readonly_fields, "is_active")
        return (*self.readonly_fields, *TRUST_FIELDS, "email")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_out_of_reach = obj is not None and obj.is_superuser and not _is_superuser(request)
        return super().has_change_permission(request, obj) and not is_out_of_reach

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        """Only a superuser sets another's password; the rest send a reset mail."""
        if not _is_superuser(request):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Write what was changed and nothing else: somebody may be shut out meanwhile."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        columns = {field.name for field in User._meta.concrete_fields}
        obj.save(update_fields=columns.intersection(form.changed_data))

    def save_related(self, request: HttpRequest, form: Form, formsets: Any, change: bool) -> None:
        """Save the roles too, then write down what was changed."""
        super().save_related(request, form, formsets, change)
        assert isinstance(form, ModelForm)
        person: User = form.instance
        record(
            actor=request.user if isinstance(request.user, User) else None,
            action="accounts.change_person" if change else "accounts.add_person",
            object_type="user",
            object_id=person.pk,
            before={name: _plain(form.initial.get(name)) for name in form.changed_data},
            after={name: _plain(form.cleaned_data.get(name)) for name in form.changed_data},
            ip=client_ip(request),
        )

    @admin.action(description="Deactivate…", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._set_active(request, queryset, is_active=False)

    @admin.action(description="Let in again…", permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._set_active(request, queryset, is_active=True)

    def _set_active(
        self, request: HttpRequest, queryset: QuerySet[User], *, is_active: bool
    ) -> HttpResponse | None:
        by = request.user
        assert isinstance(by, User)
        if not by.is_superuser:
            queryset = queryset.filter(is_superuser=False)

        def do(ids: list[int], reason: str) -> str:
            changed = actions.set_active(
                ids, is_active, by=by, reason=reason, ip=client_ip(request)
            )
            return f"{len(changed)} changed, {len(ids) - len(changed)} already so."

        return do_with_reason(
            self,
            request,
            queryset,
            action="reactivate" if is_active else "deactivate",
            question="Let these people in again?" if is_active else "Deactivate these people?",
            do=do,
        )


class RateForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable
    """The one thing of a key that can be changed: what the gateway takes from it."""

    reason = ReasonForm.base_fields["reason"]

    class Meta:
        model = ApiKey
        fields = ("rate_per_s", "rate_burst")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            actions.check_rate(cleaned.get("rate_per_s"), cleaned.get("rate_burst"))
        except Refusal as refusal:
            raise ValidationError(f"{refusal.title}.") from refusal
        return cleaned


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """API keys of everybody: found by prefix, name or owner, revoked in bulk, given a rate."""

    list_display = ("prefix", "name", "owner", "scopes", "state", "last_used_at", "created_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("=prefix", "name", "=owner__handle", "=owner__email")
    fields = (
        "prefix", "name", "owner", "scopes", "state",
        "created_at", "last_used_at", "expires_at", "revoked_at",
        "rate_per_s", "rate_burst", "reason",
    )  # fmt: skip
    readonly_fields = fields[:-3]
    form = RateForm
    ordering = ("-id",)
    list_select_related = ("owner",)
    show_full_result_count = False
    list_per_page = 50
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.change_apikey")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if self.has_change_permission(request) else self.fields[:-1]

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        actions.set_rate(
            obj.pk,
            per_s=form.cleaned_data["rate_per_s"],
            burst=form.cleaned_data["rate_burst"],
            by=request.user,
            reason=form.cleaned_data["reason"],
            ip=client_ip(request),
        )

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        return key.state_at(timezone.now())

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Revoking needs the right to change keys, though no field can be changed."""
        return request.user.has_perm("accounts.change_apikey")

    @admin.action(description="Revoke…", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        by = request.user
        assert isinstance(by, User)

        def do(ids: list[int], reason: str) -> str:
            revoked = actions.revoke_keys(ids, by=by, reason=reason, ip=client_ip(request))
            return f"{len(revoked)} revoked, {len(ids) - len(revoked)} were revoked already."

        return do_with_reason(
            self, request, queryset, action="revoke", question="Revoke these keys?", do=do
        )


# Roles are made by migrations, and what they may do is code: there is nothing to edit. Addresses
# and second factors open an account: who could add the one, or read the other, could be anybody.
for _model in (Group, EmailAddress, Authenticator):
    admin.site.unregister(_model)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _plain(value: Any) -> Any:
    if isinstance(value, QuerySet | list):
        return sorted(str(item) for item in value)
    return value if isinstance(value, bool | None) else str(value)


class ResidenceForm(ModelForm):  # type: ignore[type-arg]
    """Where a person belongs, how that is known, and why it is written down now."""

    reason = CharField(min_length=3, max_length=500)

    class Meta:
        model = Residence
        fields = ("person", "region", "source")


@admin.register(Residence)
class ResidenceAdmin(ModelAdmin):
    """The regions of people, each with its source; people do not set their own."""

    form = ResidenceForm
    list_display = ("person", "region", "source", "set_by", "set_at")
    list_filter = ("source", "region")
    list_select_related = ("person", "set_by")
    search_fields = ("=person__handle", "=person__email", "=region")
    autocomplete_fields = ("person",)
    ordering = ("-set_at",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Residence | None = None) -> Any:
        return ("person",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Residence | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Residence, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        set_region(
            obj.person,
            obj.region,
            source=Residence.Source(obj.source),
            actor=request.user,
            reason=form.cleaned_data["reason"],
            ip=client_ip(request),
        )
