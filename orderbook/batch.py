"""One batch of the market: match ahead, lock once, check funds in sequence, write.

The makers of an order are known only after matching, yet a batch may lock its accounts only
once. So the whole batch is matched first as if everybody could pay, under the books'
journals; that tells which accounts and holds it touches. They are locked in one statement,
and then each command in turn is paid for by the ledger's rules.

Almost always everybody can pay. Where somebody cannot, their market's book is taken back to
just before their order, the order is refused, and the rest of that market is matched again
one by one; a command that would now touch what is not locked ends the batch, and comes again
with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from edge.ids import ROWS_PER_BATCH, first_id
from edge.postgres import array, raw_cursor, uuid_array
from orderbook import matching
from orderbook.answers import cancel_answer, order_answer, refused_answer
from orderbook.auction import Cross
from orderbook.charges import Charges, charges_of, charges_of_cross, release
from orderbook.deeds import Deed, change_market
from orderbook.matching import MarketState
from orderbook.memory import Memory, Trading
from orderbook.models import OrderState
from orderbook.outcome import Outcome
from orderbook.plans import CancelPlan, PlacePlan, Plan, plan_of
from orderbook.rows import NewOrder, StoredOrder, write_rows
from orderbook.settlement import Settlement
from sequencer.commands import Answer, Command
from wallet.door import Posting, opened
from wallet.items import Item, Refusal

NAMED_BY_DIGEST = """
SELECT order_id, digest FROM orderbook_clientorder WHERE digest = ANY(%s::uuid[])
"""
STORED_BY_ID = """
SELECT id, market_id, user_id, side, time_in_force, price_ticks, quantity_lots,
       client_order_id, entry_state, refusal, taken_lots, taken_minor, taken_fee_minor, state
  FROM orderbook_order WHERE id = ANY(%s::bigint[])
