"""Partners, redemptions, generic codes and bulk work in the admin; and the page that tells a
code's or a person's whole story."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import User
from edge.admin import ReadOnlyAdmin
from edge.callers import client_ip
from edge.problems import Refusal
from edge.reasons import do_with_reason
from rewards import stories
from rewards.bulk import actions as bulk_actions
from rewards.bulk import changing, exporting, generating
from rewards.code_files import parse_expiry
from rewards.models import (
    BulkJob,
    GenericCode,
    Partner,
    Present,
    Redemption,
    Series,
    VoucherCode,
)
from rewards.redemption import actions, generics, partners

MAY_CHANGE = "rewards.change_redemption"


def clerk(request: HttpRequest) -> User:
    """Who is signed in."""
    assert isinstance(request.user, User)
    return request.user


class SearchForm(forms.Form):
    """A code or a handle. It is sent by POST, so it stands in no address and no log."""

    code = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget(),
        help_text="A code as it is written, or one for many.",
    )  # fmt: skip
    handle = forms.CharField(required=False, max_length=31, widget=UnfoldAdminTextInputWidget())


class BulkForm(forms.Form):
    """Work on a series' codes: making them, or taking them out in a file."""

    deed = forms.ChoiceField(
        choices=[("generate", "Make codes by the pattern"), ("export", "Take codes out in a file")],
        widget=UnfoldAdminSelectWidget(),
    )
    count = forms.IntegerField(
        min_value=1, max_value=generating.MOST_CODES, widget=UnfoldAdminIntegerFieldWidget()
    )


def start_bulk(request: HttpRequest, series: Series, form: BulkForm) -> BulkJob:
    """Start what a form asks for."""
    start = generating.generate if form.cleaned_data["deed"] == "generate" else exporting.export
    return start(series.code, form.cleaned_data["count"], actor=clerk(request))


