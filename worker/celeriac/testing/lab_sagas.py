"""Sagas in the lab: started, looked at and steered as always, over its own engine.

Owns: what takes the place of an app's runtime, and the handle of a run that moves the lab's time
instead of waiting.  Refuses to know: what goes wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.app import RunHandle, dump_plain
from celeriac.errors import InputInvalid, OutputInvalid, ResultTimeout, RunNotFound
from celeriac.machine import EventKind
from celeriac.sagas import Saga
from celeriac.testing.process import Process
from celeriac.testing.simulation import FOR_EVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.authoring import Signal
    from celeriac.engine import Decided, Dispatcher, Engine
    from celeriac.machine import Command, Phase, Run
    from celeriac.settings import Settings
    from celeriac.store import Snapshot
    from celeriac.testing.simulation import World

R = TypeVar("R")


class LabRun(RunHandle[R]):
    """A run in the lab: the handle that users know, over the lab's engine.

    `result`, `aresult` and `wait` let the lab's time pass, and never wait themselves.
    """

    def __init__(
        self,
        run_id: str,
        world: World,
        decode: Callable[[str], R],
        dump: Callable[[str, Any], str],
        answer: Callable[[str], Any],
        signals: Mapping[str, Signal[Any]],
    ) -> None:
        super().__init__(run_id, world.engine, world.broker, decode, dump, answer, signals)
        self._world = world

    def __repr__(self) -> str:
        found = self._world.store.look(self.id).run
        if found is None:
            return f"<run {self.id}: there is none>"
        steps = ", ".join(f"{name} {step.status}" for name, step in found.steps.items())
        return f"<run {self.id}: {found.shown}; {steps or 'no step begun'}>"

    @property
    def done(self) -> list[str]:
        """The steps that completed, in the order in which they did."""
        return self._completed("do")

    @property
    def undone(self) -> list[str]:
        """The steps that were undone, in that order; one undone twice is there twice."""
        return self._completed("undo")

    @property
    def story(self) -> str:
        """Everything that happened to the run, for people."""
        return self._world.observed.story.text(self.id)

    async def aresult(self, timeout: float | None = None) -> R:  # noqa: ASYNC109 -- as `result`
        """Do what `result` does: the lab's time passes at once, and nobody is kept waiting."""
        return self.result(timeout)

    def _rest(self, timeout: float | None, wanted: Callable[[Run], tuple[str, ...]]) -> Snapshot:
        """Let the lab's time pass until the run is at rest, *timeout* seconds at most.

        Without one, until time alone does not bring it there.  Raises ResultTimeout then.
        """
        if timeout is None:
            self._world.live(FOR_EVER, lambda: self._stands() or self._world.quiet())
        else:
            self._world.live(self._world.clock.now + round(timeout * 1000), self._stands)
        run, _ = self._read()
        if not run.status.at_rest:
            waited = "" if timeout is None else f" after {timeout:g} s"
            raise ResultTimeout(f"{self!r} is not at rest{waited}; what happened:\n{self.story}")
        fields = wanted(run)
        return self._engine.retry_while_unavailable(
            lambda: self._engine.store.read(self.id, fields)
        )

    def _namesake(self, run_id: str) -> LabRun[R]:
        known = (self._decode, self._dump, self._answer, self._signals)
        return LabRun(run_id, self._world, *known)

    def fork(
        self,
        at: str,
        id: str | None = None,  # noqa: A002
        reason: str = "",
        *,
        by: str = "",
        if_version: int | None = None,
    ) -> LabRun[R]:
        """Do what `run.fork` does; what follows happens with `lab.run`."""
        with self._world.process(Process("operator", self.id)):
            return super().fork(at, id, reason, by=by, if_version=if_version)
        raise RunNotFound(id or "")  # the operator's own process died

    def _completed(self, phase: Phase) -> list[str]:
        kind = EventKind.COMPLETED
        events = [event for run_id, event in self._world.observed.events if run_id == self.id]
        return [each.step for each in events if each.kind is kind and each.phase == phase]

    def _stands(self) -> bool:
        found = self._world.store.look(self.id).run
        if found is None:
            raise RunNotFound(self.id)
        return found.status.at_rest

    def _decide(
        self,
        command: Command,
        fields: Mapping[str, str] | None = None,
        if_version: int | None = None,
    ) -> Decided | None:
        with self._world.process(Process("operator", self.id)):
            return super()._decide(command, fields, if_version)
        return None  # the operator's own process died


@dataclass(frozen=True, slots=True)
class _Runtime:
    """What a saga asks of the runtime of its app."""

    settings: Settings
    engine: Engine
    dispatcher: Dispatcher
    unfit: Mapping[str, str] = field(default_factory=dict)


class LabFamily:
    """What a saga asks of its family: a runtime, and handles."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.runtime = _Runtime(world.settings, world.engine, world.broker)

    def start(self, saga: Saga[Any, R], inputs: Any, run_id: str, options: Any) -> LabRun[R]:
        """Start a run as a client of the app does, whose process may die in the middle of it."""
        in_lab: Saga[Any, R] = Saga(self, saga.planned)  # type: ignore[arg-type]  # it asks no more
        run = self.handle(run_id, saga.planned.result, saga.planned.answer)
        with self._world.process(Process("client", run_id)):
            run.joined = in_lab.start(*inputs, id=run_id, **options).joined
        return run

    def handle(
        self,
        run_id: str,
        decode: Callable[[str], Any] = json.loads,
        answer: Callable[[str], Any] = json.loads,
    ) -> LabRun[Any]:
        """Return the handle of a run; *decode* and *answer* make values of JSON text."""
        signals = self._world.tasks.signals
        return LabRun(run_id, self._world, decode, self.dump, answer, signals)

    _handle = handle  # by the name that a saga knows

    def dump(self, task: str, result: Any) -> str:
        """Return what a task might have returned as JSON, as strictly as where it had done so."""
        body = self._world.tasks.body(task)
        if body.adopted:
            return dump_plain(task, result)
        try:
            return body.shape.dump(result)
        except OutputInvalid as error:
            raise InputInvalid(str(error)) from None
