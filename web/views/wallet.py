"""One's own money: what there is, what happened, what is set aside, and paying somebody."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import User
from edge.fields import parse_id
from edge.problems import Refusal
from wallet.items import Refusal as Reason
from wallet.items import Result
from wallet.movements import handles_beside, held
from wallet.people import pay
from wallet.points import expiring
from wallet.problems import LedgerRefusal
from wallet.statements import open_holds, page
from web.forms import PayForm, new_key
from web.live import render_live
from web.people import own_wallet, own_wallets, person

LINES = 25
HOLDS_SHOWN = 25
LOTS_SHOWN = 3
EXPIRING_WALLETS_SHOWN = 5


@login_required
@never_cache
@require_safe
def wallets(request: HttpRequest) -> HttpResponse:
    """Show what a person has of everything."""
    own = own_wallets(person(request).pk)
    lapsing = [wallet for wallet in own if wallet.asset.expires and wallet.balance > 0]
    lots = {
        wallet.pk: expiring(wallet.pk)[:LOTS_SHOWN] for wallet in lapsing[:EXPIRING_WALLETS_SHOWN]
    }
    cards: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for wallet in own:
        is_voucher = wallet.asset.kind == "series"
        cards[is_voucher].append({"wallet": wallet, "lots": lots.get(wallet.pk, [])})
    context = {"money": cards[False], "vouchers": cards[True]}
    return render_live(request, "web/wallets.html", context)


@login_required
@never_cache
@require_safe
def statement(request: HttpRequest, asset: str) -> HttpResponse:
    """Show what happened on one wallet, page by page, and what is set aside there."""
    wallet = own_wallet(person(request).pk, asset)
    before = _before(request)
    lines = page(wallet.pk, before=before, limit=LINES)
    handles = handles_beside(lines.lines)
    context = {
        "wallet": wallet,
        "lines": [{"line": line, "who": handles.get(line.transfer_id)} for line in lines.lines],
        "next_before": lines.next_before,
        "is_first_page": before is None,
    }
    if before is None:
        context["holds"] = held(list(open_holds(wallet.pk)[:HOLDS_SHOWN]))
    return render(request, "web/statement.html", context)


def _before(request: HttpRequest) -> int | None:
    text = request.GET.get("before")
    if text is None:
        return None
    number = parse_id(text)
    if number is None:
        raise Http404
    return number


# -- paying somebody ---------------------------------------------------------------------


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def pay_person(request: HttpRequest) -> HttpResponse:
    """Ask whom to pay, show once more what was asked, then pay. Sent twice it pays once."""
    payer = person(request)
    own = own_wallets(payer.pk)
    if request.method != "POST":
        first = {"key": new_key(), "to": request.GET.get("to", "")[:31]}
        form = PayForm(own, initial=first | {"asset": request.GET.get("asset", "")[:40]})
        return _asked(request, form)
    form = PayForm(own, request.POST)
    if not form.is_valid():
        return _asked(request, form)
    receiver = User.objects.by_handle(form.cleaned_data["to"])
    if receiver is None:
        form.add_error("to", "Nobody here has this handle.")
    elif receiver == payer:
        form.add_error("to", "That is you.")
    elif form.cleaned_data["minor"] > form.wallet.available and "confirmed" not in request.POST:
        form.add_error("amount", "You do not have that much available.")
    if receiver is None or form.errors:
        return _asked(request, form)
    if "confirmed" not in request.POST:
        return render(request, "web/pay_confirm.html", {"form": form, "receiver": receiver})
    return _pay(request, form, payer, receiver)


def _asked(request: HttpRequest, form: PayForm) -> HttpResponse:
    status = 422 if form.is_bound else 200
    return render(request, "web/pay.html", {"form": form}, status=status)


def _pay(request: HttpRequest, form: PayForm, payer: User, receiver: User) -> HttpResponse:
    said = form.cleaned_data
    try:
        result = pay(
            sender=payer,
            to=receiver.handle,
            asset=said["asset"],
            amount=said["minor"],
            memo=said["memo"],
            key=said["key"],
        )
        _check(result)
    except Refusal as refusal:
        # The ledger keeps a refusal under its key for ever; another try is another wish.
        fields = {name: form.data.get(name, "") for name in form.fields} | {"key": new_key()}
        again = PayForm(list(form.wallets.values()), fields)
        again.add_error(None, _in_words(refusal))
        return _asked(request, again)
    if result.is_replay:
        messages.info(request, "This payment was made already. It was not made again.")
    else:
        messages.success(request, f"Paid. @{receiver.handle} has it now.")
    return redirect("statement", asset=said["asset"])


def _check(result: Result) -> None:
    if not result.is_created:
        raise LedgerRefusal(result.refusal)


def _in_words(refusal: Refusal) -> str:
    if isinstance(refusal, LedgerRefusal) and refusal.reason is Reason.REFERENCE_REUSED:
        return "This form was used for another payment. Check your statement, then send it again."
    return f"{refusal.detail or refusal.title}."
