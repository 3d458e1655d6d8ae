"""A saga, ready to be started.

Owns: the ways to start a run of it, with their types and their promises.  Refuses to know: how a
start is checked and committed (`starting`), and what a run is asked afterwards (`handles`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from celeriac.app.inputs import inputs_of, inputs_of_texts
from celeriac.app.offload import offload
from celeriac.app.starting import IfExists, prepare_start, start_run
from celeriac.definitions import write_plan
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from celeriac.app.defining import Definitions
    from celeriac.app.handles import RunHandle
    from celeriac.authoring import Planned
    from celeriac.machine import Start
    from celeriac.workers import Runtime

I = TypeVar("I")  # noqa: E741 -- the input of a saga
R = TypeVar("R")


class Family(Protocol):
    """What a saga needs of the `Sagas` that it is one of."""

    app: Celery
    runtime: Runtime
    _definitions: Definitions

    @property
    def defined(self) -> Mapping[str, Saga[Any, Any]]:
        """The sagas of this app by name."""

    def _handle(
        self, run_id: str, decode: Callable[[str], Any], answer: Callable[[str], Any]
    ) -> RunHandle[Any]: ...


class Saga(Generic[I, R]):
    """A named, versioned graph of steps, ready to be started."""

    def __init__(self, sagas: Family, planned: Planned) -> None:
        self.planned, self._sagas = planned, sagas

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.planned.name

    def __repr__(self) -> str:
        return f"<saga {self.name}>"

    def as_yaml(self) -> str:
        """Return the saga as a YAML file, which `sagas.load` reads as the same plan."""
        definitions = self._sagas._definitions  # noqa: SLF001 -- one family
        return write_plan(self.planned.plan, definitions.task_named, self.planned.shape)

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse: a saga is started, not called."""
        raise DefinitionError(
            "a saga cannot be called: start a run with .start(…), or add its steps to this saga",
            saga=self.name,
        )

    def start(
        self,
        *inputs: I,
        id: str | None = None,  # noqa: A002 -- the word of the interface
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        started_by: str = "",
        **named: Any,
    ) -> RunHandle[R]:
        """Accept a run and return its handle; once this returns, the run will come to rest.

        *id* makes it idempotent; the default is a new UUID (version 7).  *if_exists* says what
        happens if the id is taken: `join` returns that run if its input is equal, and raises
        RunConflict if not; `fail` raises RunExists; `restart` starts again if the run has ended.
        *started_by* says who asks for it; it is kept with the run.

        Raises InputInvalid or PayloadTooLarge with nothing written, StoreUnavailable, StoreFull.
        """
        start, texts = self._prepare(inputs, named, id, tags, if_exists, started_by)
        return self._start(start, texts)

    async def astart(
        self,
        *inputs: I,
        id: str | None = None,  # noqa: A002 -- the word of the interface
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        started_by: str = "",
        **named: Any,
    ) -> RunHandle[R]:
        """Do what `start` does in a coroutine, without blocking its event loop.

        If the caller is cancelled meanwhile, the run may have been started: give an *id*, and you
        can start it again safely.
        """
        options: Any = {"id": id, "tags": tags, "if_exists": if_exists, "started_by": started_by}
        return await offload(self.start, *inputs, **options, **named)

    def start_json(
        self,
        text: str,
        *,
        id: str | None = None,  # noqa: A002
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        started_by: str = "",
    ) -> RunHandle[R]:
        """Accept a run whose input is JSON text; otherwise the same as `start`.

        With one parameter, *text* is its value; with several, an object by parameter name.
        """
        named = inputs_of(self.planned.shape, text)
        start, texts = self._prepare((), named, id, tags, if_exists, started_by)
        return self._start(start, texts)

    def start_vars(
        self,
        variables: Mapping[str, str],
        *,
        id: str | None = None,  # noqa: A002
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        started_by: str = "",
    ) -> RunHandle[R]:
        """Accept a run whose inputs are texts, each read by the type that it is for.

        `08:30` is a time where one is asked for; lists and objects are JSON.  Otherwise the same as
        `start`.
        """
        named = inputs_of_texts(self.planned.shape, variables)
        start, texts = self._prepare((), named, id, tags, if_exists, started_by)
        return self._start(start, texts)

    def start_on_commit(
        self,
        *inputs: I,
        id: str | None = None,  # noqa: A002
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        using: str | None = None,
        started_by: str = "",
        **named: Any,
    ) -> str:
        """Start when Django's transaction commits; return the run's id.  Checks the input now."""
        from django.db import transaction  # noqa: PLC0415 -- only where Django is in use

        start, texts = self._prepare(inputs, named, id, tags, if_exists, started_by)
        transaction.on_commit(lambda: self._start(start, texts), using=using)
        return start.run_id

    def _prepare(
        self,
        inputs: tuple[Any, ...],
        named: Mapping[str, Any],
        run_id: str | None,
        tags: Mapping[str, str] | None,
        if_exists: IfExists,
        by: str,
    ) -> tuple[Start, dict[str, str]]:
        client = self._sagas.runtime
        return prepare_start(client, self.planned, inputs, named, run_id, tags, if_exists, by)

    def _start(self, start: Start, texts: Mapping[str, str]) -> RunHandle[R]:
        made = start_run(self._sagas.runtime, self.planned, start, texts)
        run = self._handle(start.run_id)
        run.joined = not made
        return run

    def _handle(self, run_id: str) -> RunHandle[R]:
        planned = self.planned
        return self._sagas._handle(run_id, planned.result, planned.answer)  # noqa: SLF001
