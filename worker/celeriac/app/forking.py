"""Forking a run: a new one begins with the results that another one has recorded.

Owns: reading the one and starting the other, which are in different places.  Refuses to know: which
steps are taken over (`machine/forking.py`).

The run that is forked is at rest, so what is read of it stands.  The fork has its input, its plan,
copies of the results, and an id and effect keys of its own.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from celeriac.app.inputs import check_words, checked_id, checked_step, uuid7
from celeriac.errors import ChangedSince, RunNotFound
from celeriac.machine import Start, as_visited, inherited
from celeriac.store import payloads

if TYPE_CHECKING:
    from celeriac.engine import Dispatcher, Engine


def fork(
    engine: Engine,
    dispatcher: Dispatcher,
    run_id: str,
    at: str,
    new_id: str | None,
    reason: str,
    by: str,
    if_version: int | None,
) -> tuple[str, bool]:
    """Start a run that takes over what *run_id* did before the step *at*; return its id.

    Also whether it was this call that made it.  Raises RunNotFound, CommandRefused, RunConflict.
    """
    found = engine.retry_while_unavailable(lambda: engine.store.read_all({run_id: None}))
    if run_id not in found or (run := found[run_id].run) is None:
        raise RunNotFound(run_id)
    if if_version not in (None, run.version):
        raise ChangedSince(run_id, if_version, run.version)
    plan = as_visited(engine.store.plan(run_id, run.plan), run)
    inherits = inherited(plan, run, checked_step(at))
    names, fields = [name for name, _ in inherits], found[run_id].fields
    taken = payloads.inherited_fields(plan, run, names, fields, engine.terms.max_collected)
    start = Start(
        run_id=checked_id(new_id) if new_id is not None else uuid7(),
        digest=payloads.digest(f"fork of {run.key} at {at}", {"input": json.dumps(run.digest)}),
        nonce=os.urandom(4).hex(),
        grace=engine.terms.grace,
        tags=run.tags,
        origin=run_id,
        inherits=inherits,
        reason=reason,
        by=by,
    )
    check_words(start)
    _, decided, now = engine.start(plan, start, {}, taken)
    if decided.events:
        engine.send(dispatcher, plan, decided.run, decided.dispatches, now)
    return start.run_id, decided.run.starter == start.nonce
