"""The list of a map: counted when its turn comes, and kept so that each element finds its own.

Owns: reading the list, what is wrong with one that cannot be mapped, and where its elements are
kept.  Refuses to know: which elements are begun (`machine`), and how a command is committed.

No worker is asked for it, and no message stands for it: whoever would send that message counts the
list instead.  It is one commit, so a crash leaves the list counted or not; then the sweep does it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from celeriac.engine.committing import Committer, Decided
from celeriac.errors import RunNotFound, SagaError
from celeriac.failure import Failure
from celeriac.machine import Expand, as_visited, epoch_of, transition
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Dispatch, Node, Run
    from celeriac.store import Snapshot


class MapWork(Committer):
    """Counting the lists of maps."""

    def expand(self, run_id: str, due: Dispatch) -> Decided:
        """Count the list of a map whose turn has come.  Raises CommandRefused and RunNotFound."""

        def once() -> Decided:
            run = _run(run_id, self.store.read(run_id))
            plan = as_visited(self.store.plan(run_id, run.plan), run)
            node = plan.node(due.step)
            assert node.map is not None  # or nobody asks
            found = self.store.read(run_id, tuple(payloads.fields_of(node.map.items, run)))
            run = _run(run_id, found)
            command, fields = self._counted(node, due, run, found.fields)
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
            field = payloads.error_field(node.name, "do")
            command = Expand(node.name, due.attempt, 0, epoch, failure.type, failure.code)
            return command, {field: failure.model_dump_json(exclude_none=True)}
        command = Expand(node.name, due.attempt, len(items), epoch)
        return command, payloads.item_fields(node.name, items)

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


def _run(run_id: str, found: Snapshot) -> Run:
    if found.run is None:
        raise RunNotFound(run_id)
    return found.run
