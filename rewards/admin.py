"""Series, imports and reveals in the admin. No page shows a code, and none could."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.csrf import csrf_exempt
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action

from accounts.models import User
from edge.admin import ReadOnlyAdmin
from edge.problems import Refusal
from edge.reasons import do_with_reason
from rewards import actions, back_office
from rewards.actions import SeriesTerms
from rewards.code_files import TEMPLATE
from rewards.codes import CheckScheme
from rewards.disputes import pages as dispute_pages  # noqa: F401 (registers its own)
from rewards.forms import PROMISED, SAID, SeriesForm, UploadForm
from rewards.importing import CodeFile, Outcome, import_codes
from rewards.models import CodeImport, ImportFault, Reveal, Series
from rewards.reports import Report, counted
from rewards.units import GENERIC
from rewards.uploads import take_uploads_to_disk
from wallet.accounts import ISSUANCE, REDEEMED
from wallet.models import Account

FAULTS_ON_PAGE = 100
__all__ = ["back_office"]


def clerk(request: HttpRequest) -> User:
    """Who is signed in."""
    assert isinstance(request.user, User)
    return request.user


@admin.register(Series)
class SeriesAdmin(ModelAdmin):
    """Set up a series, import its codes, close it; counts come from the ledger."""

    form = SeriesForm
    list_display = (
        "code", "title", "issuer_name", "state", "issued", "revealed", "available", "expires_at",
    )  # fmt: skip
    list_filter = ("state",)
    search_fields = ("asset__code", "title", "issuer_name")
    ordering = ("-id",)
    list_per_page = 50
    readonly_fields = ("state", "issued", "revealed", "available", "created_by", "created_at")
    actions = ("close", "reopen")
    actions_list = ("download_template",)
    actions_detail = ("upload", "bulk", "download_template_here")

    # -- what is shown ---------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Series]:
        series = super().get_queryset(request).select_related("asset", "face_value_asset")
        counted = series.annotate(
            issued=Coalesce(-Subquery(_balance_of(ISSUANCE)), 0),
            revealed=Coalesce(Subquery(_balance_of(REDEEMED)), 0),
        )
        available: QuerySet[Series] = counted.annotate(available=F("issued") - F("revealed"))
        return available

    def get_fields(self, request: HttpRequest, obj: Series | None = None) -> Any:
        return (*SAID, *PROMISED, *self.readonly_fields) if obj else ("code", *SAID, *PROMISED)

    def get_readonly_fields(self, request: HttpRequest, obj: Series | None = None) -> Any:
        return (*PROMISED, *self.readonly_fields) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Series | None = None) -> bool:
        return False

    @admin.display(description="code", ordering="asset__code")
    def code(self, series: Series) -> str:
        return series.code

    @admin.display(description="issued", ordering="issued")
    def issued(self, series: Any) -> int:
        return int(series.issued)

    @admin.display(description="revealed", ordering="revealed")
    def revealed(self, series: Any) -> int:
        return int(series.revealed)

    @admin.display(description="available", ordering="available")
    def available(self, series: Any) -> int:
        return int(series.available)

    # -- what is done ----------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Series, form: Any, change: bool) -> None:
        said = form.cleaned_data
        if change:
            texts = {name: said[name] for name in SAID}
            actions.describe(obj.code, actor=clerk(request), **texts)
            return
        currency = said["face_value_asset"]
        promise = SeriesTerms(
            code=said["code"],
            **{
                name: said[name] for name in (*SAID, "face_value_minor", "valid_from", "expires_at")
            },
            face_value_currency=currency and currency.code,
            check_scheme=CheckScheme(said["check_scheme"]),
        )
        obj.pk = actions.create_series(promise, actor=clerk(request)).pk
        obj.refresh_from_db()

    @admin.action(description="Close to further codes…", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[Series]) -> HttpResponse | None:
        return self._set_closed(request, queryset, is_closed=True)

    @admin.action(description="Open again…", permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Series]) -> HttpResponse | None:
        return self._set_closed(request, queryset, is_closed=False)

    def _set_closed(
        self, request: HttpRequest, queryset: QuerySet[Series], *, is_closed: bool
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            codes = Series.objects.filter(pk__in=ids).values_list("asset__code", flat=True)
            changed = [
                actions.set_closed(code, is_closed, actor=clerk(request), reason=reason)
                for code in codes
            ]
            return f"{sum(changed)} changed, {len(ids) - sum(changed)} already so."

        return do_with_reason(
            self,
            request,
            queryset,
            action="close" if is_closed else "reopen",
            question="Close these series to further codes?" if is_closed else "Open these again?",
            do=do,
        )

    # -- files of codes --------------------------------------------------------------------

    @action(description="Template CSV", url_path="template", permissions=["view"])  # type: ignore[untyped-decorator]
    def download_template(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            TEMPLATE,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="codes.csv"'},
        )

    @action(description="Template CSV", url_path="template-csv", permissions=["view"])  # type: ignore[untyped-decorator]
    def download_template_here(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:rewards_series_download_template"))

    @action(description="Import codes", url_path="upload", permissions=["change"])  # type: ignore[untyped-decorator]
    def upload(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:rewards_series_import", args=[object_id]))

    def get_urls(self) -> list[URLPattern]:
        address = path(
            "<int:series_id>/import/", self._prepare_upload, name="rewards_series_import"
        )
        work = path(
            "<int:series_id>/bulk/",
            self.admin_site.admin_view(self.bulk_page),
            name="rewards_series_bulk",
        )
        return [address, work, *super().get_urls()]

    @action(description="Make or export codes", url_path="bulk-work", permissions=["change"])  # type: ignore[untyped-decorator]
    def bulk(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:rewards_series_bulk", args=[object_id]))

    def bulk_page(self, request: HttpRequest, series_id: int) -> HttpResponse:
        """Ask how many codes to make or take out, and start it as a job."""
        series = get_object_or_404(Series.objects.with_assets(), pk=series_id)
        if not self.has_change_permission(request, series):
            raise PermissionDenied
        form = back_office.BulkForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                started = back_office.start_bulk(request, series, form)
            except Refusal as refusal:
                form.add_error("count", f"{refusal.title}. {refusal.detail}".strip())
            else:
                address = reverse("admin:rewards_bulkjob_change", args=[started.pk])
                return HttpResponseRedirect(address)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Make or export codes of {series.code}",
            "opts": Series._meta,
            "form": form,
        }
        return TemplateResponse(request, "rewards/bulk.html", context)

    @property
    def _prepare_upload(self) -> Any:
        """The upload page: its file goes to disk, so that must be said before CSRF reads it."""
        protected = self.admin_site.admin_view(self.import_page)

        @csrf_exempt  # `admin_view` checks the token itself, after the line below
        def prepared(request: HttpRequest, series_id: int) -> HttpResponse:
            if not self.admin_site.has_permission(request):
                # Before the token is looked for: nobody waits for a stranger's file.
                return redirect_to_login(request.get_full_path(), reverse("admin:login"))
            take_uploads_to_disk(request)
            answer: HttpResponse = protected(request, series_id)
            return answer

        return prepared

    def import_page(self, request: HttpRequest, series_id: int) -> HttpResponse:
        """Ask for a file and show what became of it."""
        series = get_object_or_404(Series.objects.with_assets(), pk=series_id)
        if not self.has_change_permission(request, series):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        outcome = self._import(request, series, form) if form.is_valid() else None
        if outcome and outcome.code_import:
            address = reverse("admin:rewards_codeimport_change", args=[outcome.code_import.pk])
            return HttpResponseRedirect(address)
        return self._upload_page(request, series, form, outcome.report if outcome else None)

    def _import(self, request: HttpRequest, series: Series, form: UploadForm) -> Outcome | None:
        said = form.cleaned_data
        try:
            outcome = import_codes(
                series_code=series.code,
                file=CodeFile.offered(said["file"].file, said["file"].name),
                actor=clerk(request),
                owner=said["owner"],
                is_dry_run=said["is_dry_run"],
            )
        except Refusal as refusal:
            form.add_error("file", f"{refusal.title}. {refusal.detail}".strip())
            return None
        tell = messages.success if outcome.is_clean else messages.error
        tell(request, summary_of(outcome))
        return outcome

    def _upload_page(
        self, request: HttpRequest, series: Series, form: UploadForm, report: Report | None
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Import codes into {series.code}",
            "opts": Series._meta,
            "form": form,
            "report": report and report_table(report),
        }
        return TemplateResponse(request, "rewards/upload_codes.html", context)


def _balance_of(kind: str) -> QuerySet[Account, Any]:
    accounts = Account.objects.filter(asset=OuterRef("asset"), owner=None, kind=kind)
    units_only = accounts.exclude(label=GENERIC).order_by().values("asset")
    return units_only.annotate(sum=Sum("balance")).values("sum")


def summary_of(outcome: Outcome) -> str:
    """Say in one line what became of a file."""
    report = outcome.report
    faults = counted(report.fault_count, "fault")
    found = f"{faults} and {counted(report.warning_count, 'warning')}"
    rows = counted(report.row_count, "row")
    if outcome.code_import is None:
        return f"Checked {rows}: {found}. Nothing was imported."
    if outcome.is_clean:
        return f"Imported {counted(report.row_count, 'code')}, with as many units."
    return f"Refused: {found} in {rows}. Nothing was imported."


def report_table(report: Report) -> dict[str, list[Any]]:
    """Lay out the first faults for unfold's table."""
    return {
        "headers": ["Line", "Column", "", "What is wrong"],
        "rows": [
            [fault.line or "file", fault.column, "warning" if fault.is_warning else "fault",
             fault.message]
            for fault in report.faults[:FAULTS_ON_PAGE]
        ],
    }  # fmt: skip


