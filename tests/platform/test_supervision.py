"""How children are kept: restarted with growing pauses, given up in the end, ended together."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.guard import Guard, is_running
from config.supervisor import children, supervise
from config.supervisor import console as console_module
from config.supervisor.children import Child
from config.supervisor.console import Console
from config.supervisor.installation import BadSetting, Installation
from config.supervisor.instance import RunsAlready, take_turn, write_down
from config.supervisor.ports import free_ports
from config.supervisor.supervise import GivenUp, StopAsked, Supervisor, spawner
from config.supervisor.welcome import welcome

ROOT = Path(__file__).resolve().parent.parent.parent


class Stage:
    """A supervisor, and what it has printed."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.console = Console(self.out)
        self.guard = Guard()
        self.supervisor = Supervisor(self.console, self.guard)

    def child(self, name: str, script: str, *, is_kept: bool = True) -> Child:
        command = ["/bin/sh", "-c", script]
        spawn = spawner(self.guard, command, environment=os.environ, folder=Path("/"))
        return Child(name, spawn, is_kept=is_kept)

    def said(self) -> str:
        self.console.close()
        return self.out.getvalue()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.supervisor.stop_all()
    stage.guard.close()


def test_child_that_dies_is_started_again(stage: Stage, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = stage.child("clerk", f"echo come >> {mark}; test $(wc -l < {mark}) -ge 3 && sleep 60")
    stage.supervisor.start(child)
    assert stage.supervisor.wait_until(
        lambda: mark.exists() and len(mark.read_text().split()) == 3, 10
    )
    assert "clerk ended with code 1; starting it again in 0.25 s" in stage.said()
    assert "in 0.5 s" in stage.said()


def test_child_that_keeps_dying_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "BACKOFF_MOST_S", 0.01)
    stage.supervisor.start(stage.child("clerk", "exit 7"))
    with pytest.raises(GivenUp, match="clerk ended with code 7, 9 times in a row"):
        stage.supervisor.watch()


def test_step_that_fails_stops_the_start(stage: Stage) -> None:
    step = stage.child("migrate", "echo no such table; exit 3", is_kept=False)
    stage.supervisor.start(step)
    with pytest.raises(GivenUp, match="migrate ended with code 3"):
        stage.supervisor.finish(step)
    assert "migrate      | no such table" in stage.said()


def test_child_that_ignores_the_signal_is_killed_with_what_it_started(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervise, "STOP_S", 0.3)
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; while :; do sleep 0.1; done"
    stage.supervisor.start(stage.child("mule", script))
    assert stage.supervisor.wait_until(pids.exists, 5)
    time.sleep(0.1)
    stage.supervisor.stop_all()
    assert _are_gone_soon(pids.read_text().split())
    assert "mule does not stop; killing it" in stage.said()


def test_signal_stops_the_watch(stage: Stage) -> None:
    before = {each: signal.getsignal(each) for each in supervise.STOP_SIGNALS}
    try:
        stage.supervisor.listen()
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(StopAsked):
            stage.supervisor.watch()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_lines_carry_the_name_of_who_said_them(stage: Stage) -> None:
    step = stage.child("a", "printf 'one\\ntwo\\r\\nlast'; printf 'to stderr' >&2", is_kept=False)
    stage.supervisor.start(step)
    stage.supervisor.finish(step)
    assert stage.said().splitlines()[:3] == [
        "a            | one",
        "a            | two",
        "a            | lastto stderr",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "painted"), [("", True), ("1", False)])
def test_terminal_has_colours_unless_told_not_to(
    monkeypatch: pytest.MonkeyPatch, no_color: str, painted: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    console = Console(terminal)
    console.line("web", "hello")
    console.close()
    name = "web          |"
    expected = f"\033[36m{name}\033[0m hello\n" if painted else f"{name} hello\n"
    assert terminal.getvalue() == expected


def test_terminal_that_stands_still_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "MOST_WAITING", 10)
    monkeypatch.setattr(console_module, "FLUSH_S", 0.1)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w") as out:
        console = Console(out)
        started = time.monotonic()
        for _ in range(1000):
            console.line("web", "x" * 1000)  # A pipe holds 64 kB; nobody reads this one.
        console.close()
        assert time.monotonic() - started < 30


