"""Checks of the workers: whether they know, get and can do what the sagas need.

Owns: which workers a saga needs, and what of their answers is bad.  Refuses to know: how they were
asked, and what they do for the sweep.
"""

from __future__ import annotations

import shlex
from importlib import metadata
from typing import TYPE_CHECKING

from celeriac.doctor.durability import NTP, skewed
from celeriac.doctor.findings import ERROR, INFO, WARNING, Remark, Table, Unseen, seen
from celeriac.doctor.formatting import names, span
from celeriac.errors import SagaError
from celeriac.workers import own_queue, place, redis_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.doctor.facts import Facts
    from celeriac.workers import Worker

WORKERS: Table[Facts] = Table("workers")


@WORKERS.check(
    "workers",
    about="Workers with this app's sagas answer.",
    severity=ERROR,
    advice="Start workers (celery -A app worker) under a supervisor that restarts them.",
    by_hand="celery -A app inspect ping",
)
def workers(facts: Facts) -> Iterator[str | Remark]:
    """Somebody is there."""
    if isinstance(facts.roll, Unseen) and facts.roll.told_by == "workers":
        raise Unseen(f"they could not be asked ({facts.roll.why})")
    roll = seen(facts.roll)
    if roll.strangers:
        yield Remark(
            WARNING,
            f"{names(roll.strangers)} answered without Celeriac: what they take of a saga is lost "
            "to them, and has to be sent again",
            "Let them load the module with `Sagas(app)`, or give them queues of their own.",
        )
    if roll.workers:
        return
    silent = _silence(facts)
    if silent is not None and silent < facts.settings.lease:
        raise Unseen(
            f"none answered, but one gave a sign of life {span(silent)} ago: it is busy (solo "
            "pool), remote control is switched off, or this broker has none"
        )
    yield "no worker answered" + (f"; the last sign of life: {span(silent)} ago" if silent else "")


def _silence(facts: Facts) -> float | None:
    """Seconds since the last sign of life of any worker, if there was one."""
    if isinstance(facts.contents, Unseen) or not facts.contents.pulse:
        return None
    return (seen(facts.server).now - facts.contents.pulse) / 1000


def present_workers(facts: Facts) -> dict[str, Worker]:
    """The workers of this namespace; Unseen if there is none."""
    found = {
        name: worker
        for name, worker in seen(facts.roll).workers.items()
        if worker.namespace == facts.settings.namespace
    }
    if not found:
        raise Unseen("no worker answered", "workers")
    return found


@WORKERS.check(
    "tasks",
    about="Workers know every task of a live plan whose messages they get.",
    severity=ERROR,
    advice="Deploy workers that import the module of these tasks, and keep them until the runs "
    "that need them have ended.",
    by_hand="celery -A app inspect registered",
)
def tasks(facts: Facts) -> Iterator[str | Remark]:
    """No run waits for a worker that does not come (I14)."""
    present = present_workers(facts)
    for (name, queue), live in _wanted(facts).items():
        takers = _takers(facts, present, name, queue)
        ignorant = {each for each, worker in takers.items() if name not in worker.tasks}
        if not any(name in worker.tasks for worker in present.values()):
            what = "which live runs need" if live else "which this app's sagas need"
            yield Remark(ERROR if live else WARNING, f"no worker knows {name}, {what}")
        elif ignorant:
            yield Remark(
                WARNING,
                f"{names(ignorant)} get messages for {name} and do not know it: each of these is "
                "lost to them, and has to be sent again",
            )


@WORKERS.check(
    "queues",
    about="A worker consumes every queue that a saga uses.",
    severity=ERROR,
    advice="Start a worker for it: celery -A app worker -Q queue.",
    by_hand="celery -A app inspect active_queues",
)
def queues(facts: Facts) -> Iterator[str | Remark]:
    """No message waits for ever."""
    present = present_workers(facts)
    missing: dict[str, bool] = {}
    wanted = [(_queue(facts, *address), live) for address, live in _wanted(facts).items()]
    for queue, live in [*wanted, (own_queue(facts.app), True)]:
        if queue is not None and not any(queue in worker.queues for worker in present.values()):
            missing[queue] = missing.get(queue, False) or live
    for queue, live in sorted(missing.items()):
        yield Remark(
            ERROR if live else WARNING,
            f"nobody takes messages from the queue {queue!r}",
            f"Start a worker for it: celery -A app worker -Q {shlex.quote(queue)}, or add it to "
            "the -Q of one.",
        )


@WORKERS.check(
    "blocked",
    about="No live run has a step that cannot be sent, or that a worker did not know.",
    severity=ERROR,
    advice="Mend what the reason names: these runs then go on by themselves (celery -A app saga "
    "show ID tells more).",
    by_hand="celery -A app saga list --status running",
)
def blocked(facts: Facts) -> Iterator[str | Remark]:
    """What stands in the way of a message is seen."""
    contents = seen(facts.contents)
    found: dict[str, list[str]] = {}
    for run_id, why in contents.blocked.items():
        found.setdefault(why, []).append(run_id)
    for why, runs in sorted(found.items(), key=lambda each: -len(each[1])):
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        yield f"{runs[0]}{more} of {contents.looked_at} live runs looked at: {why}"


