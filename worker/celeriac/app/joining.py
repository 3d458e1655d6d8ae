"""Accepting a run under an id that may be taken: whether the same is asked for again.

Owns: telling an equal input from another one when their digests differ.  Refuses to know: what a
run is started for, and what is sent then.

A digest is of texts, and equal values may have several: a set has no order, 1.0 is 1.00, noon in
Berlin is eleven in London, and a deploy may have added a field that has a default.  So an equal
digest says equal, and for any other the values themselves are compared.  That happens to those
only who ask for an id again, and it also holds for digests of older versions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.errors import RunConflict
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.authoring import Planned
    from celeriac.engine import Decided, Engine
    from celeriac.machine import Start


def accept(engine: Engine, planned: Planned, start: Start, texts: Mapping[str, str]) -> Decided:
    """Accept a run, or join the one that was started under its id with an equal input.

    Raises RunConflict, RunExists and what the store raises.
    """
    try:
        return engine.start(planned.plan, start, texts)
    except RunConflict:
        digest = _digest_if_equal(engine, planned, start, texts)
        if digest is None:
            raise
        return engine.start(planned.plan, replace(start, digest=digest), texts)


def _digest_if_equal(
    engine: Engine, planned: Planned, start: Start, texts: Mapping[str, str]
) -> str | None:
    """The digest of the run that is there, if *start* would join it and its input is equal."""
    run = engine.store.read(start.run_id).run
    if start.if_exists != "join" or run is None or run.saga != planned.plan.saga:
        return None
    params = {*planned.plan.params, *engine.store.plan(run.id, run.plan).params}
    names = {payloads.input_field(each): each for each in params}
    found = engine.store.read(run.id, tuple(names))
    if found.run is None or found.run.plan != run.plan:
        return None  # started anew in the meantime
    given = {names[field]: text for field, text in found.fields.items() if text is not None}
    return found.run.digest if planned.shape.same(texts, given) else None
