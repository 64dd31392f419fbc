"""What becomes of one order: each rule by an example, each refusal by a row."""

from __future__ import annotations

import msgspec
import pytest

from orderbook.book import Book, Side
from orderbook.matching import (
    Cause,
    Conditions,
    Fill,
    MarketState,
    Place,
    Prevented,
    Refusal,
    Report,
    SelfTrade,
    Terms,
    TimeInForce,
    cancel,
    check,
    check_conditions,
    place,
    reduce,
)

BUY, SELL = Side.BUY, Side.SELL
GTC, IOC = TimeInForce.GOOD_TILL_CANCELLED, TimeInForce.IMMEDIATE_OR_CANCEL
FOK, POST_ONLY = TimeInForce.FILL_OR_KILL, TimeInForce.POST_ONLY
OLDEST = SelfTrade.CANCEL_OLDEST
ANN, BEN, CEM = 10, 11, 12


@pytest.fixture
def book() -> Book:
    """Ann sells 5 at 101 and then Ben 3; Ben sells 4 at 103. Cem buys 2 at 99."""
    return Book.load(
        [
            (1, ANN, SELL, 101, 5),
            (2, BEN, SELL, 101, 3),
            (3, BEN, SELL, 103, 4),
            (4, CEM, BUY, 99, 2),
        ],
        last_ticks=95,
    )


def waiting(book: Book) -> list[tuple[int, int]]:
    book.check()
    return [(order.order_id, order.quantity_lots) for order in book.resting()]


def traded(report: Report) -> list[tuple[int, int, int, int]]:
    """(maker, price, lots, left of the maker) of each fill."""
    return [
        (f.maker_order_id, f.price_ticks, f.quantity_lots, f.maker_left_lots) for f in report.fills
    ]


# -- trading ---------------------------------------------------------------------------------


def test_order_that_meets_nobody_waits(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 100, 6))
    assert report == Report(9, Refusal.ACCEPTED, resting_lots=6)
    assert waiting(book) == [(9, 6), (4, 2), (1, 5), (2, 3), (3, 4)]


def test_taker_pays_maker_price_and_oldest_maker_goes_first(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 102, 6))
    assert report == Report(
        9,
        fills=[Fill(1, ANN, 9, CEM, BUY, 101, 5, 0), Fill(2, BEN, 9, CEM, BUY, 101, 1, 2)],
        prevented=[],
        dropped=[],
        requeued=[],
    )
    assert waiting(book) == [(4, 2), (2, 2), (3, 4)]


def test_seller_takes_the_best_bid_at_its_price(book: Book) -> None:
    report = place(book, Place(9, ANN, SELL, 90, 3))
    assert traded(report) == [(4, 99, 2, 0)]
    assert report.resting_lots == 1
    assert waiting(book) == [(9, 1), (1, 5), (2, 3), (3, 4)]


def test_what_is_left_of_a_taker_waits_at_its_own_price(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 102, 10))
    assert traded(report) == [(1, 101, 5, 0), (2, 101, 3, 0)]
    assert (report.resting_lots, report.cancelled_lots) == (2, 0)
    assert book.best(BUY) == (102, 2)


def test_partly_filled_maker_keeps_its_place(book: Book) -> None:
    place(book, Place(8, CEM, BUY, 101, 1))
    assert traded(place(book, Place(9, CEM, BUY, 101, 5))) == [(1, 101, 4, 0), (2, 101, 1, 2)]


def test_immediate_or_cancel_leaves_nothing_waiting(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 101, 10, IOC))
    assert (len(report.fills), report.cancelled_lots, report.cause) == (2, 2, Cause.IMMEDIATE)
    assert waiting(book) == [(4, 2), (3, 4)]


def test_immediate_or_cancel_that_meets_nobody_is_cancelled_whole(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 100, 10, IOC))
    assert report == Report(9, cancelled_lots=10, cause=Cause.IMMEDIATE)
    assert waiting(book) == [(4, 2), (1, 5), (2, 3), (3, 4)]


def test_fill_or_kill_fills_whole_across_prices(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 103, 12, FOK))
    assert traded(report) == [(1, 101, 5, 0), (2, 101, 3, 0), (3, 103, 4, 0)]
    assert waiting(book) == [(4, 2)]


