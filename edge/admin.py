"""The audit trail in the admin: searched and read, never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from edge.models import AuditEvent


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows; adds, changes and deletes none."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "action", "object_type", "object_id", "reason")
    list_filter = ("action", "object_type", "at")
    search_fields = ("=object_id", "=actor_name", "reason")
    date_hierarchy = "at"
    ordering = ("-id",)
    show_full_result_count = False
    list_per_page = 50
