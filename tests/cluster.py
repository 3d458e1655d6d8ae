"""A Redis Cluster: three primaries, each with a replica, real ones on free ports.

Owns: putting it together, moving slots, and knowing which node has what.  Refuses to know: what is
kept there, and what goes wrong.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from celeriac.store.slots import SLOTS, slot_of
from celeriac.testing.servers import free_port
from tests.processes import until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

PRIMARIES = 3
NODE_TIMEOUT = 1000  # ms of silence after which nodes take each other for dead
_BUS = 10_000  # so far from a node's port is that of its bus, where it cannot be chosen (6.2)
_LAST_PORT = 65_535


class Cluster:
    """Some nodes, the first of which are primaries."""

    def __init__(self, folder: Path, *, primaries: int = PRIMARIES, replicas: bool = True) -> None:
        self._folder, self._primaries = folder, primaries
        self._count = primaries * 2 if replicas else primaries
        self.nodes: list[RedisServer] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for n in range(self._count):
                self.nodes.append(stack.enter_context(_node(self._folder / str(n))))
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The URL of it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def ask(self, node: RedisServer, *command: str | int) -> Any:
        """Ask one node something."""
        with node.client() as client:
            return client.execute_command(*command)

    def id_of(self, node: RedisServer) -> str:
        """What the nodes call this one."""
        return str(self.ask(node, "CLUSTER", "MYID"))

    def flush(self) -> None:
        """Forget all keys."""
        for node in self.primaries():
            self.ask(node, "FLUSHALL")

    def primaries(self) -> list[RedisServer]:
        """The nodes that have slots now, and live."""
        return [node for node in self.nodes if node.alive and self._role(node) == "master"]

    def owner(self, key: str) -> RedisServer:
        """The node that has the slot of a key, as the others say."""
        slot = slot_of(key)
        asked = next(node for node in self.nodes if node.alive)
        for first, last, primary, *_ in self.ask(asked, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._by_port(int(primary[1]))
        raise LookupError(key)

    def replica_of(self, primary: RedisServer) -> RedisServer:
        """The node that replicates a primary."""
        others = (node for node in self.nodes if node.alive and node is not primary)
        return next(n for n in others if self.ask(n, "ROLE")[:3] == self._follows(primary))

    def is_well(self) -> bool:
        """True if all slots are served, as every node that lives sees it."""
        living = [node for node in self.nodes if node.alive]
        told = [self.ask(node, "CLUSTER", "INFO") for node in living]
        # The state alone is said to be well by one that has not heard of all owners yet.
        return all(
            _says(each, "cluster_state") == "ok" and int(_says(each, "cluster_slots_ok")) == SLOTS
            for each in told
        )

    def kill(self, node: RedisServer) -> None:
        """Kill a primary, and wait until its replica has taken over."""
        node.kill()
        until(self._has_taken_over, "a failover")

    def _has_taken_over(self) -> bool:
        """True once every node that lives knows of living nodes alone as owners of slots."""
        living = [node for node in self.nodes if node.alive]
        ports = {node.port for node in living}
        owners = {
            int(primary[1])
            for node in living
            for _, _, primary, *_ in self.ask(node, "CLUSTER", "SLOTS")
        }
        return owners <= ports and len(self.primaries()) == self._primaries and self.is_well()

    def begin_move(self, slot: int, to: RedisServer) -> RedisServer:
        """Begin to move a slot; return the node that has it."""
        owner = self._owner_of(slot)
        self.ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(owner))
        self.ask(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))
        return owner

    def move_keys(self, slot: int, owner: RedisServer, to: RedisServer, most: int = 1000) -> int:
        """Move keys of a slot; return how many those were."""
        with owner.client() as client:
            keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, most)
            for key in keys:
                client.migrate("127.0.0.1", to.port, key, 0, 5000)
        return len(keys)

    def end_move(self, slot: int, to: RedisServer) -> None:
        """Let everybody know who has a slot now."""
        for node in [to, *self.primaries()]:
            self.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))

    def move(self, slot: int, to: RedisServer) -> None:
        """Move a slot with all its keys."""
        owner = self.begin_move(slot, to)
        while self.move_keys(slot, owner, to):
            pass
        self.end_move(slot, to)

    def commands(self) -> dict[int, int]:
        """How many commands each primary has carried out since it was started, by port."""
        found = {}
        for node in self.primaries():
            with node.client() as client:
                stats = client.info("commandstats")
            found[node.port] = sum(
                each["calls"]
                for name, each in stats.items()
                if not name.startswith(("cmdstat_cluster", "cmdstat_info", "cmdstat_repl"))
            )
        return found

    # --- putting it together -------------------------------------------------------------------

    def _join(self) -> None:
        primaries, first = self.nodes[: self._primaries], self.nodes[0]
        for n, node in enumerate(primaries):
            begin, end = n * SLOTS // self._primaries, (n + 1) * SLOTS // self._primaries
            self.ask(node, "CLUSTER", "ADDSLOTS", *range(begin, end))
            self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            self.ask(first, "CLUSTER", "MEET", "127.0.0.1", node.port, *self._bus(node))
        until(lambda: all(self._knows(node) == len(self.nodes) for node in self.nodes), "they met")
        for n, node in enumerate(self.nodes[self._primaries :]):
            until(partial(self._replicates, node, primaries[n]), "it replicates")
        until(self.is_well, "the cluster is well")

    def _replicates(self, node: RedisServer, primary: RedisServer) -> bool:
        with suppress(redis.ResponseError):  # it may not have heard of it yet
            self.ask(node, "CLUSTER", "REPLICATE", self.id_of(primary))
            with node.client() as client:
                until(lambda: client.info("replication").get("master_link_status") == "up")
            return True
        return False

    def _bus(self, node: RedisServer) -> list[int]:
        port = node.options.get("cluster-port")
        return [] if port is None else [int(port)]

    def _knows(self, node: RedisServer) -> int:
        return int(_says(self.ask(node, "CLUSTER", "INFO"), "cluster_known_nodes"))

    def _follows(self, primary: RedisServer) -> list[Any]:
        return ["slave", "127.0.0.1", primary.port]

    def _role(self, node: RedisServer) -> str:
        return str(self.ask(node, "ROLE")[0])

    def _owner_of(self, slot: int) -> RedisServer:
        for first, last, primary, *_ in self.ask(self.primaries()[0], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._by_port(int(primary[1]))
        raise LookupError(slot)

    def _by_port(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.port == port)


def _node(folder: Path) -> RedisServer:
    options: dict[str, str | int] = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": NODE_TIMEOUT,
        "cluster-require-full-coverage": "no",
        "cluster-replica-validity-factor": 0,
        "repl-diskless-sync-delay": 0,
        "appendfsync": "everysec",
    }
    made = RedisServer(folder, options=options)
    made.port = free_port()
    if _chooses_its_bus(made):
        made.options["cluster-port"] = free_port()
    else:
        while made.port + _BUS > _LAST_PORT:
            made.port = free_port()
    return made


def _chooses_its_bus(server: RedisServer) -> bool:
    """True from Redis 7 on."""
    command = [str(server.binary), "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "v=6." not in told


def _says(told: Any, name: str) -> str:
    """What CLUSTER INFO says under a name; some clients have read it already."""
    if isinstance(told, dict):
        return str(told[name])
    lines = dict(line.partition(":")[::2] for line in str(told).splitlines())
    return lines[name]