"""
MAKER_FAULTS = frozenset(
    {Refusal.CREDIT_ACCOUNT_CLOSED, Refusal.CEILING_EXCEEDED, Refusal.BALANCE_OVERFLOW}
)
"""Refusals that, on an item that pays a maker, are the maker's and not the taker's."""
ORDER_REFUSALS = {
    Refusal.DEBIT_ACCOUNT_FROZEN: "account_frozen",
    Refusal.DEBIT_ACCOUNT_CLOSED: "account_closed",
    Refusal.CREDIT_ACCOUNT_CLOSED: "account_closed",
}


Telling = Callable[[], Answer]
"""An answer that is decided, and put into words while PostgreSQL works."""


class BatchFull(Exception):
    """The command at hand touches what is not locked, or more than one commit carries."""


class Batch:
    """One batch being decided, by one thread, inside one transaction."""

    def __init__(
        self,
        memory: Memory,
        commands: Sequence[Command],
        batch_id: int,
        *,
        deeds: Sequence[Deed] = (),
        now_us: int = 0,
    ) -> None:
        self.outcome = Outcome(memory, first_id(batch_id))
        self._memory = memory
        self._deeds = deeds
        self._now_us = now_us
        self._plans = [
            plan_of(command, memory, self.outcome.first_order_id + index)
            for index, command in enumerate(commands[:ROWS_PER_BATCH])
        ]
        self._named: dict[bytes, StoredOrder | NewOrder] = {}
        self._stored: dict[int, StoredOrder] = {}
        self._stale: set[int] = set()
        self._posting: Posting | None = None

    def run(self) -> list[Answer]:
        """Decide and write as many of the commands as one commit carries, after the deeds."""
        self._look_up()
        for deed in self._deeds:
            self.outcome.books.update(deed.books())
            deed.match()
        self._match_ahead()
        account_ids, hold_ids = self._touched()
        with opened(account_ids, hold_ids, names_hold_accounts=True) as self._posting:
            for deed in self._deeds:
                deed.settle(self)
            answers = self._settle_all()
            outcome = self.outcome
            with raw_cursor() as cursor:
                return write_rows(
                    cursor,
                    list(outcome.orders.values()),
                    outcome.fills,
                    list(outcome.changes.values()),
                    meanwhile=lambda: [tell() for tell in answers],
                )

    # -- what is known already -----------------------------------------------------------------

    def _look_up(self) -> None:
        """Read the orders that the batch's client order ids name already, and those to cancel."""
        plans = [plan for plan in self._plans if not isinstance(plan, Answer)]
        digests = [plan.digest for plan in plans if plan.digest is not None]
        ids = {
            plan.order_id
            for plan in plans
            if isinstance(plan, CancelPlan) and plan.order_id not in plan.trading.book.orders
        }
        named: dict[int, bytes] = {}
        with raw_cursor() as cursor:
            if digests:
                cursor.execute(NAMED_BY_DIGEST, (uuid_array(digests),), prepare=True, binary=True)
                named = {order_id: digest.bytes for order_id, digest in cursor.fetchall()}
            ids.update(named)
            ids.discard(0)
            if ids:
                cursor.execute(STORED_BY_ID, (array(ids),), prepare=True, binary=True)
                self._stored.update((row[0], StoredOrder(*row)) for row in cursor.fetchall())
        self._named.update((digest, self._stored[id]) for id, digest in named.items())

    # -- matching ahead ------------------------------------------------------------------------

    def _match_ahead(self) -> None:
        """Match all that is new as if everybody could pay, up to what one commit carries."""
        claimed = {digest: order.id for digest, order in self._named.items()}
        room = ROWS_PER_BATCH
        for index, plan in enumerate(self._plans):
            if isinstance(plan, Answer):
                continue
            if isinstance(plan, PlacePlan):
                if plan.digest in claimed:
                    continue
                claimed[plan.digest] = plan.order_id
            elif plan.digest is not None:
                plan.order_id = claimed.get(plan.digest, 0)
            self.outcome.books.add(plan.trading.id)
            room -= plan.match()
            if room < 0 and index:
                self._take_back_from(index)
                del self._plans[index:]
                return

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
            pairs.extend(plan.wallets())
            hold_ids.update(self._holds(plan))
            if plan.report.fills:
                account_ids.add(plan.trading.fee_account_id)
        self.outcome.accounts_known = self._memory.know_accounts(pairs)
        account_ids.update(self._memory.account(*pair) for pair in pairs)
        return account_ids, hold_ids

    def _holds(self, plan: Plan) -> list[int]:
        hold_of = self._memory.hold_of
        return [hold_of[order_id] for order_id in plan.makers() if order_id in hold_of]

    # -- settling ------------------------------------------------------------------------------

    def _settle_all(self) -> list[Telling]:
        answers: list[Telling] = []
        for index, plan in enumerate(self._plans):
            try:
                answers.append(self._settle(plan))
            except BatchFull:
                assert index or self._deeds, "one command alone always fits"
                self._take_back_from(index)
                break
            if isinstance(plan, PlacePlan) and self._halts(plan):
                self._take_back_from(index + 1, is_matched=False)
                break
        return answers

    def _halts(self, plan: PlacePlan) -> bool:
        """Halt a market whose next trade would have left its band; the batch ends with that."""
        row = self.outcome.orders.get(plan.order_id)
        if not plan.halts or row is None or row.state == OrderState.REFUSED:
            return False
        trading = plan.trading
        change_market(
            self.outcome, trading, state=MarketState.HALTED,
            until_us=self._now_us + trading.schedule.halt_s * 1_000_000,
            reason="a trade would have left the band",
        )  # fmt: skip
        return True

    def _settle(self, plan: Plan | Answer) -> Telling:
        if isinstance(plan, Answer):
            return partial(_same, plan)
        if isinstance(plan, PlacePlan) and (named := self._named.get(plan.digest)):
            return _replay(plan, named)
        if plan.trading.id in self._stale or plan.report is None:
            self._match_again(plan)
        if isinstance(plan, CancelPlan):
            return self._settle_cancel(plan)
        return self._settle_place(plan)

    def _match_again(self, plan: Plan) -> None:
        """Match a command whose book has changed since; its accounts may not be locked."""
        self.outcome.books.add(plan.trading.id)
        plan.match()
        assert self._posting is not None
        ledger = self._posting.ledger
        accounts = [self._memory.find_account(*pair) for pair in plan.wallets()]
        if plan.makers():
            accounts.append(plan.trading.fee_account_id)
        if not all(account in ledger.accounts for account in accounts):
            raise BatchFull
        if not all(hold in ledger.holds for hold in self._holds(plan)):
            raise BatchFull

    def _take_back_from(self, index: int, *, is_matched: bool = True) -> None:
        """Undo the matching of this command and of all that were matched after it.

        `is_matched` says that the first of them was matched on the book as it stands.
        """
        undone: set[int] = set()
        for position, plan in enumerate(self._plans[index:]):
            if isinstance(plan, Answer) or plan.mark < 0 or plan.trading.id in undone:
                continue
            is_standing = plan.trading.id not in self._stale or (is_matched and not position)
            if is_standing:
                plan.trading.book.undo_to(plan.mark)
            undone.add(plan.trading.id)

    def _pay(self, chain: list[Item]) -> tuple[Refusal, int]:
        """Put a chain through the ledger: what was refused (or `CREATED`), and at which item."""
        assert self._posting is not None
        ledger = self._posting.ledger
        if ledger.next_id + len(chain) > first_id(self._posting.batch) + ROWS_PER_BATCH:
            raise BatchFull
        results = self._posting.apply(chain) if chain else []
        for index, result in enumerate(results):
            if not result.is_created and result.refusal is not Refusal.CHAIN_REFUSED:
                return result.refusal, index
        return Refusal.CREATED, 0

    # -- a new order ---------------------------------------------------------------------------

    def _settle_place(self, plan: PlacePlan) -> Telling:
        assert self._posting is not None
        while True:
            report = plan.report
            assert report is not None
            if report.refusal:
                return self._refuse(plan, report.refusal.code)
            if refused := self._beyond_limit(plan, report):
                plan.trading.book.undo_to(plan.mark)
                self._stale.add(plan.trading.id)
                return self._refuse(plan, refused)
            charges = charges_of(plan, report, self._memory, self._posting.ledger)
            refusal, index = self._pay(charges.chain)
            if refusal is Refusal.CREATED:
                return self._accept(plan, report, charges)
            plan.trading.book.undo_to(plan.mark)
            self._stale.add(plan.trading.id)
            maker_order_id = charges.receivers.get(index)
            if maker_order_id is None or refusal not in MAKER_FAULTS:
                return self._refuse(plan, ORDER_REFUSALS.get(refusal, refusal.name.lower()))
            self._expel(plan, maker_order_id)
            try:
                self._match_again(plan)
            except BatchFull:
                plan.trading.book.undo_to(plan.mark)
                return partial(refused_answer, plan.command, "market_moved")

    def _accept(self, plan: PlacePlan, report: matching.Report, charges: Charges) -> Telling:
        assert self._posting is not None
        ledger = self._posting.ledger
        row = self._named[plan.digest] = self.outcome.add_order(plan)
        for fill, settlement in zip(report.fills, charges.settlements, strict=True):
            self.outcome.add_fill(row, fill, settlement, first_id(self._posting.batch))
        hold_id = ledger.next_id - 1 if report.resting_lots else None
        self.outcome.place(row, hold_id)
        return partial(order_answer, plan.command, row, plan.trading)

    def _refuse(self, plan: PlacePlan, code: str) -> Telling:
        row = self._named[plan.digest] = self.outcome.add_order(plan)
        row.entry_state = row.state = OrderState.REFUSED
        row.refusal, row.ended_id = code, row.id
        return partial(order_answer, plan.command, row, plan.trading)

    def _expel(self, plan: PlacePlan, order_id: int) -> None:
        """Cancel a resting order whose owner's wallet may not receive what it trades for."""
        book = plan.trading.book
        order = book.orders[order_id]
        matching.cancel(book, order_id, order.owner_id)
        self.release(order_id)
        self.outcome.cancel(order, plan.trading.id, plan.order_id)

    def _beyond_limit(self, plan: PlacePlan, report: matching.Report) -> str:
        """Say why what is left of an order may not wait beside its owner's others, or nothing."""
        if not report.resting_lots:
            return ""
        trading, order = plan.trading, plan.order
        notional_minor = order.price_ticks * report.resting_lots * trading.tick_minor
        return self._memory.exposure.refusal(order.owner_id, trading.quote_id, notional_minor)

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

    # -- a cancellation ------------------------------------------------------------------------

    def _settle_cancel(self, plan: CancelPlan) -> Telling:
        assert plan.report is not None
        if plan.report.refusal:
            return self._nothing_to_cancel(plan)
        assert plan.order is not None
        self.release(plan.order_id)
        self.outcome.cancel(plan.order, plan.trading.id, plan.ended_id)
        return partial(cancel_answer, plan.command, plan.order_id, plan.trading)

    def release(self, order_id: int) -> None:
        """Give back all that an order still has on hold."""
        refusal, _ = self._pay([release(order_id, self._memory)])
        assert refusal is Refusal.CREATED, refusal

    def _nothing_to_cancel(self, plan: CancelPlan) -> Telling:
        """Say why there is nothing to cancel; another's order does not exist for the asker."""
        order_id = plan.order_id
        known = (
            self.outcome.changes.get(order_id)
            or self.outcome.orders.get(order_id)
            or self._stored.get(order_id)
        )
        is_own = known and (known.user_id, known.market_id) == (
            plan.command.user_id, plan.trading.id,
        )  # fmt: skip
        if known is None or not is_own:
            return partial(refused_answer, plan.command, "unknown_order")
        if known.state == OrderState.CANCELLED:
            return partial(cancel_answer, plan.command, order_id, plan.trading, replayed=True)
        if known.state == OrderState.REFUSED:
            return partial(refused_answer, plan.command, "order_already_refused")
        return partial(refused_answer, plan.command, "order_already_filled")


def _replay(plan: PlacePlan, named: StoredOrder | NewOrder) -> Telling:
    """Answer a client order id that was used before: as the first time, or refuse the reuse."""
    order = plan.order
    asked = (
        plan.trading.id, order.side, order.price_ticks, order.quantity_lots, order.time_in_force,
    )  # fmt: skip
    before = (
        named.market_id, named.side, named.price_ticks, named.quantity_lots, named.time_in_force,
    )  # fmt: skip
    if asked != before:
        return partial(refused_answer, plan.command, "client_order_id_reused")
    return partial(order_answer, plan.command, named, plan.trading, replayed=True)


def _same(answer: Answer) -> Answer:
    return answer
