"""Checks of the application's own configuration, against the plans of its sagas.

Owns: which settings of Celery and Celeriac go together.  Refuses to know: what servers and workers
say.  F4 and F5 (docs/celery.md) say why they matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celery.exceptions import QueueNotFound

from celeriac.doctor.findings import ERROR, INFO, WARNING, Remark, Table
from celeriac.doctor.formatting import names, span
from celeriac.failure import class_name, safe_text
from celeriac.workers import broker_url, own_queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.doctor.facts import Facts

TABLE: Table[Facts] = Table("app")
check = TABLE.check

#: Seconds after which a broker delivers again what was not acknowledged, by transport.
_VISIBILITY = {"redis": 3600.0, "sentinel": 3600.0, "rediss": 3600.0, "sqs": 1800.0}
_AMQP = ("amqp", "amqps", "pyamqp", "librabbitmq")
_CONSUMER_TIMEOUT = 1800.0  # seconds; of RabbitMQ, which tells no client of it
_SHORTEST_VISIBILITY = 30.0  # seconds; a message may well wait so long in a worker that is busy
_SHORT_LEASE, _LONG_LEASE = 5.0, 300.0  # seconds


@check(
    "serializers",
    about="Messages are JSON, and nothing else is accepted.",
    severity=WARNING,
    advice="Set task_serializer = 'json' and accept_content = ['json']: Celeriac needs no other.",
    by_hand="task_serializer and accept_content",
)
def serializers(facts: Facts) -> Iterator[str | Remark]:
    """Nobody who can write to the broker can run code in a worker."""
    conf = facts.conf
    accepted = {str(each).lower() for each in conf.accept_content or ()}
    dangerous = {each for each in accepted if each in ("pickle", "application/x-python-serialize")}
    if dangerous:
        yield (
            f"accept_content has {names(dangerous)}: whoever can write to the broker can run code "
            "in every worker"
        )
    if conf.task_serializer == "pickle":
        yield "task_serializer is pickle"
    elif conf.task_serializer not in accepted and not _mime(accepted):
        yield Remark(
            ERROR,
            f"task_serializer is {conf.task_serializer}, which accept_content "
            f"({names(accepted)}) leaves out: workers refuse every message",
        )


def _mime(accepted: set[str]) -> bool:
    return any("/" in each for each in accepted)


@check(
    "eager",
    about="Tasks are sent to workers, and not run where they are called.",
    severity=ERROR,
    advice="Remove task_always_eager from this configuration; for tests there is celeriac.testing.",
    by_hand="task_always_eager",
)
def eager(facts: Facts) -> Iterator[str | Remark]:
    """Saga messages go anywhere at all."""
    if facts.conf.task_always_eager:
        yield "task_always_eager is on: a step would run inside start, and no worker would see it"


@check(
    "visibility-timeout",
    about="The broker waits longer for an acknowledgement than any step may take.",
    severity=WARNING,
    advice="Set broker_transport_options = {'visibility_timeout': …} in seconds, above the longest "
    "time limit of any task, or shorten the step's timeout.",
    by_hand="broker_transport_options['visibility_timeout']",
)
def visibility_timeout(facts: Facts) -> Iterator[str | Remark]:
    """No step is delivered again while it runs (F4)."""
    visible = _visibility(facts)
    if visible is None:
        return
    if visible < _SHORTEST_VISIBILITY:
        yield f"it is {span(visible)}: messages that merely wait are delivered twice"
    late = [job for job in _jobs(facts) if job.late]
    for job in late:
        if job.limit is not None and job.limit >= visible:
            yield Remark(
                ERROR,
                f"{job.name} may take {span(job.limit)} and is acknowledged late (acks_late), but "
                f"after {span(visible)} it is delivered again, while it runs",
            )
    slow = {job.name for job in _jobs(facts) if not job.late and (job.limit or 0) >= visible}
    if slow:
        yield (
            f"{names(slow)} may take longer than {span(visible)}: what a worker has taken in "
            "advance is delivered again meanwhile, and refused"
        )
    endless = {job.name for job in late if job.limit is None}
    if endless:
        yield Remark(
            INFO,
            f"{names(endless)} acknowledged late and without a time limit: after {span(visible)} "
            "delivered again, while running",
            "Give the task a time_limit below the visibility timeout, or the step a timeout.",
        )


class _Job(NamedTuple):
    """A task of some plan."""

    name: str
    limit: float | None  # seconds it may take
    late: bool  # acknowledged when it has ended


def _jobs(facts: Facts) -> list[_Job]:
    found = {}
    for plan in facts.plans.values():
        for node in plan.run_by_workers:
            for phase in node.phases:
                name, limit = node.task_of(phase), node.limit(phase)
                job = _job(facts, name, limit / 1000 if limit is not None else None)
                found[name, job.limit] = job
    return sorted(found.values())


def _job(facts: Facts, name: str, limit: float | None) -> _Job:
    task: Any = facts.app.tasks.get(name)
    late = bool(facts.conf.task_acks_late if task is None else task.acks_late)
    limits = (
        limit,
        getattr(task, "time_limit", None) or facts.conf.task_time_limit,
        getattr(task, "soft_time_limit", None) or facts.conf.task_soft_time_limit,
    )
    # What the plan says travels with the message, and wins.
    return _Job(name, next((each for each in limits if each), None), late)


@check(
    "consumer-timeout",
    about="RabbitMQ waits longer for an acknowledgement than any step may take.",
    severity=WARNING,
    advice="Give the step a timeout below RabbitMQ's consumer_timeout, or raise that in "
    "rabbitmq.conf, and leave worker_prefetch_multiplier at 1.",
    by_hand="consumer_timeout in rabbitmq.conf",
)
def consumer_timeout(facts: Facts) -> Iterator[str | Remark]:
    """No worker ends because a message of its own was too long in its hands (F20)."""
    if _scheme(facts) not in _AMQP:
        return
    slow = {job.name for job in _jobs(facts) if (job.limit or 0) >= _CONSUMER_TIMEOUT}
    if slow:
        yield (
            f"{names(slow)} may take longer than {span(_CONSUMER_TIMEOUT)}, RabbitMQ's default: "
            "then it takes back what the worker has not acknowledged, and Celery ends the worker"
        )


def _scheme(facts: Facts) -> str:
    return broker_url(facts.conf).partition(":")[0].partition("+")[0].lower()


def _visibility(facts: Facts) -> float | None:
    """Seconds; None where the broker has no such thing."""
    scheme = _scheme(facts)
    if scheme not in _VISIBILITY:
        return None
    options = facts.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout", _VISIBILITY[scheme]))


@check(
    "lease",
    about="A lease outlasts a short pause of a worker, and a dead worker is noticed soon.",
    severity=WARNING,
    advice="Leave saga_lease between 5 and 300 seconds; 15 suits most.",
    by_hand="saga_lease",
)
def lease(facts: Facts) -> Iterator[str | Remark]:
    """It is neither nervous nor sleepy."""
    seconds = facts.settings.lease
    if seconds < _SHORT_LEASE:
        yield f"it is {span(seconds)}: a worker that pauses that long counts as dead"
    if seconds > _LONG_LEASE:
        yield f"it is {span(seconds)}: so long a run waits after its worker has died"


@check(
    "reject-on-worker-lost",
    about="A step whose worker died is tried again by its run, and not by Celery.",
    severity=WARNING,
    advice="Remove task_reject_on_worker_lost: with it, Celery runs a task that kills its worker "
    "again and again, outside of every budget.",
    by_hand="task_reject_on_worker_lost",
)
def reject_on_worker_lost(facts: Facts) -> Iterator[str | Remark]:
    """Poison is capped by its attempts alone (F5)."""
    if facts.conf.task_reject_on_worker_lost:
        yield "task_reject_on_worker_lost is on"
    marked = {
        job.name
        for job in _jobs(facts)
        if getattr(facts.app.tasks.get(job.name), "reject_on_worker_lost", None)
    }
    if marked and not facts.conf.task_reject_on_worker_lost:
        yield f"reject_on_worker_lost is set on {names(marked)}"


@check(
    "prefetch",
    about="A worker process takes one message in advance.",
    severity=INFO,
    advice="Set worker_prefetch_multiplier = 1: steps that were taken in advance wait behind a "
    "long one while other workers are idle.",
    by_hand="worker_prefetch_multiplier",
)
def prefetch(facts: Facts) -> Iterator[str | Remark]:
    """Nothing waits behind a long step that others could do."""
    multiplier = facts.conf.worker_prefetch_multiplier
    if multiplier != 1:
        yield f"worker_prefetch_multiplier is {multiplier}" + (
            ": a worker takes all there is" if not multiplier else ""
        )


@check(
    "routes",
    about="Messages of every step have a queue to go to.",
    severity=ERROR,
    advice="Declare the queue in task_queues, or remove task_create_missing_queues = False; until "
    "then runs wait, and say 'not sent'.",
    by_hand="task_routes, task_queues and task_create_missing_queues",
)
def routes(facts: Facts) -> Iterator[str | Remark]:
    """No message is refused before it is sent."""
    queue_of = facts.app.celeriac.runtime.dispatcher.queue_of
    addresses = {address for plan in facts.plans.values() for address in plan.addresses}
    for name, queue in sorted(addresses, key=str):
        try:
            queue_of(name, queue)
        except QueueNotFound as error:
            yield f"{name}: {error.args[0]}"
        except Exception as error:  # noqa: BLE001 -- a router is the application's
            yield Remark(
                ERROR,
                f"{name}: a router raises {class_name(error)}: {safe_text(error)}",
                "Mend the router in task_routes.",
            )


@check(
    "own-queue",
    about="Celeriac's own messages have a queue of their own.",
    severity=WARNING,
    advice="Route other tasks to another queue: recovery waits behind them.",
    by_hand="task_default_queue and task_routes",
)
def apart_from_sweep(facts: Facts) -> Iterator[str | Remark]:
    """No business work is before the sweep."""
    default = facts.conf.task_default_queue
    if default == own_queue(facts.app):
        yield f"task_default_queue is {default!r}: everything waits in the sweep's queue"
