"""A line to a real Redis on which the test says what goes wrong, and a clock that it moves.

Owns: the faults of a round trip (request lost, reply lost, sent twice, scripts forgotten,
connections cut, the server killed before or after), the hour that Redis names, and a journal of
what really reached the server, in its order.  Refuses to know: runs.

Everything is real but the hour: the answer to TIME is the clock's, also inside the scripts, so
that the pure side can be given the very `now` of each commit and a failure can be repeated.
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from unittest import mock

import redis
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

import celeriac.store.redis as redis_store
from celeriac.engine.engine import Engine
from celeriac.store.addresses import parse_address, scheme_of
from celeriac.store.cluster import ClusterConnection
from celeriac.store.connection import Connection
from celeriac.store.redis import RedisStore
from celeriac.store.scripts import COMMIT, WAKE, Script, Scripts
from tests.engine.driver import TERMS, Clock
from tests.proof.sometimes import NOSCRIPT, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from celeriac.engine import Decided
    from celeriac.engine.changes import Arrival, LeaseGuard
    from celeriac.machine import Dispatch, Node, Plan
    from celeriac.machine.commands import Command, Expand
    from celeriac.machine.runs import Run
    from celeriac.machine.transitions import Transition
    from celeriac.store import Change, Lease, Snapshot
    from celeriac.store.commit import Call
    from celeriac.store.connection import Command as Words
    from tests.redis_server import RedisServer

FAULTS = (
    *("request lost", "reply lost", "sent twice"),
    *("scripts forgotten", "connections cut", "killed before", "killed after"),
)
_ASKS_THE_TIME = "local time = redis.call('TIME')"


class ExactClock(Clock):
    """A clock whose seconds are exact: a float would now and then be a millisecond short."""

    def seconds(self) -> float:
        """The engine's time."""
        return cast("float", Fraction(self.now, 1000))

    def pause(self, seconds: float) -> None:
        """Do nothing: time stands still until the test moves it."""


class Asked(NamedTuple):
    """A command on its way through an engine, with what it brings along."""

    command: Command
    fields: Mapping[str, str]
    lapsed: tuple[Lease, int] | None


class Written(NamedTuple):
    """A commit that Redis has written."""

    asked: Asked | None
    change: Change


class Moves(NamedTuple):
    """What `wake.lua` was told, and what it answered."""

    wake: str  # the index
    args: Sequence[str | int]
    answer: Sequence[int]


class Removed(NamedTuple):
    """A run that Redis has removed."""

    key: str


Journal = list["Written | Moves | Removed"]


class Line(Connection):
    """The connection of a store, with one fault to come."""

    def __init__(self, server: RedisServer, clock: Clock, journal: Journal) -> None:
        super().__init__(parse_address(server.url))
        self.server, self.clock, self.journal = server, clock, journal
        self.fault: tuple[str, int] | None = None  # which, and in how many round trips (1: next)
        self.change: Written | None = None  # the commit on its way
        self.commits: set[str] = set()  # digests of the script that commits
        self.moves: set[str] = set()

    def try_all(self, commands: Iterable[Words]) -> list[Any]:
        """Send commands, unless a fault is due."""
        words = list(commands)
        fault = self._due()
        if fault in ("request lost", "killed before"):
            self._break(fault)
        if fault == "scripts forgotten":
            with self.server.client() as admin:
                admin.script_flush()
        if fault == "connections cut":
            self.cut()
        answers = self._carry(words)
        if fault == "sent twice":
            return self._carry(words)
        if fault in ("reply lost", "killed after"):
            self._break(fault)
        return answers

    def cut(self) -> None:
        """End every connection to the server."""
        with self.server.client() as admin:
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _due(self) -> str | None:
        if self.fault is None:
            return None
        fault, trips = self.fault
        self.fault = (fault, trips - 1) if trips > 1 else None
        return None if trips > 1 else fault

    def _break(self, fault: str) -> None:
        if fault.startswith("killed"):
            restart(self.server)
        with self.errors():
            raise redis.ConnectionError(f"connection reset: {fault}")

    def _carry(self, words: list[Words]) -> list[Any]:
        answers = super().try_all(words)
        seen(NOSCRIPT, sum(isinstance(answer, NoScriptError) for answer in answers))
        for sent, answer in zip(words, answers, strict=True):
            self._note(sent, answer)
        return [
            self._hour() if sent == ("TIME",) else answer
            for sent, answer in zip(words, answers, strict=True)
        ]

    def _note(self, sent: Words, answer: Any) -> None:
        if sent[0] != "EVALSHA" or isinstance(answer, Exception):
            return
        if ":gate:" in str(sent[3]):
            return  # of a gate: its run says who is inside
        if sent[1] in self.commits and answer == 1:
            self.journal.append(self.change or Removed(str(sent[3])))
        if sent[1] in self.moves:
            self.journal.append(Moves(str(sent[3]), sent[4:], answer))

    def _hour(self) -> tuple[int, int]:
        return self.clock.now // 1000, self.clock.now % 1000 * 1000


