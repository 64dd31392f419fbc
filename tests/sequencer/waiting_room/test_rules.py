"""Lots and waits, as rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sequencer.waiting_room.rules import Phase, Room, Standing, draw, expected_wait_s, said_wait

ROOM = Room(1, "drop", "The drop", 100, 200, 60, 600, "", "", "seed")


def test_a_lot_is_the_same_each_time_and_another_for_everybody_else() -> None:
    assert draw("seed", 7) == draw("seed", 7)
    assert draw("seed", 7) != draw("seed", 8)
    assert draw("seed", 7) != draw("other seed", 7)


def test_lots_are_even_and_do_not_favour_early_accounts() -> None:
    lots = [draw("seed", user_id) for user_id in range(10_000)]
    assert all(0 <= lot < 1 for lot in lots)
    tenths = [sum(tenth / 10 <= lot < (tenth + 1) / 10 for lot in lots) for tenth in range(10)]
    assert min(tenths) > 880 and max(tenths) < 1_120
    assert sum(lots[:1_000]) / 1_000 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("now", "phase"),
    [(99, Phase.SHUT), (100, Phase.LOBBY), (199, Phase.LOBBY), (200, Phase.RUNNING)],
)
def test_a_room_opens_then_starts(now: float, phase: Phase) -> None:
    assert ROOM.phase(now) is phase


def test_the_expected_wait_is_those_ahead_at_the_rate_of_passes() -> None:
    behind = Standing(score=1.5, ahead=90, waiting=200)
    assert expected_wait_s(behind, ROOM, now=300) == 90
    assert expected_wait_s(behind, replace(ROOM, passes_per_minute=30), now=300) == 180
    assert expected_wait_s(Standing(0.5, waiting=200), ROOM, now=150) == 50 + 100


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (60, "about a minute"),
        (600, "about 10 minutes"),
        (7_200, "about 2 hours"),
    ],
)
def test_waits_are_said_as_people_say_them(seconds: int, words: str) -> None:
    assert said_wait(seconds) == words