def test_post_only_that_meets_nobody_waits(book: Book) -> None:
    assert place(book, Place(9, CEM, BUY, 100, 1, POST_ONLY)).resting_lots == 1


def test_order_meets_at_most_so_many_makers(book: Book) -> None:
    report = place(book, Place(9, CEM, BUY, 103, 12), most_fills=2)
    assert traded(report) == [(1, 101, 5, 0), (2, 101, 3, 0)]
    assert (report.resting_lots, report.cancelled_lots) == (0, 4)
    assert report.cause is Cause.TOO_MANY_FILLS
    assert waiting(book) == [(4, 2), (3, 4)]


# -- self-trade ------------------------------------------------------------------------------

BEN_GONE = Prevented(2, 3, 0, 101)
SELF_TRADES = [
    # policy                  prevented    rests gone cause
    (SelfTrade.CANCEL_NEWEST, [],              0, 4, Cause.SELF_TRADE),
    (SelfTrade.CANCEL_OLDEST, [BEN_GONE],      4, 0, Cause.NONE),
    (SelfTrade.CANCEL_BOTH,   [BEN_GONE],      0, 4, Cause.SELF_TRADE),
    (SelfTrade.DECREMENT,     [BEN_GONE],      1, 3, Cause.SELF_TRADE),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "prevented", "rests", "gone", "cause"), SELF_TRADES)
def test_self_trade_is_prevented(
    book: Book, policy: SelfTrade, prevented: list[Prevented], rests: int, gone: int, cause: Cause
) -> None:
    """Ben buys 9 at 101: 5 from Ann, and then his own offer of 3 stands in the way."""
    report = place(book, Place(9, BEN, BUY, 101, 9, GTC, policy))
    assert (traded(report), report.prevented) == ([(1, 101, 5, 0)], prevented)
    assert (report.resting_lots, report.cancelled_lots, report.cause) == (rests, gone, cause)
    assert 5 + rests + gone == 9
    book.check()


def test_decrement_leaves_the_larger_order(book: Book) -> None:
    report = place(book, Place(9, ANN, BUY, 101, 2, GTC, SelfTrade.DECREMENT))
    assert report.prevented == [Prevented(1, 2, 3, 101)]
    assert (report.fills, report.resting_lots, report.cancelled_lots) == ([], 0, 2)
    assert waiting(book) == [(4, 2), (1, 3), (2, 3), (3, 4)]


def test_immediate_decrement_accounts_for_every_lot(book: Book) -> None:
    report = place(book, Place(9, ANN, BUY, 101, 10, IOC, SelfTrade.DECREMENT))
    assert (traded(report), report.prevented) == ([(2, 101, 3, 0)], [Prevented(1, 5, 0, 101)])
    assert (report.cancelled_lots, report.cause) == (7, Cause.IMMEDIATE)


def test_fill_or_kill_counts_past_own_orders_only_if_those_are_cancelled(book: Book) -> None:
    assert place(book, Place(8, ANN, BUY, 103, 7, FOK)).refusal is Refusal.FILL_OR_KILL_UNFILLED
    assert waiting(book) == [(4, 2), (1, 5), (2, 3), (3, 4)]
    report = place(book, Place(9, ANN, BUY, 103, 7, FOK, SelfTrade.CANCEL_OLDEST))
    assert traded(report) == [(2, 101, 3, 0), (3, 103, 4, 0)]
    assert report.prevented == [Prevented(1, 5, 0, 101)]


# -- cancelling and reducing -----------------------------------------------------------------


def test_cancel_takes_what_is_left(book: Book) -> None:
    place(book, Place(9, CEM, BUY, 101, 2))
    assert cancel(book, 1, ANN) == Report(1, cancelled_lots=3, cause=Cause.REQUESTED)
    assert waiting(book) == [(4, 2), (2, 3), (3, 4)]


def test_reduction_keeps_its_place(book: Book) -> None:
    report = reduce(book, 1, ANN, 2)
    assert report == Report(1, resting_lots=2, cancelled_lots=3, cause=Cause.REQUESTED)
    assert waiting(book) == [(4, 2), (1, 2), (2, 3), (3, 4)]
    assert traded(place(book, Place(9, CEM, BUY, 101, 3))) == [(1, 101, 2, 0), (2, 101, 1, 2)]


