"""Adopting tasks in whatever order an application makes things.

Owns: what happens before, while and after an app is finalized.  Refuses to know: workers.
"""

from __future__ import annotations

import gc
import typing
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task, shared_task
from celery._state import _on_app_finalizers

from celeriac import (
    ConfigurationError,
    DefinitionError,
    Flow,
    Sagas,
    StepFailed,
    StoreUnavailable,
)
from celeriac.workers import SagaTask

if TYPE_CHECKING:
    from collections.abc import Iterator

LATE = {
    "task_acks_late": True,
    "task_serializer": "pickle",
    "task_default_rate_limit": "7/s",
    "task_ignore_result": True,
    "task_annotations": {"*": {"time_limit": 5, "max_retries": 7}},
}
OPTIONS = ("acks_late", "serializer", "rate_limit", "ignore_result", "time_limit", "max_retries")


@pytest.fixture
def shared() -> Iterator[None]:
    """Forget the shared tasks of a test afterwards: every later app would have them."""
    before = set(_on_app_finalizers)
    yield
    for each in set(_on_app_finalizers) - before:
        _on_app_finalizers.discard(each)


def app(name: str = "shop", /, **options: Any) -> Celery:
    """An app of its own, which reaches nothing."""
    return Celery(name, broker="redis://localhost:1/0", set_as_current=False, **options)


def unchanged(x: int) -> int:
    """Return what was given: the function of most tasks here."""
    return x


def one_step(sagas: Sagas, task: Any) -> Any:
    """A saga of one existing task."""

    def order(flow: Flow, x: int) -> object:
        return flow.step(task, x)

    return sagas.saga(order)


def test_configuration_may_come_after_the_saga() -> None:
    """A saga neither reads the configuration nor keeps the promises of its tasks."""
    shop = app()
    sagas = Sagas(shop)

    task = shop.task(shared=False, name="a")(unchanged)
    shop.task(shared=False, name="b")(unchanged)

    @sagas.step(name="own")
    def own(x: int) -> int:
        return x

    saga = one_step(sagas, task)
    assert not shop.configured
    shop.config_from_object(LATE)
    found, plain = shop.tasks["a"], shop.tasks["b"]
    assert isinstance(found, SagaTask)
    assert isinstance(shop.tasks["own"], SagaTask)
    assert [getattr(found, each) for each in OPTIONS] == [getattr(plain, each) for each in OPTIONS]
    rule = saga.planned.plan.nodes[0].retry
    assert (rule.after_loss, rule.max_attempts) == (True, 8)
    assert own.task.time_limit == 5


def test_a_task_that_was_made_before_is_adopted_at_once() -> None:
    """In an app that is finalized, a task is a step as soon as the saga is defined."""
    shop = app()
    sagas = Sagas(shop)

    task = shop.task(shared=False, name="a")(unchanged)
    shop.finalize()
    one_step(sagas, task)
    assert isinstance(shop.tasks["a"], SagaTask)


@pytest.mark.usefixtures("shared")
def test_a_shared_task_is_that_of_its_own_app() -> None:
    """Another app, which is the current one meanwhile, is neither finalized nor adopted from."""
    shop = app()
    sagas = Sagas(shop)

    def send(task: Any, x: int) -> Any:
        return task.name, x

    mail = shared_task(name="mail", bind=True)(send)
    library = Celery("library", broker="memory://")  # becomes the current app
    one_step(sagas, mail)
    assert not shop.finalized
    assert not library.finalized
    assert isinstance(shop.tasks["mail"], SagaTask)
    assert not isinstance(library.tasks["mail"], SagaTask)


class Context(Task):  # type: ignore[misc]  # Celery has no types
    """What many applications have: a class that does something around each call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do something, and call."""
        return ["around", super().__call__(*args, **kwargs)]


@pytest.mark.parametrize("how", ["task_cls", "Task", "base"])
def test_the_class_of_the_app_is_a_base_of_a_step(how: str) -> None:
    """`task_cls`, `app.Task` and `base=` count for steps, whenever they are given."""
    shop = app(task_cls=Context if how == "task_cls" else None)
    sagas = Sagas(shop)

    options: dict[str, Any] = {"base": Context} if how == "base" else {}
    own = sagas.step(name="own", **options)(unchanged)
    if how == "Task":
        shop.Task = Context
    kind = type(shop.tasks["own"])
    assert issubclass(kind, SagaTask)
    assert issubclass(kind, Context)
    assert own.task(3) == ["around", 3]


