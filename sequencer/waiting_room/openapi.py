"""Adds the waiting rooms to the OpenAPI document: their addresses are the gateway's."""

from __future__ import annotations

from typing import Any

from edge.openapi import add_paths, add_shapes, json_of
from sequencer.waiting_room.answers import RoomAnswer, StandingAnswer, StreamedStanding
from sequencer.waiting_room.api import API, TICKET_HEADER

NAME = {
    "in": "path",
    "name": "name",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,60}$"},
}
TICKET = {
    "in": "header",
    "name": "-".join(word.title() for word in TICKET_HEADER.decode().split("-")),
    "required": False,
    "description": "The newest ticket. Without it one gets a fresh one for the same place.",
    "schema": {"type": "string"},
}


def add_waiting_rooms(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular."""
    add_shapes(result, [RoomAnswer, StandingAnswer, StreamedStanding])
    room = f"{API}{{name}}/"
    asking = _operation("Ask where you stand", "waiting_room_standing", StandingAnswer)
    paths = {
        room: {"get": _operation("Read what people wait for", "waiting_room", RoomAnswer)},
        f"{room}ticket/": {
            "get": asking,
            "post": asking | {"summary": "Take a ticket", "operationId": "waiting_room_ticket"},
        },
        f"{room}stream/": {
            "get": _operation("Follow where you stand", "waiting_room_stream", StreamedStanding)
        },
    }
    add_paths(result, paths)
    return result


def _operation(summary: str, name: str, answer: type) -> dict[str, Any]:
    is_own = answer is not RoomAnswer
    content = json_of(answer)
    if answer is StreamedStanding:
        content = {"text/event-stream": content["application/json"]}
    return {
        "operationId": name,
        "summary": summary,
        "description": answer.__doc__ or "",
        "tags": ["waiting rooms"],
        "security": [{"apiKey": []}] if is_own else [],
        "parameters": [NAME, TICKET] if is_own else [NAME],
        "responses": {"200": {"description": "", "content": content}},
    }
