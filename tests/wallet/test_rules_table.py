"""The ledger's rules as tables: what is asked, why it is refused, and that nothing moved.

Each table is a ladder. Its first row is wrong in every way it can be; each following row
mends the one fault that the row above was refused for, and the next refusal shows. So the
rows also prove the order of precedence. States are balance/held/incoming.
"""

# ruff: noqa: E501 -- a table is as wide as its columns

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.wallet.books import Books, created, pay, release
from wallet.actions import post
from wallet.items import Hold, Item, Post, Refusal, Result, Status, Transfer, Void
from wallet.models import Account, Code, Entry
from wallet.models import Hold as HoldRow
from wallet.models import Transfer as TransferRow

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Row = dict[str, str]

TRANSFERS = """
refused                 reference  memo  linked  effective  expires  asset  debit   credit  amount  | debit is    then        credit is  then
REFERENCE_INVALID       empty      long  yes     later      past     EUR    nobody  nobody  0       | -           -           -          -
MEMO_INVALID            used       long  yes     later      past     EUR    nobody  nobody  0       | -           -           -          -
AMOUNT_NOT_POSITIVE     used       -     yes     later      past     EUR    nobody  nobody  0       | -           -           -          -
AMOUNT_NOT_POSITIVE     used       -     yes     later      past     EUR    nobody  nobody  -1      | -           -           -          -
AMOUNT_TOO_LARGE        used       -     yes     later      past     EUR    nobody  nobody  2^62+1  | -           -           -          -
ACCOUNTS_SAME           used       -     yes     later      past     EUR    nobody  nobody  2^62    | -           -           -          -
CHAIN_OPEN              used       -     yes     later      past     EUR    nobody  noone   2^62    | -           -           -          -
REFERENCE_REUSED        used       -     -       later      past     EUR    nobody  noone   2^62    | -           -           -          -
EFFECTIVE_IN_FUTURE     new        -     -       later      past     EUR    nobody  noone   2^62    | -           -           -          -
EXPIRY_IN_PAST          new        -     -       now        now      EUR    nobody  noone   2^62    | -           -           -          -
DEBIT_ACCOUNT_UNKNOWN   new        -     -       now        later    EUR    nobody  noone   2^62    | -           -           -          -
CREDIT_ACCOUNT_UNKNOWN  new        -     -       now        later    EUR    gone    noone   2^62    | 0/0/0       0/0/0       -          -
ASSET_MISMATCH          new        -     -       now        later    EUR    gone    left    2^62    | 0/0/0       0/0/0       0/0/0      0/0/0
DEBIT_ACCOUNT_CLOSED    new        -     -       now        later    PTS    gone    left    2^62    | 0/0/0       0/0/0       0/0/0      0/0/0
CREDIT_ACCOUNT_CLOSED   new        -     -       now        later    PTS    ice     left    2^62    | 100/0/0     100/0/0     0/0/0      0/0/0
DEBIT_ACCOUNT_FROZEN    new        -     -       now        later    PTS    ice     cap     2^62    | 100/0/0     100/0/0     80/0/0     80/0/0
AMOUNT_EXCEEDS_LIMIT    new        -     -       now        later    PTS    tim     cap     2^62    | 100/0/0     100/0/0     80/0/0     80/0/0
INSUFFICIENT_FUNDS      new        -     -       now        later    PTS    ann     cap     2^62    | 100/55/0    100/55/0    80/0/0     80/0/0
CEILING_EXCEEDED        new        -     -       now        later    PTS    void    cap     2^62    | -2^62/0/0   -2^62/0/0   80/0/0     80/0/0
BALANCE_OVERFLOW        new        -     -       now        later    PTS    void    bob     1       | -2^62/0/0   -2^62/0/0   50/0/35    50/0/35
BALANCE_OVERFLOW        new        -     -       now        later    PTS    ann     brim    1       | 100/55/0    100/55/0    2^62/0/0   2^62/0/0
CREATED                 new        -     -       now        later    PTS    ann     bob     45      | 100/55/0    55/55/0     50/0/35    95/0/35
"""
NEW_HOLDS = """
refused                 reference  memo  linked  expires  asset  debit   credit  amount  | debit is    then        credit is  then
REFERENCE_INVALID       empty      long  yes     past     EUR    nobody  nobody  0       | -           -           -          -
MEMO_INVALID            used       long  yes     past     EUR    nobody  nobody  0       | -           -           -          -
AMOUNT_NOT_POSITIVE     used       -     yes     past     EUR    nobody  nobody  0       | -           -           -          -
AMOUNT_TOO_LARGE        used       -     yes     past     EUR    nobody  nobody  2^62+1  | -           -           -          -
ACCOUNTS_SAME           used       -     yes     past     EUR    nobody  nobody  2^62    | -           -           -          -
CHAIN_OPEN              used       -     yes     past     EUR    nobody  noone   2^62    | -           -           -          -
REFERENCE_REUSED        used       -     -       past     EUR    nobody  noone   2^62    | -           -           -          -
EXPIRY_IN_PAST          new        -     -       now      EUR    nobody  noone   2^62    | -           -           -          -
DEBIT_ACCOUNT_UNKNOWN   new        -     -       later    EUR    nobody  noone   2^62    | -           -           -          -
CREDIT_ACCOUNT_UNKNOWN  new        -     -       later    EUR    gone    noone   2^62    | 0/0/0       0/0/0       -          -
ASSET_MISMATCH          new        -     -       later    EUR    gone    left    2^62    | 0/0/0       0/0/0       0/0/0      0/0/0
DEBIT_ACCOUNT_CLOSED    new        -     -       later    PTS    gone    left    2^62    | 0/0/0       0/0/0       0/0/0      0/0/0
CREDIT_ACCOUNT_CLOSED   new        -     -       later    PTS    ice     left    2^62    | 100/0/0     100/0/0     0/0/0      0/0/0
DEBIT_ACCOUNT_FROZEN    new        -     -       later    PTS    ice     cap     2^62    | 100/0/0     100/0/0     80/0/0     80/0/0
AMOUNT_EXCEEDS_LIMIT    new        -     -       later    PTS    tim     cap     2^62    | 100/0/0     100/0/0     80/0/0     80/0/0
INSUFFICIENT_FUNDS      new        -     -       later    PTS    ann     cap     46      | 100/55/0    100/55/0    80/0/0     80/0/0
CEILING_EXCEEDED        new        -     -       later    PTS    void    cap     21      | -2^62/0/0   -2^62/0/0   80/0/0     80/0/0
BALANCE_OVERFLOW        new        -     -       later    PTS    void    cap     20      | -2^62/0/0   -2^62/0/0   80/0/0     80/0/0
BALANCE_OVERFLOW        new        -     -       later    PTS    ann     brim    1       | 100/55/0    100/55/0    2^62/0/0   2^62/0/0
CREATED                 new        -     -       later    PTS    ann     cap     20      | 100/55/0    100/75/0    80/0/0     80/0/20
CREATED                 new        -     -       -        PTS    ann     -       45      | 100/55/0    100/100/0   -          -
"""
POSTS = """
refused                 reference  memo  linked  hold    credit  amount  rest  | debit is    then        credit is  then
REFERENCE_INVALID       empty      long  yes     nohold  noone   0       -     | -           -           -          -
MEMO_INVALID            used       long  yes     nohold  noone   0       -     | -           -           -          -
AMOUNT_NOT_POSITIVE     used       -     yes     nohold  noone   0       -     | -           -           -          -
AMOUNT_TOO_LARGE        used       -     yes     nohold  noone   2^62+1  -     | -           -           -          -
CHAIN_OPEN              used       -     yes     nohold  noone   2^62    -     | -           -           -          -
REFERENCE_REUSED        used       -     -       nohold  noone   2^62    -     | -           -           -          -
HOLD_UNKNOWN            new        -     -       nohold  noone   2^62    -     | -           -           -          -
CREDIT_ACCOUNT_UNKNOWN  new        -     -       paid    noone   2^62    -     | 100/55/0    100/55/0    -          -
ASSET_MISMATCH          new        -     -       paid    eva     2^62    -     | 100/55/0    100/55/0    70/0/0     70/0/0
CREDIT_ACCOUNT_MISSING  new        -     -       free    -       2^62    -     | 100/55/0    100/55/0    -          -
CREDIT_ACCOUNT_DIFFERS  new        -     -       paid    cap     2^62    -     | 100/55/0    100/55/0    80/0/0     80/0/0
CREDIT_ACCOUNT_DIFFERS  new        -     -       free    ann     2^62    -     | 100/55/0    100/55/0    100/55/0   100/55/0
HOLD_ALREADY_POSTED     new        -     -       paid    bob     2^62    -     | 100/55/0    100/55/0    50/0/35    50/0/35
HOLD_ALREADY_VOIDED     new        -     -       freed   bob     2^62    -     | 100/55/0    100/55/0    50/0/35    50/0/35
HOLD_EXPIRED            new        -     -       late    bob     2^62    -     | 100/55/0    100/55/0    50/0/35    50/0/35
HOLD_EXPIRED            new        -     -       brief   bob     2^62    -     | 100/55/0    100/55/0    50/0/35    50/0/35
AMOUNT_EXCEEDS_HOLD     new        -     -       free    left    21      -     | 100/55/0    100/55/0    0/0/0      0/0/0
CREDIT_ACCOUNT_CLOSED   new        -     -       free    left    20      -     | 100/55/0    100/55/0    0/0/0      0/0/0
CEILING_EXCEEDED        new        -     -       free    full    20      -     | 100/55/0    100/55/0    99/0/0     99/0/0
BALANCE_OVERFLOW        new        -     -       free    brim    20      -     | 100/55/0    100/55/0    2^62/0/0   2^62/0/0
CREATED                 new        -     -       free    cap     20      -     | 100/55/0    80/35/0     80/0/0     100/0/0
CREATED                 new        -     -       free    cap     8       -     | 100/55/0    92/35/0     80/0/0     88/0/0
CREATED                 new        -     -       free    cap     8       kept  | 100/55/0    92/47/0     80/0/0     88/0/0
CREATED                 new        -     -       thirty  bob     10      -     | 100/55/0    90/25/0     50/0/35    60/0/5
CREATED                 new        -     -       thirty  -       10      kept  | 100/55/0    90/45/0     50/0/35    60/0/25
CREATED                 new        -     -       thirty  -       -       -     | 100/55/0    70/25/0     50/0/35    80/0/5
"""
VOIDS = """
refused                 reference  memo  linked  hold    amount  | debit is    then        credit is  then
REFERENCE_INVALID       empty      long  yes     nohold  0       | -           -           -          -
MEMO_INVALID            used       long  yes     nohold  0       | -           -           -          -
AMOUNT_NOT_POSITIVE     used       -     yes     nohold  0       | -           -           -          -
AMOUNT_TOO_LARGE        used       -     yes     nohold  2^62+1  | -           -           -          -
CHAIN_OPEN              used       -     yes     nohold  2^62    | -           -           -          -
REFERENCE_REUSED        used       -     -       nohold  2^62    | -           -           -          -
HOLD_UNKNOWN            new        -     -       nohold  2^62    | -           -           -          -
HOLD_ALREADY_POSTED     new        -     -       paid    2^62    | 100/55/0    100/55/0    50/0/35    50/0/35
HOLD_ALREADY_VOIDED     new        -     -       freed   2^62    | 100/55/0    100/55/0    50/0/35    50/0/35
HOLD_EXPIRED            new        -     -       late    2^62    | 100/55/0    100/55/0    50/0/35    50/0/35
AMOUNT_EXCEEDS_HOLD     new        -     -       thirty  31      | 100/55/0    100/55/0    50/0/35    50/0/35
CREATED                 new        -     -       thirty  30      | 100/55/0    100/25/0    50/0/35    50/0/5
CREATED                 new        -     -       thirty  10      | 100/55/0    100/45/0    50/0/35    50/0/25
CREATED                 new        -     -       brief   -       | 100/55/0    100/50/0    50/0/35    50/0/30
"""
# Two linked transfers a row, and what each is answered.
CHAINS = """
first                   second                  debit  credit  amount  debit2  credit2  amount2
CREATED                 CREATED                 ann    bob     45      bob     cap      20
CHAIN_REFUSED           INSUFFICIENT_FUNDS      ann    bob     45      ann     bob      1
INSUFFICIENT_FUNDS      CHAIN_REFUSED           ann    bob     46      bob     ann      50
CHAIN_REFUSED           AMOUNT_NOT_POSITIVE     ann bob 45        bob ann 0
CHAIN_REFUSED           CEILING_EXCEEDED        ann    bob     45      bob     cap      21
"""  # fmt: skip

