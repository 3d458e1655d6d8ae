"""Turns that begin with a value: the list of a map is counted, the end of a sleep is read.

Owns: reading the value, what is wrong with one, and where the elements of a list are kept, so that
each finds its own.  Refuses to know: which elements are begun (`machine`), and how a command is
committed.

No worker is asked for it, and no message stands for it: whoever would send that message reads the
value instead.  It is one commit, so a crash leaves it read or not; then the sweep does it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac.engine.changes import Decided
from celeriac.engine.committing import Committer
from celeriac.errors import RunNotFound, SagaError
from celeriac.failure import Failure
from celeriac.machine import UNTIL, Expand, Open, as_visited, epoch_of, transition
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Dispatch, Node, Run
    from celeriac.store import Snapshot


class TurnWork(Committer):
    """Reading what turns begin with."""

    def begin_turn(self, run_id: str, due: Dispatch) -> Decided:
        """Read what the turn begins with that has come.  Raises CommandRefused and RunNotFound."""

        def once() -> Decided:
            run = _run(run_id, self.store.read(run_id))
            plan = as_visited(self.store.plan(run_id, run.plan), run)
            node = plan.node(due.step)
            value = node.map.items if node.map else node.args[UNTIL]
            found = self.store.read(run_id, tuple(payloads.fields_of(value, run)))
            run = _run(run_id, found)
            look = self._counted if node.map else self._timed
            command, fields = look(node, due, run, found.fields)
            decided = transition(plan, run, command, found.now)
            self._commit(plan, found, command, decided, fields if decided.events else {})
            return Decided(as_visited(plan, decided.run), decided, found.now)

        return self._until_committed(once)

    def _counted(
        self, node: Node, due: Dispatch, run: Run, fields: Mapping[str, str]
    ) -> tuple[Expand, dict[str, str]]:
        """The command that says how long the list is, or why it has no length; and its elements."""
        try:
            items = self._read_list(node, run, fields)
            problem = self._problem(items)
        except SagaError as error:
            items, problem = None, str(error)
        epoch = epoch_of(run, node.name)
        if problem:
            failure = Failure(type="MapFailed", message=problem, code="map", effect=False)
            command = Expand(node.name, due.attempt, 0, epoch, failure.type, failure.code)
            return command, _kept(node, failure)
        command = Expand(node.name, due.attempt, len(items), epoch)
        return command, payloads.item_fields(node.name, items)

    def _timed(
        self, node: Node, due: Dispatch, run: Run, fields: Mapping[str, str]
    ) -> tuple[Open, dict[str, str]]:
        """The command that says until when a sleep lasts, or that it is no moment."""
        epoch = epoch_of(run, node.name)
        try:
            moment = _moment(json.loads(payloads.resolve(node.args[UNTIL], fields, run)))
        except (SagaError, ValueError) as error:
            failure = Failure(type="SleepFailed", message=str(error), code="sleep", effect=False)
            command = Open(node.name, due.attempt, 0, epoch, failure.type, failure.code)
            return command, _kept(node, failure)
        return Open(node.name, due.attempt, round(moment.timestamp() * 1000), epoch), {}

    def _read_list(self, node: Node, run: Run, fields: Mapping[str, str]) -> Any:
        assert node.map is not None
        reader = payloads.Reader(f"the map {node.name}", self.terms.max_collected)
        return json.loads(payloads.resolve(node.map.items, fields, run, reader))

    def _problem(self, items: Any) -> str:
        """Why a value cannot be mapped; empty if it can."""
        if not isinstance(items, list):
            kinds = {dict: "an object", str: "text", bool: "true or false", type(None): "null"}
            kind = kinds.get(type(items), "a number")
            return f"it maps a list, and was given {kind}"
        if len(items) > self.terms.max_map:
            return (
                f"it was given a list of {len(items)} elements, over the limit of "
                f"{self.terms.max_map}: map parts of it in several runs, or raise saga_max_map"
            )
        return ""


def _kept(node: Node, failure: Failure) -> dict[str, str]:
    return {payloads.error_field(node.name, "do"): failure.model_dump_json(exclude_none=True)}


#: Whoever shows a time can show one between these years, in any time zone.
_FIRST, _LAST = 1, 9999


def _moment(value: Any) -> datetime:
    """The aware datetime that a value is; ValueError says what it is instead."""
    wanted = "it sleeps until an aware datetime, and was given"
    if not isinstance(value, str):
        kinds = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
        raise ValueError(f"{wanted} {kinds.get(type(value), 'a number')}")  # noqa: TRY004 -- one kind
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{wanted} text that is none") from None
    if not _FIRST < moment.year < _LAST:
        raise ValueError(f"{wanted} one that is not between the years 2 and 9998")
    if moment.tzinfo is None:
        raise ValueError(f"{wanted} one without a time zone: datetime(…, tzinfo=UTC)")
    return moment


def _run(run_id: str, found: Snapshot) -> Run:
    if found.run is None:
        raise RunNotFound(run_id)
    return found.run
