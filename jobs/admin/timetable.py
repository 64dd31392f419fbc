"""The timetable in the admin: which job is made when. What beat could not enqueue is refused."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget

from edge.problems import Refusal
from jobs.actions import enqueue
from jobs.problems import BadArguments
from jobs.registry import declarations, find

admin.site.unregister(PeriodicTask)


class EntryForm(forms.ModelForm):  # type: ignore[type-arg]
    """An entry: a job, its arguments, and when it is made."""

    task = forms.ChoiceField(label="Job", widget=UnfoldAdminSelectWidget)

    class Meta:
        model = PeriodicTask
        fields = ("name", "task", "kwargs", "enabled", "description", "interval", "crontab",
                  "start_time", "one_off")  # fmt: skip
        labels = {"kwargs": "Arguments", "one_off": "Only once"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = sorted(declarations())
        if self.instance.task and self.instance.task not in names:
            names.insert(0, self.instance.task)
        self.fields["task"].choices = [("", "Choose a job"), *((n, n) for n in names)]  # type: ignore[attr-defined]
        self.fields["kwargs"].help_text = "The job's arguments, as JSON."

    def clean(self) -> dict[str, Any]:
        """Refuse a job that nobody declares, and arguments that it does not take."""
        cleaned = super().clean() or {}
        name = cleaned.get("task")
        if name and "kwargs" in cleaned:
            if name not in declarations():
                self.add_error("task", "No app declares a job of this name.")
            elif why := _mismatch(name, cleaned["kwargs"]):
                self.add_error("kwargs", why)
        return cleaned


def _mismatch(name: str, text: str) -> str:
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        return f"This is no JSON: {error}"
    if not isinstance(arguments, dict):
        return "Arguments have names: write an object, as in {}."
    return find(name).mismatch(arguments)


@admin.register(PeriodicTask)
class TimetableAdmin(ModelAdmin):
    form = EntryForm
    list_display = ("name", "task", "when", "enabled", "last_run_at")
    list_filter = ("enabled",)
    search_fields = ("name", "task")
    ordering = ("name",)
    list_select_related = ("interval", "crontab", "solar", "clocked")
    actions = ("make_now", "enable", "disable")

    @admin.display(description="when")
    def when(self, entry: PeriodicTask) -> str:
        return str(entry.scheduler)

    @admin.action(description="Make the job now", permissions=["change"])
    def make_now(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        """As if the entry were due; nothing while the job of the last tick has not ended."""
        for entry in queryset:
            try:
                with transaction.atomic():
                    number = enqueue(
                        entry.task, json.loads(entry.kwargs), unique=f"beat:{entry.name}"[:200]
                    )
                messages.success(request, f"{entry.name}: job {number}.")
            except (Refusal, BadArguments, LookupError, ValueError) as error:
                messages.error(request, f"{entry.name}: {error}")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, is_on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, is_on=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[PeriodicTask], *, is_on: bool
    ) -> None:
        changed = queryset.update(enabled=is_on)
        PeriodicTasks.update_changed()
        messages.success(request, f"{changed} {'enabled' if is_on else 'disabled'}.")
