"""Pays for a matched batch: each plan in turn, by the ledger's rules, on accounts that are known.

Almost always everybody can pay. Where somebody cannot, their market's book is taken back to
just before their order, the order is refused, and the rest of that market is matched again
one by one; a command that would now touch what is not known ends the batch, and comes again
with the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from edge.ids import ROWS_PER_BATCH, first_id
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
from orderbook.gate import Gate
from orderbook.known import Known
from orderbook.matching import Cause, MarketState
from orderbook.memory import Memory, Trading
from orderbook.models import OrderState
from orderbook.outcome import Outcome
from orderbook.plans import (
    FIRST_REMEMBERED,
    MAY_HALT,
    AmendPlan,
    CancelAllPlan,
    CancelPlan,
    Part,
    PlacePlan,
    Plan,
    content_of,
)
from orderbook.refusal_words import allowed_by
from orderbook.rows import NewOrder, StoredOrder
from orderbook.settlement import Settlement
from orderbook.steps import (
    Cancelled,
    Step,
    StopStep,
    described,
    next_stop,
)
from sequencer.commands import Answer
from sequencer.engine import Meanwhile
from wallet.door import Posting
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


MOST_TRANSFERS = ROWS_PER_BATCH
"""How many ledger items one commit carries."""
STRIDE = 32
"""How many commands are decided between two looks at what is under way."""

Telling = Callable[[], Answer]
"""An answer that is decided, and put into words while PostgreSQL works."""


class BatchFull(Exception):
    """The command at hand touches what is not locked, or more than one commit carries."""


class CannotSettle(RuntimeError):
    """The market itself cannot be paid: its fee account is closed, or may hold no more."""


class NeedsTransaction(Exception):
    """The batch does what cannot be decided ahead, such as to halt a market."""


class MarketMoved(BatchFull):
    """A maker was expelled, and what the command meets instead is not locked."""


class Paying:
    """One batch on its way through the ledger's door.

    `is_ahead`: outside a transaction, so that no row may be changed on the way. `meanwhile` sees
    to the batch under way.
    """

    def __init__(
        self,
        outcome: Outcome,
        plans: list[Plan | Answer],
        *,
        memory: Memory,
        known: Known,
        gate: Gate,
        posting: Posting,
        now_us: int,
        is_ahead: bool,
        meanwhile: Meanwhile,
    ) -> None:
        self.outcome = outcome
        self._plans = plans
        self._memory = memory
        self._known = known
        self._gate = gate
        self._posting = posting
        self._ledger = posting.ledger
        self._last_transfer_id = first_id(posting.batch) + MOST_TRANSFERS
        self._now_us = now_us
        self._is_ahead = is_ahead
        self._meanwhile = meanwhile
        self._stale: set[int] = set()
        self._is_full = False

    # -- settling ------------------------------------------------------------------------------

    def settle_all(self, deeds: Sequence[Deed]) -> list[Telling]:
        """Carry out deeds and plans, as many as one commit carries; answer what to tell of them."""
        told_all: list[Telling] = []
        self._gate.look(self._ledger)
        for deed in deeds:
            deed.settle(self)
        for index, plan in enumerate(self._plans):
            if not index % STRIDE:
                self._meanwhile.push()
            try:
                told = self._settle(plan)
            except BatchFull:
                assert index or deeds, "one command alone always fits"
                self._take_back_from(index, plan)
                break
            if told is not None:
                told_all.append(told)
            if isinstance(plan, Answer):
                continue
            if isinstance(plan, MAY_HALT) and plan.halts and self._halts(plan):
                self._is_full = True
            elif plan.report is not None:
                self._settle_stops(plan)
            if self._is_full:
                self._take_back_from(index + 1)
                break
        return told_all

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
        ledger = self._ledger
        accounts = [self._memory.find_account(*pair) for pair in part.wallets()]
        if part.report is not None and part.report.fills:
            accounts.append(part.trading.fee_account_id)
        if not all(account in ledger.accounts for account in accounts):
            raise BatchFull
        if not all(hold in ledger.holds for hold in holds_of(part, self._memory)):
            raise BatchFull

    def _take_back_from(self, index: int, matched_now: Plan | Answer | None = None) -> None:
        """Undo the matching of this command and of all that were matched after it.

        In a stale market nothing is matched ahead, but for the one command at hand.
        """
        left = self._plans[index:]
        take_back(
            plan
            for plan in left
            if isinstance(plan, Answer) or plan.trading.id not in self._stale or plan is matched_now
        )

    def _pay(self, chain: list[Item]) -> tuple[Refusal, int]:
        """Put a chain through the ledger: what was refused (or `CREATED`), and at which item."""
        self._need_room(len(chain))
        return self._ledger.decide(chain)

    def _need_room(self, count: int) -> None:
        """End the batch here if one commit does not carry so many ledger items more."""
        if self._ledger.next_id + count > self._last_transfer_id:
            raise BatchFull

    # -- an order that enters ------------------------------------------------------------------

    def _settle_place(self, plan: PlacePlan) -> Telling:
        assert plan.report is not None
        rule = plan.report.refusal
        if rule and rule < FIRST_REMEMBERED:
            members = allowed_by(plan.trading.terms, rule)
            return partial(refused_answer, plan.command, rule.code, members=members)
        if rule:
            return self._refuse(plan, rule.code)
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
        while True:
            assert step.report is not None
            if step.report.refusal:
                return None, step.report.refusal.code
            if refused := self._beyond_limit(step):
                step.trading.book.undo_to(step.mark)
                self._stale.add(step.trading.id)
                return None, refused
            charges = charges_of(step, self._memory, self._ledger)
            is_bound = step.trading.ownership.holding_s
            if is_bound and self._gate.is_too_young(step, charges.chain, self._ledger):
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
        return self._ledger.next_id - 1, self.ledger_batch_id

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
        return first_id(self._posting.batch)

    def pay_cross(self, trading: Trading, cross: Cross) -> tuple[Refusal, int, Settlement]:
        """Put a trade of two waiting orders through the ledger.

        Answers the refusal (or `CREATED`), and the order whose wallet is at fault. Raises
        `CannotSettle` if none is: the auction is tried again later.
        """
        ledger = self._ledger
        chain, receivers, settlement = charges_of_cross(cross, trading, self._memory, ledger)
        refusal, index = self._pay(chain)
        if refusal is not Refusal.CREATED and not (refusal in MAKER_FAULTS and index in receivers):
            raise CannotSettle(f"{trading.code}: {chain[index]} is refused: {refusal.name}")
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


def take_back(plans: Iterable[Plan | Answer]) -> None:
    """Undo the matching of plans that follow each other: each book goes back to the first."""
    undone: set[int] = set()
    for plan in plans:
        if isinstance(plan, Answer) or plan.mark < 0 or plan.trading.id in undone:
            continue
        plan.trading.book.undo_to(plan.mark)
        undone.add(plan.trading.id)


def holds_of(part: Part, memory: Memory) -> list[int]:
    """The holds that a matched part touches, of earlier orders."""
    hold_of = memory.hold_of
    return [hold_of[order_id] for order_id in part.holders() if order_id in hold_of]


def _replay(plan: PlacePlan, named: StoredOrder | NewOrder) -> Telling:
    """Answer a client order id that was used before: as the first time, or refuse the reuse."""
    if content_of(plan) != named.content:
        return partial(refused_answer, plan.command, "client_order_id_reused")
    return partial(order_answer, plan.command, named, plan.trading, replayed=True)


def _same(answer: Answer) -> Answer:
    return answer
