"""Takes an uploaded file to disk as it arrives, and refuses one that is too large at once."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest

LARGEST_FILE = 50_000_000
FORM_AROUND_FILE = 64_000
"""Bytes that a form may take beside its file."""


class CodeUploadHandler(TemporaryFileUploadHandler):
    """Writes the upload to a temporary file of ours alone, gone when the request is done."""

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803  # Django's name
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        """Refuse by the declared length, before the first byte is read. Nothing beyond it is."""
        if content_length > LARGEST_FILE + FORM_AROUND_FILE:
            raise RequestDataTooBig(f"A file of codes has at most {LARGEST_FILE:,} bytes.")


def take_uploads_to_disk(request: HttpRequest) -> None:
    """Prepare a request that carries a file of codes; call it before its form is read."""
    request.upload_handlers = [CodeUploadHandler(request)]