GUARDED = """
import subprocess, sys, time
from config.guard import Guard
guard = Guard()
mule = "trap '' TERM; sleep 60 & echo $$ $!; wait"
mild = "trap 'echo stopped >&2; exit' USR1; echo $$; while :; do sleep 0.01; done"
guard.start(["/bin/sh", "-c", mild], output=sys.stdout.buffer, stop_signal=10)
guard.start(["/bin/sh", "-c", mule], output=sys.stdout.buffer)
time.sleep(60)
"""


def test_nothing_outlives_a_killed_starter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The guard waits ten seconds for a mule; a test need not.
    script = GUARDED.replace("guard = Guard()", "guard = Guard(grace_s=2.0)")
    with (tmp_path / "out").open("wb") as out:
        starter = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=out)
    words = _wait_for_words(tmp_path / "out", 3)
    starter.kill()
    starter.wait()
    assert _are_gone_soon(words)
    assert "stopped" in (tmp_path / "out").read_text(), "it was asked, with its own signal"


def _are_gone_soon(pids: list[str]) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not any(is_running(int(pid)) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def _wait_for_words(path: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 60
    while len(words := path.read_text().split()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return words


def test_folder_is_one_supervisors_at_a_time(tmp_path: Path) -> None:
    with take_turn(tmp_path) as turn:
        write_down(turn, "http://127.0.0.1:8000")
        with pytest.raises(RunsAlready) as refused:
            take_turn(tmp_path)
    assert f"at http://127.0.0.1:8000 (process {os.getpid()})" in str(refused.value)
    take_turn(tmp_path).close()


def test_taken_port_gives_the_next_one() -> None:
    [first] = free_ports(("127.0.0.1", 23_456))
    with socket.create_server(("127.0.0.1", first)):
        assert free_ports(("127.0.0.1", first), ("127.0.0.1", first)) == [first + 1, first + 2]
    assert free_ports(("127.0.0.1", first)) == [first]


def test_port_that_another_scrip_chose_is_taken_before_it_is_served(tmp_path: Path) -> None:
    """The first makes its tables for a minute; meanwhile a second one starts."""
    [wanted] = free_ports(("127.0.0.1", 23_556))
    first = Installation(tmp_path / "first", {"PORT": str(wanted)})
    try:
        second = Installation(tmp_path / "second", {"PORT": str(wanted)})
        second.let_go()
        assert second.front_port == wanted + 3  # Past the gateway's and the web's too.
        assert second.remarks() == [f"Port {wanted} is taken: using {wanted + 3}"]
        # The control: without the claims both would take the same.
        first.let_go()
        assert free_ports(("127.0.0.1", wanted)) == [wanted]
    finally:
        first.let_go()


def test_answer_from_somebody_else_is_not_taken_for_the_childs(stage: Stage) -> None:
    child = stage.child("front", "exit 1")
    child.answers = lambda: True
    stage.supervisor.start(child)
    assert child.process is not None
    child.process.wait()
    assert not child.serves()


@pytest.mark.parametrize("port", ["eighty", "0", "65536", "-1", "8e3"])
def test_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    with pytest.raises(BadSetting, match="PORT must be a number from 1 to 65535"):
        Installation(tmp_path, {"PORT": port})


def test_leaving_out_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="WITHOUT names simulater; there are beat, caddy"):
        Installation(tmp_path, {}, frozenset({"simulater", "web"}))


def test_starting_over_never_touches_a_database_of_yours(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("kept")
    with pytest.raises(BadSetting, match="RESET empties the embedded database only"):
        Installation(tmp_path, {"DATABASE_URL": "postgresql://db/scrip"}).start_over()
    assert (tmp_path / "secret_key").read_text() == "kept"


def test_welcome_tells_how_to_sign_in() -> None:
    demo = {
        "accounts": [{"role": "fan", "email": "ada@scrip.example", "password": "xyz"}],
        "api_key": "scrip_live_1",
    }
    text = welcome(url="http://h:1", gateway_url="http://h:2", demo=demo, is_ready=True)
    assert "fan        ada@scrip.example   xyz" in text
    assert "API key    scrip_live_1" in text
    assert "admin      http://h:1/admin/" in text