class FaultInline(TabularInline):
    """The report of an import, by line."""

    model = ImportFault
    fields = ("line", "column", "message", "is_warning")
    readonly_fields = fields
    ordering = ("pk",)
    per_page = FAULTS_ON_PAGE
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="warning", boolean=True)
    def is_warning(self, fault: ImportFault) -> bool:
        return fault.is_warning


@admin.register(CodeImport)
class CodeImportAdmin(ReadOnlyAdmin):
    """Files of codes: taken in, refused with their report, or withdrawn."""

    list_display = (
        "id", "series", "file_name", "state", "row_count", "code_count", "fault_count",
        "warning_count", "owner", "created_by", "created_at",
    )  # fmt: skip
    list_filter = ("state",)
    list_select_related = ("series", "owner", "created_by")
    search_fields = ("=id", "series__asset__code", "file_name")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    exclude = ("sha256", "first_code_id", "last_code_id")
    inlines = (FaultInline,)
    actions = ("withdraw",)

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        return clerk(request).has_perm("rewards.change_codeimport")

    @admin.action(description="Withdraw codes nobody has revealed…", permissions=["withdraw"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[CodeImport]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            counts = [actions.withdraw(id, actor=clerk(request), reason=reason) for id in ids]
            return f"{sum(counts)} codes withdrawn."

        return do_with_reason(
            self,
            request,
            queryset,
            action="withdraw",
            question="Withdraw the codes of these imports that nobody has revealed?",
            do=do,
        )


@admin.register(Reveal)
class RevealAdmin(ReadOnlyAdmin):
    """Who revealed a code of which series, when, and by which transfer."""

    list_display = ("id", "at", "owner", "series", "code_id", "transfer_id")
    search_fields = ("=id", "=owner__handle", "=code__series__asset__code", "=transfer_id")
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    fields = ("id", "at", "owner", "series", "code_id", "transfer_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reveal]:
        reveals: QuerySet[Reveal] = super().get_queryset(request)
        return reveals.select_related("owner", "code__series__asset").defer("code__sealed")

    @admin.display(description="series")
    def series(self, reveal: Reveal) -> str:
        return reveal.code.series.code
