"""Campaigns in the admin: their state and budgets, four eyes on versions, claims and people.

What a campaign says is written over the API (screens for authors belong to the CMS); here
operators look, publish, pause, end and reverse, and each deed that needs one asks for a reason.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action

from accounts.models import User
from edge.admin import ReadOnlyAdmin
from edge.problems import Refusal
from edge.reasons import do_with_reason
from rewards.campaigns import people, publishing, results, reversing, standings
from rewards.campaigns.models import (
    Campaign,
    CampaignVersion,
    Claim,
    ClaimRefusal,
    FactName,
    Simulation,
    TierProgram,
)
from rewards.campaigns.standings import Place

Table = dict[str, list[Any]]


def clerk(request: HttpRequest) -> User:
    """Who is at work; the admin has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def told(refusal: Refusal) -> str:
    return f"{refusal.title}. {refusal.detail}".strip()


class VersionInline(TabularInline):
    """What the campaign said, says and might say."""

    model = CampaignVersion
    fields = ("link", "state", "starts_at", "ends_at", "proposed_by", "decided_by")
    readonly_fields = fields
    ordering = ("-number",)
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="version")
    def link(self, version: CampaignVersion) -> SafeString:
        address = reverse("admin:campaigns_campaignversion_change", args=[version.pk])
        return format_html('<a href="{}">{}</a>', address, version.number)


