"""Writers and the commands that failed, to look at; waiting rooms, to run."""

from __future__ import annotations

from typing import Any

import redis
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin

from edge.admin import ReadOnlyAdmin
from edge.problems import Refusal
from edge.reasons import ReasonForm, do_with_reason
from sequencer.models import DeadLetter, Shard, WaitingRoom
from sequencer.stream import stream_key
from sequencer.waiting_room.actions import TERMS, change_room, check_terms, close_room, open_room
from sequencer.waiting_room.live import people

TIMEOUTS: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}


@admin.register(Shard)
class ShardAdmin(ReadOnlyAdmin):
    """Each line of commands and its writer, as they stand now: reload for newer figures."""

    list_display = (
        "id", "state", "silent_s", "waiting_entries", "last_batch_size", "average_batch",
        "commit_ms", "commands", "batches", "epoch", "position",
    )  # fmt: skip
    ordering = ("id",)

    @admin.display(description="silent for s")
    def silent_s(self, shard: Shard) -> str:
        """How long ago the writer gave a sign of life; a live one does twice a second."""
        if shard.heartbeat_at is None:
            return "never heard"
        return f"{(timezone.now() - shard.heartbeat_at).total_seconds():.1f}"

    @admin.display(description="entries waiting")
    def waiting_entries(self, shard: Shard) -> str:
        """How many entries of the stream are not done: the writer's lag."""
        try:
            with redis.Redis.from_url(settings.REDIS_URL, **TIMEOUTS) as client:
                return str(client.xlen(stream_key(shard.pk)))
        except redis.RedisError:
            return "unknown"

    @admin.display(description="last commit ms", ordering="last_commit_ms")
    def commit_ms(self, shard: Shard) -> str:
        return f"{shard.last_commit_ms:.1f}"

    @admin.display(description="average batch")
    def average_batch(self, shard: Shard) -> str:
        return f"{shard.commands / shard.batches:.1f}" if shard.batches else "none yet"


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


class RoomForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable
    """A room's terms, and why they are set."""

    reason = ReasonForm.base_fields["reason"]

    class Meta:
        model = WaitingRoom
        fields = ("name", *TERMS)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            room = WaitingRoom(pk=self.instance.pk, seed=self.instance.seed)
            room._state.adding = self.instance._state.adding
            room.name = cleaned.get("name", self.instance.name)
            for term in TERMS:
                setattr(room, term, cleaned[term])
            try:
                check_terms(room)
            except Refusal as refusal:
                raise forms.ValidationError(refusal.detail) from refusal
        return cleaned


@admin.register(WaitingRoom)
class WaitingRoomAdmin(ModelAdmin):
    """Open a waiting room, change its terms while it runs, close it; each with a reason."""

    form = RoomForm
    list_display = (
        "name", "title", "starts_at", "passes_per_minute", "market", "people", "closed_at",
    )  # fmt: skip
    search_fields = ("name", "title")
    ordering = ("-starts_at",)
    readonly_fields = ("people", "created_at", "closed_at")
    actions = ("close",)

    @admin.display(description="people now")
    def people(self, room: WaitingRoom) -> str:
        return people(room.pk) if room.pk and room.closed_at is None else ""

    def get_readonly_fields(self, request: HttpRequest, obj: WaitingRoom | None = None) -> Any:
        return (*self.readonly_fields, "name") if obj is not None else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: WaitingRoom | None = None) -> bool:
        is_over = obj is not None and obj.closed_at is not None
        return super().has_change_permission(request, obj) and not is_over

    def save_model(self, request: HttpRequest, obj: WaitingRoom, form: Any, change: bool) -> None:
        reason = form.cleaned_data["reason"]
        if change:
            terms = {term: form.cleaned_data[term] for term in TERMS}
            change_room(obj.name, by=_clerk(request), reason=reason, **terms)
        else:
            open_room(obj, by=_clerk(request), reason=reason)

    @admin.action(description="Close for good…", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[WaitingRoom]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for room in WaitingRoom.objects.filter(pk__in=ids).order_by("pk"):
                close_room(room.name, by=_clerk(request), reason=reason)
            return f"{len(ids)} closed."

        question = "Close these waiting rooms for good?"
        return do_with_reason(self, request, queryset, action="close", question=question, do=do)


def _clerk(request: HttpRequest) -> AbstractBaseUser:
    assert isinstance(request.user, AbstractBaseUser)
    return request.user