def test_what_is_asked_of_a_task_is_answered_as_before() -> None:
    """Type hints, documentation, positional options and pickling are those of the task."""
    shop = app()
    sagas = Sagas(shop)

    class Base(Task):  # type: ignore[misc]  # Celery has no types
        """The docs of a base."""

        extra: int = 1

    def add(x: int, y: int = 2) -> int:
        """Add up."""
        return x + y

    other = app("other")
    other.task(shared=False, name="add", base=Base)(add)
    plain = other.tasks["add"]
    task = shop.task(shared=False, name="add", base=Base)(add)
    one_step(sagas, task)
    shop.finalize()
    found = shop.tasks["add"]
    assert isinstance(found, SagaTask)
    assert typing.get_type_hints(found) == typing.get_type_hints(add)
    names = ("__doc__", "__name__", "__module__", "__qualname__", "__wrapped__", "abstract")
    for name in names:
        assert getattr(found, name) == getattr(plain, name), name
    assert type(found).__doc__ == type(plain).__doc__
    assert found.__reduce__()[1] == plain.__reduce__()[1]
    assert found(1) == 3
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        found.delay()


def test_options_may_be_given_by_position() -> None:
    """`apply_async((1,), {}, "id")` sends with that id, as Celery's own does."""
    shop = Celery("shop", broker="memory://", set_as_current=False)
    sagas = Sagas(shop)
    one_step(sagas, shop.task(shared=False, name="add")(unchanged))
    assert shop.tasks["add"].apply_async((1,), None, "my-own-id").id == "my-own-id"


def test_an_app_with_sagas_is_freed() -> None:
    """Nothing outside of an app holds it once it is given up."""
    shop = app()
    sagas = Sagas(shop)
    one_step(sagas, shop.task(shared=False, name="a")(unchanged))
    shop.finalize()
    shop.close()
    gone = weakref.ref(shop)
    del shop, sagas
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("throws", [OSError, [OSError], (OSError, (KeyError,))])
def test_what_a_task_may_throw_is_one_class_or_several(throws: Any) -> None:
    """As Celery takes it: where a task could not be adopted, its runs would wait for ever."""
    app = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)
    sagas = Sagas(app)

    @app.task(name="shop.fetch", throws=throws, shared=False)  # type: ignore[untyped-decorator]
    def fetch() -> None:
        """Fetch something."""

    def get(flow: Flow) -> None:
        flow.step(fetch)

    sagas.saga(get)
    task = app.tasks["shop.fetch"]
    assert isinstance(task, SagaTask)
    assert isinstance(OSError(), task.throws)
    assert isinstance(StepFailed("order-1"), task.throws)


def test_a_task_that_cannot_be_adopted_keeps_no_other_from_it() -> None:
    """It is told: in the log, when a run is started, and by a worker that would not know it."""
    shop = app()
    sagas = Sagas(shop)

    class Slotted(Task):  # type: ignore[misc]  # Celery has no types
        """A class that cannot be changed: whatever is asked of it, it refuses."""

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "__class__":
                raise TypeError("this is what it is")
            super().__setattr__(name, value)

    tasks = [
        shop.task(shared=False, name=name, base=kind)(unchanged)
        for name, kind in (("a", Task), ("b", Slotted), ("c", Task))
    ]

    @sagas.saga
    def order(flow: Flow, x: int) -> None:
        for task in tasks:
            flow.step(task, x)

    @sagas.saga
    def fine(flow: Flow, x: int) -> None:
        flow.step(tasks[0], x)

    shop.finalize()
    assert [isinstance(shop.tasks[name], SagaTask) for name in "abc"] == [True, False, True]
    with pytest.raises(DefinitionError, match="this is what it is") as told:
        order.start(1)
    assert (told.value.saga, told.value.step) == ("order", "b")
    with pytest.raises(StoreUnavailable):  # nothing else stands in the way
        fine.start(1)
    with pytest.raises(ConfigurationError, match="the task b cannot be a step here: TypeError"):
        sagas.runtime.become_worker()


@pytest.mark.filterwarnings("ignore:Task name 'own' is already registered")
@pytest.mark.parametrize("order", ["before", "after", "made"])
def test_a_step_is_not_another_task_of_its_name(order: str) -> None:
    """Celery gives the task that is there already: its function would run in place of the step."""
    shop = app()
    sagas = Sagas(shop)

    def task() -> None:
        shop.task(shared=False, name="own")(unchanged)

    if order != "after":
        task()
    if order == "made":
        shop.finalize()

    def own(x: int) -> int:
        return x

    told = "its name is that of another Celery task, tests.app.test_adopting.unchanged: give name="
    if order == "made":
        with pytest.raises(DefinitionError, match=told):
            sagas.step(name="own")(own)
        return
    step = sagas.step(name="own")(own)
    if order == "after":
        task()

    @sagas.saga
    def order_(flow: Flow, x: int) -> object:
        return flow.step(step, x)

    shop.finalize()
    if order == "after":  # Celery has made the step's first
        assert step.task.run(3) == 3
        return
    with pytest.raises(DefinitionError, match=told):
        order_.start(1)


def test_a_task_of_another_app_is_refused() -> None:
    """No worker of this app would know it."""
    task = app("library").task(shared=False, name="a")(unchanged)
    with pytest.raises(DefinitionError, match="is a task of the app 'library', and the"):
        one_step(Sagas(app()), task)
