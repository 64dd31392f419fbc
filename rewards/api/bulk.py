"""Work on many codes over HTTP: started, watched, paused, resumed; and the files it makes."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.callers import client_ip
from edge.fields import AssetCode, Id, StrictSerializer, UtcDateTime, checked_body
from edge.idempotency import idempotent
from jobs.problems import NotPossible
from rewards.actions import ImportUnknown
from rewards.api.permissions import MarketingOnly, person
from rewards.api.redemption_serializers import VoucherReasonIn
from rewards.api.series import named_person
from rewards.bulk import actions, assigning, changing, exporting, generating
from rewards.importing import SeriesClosed, SeriesUnknown
from rewards.models import BulkJob
from wallet.api.schema import WRITES, answers, sample
from wallet.people import PersonUnknown

A_JOB = {
    "id": "7", "kind": "generate", "series": "TENOFF", "state": "running", "done": 150_000,
    "total": 1_000_000, "report": {}, "created_at": "2026-06-01T12:00:00.000000Z",
    "ended_at": None,
}  # fmt: skip
BUSY = (SeriesUnknown(), actions.TooManyJobs())


class BulkJobOut(serializers.Serializer[BulkJob]):
    """Work on many codes: how far it is, and what came of it."""

    id = Id(source="pk")
    kind = serializers.ChoiceField(BulkJob.Kind.choices)
    series = AssetCode(source="series.code")
    state = serializers.SerializerMethodField()
    done = serializers.IntegerField(help_text="Codes, people, or bytes of a file.")
    total = serializers.IntegerField(allow_null=True)
    report = serializers.SerializerMethodField()
    created_at = UtcDateTime()
    ended_at = UtcDateTime(allow_null=True)

    @extend_schema_field(
        serializers.ChoiceField(
            ["queued", "running", "paused", "stranded", "dead", "done", "refused", "cancelled"]
        )
    )
    def get_state(self, bulk: BulkJob) -> str:
        return actions.state_of(bulk)

    @extend_schema_field(serializers.DictField())
    def get_report(self, bulk: BulkJob) -> Any:
        hidden = {"place", "dialect", "kept", "after"}
        return {name: value for name, value in bulk.report.items() if name not in hidden}


class GenerateIn(StrictSerializer):
    """How many codes to make, and for whom the units are."""

    count = serializers.IntegerField(min_value=1, max_value=generating.MOST_CODES)
    owner = serializers.CharField(
        max_length=31, required=False, help_text="A handle; without it the treasury gets them."
    )
    expires_at = UtcDateTime(required=False)


class ExportIn(StrictSerializer):
    """How many codes to take out in a file."""

    count = serializers.IntegerField(min_value=1, max_value=exporting.MOST_CODES)


class AssignIn(StrictSerializer):
    """Who gets units, and how many each."""

    people = serializers.ListField(
        child=serializers.CharField(max_length=31), min_length=1, max_length=assigning.MOST_PEOPLE
    )
    each = serializers.IntegerField(min_value=1, max_value=assigning.MOST_EACH, default=1)


class ExtendIn(VoucherReasonIn):
    """Until when codes can be used now."""

    expires_at = UtcDateTime()
    import_id = Id(required=False)


class DeactivateIn(VoucherReasonIn):
    """Which codes are taken out of use."""

    import_id = Id(required=False)
    export_id = Id(required=False)


def accepted(bulk: BulkJob) -> HttpResponse:
    """Answer that work has been started, and where to watch it."""
    where = reverse("bulk-job", args=[bulk.pk])
    return Response(BulkJobOut(bulk).data, status=202, headers={"Location": where})


class Generations(APIView):
    """New codes."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="generate_codes",
        summary="Generate codes",
        tags=["vouchers"],
        request=GenerateIn,
        responses=answers(
            {202: BulkJobOut},
            *WRITES,
            *BUSY,
            SeriesClosed(),
            generating.PatternMissing(),
            generating.PatternTooSmall(space=10**6, codes=100),
            generating.ExpiryPast(),
            PersonUnknown(),
        ),
        examples=[sample("ask", {"count": 1_000_000}, is_request=True), sample("started", A_JOB)],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> HttpResponse:
        """Make codes by the series' pattern, and as many units, as a job."""
        body = checked_body(GenerateIn, request)
        return accepted(
            generating.generate(
                series_code,
                body["count"],
                actor=person(request),
                owner=named_person(body["owner"]) if "owner" in body else None,
                expires_at=body.get("expires_at"),
            )
        )


class Exports(APIView):
    """Codes that go out in a file."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="export_codes",
        summary="Export codes",
        tags=["vouchers"],
        request=ExportIn,
        responses=answers({202: BulkJobOut}, *WRITES, *BUSY),
        examples=[sample("ask", {"count": 5_000}, is_request=True), sample("started", A_JOB)],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> HttpResponse:
        """Take codes out of the treasury for a file, as a job; its units are burnt."""
        body = checked_body(ExportIn, request)
        return accepted(exporting.export(series_code, body["count"], actor=person(request)))


class Assignments(APIView):
    """Units for many people."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="assign_units",
        summary="Give units to many people",
        tags=["vouchers"],
        request=AssignIn,
        responses=answers({202: BulkJobOut}, *WRITES, *BUSY),
        examples=[sample("ask", {"people": ["ada", "ben"], "each": 1}, is_request=True)],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> HttpResponse:
        """Give each of these people units from the treasury, as a job."""
        body = checked_body(AssignIn, request)
        return accepted(
            assigning.assign(series_code, body["people"], body["each"], actor=person(request))
        )