MOMENTS = {
    "-": None,
    "past": NOW - timedelta(hours=1),
    "now": NOW,
    "later": NOW + timedelta(hours=1),
}
TEXTS = {"-": "", "empty": "", "long": "x" * 201, "nul": "a\x00b", "half": "a\ud800b"}


class World:
    """The accounts and holds that the tables speak of.

    ann has 100, of which 55 are on hold: 30 for bob, 20 for somebody still to be named and
    5 for bob that lapsed but nobody swept. Her holds `paid`, `freed` and `late` are over.
    """

    def __init__(self) -> None:
        self.books = books = Books("PTS")
        books.open("ann", balance=105)
        books.open("bob", balance=45)
        books.open("tim", balance=100, largest_debit=40)
        books.open("cap", balance=80, ceiling=100)
        books.open("full", balance=99, ceiling=100)
        books.open("ice", balance=100)
        books.open("gone")
        books.open("left")
        books.open("brim")
        books.open("void", floor=None)
        euros = Books("EUR")
        euros.open("eva", balance=70)
        self.ids = {"nobody": 1 << 60, "noone": (1 << 60) + 1, **euros.ids, **books.ids}
        self.assets = {"PTS": books.asset.pk, "EUR": euros.asset.pk}
        created(post([books.transfer("void", "brim", 1 << 62, "used")], now=MOMENTS["past"]))
        self.holds = {"nohold": 1 << 60, **self._make_holds()}
        self._set_status("ice", Status.FROZEN)
        self._set_status("gone", Status.CLOSED)
        self._set_status("left", Status.CLOSED)

    def _make_holds(self) -> dict[str, int]:
        hold, before = self.books.hold, NOW - timedelta(hours=2)
        asked = {
            "thirty": hold("ann", "bob", 30),
            "free": hold("ann", None, 20),
            "brief": hold("ann", "bob", 5, expires_at=NOW),
            "paid": hold("ann", "bob", 5),
            "freed": hold("ann", "bob", 5),
            "late": hold("ann", "bob", 5, expires_at=MOMENTS["past"]),
        }
        ids = dict(zip(asked, created(post(list(asked.values()), now=before)), strict=True))
        ends: list[Item] = [pay(ids["paid"]), release(ids["freed"]), release(ids["late"])]
        created(post(ends, now=MOMENTS["past"]))
        return ids

    def _set_status(self, name: str, status: Status) -> None:
        Account.objects.filter(pk=self.ids[name]).update(status=status)

    def state(self, account_id: int | None) -> str:
        """An account as the tables show it: balance/held/incoming."""
        account = Account.objects.filter(pk=account_id or 0).first()
        if account is None:
            return "-"
        amounts = (account.balance, account.held, account.incoming)
        return "/".join(map(str, amounts)).replace(str(1 << 62), "2^62")