@admin.register(Redemption)
class RedemptionAdmin(ReadOnlyAdmin):
    """What was redeemed where; the way to a code's or a person's story."""

    list_display = ("id", "made_at", "partner", "series", "state", "value_minor", "customer",
                    "reference")  # fmt: skip
    list_filter = ("state", "partner")
    list_select_related = ("partner", "series", "customer")
    search_fields = ("=id", "=reference", "=customer__handle")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    exclude = ("request", "fingerprint", "code", "generic")
    actions = ("reverse_chosen",)
    actions_list = ("search",)

    def has_reverse_permission(self, request: HttpRequest) -> bool:
        return clerk(request).has_perm(MAY_CHANGE)

    @admin.action(description="Reverse…", permissions=["reverse"])
    def reverse_chosen(
        self, request: HttpRequest, queryset: QuerySet[Redemption]
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            done = [
                actions.reverse(each, partner=None, actor=clerk(request), reason=reason)
                for each in ids
            ]
            return f"{sum(not each.is_replay for each in done)} reversed."

        return do_with_reason(
            self,
            request,
            queryset,
            action="reverse_chosen",
            question="Reverse these redemptions?",
            do=do,
        )

    @action(description="Find a code or a person", url_path="search", permissions=["view"])  # type: ignore[untyped-decorator]
    def search(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:rewards_story"))

    # -- the story -------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        story = path("story/", self.admin_site.admin_view(self.story), name="rewards_story")
        deed = path(
            "story/codes/<int:code_id>/<str:deed>/",
            self.admin_site.admin_view(self.change_code),
            name="rewards_change_code",
        )
        return [story, deed, *super().get_urls()]

    def story(self, request: HttpRequest) -> HttpResponse:
        """Find a code or a person, and tell all that is known."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = SearchForm(request.POST if request.method == "POST" else None)
        context: dict[str, Any] = {"form": form, "codes": [], "generics": []}
        if form.is_valid():
            context |= self._found(form)
        elif code_id := request.session.pop("rewards_story_code", None):
            found = stories.of_code(code_id)
            context["codes"] = [found] if found else []
        context |= {
            **self.admin_site.each_context(request),
            "title": "A code's or a person's story",
            "opts": Redemption._meta,
            "may_change": clerk(request).has_perm(MAY_CHANGE),
        }
        return TemplateResponse(request, "rewards/story.html", context)

    def _found(self, form: SearchForm) -> dict[str, Any]:
        typed, handle = form.cleaned_data["code"], form.cleaned_data["handle"]
        told = [stories.of_code(code_id) for code_id in stories.find_codes(typed)]
        many = [stories.of_generic(each) for each in stories.find_generic(typed)] if typed else []
        person = User.objects.filter(handle=handle.strip().removeprefix("@").lower()).first()
        return {
            "codes": [each for each in told if each],
            "generics": many,
            "person": stories.of_person(person) if person and handle else None,
            "is_searched": True,
        }

    def change_code(self, request: HttpRequest, code_id: int, deed: str) -> HttpResponse:
        """Extend a code or take it out of use, with a reason; then show its story again."""
        if not clerk(request).has_perm(MAY_CHANGE) or request.method != "POST":
            raise PermissionDenied
        deeds: dict[str, Callable[[str], None]] = {
            "deactivate": lambda reason: changing.deactivate_code(
                code_id, actor=clerk(request), reason=reason
            ),
            "extend": lambda reason: self._extend(request, code_id, reason),
        }
        try:
            deeds[deed](request.POST.get("reason", ""))
            messages.success(request, "Done.")
        except KeyError:
            raise PermissionDenied from None
        except Refusal as refusal:
            messages.error(request, f"{refusal.title}. {refusal.detail}".strip())
        request.session["rewards_story_code"] = code_id
        return HttpResponseRedirect(reverse("admin:rewards_story"))

    def _extend(self, request: HttpRequest, code_id: int, reason: str) -> None:
        until = parse_expiry(request.POST.get("expires_at", ""))
        if until is None:
            raise changing.CodeInUse("Write a date: 2037-06-30.")
        changing.extend_code(code_id, until, actor=clerk(request), reason=reason)


@admin.register(Partner)
class PartnerAdmin(ModelAdmin):
    """Who redeems for whom, and what."""

    list_display = ("code", "name", "is_active", "created_at")
    search_fields = ("code", "name")
    fields = ("code", "name", "staff", "series")
    autocomplete_fields = ("staff", "series")
    ordering = ("code",)

    def has_delete_permission(self, request: HttpRequest, obj: Partner | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Partner | None = None) -> Any:
        return ("code", "name") if obj else ()

    def save_model(self, request: HttpRequest, obj: Partner, form: Any, change: bool) -> None:
        if change:
            return
        try:
            obj.pk = partners.create(obj.code, obj.name, actor=clerk(request)).pk
            obj.refresh_from_db()
        except Refusal as refusal:
            messages.error(request, refusal.title)
            raise PermissionDenied from refusal

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        partner: Partner = form.instance
        for person in set(form.cleaned_data["staff"]) ^ set(partner.staff.all()):
            is_staff = person in form.cleaned_data["staff"]
            partners.set_staff(partner.code, person, is_staff, actor=clerk(request))
        for series in set(form.cleaned_data["series"]) ^ set(partner.series.all()):
            is_taken = series in form.cleaned_data["series"]
            try:
                partners.set_series(partner.code, series.code, is_taken, actor=clerk(request))
            except Refusal as refusal:
                messages.error(request, f"{series.code}: {refusal.title}")


@admin.register(GenericCode)
class GenericCodeAdmin(ReadOnlyAdmin):
    """Codes for many."""

    list_display = ("text", "series", "use_limit", "person_limit", "expires_at", "is_active")
    list_filter = ("is_active",)
    list_select_related = ("series",)
    search_fields = ("text", "series__asset__code")
    ordering = ("-id",)
    actions = ("deactivate_chosen",)

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        return clerk(request).has_perm("rewards.change_genericcode")

    @admin.action(description="Take out of use…", permissions=["deactivate"])
    def deactivate_chosen(
        self, request: HttpRequest, queryset: QuerySet[GenericCode]
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            done = [generics.deactivate(each, actor=clerk(request), reason=reason) for each in ids]
            return f"{sum(done)} taken out of use."

        return do_with_reason(
            self,
            request,
            queryset,
            action="deactivate_chosen",
            question="Take these codes out of use?",
            do=do,
        )


@admin.register(BulkJob)
class BulkJobAdmin(ReadOnlyAdmin):
    """Work on many codes: how far it is; paused, let go on, or given up with a reason."""

    list_display = ("id", "kind", "series", "where", "done", "total", "created_by", "created_at")
    list_filter = ("kind", "state")
    list_select_related = ("series", "created_by")
    ordering = ("-id",)
    fields = ("kind", "series", "where", "done", "total", "report", "reason", "created_by",
              "created_at", "ended_at")  # fmt: skip
    actions = ("pause", "resume", "retry", "cancel")
    actions_detail = ("download_csv", "download_parquet")

    @action(description="Codes as CSV", url_path="codes-csv", permissions=["control"])  # type: ignore[untyped-decorator]
    def download_csv(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return self._download(request, object_id, "csv")

    @action(description="Codes as Parquet", url_path="codes-parquet", permissions=["control"])  # type: ignore[untyped-decorator]
    def download_parquet(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return self._download(request, object_id, "parquet")

    def _download(self, request: HttpRequest, object_id: str, form: str) -> HttpResponseBase:
        """Write an export's codes out; each download is written down."""
        bulk = get_object_or_404(BulkJob, pk=object_id)
        try:
            chunks = exporting.stream(bulk, form, actor=clerk(request), ip=client_ip(request))
        except Refusal as refusal:
            messages.error(request, refusal.title)
            address = reverse("admin:rewards_bulkjob_change", args=[bulk.pk])
            return HttpResponseRedirect(address)
        headers = {"Content-Disposition": f'attachment; filename="{bulk.pk}.{form}"',
                   "Cache-Control": "no-store"}  # fmt: skip
        return StreamingHttpResponse(chunks, content_type="text/plain", headers=headers)

    def has_control_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return clerk(request).has_perm("rewards.change_bulkjob")

    @admin.display(description="state")
    def where(self, bulk: BulkJob) -> str:
        return bulk_actions.state_of(bulk)

    def _control(
        self, request: HttpRequest, queryset: QuerySet[BulkJob], name: str
    ) -> HttpResponse | None:
        deed = getattr(bulk_actions, name)

        def do(ids: list[int], reason: str) -> str:
            for each in ids:
                deed(each, actor=clerk(request), reason=reason)
            return f"{len(ids)} changed."

        return do_with_reason(
            self,
            request,
            queryset,
            action=name,
            question=f"{name.capitalize()} this work?",
            do=do,
        )

    @admin.action(description="Pause…", permissions=["control"])
    def pause(self, request: HttpRequest, queryset: QuerySet[BulkJob]) -> HttpResponse | None:
        return self._control(request, queryset, "pause")

    @admin.action(description="Resume…", permissions=["control"])
    def resume(self, request: HttpRequest, queryset: QuerySet[BulkJob]) -> HttpResponse | None:
        return self._control(request, queryset, "resume")

    @admin.action(description="Try again…", permissions=["control"])
    def retry(self, request: HttpRequest, queryset: QuerySet[BulkJob]) -> HttpResponse | None:
        return self._control(request, queryset, "retry")

    @admin.action(description="Cancel…", permissions=["control"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[BulkJob]) -> HttpResponse | None:
        return self._control(request, queryset, "cancel")


@admin.register(Present)
class PresentAdmin(ReadOnlyAdmin):
    """Units on their way to friends."""

    list_display = ("id", "made_at", "series", "giver", "receiver", "amount", "state")
    list_filter = ("state",)
    list_select_related = ("series", "giver", "receiver")
    search_fields = ("=id", "=giver__handle", "=receiver__handle")
    ordering = ("-id",)
    show_full_result_count = False
    exclude = ("request",)


assert VoucherCode not in admin.site._registry, "a list of codes would be millions of rows"