def _wanted(facts: Facts) -> dict[tuple[str, str | None], bool]:
    """The addresses of all plans, and whether live runs need them."""
    wanted: dict[tuple[str, str | None], bool] = {}
    for plan in facts.plans.values():
        live = facts.is_live(plan)
        for address in plan.addresses:
            wanted[address] = wanted.get(address, False) or live
    return dict(sorted(wanted.items(), key=str))


def _queue(facts: Facts, task: str, named: str | None = None) -> str | None:
    """Return where messages of *task* wait; None: nowhere, as the check of routes tells."""
    try:
        return str(facts.app.celeriac.runtime.dispatcher.queue_of(task, named).name)
    except Exception:  # noqa: BLE001 -- whatever a router raises
        return None


def _takers(
    facts: Facts, present: dict[str, Worker], task: str, named: str | None
) -> dict[str, Worker]:
    queue = _queue(facts, task, named)
    return {name: worker for name, worker in present.items() if queue in worker.queues}


@WORKERS.check(
    "clocks",
    about="The workers' clocks agree with that of Redis within half a second.",
    severity=WARNING,
    advice=NTP,
    by_hand="TIME in redis-cli, and date on each machine",
)
def clocks(facts: Facts) -> Iterator[str | Remark]:
    """Nothing comes too early or too late because of them."""
    here = seen(facts.server).ahead / 1000  # how far Redis is ahead of us
    roll = seen(facts.roll)
    for name in sorted(roll.workers):
        yield from skewed(name, roll.ahead[name] / 1000 - here)


@WORKERS.check(
    "versions",
    about="All workers have the same versions of Celeriac and Celery as this machine.",
    severity=WARNING,
    advice="Fine during a deploy; otherwise install one version everywhere.",
    by_hand="celery -A app inspect report",
)
def versions(facts: Facts) -> Iterator[str | Remark]:
    """One version is at work."""
    found: dict[str, set[str]] = {}
    for name, worker in present_workers(facts).items():
        found.setdefault(f"Celeriac {worker.celeriac}, Celery {worker.celery}", set()).add(name)
    ours = f"Celeriac {metadata.version('celeriac')}, Celery {metadata.version('celery')}"
    others = {version: who for version, who in found.items() if version != ours}
    for version, who in sorted(others.items()):
        yield f"{names(who)}: {version}; here: {ours}"


@WORKERS.check(
    "worker-settings",
    about="The workers keep runs where this app does, under the same settings.",
    severity=ERROR,
    advice="Give all of them the same saga_redis_url, saga_namespace, saga_shards and saga_lease.",
    by_hand="celery -A app inspect conf",
)
def worker_settings(facts: Facts) -> Iterator[str | Remark]:
    """Everybody speaks of the same runs."""
    ours = facts.settings
    for name, worker in sorted(seen(facts.roll).workers.items()):
        if worker.namespace != ours.namespace:
            yield Remark(
                INFO, f"{name} has saga_namespace {worker.namespace!r}, and we {ours.namespace!r}"
            )
            continue
        if worker.shards != ours.shards:
            yield f"{name} has saga_shards = {worker.shards}, and we {ours.shards}"
        if worker.lease != ours.lease:
            yield Remark(WARNING, f"{name} has saga_lease = {worker.lease:g}, we {ours.lease:g}")
        here = _state_place(facts)
        if worker.state != here:
            yield Remark(
                WARNING,
                f"{name} keeps runs in {worker.state}, and we in {here}",
                "If these are not two names of one server, give both the same saga_redis_url.",
            )


def _state_place(facts: Facts) -> str:
    try:
        return place(redis_url(facts.app, facts.settings))
    except SagaError as error:
        raise Unseen(str(error)) from None


@WORKERS.check(
    "pools",
    about="No worker has a pool that stops it from answering.",
    severity=WARNING,
    advice="Use the prefork pool (the default): a solo worker renews no lease in time when a step "
    "keeps the interpreter, has no time limits, and hears nothing while it works.",
    by_hand="celery -A app inspect stats",
)
def pools(facts: Facts) -> Iterator[str | Remark]:
    """Time limits and leases work."""
    solo = {name for name, worker in present_workers(facts).items() if worker.pool == "solo"}
    if solo:
        yield f"{names(solo)} with a solo pool"


@WORKERS.check(
    "worker-rejects",
    about="No worker lets Celery repeat a task that killed its process.",
    severity=WARNING,
    advice="Remove task_reject_on_worker_lost from the workers' configuration.",
    by_hand="celery -A app inspect conf",
)
def worker_rejects(facts: Facts) -> Iterator[str | Remark]:
    """Poison is capped on every machine."""
    found = {
        name for name, worker in present_workers(facts).items() if worker.reject_on_worker_lost
    }
    if found:
        yield f"{names(found)} with task_reject_on_worker_lost"
