"""Jobs in the admin: queues, what runs, what died of what; retry, discard, pause, cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from edge.reasons import do_with_reason
from jobs import control
from jobs.health import report
from jobs.models import Job
from jobs.pace import progress_of
from jobs.registry import declarations
from jobs.rules import QUEUES, Reason

Deed = Callable[..., int]
COLOURS = {
    "queued": "info",
    "running": "info",
    "paused": "warning",
    "stranded": "warning",
    "done": "success",
    "dead": "danger",
    "cancelled": "default",
}


class Choosing(admin.SimpleListFilter):
    """Jobs by one column, whose values are known: looking for them would read every day."""

    parameter_name: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in self.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset

    def values(self) -> Iterable[str]:
        raise NotImplementedError


class OfQueue(Choosing):
    title = parameter_name = "queue"

    def values(self) -> Iterable[str]:
        return QUEUES


class OfReason(Choosing):
    title = parameter_name = "reason"

    def values(self) -> Iterable[str]:
        return filter(None, Reason)


class OfName(Choosing):
    title = parameter_name = "name"

    def values(self) -> Iterable[str]:
        return sorted(declarations())


def _clock(moment: datetime) -> SafeString:
    """The time of day, with the day if it is not today's."""
    moment = timezone.localtime(moment)
    is_today = moment.date() == timezone.localdate()
    text = f"{moment:%H:%M:%S}" if is_today else f"{moment:%Y-%m-%d %H:%M}"
    return format_html('<span class="whitespace-nowrap">{}</span>', text)


@admin.register(Job)
class JobAdmin(ModelAdmin):
    list_display = ("id", "name", "shown_state", "error_line", "moment", "progress_bar", "attempts")
    list_filter = ("state", OfQueue, OfReason, OfName)
    search_fields = ("=id", "=name", "=unique_key")
    ordering = ("-id",)
    # Days of jobs are millions of rows: nobody waits for their number.
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    sortable_by = ("id",)
    list_before_template = "jobs/admin/queues.html"
    actions = ("retry", "discard", "pause", "resume", "cancel")
    fieldsets = (
        (None, {"fields": ("id", "name", "arguments", "queue", "state", "progress_bar")}),
        ("What went wrong", {"fields": ("reason", "traceback", "attempt", "most_attempts")}),
        ("Times", {"fields": ("created_at", "due_at", "rung_at", "began_at", "started_at",
                              "ended_at")}),
        ("Who holds it", {"fields": ("worker", "lease_until", "session", "fence", "wish",
                                     "unique_key")}),
        ("How far it came", {"fields": ("point", "progress", "done", "total")}),
        ("Its limits", {"fields": ("version", "time_limit_s", "backoff_s")}),
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """People change jobs by the deeds below, never by hand."""
        return [*(field.name for field in Job._meta.fields), "created_at", "progress_bar",
                "traceback"]  # fmt: skip

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer no Save: there is nothing to save."""
        nothing = {"show_save": False, "show_save_and_continue": False}
        page: HttpResponse = super().render_change_form(request, context | nothing, *args, **kwargs)
        return page

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "report": report()}
        page: HttpResponse = super().changelist_view(request, context)
        return page

    # -- columns ---------------------------------------------------------------------------

    @display(description="state", ordering="state", label=COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, job: Job) -> str:
        return str(job.get_state_display())

    @admin.display(description="tries")
    def attempts(self, job: Job) -> str:
        return f"{job.attempt}/{job.most_attempts}"

    @admin.display(description="progress")
    def progress_bar(self, job: Job) -> str | SafeString:
        words = progress_of(job)
        if not job.total:
            return words
        return format_html(
            '<progress value="{}" max="{}"></progress> {}', job.done, job.total, words
        )

    @admin.display(description="when and where")
    def moment(self, job: Job) -> str | SafeString:
        """The moment that matters: its lease while it runs, its end, or when it is due."""
        if job.lease_until:
            return format_html("lease until {}<br>{}", _clock(job.lease_until), job.worker)
        if job.ended_at:
            return format_html("ended {}", _clock(job.ended_at))
        return format_html("due {}", _clock(job.due_at))

    @admin.display(description="error")
    def error_line(self, job: Job) -> str | SafeString:
        line = job.error.strip().rpartition("\n")[2][:120]
        return format_html("{}<br>{}", job.reason, line) if job.reason else line

    @admin.display(description="error")
    def traceback(self, job: Job) -> str | SafeString:
        if not job.error:
            return "-"
        return format_html('<pre class="overflow-x-auto whitespace-pre">{}</pre>', job.error)

    # -- deeds -----------------------------------------------------------------------------

    @admin.action(description="Try again", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        return self._do(request, queryset, "retry", "Try these jobs again", control.retry)

    @admin.action(description="Discard", permissions=["change"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        return self._do(request, queryset, "discard", "Discard these dead jobs", control.discard)

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        return self._do(request, queryset, "pause", "Pause these jobs", control.pause)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        return self._do(request, queryset, "resume", "Let these jobs go on", control.resume)

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        return self._do(request, queryset, "cancel", "Give these jobs up", control.cancel)

    def _do(
        self, request: HttpRequest, chosen: QuerySet[Job], action: str, question: str, deed: Deed
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            return f"Done for {deed(ids, actor=request.user, reason=reason)} of {len(ids)} jobs."

        return do_with_reason(self, request, chosen, action=action, question=question, do=do)
