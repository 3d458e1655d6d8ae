"""Plan and run to Celery messages: forward chains, compensation chains, each with `link_error`.

Owns: how a dispatch becomes a signature, and which steps travel in one chain.  Refuses to know:
what a message says (`message_options`), what may be done (`transitions`), and which queue a message
comes to (`routes`).

Messages are hints and carry no payload: the run's id, the step, the direction and the attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.engine import BrokerAway
from celeriac.observing import clean
from celeriac.workers.bundles import ALSO, Hint
from celeriac.workers.headers import words_of
from celeriac.workers.message_options import (
    message_options,
    sent_as,
    task_id,
    time_limits,
    written,
)
from celeriac.workers.publishing import Publisher
from celeriac.workers.queue_name import own_queue
from celeriac.workers.routes import cause_of
from celeriac.workers.windows import window

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from celery import Celery
    from celery.canvas import Signature

    from celeriac.machine import Dispatch, Plan, Run

#: The errback that sends what is due.
ERRBACK = "celeriac.compensate"
#: A keyword that no task knows.  A worker that runs a saga's message without knowing Celeriac
#: fails for it, instead of running the task with its default arguments.
GUARD = "celeriac_run"
# A chain's messages grow with the square of its length (F12): longer sagas travel in windows.
_WINDOW = 10


class CeleryDispatcher(Publisher):
    """Sends what is due as Celery chains."""

    def __init__(self, app: Celery, run_ahead: Callable[[], int] = lambda: 0) -> None:
        """*run_ahead* tells how many steps a worker may take up on one message: 0 is none."""
        super().__init__(app)
        self._run_ahead = run_ahead
        self._own_queue = ""  # asked for when it is first needed

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        """Publish *dispatches*, each with the steps that can follow in the same chain.

        Raises BrokerAway, and whatever routers, serializers and the broker make of a message.
        """
        for dispatch in dispatches:
            try:
                self._publish_or_keep(Hint(plan, run, dispatch, now))
            except Exception as error:
                if self.is_away(error):
                    raise BrokerAway(type(error).__name__) from error
                raise cause_of(error) from None

    def _publish_or_keep(self, hint: Hint) -> None:
        """Publish the message of an attempt, or keep it for one that brings several."""
        bundles = self.bundles
        kind = self._kind(hint) if bundles is not None else None
        if bundles is None or kind is None:
            self.publish(hint)
        elif not bundles.keep(kind, hint):
            self.publish(hint)  # what is in the way of it is so of all of its kind
            bundles.begin(kind)

    def _kind(self, hint: Hint) -> Hashable | None:
        """How a message is sent that may bring others as well; None if it may not.

        Each attempt that it brings must be one that a worker could run ahead, and be of one task.
        """
        plan, run, dispatch, now = hint
        node, phase = plan.node(dispatch.step), dispatch.phase
        name = node.task_of(phase)
        task = self._app.tasks.get(name)
        ours = hasattr(task, "saga_runtime") and not task.rate_limit
        first = dispatch.attempt == 1 and not run.step(dispatch.step).direction(phase).sends
        alone = first and dispatch.at <= now and ours and node.runs_ahead(phase)
        if not alone or self._run_ahead() <= 0 or self._app.conf.task_always_eager:
            return None
        if len(list(window(plan, run, dispatch, _WINDOW, ahead=True))) > 1:
            return None
        options = {**sent_as(node, run, dispatch), **time_limits(node, phase, run.grace)}
        return name, *sorted(options.items())

    def publish(self, hint: Hint, others: Sequence[Hint] = ()) -> None:
        """Publish the message of an attempt, which brings *others* of its kind as well."""
        plan, run, dispatch, now = hint
        links = self.links(plan, run, dispatch)
        if others:
            also = [words_of(each.run, each.dispatch) for each in others]
            links[0].options["headers"][ALSO] = also
        options: dict[str, Any] = {"retry": False}
        # Said by the first link itself: a chain passes on no parent_id.
        root = task_id(run, plan.steps[0].name, "do", 1)
        links[0].options["root_id"] = root
        if links[0].options["task_id"] != root:
            links[0].options["parent_id"] = root
        if dispatch.at > now:
            options["countdown"] = (dispatch.at - now) / 1000
        if self._app.conf.task_always_eager:
            self.run_here(links[0], options.get("countdown", 0))
            return
        first, *rest = links
        if rest:
            # What Celery's `chain(...)` makes of these, without copying each of them twice.
            for link in links:
                link.options["reply_to"] = self._app.thread_oid
            options["chain"] = rest[::-1]
        with self.producer() as producer:
            self._send(first, {**options, "producer": producer})

    def _send(self, link: Signature, options: dict[str, Any]) -> None:
        """Send the first link of a chain; the task may be known here, and no saga that has it."""
        task = self._app.tasks.get(link.task)
        if task is None or hasattr(task, "saga_runtime"):
            link.apply_async(**options)
            return
        # By its name, as one that is not known: as it is, it would refuse a message of a saga.
        said = {**task._get_exec_options(), **link.options, **options}  # noqa: SLF001 -- Celery's own
        said |= {"expires": None, "ignore_result": True, "task_type": task}
        self._app.send_task(link.task, (), dict(link.kwargs), **said)

    def links(self, plan: Plan, run: Run, dispatch: Dispatch) -> list[Signature]:
        """The messages that travel in one chain, beginning with that of *dispatch*."""
        errback, ahead = self.errback(run), self._run_ahead() > 0
        links = window(plan, run, dispatch, _WINDOW, ahead=ahead)
        return [self.signature(plan, run, link, errback) for link in links]

    def signature(
        self, plan: Plan, run: Run, dispatch: Dispatch, errback: Signature | None = None
    ) -> Signature:
        """The message of one attempt; *errback* is that of its run, if it was made already."""
        node = plan.node(dispatch.step)
        name = node.task_of(dispatch.phase)
        # A sweeper need not know the task: its name is enough to route and send it.
        task = self._app.tasks.get(name)
        make = task.signature if task is not None else self._app.signature
        args = () if task is not None else (name,)
        options = message_options(run, dispatch)
        options.update(sent_as(node, run, dispatch))
        options.update(time_limits(node, dispatch.phase, run.grace))
        options.update(written(self._app))
        options["link_error"] = [self.errback(run) if errback is None else errback]
        return make(*args, kwargs={GUARD: run.id}, immutable=True, options=options)

    def errback(self, run: Run) -> Signature:
        """What a message of a run calls when its attempt has failed."""
        self._own_queue = self._own_queue or own_queue(self._app)
        return self._app.signature(
            ERRBACK,
            args=(run.id,),
            immutable=True,
            options={
                "queue": self._own_queue,
                "argsrepr": clean(run.id),
                "kwargsrepr": "",
                **written(self._app),
            },
        )
