"""The queue of reversals: asked by one, approved or rejected by another."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from edge.admin import ReadOnlyAdmin
from edge.callers import client_ip
from edge.fields import parse_id
from edge.reasons import ReasonForm
from wallet import reversals
from wallet.admin import words
from wallet.admin.pages import Facts, ask, clerk, page, require
from wallet.models import ReversalRequest
from wallet.movements import movement
from wallet.problems import LedgerRefusal

State = ReversalRequest.State


@admin.register(ReversalRequest)
class ReversalRequestAdmin(ReadOnlyAdmin):
    """Requests to undo transfers, those to decide first."""

    list_display = (
        "id", "shown_state", "transfer", "reason", "requested_by", "asked_at", "decided_by",
    )  # fmt: skip
    list_display_links = ("id", "reason")
    list_filter = ("state",)
    list_select_related = ("requested_by", "decided_by")
    search_fields = ("=transfer_id", "reason")
    search_help_text = "A transfer's number, or words of the reason"
    ordering = ("state", "-id")
    sortable_by = ()
    list_per_page = 50
    show_full_result_count = False
    actions = None

    @display(  # type: ignore[untyped-decorator]
        description="State",
        label={"open": "warning", "approved": "success", "rejected": "danger"},
    )
    def shown_state(self, request: ReversalRequest) -> str:
        return str(request.get_state_display())

    @admin.display(description="Transfer")
    def transfer(self, request: ReversalRequest) -> Any:
        return words.transfer_link(request.transfer_id)

    @admin.display(description="Asked (UTC)")
    def asked_at(self, request: ReversalRequest) -> str:
        return words.moment(request.requested_at)

    # -- pages ---------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Add the two decisions."""
        wrap = self.admin_site.admin_view
        return [
            path(
                "<id:request_id>/approve/",
                wrap(self.approve_view),
                name="wallet_reversalrequest_approve",
            ),
            path(
                "<id:request_id>/reject/",
                wrap(self.reject_view),
                name="wallet_reversalrequest_reject",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The request's page, with the decisions for whoever may decide."""
        require(request, "wallet.view_reversalrequest")
        asked = _asked(parse_id(object_id) or 0)
        may = request.user.has_perm("wallet.reverse_transfer")
        is_own = asked.requested_by_id == request.user.pk
        is_open = asked.state == State.OPEN
        return page(
            self,
            request,
            "reversal",
            f"Reversal of {asked.transfer_id}",
            subtitle=f"Request {asked.pk}",
            asked=asked,
            state=asked.get_state_display(),
            facts=_facts(asked),
            can_decide=may and is_open and not is_own,
            waits_for_another=may and is_open and is_own,
            refusal=LedgerRefusal(asked.refusal).title if asked.refusal else "",
        )

    def approve_view(self, request: HttpRequest, request_id: int) -> HttpResponse:
        """Approve: the money moves back, or the refusal is shown and the request stays open."""
        require(request, "wallet.reverse_transfer")
        asked = _asked(request_id)

        def do(_: dict[str, Any]) -> str:
            decided = reversals.approve(request_id, actor=clerk(request), ip=client_ip(request))
            if decided.refusal is not None:
                raise LedgerRefusal(
                    decided.refusal, "Nothing moved. The request stays open for another try."
                )
            return "The transfer is reversed."

        return ask(
            self,
            request,
            title="Approve this reversal?",
            explanation="A new transfer moves the money back at once.",
            form=forms.Form(request.POST if request.method == "POST" else None),
            facts=_facts(asked),
            back=_address(request_id),
            verb="Approve",
            do=do,
        )

    def reject_view(self, request: HttpRequest, request_id: int) -> HttpResponse:
        """Reject, and say why."""
        require(request, "wallet.reverse_transfer")
        asked = _asked(request_id)

        def do(said: dict[str, Any]) -> str:
            reversals.reject(
                request_id, actor=clerk(request), note=said["reason"], ip=client_ip(request)
            )
            return "The reversal is rejected. It may be asked for anew."

        return ask(
            self,
            request,
            title="Reject this reversal?",
            explanation="Nothing moves.",
            form=ReasonForm(request.POST or None),
            facts=_facts(asked),
            back=_address(request_id),
            verb="Reject",
            do=do,
            is_grave=True,
        )


def _address(request_id: int) -> str:
    return reverse("admin:wallet_reversalrequest_change", args=[request_id])


def _asked(request_id: int) -> ReversalRequest:
    rows: QuerySet[ReversalRequest] = ReversalRequest.objects.select_related(
        "requested_by", "decided_by"
    )
    asked = rows.filter(pk=request_id).first()
    if asked is None:
        raise Http404("There is no such request.")
    return asked


def _facts(asked: ReversalRequest) -> Facts:
    found = movement(asked.transfer_id)
    assert found is not None
    asset = found.debit.asset
    facts: Facts = [
        ("Transfer", words.transfer_link(asked.transfer_id)),
        ("Amount", f"{words.amount(found.transfer.amount, asset.scale)} {asset.code}"),
        ("Goes back from", words.account_link(found.credit)),
        ("Goes back to", words.account_link(found.debit)),
        ("Reason", asked.reason),
        ("Asked by", f"{asked.requested_by.email}"),
        ("Asked", asked.requested_at),
    ]
    if asked.decided_by is not None:
        facts += [("Decided by", asked.decided_by.email), ("Decided", asked.decided_at)]
    if asked.note:
        facts.append(("Why rejected", asked.note))
    if asked.reversal_id:
        facts.append(("Reversed by", words.transfer_link(asked.reversal_id)))
    return facts
