"""What a definition in a file may name: the tasks, compensations and signals of one app.

Owns: finding them by their names, without finalizing an app or reading its configuration.  Refuses
to know: files.
"""

from __future__ import annotations

import difflib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from celeriac.authoring import Step, check_same, compensation_by, define_adopted_compensation
from celeriac.errors import DefinitionError
from celeriac.workers import SagaTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.app.acting import Acting
    from celeriac.authoring import Compensation, Planned, Signal
    from celeriac.machine import Rule
    from celeriac.workers import Recruits


class Named:
    """What the files of one app may name."""

    def __init__(
        self,
        recruits: Recruits,
        steps: Mapping[str, Step[Any, Any, Any]],
        undos: Mapping[str, Compensation[..., Any]],
        signals: Mapping[str, Signal[Any]],
        acting: Acting,
        sagas: Mapping[str, Planned],
        rules: Mapping[str, Rule],
        *,
        adopts: bool,
    ) -> None:
        """*rules* are the gates of the app's code.

        *adopts*: the workers read the same file, and so adopt the Celery tasks that it names.
        """
        self._recruits, self._steps, self._adopts = recruits, steps, adopts
        self.undos, self.signals = undos, signals
        self._acting, self._sagas, self._rules = acting, sagas, rules

    def task(self, name: str) -> Any:
        """The step or Celery task of this name; DefinitionError if there is none."""
        if name in self._steps:
            return self._steps[name]
        found = self._recruits.named(name)
        if found is None:
            names = [*self._steps, *self._recruits.names()]
            near = difflib.get_close_matches(name, names, n=1)
            near = near or [each for each in names if each.rpartition(".")[2] == name]
            hint = f"did you mean {near[0]}?" if near else "import the module that defines it"
            raise DefinitionError(f"there is no task {name!r} in this app: {hint}")
        if getattr(found, "saga_adopted", True) is False:
            raise DefinitionError(f"{name} is a compensation or a confirm, and no step by itself")
        if not self._adopts and not isinstance(found, SagaTask) and not hasattr(found, "kept"):
            raise DefinitionError(
                f"{name} is a Celery task that no saga of the app's code uses, so workers do not "
                "know it as a step: load the file in a module of the app (sagas.load), or make it "
                "a step"
            )
        return found

    def saga(self, name: str) -> SimpleNamespace:
        """A saga of the app, which has a plan; DefinitionError if there is none."""
        if name not in self._sagas:
            known = ", ".join(self._sagas) or "none"
            raise DefinitionError(f"there is no saga {name!r} in this app: it has {known}")
        return SimpleNamespace(planned=self._sagas[name])

    def action(self, kind: str, *, keyed: bool, undone: bool) -> Step[Any, Any, Any]:
        """A built-in action as a step; DefinitionError if it is off."""
        return self._acting.step(kind, keyed=keyed, undone=undone)

    def check_name(self, saga: str) -> None:
        """Raise DefinitionError if the name of a saga is taken."""
        if saga in self._sagas:
            raise DefinitionError(
                "the name is taken by a saga of the app's code: give the one in the file another"
            )

    def check_gate(self, name: str, rule: Rule) -> None:
        """Raise DefinitionError if a gate of the app's code has other numbers."""
        check_same(self._rules, name, rule)

    def check_url(self, url: str) -> None:
        """Raise DefinitionError for a URL that no action may ask."""
        self._acting.check_url(url)

    def compensation(self, task: Any, name: str) -> Compensation[..., Any] | None:
        """What undoes a task, by its name; None: its own already does.  DefinitionError."""
        own = task.undo if isinstance(task, Step) else self.undos.get(task.name)
        if own is not None:
            if own.name == name:
                return None
            raise DefinitionError(f"{task.name} has a compensation already: {own.name}")
        undo = self.task(name)
        if isinstance(task, Step) and isinstance(undo, Step):
            return compensation_by(task, undo)
        if isinstance(task, Step) or isinstance(undo, Step):
            raise DefinitionError(
                f"{name} cannot undo {task.name}: a step is undone by a step, and an existing "
                "Celery task by an existing Celery task"
            )
        return define_adopted_compensation(task, undo)
