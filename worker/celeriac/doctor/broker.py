"""Checks of the broker: whether messages get anywhere, and stay there.

Owns: what of its answers is bad.  Refuses to know: how it was asked, and who takes the messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.doctor.findings import ERROR, INFO, WARNING, Remark, Table, Unseen, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.doctor.facts import Facts

BROKER: Table[Facts] = Table("broker")


@BROKER.check(
    "broker",
    about="The broker answers.",
    severity=ERROR,
    advice="Check that it is up, and that broker_url, its password and the network are right: "
    "without it runs are accepted, but none goes on.",
    by_hand="celery -A app inspect ping",
)
def broker(facts: Facts) -> Iterator[str | Remark]:
    """Messages get somewhere."""
    if isinstance(facts.broker, Unseen) and facts.broker.told_by == "broker":
        yield f"it cannot be reached ({facts.broker.why})"
    else:
        seen(facts.broker)


@BROKER.check(
    "shared-redis",
    about="Runs and messages are on different servers.",
    severity=INFO,
    advice="Fine for small installations. Where queues may grow long, give runs a Redis of their "
    "own (saga_redis_url): a full queue takes the memory in which runs are kept.",
    by_hand="saga_redis_url and broker_url",
)
def shared_redis(facts: Facts) -> Iterator[str | Remark]:
    """A long queue cannot keep runs from being accepted."""
    server = seen(seen(facts.broker).server) if _is_redis(facts) else None
    if server is not None and server.says("run_id") == seen(facts.server).says("run_id"):
        yield "the broker is the same Redis: another database shares its memory all the same"


@BROKER.check(
    "broker-eviction",
    about="The broker discards no message when its memory is full.",
    severity=WARNING,
    advice="CONFIG SET maxmemory-policy noeviction on the broker's Redis, and the same in its "
    "redis.conf.",
    by_hand="CONFIG GET maxmemory-policy, on the broker",
)
def broker_eviction(facts: Facts) -> Iterator[str | Remark]:
    """No queue disappears."""
    if not _is_redis(facts):
        return
    policy = seen(seen(facts.broker).server).setting("maxmemory-policy", "maxmemory_policy")
    if policy != "noeviction":
        yield f"maxmemory-policy of the broker is {policy}: whole queues may be thrown away"


def _is_redis(facts: Facts) -> bool:
    return seen(facts.broker).transport == "redis"
