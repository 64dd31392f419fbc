"""What came of it: reports, liability, trials, and one person's whole story."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.fields import AssetCode, StrictSerializer, UtcDateTime, checked_body, checked_query
from edge.idempotency import idempotent
from rewards.campaigns import people, results, simulating, standings
from rewards.campaigns.api import examples
from rewards.campaigns.api.claims import tier_out
from rewards.campaigns.api.permissions import (
    FinanceToRead,
    Marketing,
    StaffToRead,
    named,
    person,
)
from rewards.campaigns.api.serializers import (
    ClaimOut,
    LiabilityOut,
    ReportOut,
    SimulationIn,
    SimulationOut,
    StoryOut,
)
from rewards.campaigns.problems import CampaignUnknown, SimulationUnknown, VersionUnknown
from wallet.api.schema import WRITES, answers, sample
from wallet.people import AssetUnknown, PersonUnknown


class Report(APIView):
    """A campaign so far."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="get_campaign_report",
        summary="See what a campaign did",
        tags=["campaigns"],
        responses=answers({200: ReportOut}, CampaignUnknown()),
        examples=[sample("so far", examples.REPORT)],
    )
    def get(self, request: Request, code: str) -> Response:
        """Read claims, people, refusals by reason, budgets, and the arms of its test compared."""
        return Response(ReportOut(results.report_of(code)).data)


class LiabilityQuery(StrictSerializer):
    """What to report on."""

    asset = AssetCode()
    as_of = UtcDateTime(required=False)


class Liability(APIView):
    """What is owed."""

    permission_classes = (FinanceToRead,)

    @extend_schema(
        operation_id="get_campaign_liability",
        summary="See what is owed by campaign and month",
        tags=["campaigns"],
        parameters=[
            OpenApiParameter("asset", str, required=True, description="The asset's code."),
            OpenApiParameter("as_of", str, description="RFC 3339; now if left out."),
        ],
        responses=answers({200: LiabilityOut}, AssetUnknown()),
        examples=[sample("at the end of the year", examples.LIABILITY)],
    )
    def get(self, request: Request) -> Response:
        """Say what people still hold of what each campaign granted in each month. It sums to
        what the ledger says that all wallets held then.
        """
        query = checked_query(LiabilityQuery, request)
        found = results.liability(query["asset"], query.get("as_of"))
        return Response(LiabilityOut(found).data)


class Simulations(APIView):
    """Trials of a version."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="simulate_version",
        summary="Try a version out",
        tags=["campaigns"],
        request=SimulationIn,
        responses=answers({202: SimulationOut}, *WRITES, VersionUnknown()),
        examples=[
            sample("ask", {"crowd": "synthetic", "people": 1000, "runs": 50}, is_request=True),
            OpenApiExample(
                "started",
                value=examples.SIMULATION | {"state": "waiting", "runs_done": 0},
                response_only=True,
                status_codes=["202"],
            ),
        ],
    )
    @idempotent
    def post(self, request: Request, code: str, number: int) -> HttpResponse:
        """Let a crowd meet a version, drafts too, without touching anything. A job does it."""
        parameters = checked_body(SimulationIn, request)
        trial = simulating.start(code, number, parameters, actor=person(request))
        headers = {"Location": f"/api/v1/simulations/{trial.pk}/"}
        found = simulating.trial_of(trial.pk)
        return Response(SimulationOut(found).data, status=202, headers=headers)


class OneSimulation(APIView):
    """One trial."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="get_simulation",
        summary="See how a trial goes",
        tags=["campaigns"],
        responses=answers({200: SimulationOut}, SimulationUnknown()),
        examples=[sample("at work", examples.SIMULATION)],
    )
    def get(self, request: Request, simulation_id: int) -> Response:
        """Read a trial's progress and, once it is done, its report."""
        return Response(SimulationOut(simulating.trial_of(simulation_id)).data)


class Story(APIView):
    """One person."""

    permission_classes = (StaffToRead,)

    @extend_schema(
        operation_id="get_campaign_story",
        summary="See a person's whole story",
        tags=["campaigns"],
        responses=answers({200: StoryOut}, PersonUnknown()),
        examples=[sample("ada", examples.STORY)],
    )
    def get(self, request: Request, handle: str) -> Response:
        """Read what campaigns know and did of a person: every claim, refusal and its reasons."""
        who = named(handle)
        story = people.story_of(who)
        story["tiers"] = [tier_out(place) for place in standings.places_of(who.pk, timezone.now())]
        story["claims"] = ClaimOut(story["claims"], many=True).data
        return Response(story)
