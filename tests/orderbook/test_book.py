"""The book by itself: queues, best prices, depth, journal, rebuilding, memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from orderbook.book import Book, Depth, Level, RestingOrder, Side

ROWS = [
    RestingOrder(3, 10, Side.BUY, 99, 5),
    RestingOrder(1, 11, Side.BUY, 98, 7),
    RestingOrder(2, 10, Side.BUY, 98, 1),
    RestingOrder(4, 12, Side.SELL, 101, 2),
    RestingOrder(6, 12, Side.SELL, 101, 3),
    RestingOrder(5, 13, Side.SELL, 105, 9),
]


def book_of(*rows: RestingOrder) -> Book:
    book = Book.load(rows)
    book.check()
    return book


def test_better_prices_come_first_and_older_orders_within_a_price() -> None:
    late_first = book_of(ROWS[1], ROWS[5], ROWS[2], ROWS[0], ROWS[3], ROWS[4])
    assert list(late_first.resting()) == ROWS


def test_depth_sums_each_price_and_stops_where_asked() -> None:
    book = book_of(*ROWS)
    assert book.depth(10) == Depth([(99, 5), (98, 8)], [(101, 5), (105, 9)])
    assert book.depth(1) == Depth([(99, 5)], [(101, 5)])
    assert Book().depth(10) == Depth([], [])


def test_best_and_lots_at_know_an_empty_side() -> None:
    book = book_of(*ROWS[:3])
    assert (book.best(Side.BUY), book.best(Side.SELL)) == ((99, 5), None)
    assert (book.lots_at(Side.BUY, 98), book.lots_at(Side.BUY, 97)) == (8, 0)
    assert book.lots_at(Side.SELL, 98) == 0


def test_order_knows_its_side_and_price() -> None:
    order = book_of(*ROWS).orders[4]
    assert (order.side, order.price_ticks, order.lots) == (Side.SELL, 101, 2)


def test_removing_from_the_middle_leaves_the_others_in_order() -> None:
    rows = [RestingOrder(id, 1, Side.SELL, 50, id) for id in range(1, 6)]
    book = book_of(*rows)
    for gone in (3, 1, 5):
        book.remove(book.orders[gone])
        book.check()
    assert list(book.resting()) == [rows[1], rows[3]]
    assert book.lots_at(Side.SELL, 50) == 6


def test_filled_order_leaves_and_the_next_price_is_best() -> None:
    book = book_of(*ROWS)
    book.lower(book.orders[3], 2)
    assert book.best(Side.BUY) == (99, 3)
    book.lower(book.orders[3], 3)
    book.check()
    assert book.best(Side.BUY) == (98, 8)
    assert 3 not in book.orders


def test_undo_restores_queue_places_lots_and_emptied_prices() -> None:
    book = book_of(*ROWS)
    before, mark = book.state_hash(), book.mark()
    book.lower(book.orders[1], 6)
    book.remove(book.orders[2])
    book.lower(book.orders[1], 1)  # the price is now empty
    book.rest(8, 14, Side.BUY, 98, 4)  # and is made anew
    book.remove(book.orders[8])
    book.rest(9, 14, Side.BUY, 100, 1)
    book.undo_to(mark)
    book.check()
    assert list(book.resting()) == ROWS
    assert (book.state_hash(), book.mark()) == (before, mark)


def test_undo_to_a_later_mark_keeps_what_came_before_it() -> None:
    book = Book()
    book.rest(1, 1, Side.BUY, 10, 1)
    mark = book.mark()
    book.rest(2, 1, Side.BUY, 10, 2)
    book.remove(book.orders[1])
    book.undo_to(mark)
    assert list(book.resting()) == [RestingOrder(1, 1, Side.BUY, 10, 1)]
    book.undo_to(0)
    assert list(book.resting()) == []


def test_a_forgotten_mark_is_refused() -> None:
    book = book_of(*ROWS)
    mark = book.mark()
    book.remove(book.orders[1])
    book.forget()
    with pytest.raises(AssertionError, match="forgotten"):
        book.undo_to(mark)
    assert 1 not in book.orders


def test_what_came_after_a_forgotten_part_can_still_be_taken_back() -> None:
    book = book_of(*ROWS)
    book.remove(book.orders[1])
    durable, state = book.mark(), book.state_hash()
    book.remove(book.orders[2])
    book.forget_to(durable)
    book.undo_to(durable)
    assert (book.state_hash(), book.mark()) == (state, durable)


def test_loading_an_order_twice_or_without_lots_is_refused() -> None:
    with pytest.raises(AssertionError, match="order 1 is there twice"):
        Book.load([(1, 1, 1, 10, 1), (1, 1, 1, 11, 1)])
    with pytest.raises(AssertionError):
        Book.load([(1, 1, 1, 10, 0)])


@pytest.mark.parametrize(
    "other",
    [
        [*ROWS[:1], ROWS[2], ROWS[1], *ROWS[3:]],  # another order in the queue
        [*ROWS[:5], ROWS[5]._replace(quantity_lots=8)],
        [*ROWS[:5], ROWS[5]._replace(owner_id=1)],
        [*ROWS[:5], ROWS[5]._replace(price_ticks=106)],
        [*ROWS[:5], ROWS[5]._replace(order_id=7)],
        ROWS[:5],
    ],
)
def test_state_hash_tells_books_apart(other: list[RestingOrder]) -> None:
    assert book_of(*ROWS).state_hash() == book_of(*ROWS).state_hash()
    assert book_of(*ROWS).state_hash() != book_of(*other).state_hash()


def damage_link(book: Book) -> None:
    book.orders[2].prev = None


def damage_total(book: Book) -> None:
    book.orders[1].level.lots += 1


def damage_best(book: Book) -> None:
    book.asks.best_key = 102


def damage_lots(book: Book) -> None:
    book.orders[5].lots = 0


def damage_index(book: Book) -> None:
    del book.orders[6]


def damage_crossed(book: Book) -> None:
    book.rest(9, 1, Side.BUY, 101, 1)


def damage_empty_level(book: Book) -> None:
    book.asks.add(Level(book.asks, 300))


@pytest.mark.parametrize(
    "damage",
    [
        damage_link, damage_total, damage_best, damage_lots, damage_index, damage_crossed,
        damage_empty_level,
    ],
)  # fmt: skip
def test_check_notices(damage: object) -> None:
    book = book_of(*ROWS)
    assert callable(damage)
    damage(book)
    with pytest.raises(AssertionError):
        book.check()


def test_a_dropped_book_leaves_nothing_behind() -> None:
    """The garbage collector does not see orders, so the book itself must let them go.

    An order that stayed would keep its price level, which the collector does see.
    """

    book = book_of(*ROWS)
    ours = {id(level) for ladder in (book.bids, book.asks) for level in ladder.levels.values()}

    def levels_alive() -> int:
        gc.collect()
        return sum(type(thing) is Level and id(thing) in ours for thing in gc.get_objects())

    book.lower(book.orders[1], 7)
    book.remove(book.orders[5])
    assert levels_alive() == len(ours) == 4
    del book
    assert levels_alive() == 0


LONG_QUEUE = """
from orderbook.book import Book, Side
book = Book.load((id, 1, 2, 50, 1) for id in range(200_000))
for id in range({cancelled}):
    book.remove(book.orders[id])
if {forget}:
    book.forget()
del book
print("gone")
"""


@pytest.mark.parametrize(("cancelled", "forget"), [(200_000, True), (100_000, False), (0, False)])
def test_a_long_queue_is_let_go_without_recursion(cancelled: int, forget: bool) -> None:
    """In a process of its own: a recursion down the queue would end the process."""
    ran = subprocess.run(
        [sys.executable, "-c", LONG_QUEUE.format(cancelled=cancelled, forget=forget)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "gone\n"), ran.stderr


def test_orders_are_not_tracked_by_the_garbage_collector() -> None:
    book = book_of(*ROWS)
    assert not any(gc.is_tracked(order) for order in book.orders.values())
    assert isinstance(book.orders[1], msgspec.Struct)
