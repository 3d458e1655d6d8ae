"""How a run is started: accepted, or joined if it is there.

Owns: that a start costs one round trip where nobody has the id.  Refuses to know: what the input
means, and who starts.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.engine.changes import Conflict, Decided
from celeriac.engine.committing import Committer
from celeriac.errors import StoreUnavailable
from celeriac.machine import Start, transition
from celeriac.observing import Starting
from celeriac.store import Snapshot, payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Plan


class Starter(Committer):
    """Starts runs."""

    def start(
        self,
        plan: Plan,
        command: Start,
        inputs: Mapping[str, str],
        inherited: Mapping[str, str] | None = None,
    ) -> Decided:
        """Accept a run, or join the one that exists (its transition has no events then).

        *inherited* are payload fields that a fork takes over.

        Mostly there is none: so it is written as if there were none, and only if the store refuses
        that it is asked.
        """
        fields = {payloads.input_field(name): text for name, text in inputs.items()}
        fields |= inherited or {}
        marks: dict[str, str] = {}

        def accept(found: Snapshot) -> Decided:
            decided = transition(plan, found.run, command, found.now)
            stored = {**fields, **marks} if decided.events else {}
            self._commit(plan, found, command, decided, stored)
            return Decided(plan, decided, found.now)

        def read_and_accept() -> Decided:
            found = self.store.read(command.run_id)
            self._store_time.noted(found.now)
            return accept(found)

        with self.observers.during(Starting(command.run_id, plan.saga, marks)):
            now = self._store_time.now()
            if now is not None:
                with suppress(Conflict, StoreUnavailable):
                    return accept(Snapshot(None, now, {}))
            return self._until_committed(read_and_accept)