def rows(table: str) -> list[Row]:
    """Read a table: a line of column names, then a line of words for each row."""
    lines = [line.replace("|", " ") for line in table.strip().splitlines()]
    head = lines[0].replace("debit is    then", "debit_is debit_then")
    names = head.replace("credit is  then", "credit_is credit_then").split()
    return [dict(zip(names, line.split(), strict=True)) for line in lines[1:]]


def number(word: str) -> int | None:
    """Read an amount: `-` is none, 2^62 and 2^62+1 the edges of the range."""
    known = {"-": None, "2^62": 1 << 62, "2^62+1": (1 << 62) + 1}
    return known[word] if word in known else int(word)


def texts(row: Row) -> dict[str, Any]:
    """What every kind of item has: reference, memo, and whether the next one is tied to it."""
    reference = row["reference"]
    return {
        "reference": TEXTS.get(reference, "x" * 101 if reference == "longer" else reference),
        "memo": TEXTS[row["memo"]],
        "linked": row["linked"] == "yes",
    }


def transfer_of(world: World, row: Row) -> Item:
    return Transfer(
        **texts(row),
        asset_id=world.assets[row["asset"]],
        debit_account_id=world.ids[row["debit"]],
        credit_account_id=world.ids[row["credit"]],
        amount=number(row["amount"]) or 0,
        code=Code.PAYMENT,
        effective_at=MOMENTS[row["effective"]],
        expires_at=MOMENTS[row["expires"]],
    )


