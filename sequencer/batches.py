"""Many commands in one request, each with an answer of its own, in the order they came.

    {"commands": [{"place": {"side": "buy", …}}, {"cancel": {"client_order_id": "a"}}]}

Each item is an object with one member: the verb, and what the verb's own route takes as its
body. A bad item is answered with its problem and does not touch the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from edge import problems
from edge.problems import Refusal
from sequencer.commands import Answer
from sequencer.routes import Draft, DraftOf, Request, read_json

MOST_COMMANDS = 500
BATCH_LIMIT_BYTES = 256 * 1024


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole body: its items are looked at one by one."""

    commands: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_COMMANDS)]


_BATCH = msgspec.json.Decoder(BatchBody)
_ITEM = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UnknownVerb(Refusal):
    """The item is no object with one known verb."""

    code = "unknown_verb"
    title = "An item names one thing to do"
    status = 400


def read_batch(request: Request, verbs: Mapping[str, DraftOf]) -> list[Draft | Refusal]:
    """Make a draft of each item, or say why there is none. Refuses only what is no batch."""
    batch = read_json(request.body, _BATCH)
    return [_read_item(request, index, raw, verbs) for index, raw in enumerate(batch.commands)]


def _read_item(
    request: Request, index: int, raw: msgspec.Raw, verbs: Mapping[str, DraftOf]
) -> Draft | Refusal:
    try:
        item = read_json(bytes(raw), _ITEM)
        if len(item) != 1:
            raise UnknownVerb(f"One of: {', '.join(verbs)}.")
        [(verb, body)] = item.items()
        draft = verbs.get(verb)
        if draft is None:
            raise UnknownVerb(f"One of: {', '.join(verbs)}.")
        # The last digits number the item, so that ids stay unique and 32 hex digits long.
        item_id = f"{request.id[:-3]}{index:03x}"
        return draft(
            Request(
                id=item_id,
                principal=request.principal,
                path_values=request.path_values,
                headers=request.headers,
                query=request.query,
                body=bytes(body),
            )
        )
    except Refusal as refusal:
        return refusal


def lay_out(answers: Sequence[Answer | Refusal]) -> bytes:
    """Write the answers of a batch as one JSON document; their bodies are JSON already."""
    return b'{"results":[%b]}' % b",".join(map(_lay_out_one, answers))


def _lay_out_one(answer: Answer | Refusal) -> bytes:
    if isinstance(answer, Refusal):
        status, _, body = problems.answer(answer)
        return b'{"status":%d,"replayed":false,"body":%b}' % (status, body)
    replayed = b"true" if answer.replayed else b"false"
    return b'{"status":%d,"replayed":%b,"body":%b}' % (answer.status, replayed, answer.body)