@admin.register(Campaign)
class CampaignAdmin(ModelAdmin):
    """Set a campaign up, see its budgets, pause it, end it."""

    list_display = ("code", "title", "state", "budgets", "created_at", "ended_at")
    list_filter = ("state",)
    search_fields = ("code", "title", "partner")
    ordering = ("-id",)
    list_per_page = 50
    readonly_fields = ("state", "budgets", "so_far", "created_by", "created_at", "ended_at")
    inlines = (VersionInline,)
    actions = ("pause", "resume", "end")

    def get_fields(self, request: HttpRequest, obj: Campaign | None = None) -> Any:
        said = ("code", "title", "description", "partner")
        return (*said, *self.readonly_fields) if obj else said

    def get_readonly_fields(self, request: HttpRequest, obj: Campaign | None = None) -> Any:
        """Nothing of a campaign is changed by a form."""
        said = ("code", "title", "description", "partner")
        return (*said, *self.readonly_fields) if obj else ()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a campaign without buttons that would save nothing."""
        nothing = {"show_save": False, "show_save_and_continue": False}
        shown = {**(extra_context or {}), **nothing, "show_save_and_add_another": False}
        page: HttpResponse = super().change_view(request, object_id, form_url, shown)
        return page

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Campaign, form: Any, change: bool) -> None:
        if not change:
            obj.pk = publishing.create(**form.cleaned_data, actor=clerk(request)).pk
            obj.refresh_from_db()

    @admin.display(description="budgets: left of funded")
    def budgets(self, campaign: Campaign) -> str:
        rows = results.budget_rows(campaign)
        return ", ".join(f"{r['left']:,} of {r['funded']:,} {r['asset']}" for r in rows) or "none"

    @admin.display(description="so far")
    def so_far(self, campaign: Campaign) -> str:
        found = results.report_of(campaign.code)
        refused = sum(found["refusals"].values())
        return (
            f"{found['granted']:,} claims of {found['people']:,} people,"
            f" {found['reversed']:,} reversed, {refused:,} refused"
        )

    @admin.action(description="Pause…", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Campaign]) -> HttpResponse | None:
        return self._change(request, queryset, "pause", "Stop claims of these campaigns for now?")

    @admin.action(description="Resume…", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Campaign]) -> HttpResponse | None:
        return self._change(request, queryset, "resume", "Let claims in again?")

    @admin.action(description="End for good…", permissions=["change"])
    def end(self, request: HttpRequest, queryset: QuerySet[Campaign]) -> HttpResponse | None:
        return self._change(request, queryset, "end", "End these campaigns for good?")

    def _change(
        self, request: HttpRequest, queryset: QuerySet[Campaign], verb: str, question: str
    ) -> HttpResponse | None:
        deeds = {"pause": publishing.pause, "resume": publishing.resume, "end": publishing.end}

        def do(ids: list[int], reason: str) -> str:
            codes = Campaign.objects.filter(pk__in=ids).values_list("code", flat=True)
            for code in codes:
                deeds[verb](code, actor=clerk(request), reason=reason)
            return f"Done: {len(ids)}."

        return do_with_reason(self, request, queryset, action=verb, question=question, do=do)


@admin.register(CampaignVersion)
class CampaignVersionAdmin(ReadOnlyAdmin):
    """Versions: somebody else than their author publishes or rejects them."""

    list_display = ("campaign", "number", "state", "starts_at", "ends_at", "proposed_by",
                    "decided_by")  # fmt: skip
    list_filter = ("state",)
    list_select_related = ("campaign", "proposed_by", "decided_by")
    search_fields = ("=campaign__code",)
    ordering = ("-id",)
    exclude = ("nonce", "terms", "commitment")
    readonly_fields = ("committed", "what_it_says")
    actions = ("reject",)
    actions_detail = ("publish",)

    @admin.display(description="commitment: SHA-256 of the seed of its draws")
    def committed(self, version: CampaignVersion) -> SafeString:
        # A phone may break the line between any eight digits.
        digits = version.commitment
        parts = ((digits[at : at + 8],) for at in range(0, len(digits), 8))
        return format_html_join(SafeString("<wbr>"), "{}", parts)

    @admin.display(description="terms")
    def what_it_says(self, version: CampaignVersion) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(version.terms, indent=2))

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return clerk(request).has_perm("campaigns.publish_campaignversion")

    @action(description="Publish", url_path="publish", permissions=["publish"])  # type: ignore[untyped-decorator]
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask once more, then publish: a link alone changes nothing."""
        version = CampaignVersion.objects.select_related("campaign").get(pk=object_id)
        back = reverse("admin:campaigns_campaignversion_change", args=[object_id])
        if request.method != "POST":
            context = {
                **self.admin_site.each_context(request),
                "title": f"Publish version {version.number} of {version.campaign.code}?",
                "opts": CampaignVersion._meta,
                "terms": json.dumps(version.terms, indent=2),
                "back": back,
            }
            return TemplateResponse(request, "campaigns/publish.html", context)
        try:
            publishing.publish(version.campaign.code, version.number, actor=clerk(request))
        except Refusal as refusal:
            messages.error(request, told(refusal))
        else:
            messages.success(request, "Published; its budgets are funded.")
        return HttpResponseRedirect(back)

    @admin.action(description="Reject…", permissions=["publish"])
    def reject(
        self, request: HttpRequest, queryset: QuerySet[CampaignVersion]
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            rows = CampaignVersion.objects.select_related("campaign").filter(pk__in=ids)
            for row in rows:
                publishing.reject(row.campaign.code, row.number, actor=clerk(request), note=reason)
            return f"{len(ids)} rejected."

        return do_with_reason(
            self, request, queryset, action="reject", question="Reject these versions?", do=do
        )


@admin.register(Claim)
class ClaimAdmin(ReadOnlyAdmin):
    """Claims: who got what under which version; reversed with a reason."""

    list_display = ("id", "at", "campaign", "owner", "state", "given", "variant")
    list_filter = ("state",)
    list_select_related = ("campaign", "owner", "version")
    search_fields = ("=id", "=owner__handle", "=campaign__code", "=order_key")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    actions = ("reverse_claims",)
    actions_list = ("one_person",)

    @admin.display(description="given")
    def given(self, claim: Claim) -> str:
        return given_by(claim)

    def has_reverse_permission(self, request: HttpRequest) -> bool:
        return clerk(request).has_perm("campaigns.change_claim")

    @admin.action(description="Reverse…", permissions=["reverse"])
    def reverse_claims(
        self, request: HttpRequest, queryset: QuerySet[Claim]
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for claim_id in ids:
                reversing.reverse(claim_id, actor=clerk(request), reason=reason)
            return f"{len(ids)} reversed."

        return do_with_reason(
            self, request, queryset, action="reverse_claims", question="Take back these claims?",
            do=do,
        )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.person_page)
        return [path("person/", page, name="campaigns_person"), *super().get_urls()]

    @action(description="One person's story", url_path="one-person", permissions=["view"])  # type: ignore[untyped-decorator]
    def one_person(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:campaigns_person"))

    def person_page(self, request: HttpRequest) -> HttpResponse:
        """Everything that campaigns know and did of one person, found by handle."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        handle = request.GET.get("handle", "")[:60]
        who = User.objects.by_handle(handle) if handle else None
        context = {
            **self.admin_site.each_context(request),
            "title": f"@{who.handle}" if who else "One person's story",
            "opts": Claim._meta,
            "handle": handle,
            "missing": bool(handle) and who is None,
            "tables": story_tables(who) if who else [],
        }
        return TemplateResponse(request, "campaigns/person.html", context)


def given_by(claim: Claim) -> str:
    """What a claim gave, in one line."""
    return ", ".join(f"{row['amount']:,} {row['asset']}" for row in claim.payments) or "nothing"


def _standing(place: Place) -> str:
    level = place.level.title if place.level else "no level"
    return f"{level}, {place.standing.earned:,} earned"


def story_tables(who: User) -> list[tuple[str, Table]]:
    """A person's story as tables."""
    story = people.story_of(who)
    places = standings.places_of(who.pk, timezone.now())
    known = [["segment", code] for code in story["segments"]]
    known += [[name, str(value)] for name, value in sorted(story["attributes"].items())]
    known += [[place.program.title, _standing(place)] for place in places]
    claims = [
        [claim.pk, f"{claim.at:%Y-%m-%d %H:%M:%S}", claim.campaign.code, claim.version.number,
         claim.state, given_by(claim)]
        for claim in story["claims"]
    ]  # fmt: skip
    refusals = [
        [row["at"], row["campaign"], row["code"],
         " ".join(f"{miss['detail']} ({miss['pointer']})" for miss in row["misses"])]
        for row in story["refusals"]
    ]  # fmt: skip
    deeds = [[d["at"], d["kind"], d["key"], d["amount"], d["asset"]] for d in story["activities"]]
    return [
        ("Known", {"headers": ["What", "Value"], "rows": known}),
        ("Claims", {"headers": ["Claim", "At", "Campaign", "Version", "State", "Given"],
                    "rows": claims}),
        ("Refusals", {"headers": ["At", "Campaign", "Reason", "Conditions"], "rows": refusals}),
        ("Activities", {"headers": ["At", "Kind", "Key", "Amount", "Asset"], "rows": deeds}),
    ]  # fmt: skip


@admin.register(ClaimRefusal)
class ClaimRefusalAdmin(ReadOnlyAdmin):
    """Claims that were refused, and why."""

    list_display = ("id", "at", "campaign", "owner", "code", "why")
    list_filter = ("code",)
    list_select_related = ("campaign", "owner", "version")
    search_fields = ("=owner__handle", "=campaign__code")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False

    @admin.display(description="conditions")
    def why(self, refusal: ClaimRefusal) -> str:
        return " ".join(f"{miss[3]} ({miss[0]})" for miss in refusal.misses)


@admin.register(Simulation)
class SimulationAdmin(ReadOnlyAdmin):
    """Trials of versions and their reports."""

    list_display = ("id", "version", "state", "runs_done", "created_by", "created_at")
    list_select_related = ("version__campaign", "created_by")
    ordering = ("-id",)


class _Listed(ReadOnlyAdmin):
    """Looked up here, written over the API."""

    ordering = ("code",)
    search_fields = ("code", "title")


@admin.register(FactName)
class FactNameAdmin(_Listed):
    list_display = ("code", "kind", "type", "title")
    list_filter = ("kind",)


@admin.register(TierProgram)
class TierProgramAdmin(_Listed):
    list_display = ("code", "title", "every", "time_zone", "asset")