# -- refusals by the book --------------------------------------------------------------------

BOOK_REFUSALS = [
    # command                                          refusal
    (Place(1, CEM, BUY,  101,  1),                     Refusal.ORDER_DUPLICATE),
    (Place(1, CEM, BUY,  101, 99, FOK),                Refusal.ORDER_DUPLICATE),
    (Place(4, CEM, SELL,  99,  1, POST_ONLY),          Refusal.ORDER_DUPLICATE),
    (Place(9, CEM, BUY,  101,  1, POST_ONLY),          Refusal.POST_ONLY_WOULD_TAKE),
    (Place(9, ANN, BUY,  101,  1, POST_ONLY),          Refusal.POST_ONLY_WOULD_TAKE),
    (Place(9, ANN, SELL,  99,  1, POST_ONLY),          Refusal.POST_ONLY_WOULD_TAKE),
    (Place(9, CEM, BUY,  100,  1, FOK),                Refusal.FILL_OR_KILL_UNFILLED),
    (Place(9, CEM, BUY,  102,  9, FOK),                Refusal.FILL_OR_KILL_UNFILLED),
    (Place(9, CEM, BUY,  999, 13, FOK),                Refusal.FILL_OR_KILL_UNFILLED),
    (Place(9, ANN, BUY,  101,  1, FOK),                Refusal.FILL_OR_KILL_UNFILLED),
    (Place(9, ANN, SELL,  99,  3, FOK),                Refusal.FILL_OR_KILL_UNFILLED),
    (Place(9, CEM, BUY, 103, 13, GTC, OLDEST, Conditions(minimum_lots=13)),
                                                       Refusal.MINIMUM_QUANTITY_UNFILLED),
    (Place(9, CEM, BUY, 100, 1, GTC, OLDEST, Conditions(minimum_lots=1)),
                                                       Refusal.MINIMUM_QUANTITY_UNFILLED),
    (Place(9, CEM, BUY, 101, 1, GTC, OLDEST, Conditions(stop_ticks=95)),
                                                       Refusal.STOP_WOULD_TRIGGER),
    (Place(9, CEM, SELL, 90, 1, GTC, OLDEST, Conditions(stop_ticks=95)),
                                                       Refusal.STOP_WOULD_TRIGGER),
    (("cancel", 9, ANN),                               Refusal.ORDER_UNKNOWN),
    (("cancel", 1, BEN),                               Refusal.ORDER_NOT_OWNED),
    (("reduce", 9, ANN, 1),                            Refusal.ORDER_UNKNOWN),
    (("reduce", 1, BEN, 1),                            Refusal.ORDER_NOT_OWNED),
    (("reduce", 1, BEN, 0),                            Refusal.ORDER_NOT_OWNED),
    (("reduce", 1, ANN, 5),                            Refusal.REDUCTION_NOT_SMALLER),
    (("reduce", 1, ANN, 6),                            Refusal.REDUCTION_NOT_SMALLER),
    (("reduce", 1, ANN, 0),                            Refusal.REDUCTION_NOT_SMALLER),
    (("reduce", 1, ANN, -1),                           Refusal.REDUCTION_NOT_SMALLER),
]  # fmt: skip


@pytest.mark.parametrize(("command", "refusal"), BOOK_REFUSALS)
def test_refused_command_changes_nothing(
    book: Book, command: Place | tuple[str, int, int] | tuple[str, int, int, int], refusal: Refusal
) -> None:
    before, mark = book.state_hash(), book.mark()
    if isinstance(command, Place):
        report, order_id = place(book, command), command.order_id
    elif len(command) == 3:
        report, order_id = cancel(book, command[1], command[2]), command[1]
    else:
        report, order_id = reduce(book, command[1], command[2], command[3]), command[1]
    assert report == Report(order_id, refusal)
    assert (book.state_hash(), book.mark()) == (before, mark)


