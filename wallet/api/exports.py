"""Finance's files over HTTP, streamed: memory stays flat however long the books are."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.callers import client_ip
from edge.fields import checked_query
from wallet.api.answers import person
from wallet.api.permissions import MAY_READ_BOOKS
from wallet.api.schema import NOT_FOUND, answers, sample
from wallet.api.serializers import ExportOut, ExportQuery
from wallet.downloads import download
from wallet.exports import EXPORTS, ExportRefused, Scope
from wallet.models import Asset

FILES = {
    (200, export.content_type.split(";")[0]): OpenApiTypes.BINARY for export in EXPORTS.values()
}


class AnyAccepted(DefaultContentNegotiation):
    """A file is of its own type, whatever the caller says it accepts; problems stay JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class ExportList(APIView):
    """The files that finance can take away."""

    permission_classes = (MAY_READ_BOOKS,)

    @extend_schema(
        operation_id="list_exports",
        summary="List the exports",
        tags=["finance"],
        responses=answers({200: ExportOut(many=True)}),
        examples=[
            sample("an export", {"name": "journal", "title": "journal", "content_type": "text/csv"})
        ],
    )
    def get(self, request: Request) -> Response:
        """Name every export and its type. There are few, so there are no pages."""
        return Response(ExportOut(EXPORTS.values(), many=True).data)


class OneExport(APIView):
    """One export, as a file."""

    permission_classes = (MAY_READ_BOOKS,)
    content_negotiation_class = AnyAccepted

    @extend_schema(
        operation_id="download_export",
        summary="Download an export",
        tags=["finance"],
        parameters=[ExportQuery],
        responses=answers(FILES, NOT_FOUND, ExportRefused(code="export_period_empty")),
    )
    def get(self, request: Request, name: str) -> StreamingHttpResponse:
        """Stream the file. A report as of a moment takes that moment as `to`."""
        export = EXPORTS.get(name)
        if export is None:
            raise NotFound
        scope = read_scope(request)
        return download(export, scope, actor=person(request), ip=client_ip(request))


def read_scope(request: Request) -> Scope:
    """Read from the query which slice of the ledger is wanted."""
    query = checked_query(ExportQuery, request)
    asset = None
    if "asset" in query:
        asset = Asset.objects.filter(code=query["asset"]).first()
        if asset is None:
            raise ExportRefused("There is no such asset.", code="asset_unknown")
    return Scope(
        start=query.get("since"),
        end=query.get("to") or timezone.now(),
        asset_id=asset.pk if asset else None,
        account_id=query.get("account"),
        by_account=query.get("by_account", False),
        by_effective_date=query.get("effective", False),
    )
