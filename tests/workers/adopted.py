"""Tasks that existed before there were sagas, added to the kit's app, and a saga made of them.

Owns: what an ordinary Celery project has: bound tasks that retry themselves, a base class of its
own, a queue of its own, a result backend.  Refuses to know: which worker runs them (`extra_tasks`).

Called directly, an effect is entered under `direct:` and the task's name.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import Task

from celeriac import CommandRefused, Flow, Saga, current
from tests.workers.kit import Trip  # noqa: TC001 -- read when the saga is planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.workers.kit import Kit


class Adopted(NamedTuple):
    """The saga, and the tasks it adopted."""

    errand: Saga[Trip, Any]  # fetch, parse, mail
    fetch: Any  # bound, asks for retries itself
    parse: Any  # retries by autoretry_for, in a base class of its own
    mail: Any  # late acknowledgement, a queue and a rate limit of its own


def extend(kit: Kit) -> Adopted:
    """Add the tasks to the kit's app, and the saga that adopts them."""
    names = (f"{__name__}.mail", f"{__name__}.unmail")
    kit.app.conf.task_routes = {name: {"queue": "mail"} for name in names}
    kit.app.conf.result_backend = kit.app.conf.broker_url
    fetch, parse, mail = _tasks(kit)
    return Adopted(_saga(kit, fetch, parse, mail), fetch, parse, mail)


def _task(kit: Kit, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Celery's own decorator; not shared, or the tasks would be in the apps of later tests too."""
    made: Callable[[Callable[..., Any]], Any] = kit.app.task(shared=False, **options)
    return made


def _tasks(kit: Kit) -> tuple[Any, Any, Any]:
    act = _actor(kit)

    class Counted(Task):  # type: ignore[misc]  # Celery has no types
        """A base class that does something of its own around each call."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            kit.ledger.begin(f"{_whose()[0]}:counted", 1)
            return super().__call__(*args, **kwargs)

    @_task(kit, bind=True, max_retries=2)
    def fetch(self: Any, trip: dict[str, Any]) -> dict[str, int]:
        words = act("fetch", trip)
        if self.request.retries < len(words):
            word = words[self.request.retries]
            how: dict[str, Any] = {"countdown": 0.1}
            if word == "elsewhere":
                how = {"countdown": 2.5, "queue": "mail", "priority": 3, "headers": {"a": "b"}}
            raise self.retry(exc=ConnectionError(word), **how)
        if "elsewhere" in words:
            came = self.request.delivery_info
            kit.ledger.begin(f"{_whose()[0]}:by {came['routing_key']} {came['priority']}", 1)
        return {"tries": self.request.retries + 1}

    @_task(
        kit,
        base=Counted,
        autoretry_for=(ConnectionError,),
        max_retries=1,
        retry_kwargs={"max_retries": 2, "countdown": 0.1},
    )
    def parse(trip: dict[str, Any], fetched: dict[str, int]) -> list[int]:
        words = act("parse", trip)
        if parse.request.retries < len(words):
            raise ConnectionError(words[parse.request.retries])
        return [fetched["tries"], parse.request.retries + 1]

    @_task(kit, acks_late=True, rate_limit="5/s")
    def mail(trip: dict[str, Any], parsed: list[int], greeting: str = "hello") -> str:
        act("mail", trip)
        return f"{greeting} {parsed}"

    return fetch, parse, mail


def _saga(kit: Kit, *tasks: Any) -> Saga[Trip, Any]:
    act = _actor(kit)
    fetch, parse, mail = tasks

    @_task(kit)
    def unfetch(trip: dict[str, Any], result: dict[str, int] | None = None) -> None:
        kit.ledger.begin(f"{_whose()[0]}:got-{result and result['tries']}", 1)
        act("fetch.undo", trip)

    @_task(kit)
    def unparse(fetched: dict[str, int], trip: dict[str, Any]) -> None:
        kit.ledger.begin(f"{_whose()[0]}:parsed-{fetched['tries']}", 1)
        act("parse.undo", trip)

    @_task(kit)
    def unmail(trip: dict[str, Any]) -> None:
        act("mail.undo", trip)

    kit.sagas.compensate(fetch, unfetch)
    kit.sagas.compensate(parse, unparse)
    kit.sagas.compensate(mail, unmail)

    def errand(flow: Flow, trip: Trip) -> Any:
        parsed = flow.step(parse, trip, flow.step(fetch, trip))
        return flow.step(mail, trip, parsed)

    return kit.sagas.saga(errand)


def _actor(kit: Kit) -> Callable[[str, dict[str, Any]], list[str]]:
    """What every task does: take effect or undo it, and return the words of its script."""

    def act(name: str, trip: dict[str, Any]) -> list[str]:
        run_id, attempt, key = _whose()
        kit.ledger.begin(f"{run_id}:{name}", attempt)
        words: list[str] = trip.get("script", {}).get(name, [])
        if words[attempt - 1 : attempt] == ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        effect = key or f"{run_id}:{name.removesuffix('.undo')}"
        (kit.ledger.undo if name.endswith(".undo") else kit.ledger.do)(effect, attempt)
        return words

    return act


def _whose() -> tuple[str, int, str]:
    """The run's id, the attempt and the key; of a direct call, `direct`."""
    try:
        context = current()
    except CommandRefused:
        return "direct", 1, ""
    return context.run_id, context.attempt, context.idempotency_key