def hold_of(world: World, row: Row) -> Item:
    return Hold(
        **texts(row),
        asset_id=world.assets[row["asset"]],
        debit_account_id=world.ids[row["debit"]],
        credit_account_id=world.ids.get(row["credit"]),
        amount=number(row["amount"]) or 0,
        code=Code.HOLD,
        expires_at=MOMENTS[row["expires"]],
    )


def post_of(world: World, row: Row) -> Item:
    return Post(
        **texts(row),
        hold_id=world.holds[row["hold"]],
        credit_account_id=world.ids.get(row["credit"]),
        amount=number(row["amount"]),
        code=Code.PAYMENT,
        rest_is_kept=row["rest"] == "kept",
    )


def void_of(world: World, row: Row) -> Item:
    return Void(
        **texts(row),
        hold_id=world.holds[row["hold"]],
        amount=number(row["amount"]),
        code=Code.RELEASE,
    )


def sides(item: Item) -> tuple[int | None, int | None]:
    """Who pays and who receives by the item; for a hold's post or void as the hold says."""
    if isinstance(item, Transfer | Hold):
        return item.debit_account_id, item.credit_account_id
    hold = HoldRow.objects.filter(pk=item.hold_id).first()
    named = item.credit_account_id if isinstance(item, Post) else None
    return (hold.account_id, named or hold.credit_account_id) if hold else (None, named)


