"""Tasks of an ordinary Celery project, each of which a saga adopts; they write down what they see.

Owns: one task for each thing that Celery promises to a task, and a saga `only-NAME` of that task
alone.  Refuses to know: which worker runs them (`unmodified_worker`), and what should be seen.

A line of `told` is `{id, hook, args, kwargs, value}`, all texts; id is that of the task.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task, signals

from celeriac import Flow, Saga  # noqa: TC001 -- read when the saga is planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.workers.kit import Kit


class Unmodified(NamedTuple):
    """The tasks by name, the sagas by the name of their task, and two more."""

    tasks: dict[str, Any]
    sagas: dict[str, Saga[Any, Any]]
    bill: Saga[Any, Any]  # types through inputs, results, constants and the undo
    loud: Saga[Any, Any]  # a step of ours with the base class of theirs
    named: Saga[Any, Any]  # an argument by position, one by name, and one left to its default


def extend(kit: Kit) -> Unmodified:
    """Add the tasks and their sagas to the kit's app."""
    kit.app.conf.result_backend = kit.app.conf.broker_url
    book = _Book(kit)
    tasks = _tasks(kit, book)
    sagas = {name: _only(kit, name, task) for name, task in tasks.items()}
    return Unmodified(tasks, sagas, _bill(kit, book), _loud(kit, book), _named(kit, tasks))


class _Book:
    """Where it is written down."""

    def __init__(self, kit: Kit) -> None:
        self._file = kit.folder / "told"

    def write(self, task_id: str, hook: str, args: Any, kwargs: Any, value: Any = None) -> None:
        """Add a line; in one write, since several processes do."""
        line = {"id": task_id, "hook": hook, "args": repr(args), "kwargs": repr(kwargs)}
        text = json.dumps({**line, "value": repr(value)}) + "\n"
        with self._file.open("ab", buffering=0) as file:
            file.write(text.encode())


def told(kit: Kit, task_id: str) -> list[dict[str, str]]:
    """What was written down of a task, or of all whose ids begin so."""
    file = kit.folder / "told"
    text = file.read_text() if file.exists() else ""
    lines = text.split("\n")[:-1]  # what is behind the last one is being written
    found = [json.loads(line) for line in lines]
    return [each for each in found if each["id"].startswith(task_id)]


def _hooked(book: _Book) -> type[Task]:
    class Hooked(Task):  # type: ignore[misc]  # Celery has no types
        """What many projects have: a base class that hears of everything."""

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            book.write(task_id, "before_start", args, kwargs)

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            book.write(task_id, "on_success", args, kwargs, retval)

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, _: Any) -> None:
            book.write(task_id, "on_failure", args, kwargs, exc)

        def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, _: Any) -> None:
            book.write(task_id, "on_retry", args, kwargs, exc)

        def after_return(
            self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, _: Any
        ) -> None:
            stash = getattr(self.request, "stash", None)
            book.write(task_id, f"after_return {status}", args, kwargs, (retval, stash))

    return Hooked


