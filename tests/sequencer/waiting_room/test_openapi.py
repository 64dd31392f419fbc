"""The API's document has the waiting rooms, in the shapes that they answer with."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.generators import SchemaGenerator

from sequencer.waiting_room.answers import StreamedStanding, standing_answer
from sequencer.waiting_room.api import _ADDRESS, _METHODS
from sequencer.waiting_room.rules import Room, Standing

ROOM = Room(1, "drop", "The drop", 0, 0, 60, 600, "", "", "seed")


def document() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(  # type: ignore[no-untyped-call]
        request=None, public=True
    )
    return made


def test_every_address_is_written_down_with_its_methods() -> None:
    found = {
        path: {method.upper() for method in operations}
        for path, operations in document()["paths"].items()
        if path.startswith("/api/v1/waiting-rooms/")
    }
    room = "/api/v1/waiting-rooms/{name}/"
    served = {f"{room}{what}": set(methods) for what, methods in _METHODS.items() if what != "page"}
    assert found == served
    assert all(_ADDRESS.match(path.replace("{name}", "drop")) for path in found)


def test_shapes_are_those_of_the_answers() -> None:
    schemas = document()["components"]["schemas"]
    answer = msgspec.to_builtins(standing_answer(ROOM, 7, Standing(0, pass_until=2**31)))
    assert set(schemas["StandingAnswer"]["properties"]) == set(answer)
    assert (answer["state"], answer["position"], answer["pass_until"]) == ("passed", None, 2**31)
    assert answer["pass"].startswith("1.7.")
    assert set(schemas["StreamedStanding"]["properties"]) == {*answer, "big", "said"}
    assert issubclass(StreamedStanding, msgspec.Struct)
