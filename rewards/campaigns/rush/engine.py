"""The claims' engine: what a shard's writer drives; see `sequencer.engine.Engine`."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone

from rewards.campaigns.rush.answers import denied, granted, turned_down
from rewards.campaigns.rush.batch import Denied, Granted, Outcome, claim_all
from rewards.campaigns.rush.commands import decode_claim
from rewards.campaigns.rush.reading import Wish
from sequencer.commands import Answer, Command
from sequencer.engine import Timeless


class CampaignEngine(Timeless):
    """Claims of all campaigns whose commands come to one shard.

    It keeps no state of its own beside compiled versions: all is read under its locks in
    each batch. So there is nothing to rebuild, and nothing to take back.
    """

    prefixes = ("claim.",)

    def __init__(self, shard: int) -> None:
        self.shard = shard

    def load(self) -> None:
        """Nothing to rebuild."""

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        """Decide and write a batch of claims; see `rush.batch`."""
        answers: list[Answer] = []

        def tell(outcomes: Sequence[Outcome]) -> None:
            answers.extend(map(_told, commands, outcomes))

        claim_all([_wish(command) for command in commands], timezone.now(), tell)
        return answers

    def committed(self) -> None:
        """The batch is durable."""

    def rolled_back(self) -> None:
        """The batch never happened: memory held nothing of it."""


def _wish(command: Command) -> Wish:
    asked = decode_claim(command.body)
    return Wish(
        campaign=asked.campaign,
        person=command.user_id,
        request=asked.request,
        channel=asked.channel,
        order_key=asked.order_key,
        referrer=asked.referrer,
    )


def _told(command: Command, outcome: Outcome) -> Answer:
    if isinstance(outcome, Granted):
        return granted(
            command, outcome.claim, outcome.campaign, outcome.version, again=outcome.is_replay
        )
    if isinstance(outcome, Denied):
        return denied(command, outcome.refused)
    return turned_down(command, outcome)