class _Maker:
    """Makes tasks, and keeps them by name."""

    def __init__(self, kit: Kit, book: _Book) -> None:
        self.book, self.hooked = book, _hooked(book)
        self.found: dict[str, Any] = {}
        self._app = kit.app

    def task(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        """A decorator, as `app.task` is."""

        def made(function: Any) -> Any:
            name = function.__name__
            options.setdefault("base", self.hooked)
            self.found[name] = self._app.task(shared=False, name=f"plain.{name}", **options)(
                function
            )
            return self.found[name]

        return made

    def seen(self, task: Any) -> None:
        """Write down what a body sees of its request."""
        request = task.request
        about = (
            request.retries,
            request.is_eager,
            request.called_directly,
            len(task.request_stack),
        )
        self.book.write(str(request.id), "body", request.args, request.kwargs, about)


def _tasks(kit: Kit, book: _Book) -> dict[str, Any]:
    make = _Maker(kit, book)
    _make_endings(make)
    _make_retries(make)
    _make_limits(make)
    _make_calls(make)
    _make_kinds(make)
    _listen(book)
    return make.found


def _make_endings(make: _Maker) -> None:
    """Tasks that return, raise, ask for another attempt, or hand over to another task."""

    @make.task(bind=True)
    def fine(self: Any, x: Any) -> Any:
        self.request.stash = x
        make.seen(self)
        return [x, x * 2]

    @make.task(bind=True)
    def broken(self: Any, x: Any) -> Any:
        make.seen(self)
        raise ValueError(f"no {x}")

    @make.task(bind=True, max_retries=1)
    def flaky(self: Any, x: Any) -> Any:
        make.seen(self)
        if self.request.retries < 1:
            raise self.retry(exc=ConnectionError(f"not {x}"), countdown=0.1)
        return x

    @make.task(bind=True, max_retries=5, default_retry_delay=0)
    def poll(self: Any, page: int) -> int:
        make.seen(self)
        if page < 3:
            raise self.retry(args=(page + 1,), countdown=0.1)
        return page

    @make.task(bind=True, max_retries=2)
    def giving_up(self: Any, x: Any) -> Any:
        try:
            {}[x]
        except LookupError:
            self.retry(countdown=0.1)

    @make.task(bind=True)
    def swapped(self: Any, x: Any) -> Any:
        return self.replace(make.found["fine"].s(x))


def _make_retries(make: _Maker) -> None:
    """Tasks that ask for another attempt in ways of their own."""

    @make.task(bind=True)
    def labelled(self: Any, x: Any) -> Any:
        if self.request.retries < 1:
            raise self.retry(countdown=0.1, headers={"label": str(x)})
        return self.request.headers["label"]

    @make.task(bind=True)
    def later(self: Any, x: Any) -> Any:
        if self.request.retries < 1:
            self.retry(countdown=0.1, throw=False)
            return "not yet"
        return x


def _make_limits(make: _Maker) -> None:
    """A task that is told that its time is up."""

    @make.task(soft_time_limit=0.3, time_limit=20)
    def hurried(x: Any) -> Any:
        try:
            time.sleep(10)
        except SoftTimeLimitExceeded:
            return [x, "in time"]
        return [x, "too late"]


def _make_calls(make: _Maker) -> None:
    """Tasks that call themselves, and each other."""

    @make.task(bind=True)
    def tree(self: Any, n: int) -> int:
        make.seen(self)
        return 1 if n < 2 else n * self(n - 1)

    @make.task()
    def ping(n: int) -> int:
        return n if n <= 0 else make.found["pong"](n - 1) + 1

    @make.task()
    def pong(n: int) -> int:
        return n if n <= 0 else make.found["ping"](n - 1) + 1


def _make_kinds(make: _Maker) -> None:
    """Tasks with classes of their own."""
    hooked = make.hooked

    class Around(hooked):  # type: ignore[misc, valid-type]
        """A class that does something around each call."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            make.book.write(str(self.request.id), "call", args, kwargs)
            result = super().__call__(*args, **kwargs)
            make.book.write(str(self.request.id), "called", args, kwargs, result)
            return result

    @make.task(base=Around)
    def around(n: int) -> int:
        return 1 if n < 2 else n * make.found["around"](n - 1)

    class Translated(hooked):  # type: ignore[misc, valid-type]
        """A class that adds an argument by its name."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, language="en", **kwargs)

    @make.task(base=Translated)
    def weigh(x: Any, language: str = "de", unit: str = "kg", digits: int = 2) -> Any:
        return [x, language, unit, digits]

    class Refusing(hooked):  # type: ignore[misc, valid-type]
        """A hook that raises before the body."""

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            super().before_start(task_id, args, kwargs)
            raise PermissionError(f"not for {args[0]}")

    @make.task(base=Refusing)
    def refused(x: Any) -> Any:
        return x

    class Tenant(hooked):  # type: ignore[misc, valid-type]
        """A class that sends something along with each message."""

        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            headers = {**(options.pop("headers", None) or {}), "tenant": "acme"}
            return super().apply_async(args, kwargs, headers=headers, **options)

    @make.task(base=Tenant, bind=True)
    def tenant(self: Any, x: Any) -> Any:
        return [x, self.request.headers["tenant"]]


def _listen(book: _Book) -> None:
    """Write down what Celery's signals say of these tasks."""

    def prerun(task_id: str, args: Any, kwargs: Any, task: Any, **_: Any) -> None:
        if task.name.startswith("plain."):
            book.write(task_id, "prerun", args, kwargs)

    def postrun(
        task_id: str, args: Any, kwargs: Any, task: Any, retval: Any, state: Any, **_: Any
    ) -> None:
        if task.name.startswith("plain."):
            book.write(task_id, f"postrun {state}", args, kwargs, retval)

    signals.task_prerun.connect(prerun, weak=False)
    signals.task_postrun.connect(postrun, weak=False)


def _only(kit: Kit, name: str, task: Any) -> Saga[Any, Any]:
    def only(flow: Flow, x: Decimal | int) -> Any:
        return flow.step(task, x)

    return kit.sagas.saga(name=f"only-{name}")(only)


def _named(kit: Kit, tasks: dict[str, Any]) -> Saga[Any, Any]:
    def named(flow: Flow, x: int) -> Any:
        return flow.step(tasks["weigh"], x, unit="g")

    return kit.sagas.saga(named)


SOME = {
    "decimal": Decimal("1.10"),
    "datetime": dt.datetime(2026, 2, 3, 4, 5, 6, 7, dt.UTC),
    "date": dt.date(2026, 2, 3),
    "time": dt.time(4, 5),
    "uuid": uuid.UUID(int=7),
    "bytes": b"\xff\x00",
}


def _bill(kit: Kit, book: _Book) -> Saga[Any, Any]:
    """Values of all types, through input, constant, result and undo of adopted tasks."""

    def task(function: Any) -> Any:
        return kit.app.task(shared=False, name=f"plain.{function.__name__}", bind=True)(function)

    @task
    def some(self: Any, price: Any, at: Any, rate: Any) -> Any:
        book.write(str(self.request.id), "some", [price, at, rate], {})
        return SOME

    @task
    def unsome(self: Any, price: Any, rate: Any, result: Any) -> None:
        book.write(str(self.request.id), "unsome", [price, rate, result], {})

    @task
    def more(self: Any, found: Any, cents: Any) -> Any:
        book.write(str(self.request.id), "more", [found, cents], {})
        return found["decimal"] * 2

    @task
    def unmore(self: Any, found: Any) -> None:
        book.write(str(self.request.id), "unmore", [found], {})

    @kit.sagas.step
    def check(price: Decimal, made: Decimal) -> Decimal:
        book.write("check", "check", [price, made], {})
        return made + price

    @task
    def last(self: Any, total: Any) -> Any:
        book.write(str(self.request.id), "last", [total], {})
        if os.environ.get("KIT_FOLDER") and total > 100:
            raise ValueError("too much")
        return total

    kit.sagas.compensate(some, unsome)
    kit.sagas.compensate(more, unmore)

    def bill(flow: Flow, price: Decimal, at: dt.datetime) -> Any:
        found = flow.step(some, price, at, Decimal("0.19"))
        made = flow.step(more, found, [Decimal("0.01")])
        return flow.step(last, flow.step(check, price, made))

    return kit.sagas.saga(bill)


def _loud(kit: Kit, book: _Book) -> Saga[Any, Any]:
    """A step of ours that has a base class of theirs; its values are not told in the clear."""
    card = "4111-1111"

    @kit.sagas.step(name="plain.own", base=_hooked(book))
    def own(n: int) -> str:
        if n < 0:
            raise ValueError(card)
        return card

    def loud(flow: Flow, n: int) -> Any:
        return flow.step(own, n)

    return kit.sagas.saga(loud)
