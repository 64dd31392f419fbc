"""What a gateway sends again when nothing was heard of it, and what it does not."""

from __future__ import annotations

import asyncio
from typing import Any

from edge.problems import Refusal
from sequencer.commands import Answer, Command
from sequencer.sender import OutcomeUnknown, RedisCommandSender


def command(number: int) -> Command:
    return Command(
        id=f"{number:032x}", kind="tally.add", user_id=1, key_id=None, shard=0,
        gateway="0" * 16, sent_at_us=0, body=b"",
    )  # fmt: skip


class Wire:
    """A connection that swallows everything."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def request(self, *words: Any) -> asyncio.Future[object]:
        self.sent.append(words)
        return asyncio.get_running_loop().create_future()


def test_what_may_not_be_done_twice_is_sent_once() -> None:
    async def story() -> None:
        heard: dict[str, Answer | Refusal] = {}
        sender = RedisCommandSender("redis://nowhere", resend_after_s=0)
        sender._wire = wire = Wire()  # type: ignore[assignment]
        for number, is_repeatable in enumerate([True, False]):
            name = "again" if is_repeatable else "once"
            sender.submit(
                command(number),
                lambda end, name=name: heard.update({name: end}),  # type: ignore[misc]
                is_repeatable=is_repeatable,
            )
        sender._flush()
        assert [words[0] for words in wire.sent].count("XADD") == 1, "both in one entry"
        sender._appending.clear()
        sender._repeat(asyncio.get_running_loop().time() + 1)
        entry = wire.sent[-1][-1]
        assert command(0).id.encode() in entry and command(1).id.encode() not in entry
        sender._resend()
        assert isinstance(heard["once"], OutcomeUnknown)
        assert "again" not in heard

    asyncio.run(story())


def test_what_was_not_sent_yet_is_sent_on_a_new_connection() -> None:
    async def story() -> None:
        heard: list[Answer | Refusal] = []
        sender = RedisCommandSender("redis://nowhere")
        sender.submit(command(0), heard.append, is_repeatable=False)
        sender._resend()
        assert heard == []
        sender._wire = wire = Wire()  # type: ignore[assignment]
        sender._flush()
        assert command(0).id.encode() in wire.sent[0][-1]

    asyncio.run(story())
