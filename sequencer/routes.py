"""How a room declares what the gateway accepts: a table of routes, each a pure function.

A route turns a checked request into a `Draft`; the gateway makes it a command, waits for
the writer's answer and sends it on. Example, in a room's own file:

    ROUTES = [
        Route("POST", "/api/v1/orders", scope="orders:write", draft=place),
        Route("DELETE", "/api/v1/orders/{order_id}", scope="orders:write", draft=cancel),
    ]

    def place(request: Request) -> Draft:
        order = read_json(request.body, ORDER)
        return Draft(kind="order.place", shard=shard_of(order.market), body=encode(order))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from edge.problems import Refusal
from edge.rates import Rate
from sequencer.admission import Priority
from sequencer.commands import Answer

BODY_LIMIT_BYTES = 64 * 1024
LONGEST_SEGMENT = 100

Body = TypeVar("Body")


class Principal(Protocol):
    """Who asks: a person, through one of their API keys or a browser's token."""

    @property
    def user_id(self) -> int: ...
    @property
    def key_id(self) -> int | None: ...
    @property
    def scopes(self) -> AbstractSet[str]: ...
    @property
    def rate(self) -> Rate | None:
        """How many commands a second they may send; None is what everybody may."""


class Authenticator(Protocol):
    """Tells who sent a request, without waiting for anything."""

    def grant_for(self, authorization: str, /) -> Principal:
        """Say who holds the key in an Authorization header; raise a `Refusal` if nobody does."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose sender, size and content type are already checked.

    `id` is 32 hex digits, unique for ever: use it as the client id when the client sent
    none, so that a replayed stream cannot do the command twice.
    """

    id: str
    principal: Principal
    path_values: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    query: bytes
    body: bytes


class Draft(NamedTuple):
    """What a route makes of a request: which engine, which shard, and the command's body.

    `is_repeatable`: done twice, it does no more than once. Else it is sent once, and where nothing
    is heard of it, whoever asked has to look.
    """

    kind: str
    shard: int
    body: bytes
    is_repeatable: bool = True


DraftOf = Callable[[Request], Draft]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address. `{name}` in the pattern matches one path segment.

    `draft` is pure and quick (it runs on the event loop) and raises `edge.problems.Refusal`
    for input that cannot be a command. A route with a body wants `application/json`.
    With `verbs` in place of `draft` the route takes many commands at once (`batches`). With
    `spread` it makes many commands of one request, and `gather` one answer of theirs.
    """

    method: str
    pattern: str
    scope: str
    draft: DraftOf | None = None
    body_limit_bytes: int = BODY_LIMIT_BYTES
    priority: Priority = Priority.ORDER
    verbs: Mapping[str, DraftOf] | None = None
    spread: Callable[[Request], Sequence[Draft]] | None = None
    gather: Callable[[Sequence[Answer | Refusal]], Answer | Refusal] | None = None

    def __post_init__(self) -> None:
        ways = (self.draft, self.verbs, self.spread)
        assert sum(way is not None for way in ways) == 1, "a draft, verbs, or a spread"
        assert (self.spread is None) is (self.gather is None)


class NotFound(Refusal):
    """The gateway serves nothing at this address."""

    code = "not_found"
    title = "There is nothing here"
    status = 404


class MethodNotAllowed(Refusal):
    """The address exists, but not for this method; `allow` names those it takes."""

    code = "method_not_allowed"
    title = "The method is not allowed here"
    status = 405


class RouteTable:
    """Finds the route of a request. Fixed addresses cost one look-up, others one per pattern."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: dict[re.Pattern[str], dict[str, Route]] = {}
        for route in routes:
            if "{" in route.pattern:
                place = self._patterns.setdefault(_compile(route.pattern), {})
            else:
                place = self._fixed.setdefault(route.pattern, {})
            assert route.method not in place, f"two routes for {route.method} {route.pattern}"
            place[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Say which route serves the request, and the values in its path."""
        values: Mapping[str, str] = {}
        by_method = self._fixed.get(path)
        if by_method is None:
            by_method, values = self._search(path)
        route = by_method.get(method)
        if route is None:
            raise MethodNotAllowed(allow=sorted(by_method))
        return route, values

    def _search(self, path: str) -> tuple[dict[str, Route], Mapping[str, str]]:
        for pattern, by_method in self._patterns.items():
            if match := pattern.fullmatch(path):
                return by_method, match.groupdict()
        raise NotFound


def _compile(pattern: str) -> re.Pattern[str]:
    """Turn `/orders/{order_id}` into a regular expression; a value is one short segment.

    A value written `{name*}` may hold slashes: the path was unquoted before.
    """
    literal = re.escape(pattern).replace(r"\{", "{").replace(r"\}", "}").replace(r"\*", "*")
    with_slashes = re.sub(r"{(\w+)\*}", rf"(?P<\1>.{{1,{LONGEST_SEGMENT}}})", literal)
    return re.compile(re.sub(r"{(\w+)}", rf"(?P<\1>[^/]{{1,{LONGEST_SEGMENT}}})", with_slashes))


def read_json(body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """Read a JSON body of a known type, refusing what has another shape.

    Give it a decoder of a struct with `forbid_unknown_fields` and bounds on every field.
    Refused with 400 `malformed_body`: what is not JSON, is nested too deep, or holds a NUL
    character (PostgreSQL stores none). Refused with 400 `invalid_request`: JSON of another
    shape; `errors` points at the first field at fault.
    """
    if b"\\u0000" in body:
        raise malformed("A text holds a NUL character.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except RecursionError:
        raise malformed("The JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise malformed("The body is not valid UTF-8.") from None
    except msgspec.DecodeError as error:
        raise malformed(str(error)) from None


def malformed(detail: str) -> Refusal:
    """The refusal of a body that cannot be read."""
    return Refusal(
        detail, code="malformed_body", title="The request body cannot be read", status=400
    )


def _invalid(message: str) -> Refusal:
    """Split msgspec's "Expected `int`, got `str` - at `$.price`" into a detail and a pointer."""
    detail, _, place = message.partition(" - at `$")
    tokens = re.findall(r"[^.\[\]`]+", place)
    pointer = "#" + "".join(f"/{token}" for token in tokens)
    return Refusal(
        "The request does not validate; `errors` says where.",
        code="invalid_request",
        title="The request is not valid",
        status=400,
        errors=[{"pointer": pointer, "code": "invalid", "detail": detail}],
    )
