"""What an app's modules define: steps, sagas, and the compensations of adopted tasks.

Owns: the names that are taken, and registering the Celery task of each step.  Refuses to know:
runs, and how a function becomes a step or a plan (`authoring`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app.acting import Acting
from celeriac.app.named import Named
from celeriac.authoring import (
    STEP,
    Shape,
    check_same,
    define_adopted_compensation,
    define_step,
    plan_saga,
)
from celeriac.definitions import plan_file
from celeriac.errors import DefinitionError
from celeriac.workers import Recruits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.authoring import Compensation, Planned, Signal, Step
    from celeriac.machine import Gate, Rule
    from celeriac.workers import Runtime


class Definitions:
    """The steps and sagas of one app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._recruits = Recruits(runtime.app, runtime)
        self._names: dict[str, str] = {}  # task name -> the function it was made of
        self._acting = Acting(runtime, self._register)
        runtime.at_start.append(self._acting.ready)
        self._steps: dict[str, Step[Any, Any, Any]] = {}  # by the name of the task
        self._planned: dict[str, Planned] = {}  # by the name of the saga
        self._deciders: dict[Any, Step[Any, Any, Any]] = {}  # by the function of a condition
        self.signals: dict[str, Signal[Any]] = {}  # that the sagas of the app wait for, by name
        self._adopted_undos: dict[str, Compensation[Any, Any]] = {}

    def step(self, function: Any, options: Mapping[str, Any]) -> Step[Any, Any, Any]:
        """Define a step and register its Celery task; raise DefinitionError otherwise."""
        given = {name: value for name, value in options.items() if name in STEP}
        celery = {name: value for name, value in options.items() if name not in STEP}
        given["name"] = given.get("name") or self._task_name(function)
        made = define_step(function, register=self._register, options=celery, **given)
        for gate, rule, _ in made.gates:
            self._take_gate(gate, rule, step=made.name)
        self._steps[made.name] = made
        return made

    def saga(self, function: Any, options: Mapping[str, Any]) -> Planned:
        """Plan a saga and adopt the Celery tasks in it; raise DefinitionError otherwise."""
        name = str(options.get("name") or getattr(function, "__name__", repr(function)))
        if name in self._planned:
            raise DefinitionError("the name is taken by another saga: give name=", saga=name)
        rest = {key: value for key, value in options.items() if key != "name"}
        look = self._recruits.look
        planned = plan_saga(
            function,
            name=name,
            adopted_undos=self._adopted_undos,
            look=look,
            define=self._decider,
            **rest,
        )
        self._take(planned)
        return planned

    def file(self, content: bytes, file: str, *, loaded: bool) -> Planned:
        """Plan the saga of a file; raise FileInvalid with all that is wrong otherwise.

        One that is *loaded* becomes one of the app's own; others are only there to be started.
        """
        undos, signals = self._adopted_undos, self.signals
        world = Named(
            *(self._recruits, self._steps, undos, signals, self._acting, self._planned),
            self._runtime.rules,
            adopts=loaded,
        )
        planned = plan_file(content, file, world)
        if loaded:
            self._take(planned)
        for gate, at in _gates_of(planned):
            # One that is only started knows no other numbers than the code.
            check = self._take_gate if loaded else self._check_gate
            check(gate.name, gate.rule, **at)
        return planned

    def task_named(self, name: str) -> Any:
        """The step or Celery task of a name; None if there is none."""
        return self._steps.get(name) or self._acting.named(name) or self._recruits.named(name)

    def _take(self, planned: Planned) -> None:
        """Make a saga one of the app's own."""
        self._check_signals(planned)
        for gate in planned.draft.gates:
            self._take_gate(gate.name, gate.rule, saga=planned.name)
        for task in planned.adopted:
            self._recruits.take(task, Shape.of(task.run, strict=False))
        self.signals.update(planned.signals)
        self._planned[planned.name] = planned

    def _take_gate(self, name: str, rule: Rule, **at: str) -> None:
        """Note a gate; raise DefinitionError if there is another one of its name."""
        self._check_gate(name, rule, **at)
        self._runtime.rules[name] = rule

    def _check_gate(self, name: str, rule: Rule, **at: str) -> None:
        try:
            check_same(self._runtime.rules, name, rule)
        except DefinitionError as error:
            raise DefinitionError(error.problem, **at) from None

    def _check_signals(self, planned: Planned) -> None:
        """Raise DefinitionError for a signal of which another saga knows a namesake."""
        for name, signal in planned.signals.items():
            if self.signals.get(name, signal) is not signal:
                raise DefinitionError(
                    f"waits for a signal {name!r}, and another saga of the app for another one of "
                    "that name: share one Signal, or give one of them another name",
                    saga=planned.name,
                )

    def _decider(self, function: Any) -> Step[Any, Any, Any]:
        """Make a step of the plain function of a condition, once for all sagas of the app."""
        if function not in self._deciders:
            self._deciders[function] = self.step(function, {})
        return self._deciders[function]

    def compensate(self, existing_task: Any, undo_task: Any) -> None:
        """Note the compensation of an adopted task, before the sagas that use it."""
        existing_task, undo_task = map(self._recruits.look, (existing_task, undo_task))
        undo = define_adopted_compensation(existing_task, undo_task)
        if existing_task.name in self._adopted_undos:
            raise DefinitionError("already has a compensation", step=existing_task.name)
        for name, planned in self._planned.items():
            if existing_task.name in {task.name for task in planned.adopted}:
                raise DefinitionError(
                    "its plan is made, without this compensation: call compensate before the saga",
                    saga=name,
                    step=existing_task.name,
                )
        self._adopted_undos[existing_task.name] = undo

    def _task_name(self, function: Any) -> str | None:
        name, module = getattr(function, "__name__", None), getattr(function, "__module__", None)
        return self._runtime.app.gen_task_name(name, module) if name and module else None

    def _register(self, function: Any, name: str | None, options: Mapping[str, Any]) -> Any:
        """Register the Celery task of a step or compensation."""
        name = name or self._task_name(function)
        assert name is not None  # functions have names, and others were refused before
        origin = f"{function.__module__}.{function.__qualname__}"
        if name in self._names:
            raise DefinitionError(
                f"the name is taken by {self._names[name]}: rename one, or give name=",
                step=name,
            )
        if options.get("bind"):
            raise DefinitionError(
                "a step cannot have bind=True: take a StepContext as its first parameter",
                step=name,
            )
        self._names[name] = origin
        rest = {key: value for key, value in options.items() if key != "saga_shape"}
        # shared=False, with other apps in this process: a step belongs to one store.
        made = {"shared": False, "ignore_result": True, **rest, "name": name}
        task = self._runtime.app.task(function, **made)
        self._recruits.take(task, options["saga_shape"], name=name, own=function)
        return task


def _gates_of(planned: Planned) -> Iterator[tuple[Gate, dict[str, str]]]:
    """All gates of a plan, and where each stands."""
    yield from ((gate, {"saga": planned.name}) for gate in planned.plan.gates)
    for node in planned.plan.all_nodes:
        yield from ((gate, {"saga": planned.name, "step": node.name}) for gate in node.gates)
