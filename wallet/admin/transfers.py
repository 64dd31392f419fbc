"""Transfers in the back office: found by number or reference, read, and asked to be undone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from edge.admin import ReadOnlyAdmin
from edge.callers import client_ip
from edge.fields import parse_id
from edge.reasons import ReasonForm
from wallet import reversals
from wallet.admin import words
from wallet.admin.pages import Facts, ask, clerk, page, require
from wallet.items import Kind
from wallet.models import Account, Entry, Reference, ReversalRequest, Transfer
from wallet.movements import Movement, movement, movements
from wallet.references import digest_of


class TransferList(ChangeList):
    """A page of transfers, each with the accounts on its sides: one query more, not fifty."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        for row, found in zip(self.result_list, movements(self.result_list), strict=True):
            row.movement = found


@admin.register(Transfer)
class TransferAdmin(ReadOnlyAdmin):
    """The journal, newest first. Nobody changes it."""

    list_display = ("id", "written", "what", "shown_amount", "debit", "credit", "memo")
    list_display_links = ("id",)
    list_filter = ("code", "kind")
    search_fields = ("id",)
    search_help_text = "A transfer's number, or its reference"
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 25
    paginator = InfinitePaginator
    show_full_result_count = False
    actions = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TransferList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Transfer], search_term: str
    ) -> tuple[QuerySet[Transfer], bool]:
        """Find by number or by the caller's reference: each is one index look-up."""
        term = search_term.strip()
        if not term:
            return queryset, False
        ids = [found for found in (parse_id(term), _made_by(term)) if found is not None]
        return queryset.filter(pk__in=ids), False

    @admin.display(description="Written (UTC)")
    def written(self, transfer: Transfer) -> str:
        return words.moment(transfer.at)

    @admin.display(description="What")
    def what(self, transfer: Transfer) -> str:
        return _what(transfer)

    @admin.display(description="Amount")
    def shown_amount(self, transfer: Any) -> str:
        asset = transfer.movement.debit.asset
        shown = words.amount(transfer.amount, asset.scale)
        return format_html('<span class="books-number">{} {}</span>', shown, asset.code)

    @admin.display(description="From")
    def debit(self, transfer: Any) -> Any:
        return words.account_link(transfer.movement.debit)

    @admin.display(description="To")
    def credit(self, transfer: Any) -> Any:
        return words.account_link(transfer.movement.credit)

    # -- pages ---------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Add the page that asks for a reversal."""
        wrap = self.admin_site.admin_view
        return [
            path(
                "<id:transfer_id>/reverse/",
                wrap(self.reverse_view),
                name="wallet_transfer_reverse",
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
        """The transfer's page: its facts, its two entries, what undid it."""
        require(request, "wallet.view_transfer")
        found = _found(parse_id(object_id) or 0)
        requests = _requests(found.transfer.pk)
        return page(
            self,
            request,
            "transfer",
            f"{_what(found.transfer).capitalize()} of {_amount(found)}",
            subtitle=f"Transfer {found.transfer.pk}",
            facts=_facts(found),
            entries=_entries(found),
            requests=requests,
            reverse=_reverse_address(request, found.transfer, requests),
        )

    def reverse_view(self, request: HttpRequest, transfer_id: int) -> HttpResponse:
        """Ask that the transfer be undone; somebody else decides."""
        require(request, "wallet.reverse_transfer")
        found = _found(transfer_id)

        def do(said: dict[str, Any]) -> str:
            reversals.request_reversal(
                transfer_id, actor=clerk(request), reason=said["reason"], ip=client_ip(request)
            )
            return "The reversal is asked for. Somebody else approves or rejects it."

        return ask(
            self,
            request,
            title="Ask for a reversal",
            explanation="The money goes back once another member of finance approves.",
            form=ReasonForm(request.POST or None),
            facts=[
                ("Transfer", f"{transfer_id} · {_what(found.transfer)}"),
                ("Amount", _amount(found)),
                ("From", words.purpose(found.debit)),
                ("To", words.purpose(found.credit) if found.credit else "-"),
            ],
            back=reverse("admin:wallet_transfer_change", args=[transfer_id]),
            verb="Ask for reversal",
            do=do,
        )


def _made_by(reference: str) -> int | None:
    """Say which transfer a reference made, if it made one."""
    digest = UUID(bytes=digest_of(reference))
    used = Reference.objects.filter(digest=digest, refusal=0).first()
    return used.transfer_id if used else None


def _found(transfer_id: int) -> Movement:
    found = movement(transfer_id)
    if found is None:
        raise Http404("There is no such transfer.")
    return found


def _what(transfer: Transfer) -> str:
    """A transfer in a word or two: its code, and its kind where that says more."""
    code = words.CODES.get(transfer.code, str(transfer.code))
    kind = words.KINDS[transfer.kind]
    return code if transfer.kind == Kind.TRANSFER or kind in code else f"{code}, {kind}"


def _amount(found: Movement) -> str:
    asset = found.debit.asset
    return f"{words.amount(found.transfer.amount, asset.scale)} {asset.code}"


def _facts(found: Movement) -> Facts:
    transfer = found.transfer
    return [
        ("Written", transfer.at),
        ("Kind", words.KINDS[transfer.kind]),
        ("Code", words.CODES.get(transfer.code, transfer.code)),
        ("Amount", _amount(found)),
        ("From", words.account_link(found.debit)),
        ("To", words.account_link(found.credit)),
        ("Reference", transfer.reference or "-"),
        ("Memo", transfer.memo or "-"),
        ("Effective", transfer.effective_at or "when written"),
        ("Expires", transfer.expires_at or "-"),
        ("Hold", words.transfer_link(transfer.hold_id)),
        ("Reverses", words.transfer_link(transfer.reverses_id)),
    ]


def _entries(found: Movement) -> list[dict[str, Any]]:
    sides: list[Account] = [side for side in (found.debit, found.credit) if side]
    entries = Entry.objects.filter(
        account_id__in=[side.pk for side in sides], transfer_id=found.transfer.pk
    )
    by_account = {entry.account_id: entry for entry in entries}
    scale = found.debit.asset.scale
    return [
        {
            "account": words.account_link(side),
            "amount": words.number(by_account[side.pk].amount, scale),
            "balance": words.number(by_account[side.pk].balance_after, scale),
        }
        for side in sides
        if side.pk in by_account
    ]


def _requests(transfer_id: int) -> list[ReversalRequest]:
    rows = ReversalRequest.objects.select_related("requested_by", "decided_by")
    return list(rows.filter(transfer_id=transfer_id).order_by("-id")[:10])


def _reverse_address(
    request: HttpRequest, transfer: Transfer, requests: list[ReversalRequest]
) -> str:
    """Where a reversal is asked for, if one can be."""
    moved = transfer.kind in (Kind.TRANSFER, Kind.POST) and transfer.reverses_id is None
    is_free = all(each.state == ReversalRequest.State.REJECTED for each in requests)
    if not (moved and is_free and request.user.has_perm("wallet.reverse_transfer")):
        return ""
    return reverse("admin:wallet_transfer_reverse", args=[transfer.pk])