class Extensions(APIView):
    """Codes that can be used for longer."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="extend_codes",
        summary="Extend codes",
        tags=["vouchers"],
        request=ExtendIn,
        responses=answers(
            {202: BulkJobOut}, *WRITES, *BUSY, generating.ExpiryPast(), ImportUnknown()
        ),
        examples=[
            sample("ask", {"expires_at": "2037-06-30T00:00:00Z", "reason": "the match was moved"},
                   is_request=True)
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, series_code: str) -> HttpResponse:
        """Let the codes of a series, or of one import, be used for longer, as a job."""
        body = checked_body(ExtendIn, request)
        return accepted(
            changing.extend(
                series_code,
                body["expires_at"],
                actor=person(request),
                reason=body["reason"],
                import_id=body.get("import_id"),
            )
        )


class Deactivations(APIView):
    """Codes that are taken out of use."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="deactivate_codes",
        summary="Take codes out of use",
        tags=["vouchers"],
        request=DeactivateIn,
        responses=answers(
            {202: BulkJobOut},
            *WRITES,
            *BUSY,
            changing.NothingChosen(),
            changing.ExportUnknown(),
            ImportUnknown(),
        ),
        examples=[
            sample("ask", {"export_id": "7", "reason": "the letters were lost"}, is_request=True)
        ],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> HttpResponse:
        """Take codes that went out, of one import or export, out of use, as a job."""
        body = checked_body(DeactivateIn, request)
        return accepted(
            changing.deactivate(
                series_code,
                actor=person(request),
                reason=body["reason"],
                import_id=body.get("import_id"),
                export_id=body.get("export_id"),
            )
        )


class BulkJobs(ListAPIView[BulkJob]):
    """Work on one series."""

    permission_classes = (MarketingOnly,)
    serializer_class = BulkJobOut

    def get_queryset(self) -> QuerySet[BulkJob]:
        return _all().filter(series__asset__code=self.kwargs["series_code"])

    @extend_schema(
        operation_id="list_bulk_jobs",
        summary="List the work on a series",
        tags=["vouchers"],
        responses=answers({200: BulkJobOut(many=True)}),
        examples=[sample("a job", A_JOB)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what was started, newest first."""
        return super().get(request, *args, **kwargs)


class OneBulkJob(APIView):
    """One piece of work."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="get_bulk_job",
        summary="See how far work is",
        tags=["vouchers"],
        responses=answers({200: BulkJobOut}, actions.BulkJobUnknown()),
        examples=[sample("a job", A_JOB)],
    )
    def get(self, request: Request, bulk_job_id: int) -> Response:
        """See how far it is, or what came of it."""
        return Response(BulkJobOut(one(bulk_job_id)).data)


class ControlBulkJob(APIView):
    """Work that is paused, let go on, tried again or given up."""

    permission_classes = (MarketingOnly,)
    DEEDS = {
        "pause": actions.pause,
        "resume": actions.resume,
        "retry": actions.retry,
        "cancel": actions.cancel,
    }

    @extend_schema(
        operation_id="control_bulk_job",
        summary="Pause, resume, retry or cancel work",
        tags=["vouchers"],
        request=VoucherReasonIn,
        responses=answers(
            {200: BulkJobOut}, actions.BulkJobUnknown(), actions.BulkJobEnded(), NotPossible()
        ),
        examples=[sample("ask", {"reason": "the shop opens"}, is_request=True)],
    )
    def post(self, request: Request, bulk_job_id: int, deed: str) -> Response:
        """Pause after the step at work, go on after the last, try again, or give up."""
        body = checked_body(VoucherReasonIn, request)
        self.DEEDS[deed](bulk_job_id, actor=person(request), reason=body["reason"])
        return Response(BulkJobOut(one(bulk_job_id)).data)


class ExportFile(APIView):
    """The codes of an export, in the clear."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="download_codes",
        summary="Download exported codes",
        tags=["vouchers"],
        responses=answers(
            {(200, "text/csv"): OpenApiTypes.BINARY},
            actions.BulkJobUnknown(),
            exporting.ExportNotReady(),
            exporting.FormatUnknown(),
        ),
    )
    def get(self, request: Request, bulk_job_id: int, form: str) -> StreamingHttpResponse:
        """Read the codes as CSV or Parquet. Each download is written down."""
        bulk = one(bulk_job_id)
        chunks = exporting.stream(bulk, form, actor=person(request), ip=client_ip(request))
        kind = "text/csv; charset=utf-8" if form == "csv" else "application/vnd.apache.parquet"
        name = f"{bulk.series.code}-{bulk.pk}.{form}"
        return StreamingHttpResponse(
            chunks,
            content_type=kind,
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )


def _all() -> QuerySet[BulkJob]:
    return BulkJob.objects.select_related("series__asset")


def one(bulk_job_id: int) -> BulkJob:
    """Find a piece of work, or refuse."""
    found = _all().filter(pk=bulk_job_id).first()
    if found is None:
        raise actions.BulkJobUnknown
    return found
