"""The waiting room at the gateway: tickets, passes, the page, the stream, and those who cheat."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from sequencer.models import WaitingRoom
from sequencer.waiting_room.line import line_keys
from sequencer.waiting_room.tokens import (
    UNPLACED,
    Pass,
    Ticket,
    read_pass,
    read_ticket,
    write_pass,
    write_ticket,
)
from tests.sequencer.conftest import Served, ServeGateway, StartWriter
from tests.sequencer.servers import Restartable, wait_for
from tests.sequencer.tally import rows

_numbers = count(1)
MakeRoom = Callable[..., WaitingRoom]
GUARDED = "/api/v1/tally"


@pytest.fixture
def make_room(shard: int) -> Iterator[MakeRoom]:
    """Make rooms that guard the tally; their lines go with the test."""
    made: list[WaitingRoom] = []

    def make(*, starts_in_s: float = -60, **terms: Any) -> WaitingRoom:
        now = timezone.now()
        defaults = {
            "name": f"drop-{next(_numbers)}",
            "title": "The <drop>",
            "opens_at": now - timedelta(hours=1),
            "starts_at": now + timedelta(seconds=starts_in_s),
            "passes_per_minute": 6_000,
            "path_prefix": GUARDED,
        }
        made.append(WaitingRoom.objects.create(**defaults | terms))
        return made[-1]

    yield make
    client = redis.Redis.from_url(settings.REDIS_URL)
    for room in made:
        client.delete(*line_keys(room.pk))


def api(room: WaitingRoom, what: str = "ticket/") -> str:
    return f"/api/v1/waiting-rooms/{room.name}/{what}"


def serve(serve_gateway: ServeGateway, room: WaitingRoom, **options: str) -> Served:
    served = serve_gateway(**{"TALLY_GRACE_S": "0"} | options)
    wait_for(lambda: served.client().get(api(room, "")).status_code == 200)
    return served


def serve_before(
    serve_gateway: ServeGateway, make_room: MakeRoom, *, starts_in_s: float, **terms: Any
) -> tuple[Served, WaitingRoom]:
    """A gateway, and then a room that starts soon: starting the gateway takes its time."""
    served = serve_gateway(TALLY_GRACE_S="0")
    room = make_room(starts_in_s=starts_in_s, **terms)
    wait_for(lambda: served.client().get(api(room, "")).status_code == 200)
    return served, room


def as_person(served: Served, number: int) -> httpx.Client:
    client = served.client()
    client.headers["Authorization"] = f"Bearer person-{number}"
    return client


def add(client: httpx.Client, client_id: str, **headers: str) -> tuple[int, Any]:
    response = client.post(GUARDED, json={"client_id": client_id}, headers=headers)
    body = response.json()
    return response.status_code, body["code"] if response.status_code >= 400 else body


def pass_of(client: httpx.Client, room: WaitingRoom) -> str:
    """Poll until the pass comes, as a program does."""
    said: dict[str, Any] = {}

    def has_passed() -> bool:
        said.update(client.post(api(room)).json())
        return bool(said["state"] == "passed")

    wait_for(has_passed)
    return str(said["pass"])


def test_a_guarded_place_needs_a_pass_and_cancelling_does_not(
    shard: int, make_room: MakeRoom, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    room = make_room()
    served = serve(serve_gateway, room)
    ada, bob = as_person(served, 1), as_person(served, 2)
    refused = ada.post(GUARDED, json={"client_id": "a"})
    assert refused.status_code == 403
    problem = refused.json()
    assert (problem["code"], problem["room"]) == ("waiting_room_pass_required", room.name)
    assert problem["ticket_url"] == api(room)
    held = pass_of(ada, room)
    assert add(ada, "a", **{"X-Waiting-Room-Pass": held}) == (200, 1)
    assert add(bob, "b", **{"X-Waiting-Room-Pass": held}) == (403, "waiting_room_pass_required")
    assert add(ada, "c", Cookie=f"x=1; scrip_pass_{room.name}={held}") == (200, 2)
    assert bob.delete(f"{GUARDED}/cancelled").status_code == 200
    assert rows(shard) == {"a": 1, "c": 2, "cancelled": 3}


def test_forged_foreign_and_old_passes_open_nothing(
    shard: int, make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    room, other = make_room(), make_room(path_prefix="")
    served = serve(serve_gateway, room)
    now = int(time.time())
    good = write_pass(Pass(room.pk, 1, now + 60))
    wrong = [
        "",
        "x" * 5_000,
        good[:-1],
        good.replace(".1.", ".2."),
        write_pass(Pass(room.pk, 1, now - 1)),
        write_pass(Pass(other.pk, 1, now + 60)),
        write_pass(Pass(room.pk, 2, now + 60)),
        write_ticket(Ticket(room.pk, 1, 0.5)),
    ]
    ada = as_person(served, 1)
    for text in wrong:
        answered = add(ada, "a", **{"X-Waiting-Room-Pass": text})
        assert answered == (403, "waiting_room_pass_required"), text
    assert read_pass(good) == Pass(room.pk, 1, now + 60)


def test_the_same_person_gets_the_same_ticket_and_pass_from_everywhere(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    room = make_room(passes_per_minute=1)
    served = serve(serve_gateway, room)
    [ada, bob] = [as_person(served, number) for number in (1, 2)]
    held = pass_of(ada, room)
    assert {ada.post(api(room)).json()["pass"] for _ in range(5)} == {held}
    said = [bob.post(api(room)).json() for _ in range(5)]
    assert {each["ticket"] for each in said} == {said[0]["ticket"]}
    assert {(each["state"], each["position"]) for each in said} == {("waiting", 1)}
    assert said[0]["expected_wait_s"] <= 60


def test_a_ticket_of_another_is_refused_and_a_made_up_one_too(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    room, other = make_room(passes_per_minute=1), make_room(passes_per_minute=1)
    served = serve(serve_gateway, room)
    ada = as_person(served, 1)
    for text in (
        "nonsense",
        write_ticket(Ticket(room.pk, 2, 0.1)),
        write_ticket(Ticket(other.pk, 1, 0.1)),
        write_ticket(Ticket(room.pk, 1, 0.9)).replace("0.9", "0.1"),
        write_pass(Pass(room.pk, 1, 9_999_999_999)),
    ):
        refused = ada.post(api(room), headers={"X-Waiting-Room-Ticket": text})
        assert (refused.status_code, refused.json()["code"]) == (403, "ticket_not_yours")
    nobody = served.client()
    nobody.headers["Authorization"] = "Bearer x"
    assert nobody.post(api(room)).status_code == 401


def test_who_hammers_the_room_is_slowed_down_alone(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    room = make_room(starts_in_s=600)
    served = serve(serve_gateway, room)
    ada, bob = as_person(served, 1), as_person(served, 2)
    codes = [ada.post(api(room)).status_code for _ in range(60)]
    assert codes[:30] == [200] * 30 and codes.count(429) >= 10
    assert bob.post(api(room)).status_code == 200
    cookie = {"Cookie": f"scrip_ticket_{room.name}={write_ticket(Ticket(room.pk, 1, UNPLACED))}"}
    assert ada.get(f"/waiting/{room.name}/", headers=cookie).status_code == 429


def test_before_the_start_nobody_passes_and_everybody_knows_when(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    served, room = serve_before(serve_gateway, make_room, starts_in_s=5)
    ada = as_person(served, 1)
    said = ada.post(api(room)).json()
    assert (said["state"], said["position"], said["pass"]) == ("lobby", None, None)
    assert said["people_waiting"] == 1
    assert pass_of(ada, room)
    assert timezone.now() >= room.starts_at


def test_a_room_that_is_not_open_gives_no_tickets_and_guards_nothing(
    shard: int, make_room: MakeRoom, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    room = make_room(starts_in_s=600, opens_at=timezone.now() + timedelta(minutes=5))
    served = serve(serve_gateway, room)
    ada = as_person(served, 1)
    refused = ada.post(api(room))
    assert (refused.status_code, refused.json()["code"]) == (409, "waiting_room_shut")
    assert add(ada, "a") == (200, 1)
    assert ada.post(api(room).replace("drop", "none")).status_code == 404
    assert ada.put(api(room)).status_code == 405


def test_a_change_and_a_closing_reach_the_gateway_within_seconds(
    shard: int, make_room: MakeRoom, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    room = make_room()
    served = serve(serve_gateway, room)
    ada = as_person(served, 1)
    assert add(ada, "a")[0] == 403
    WaitingRoom.objects.filter(pk=room.pk).update(closed_at=timezone.now())
    wait_for(lambda: add(ada, "a")[0] == 200)


def test_with_redis_gone_passes_still_open_and_tickets_keep_their_place(
    shard: int,
    own_valkey: Restartable,
    make_room: MakeRoom,
    serve_gateway: ServeGateway,
    start_writer: StartWriter,
) -> None:
    start_writer()
    room = make_room(passes_per_minute=60)
    served = serve(serve_gateway, room, TALLY_GRACE_S="1")
    people = [as_person(served, number) for number in range(1, 5)]
    held = pass_of(people[0], room)
    tickets = [person.post(api(room)).json() for person in people[1:]]
    own_valkey.kill()
    time.sleep(1.1)  # what was heard just before is repeated for a second
    gone = people[1].post(api(room))
    assert (gone.status_code, gone.json()["code"]) == (503, "unavailable")
    # The pass is good: what is missing is the stream for the command itself.
    answered = add(people[0], "a", **{"X-Waiting-Room-Pass": held})
    assert answered == (503, "redis_unavailable")
    assert add(people[1], "b") == (403, "waiting_room_pass_required")
    own_valkey.start()
    redis.Redis.from_url(own_valkey.url).flushall()
    back = []

    def returns(person: httpx.Client, ticket: str) -> bool:
        response = person.post(api(room), headers={"X-Waiting-Room-Ticket": ticket})
        back.append(response.json())
        return response.status_code == 200

    for person, before in reversed(list(zip(people[1:], tickets, strict=True))):
        wait_for(partial(returns, person, before["ticket"]))
    back = [each for each in back if "ticket" in each]
    scores = [read_ticket(each["ticket"]).score for each in reversed(back)]  # type: ignore[union-attr]
    assert scores == sorted(scores)
    wait_for(lambda: people[1].post(api(room)).json()["state"] == "passed")


def test_the_page_works_without_scripts_and_allows_nothing_foreign(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    room = make_room(passes_per_minute=1, market="CUP.PTS")
    served = serve(serve_gateway, room)
    pass_of(as_person(served, 1), room)
    browser = served.client()
    del browser.headers["Authorization"]
    newcomer = browser.get(f"/waiting/{room.name}/")
    assert f'href="/waiting/{room.name}/enter/"' in newcomer.text
    assert "<h1>The &lt;drop&gt;</h1>" in newcomer.text
    ticket = write_ticket(Ticket(room.pk, 2, UNPLACED))
    cookie = {"Cookie": f"scrip_ticket_{room.name}={ticket}"}
    waiting = browser.get(f"/waiting/{room.name}/", headers=cookie)
    assert '<p class="big" id="big">You are next</p>' in waiting.text
    assert '<noscript><meta http-equiv="refresh"' in waiting.text
    assert "scrip_ticket_" in waiting.headers["set-cookie"]
    assert "HttpOnly; SameSite=Lax" in waiting.headers["set-cookie"]
    policy = waiting.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "http" not in waiting.text.replace("http-equiv", "")
    passed = browser.get(
        f"/waiting/{room.name}/",
        headers={"Cookie": f"scrip_ticket_{room.name}={write_ticket(Ticket(room.pk, 1, 1.0))}"},
    )
    assert 'href="/markets/CUP.PTS/"' in passed.text
    cookies = passed.headers.get_list("set-cookie")
    [set_pass] = [each for each in cookies if each.startswith(f"scrip_pass_{room.name}=")]
    assert read_pass(set_pass.partition("=")[2].partition(";")[0]) is not None
    assert browser.get("/waiting/none/").status_code == 404


def test_the_stream_tells_the_place_and_then_the_pass(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    served, room = serve_before(serve_gateway, make_room, starts_in_s=5)
    states = []
    with as_person(served, 1).stream("GET", api(room, "stream/")) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        for line in stream.iter_lines():
            if line.startswith("data: "):
                said = json.loads(line.removeprefix("data: "))
                states.append(said["state"])
    assert states[0] == "lobby" and states[-1] == "passed"
    assert read_pass(said["pass"]) is not None


def test_streams_are_bounded_for_each_person_and_end_with_the_gateway(
    make_room: MakeRoom, serve_gateway: ServeGateway
) -> None:
    room = make_room(starts_in_s=600)
    served = serve(serve_gateway, room)
    client = as_person(served, 1)
    open_streams = [client.stream("GET", api(room, "stream/")) for _ in range(4)]
    responses = [stream.__enter__() for stream in open_streams]
    assert [response.status_code for response in responses] == [200] * 4
    refused = client.get(api(room, "stream/"))
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    responses[0].close()
    wait_for(lambda: _opens(client, room))
    started = time.monotonic()
    served.process.terminate()
    assert served.process.wait(60) in {0, -15}
    assert time.monotonic() - started < 7.5, "streams hold up the end"


def _opens(client: httpx.Client, room: WaitingRoom) -> bool:
    with client.stream("GET", api(room, "stream/")) as response:
        return response.status_code == 200
