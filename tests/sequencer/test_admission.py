"""Who comes in, who waits, who is turned away: the rule, with a fixed limit."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.admission import SHARES, Admission, Overloaded, Priority
from sequencer.limits import AimdLimit

LIMIT = 20


@dataclass(eq=False)
class Asking:
    """A request, as admission sees it."""

    priority: Priority = Priority.ORDER
    weight: int = 1


def door(limit: int = LIMIT, *, within: int = 40, longest_wait_s: float = 1) -> Admission:
    fixed = AimdLimit(initial=limit, least=limit, most=limit)
    return Admission(fixed, most_within=within, longest_wait_s=longest_wait_s)


def fill(admission: Admission, count: int, priority: Priority) -> list[Asking]:
    places = [Asking(priority) for _ in range(count)]
    assert all(admission.enter(place, now=0) for place in places)
    return places


def test_what_a_class_does_not_use_is_lent() -> None:
    admission = door()
    fill(admission, LIMIT, Priority.WIDGET)
    assert not admission.enter(Asking(Priority.WIDGET), now=0)


def test_a_share_that_was_lent_is_still_there_for_its_owner() -> None:
    admission = door()
    fill(admission, LIMIT, Priority.WIDGET)
    own = int(SHARES[Priority.CANCEL] * LIMIT)
    fill(admission, own, Priority.CANCEL)
    assert admission.in_flight == LIMIT + own
    assert not admission.enter(Asking(Priority.CANCEL), now=0)


def test_the_most_important_goes_first() -> None:
    admission = door()
    widgets = fill(admission, LIMIT, Priority.WIDGET)
    fill(admission, 4, Priority.CANCEL)
    fill(admission, 8, Priority.ORDER)
    fill(admission, 5, Priority.CLAIM)
    waiting = [
        Asking(p) for p in (Priority.WIDGET, Priority.CLAIM, Priority.ORDER, Priority.CANCEL)
    ]
    assert [admission.enter(each, now=0) for each in waiting] == [False] * 4
    for widget in widgets[1:]:
        admission.leave(widget)
    # 18 are under way now, and one widget among them is all of its own share.
    assert list(admission.ready()) == waiting[::-1][:2]


def test_a_newcomer_does_not_overtake_its_own_line() -> None:
    admission = door()
    [first, *_] = fill(admission, LIMIT, Priority.WIDGET)
    early, late = Asking(Priority.WIDGET), Asking(Priority.WIDGET)
    assert not admission.enter(early, now=0)
    admission.leave(first)
    assert not admission.enter(late, now=0)
    assert list(admission.ready()) == [early]


def test_lent_room_goes_to_the_more_important_one_that_waits() -> None:
    admission = door(10, within=20)
    orders = fill(admission, 10, Priority.ORDER)
    waiting_order = Asking(Priority.ORDER)
    assert not admission.enter(waiting_order, now=0)
    admission.leave(orders[0])
    # The read has no share left to claim beyond one, and the order has waited.
    assert admission.enter(Asking(Priority.READ), now=0)
    assert not admission.enter(Asking(Priority.READ), now=0)


def test_a_full_line_refuses_and_counts() -> None:
    admission = door(20, within=40)
    fill(admission, 20, Priority.ORDER)
    for _ in range(20):
        assert not admission.enter(Asking(), now=0)
    assert admission.is_full(Priority.ORDER)
    assert not admission.is_full(Priority.CANCEL)
    with pytest.raises(Overloaded):
        admission.enter(Asking(), now=0)
    assert (admission.in_flight, admission.waiting, admission.refused) == (20, 20, 1)


def test_who_waits_too_long_is_taken_out() -> None:
    admission = door(longest_wait_s=0.25)
    fill(admission, LIMIT, Priority.ORDER)
    early, late = Asking(), Asking()
    admission.enter(early, now=10)
    admission.enter(late, now=10.2)
    assert admission.overdue(10.2) == []
    assert admission.overdue(10.3) == [early]
    assert admission.waiting == 1


def test_who_has_left_gives_up_its_place_in_line() -> None:
    admission = door()
    fill(admission, LIMIT, Priority.ORDER)
    leaving, staying = Asking(), Asking()
    admission.enter(leaving, now=0), admission.enter(staying, now=0)
    assert admission.give_up(leaving)
    assert not admission.give_up(leaving)
    assert admission.waiting == 1


def test_what_is_larger_than_the_limit_goes_alone() -> None:
    admission = door(10)
    huge = Asking(weight=50)
    assert admission.enter(huge, now=0)
    assert not admission.enter(Asking(weight=50), now=0)
    admission.leave(huge)
    assert [place.weight for place in admission.ready()] == [50]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("enter"), st.sampled_from(Priority), st.integers(1, 5)),
            st.tuples(st.just("leave"), st.integers(0, 50), st.just(0)),
            st.tuples(st.just("late"), st.floats(0, 3), st.just(0)),
        ),
        max_size=120,
    )
)
def test_nobody_is_lost_counted_twice_or_let_in_beyond_measure(
    steps: list[tuple[str, float, int]],
) -> None:
    admission, now = door(12, within=30), 0.0
    inside: list[Asking] = []
    waiting: list[Asking] = []
    for what, value, weight in steps:
        if what == "enter":
            place = Asking(Priority(int(value)), weight)
            with contextlib.suppress(Overloaded):
                (inside if admission.enter(place, now=now) else waiting).append(place)
        elif what == "leave" and inside:
            admission.leave(inside.pop(int(value) % len(inside)))
            for ready in admission.ready():
                assert isinstance(ready, Asking)
                waiting.remove(ready)
                inside.append(ready)
        elif what == "late":
            now += value
            for late in admission.overdue(now):
                assert isinstance(late, Asking)
                waiting.remove(late)
        assert admission.in_flight == sum(place.weight for place in inside)
        assert admission.waiting == len(waiting)
        # The limit, and what the owners of lent shares may have on top of it.
        assert admission.in_flight <= 2 * 12 or len(inside) == 1
        for priority in Priority:
            line = [place.weight for place in waiting if place.priority == priority]
            assert sum(line[1:]) <= 18