def test_fill_or_kill_beyond_the_most_makers_is_refused(book: Book) -> None:
    command = Place(9, CEM, BUY, 103, 12, FOK)
    assert place(book, command, most_fills=2).refusal is Refusal.FILL_OR_KILL_UNFILLED
    assert len(place(book, command, most_fills=3).fills) == 3


# -- the market's rules ----------------------------------------------------------------------

TERMS = Terms(
    tick_minor=25, lot_units=10, least_price_ticks=4, most_price_ticks=40, least_lots=2,
    most_lots=50, maker_fee_bps=10, taker_fee_bps=20,
)  # fmt: skip
OPEN, HALTED, CLOSED = MarketState.OPEN, MarketState.HALTED, MarketState.CLOSED

# Each refusal stands before all that follow it: its rows break later rules as well.
RULES = [
    # price units   state   refusal
    (  100,    20,  OPEN,   Refusal.ACCEPTED),
    ( 1000,   500,  OPEN,   Refusal.ACCEPTED),
    (  101,    20,  OPEN,   Refusal.PRICE_OFF_TICK),
    (    1,     1,  CLOSED, Refusal.PRICE_OFF_TICK),
    (   75,    20,  OPEN,   Refusal.PRICE_TOO_LOW),
    (    0,    20,  OPEN,   Refusal.PRICE_TOO_LOW),
    ( -100,    20,  OPEN,   Refusal.PRICE_TOO_LOW),
    (   75,     1,  CLOSED, Refusal.PRICE_TOO_LOW),
    ( 1025,    20,  OPEN,   Refusal.PRICE_TOO_HIGH),
    ( 1025,     1,  HALTED, Refusal.PRICE_TOO_HIGH),
    (  100,    21,  OPEN,   Refusal.QUANTITY_OFF_LOT),
    (  100,     1,  CLOSED, Refusal.QUANTITY_OFF_LOT),
    (  100,    10,  OPEN,   Refusal.QUANTITY_TOO_SMALL),
    (  100,     0,  OPEN,   Refusal.QUANTITY_TOO_SMALL),
    (  100,   -20,  OPEN,   Refusal.QUANTITY_TOO_SMALL),
    (  100,    10,  HALTED, Refusal.QUANTITY_TOO_SMALL),
    (  100,   510,  OPEN,   Refusal.QUANTITY_TOO_LARGE),
    (  100,   510,  CLOSED, Refusal.QUANTITY_TOO_LARGE),
    (  100,    20,  CLOSED, Refusal.MARKET_CLOSED),
    (  100,    20,  HALTED, Refusal.MARKET_HALTED),
    (  100,    20,  MarketState.CLOSING, Refusal.MARKET_CLOSED),
    (  100,    20,  MarketState.AUCTION, Refusal.ACCEPTED),
    (  100,    20,  MarketState.SCHEDULED, Refusal.MARKET_NOT_OPEN),
]  # fmt: skip


@pytest.mark.parametrize(("price", "units", "state", "refusal"), RULES)
def test_market_rules(price: int, units: int, state: MarketState, refusal: Refusal) -> None:
    assert check(TERMS, state, price_minor=price, quantity_units=units) is refusal


NOW_US = 1_800_000_000_000_000
A_YEAR_US = 366 * 24 * 3600 * 1_000_000
# Of an order of 20 lots. Each refusal stands before all that follow it.
CONDITION_RULES = [
    (Conditions(),                                                  Refusal.ACCEPTED),
    (Conditions(stop_ticks=4, peak_lots=1, minimum_lots=20),        Refusal.ACCEPTED),
    (Conditions(stop_ticks=40, peak_lots=20, expires_us=NOW_US + 1), Refusal.ACCEPTED),
    (Conditions(expires_us=NOW_US + A_YEAR_US),                     Refusal.ACCEPTED),
    (Conditions(stop_ticks=3, peak_lots=21),                        Refusal.STOP_PRICE_TOO_LOW),
    (Conditions(stop_ticks=41, minimum_lots=21),                    Refusal.STOP_PRICE_TOO_HIGH),
    (Conditions(peak_lots=21, minimum_lots=21),               Refusal.DISPLAY_QUANTITY_TOO_LARGE),
    (Conditions(minimum_lots=21, expires_us=NOW_US),          Refusal.MINIMUM_QUANTITY_TOO_LARGE),
    (Conditions(expires_us=NOW_US + A_YEAR_US + 1),                 Refusal.EXPIRY_TOO_FAR),
    (Conditions(expires_us=NOW_US),                                 Refusal.EXPIRY_IN_PAST),
    (Conditions(expires_us=1),                                      Refusal.EXPIRY_IN_PAST),
]  # fmt: skip


