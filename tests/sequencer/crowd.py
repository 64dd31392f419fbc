"""Clients that ask until they are answered, as the API's documentation tells them to."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field

from edge.problems import Refusal
from sequencer.commands import Answer, Command
from sequencer.sender import RedisCommandSender


def command(
    client_id: str, *, shard: int, gateway: str = "test", kind: str = "tally.add"
) -> Command:
    """A command as a gateway makes it: a fresh id for every request."""
    return Command(
        id=secrets.token_hex(16),
        kind=kind,
        user_id=1,
        key_id=None,
        shard=shard,
        gateway=gateway,
        sent_at_us=time.time_ns() // 1000,
        body=client_id.encode(),
    )


@dataclass
class Crowd:
    """Sends client ids through one gateway and keeps what each was answered."""

    url: str
    shard: int
    answer_timeout_s: float = 2.0
    resend_after_s: float = 0.8
    answers: dict[str, Answer] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    async def ask(self, client_ids: list[str], *, at_once: int = 32, pause_s: float = 0.0) -> None:
        """Have every client id answered, at most `at_once` at a time, retrying refusals."""
        sender = RedisCommandSender(
            self.url, answer_timeout_s=self.answer_timeout_s, resend_after_s=self.resend_after_s
        )
        room = asyncio.Semaphore(at_once)

        async def ask_one(client_id: str) -> None:
            async with room:
                await self._insist(sender, client_id)
                await asyncio.sleep(pause_s)

        async with asyncio.timeout(60), sender:
            await asyncio.gather(*(ask_one(client_id) for client_id in client_ids))

    async def _insist(self, sender: RedisCommandSender, client_id: str) -> None:
        while True:
            try:
                asked = command(client_id, shard=self.shard, gateway=sender.gateway)
                self.answers[client_id] = await sender.send(asked)
                return
            except Refusal as refusal:
                self.refusals.append(refusal)
                await asyncio.sleep(0.05)

    def numbers(self) -> dict[str, int]:
        """What each client was told."""
        return {client_id: int(answer.body) for client_id, answer in self.answers.items()}