class ClusterLine(Line, ClusterConnection):
    """The same to a cluster, whose nodes share the fault."""

    def cut(self) -> None:
        """End every connection to every node."""
        with self.server.client() as admin:
            words = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            admin.execute_command(*words, target_nodes=RedisCluster.ALL_NODES)


def restart(server: RedisServer) -> None:
    """Kill a server that holds nothing back any more, and start it from its AOF.

    Beside a slow disk it may hold back what it has acknowledged (`slow-disk` in
    docs/durability.md); that loss is measured there, and would be in the way here.
    """
    with server.client() as client:
        while client.info("persistence")["aof_buffer_length"]:
            time.sleep(0.005)
    server.restart()


class Dressed(Script):
    """A script whose text is given."""

    def __init__(self, text: str) -> None:
        self.plain = text
        self.beyond_full = "#!lua flags=allow-oom\n" + text
        self.plain_digest = self._digest(self.plain)
        self.beyond_full_digest = self._digest(self.beyond_full)


class DressedScripts(Scripts):
    """Scripts that know the hour from the clock, and may be spoilt by a variant."""

    def __init__(self, line: Line, spoil: Callable[[Script, str], str]) -> None:
        super().__init__(line)
        self._line, self._spoil = line, spoil

    def run(self, script: Script, call: Call, *, beyond_full: bool = True) -> Any:
        """Run the script as it is at this hour."""
        return super().run(self._dressed(script), call, beyond_full=beyond_full)

    def try_all(
        self, script: Script, calls: Sequence[Call], *, beyond_full: bool = True
    ) -> list[Any]:
        """Run the script as it is at this hour, for each call."""
        return super().try_all(self._dressed(script), calls, beyond_full=beyond_full)

    def _dressed(self, script: Script) -> Script:
        if isinstance(script, Dressed):
            return script
        text = self._spoil(script, script.plain)
        seconds, micros = self._line._hour()
        dressed = Dressed(text.replace(_ASKS_THE_TIME, f"local time = {{{seconds}, {micros}}}"))
        assert "'TIME'" not in dressed.plain, "it asks for the time in a way that is not known here"
        digests = {dressed.plain_digest, dressed.beyond_full_digest}
        if script is COMMIT:
            self._line.commits |= digests
        if script is WAKE:
            self._line.moves |= digests
        return dressed


def _as_it_is(_: Script, text: str) -> str:
    return text


class LineStore(RedisStore):
    """The store of Redis, over such a line."""

    def __init__(
        self,
        server: RedisServer,
        clock: Clock,
        journal: Journal,
        spoil: Callable[[Script, str], str] = _as_it_is,
    ) -> None:
        kind = ClusterLine if scheme_of(server.url) == "redis+cluster" else Line
        self.line = kind(server, clock, journal)
        with (
            # All its parts share the line: they are put together in the store's own __init__.
            mock.patch.object(redis_store, "connection_to", return_value=self.line),
            mock.patch.object(redis_store, "Scripts", lambda line: DressedScripts(line, spoil)),
        ):
            super().__init__(server.url, shards=2)
        self.asked: Asked | None = None
        self.between: Callable[[], object] | None = None  # happens once, just before a commit

    def commit(self, change: Change) -> bool:
        """Commit over the line; what is written is in the journal with the command that led to it.

        Somebody else may come between the decision and this.
        """
        written = Written(self.asked, change)
        if self.between is not None:
            interfere, self.between = self.between, None
            interfere()
        self.line.change = written
        try:
            return super().commit(change)
        finally:
            self.line.change = None


class LineEngine(Engine):
    """The real engine, which lets its store know what it was asked."""

    store: LineStore

    def __init__(self, store: LineStore, clock: Clock) -> None:
        super().__init__(store, TERMS, clock=clock.seconds, pause=clock.pause)

    def command(
        self,
        run_id: str,
        command: Command | Callable[[Run], Command],
        *,
        fields: Mapping[str, str] | None = None,
        guard: LeaseGuard | None = None,
        patience: float | None = None,
        found: Snapshot | None = None,
    ) -> Decided:
        """Decide and commit *command*."""

        def resolved(run: Run) -> Command:
            asked = command(run) if callable(command) else command
            self.store.asked = Asked(asked, fields or {}, guard)
            return asked

        before = self.store.asked
        try:
            return super().command(
                run_id, resolved, fields=fields, guard=guard, patience=patience, found=found
            )
        finally:
            self.store.asked = before  # it may have been asked for on the way to something else

    def _commit(
        self,
        plan: Plan,
        found: Snapshot,
        command: Command,
        decided: Transition,
        fields: Mapping[str, str],
        *,
        guard: LeaseGuard | None = None,
        arrival: Arrival | None = None,
    ) -> None:
        """Write what was decided, also of what passes between a run and its children."""
        self.store.asked = Asked(command, fields, guard)
        super()._commit(plan, found, command, decided, fields, guard=guard, arrival=arrival)

    def _counted(
        self, node: Node, due: Dispatch, run: Run, fields: Mapping[str, str]
    ) -> tuple[Expand, dict[str, str]]:
        """Count the list of a map, which nobody asks for by a command."""
        command, brought = super()._counted(node, due, run, fields)
        self.store.asked = Asked(command, brought, None)
        return command, brought
