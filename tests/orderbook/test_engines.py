"""Several engines under one writer: what the clock asks of one, and commands for another."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from django.db import transaction

from orderbook.actions import instruct
from orderbook.models import Instruction
from rewards.campaigns.rush.engine import CampaignEngine
from sequencer.commands import Answer, Command
from sequencer.engine import Engines, RoomEngine, Timeless
from tests.orderbook.traders import opened
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db


class Claims(Timeless):
    """An engine of another room, that only answers."""

    prefixes: tuple[str, ...] = ("claim.",)

    def load(self) -> None: ...

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        return [Answer(command.id, 200, b"{}") for command in commands]

    def committed(self) -> None: ...

    def rolled_back(self) -> None: ...


class NeverDone(Claims):
    """An engine of which the clock always asks something."""

    prefixes = ("never.",)

    def is_due(self) -> bool:
        return True


def claim(venue: Venue) -> Command:
    return Command(
        id="a" * 32, kind="claim.make", user_id=1, key_id=None, shard=venue.market.shard,
        gateway="g", sent_at_us=0, body=b"",
    )  # fmt: skip


def run_batch(engines: Engines, commands: Sequence[Command]) -> list[Answer]:
    """One turn of the writer, as `sequencer.writer` takes it."""
    if not engines.is_due() and not commands:
        return []
    with transaction.atomic():
        answers = engines.execute(commands)
    engines.committed()
    return answers


def test_an_idle_writer_carries_out_an_instruction() -> None:
    venue = opened()
    engines = Engines([venue.engine, CampaignEngine(venue.market.shard)])
    instruct(venue.market.pk, Instruction.Deed.HALT, reason="A test", actor=None)
    for _ in range(100):
        run_batch(engines, [])
        if venue.state == "halted":
            return
        time.sleep(0.01)
    raise AssertionError(venue.state)


def test_the_clock_goes_on_while_claims_keep_coming() -> None:
    venue = opened(state="scheduled", auction_s=60)
    venue.ask("open")
    engines = Engines([venue.engine, Claims()])
    venue.engine.pass_s(61)
    answered = 0
    for _ in range(10):
        answered += len(run_batch(engines, [claim(venue)]))
    assert venue.state == "open"
    assert answered >= 5


def test_claims_go_on_while_the_clock_always_asks_for_something() -> None:
    venue = opened()
    never: RoomEngine = NeverDone()
    engines = Engines([never, Claims()])
    assert sum(len(run_batch(engines, [claim(venue)])) for _ in range(10)) == 5
