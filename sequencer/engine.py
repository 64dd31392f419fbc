"""What a writer drives: an engine decides commands in memory and writes what it decided.

An engine belongs to one shard and is called by one thread. The writer owns the
transaction; the engine never commits, and nothing it does leaves the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Protocol

from edge.journey import Answered, Journey
from edge.problems import Refusal, answer
from sequencer.commands import Answer, Command


class Decided(Protocol):
    """A batch that was decided ahead, and how it is written. `count` commands of it are done."""

    count: int
    journey: Journey
    """All that the batch writes."""

    def lock_on(self, journey: Journey) -> None:
        """Put on a journey, first, what locks all that the batch was decided on.

        The batch before it is committed. If what was decided on has changed since, the journey
        must end by `edge.journey.Unexpected`: then the batch is executed the other way.
        """

    def left(self, answered: Answered) -> None:
        """The journey's first statement was answered, and all others succeeded."""

    def answers(self) -> list[Answer]:
        """The answers to the first `count` commands."""

    def committed(self) -> None:
        """The batch is durable. Another that was decided after it may be under way."""

    def rolled_back(self) -> None:
        """The batch never happened; what was decided after it was rolled back before."""


class Meanwhile(Protocol):
    """What is done of the batch under way while the next one is decided."""

    def push(self) -> None:
        """Hand over what PostgreSQL takes of it now: every millisecond or so."""

    def idle(self) -> None:
        """Go on with what is left to do of it: called while PostgreSQL is asked something."""


class Nothing:
    """No batch is under way."""

    def push(self) -> None:
        """Nothing to hand over."""

    def idle(self) -> None:
        """Nothing to go on with."""


NOTHING = Nothing()


class Engine(Protocol):
    """Rules in memory over tables in PostgreSQL, for one shard.

    Every command must be idempotent by itself: a command that was executed before (the
    stream may repeat one at any time, even within one batch) changes nothing and gets its
    first answer again. The writer relies on this and on nothing else for exactly-once.
    """

    def load(self) -> None:
        """Rebuild memory from the database, forgetting what was there.

        Called before the first batch, and again whenever memory may differ from the
        database: after a lost connection, or a commit whose outcome is unknown. Called
        outside a transaction, while this writer holds the shard's lock.
        """

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        """Decide and write a batch, in order, inside the open transaction.

        Returns the answers of the first k commands; the others come again with the next
        batch. A refusal is an answer. An exception says the batch cannot be done: the
        transaction is rolled back, and the writer tries smaller batches until the one
        command at fault stands alone and is set aside.

        What the clock asks of the engine (`is_due`) is done first, in the same transaction,
        a bounded part with each batch. There may be no commands then, and no answers to
        commands that must wait for it; without it, k is at least 1.
        """

    def decide(
        self, commands: Sequence[Command], /, meanwhile: Meanwhile = NOTHING
    ) -> Decided | None:
        """Decide a batch ahead: outside a transaction, writing nothing yet.

        The batch decided before may be under way still; then this one builds on it, and
        falls with it. `meanwhile` sees to that one.

        None: it takes a transaction (`execute`), or at least that nothing is under way;
        memory is as it was. An exception says the same.
        """

    def committed(self) -> None:
        """The last batch is durable: drop its undo journal."""

    def rolled_back(self) -> None:
        """The last batch never happened: undo it in memory, or rebuild memory."""

    def is_due(self) -> bool:
        """Say whether the clock asks for something now. Outside a transaction; may read rows."""

    def wait_s(self, longest_s: float, /) -> float:
        """How long the writer may wait for commands until the clock asks for something."""

    def did_upkeep(self) -> bool:
        """Say whether the last batch did what the clock asked.

        Should it fail, no command is to blame: the engine tries less of it, and in the end
        leaves out the one thing at fault for a while.
        """


class Timeless:
    """For an engine that goes by commands alone, each batch inside its transaction."""

    def decide(
        self, commands: Sequence[Command], /, meanwhile: Meanwhile = NOTHING
    ) -> Decided | None:
        return None

    def is_due(self) -> bool:
        return False

    def wait_s(self, longest_s: float, /) -> float:
        return longest_s

    def did_upkeep(self) -> bool:
        return False


class RoomEngine(Engine, Protocol):
    """A room's engine: `prefixes` says which kinds of command are its own ("order.")."""

    @property
    def prefixes(self) -> tuple[str, ...]: ...


class UnknownCommand(Refusal):
    """No engine of this release knows the command: the gateway is newer than the writer."""

    code = "unknown_command"
    title = "The command is not known here yet"
    status = 503


class Engines:
    """The engines of one shard as one, each command going to the engine of its kind.

    A batch never spans two engines: each passes the ledger's door once a transaction, and
    two passes could wait for each other. So the longest run of one engine's commands is
    executed, and the rest comes again. A kind that nobody knows is refused, unexecuted.

    What the clock asks of one engine takes turns with the commands of another, so that neither
    a stream of commands nor an engine that always has something to do keeps the other waiting.
    """

    def __init__(self, engines: Sequence[RoomEngine]) -> None:
        self._by_prefix = {prefix: engine for engine in engines for prefix in engine.prefixes}
        self._engines = tuple(engines)
        self._active: RoomEngine | None = None
        self._due: RoomEngine | None = None
        self._had_its_turn = False
        self._has_run_none = False

    def load(self) -> None:
        for engine in self._engines:
            engine.load()

    def is_due(self) -> bool:
        self._due = next((engine for engine in self._engines if engine.is_due()), None)
        return self._due is not None

    def wait_s(self, longest_s: float, /) -> float:
        return min((engine.wait_s(longest_s) for engine in self._engines), default=longest_s)

    def did_upkeep(self) -> bool:
        """Say so too where an engine had its turn without commands: none of them is to blame."""
        if self._active is None:
            return False
        return self._has_run_none or self._active.did_upkeep()

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        due, self._due = self._due, None
        engine = self._engine_of(commands[0]) if commands else due
        if commands and due not in (None, engine) and not self._had_its_turn:
            self._had_its_turn = True
            commands, engine = [], due
        else:
            self._had_its_turn = False
        self._active = engine
        self._has_run_none = not commands
        if not commands:
            return engine.execute([]) if engine else []
        run = list(takewhile(lambda command: self._engine_of(command) is engine, commands))
        if engine is not None:
            return engine.execute(run)
        return [failure(command, UnknownCommand(retry_after_s=5)) for command in run]

    def decide(
        self, commands: Sequence[Command], /, meanwhile: Meanwhile = NOTHING
    ) -> Decided | None:
        engine = self._engine_of(commands[0])
        if engine is None:
            return None
        run = list(takewhile(lambda command: self._engine_of(command) is engine, commands))
        return engine.decide(run, meanwhile)

    def committed(self) -> None:
        if self._active is not None:
            self._active.committed()

    def rolled_back(self) -> None:
        if self._active is not None:
            self._active.rolled_back()

    def _engine_of(self, command: Command) -> RoomEngine | None:
        prefix, dot, _ = command.kind.partition(".")
        return self._by_prefix.get(prefix + dot)


def failure(command: Command, refusal: Refusal) -> Answer:
    """Answer a command by a refusal, as problem+json."""
    status, _, body = answer(refusal)
    return Answer(command.id, status, body)
