"""Handing an export to a browser or a program: one streamed answer, noted in the audit trail."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.http import StreamingHttpResponse

from edge.audit import record
from edge.fields import format_time
from wallet.exports import Export, Scope


def download(
    export: Export, scope: Scope, *, actor: AbstractBaseUser, ip: str | None = None
) -> StreamingHttpResponse:
    """Stream an export as a file, and write down who took it.

    Refusals (`ExportRefused`) come before the first byte. The books go out in constant
    memory, from one snapshot on a connection of its own.
    """
    chunks = export.stream(scope)
    with transaction.atomic():
        record(
            actor=actor,
            action="wallet.export",
            object_type="export",
            object_id=export.name,
            after=_asked(scope),
            ip=ip,
        )
    return StreamingHttpResponse(
        chunks,
        content_type=export.content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{export.filename(scope)}"',
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        },
    )


def _asked(scope: Scope) -> dict[str, object]:
    return {
        "from": format_time(scope.start) if scope.start else None,
        "to": format_time(scope.end),
        "asset_id": scope.asset_id,
        "account_id": scope.account_id,
        "by_account": scope.by_account,
        "by_effective_date": scope.by_effective_date,
    }
