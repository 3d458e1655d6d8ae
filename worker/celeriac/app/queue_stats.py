"""How much waits in each queue that sagas use, and for how long.

Owns: which queues those are, and since when the oldest message waits, by the run that it is of.
Refuses to know: how a broker is asked (`workers`), and how it is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import try_of
from celeriac.observing import log
from celeriac.views import QueueStats
from celeriac.workers import depths, own_queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.engine import Delivery
    from celeriac.machine import Plan
    from celeriac.workers import Depth, Runtime


def queue_stats(runtime: Runtime, plans: Iterable[Plan]) -> tuple[QueueStats, ...]:
    """Return the queues of *plans* and Celeriac's own, by name; none if the broker is away."""
    names = {own_queue(runtime.app)}
    for task, queue in {address for plan in plans for address in plan.addresses}:
        try:
            names.add(str(runtime.dispatcher.queue_of(task, queue).name))
        except Exception as error:  # noqa: BLE001 -- it is not declared, or a router fails
            log.debug("the queue of %s is left out: %s", task, type(error).__name__)
    return tuple(_stats(runtime, each) for each in depths(runtime.app, sorted(names)))


def _stats(runtime: Runtime, depth: Depth) -> QueueStats:
    waited = [found for each in depth.oldest if (found := _waited(runtime, each)) is not None]
    wait = max(waited) if waited else None
    return QueueStats(
        queue=depth.queue, messages=depth.messages, wait=wait if depth.messages else 0.0
    )


def _waited(runtime: Runtime, delivery: Delivery) -> float | None:
    """Return for how many seconds a message has waited; None if it is of no use any more."""
    found = runtime.engine.store.read(delivery.run_id)
    run = try_of(found.run, delivery.step, delivery.epoch) if found.run else None
    if run is None:
        return None
    direction = run.step(delivery.step).direction(delivery.phase)
    if not direction.sent or delivery.attempt != direction.attempt + 1:
        return None
    return max(0.0, (found.now - direction.at) / 1000)