def everything() -> list[object]:
    """All that a posting may change."""
    return [
        list(model.objects.order_by("pk").values_list())
        for model in (Account, HoldRow, TransferRow, Entry)
    ]


LADDERS: dict[str, tuple[str, Callable[[World, Row], Item]]] = {
    "transfer": (TRANSFERS, transfer_of),
    "hold": (NEW_HOLDS, hold_of),
    "post": (POSTS, post_of),
    "void": (VOIDS, void_of),
}
CASES = [
    pytest.param(read, row, id=f"{kind}-{position}-{row['refused'].lower()}")
    for kind, (table, read) in LADDERS.items()
    for position, row in enumerate(rows(table), 1)
]


@pytest.mark.parametrize(("read", "row"), CASES)
def test_item_is_answered_as_its_row_says(read: Callable[[World, Row], Item], row: Row) -> None:
    world = World()
    item = read(world, row)
    debit, credit = sides(item)
    before = everything()
    assert (world.state(debit), world.state(credit)) == (row["debit_is"], row["credit_is"])

    [result] = post([item], now=NOW)

    assert result.refusal.name == row["refused"]
    assert (world.state(debit), world.state(credit)) == (row["debit_then"], row["credit_then"])
    assert (everything() == before) is not result.is_created
    assert post([item], now=NOW) == [again(result)]


def again(first: Result) -> Result:
    """The second answer: a replay if the reference was used up, else the same anew."""
    used_up = first.is_created or first.refusal.depends_on_state
    return first._replace(is_replay=used_up)


@pytest.mark.parametrize("row", rows(CHAINS), ids=lambda row: f"{row['first']}-{row['second']}")
def test_chain_happens_as_a_whole_or_not_at_all(row: Row) -> None:
    world = World()
    before = everything()
    first = world.books.transfer(row["debit"], row["credit"], int(row["amount"]), linked=True)
    second = world.books.transfer(row["debit2"], row["credit2"], int(row["amount2"]))

    results = post([first, second], now=NOW)

    assert [result.refusal.name for result in results] == [row["first"], row["second"]]
    assert (everything() == before) is (row["first"] != "CREATED")


@pytest.mark.parametrize("reference", ["empty", "longer", "nul", "half"])
def test_reference_that_cannot_be_stored_is_refused(reference: str) -> None:
    books = Books()
    books.open("ann")
    item = books.transfer("issuer", "ann", 5)
    text = texts({"reference": reference, "memo": "-", "linked": "-"})["reference"]

    [result] = post([_with(item, reference=text)])

    assert result == Result(Refusal.REFERENCE_INVALID, 0)
    assert books.state("ann") == (0, 0, 0)


@pytest.mark.parametrize("memo", ["long", "nul", "half"])
def test_memo_that_cannot_be_stored_is_refused(memo: str) -> None:
    books = Books()
    books.open("ann")

    [result] = post([books.transfer("issuer", "ann", 5, memo=TEXTS[memo])])

    assert result == Result(Refusal.MEMO_INVALID, 0)
    assert books.state("ann") == (0, 0, 0)


def test_every_refusal_has_a_row() -> None:
    reached = {row["refused"] for table, _ in LADDERS.values() for row in rows(table)}
    reached |= {row[column] for row in rows(CHAINS) for column in ("first", "second")}
    assert reached == {refusal.name for refusal in Refusal}


@pytest.mark.parametrize(("table", "_read"), LADDERS.values(), ids=LADDERS)
def test_rows_stand_in_order_of_precedence(table: str, _read: object) -> None:
    refusals = [Refusal[row["refused"]] for row in rows(table)]
    steps = [refusal for refusal in refusals if refusal is not Refusal.CREATED]
    assert steps == sorted(steps)


def _with(item: Transfer, **changes: Any) -> Transfer:
    return Transfer(**{field: getattr(item, field) for field in item.__struct_fields__} | changes)
