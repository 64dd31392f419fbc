"""What travels between a gateway and a writer: commands one way, answers the other. Pure.

Both are msgpack arrays. Many commands share one stream entry and many answers share one
message, because what costs is the entry and the message, not what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

LARGEST_BODY_BYTES = 1 << 20
"""The most one command may carry: a batch of orders. Ordinary routes allow far less."""
COMMANDS_PER_ENTRY = 512
"""The most commands one stream entry carries."""
LARGEST_ENTRY_BYTES = LARGEST_BODY_BYTES + 4096
"""The most bytes one stream entry carries: the largest command with its envelope."""
LARGEST_SHARD = 4095

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]
Kind = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Int63 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Shard = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_SHARD)]
Body = Annotated[bytes, msgspec.Meta(max_length=LARGEST_BODY_BYTES)]


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """One thing a person asks for, checked by the gateway as far as it can be without state.

    `id` is the request's: 32 hex digits, unique for ever. `kind` names the engine by its
    prefix ("order.place"). `body` is coded as the room that owns the kind decides.
    `sent_at_us` is the gateway's clock, microseconds since 1970. Past `deadline_us` nobody
    waits for the answer any more and the command must not be carried out; 0 is no deadline.
    """

    id: Id
    kind: Kind
    user_id: Int63
    key_id: Int63 | None
    shard: Shard
    gateway: Id
    sent_at_us: Int63
    body: Body
    deadline_us: Int63 = 0


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of one command: an HTTP status and the JSON that the person gets.

    A status from 400 up carries problem+json. `replayed` says that this is the stored
    answer to an earlier command of the same client id.
    """

    command_id: Id
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    body: bytes
    replayed: bool = False


class Garbled(ValueError):
    """These bytes are not commands (or answers) of this release."""


_encoder = msgspec.msgpack.Encoder()
_commands = msgspec.msgpack.Decoder(list[Command])
_answers = msgspec.msgpack.Decoder(list[Answer])


def encode_command(command: Command) -> bytes:
    """Turn one command into bytes; `join` puts many into one entry without encoding twice."""
    return _encoder.encode(command)


def join(encoded: Sequence[bytes]) -> bytes:
    """Put encoded commands into one entry: a msgpack array around what is already encoded."""
    assert 0 < len(encoded) <= COMMANDS_PER_ENTRY
    return b"\xdc" + len(encoded).to_bytes(2, "big") + b"".join(encoded)


def decode_commands(entry: bytes) -> list[Command]:
    """Read the commands of one stream entry, in order. `Garbled` if it is anything else."""
    if len(entry) > LARGEST_ENTRY_BYTES:
        raise Garbled(f"entry of {len(entry)} bytes; at most {LARGEST_ENTRY_BYTES}")
    try:
        return _commands.decode(entry)
    except msgspec.DecodeError as error:
        raise Garbled(str(error)) from error


def encode_answers(answers: Sequence[Answer]) -> bytes:
    """Turn the answers for one gateway into one message."""
    return _encoder.encode(answers)


def decode_answers(message: bytes) -> list[Answer]:
    """Read the answers of one message. `Garbled` if it is anything else."""
    try:
        return _answers.decode(message)
    except msgspec.DecodeError as error:
        raise Garbled(str(error)) from error
