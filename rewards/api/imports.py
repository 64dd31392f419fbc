"""Files of codes over HTTP, for marketing."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.answers import problem_response
from edge.fields import checked_body
from edge.idempotency import idempotent
from edge.problems import Refusal
from rewards import importing
from rewards.actions import ImportUnknown
from rewards.api.bulk import BulkJobOut, accepted
from rewards.api.permissions import MarketingOnly, person
from rewards.api.serializers import CheckOut, FaultOut, ImportIn, ImportOut, faults_out
from rewards.api.series import named_person
from rewards.bulk.files import import_in_steps
from rewards.importing import CodeFile, Outcome, import_codes
from rewards.models import CodeImport, ImportFault
from rewards.parquet_files import ParquetUnreadable
from rewards.reports import counted
from rewards.uploads import take_uploads_to_disk
from wallet.api.schema import WRITES, answers, sample
from wallet.people import PersonUnknown

AN_IMPORT = {
    "id": "7", "series": "STADIUM-DRINK", "state": "imported", "file_name": "stadium-drink.csv",
    "size_bytes": 8015, "row_count": 400, "code_count": 400, "fault_count": 0,
    "warning_count": 1, "counts": {"code_looks_like": 1}, "stopped_at_line": None,
    "owner": "ada", "transfer_id": "981234567890123",
    "created_at": "2026-01-31T12:00:00.000064Z",
}  # fmt: skip
A_FAULT = {
    "line": 17, "column": "expires_at", "code": "expiry_past",
    "message": "The code has expired already.", "is_warning": False,
}  # fmt: skip


LARGEST_AT_ONCE = 1_000_000
"""Bytes of a file that is read while its sender waits."""


class FileRefused(Refusal):
    """The file has faults, so none of its codes was taken."""

    code = "file_refused"
    title = "The file has faults; nothing was imported"
    status = 422


REFUSED_FILE = FileRefused(
    "1 fault in 400 rows.", import_id="7", counts={"expiry_past": 1}, faults=[A_FAULT]
)
REFUSALS = (
    importing.SeriesUnknown(),
    importing.SeriesClosed(),
    importing.SeriesExpired(),
    importing.ImportInProgress(),
    Refusal(
        code=importing.AlreadyImported.code,
        title=importing.AlreadyImported.title,
        status=importing.AlreadyImported.status,
        import_id="7",
    ),
    PersonUnknown(),
    ParquetUnreadable("Its columns are code and expires_at, of plain values."),
)


class Imports(ListAPIView[CodeImport]):
    """Files offered to a series."""

    permission_classes = (MarketingOnly,)
    parser_classes = (MultiPartParser,)
    serializer_class = ImportOut

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        take_uploads_to_disk(request)
        return super().initialize_request(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[CodeImport]:
        return all_imports().filter(series__asset__code=self.kwargs["series_code"])

    @extend_schema(
        operation_id="list_imports",
        summary="List the imports of a series",
        tags=["vouchers"],
        responses=answers({200: ImportOut(many=True)}),
        examples=[sample("an import", AN_IMPORT)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the files offered, newest first, those refused too."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="import_codes",
        summary="Import a file of codes",
        tags=["vouchers"],
        request={"multipart/form-data": ImportIn},
        responses=answers(
            {201: ImportOut, 200: CheckOut, 202: BulkJobOut}, *WRITES, REFUSED_FILE, *REFUSALS
        ),
        examples=[sample("taken in", AN_IMPORT)],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> HttpResponse:
        """Take in a CSV or Parquet file, at most 50 MB, whole or not at all, and issue its units.

        A file over a megabyte (or `background`) becomes a job: 202, with its address.
        A dry run answers 200 with its report and stores nothing. A file with faults answers
        422 `file_refused` with the first hundred of them; the import keeps a thousand.
        """
        body = checked_body(ImportIn, request)
        upload = body["file"]
        file = CodeFile.offered(upload.file, upload.name)
        owner = named_person(body["owner"]) if "owner" in body else None
        is_large = body.get("background") or file.size_bytes > LARGEST_AT_ONCE
        if is_large and not body["dry_run"]:
            return accepted(
                import_in_steps(
                    series_code=series_code, file=file, actor=person(request), owner=owner
                )
            )
        outcome = import_codes(
            series_code=series_code,
            file=file,
            actor=person(request),
            owner=owner,
            is_dry_run=body["dry_run"],
        )
        return answer_outcome(outcome)


def answer_outcome(outcome: Outcome) -> HttpResponse:
    """Answer with what became of a file. A refusal is returned, so that its report is kept."""
    if outcome.code_import is None:
        return Response(CheckOut(outcome.report).data)
    if outcome.is_clean:
        return Response(ImportOut(outcome.code_import).data, status=201)
    report = outcome.report
    return problem_response(
        FileRefused(
            f"{counted(report.fault_count, 'fault')} in {counted(report.row_count, 'row')}.",
            import_id=str(outcome.code_import.pk),
            counts=dict(report.counts),
            stopped_at_line=report.stopped_at_line,
            faults=faults_out(report.faults),
        )
    )


class OneImport(APIView):
    """One file that was offered."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="get_import",
        summary="Read an import",
        tags=["vouchers"],
        responses=answers({200: ImportOut}, ImportUnknown()),
        examples=[sample("an import", AN_IMPORT)],
    )
    def get(self, request: Request, import_id: int) -> Response:
        """Read what became of a file."""
        found = all_imports().filter(pk=import_id).first()
        if found is None:
            raise ImportUnknown
        return Response(ImportOut(found).data)


class ImportFaults(ListAPIView[ImportFault]):
    """The report of one file."""

    permission_classes = (MarketingOnly,)
    serializer_class = FaultOut
    page_key = ("id",)

    def get_queryset(self) -> QuerySet[ImportFault]:
        return ImportFault.objects.filter(code_import_id=self.kwargs["import_id"])

    @extend_schema(
        operation_id="list_import_faults",
        summary="List the faults of an import",
        tags=["vouchers"],
        responses=answers({200: FaultOut(many=True)}),
        examples=[sample("a fault", A_FAULT)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the first thousand faults and the first thousand warnings by line."""
        return super().get(request, *args, **kwargs)


def all_imports() -> QuerySet[CodeImport]:
    return CodeImport.objects.select_related("series__asset", "owner")
