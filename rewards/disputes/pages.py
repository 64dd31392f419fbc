"""Guarantees and disputes in the admin: read by many, decided by our support."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from accounts.models import User
from accounts.roles import Role
from edge.admin import ReadOnlyAdmin
from edge.reasons import do_with_reason
from rewards.disputes import actions
from rewards.models import Cover, Dispute, Guarantee

COLOURS = {
    "asked": "warning",
    "contested": "danger",
    "refunded": "success",
    "rejected": "info",
    "withdrawn": "default",
}


@admin.register(Guarantee)
class GuaranteeAdmin(ReadOnlyAdmin):
    """What issuers promised, and how many revealed codes it still covers."""

    list_display = (
        "series", "issuer", "refund_minor", "asset", "window_s", "answer_s",
        "two_people_over_minor", "state", "covered",
    )  # fmt: skip
    list_filter = ("state",)
    list_select_related = ("series__asset", "issuer", "asset")
    search_fields = ("series__asset__code", "issuer__handle")
    ordering = ("-created_at",)

    @admin.display(description="codes in their window, or disputed")
    def covered(self, guarantee: Guarantee) -> int:
        living = (Cover.State.OPEN, Cover.State.DISPUTED)
        return Cover.objects.filter(guarantee=guarantee, state__in=living).count()


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    """Disputes, those that wait for our support first. No page shows a code."""

    list_display = (
        "id", "shown_state", "series", "holder", "issuer", "problem", "refund_told", "opened_at",
        "answer_by", "proposal", "proposed_by", "decided_by", "end",
    )  # fmt: skip
    list_filter = ("state", "problem", "end")
    search_fields = ("=id", "=cover__reveal__id", "holder__handle")
    search_help_text = "A dispute's or a reveal's number, or the holder's handle"
    ordering = ("ended_at", "-id")
    show_full_result_count = False
    list_per_page = 50
    actions = ("refund", "reject")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dispute]:
        found: QuerySet[Dispute] = super().get_queryset(request)
        return found.select_related(
            "holder", "proposed_by", "decided_by", "cover__guarantee__asset",
            "cover__guarantee__issuer", "cover__guarantee__series__asset",
        )  # fmt: skip

    @display(description="state", ordering="state", label=COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, dispute: Dispute) -> str:
        return str(dispute.get_state_display())

    @admin.display(description="series")
    def series(self, dispute: Dispute) -> str:
        return dispute.cover.guarantee.series.code

    @admin.display(description="issuer")
    def issuer(self, dispute: Dispute) -> str:
        return str(dispute.cover.guarantee.issuer)

    @admin.display(description="refund")
    def refund_told(self, dispute: Dispute) -> str:
        guarantee = dispute.cover.guarantee
        return f"{guarantee.refund_minor} {guarantee.asset.code}"

    @admin.action(description="Refund the holder…")
    def refund(self, request: HttpRequest, queryset: QuerySet[Dispute]) -> HttpResponse | None:
        return self._decide(request, queryset, refunds=True)

    @admin.action(description="Reject the dispute…")
    def reject(self, request: HttpRequest, queryset: QuerySet[Dispute]) -> HttpResponse | None:
        return self._decide(request, queryset, refunds=False)

    def _decide(
        self, request: HttpRequest, queryset: QuerySet[Dispute], *, refunds: bool
    ) -> HttpResponse | None:
        clerk = request.user
        if not isinstance(clerk, User) or not clerk.works_in(Role.SUPPORT):
            raise PermissionDenied

        def do(ids: list[int], reason: str) -> str:
            decided = [
                actions.decide(dispute_id, actor=clerk, refunds=refunds, reason=reason)
                for dispute_id in ids
            ]
            ended = sum(each.ended_at is not None for each in decided)
            return f"{ended} decided, {len(ids) - ended} proposed: somebody else must agree."

        action = "refund" if refunds else "reject"
        question = "Refund the holders?" if refunds else "Reject these disputes?"
        return do_with_reason(self, request, queryset, action=action, question=question, do=do)