@pytest.mark.parametrize(("conditions", "refusal"), CONDITION_RULES)
def test_rules_of_conditions(conditions: Conditions, refusal: Refusal) -> None:
    assert check_conditions(TERMS, conditions, 20, NOW_US) is refusal


def test_an_iceberg_shows_at_least_a_hundredth_at_a_time() -> None:
    peak = Conditions(peak_lots=2)
    assert check_conditions(TERMS, peak, 200, NOW_US) is Refusal.ACCEPTED
    assert check_conditions(TERMS, peak, 201, NOW_US) is Refusal.DISPLAY_QUANTITY_TOO_SMALL


OFF_GRID = {refusal for refusal in Refusal if refusal.code.endswith(("_off_tick", "_off_lot"))}


def test_every_rule_has_a_row_and_rows_follow_precedence() -> None:
    rules = [row[3] for row in RULES if row[2] in (OPEN, HALTED, CLOSED)]
    conditions = [row[1] for row in CONDITION_RULES]
    book = [row[1] for row in BOOK_REFUSALS]
    elsewhere = OFF_GRID | {
        Refusal.DISPLAY_QUANTITY_TOO_SMALL, Refusal.ORDER_PAIRED, Refusal.PRICE_BEYOND_BAND,
        Refusal.NOT_IN_AUCTION, Refusal.MEETS_OWN_ORDER,
        *(refusal for refusal in Refusal if refusal >= Refusal.NOT_TRANSFERABLE),
    }  # fmt: skip
    assert {*(row[3] for row in RULES), *conditions, *book} | elsewhere == set(Refusal)
    assert (rules, conditions) == (sorted(rules), sorted(conditions))


def test_codes_are_stable() -> None:
    """They are stored and published."""
    assert [refusal.code for refusal in Refusal] == [
        "accepted",
        "price_off_tick", "price_too_low", "price_too_high",
        "quantity_off_lot", "quantity_too_small", "quantity_too_large",
        "stop_price_off_tick", "stop_price_too_low", "stop_price_too_high",
        "display_quantity_off_lot", "display_quantity_too_small", "display_quantity_too_large",
        "minimum_quantity_off_lot", "minimum_quantity_too_large", "expiry_too_far",
        "market_closed", "market_halted", "expiry_in_past",
        "order_duplicate", "post_only_would_take", "fill_or_kill_unfilled",
        "minimum_quantity_unfilled", "stop_would_trigger",
        "order_unknown", "order_not_owned", "reduction_not_smaller", "order_paired",
        "market_not_open", "price_beyond_band", "not_in_auction", "meets_own_order",
        "not_transferable", "trading_ended", "region_unknown", "region_not_allowed",
        "units_too_young",
    ]  # fmt: skip
    assert [(t.value, t.name) for t in TimeInForce] == [
        (0, "GOOD_TILL_CANCELLED"),
        (1, "IMMEDIATE_OR_CANCEL"),
        (2, "FILL_OR_KILL"),
        (3, "POST_ONLY"),
        (4, "GOOD_TILL_DATE"),
    ]


BAD_TERMS = [
    {"tick_minor": 0},
    {"lot_units": 0},
    {"least_price_ticks": 0},
    {"least_price_ticks": 41},
    {"most_price_ticks": 1 << 62},
    {"least_lots": 0},
    {"least_lots": 51},
    {"maker_fee_bps": -1},
    {"taker_fee_bps": 1001},
    {"most_price_ticks": 1 << 40, "most_lots": 1 << 22},  # more money than the ledger carries
    {"lot_units": 1 << 60},  # more units than the ledger carries
]


@pytest.mark.parametrize("change", BAD_TERMS)
def test_terms_that_cannot_work_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Terms(**{**msgspec.structs.asdict(TERMS), **change})
