"""Tasks that are to be steps, in whatever order an application makes them.

Owns: knowing a task that Celery has only promised so far, and adopting it once there is one.
Refuses to know: what adopting means (`tasks`), and what a saga does with a task.

Keeping a promise reads the configuration, and asking `@shared_task` finalizes whichever app is the
current one.  Neither may happen because a module defines a saga: configuration comes later in many
applications, and other apps may be in the same process.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any

from celery import _state, current_app, signals
from celery.local import PromiseProxy, Proxy

from celeriac.errors import DefinitionError
from celeriac.failure import safe_text
from celeriac.observing import clean, log
from celeriac.workers.tasks import adopt, itself

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from celeriac.authoring import Shape
    from celeriac.workers.runtime import Runtime


class Promised:
    """A task that an app will make when it is finalized: its name, its function, and no more."""

    saga_adopted = True  # False: it is that of a step

    def __init__(self, app: Celery, function: Any, options: Mapping[str, Any]) -> None:
        self._app = app
        self.name: str = options.get("name") or app.gen_task_name(
            function.__name__, function.__module__
        )
        # As Celery will make it: bound to the task, or not.
        self.run: Callable[..., Any] = function
        if options.get("bind"):
            self.run = types.MethodType(function, self)

    def __repr__(self) -> str:
        return f"<promised task {self.name}>"

    def kept(self) -> Any:
        """The task itself; finalizes the app if it is not yet."""
        return self._app.tasks[self.name]


class Recruits:
    """The tasks of one app that are to be adopted, as soon as the app has made them."""

    def __init__(self, app: Celery, runtime: Runtime) -> None:
        self._app, self._runtime = app, runtime
        self._waiting: list[tuple[str, Shape, Any]] = []
        self._taken: dict[str, tuple[Shape, bool]] = {}
        app.on_after_finalize.connect(self._adopt_all, weak=False)
        signals.worker_process_init.connect(self._adopt_again)

    def look(self, task: Any) -> Any:
        """Return the app's task that *task* stands for, or what is known of one not made yet."""
        kind = type(task)  # asking the task itself would keep its promise
        if kind is PromiseProxy and not task.__evaluated__():
            local = object.__getattribute__(task, "_Proxy__local")
            made_by = getattr(local, "__self__", None)
            args = object.__getattribute__(task, "_Proxy__args")
            options = object.__getattribute__(task, "_Proxy__kwargs")
            if made_by is self._app:
                return self._known(args[0], options)
        if kind is Proxy:
            return self._shared(task)
        return itself(task)

    def named(self, name: str) -> Any:
        """The task of this name, or what is known of one not made yet; None if there is none."""
        found = self._app._tasks.get(name)  # noqa: SLF001 -- app.tasks would finalize it
        return self._promised().get(name) if found is None else found

    def names(self) -> list[str]:
        """The names of all tasks of the app, but for those of Celery itself."""
        names = [*self._app._tasks, *self._promised()]  # noqa: SLF001 -- as above
        return [name for name in names if not name.startswith(("celery.", "celeriac."))]

    def _promised(self) -> dict[str, Any]:
        """The tasks that the app, or every app, has promised and not made yet."""
        made = [self.look(task) for task in self._app._pending]  # noqa: SLF001 -- where they are
        for make in list(_state._on_app_finalizers):  # noqa: SLF001 -- where Celery keeps them
            found = inspect.getclosurevars(make).nonlocals
            if "fun" in found and "options" in found:
                made.append(self._known(found["fun"], found["options"]))
        return {task.name: task for task in made}

    def _shared(self, task: Any) -> Any:
        """What `@shared_task` gave stands for another task in each app: here for ours."""
        local = object.__getattribute__(task, "_Proxy__local")
        if getattr(local, "__name__", "") != "task_by_cons":
            return itself(task)
        function = inspect.getclosurevars(local).nonlocals["fun"]
        for make in list(_state._on_app_finalizers):  # noqa: SLF001 -- where Celery keeps them
            found = inspect.getclosurevars(make).nonlocals
            if found.get("fun") is function and "options" in found:
                return self._known(function, found["options"])
        return itself(task)

    def _known(self, function: Any, options: Mapping[str, Any]) -> Any:
        promised = Promised(self._app, function, options)
        if any(own is not None and name == promised.name for name, _, own in self._waiting):
            promised.saga_adopted = False
        made = self._app._tasks.get(promised.name)  # noqa: SLF001 -- app.tasks would finalize it
        return promised if made is None else made

    def take(self, task: Any, shape: Shape, *, name: str | None = None, own: Any = None) -> None:
        """Adopt a task, now or once there is one; *own* is the function of a step.

        Raises DefinitionError for a task that is not this app's, or not of that function.
        """
        task = self.look(task)
        name = name or task.name
        self._taken[name] = shape, own is not None
        if isinstance(task, Promised):
            self._waiting.append((name, shape, own))
        else:
            self._adopt(task, shape, own)

    def _adopt(self, task: Any, shape: Shape, own: Any) -> None:
        theirs = task._get_app()  # noqa: SLF001 -- Celery's own way to ask
        if theirs is not self._app:
            raise DefinitionError(
                f"is a task of the app {theirs.main!r}, and the saga is one of {self._app.main!r}, "
                "whose workers do not know it: give a task of this app",
                step=task.name,
            )
        if own is not None and inspect.unwrap(task.run) is not inspect.unwrap(own):
            raise DefinitionError(
                f"its name is that of another Celery task, {_origin(task)}: give name=",
                step=task.name,
            )
        adopt(task, shape, self._runtime, own=own is not None)

    def _adopt_all(self, **_: Any) -> None:
        while self._waiting:
            name, shape, own = self._waiting.pop()
            try:
                self._adopt(self._app.tasks[name], shape, own)
            except Exception as error:  # noqa: BLE001 -- of a class that is theirs; the others' turn
                self._runtime.unfit[name] = why = f"{type(error).__name__}: {safe_text(error)}"
                log.error("the task %s cannot be made a step: %s", clean(name), why)

    def _adopt_again(self, **_: Any) -> None:
        """In a pool's child that was not forked, the app is another, with tasks of its own."""
        app = current_app._get_current_object()  # noqa: SLF001 -- Celery's own way to ask
        if app is self._app or app.main != self._app.main:
            return
        for name, (shape, own) in self._taken.items():
            if name in app.tasks:
                adopt(app.tasks[name], shape, self._runtime, own=own)


def _origin(task: Any) -> str:
    """Where the function of a task is defined."""
    function = inspect.unwrap(task.run)
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
