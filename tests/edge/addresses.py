"""A small API that only the tests of the edge serve."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from config.urls import handler400, handler403, handler404, handler500  # noqa: F401
from edge.audit import record
from edge.fields import (
    Amount,
    AssetCode,
    Id,
    StrictSerializer,
    UtcDateTime,
    checked_body,
    checked_query,
)
from edge.idempotency import idempotent
from edge.models import AuditEvent
from edge.problems import Refusal, Unavailable


class Caller(AnonymousUser):
    """Whoever the header X-Caller says."""

    is_authenticated = True  # type: ignore[assignment]

    def __init__(self, pk: int) -> None:
        self.pk = pk  # type: ignore[assignment]


class ByHeader(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, None]:
        return Caller(int(request.headers.get("X-Caller", "1"))), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class Leg(StrictSerializer):
    amount = Amount()
    asset = AssetCode()
    to = Id()


class Payment(StrictSerializer):
    legs = Leg(many=True)
    at = UtcDateTime(required=False)
    note = serializers.CharField(max_length=20, required=False)


class Filter(StrictSerializer):
    since = UtcDateTime(required=False)
    size = serializers.IntegerField(required=False, max_value=10)


class View(APIView):
    authentication_classes: Any = (ByHeader,)
    throttle_classes: Any = ()


class Payments(View):
    def post(self, request: Request) -> Response:
        return Response(checked_body(Payment, request))

    def get(self, request: Request) -> Response:
        return Response(checked_query(Filter, request))


class TooPoor(Refusal):
    code = "too_poor"
    title = "There is not enough money"


gate = threading.Event()
entered = threading.Semaphore(0)


class Deeds(View):
    """Leaves one audit row, then ends as the body's `end` says."""

    @idempotent
    def post(self, request: Request) -> Response:
        with transaction.atomic():
            row = record(actor=None, action="deed", object_type="deed", object_id=1)
        end = request.data.get("end") if isinstance(request.data, dict) else ""
        if end == "refuse":
            raise TooPoor("You have 3.", available=3)
        if end == "overload":
            raise Unavailable("Later.")
        if end == "invalid":
            raise serializers.ValidationError({"end": ["no"]})
        if end == "bug":
            raise ZeroDivisionError
        if end == "wait":
            entered.release()
            assert gate.wait(10)
        return Response({"deed": str(row.pk)}, status=201)


class Broken(View):
    """Fails as the address says."""

    def get(self, request: Request, how: str) -> Response:
        statements = {
            "overflow": "SELECT 99999999999::int",
            "timeout": "SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(5)",
        }
        if how == "gone":
            connection.ensure_connection()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        if how == "nul":
            AuditEvent.objects.filter(action=request.query_params["q"]).exists()
        if how == "bug":
            raise ZeroDivisionError
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statements[how])
        return Response({})


class Once(SimpleRateThrottle):
    rate = "1/hour"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return f"edge-once-{request.headers.get('X-Caller')}"


class Throttled(View):
    throttle_classes = (Once,)

    def get(self, request: Request) -> Response:
        return Response({})


class Closed(View):
    authentication_classes = ()

    def get(self, request: Request) -> Response:
        return Response({})


class ClosedBearer(View):
    class Nobody(ByHeader):
        def authenticate(self, request: Request) -> None:  # type: ignore[override]
            return None

    authentication_classes = (Nobody,)

    def get(self, request: Request) -> Response:
        return Response({})


class EventOut(serializers.Serializer[AuditEvent]):
    id = Id()
    action = serializers.CharField()


class Events(View, ListAPIView[AuditEvent]):
    serializer_class = EventOut

    def get_queryset(self) -> Any:
        return AuditEvent.objects.all()


class EventsByAction(Events):
    page_key = ("action", "id")


class Thing(View):
    def get(self, request: Request, thing_id: int) -> Response:
        return Response({"id": str(thing_id)})


def page_with_a_database_error(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    return HttpResponse("never")


urlpatterns = [
    path("api/payments", Payments.as_view()),
    path("api/deeds", Deeds.as_view()),
    path("api/other-deeds", Deeds.as_view()),
    path("api/broken/<str:how>", Broken.as_view()),
    path("api/throttled", Throttled.as_view()),
    path("api/closed", Closed.as_view()),
    path("api/closed-bearer", ClosedBearer.as_view()),
    path("api/events", Events.as_view()),
    path("api/events-by-action", EventsByAction.as_view()),
    path("api/things/<id:thing_id>", Thing.as_view()),
    path("page", page_with_a_database_error),
]
