"""What there is to earn: one's tiers, what can be claimed now, what is missing for the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from edge.problems import Refusal
from rewards.campaigns import claiming, deciding, standings
from rewards.campaigns.claiming import Answer, Wish, progress_of
from rewards.campaigns.models import Campaign, Claim, FactName
from rewards.campaigns.problems import CampaignUnknown, claim_refused
from rewards.campaigns.terms import AnyEffect
from sequencer.waiting_room.actions import require_passes
from sequencer.waiting_room.guard import PassRequired
from web.forms import OnceForm, new_key
from web.people import person
from web.reward_words import Names, words_of, words_of_payments

CHANNEL = "site"
"""What the rules of a campaign hear of where the claim comes from."""
MOST_SHOWN = 60
CLAIMS_SHOWN = 10
CLAIMS_PATH = "/api/v1/campaigns/{}/claims/"
WITH_AN_ORDER = {deciding.ORDER_MISSING[0], deciding.REFERRER_MISSING[0]}
"""Refusals of campaigns that are claimed elsewhere: with an order, or by an invitation."""


@login_required
@never_cache
@require_safe
def rewards(request: HttpRequest) -> HttpResponse:
    """Show what a person can claim, and what is missing for the rest."""
    return _shown(request)


def _shown(request: HttpRequest, *, status: int = 200) -> HttpResponse:
    owner = person(request)
    cards = _cards(owner)
    ready = [card for card in cards if card["answer"].refused is None]
    waiting = [card for card in cards if card["answer"].refused is not None]
    claims = list(
        Claim.objects.filter(owner=owner).select_related("campaign").order_by("-id")[:CLAIMS_SHOWN]
    )
    names = Names.of(row["asset"] for claim in claims for row in claim.payments)
    context = {
        "tiers": standings.places_of(owner.pk, timezone.now()),
        "ready": ready[:MOST_SHOWN],
        "waiting": waiting[:MOST_SHOWN],
        "claims": [
            {"claim": claim, "given": words_of_payments(claim.payments, owner.pk, names)}
            for claim in claims
        ],
    }
    return render(request, "web/rewards.html", context, status=status)


def _cards(owner: User) -> list[dict[str, Any]]:
    """The live campaigns, each with what it gives and what a claim would meet now."""
    wish = Wish(campaign="", person=owner, request=claiming.NO_REQUEST, channel=CHANNEL)
    answers = [answer for answer in claiming.qualify(wish) if _is_for_here(answer)]
    found = Campaign.objects.in_bulk([answer.campaign for answer in answers], field_name="code")
    effects = {answer.campaign: _effects(answer, owner) for answer in answers}
    names = Names.for_effects(effect for each in effects.values() for effect in each)
    kinds = dict(FactName.objects.filter(kind=FactName.Kind.ACTIVITY).values_list("code", "title"))
    return [
        {
            "answer": answer,
            "campaign": found[answer.campaign],
            "gives": words_of(effects[answer.campaign], names),
            "missions": [
                step | {"what": kinds.get(step["event"]) or step["event"]}
                for step in progress_of(answer)
            ],
            "missing": _missing(answer),
            "key": new_key(),
        }
        for answer in answers
    ]


def _missing(answer: Answer) -> list[str]:
    """Why not now, where the missions do not say it already."""
    if answer.refused is None:
        return []
    if answer.refused.code != deciding.RULE_NOT_MET[0]:
        return [answer.refused.says]
    assert answer.version is not None
    missions = {path for path, _ in answer.version.missions}
    return [miss.says for miss in answer.refused.misses if miss.path not in missions]


def _is_for_here(answer: Answer) -> bool:
    return answer.version is not None and (
        answer.refused is None or answer.refused.code not in WITH_AN_ORDER
    )


def _effects(answer: Answer, owner: User) -> Sequence[AnyEffect]:
    assert answer.version is not None
    return answer.version.arm(owner.pk)[1]


@login_required
@never_cache
@require_POST
def claim(request: HttpRequest, campaign: str) -> HttpResponse:
    """Claim a campaign, once for each form; then show what there is."""
    owner = person(request)
    form = OnceForm(request.POST)
    if not form.is_valid():
        messages.error(request, "This form is spoilt. Nothing was claimed; please try again.")
        return _shown(request, status=422)
    wish = Wish(
        campaign=campaign,
        person=owner,
        request=_named(owner, campaign, form.cleaned_data["key"]),
        channel=CHANNEL,
    )
    try:
        require_passes(request, CLAIMS_PATH.format(campaign), user_id=owner.pk)
        outcome = claiming.claim(wish)
        if outcome.refused is not None:
            raise claim_refused(outcome.refused)
    except PassRequired as refusal:
        return redirect("enter-waiting-room", name=refusal.members["room"])
    except CampaignUnknown:
        raise Http404 from None
    except Refusal as refusal:
        messages.error(request, f"Not claimed: {refusal.detail or refusal.title}")
        return _shown(request, status=422)
    assert outcome.claim is not None
    payments = outcome.claim.payments
    given = words_of_payments(payments, owner.pk, Names.of(row["asset"] for row in payments))
    if outcome.is_replay:
        messages.info(request, "You have this already. It was not claimed again.")
    else:
        messages.success(request, f"Yours: {', '.join(given) or 'nothing this time'}.")
    return redirect("rewards")


def _named(owner: User, campaign: str, key: str) -> UUID:
    """Name a claim for ever. The person is part of the name, so nobody can take another's."""
    digest = hashlib.sha256(f"web claim\0{owner.pk}\0{campaign}\0{key}".encode()).digest()
    return UUID(bytes=digest[:16])
