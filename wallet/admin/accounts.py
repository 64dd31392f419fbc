"""Accounts in the back office: found, read with their statement, frozen, closed, limited."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from accounts.handles import normalise_handle
from edge.admin import ReadOnlyAdmin
from edge.callers import client_ip
from edge.fields import parse_id
from edge.models import AuditEvent
from edge.reasons import ReasonForm
from wallet import freezing
from wallet.admin import books, words
from wallet.admin.forms import LimitsForm, PeriodForm
from wallet.admin.pages import Facts, ask, clerk, page, require
from wallet.items import Status
from wallet.models import Account
from wallet.movements import held
from wallet.statements import (
    Line,
    Statement,
    effective_balance_as_of,
    open_holds,
    statement,
)
from wallet.statements import page as statement_page

MOST_HOLDS = 50
MOST_EVENTS = 20
DEEDS: dict[str, tuple[str, str, Any]] = {
    "freeze": (
        "Freeze this account?",
        "Nothing new can leave it. Holds still post, and money still comes in.",
        freezing.freeze,
    ),
    "unfreeze": ("Unfreeze this account?", "It can pay again at once.", freezing.unfreeze),
    "close": (
        "Close this account for good?",
        "Nothing will ever move on it again. Only an empty account can be closed.",
        freezing.close,
    ),
}
FITTING = {
    Status.OPEN: ("freeze", "close"),
    Status.FROZEN: ("unfreeze", "close"),
    Status.CLOSED: (),
}


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Every account of the ledger. A row opens its statement."""

    list_display = (
        "id", "purpose", "asset", "shown_balance", "shown_held", "shown_available", "condition",
    )  # fmt: skip
    list_display_links = ("id", "purpose")
    list_filter: ClassVar = ("status", "kind", "asset__kind")
    list_select_related = ("owner", "asset", "kind")
    search_fields = ("id",)
    search_help_text = "A handle, an e-mail address or an account's number"
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 25
    paginator = InfinitePaginator
    show_full_result_count = False
    actions = None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        """Find by exact handle, e-mail address or number: each is one index look-up."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if (number := parse_id(term)) is not None:
            return queryset.filter(pk=number), False
        if "@" in term.lstrip("@"):
            return queryset.filter(owner__email=term.lower()), False
        return queryset.filter(owner__handle=normalise_handle(term)), False

    @admin.display(description="Purpose")
    def purpose(self, account: Account) -> str:
        return words.purpose(account)

    @admin.display(description="Balance")
    def shown_balance(self, account: Account) -> str:
        return words.number(account.balance, account.asset.scale)

    @admin.display(description="Held")
    def shown_held(self, account: Account) -> str:
        return words.number(account.held, account.asset.scale)

    @admin.display(description="Available")
    def shown_available(self, account: Account) -> str:
        return words.number(account.available, account.asset.scale)

    @display(  # type: ignore[untyped-decorator]
        description="Status", label={"open": "success", "frozen": "warning", "closed": "danger"}
    )
    def condition(self, account: Account) -> str:
        return words.status_label(account)

    # -- pages ---------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Add the deeds of one account, and the books of all, before Django's own addresses."""
        wrap = self.admin_site.admin_view
        deeds = [
            path(
                f"<id:account_id>/{deed}/",
                wrap(self.deed_view),
                {"deed": deed},
                name=f"wallet_account_{deed}",
            )
            for deed in DEEDS
        ]
        return [
            *deeds,
            path("<id:account_id>/limits/", wrap(self.limits_view), name="wallet_account_limits"),
            *books.addresses(self),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The account's page: what it holds, its statement as of a day, its holds, its trail."""
        require(request, "wallet.view_account")
        account = self._account(parse_id(object_id) or 0)
        form = PeriodForm(request.GET or None)
        is_asked = form.is_bound and form.is_valid()
        found = _statement(account, form if is_asked else None)
        before = parse_id(request.GET.get("before"))
        if before is not None:
            lines = statement_page(account.pk, start=found.start, end=found.end, before=before)
        else:
            lines = found.page
        return page(
            self,
            request,
            "account",
            words.purpose(account),
            subtitle=f"Account {account.pk}",
            account=account,
            cards=_cards(account),
            facts=_facts(account),
            deeds=_deeds(request, account),
            can_export=request.user.has_perm("wallet.export_ledger"),
            form=form,
            statement=_amounts(found, account),
            rows=_rows(lines.lines, account.asset.scale),
            older=_older(request, lines.next_before),
            is_first_page=before is None,
            holds=_holds(account),
            events=_events(account),
        )

    def deed_view(self, request: HttpRequest, account_id: int, deed: str) -> HttpResponse:
        """Freeze, unfreeze or close, with a reason."""
        require(request, "wallet.freeze_account")
        account = self._account(account_id)
        question, explanation, action = DEEDS[deed]

        def do(said: dict[str, Any]) -> str:
            action(account_id, actor=clerk(request), reason=said["reason"], ip=client_ip(request))
            return f"Account {account_id}: {deed} done."

        return ask(
            self,
            request,
            title=question,
            explanation=explanation,
            form=ReasonForm(request.POST or None),
            facts=_summary(account),
            back=_address(account_id),
            verb=deed.capitalize(),
            do=do,
            is_grave=deed != "unfreeze",
        )

    def limits_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Change an account's floor, ceiling and largest debit."""
        require(request, "wallet.freeze_account")
        account = self._account(account_id)

        def do(said: dict[str, Any]) -> str:
            freezing.change_limits(account_id, actor=clerk(request), ip=client_ip(request), **said)
            return f"Account {account_id} has new limits."

        return ask(
            self,
            request,
            title="Change the limits of this account",
            explanation=f"In {account.asset.code}. They hold from the next posting on.",
            form=LimitsForm(request.POST or None, of=account, scale=account.asset.scale),
            facts=_summary(account),
            back=_address(account_id),
            verb="Change limits",
            do=do,
        )

    def _account(self, account_id: int) -> Account:
        accounts = Account.objects.select_related("owner", "asset", "kind")
        account = accounts.filter(pk=account_id).first()
        if account is None:
            raise Http404("There is no such account.")
        return account


def _address(account_id: int) -> str:
    return reverse("admin:wallet_account_change", args=[account_id])


def _statement(account: Account, form: PeriodForm | None) -> Statement:
    now = timezone.now()
    if form is None:
        return statement(account.pk, end=now)
    return statement(account.pk, start=form.start, end=form.end(now))


def _cards(account: Account) -> Facts:
    scale = account.asset.scale
    return [
        ("Balance", words.amount(account.balance, scale)),
        ("Held", words.amount(account.held, scale)),
        ("Available", words.amount(account.available, scale)),
        ("Incoming", words.amount(account.incoming, scale)),
    ]


def _facts(account: Account) -> Facts:
    scale = account.asset.scale
    return [
        ("Owner", account.owner.email if account.owner else "the house"),
        ("Kind", account.kind.name),
        ("Label", account.label or "-"),
        ("Floor", words.amount(account.floor, scale)),
        ("Ceiling", words.amount(account.ceiling, scale)),
        ("Largest debit", words.amount(account.largest_debit, scale)),
        ("Entries", f"{account.entry_count:,}"),
        ("Opened", account.created_at),
    ]


def _summary(account: Account) -> Facts:
    balance = words.amount(account.balance, account.asset.scale)
    return [
        ("Account", f"{account.pk} · {words.purpose(account)}"),
        ("Balance", f"{balance} {account.asset.code}"),
        ("Status", words.status_label(account)),
    ]


def _deeds(request: HttpRequest, account: Account) -> list[tuple[str, str]]:
    """What this clerk can do to the account now: words and addresses."""
    if account.status == Status.CLOSED or not request.user.has_perm("wallet.freeze_account"):
        return []
    names = (*FITTING[Status(account.status)], "limits")
    return [
        (name.capitalize(), reverse(f"admin:wallet_account_{name}", args=[account.pk]))
        for name in names
    ]


def _amounts(found: Statement, account: Account) -> dict[str, Any]:
    effective = effective_balance_as_of(account.pk, found.end)
    scale = account.asset.scale
    return {
        "start": found.start,
        "end": found.end,
        "opening": words.amount(found.opening, scale),
        "closing": words.amount(found.closing, scale),
        "effective": words.amount(effective, scale) if effective != found.closing else "",
    }


def _rows(lines: list[Line], scale: int) -> list[dict[str, Any]]:
    ids = {line.counter_account_id for line in lines}
    counters = Account.objects.select_related("owner", "kind").in_bulk(list(ids))
    return [
        {
            "line": line,
            "transfer": words.transfer_link(line.transfer_id),
            "counter": words.account_link(counters.get(line.counter_account_id)),
            "code": words.CODES.get(line.code, line.code),
            "amount": words.number(line.amount, scale),
            "balance": words.number(line.balance_after, scale),
        }
        for line in lines
    ]


def _older(request: HttpRequest, next_before: int | None) -> str:
    if next_before is None:
        return ""
    query = request.GET.copy()
    query["before"] = str(next_before)
    return f"?{query.urlencode()}"


def _holds(account: Account) -> list[dict[str, Any]]:
    found = held(list(open_holds(account.pk)[:MOST_HOLDS]))
    scale = account.asset.scale
    return [
        {
            "at": each.at,
            "transfer": words.transfer_link(each.hold.pk),
            "code": words.CODES.get(each.movement.transfer.code),
            "receiver": words.account_link(each.movement.credit),
            "amount": words.number(each.hold.amount, scale),
            "remaining": words.number(each.hold.remaining, scale),
            "expires_at": each.hold.expires_at,
        }
        for each in found
    ]


def _events(account: Account) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.filter(object_type="account", object_id=str(account.pk))
    return events.order_by("-id")[:MOST_EVENTS]
