"""A code that does not work: saying so, following what comes of it, taking it back."""

from __future__ import annotations

from contextlib import suppress

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from edge.callers import client_ip
from edge.problems import Refusal
from rewards.disputes import actions
from rewards.disputes.problems import DisputeMovedOn
from rewards.models import Cover, Dispute, Reveal
from web.forms import DisputeForm, name_of_wish, new_key
from web.people import person


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def dispute(request: HttpRequest, reveal_id: int) -> HttpResponse:
    """Show what stands behind a revealed code and what became of its dispute; or open one."""
    owner = person(request)
    reveal = Reveal.objects.of(owner.pk).filter(pk=reveal_id).first()
    if reveal is None:
        raise Http404
    form = DisputeForm(request.POST if request.method == "POST" else None)
    problem: Refusal | None = None
    if form.is_valid():
        said = form.cleaned_data
        try:
            actions.open_dispute(
                reveal_id=reveal.pk,
                holder=owner,
                problem=Dispute.Problem(said["problem"]),
                evidence=said["evidence"],
                request=name_of_wish("web.dispute", owner, reveal.pk, said["key"]),
                ip=client_ip(request),
            )
            return redirect("dispute", reveal_id=reveal.pk)
        except Refusal as refusal:
            problem = refusal
    found = Cover.objects.select_related("guarantee__asset", "guarantee__issuer")
    cover = found.filter(pk=reveal.pk).first()
    context = {
        "reveal": reveal,
        "cover": cover,
        "may_ask": cover is not None and _is_open(cover),
        "dispute": Dispute.objects.with_story().filter(cover_id=reveal.pk).first(),
        "form": form,
        "key": new_key(),
        "problem": problem,
    }
    return render(request, "web/dispute.html", context, status=problem.status if problem else 200)


def _is_open(cover: Cover) -> bool:
    return cover.state == Cover.State.OPEN and cover.closes_at > timezone.now()


@login_required
@require_POST
def withdraw_dispute(request: HttpRequest, reveal_id: int) -> HttpResponse:
    """Take a dispute back: the code works after all."""
    owner = person(request)
    found = Dispute.objects.filter(cover_id=reveal_id, holder=owner).first()
    if found is None:
        raise Http404
    with suppress(DisputeMovedOn):  # The page says where it stands.
        actions.withdraw(found.pk, holder=owner)
    return redirect("dispute", reveal_id=reveal_id)
