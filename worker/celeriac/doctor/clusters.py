"""Checks of what only concerns a Redis Cluster: that it is known as one, and outlives a node.

Owns: these conditions.  Refuses to know: what is asked of each node as of any server
(`durability`), and how it was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.doctor.findings import ERROR, WARNING, Remark, Table, seen
from celeriac.store import Keys
from celeriac.store.slots import slot_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.doctor.facts import Facts

TABLE: Table[Facts] = Table("redis")
check = TABLE.check

_UNEVEN = 2.0  # times its share: one node is then as busy as if there were half as many


@check(
    "cluster",
    about="Where the state Redis is a Redis Cluster, saga_redis_url says so.",
    severity=ERROR,
    advice="Write saga_redis_url = 'redis+cluster://a:7000,b:7001', with some of its nodes.",
    by_hand="INFO cluster: cluster_enabled",
)
def cluster(facts: Facts) -> Iterator[str | Remark]:
    """It is spoken to as what it is."""
    server = seen(facts.server)
    if facts.nodes:
        return
    if server.refuses("Moved", "ClusterDown") or server.says("cluster_enabled") == "1":
        yield "it is a node of a Redis Cluster: keys of other nodes' slots are refused (MOVED)"


@check(
    "hash-tags",
    about="All keys of a shard share a slot of a Redis Cluster.",
    severity=ERROR,
    advice="Use another saga_namespace: one without braces.",
    by_hand="CLUSTER KEYSLOT key",
)
def hash_tags(facts: Facts) -> Iterator[str | Remark]:
    """A cluster could hold them."""
    for shard in Keys(facts.settings.namespace, facts.settings.shards).shards:
        names = (shard.wake, shard.sets, shard.run("a"), shard.log("b"), shard.tag("c", "{d}"))
        if len({slot_of(name) for name in names}) > 1:
            yield f"the keys that begin with {shard.prefix} are spread over several slots"


@check(
    "coverage",
    about="A cluster serves the slots it has while others are away.",
    severity=WARNING,
    advice="CONFIG SET cluster-require-full-coverage no on every node, and the same in redis.conf.",
    by_hand="CONFIG GET cluster-require-full-coverage",
)
def coverage(facts: Facts) -> Iterator[str | Remark]:
    """One dead node stops no other."""
    full = "cluster-require-full-coverage"
    if facts.nodes and seen(facts.server).setting(full) == "yes":
        yield f"{full} is yes: while one primary is dead, no shard can be read or written"


@check(
    "replicas",
    about="Every primary of a cluster has a replica.",
    severity=WARNING,
    advice="Add one (redis-cli --cluster add-node … --cluster-slave), on another machine.",
    by_hand="INFO replication: connected_slaves",
)
def replicas(facts: Facts) -> Iterator[str | Remark]:
    """Somebody takes over."""
    if facts.nodes and not int(seen(facts.server).number("connected_slaves")):
        yield "a primary has no replica: if it dies, the runs of its shards wait until it is back"


@check(
    "spread",
    about="Every primary of a cluster holds about as many shards as the others.",
    severity=WARNING,
    advice="Move slots (redis-cli --cluster rebalance), or begin a new saga_namespace with more "
    "saga_shards: 64 are spread evenly over any number of nodes.",
    by_hand="CLUSTER KEYSLOT NAMESPACE:{n}: for each shard n, and CLUSTER SHARDS",
)
def spread(facts: Facts) -> Iterator[str | Remark]:
    """The work is shared."""
    if not facts.nodes or not facts.held:
        return
    most, fair = max(facts.held.values()), facts.settings.shards / len(facts.nodes)
    if most > _UNEVEN * max(fair, 1) or (not min(facts.held.values()) and most > 1):
        told = ", ".join(f"{name} {count}" for name, count in sorted(facts.held.items()))
        yield f"shards by node: {told}"
