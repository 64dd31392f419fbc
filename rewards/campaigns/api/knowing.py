"""What marketing and partners tell us: names, segments, attributes, activities, tier programs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from edge.fields import checked_body
from edge.idempotency import idempotent
from rewards.campaigns import names, problems, standings
from rewards.campaigns.api import examples
from rewards.campaigns.api.permissions import Marketing, named, person
from rewards.campaigns.api.serializers import (
    ActivitiesIn,
    AttributesIn,
    KeptOut,
    MembersIn,
    MembersOut,
    NameIn,
    NameOut,
    ProgramIn,
    ProgramOut,
)
from rewards.campaigns.models import FactName
from wallet.api.schema import WRITES, answers, sample
from wallet.people import AssetUnknown, PersonUnknown


class Names(ListAPIView[FactName]):
    """Words that rules may use."""

    permission_classes = (Marketing,)
    serializer_class = NameOut

    def get_queryset(self) -> QuerySet[FactName]:
        return FactName.objects.all()

    @extend_schema(
        operation_id="list_fact_names",
        summary="List the words of rules",
        tags=["campaigns"],
        responses=answers({200: NameOut(many=True)}),
        examples=[sample("a segment", examples.NAME)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List segments, attributes, activities and places that rules may speak of."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="declare_fact_name",
        summary="Add a word for rules",
        tags=["campaigns"],
        request=NameIn,
        responses=answers({201: NameOut}, *WRITES, problems.NameInvalid()),
        examples=[
            sample("ask", examples.NAME, is_request=True),
            sample("made", examples.NAME),
        ],
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Add a word, or change its title. Its kind and type stay."""
        body = checked_body(NameIn, request)
        made = names.declare(
            kind=body["kind"],
            code=body["code"],
            title=body["title"],
            value_type=body["type"],
            actor=person(request),
        )
        return Response(NameOut(made).data, status=201)


class Members(APIView):
    """Who is in a segment."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="change_segment",
        summary="Change a segment",
        tags=["campaigns"],
        request=MembersIn,
        responses=answers({200: MembersOut}, *WRITES, PersonUnknown(), problems.NameUnknown()),
        examples=[
            sample("ask", examples.MEMBERS_IN, is_request=True),
            sample("changed", {"added": 2, "removed": 0}),
        ],
    )
    @idempotent
    def post(self, request: Request, segment: str) -> HttpResponse:
        """Put people into a segment and take others out: all of them, or none."""
        body = checked_body(MembersIn, request)
        added, removed = names.change_segment(
            segment,
            add=_people(body["add"]),
            remove=_people(body["remove"]),
            actor=person(request),
        )
        return Response({"added": added, "removed": removed})


def _people(handles: list[str]) -> list[User]:
    """Find people by handle in one query; refuses if one of them is nobody."""
    wanted = {handle.strip().lstrip("@").lower() for handle in handles}
    found = list(User.objects.filter(handle__in=wanted, is_active=True))
    if missing := wanted - {each.handle for each in found}:
        raise PersonUnknown(f"There is no {min(missing)!r}.")
    return found


class Attributes(APIView):
    """What is known of a person."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="set_attributes",
        summary="Set attributes of a person",
        tags=["campaigns"],
        request=AttributesIn,
        responses=answers(
            {204: None}, *WRITES, PersonUnknown(), problems.NameUnknown(), problems.ValueInvalid()
        ),
        examples=[sample("ask", examples.ATTRIBUTES_IN, is_request=True)],
    )
    @idempotent
    def post(self, request: Request, handle: str) -> HttpResponse:
        """Set attributes; null removes one. All of them, or none."""
        values = checked_body(AttributesIn, request)["values"]
        if not isinstance(values, dict) or len(values) > 100:
            raise problems.ValueInvalid("Attributes are an object of at most 100.")
        names.set_attributes(named(handle), values, actor=person(request))
        return Response(status=204)


class Activities(APIView):
    """What people did."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="report_activities",
        summary="Report what people did",
        tags=["campaigns"],
        request=ActivitiesIn,
        responses=answers(
            {200: KeptOut}, *WRITES, PersonUnknown(), AssetUnknown(), problems.NameUnknown(),
            problems.ActivityInvalid(), problems.ActivityKeyReused(),
        ),
        examples=[
            sample("ask", examples.ACTIVITIES_IN, is_request=True),
            sample("kept", {"reported": 2, "repeated": 0}),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Report up to a hundred activities, each once under its key. One with an amount is
        an order, which claims may name. All are kept, or none.
        """
        deeds = checked_body(ActivitiesIn, request)["activities"]
        found = {each.handle: each for each in _people([deed["person"] for deed in deeds])}
        fresh = 0
        for deed in deeds:
            who = found[deed["person"].strip().lstrip("@").lower()]
            _, is_new = names.report(names.Deed(**{**deed, "person": who}), actor=person(request))
            fresh += is_new
        return Response({"reported": fresh, "repeated": len(deeds) - fresh})


class Programs(APIView):
    """Tier programs."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="create_tier_program",
        summary="Set up a tier program",
        tags=["campaigns"],
        request=ProgramIn,
        responses=answers(
            {201: ProgramOut}, *WRITES, problems.ProgramExists(), problems.ProgramInvalid()
        ),
        examples=[
            sample("ask", examples.PROGRAM_IN, is_request=True),
            sample("made", examples.PROGRAM),
        ],
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Set up a program and the asset of its tier points. Its levels stay as they are."""
        made = standings.create_program(**checked_body(ProgramIn, request), actor=person(request))
        return Response(ProgramOut(made).data, status=201)
