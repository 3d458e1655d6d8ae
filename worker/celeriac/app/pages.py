"""A page of runs, and the states of many runs in a few round trips.

Owns: what a listing returns.  Refuses to know: how runs are found, and how one of them is
steered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.observing import log
from celeriac.views import (
    RunState,
    failing_steps,
    failure_fields,
    hold_of,
    question_fields,
    questions_of,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.app.handles import RunHandle
    from celeriac.engine import Engine
    from celeriac.machine import Run
    from celeriac.views import Question


@dataclass(frozen=True, slots=True)
class Page:
    """A page of runs, newest first.  `cursor` is what to pass for the next; None: the last page."""

    runs: tuple[RunHandle[Any], ...]
    cursor: str | None
    _found: tuple[Run, ...] = field(default=(), repr=False, compare=False)
    _engine: Engine | None = field(default=None, repr=False, compare=False)

    def states(self, *, failures: bool = True) -> tuple[RunState, ...]:
        """Return the state of each run, all of them in a few round trips.

        Those removed meanwhile are left out.  Without *failures* it is not read how steps failed.
        """
        return states_of(self._engine, self._found, failures=failures) if self._engine else ()

    def questions(self) -> tuple[Question, ...]:
        """Return what these runs ask, all of them in a few round trips: see `RunHandle.questions`.

        Of one that moved on meanwhile it is what it asks now.
        """
        return questions_in(self._engine, self._found) if self._engine else ()

    def __iter__(self) -> Any:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> RunHandle[Any]:
        return self.runs[index]


def questions_in(engine: Engine, runs: Sequence[Run]) -> tuple[Question, ...]:
    """Return what *runs* ask, which were just read, run by run."""
    plans = engine.retry_while_unavailable(lambda: engine.store.plans(runs))
    wanted = {
        run.id: question_fields(plans[run.plan], run)
        for run in runs
        if run.awaits and run.plan in plans
    }
    found = engine.retry_while_unavailable(lambda: engine.store.read_all(wanted))
    return tuple(
        question
        for run in runs
        if (now := found.get(run.id)) and now.run and now.run.plan == run.plan
        for question in questions_of(plans[run.plan], now.run, now.fields)
    )


def states_of(
    engine: Engine, runs: Sequence[Run], *, failures: bool = True
) -> tuple[RunState, ...]:
    """Return the states of *runs*, which were just read; those found to be gone are left out."""
    store = engine.store
    told: dict[str, Mapping[str, str]] = {}
    if failures:
        failing = {run.id: failing_steps(run) for run in runs}
        # Of most runs there is nothing more to tell than what was just read.
        wanted = {
            run.id: failure_fields(failing[run.id])
            for run in runs
            if failing[run.id] or run.why or run.failed_step
        }
        found = engine.retry_while_unavailable(lambda: store.read_all(wanted, runs))
        told = {run_id: each.fields for run_id, each in found.items()}
        runs = [run for run in runs if run.id in found or run.id not in wanted]
    plans = engine.retry_while_unavailable(lambda: store.plans(runs))
    held = [run.id for run in runs if run.paused]
    histories = engine.retry_while_unavailable(lambda: store.histories(held))
    for run in runs:
        if run.plan not in plans:
            log.warning("%s left out: its plan %s is lost", run.id, run.plan)
    return tuple(
        state_of(plans[run.plan], run, told.get(run.id), hold_of(histories.get(run.id, ())))
        for run in runs
        if run.plan in plans
    )
