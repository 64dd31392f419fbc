"""What there is to earn: one's tiers, what can be claimed now, what is missing for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

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
from rewards.campaigns.rush.gateway_routes import CLAIMS
from rewards.campaigns.terms import AnyEffect, assets_of
from sequencer.waiting_room.actions import require_passes
from sequencer.waiting_room.guard import PassRequired
from web.forms import OnceForm, name_of_wish, new_key
from web.people import person
from web.reward_words import Names, words_of, words_of_payments

CHANNEL = "site"
"""What the rules of a campaign hear of where the claim comes from."""
MOST_SHOWN = 60
CLAIMS_SHOWN = 10
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
    wish = Wish(campaign="", person=owner, request=claiming.NO_REQUEST, channel=CHANNEL)
    answers = [answer for answer in claiming.qualify(wish) if _is_for_here(answer)]
    ready = [answer for answer in answers if answer.refused is None][:MOST_SHOWN]
    waiting = [answer for answer in answers if answer.refused is not None][:MOST_SHOWN]
    claims = list(
        Claim.objects.filter(owner=owner).select_related("campaign").order_by("-id")[:CLAIMS_SHOWN]
    )
    given = {row["asset"] for claim in claims for row in claim.payments}
    cards = _Cards(owner, ready + waiting, given)
    context = {
        "tiers": standings.places_of(owner.pk, timezone.now()),
        "ready": [cards.card(answer) for answer in ready],
        "waiting": [cards.card(answer) for answer in waiting],
        "claims": [
            {
                "claim": claim,
                "given": words_of_payments(claim.payments, owner.pk, cards.names),
            }
            for claim in claims
        ],
    }
    return render(request, "web/rewards.html", context, status=status)


class _Cards:
    """Live campaigns as they are shown: what each gives, what a claim would meet, in words."""

    def __init__(self, owner: User, answers: Sequence[Answer], assets: AbstractSet[str]) -> None:
        """`assets` are others that words are needed for."""
        self._effects = {answer.campaign: _effects(answer, owner) for answer in answers}
        every = (effect for effects in self._effects.values() for effect in effects)
        self.names = Names.of(assets | assets_of(every))
        codes = list(self._effects)
        self._campaigns = Campaign.objects.in_bulk(codes, field_name="code")
        kinds = FactName.objects.filter(kind=FactName.Kind.ACTIVITY)
        self._deeds = dict(kinds.values_list("code", "title"))

    def card(self, answer: Answer) -> dict[str, Any]:
        """One campaign, for the template."""
        return {
            "answer": answer,
            "campaign": self._campaigns[answer.campaign],
            "gives": words_of(self._effects[answer.campaign], self.names),
            "missions": [
                step | {"what": self._deeds.get(step["event"]) or step["event"]}
                for step in progress_of(answer)
            ],
            "missing": _missing(answer),
            "key": new_key(),
        }


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
        request=name_of_wish("web claim", owner, campaign, form.cleaned_data["key"]),
        channel=CHANNEL,
    )
    try:
        require_passes(request, CLAIMS.format(campaign=campaign), user_id=owner.pk)
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
