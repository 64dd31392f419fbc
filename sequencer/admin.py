"""Writers and the commands that failed, for operators to look at."""

from __future__ import annotations

from django.contrib import admin

from edge.admin import ReadOnlyAdmin
from sequencer.models import DeadLetter, Shard


@admin.register(Shard)
class ShardAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "state",
        "epoch",
        "heartbeat_at",
        "commands",
        "batches",
        "last_batch_size",
        "last_commit_ms",
        "position",
    )
    ordering = ("id",)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "shard", "kind", "user_id", "command_id")
    list_filter = ("kind", "shard")
    search_fields = ("=command_id", "=user_id")
    fields = (
        "command_id",
        "created_at",
        "sent_at",
        "shard",
        "kind",
        "user_id",
        "key_id",
        "body_text",
        "error",
    )
    ordering = ("-id",)
    show_full_result_count = False

    @admin.display(description="body")
    def body_text(self, letter: DeadLetter) -> str:
        """The body as its bytes are spelt in Python: rooms code their bodies as they like."""
        return repr(bytes(letter.body))
