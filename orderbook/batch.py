"""One batch of the market: match ahead, lock once, check funds in sequence, write.

The makers of an order are known only after matching, yet a batch may lock its accounts only
once. So the whole batch is matched first as if everybody could pay, under the books'
journals; that tells which accounts and holds it touches. They are locked in one statement,
and then each command in turn is paid for by the ledger's rules. All of it is written in one
journey to PostgreSQL.

A batch may also be decided ahead, while the one before is still being written: on accounts
that are read and not locked, and on what the earlier batch made of them. When its turn to be
written comes, the accounts are locked, and if anybody has changed one meanwhile nothing is
written, and the batch is decided anew the first way.

Almost always everybody can pay. Where somebody cannot, their market's book is taken back to
just before their order, the order is refused, and the rest of that market is matched again
one by one; a command that would now touch what is not locked ends the batch, and comes again
with the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from django.db import connection

from edge.ids import ROWS_PER_BATCH, first_id
from edge.journey import Journey, raw_connection
from live.outbox import record_on
from orderbook import matching
from orderbook.answers import (
    amend_answer,
    amended_of,
    cancel_all_answer,
    cancel_answer,
    order_answer,
    refused_answer,
)
from orderbook.auction import Cross
from orderbook.charges import Charges, charges_of, charges_of_cross, release
from orderbook.deeds import Deed, change_market
from orderbook.events import events_of
from orderbook.gate import Gate
from orderbook.known import Known
from orderbook.market_data.feed import advance
from orderbook.matching import Cause, MarketState
from orderbook.memory import Memory, Trading
from orderbook.models import OrderState
from orderbook.outcome import Outcome
from orderbook.plans import (
    AmendPlan,
    CancelAllPlan,
    CancelPlan,
    Part,
    PlacePlan,
    Plan,
    content_of,
    first_part,
    plans_of,
)
from orderbook.rows import NewOrder, StoredOrder, write_rows
from orderbook.settlement import Settlement
from orderbook.special_rows import write_special
from orderbook.steps import (
    Cancelled,
    Step,
    StopStep,
    described,
    next_stop,
)
from sequencer.commands import Answer, Command
from wallet.door import Foreseen, Posting, foreseen, locked, write_to
from wallet.items import Item, Refusal

MAKER_FAULTS = frozenset(
    {Refusal.CREDIT_ACCOUNT_CLOSED, Refusal.CEILING_EXCEEDED, Refusal.BALANCE_OVERFLOW}
)
"""Refusals that, on an item that pays a maker, are the maker's and not the taker's."""
ORDER_REFUSALS = {
    Refusal.DEBIT_ACCOUNT_FROZEN: "account_frozen",
    Refusal.DEBIT_ACCOUNT_CLOSED: "account_closed",
    Refusal.CREDIT_ACCOUNT_CLOSED: "account_closed",
}


STRIDE = 32
"""How many commands are decided between two looks at what is under way."""

Telling = Callable[[], Answer]
"""An answer that is decided, and put into words while PostgreSQL works."""


class BatchFull(Exception):
    """The command at hand touches what is not locked, or more than one commit carries."""


class NeedsTransaction(Exception):
    """The batch does what cannot be decided ahead, such as to halt a market."""


class MarketMoved(BatchFull):
    """A maker was expelled, and what the command meets instead is not locked."""


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
        self._stale: set[int] = set()
        self._posting: Posting | None = None
        self._last_transfer_id = 0
        self._is_full = False
        self._is_ahead = False
        self._meanwhile: Callable[[], object] = bool
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
        with connection.wrap_database_errors:
            self._known.hear(*journey.run())
        self._match_all()
        account_ids, hold_ids = self._touched()
        self._posting = locked(account_ids, sorted(hold_ids))
        self._settle_all()
        with connection.wrap_database_errors:
            trip = self._written().send(raw_connection())
            answers = self.answers()
            trip.finish()
        return answers

    # -- ahead of it -----------------------------------------------------------------------------

    def decide(self, meanwhile: Callable[[], None]) -> Journey | None:
        """Decide ahead; answer the journey that writes it. None: that needs a transaction.

        Calls `meanwhile` every millisecond or so. The journey goes into a transaction of its
        own. If that fails, or the answer is None, `outcome.take_back`.
        """
        self._is_ahead, self._meanwhile = True, meanwhile
        if self._gate.has_holding_periods:
            return None
        journey = Journey()
        self._memory.ask(journey)
        self._known.ask(journey, self._plans)
        with connection.wrap_database_errors:
            changed, *known = journey.run()
        if self._memory.is_stale(changed):
            return None
        self._known.hear(*known)
        try:
            self._match_all()
            earlier = self._earlier.foreseen if self._earlier else None
            self._posting = foreseen(*self._touched(), earlier)
            self._settle_all()
        except NeedsTransaction:
            return None
        return self._written()

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
        room = ROWS_PER_BATCH
        for index, plan in enumerate(self._plans):
            if not index % STRIDE:
                self._meanwhile()
            if isinstance(plan, Answer) or self._known.is_repeated(plan):
                continue
            self.outcome.touch(plan.trading)
            room -= plan.match()
            if room < 0 and (first := first_part(plan, index)):
                self._take_back_from(first)
                del self._plans[first:]
                return
            if isinstance(plan, PlacePlan | AmendPlan) and plan.halts:
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
        pairs: list[tuple[int, int]] = []
        account_ids: set[int] = set()
        hold_ids: set[int] = set()
        for deed in self._deeds:
            pairs.extend(deed.wallets())
            account_ids.update(deed.fee_accounts())
            hold_ids.update(self._memory.hold_of[order_id] for order_id in deed.orders())
        for plan in self._plans:
            if isinstance(plan, Answer) or plan.report is None:
                continue
            for part in (plan, *plan.stops):
                pairs.extend(part.wallets())
                hold_ids.update(self._holds(part))
                if part.report is not None and part.report.fills:
                    account_ids.add(plan.trading.fee_account_id)
        self.outcome.accounts_known = self._memory.know_accounts(pairs)
        account_ids.update(self._memory.account(*pair) for pair in pairs)
        return account_ids, hold_ids

    def _holds(self, part: Part) -> list[int]:
        hold_of = self._memory.hold_of
        return [hold_of[order_id] for order_id in part.holders() if order_id in hold_of]

    # -- settling ------------------------------------------------------------------------------

    def _settle_all(self) -> None:
        assert self._posting is not None
        self._last_transfer_id = first_id(self._posting.batch) + ROWS_PER_BATCH
        self._gate.look(self._posting.ledger)
        for deed in self._deeds:
            deed.settle(self)
        for index, plan in enumerate(self._plans):
            if not index % STRIDE:
                self._meanwhile()
            try:
                told = self._settle(plan)
            except BatchFull:
                assert index or self._deeds, "one command alone always fits"
                self._take_back_from(index, plan)
                break
            if told is not None:
                self._told.append(told)
            if isinstance(plan, Answer):
                continue
            if isinstance(plan, PlacePlan | AmendPlan) and plan.halts and self._halts(plan):
                self._is_full = True
            elif plan.report is not None:
                self._settle_stops(plan)
            if self._is_full:
                self._take_back_from(index + 1)
                break

    def _halts(self, step: PlacePlan | AmendPlan | StopStep) -> bool:
        """Halt a market whose next trade would have left its band; the batch ends with that."""
        row = self.outcome.orders.get(step.order_id) or self.outcome.changes.get(step.order_id)
        if not step.halts or row is None or row.state == OrderState.REFUSED:
            return False
        if self._is_ahead:
            raise NeedsTransaction
        trading = step.trading
        change_market(
            self.outcome, trading, state=MarketState.HALTED,
            until_us=self._now_us + trading.schedule.halt_s * 1_000_000,
            reason="a trade would have left the band",
        )  # fmt: skip
        return True

    def _settle(self, plan: Plan | Answer) -> Telling | None:
        """Carry out one plan. Nothing is told of a part of a command but its last."""
        if isinstance(plan, Answer):
            return partial(_same, plan)
        if isinstance(plan, PlacePlan) and (named := self._known.named.get(plan.digest)):
            return _replay(plan, named)
        if plan.trading.id in self._stale or plan.report is None:
            self._match_again(plan)
        if isinstance(plan, CancelPlan):
            return self._settle_cancel(plan)
        if isinstance(plan, CancelAllPlan):
            return self._settle_cancel_all(plan)
        if isinstance(plan, AmendPlan):
            return self._settle_amend(plan)
        return self._settle_place(plan) if isinstance(plan, PlacePlan) else None

    def _match_again(self, part: Part) -> None:
        """Match a command whose book has changed since; its accounts may not be locked."""
        self.outcome.touch(part.trading)
        part.match()
        assert self._posting is not None
        ledger = self._posting.ledger
        accounts = [self._memory.find_account(*pair) for pair in part.wallets()]
        if part.report is not None and part.report.fills:
            accounts.append(part.trading.fee_account_id)
        if not all(account in ledger.accounts for account in accounts):
            raise BatchFull
        if not all(hold in ledger.holds for hold in self._holds(part)):
            raise BatchFull

    def _take_back_from(self, index: int, matched_now: Plan | Answer | None = None) -> None:
        """Undo the matching of this command and of all that were matched after it.

        In a stale market nothing is matched ahead, but for the one command at hand.
        """
        undone: set[int] = set()
        for plan in self._plans[index:]:
            if isinstance(plan, Answer) or plan.mark < 0 or plan.trading.id in undone:
                continue
            if plan.trading.id not in self._stale or plan is matched_now:
                plan.trading.book.undo_to(plan.mark)
            undone.add(plan.trading.id)

    def _pay(self, chain: list[Item]) -> tuple[Refusal, int]:
        """Put a chain through the ledger: what was refused (or `CREATED`), and at which item."""
        self._need_room(len(chain))
        assert self._posting is not None
        return self._posting.ledger.decide(chain)

    def _need_room(self, count: int) -> None:
        """End the batch here if one commit does not carry so many ledger items more."""
        assert self._posting is not None
        if self._posting.ledger.next_id + count > self._last_transfer_id:
            raise BatchFull

    # -- an order that enters ------------------------------------------------------------------

    def _settle_place(self, plan: PlacePlan) -> Telling:
        assert plan.report is not None
        if plan.report.refusal:
            return self._refuse(plan, plan.report.refusal.code)
        charges, refusal = self._pay_for(plan)
        if refusal == "market_moved":
            return partial(refused_answer, plan.command, refusal)
        if charges is None:
            return self._refuse(plan, refusal)
        row = self._known.named[plan.digest] = self.outcome.add_order(plan)
        self.outcome.enter(row, plan, charges, *self._paid())
        return partial(order_answer, plan.command, row, plan.trading)

    def _refuse(self, plan: PlacePlan, code: str) -> Telling:
        row = self._known.named[plan.digest] = self.outcome.add_order(plan)
        self.outcome.refuse(row, code)
        return partial(order_answer, plan.command, row, plan.trading)

    def _settle_amend(self, plan: AmendPlan) -> Telling:
        report = plan.report
        assert report is not None
        if plan.has_no_stop:
            return partial(refused_answer, plan.command, "order_has_no_stop_price")
        if report.refusal is matching.Refusal.ORDER_UNKNOWN:
            return self._nothing_there(plan, plan.found_id)
        if report.refusal:
            return partial(refused_answer, plan.command, report.refusal.code)
        charges: Charges | None = None
        if report.is_replaced or report.cancelled_lots:
            charges, refusal = self._pay_for(plan)
            if charges is None:
                plan.halts = False
                return partial(refused_answer, plan.command, refusal)
            self.outcome.go_on(plan, charges, *self._paid())
        amended = amended_of(plan, charges)
        return partial(amend_answer, plan.command, amended)

    def _settle_stops(self, plan: Plan) -> None:
        """Let the stops run that a plan's trades elected, as far as there is room for them."""
        trading, ahead = plan.trading, deque(plan.stops)
        if not ahead and not trading.book.stops.turns:
            return
        while True:
            if trading.id not in self._stale:
                step = ahead.popleft() if ahead else None
            else:
                step = next_stop(trading, plan.at_id)
            if step is None:
                return
            try:
                if trading.id in self._stale:
                    self._match_again(step)
                if self._run_stop(step) and self._halts(step):
                    self._is_full = True
                    return
            except BatchFull:
                trading.book.undo_to(step.mark)
                self._stale.add(trading.id)
                self._is_full = True
                return

    def _run_stop(self, step: StopStep) -> bool:
        """Pay for a stop that runs, or cancel it; say whether it ran."""
        charges, _ = self._carry_out(step)
        if charges is None:
            self._expel(step, step.order_id)
        else:
            self.outcome.go_on(step, charges, *self._paid())
        return charges is not None

    def _pay_for(self, plan: PlacePlan | AmendPlan) -> tuple[Charges | None, str]:
        """Carry out a command's own order; a maker that was expelled may have moved the market."""
        try:
            return self._carry_out(plan)
        except MarketMoved:
            return None, "market_moved"

    def _carry_out(self, step: Step) -> tuple[Charges | None, str]:
        """Pay for a matched order; say why if it cannot be paid, and take its matching back.

        Where a maker's wallet is at fault, that maker is expelled with all that the order met of
        theirs from there on, and the order matched anew.
        """
        assert self._posting is not None
        while True:
            assert step.report is not None
            if step.report.refusal:
                return None, step.report.refusal.code
            if refused := self._beyond_limit(step):
                step.trading.book.undo_to(step.mark)
                self._stale.add(step.trading.id)
                return None, refused
            charges = charges_of(step, self._memory, self._posting.ledger)
            is_bound = step.trading.ownership.holding_s
            if is_bound and self._gate.is_too_young(step, charges.chain, self._posting.ledger):
                step.trading.book.undo_to(step.mark)
                self._stale.add(step.trading.id)
                return None, matching.Refusal.UNITS_TOO_YOUNG.code
            refusal, index = self._pay(charges.chain)
            if refusal is Refusal.CREATED:
                return charges, ""
            step.trading.book.undo_to(step.mark)
            self._stale.add(step.trading.id)
            maker_order_id = charges.receivers.get(index)
            if maker_order_id is None or refusal not in MAKER_FAULTS:
                return None, ORDER_REFUSALS.get(refusal, refusal.name.lower())
            for order_id in step.met_from(maker_order_id):
                self._expel(step, order_id)
            try:
                self._match_again(step)
            except BatchFull:
                step.trading.book.undo_to(step.mark)
                raise MarketMoved from None

    def _beyond_limit(self, step: Step) -> str:
        """Say why what is left of an order may not wait beside its owner's others, or nothing."""
        exposure, quote_id = self._memory.exposure, step.trading.quote_id
        if not exposure.is_limited:
            return ""
        orders, notional_minor = step.adds_waiting()
        if not orders and notional_minor <= 0:
            return ""
        return exposure.refusal(step.user_id, quote_id, notional_minor, orders)

    def _paid(self) -> tuple[int, int]:
        """The id of the last ledger item, and the ledger batch's name."""
        assert self._posting is not None
        return self._posting.ledger.next_id - 1, self.ledger_batch_id

    def _expel(self, step: Step, order_id: int) -> None:
        """Cancel an order whose owner may not pay, or not receive what it trades for."""
        book = step.trading.book
        gone = described(book, order_id)
        assert gone is not None
        report = matching.cancel(book, order_id, gone.owner_id, Cause.NOT_POSSIBLE)
        self.end(Cancelled(gone, report), step.trading, step.at_id)

    # -- an auction ----------------------------------------------------------------------------

    @property
    def ledger_batch_id(self) -> int:
        """The ledger's name for the batch: its first transfer's id."""
        assert self._posting is not None
        return first_id(self._posting.batch)

    def pay_cross(self, trading: Trading, cross: Cross) -> tuple[Refusal, int, Settlement]:
        """Put a trade of two waiting orders through the ledger.

        Answers the refusal (or `CREATED`), and the order whose wallet is at fault.
        """
        assert self._posting is not None
        ledger = self._posting.ledger
        chain, receivers, settlement = charges_of_cross(cross, trading, self._memory, ledger)
        refusal, index = self._pay(chain)
        assert refusal is Refusal.CREATED or (refusal in MAKER_FAULTS and index in receivers)
        return refusal, receivers.get(index, 0), settlement

    # -- cancellations -------------------------------------------------------------------------

    def _settle_cancel(self, plan: CancelPlan) -> Telling:
        assert plan.report is not None
        if plan.report.refusal:
            return self._nothing_there(plan, plan.order_id)
        for cancelled in plan.ended:
            self.end(cancelled, plan.trading, plan.at_id)
        return partial(cancel_answer, plan.command, plan.order_id, plan.trading)

    def _settle_cancel_all(self, plan: CancelAllPlan) -> Telling | None:
        # All or none: the first part asks for the whole command.
        parts = plan.parts if plan is plan.parts[0] else [plan]
        self._need_room(sum(len(part.ended) for part in parts))
        for cancelled in plan.ended:
            self.end(cancelled, plan.trading, plan.at_id)
        if plan is not plan.parts[-1]:
            return None
        count = sum(len(part.ended) for part in plan.parts)
        left = sum(part.left for part in plan.parts)
        return partial(cancel_all_answer, plan.command, count, left)

    def end(self, cancelled: Cancelled, trading: Trading, at_id: int) -> None:
        """Release the hold of an order that left the book, and note that it is over."""
        refusal, _ = self._pay([release(cancelled.what.order_id, self._memory)])
        assert refusal is Refusal.CREATED, refusal
        self.outcome.cancel(cancelled.what, trading.id, at_id, cancelled.report.cause)
        for gone in cancelled.report.dropped:
            self.outcome.cancel(gone, trading.id, at_id, Cause.PARTNER)

    def _nothing_there(self, plan: CancelPlan | AmendPlan, order_id: int) -> Telling:
        """Say why there is no live order; another's order does not exist for the asker."""
        known = (
            self.outcome.changes.get(order_id)
            or self.outcome.orders.get(order_id)
            or self._known.find(order_id)
        )
        is_own = known and (known.user_id, known.market_id) == (
            plan.command.user_id, plan.trading.id,
        )  # fmt: skip
        if known is None or not is_own:
            return partial(refused_answer, plan.command, "unknown_order")
        if known.state == OrderState.CANCELLED:
            if isinstance(plan, AmendPlan):
                return partial(refused_answer, plan.command, "order_already_cancelled")
            return partial(cancel_answer, plan.command, order_id, plan.trading, replayed=True)
        if known.state == OrderState.REFUSED:
            return partial(refused_answer, plan.command, "order_already_refused")
        return partial(refused_answer, plan.command, "order_already_filled")


def _replay(plan: PlacePlan, named: StoredOrder | NewOrder) -> Telling:
    """Answer a client order id that was used before: as the first time, or refuse the reuse."""
    if content_of(plan) != named.content:
        return partial(refused_answer, plan.command, "client_order_id_reused")
    return partial(order_answer, plan.command, named, plan.trading, replayed=True)


def _same(answer: Answer) -> Answer:
    return answer
