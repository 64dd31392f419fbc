"""One batch of the market: match ahead, lock once, check funds in sequence, write.

The makers of an order are known only after matching, yet a batch may lock its accounts only
once. So the whole batch is matched first as if everybody could pay, under the books'
journals; that tells which accounts and holds it touches. They are locked in one statement,
and then each command in turn is paid for by the ledger's rules (`orderbook.paying`). All of
it is written in one journey to PostgreSQL.

A batch may also be decided ahead, while the one before is still being written: on accounts
that are read and not locked, and on what the earlier batch made of them. When its turn to be
written comes, the accounts are locked, and if anybody has changed one meanwhile nothing is
written, and the batch is decided anew the first way.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.ids import first_id
from edge.journey import Journey
from live.outbox import record_on
from orderbook import paying
from orderbook.deeds import Deed
from orderbook.events import events_of
from orderbook.gate import Gate
from orderbook.known import Known
from orderbook.market_data.feed import advance
from orderbook.memory import Memory
from orderbook.outcome import Outcome
from orderbook.paying import STRIDE, NeedsTransaction, Paying, Telling, holds_of, take_back
from orderbook.planning import plans_of
from orderbook.plans import MAY_HALT, Plan, first_part
from orderbook.rows import NewOrder, StoredOrder, write_rows
from orderbook.special_rows import write_special
from orderbook.steps import next_stop
from sequencer.commands import Answer, Command
from sequencer.engine import NOTHING, Meanwhile
from wallet.door import NEXT_SEQUENCE, Foreseen, Foresight, Posting, locked, write_to


class Batch:
    """One batch being decided, by one thread: inside one transaction, or ahead of it.

    `earlier` is the batch before it, if that is under way still.
    """

    def __init__(
        self,
        memory: Memory,
        commands: Sequence[Command],
        batch_id: int,
        *,
        deeds: Sequence[Deed] = (),
        now_us: int,
        earlier: Batch | None = None,
    ) -> None:
        self.outcome = Outcome(memory, first_id(batch_id))
        self._memory = memory
        self._deeds = deeds
        self._now_us = now_us
        self._earlier = earlier
        self._plans: list[Plan | Answer] = plans_of(
            commands, memory, self.outcome.first_order_id, now_us
        )
        self._known = Known(memory, earlier)
        self._gate = Gate(self._plans, memory, now_us)
        self._posting: Posting | None = None
        self._meanwhile: Meanwhile = NOTHING
        self._told: list[Telling] = []

    @property
    def named(self) -> dict[bytes, StoredOrder | NewOrder]:
        """The orders that client order ids name, this batch's own among them."""
        return self._known.named

    # -- inside a transaction --------------------------------------------------------------------

    def run(self) -> list[Answer]:
        """Decide and write as many of the commands as one commit carries, after the deeds."""
        journey = Journey()
        self._known.ask(journey, self._plans)
        self._known.hear(*journey.run())
        self._match_all()
        account_ids, hold_ids = self._touched()
        self._posting = locked(account_ids, sorted(hold_ids))
        self._settle_all(is_ahead=False)
        answers: list[Answer] = []
        self._written().run(meanwhile=lambda: answers.extend(self.answers()))
        return answers

    # -- ahead of it -----------------------------------------------------------------------------

    def decide(self, meanwhile: Meanwhile) -> Journey | None:
        """Decide ahead; answer the journey that writes it. None: that needs a transaction.

        The journey goes into a transaction of its own. If that fails, or the answer is None,
        `outcome.take_back`.
        """
        self._meanwhile = meanwhile
        if self._gate.has_holding_periods:
            return None
        try:
            self._posting = self._foresee()
            self._settle_all(is_ahead=True)
        except NeedsTransaction:
            return None
        self.foreseen.decided()
        # All is decided. Else each batch would keep the one before, while orders pour in.
        self._earlier, self._meanwhile = None, NOTHING
        self._known.forget_earlier()
        return self._written()

    def _foresee(self) -> Foreseen:
        """Match the batch, and know what it touches and what its names mean.

        The names are looked up while it is matched, unless orders that it asks to change must be
        known before. What it touches was mostly seen before; else it is read.
        """
        self._gate.bar()
        is_known = self._known.take_over(self._plans)
        journey = Journey()
        self._memory.ask(journey)
        journey.add(NEXT_SEQUENCE)
        self._known.ask(journey, self._plans)
        changed, drawn, *named = journey.run(
            self._match_meanwhile if is_known else self._meanwhile.idle
        )
        if self._memory.is_stale(changed):
            raise NeedsTransaction
        is_surprised = self._known.hear(*named)
        if not is_known:
            self._match_ahead()
        elif is_surprised:
            # An order that seemed new is an old one asked for again.
            raise NeedsTransaction
        foresight = Foresight(*self._touched(), self._memory.seen)
        if foresight.is_blind:
            journey = Journey()
            foresight.ask(journey)
            foresight.hear(*journey.run(self._meanwhile.idle))
        [[sequence]] = drawn.fetchall()
        return foresight.foreseen(sequence)

    def _match_meanwhile(self) -> None:
        self._meanwhile.idle()
        self._match_ahead()

    @property
    def foreseen(self) -> Foreseen:
        """The pass through the ledger's door of a batch that was decided ahead."""
        assert isinstance(self._posting, Foreseen)
        return self._posting

    # -- both ------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many of the commands the batch carries."""
        return len(self._told)

    def answers(self) -> list[Answer]:
        """Put the answers into words."""
        return [tell() for tell in self._told]

    def _match_all(self) -> None:
        self._gate.bar()
        for deed in self._deeds:
            for market_id in deed.books():
                self.outcome.touch(self._memory.markets[market_id])
            deed.match()
        self._match_ahead()

    def _settle_all(self, *, is_ahead: bool) -> None:
        assert self._posting is not None
        settling = Paying(
            self.outcome,
            self._plans,
            memory=self._memory,
            known=self._known,
            gate=self._gate,
            posting=self._posting,
            now_us=self._now_us,
            is_ahead=is_ahead,
            meanwhile=self._meanwhile,
        )
        self._told = settling.settle_all(self._deeds)

    def _written(self) -> Journey:
        """All that was decided, as a journey. Nothing is added to the outcome after it."""
        assert self._posting is not None
        outcome, journey = self.outcome, Journey()
        write_to(journey, self._posting)
        write_special(journey, outcome.special_rows())
        write_rows(journey, outcome.orders.values(), outcome.fills, outcome.changes.values())
        events, tops = events_of(outcome, self._memory)
        advance(journey, tops)
        record_on(journey, events)
        outcome.decided()
        return journey

    # -- matching ahead ------------------------------------------------------------------------

    def _match_ahead(self) -> None:
        """Match all that is new as if everybody could pay, up to what one commit carries."""
        self._known.begin()
        room = paying.MOST_TRANSFERS
        for index, plan in enumerate(self._plans):
            if not index % STRIDE:
                self._meanwhile.push()
            if isinstance(plan, Answer) or self._known.is_repeated(plan):
                continue
            self.outcome.touch(plan.trading)
            room -= plan.match()
            if room < 0 and (first := first_part(plan, index)):
                take_back(self._plans[first:])
                del self._plans[first:]
                return
            if isinstance(plan, MAY_HALT) and plan.halts:
                room = -1
            else:
                room = self._match_stops(plan, room)
            if room < 0:
                del self._plans[index + 1 :]
                return

    def _match_stops(self, plan: Plan, room: int) -> int:
        """Match the stops that a plan's trades elected, in their turns; answer the room left.

        Below 0 the last one is taken back, and waits for the next batch with all others.
        """
        while step := next_stop(plan.trading, plan.at_id):
            room -= step.match()
            if room < 0:
                plan.trading.book.undo_to(step.mark)
                break
            plan.stops.append(step)
            if step.halts:
                return -1
        return room

    def _touched(self) -> tuple[set[int], set[int]]:
        """Find (or open) the accounts that matched plans touch, and the holds of their makers."""
        pairs: set[tuple[int, int]] = set()
        account_ids: set[int] = set()
        hold_ids: set[int] = set()
        for deed in self._deeds:
            pairs.update(deed.wallets())
            account_ids.update(deed.fee_accounts())
            hold_ids.update(self._memory.hold_of[order_id] for order_id in deed.orders())
        for plan in self._plans:
            if isinstance(plan, Answer) or plan.report is None:
                continue
            for part in (plan, *plan.stops):
                pairs.update(part.wallets())
                hold_ids.update(holds_of(part, self._memory))
                if part.report is not None and part.report.fills:
                    account_ids.add(plan.trading.fee_account_id)
        ids, self.outcome.accounts_known = self._memory.know_accounts(pairs)
        account_ids.update(ids)
        return account_ids, hold_ids
