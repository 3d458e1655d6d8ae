"""Which node of a cluster has which slot, and what slot a command is about.

Owns: where the key is in each form of command that we send, and the map of slots, as one node of
the cluster tells it.  Refuses to know: how nodes are reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from celeriac.store.addresses import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

Words = tuple[str | int, ...]  # of a command

SLOTS = 16384

_WITHOUT_KEY = {
    "CLIENT",
    "CLUSTER",
    "CONFIG",
    "INFO",
    "PING",
    "PUBLISH",
    "SCRIPT",
    "SLOWLOG",
    "TIME",
}
_IN_A_SCAN = 3  # where the pattern is: its hash tag is that of the keys
_IN_A_SCRIPT = 3  # where its first key is, if there is one


def slot_of(key: str) -> int:
    """Return the slot of a key."""
    return int(key_slot(key.encode("utf-8", "surrogateescape")))


def guides_of(commands: Sequence[Words]) -> list[int | None]:
    """Return for each command which one's key leads it; None where none of them has a key.

    A command without a key goes with the next one that has a key, as `TIME` with what is read at
    that time; after the last of these it goes with that.
    """
    found = [at if slot_of_command(each) is not None else None for at, each in enumerate(commands)]
    following: int | None = None
    for at in reversed(range(len(found))):
        following = found[at] = following if found[at] is None else found[at]
    for at in range(1, len(found)):
        if found[at] is None:
            found[at] = found[at - 1]
    return found


def slot_of_command(command: Words) -> int | None:
    """Return the slot of the key that a command is about; None if it names none."""
    name = str(command[0]).upper()
    if name in _WITHOUT_KEY:
        return None
    if name == "SCAN":
        return slot_of(str(command[_IN_A_SCAN]).replace("\\", ""))
    if name in ("EVALSHA", "EVAL"):
        return slot_of(str(command[_IN_A_SCRIPT])) if int(command[2]) else None
    return slot_of(str(command[1]))


class SlotMap:
    """Which primary has which slot, as a node told it."""

    def __init__(self, told: Sequence[Any], asked: Node) -> None:
        """*told* is the answer to CLUSTER SLOTS of the node *asked*."""
        self._nodes: list[Node | None] = [None] * SLOTS
        self.nodes: set[Node] = set()  # replicas as well
        self.primaries: set[Node] = set()
        for first, last, primary, *replicas in told:
            node = named(primary[0], primary[1], asked)
            self.primaries.add(node)
            self.nodes |= {node, *(named(each[0], each[1], asked) for each in replicas)}
            self._nodes[int(first) : int(last) + 1] = [node] * (int(last) - int(first) + 1)

    def node_of(self, slot: int) -> Node | None:
        """The primary that has a slot; None: nobody has."""
        return self._nodes[slot]

    def move(self, slot: int, node: Node) -> None:
        """Note that a slot is at another node, as one that had it told."""
        self._nodes[slot] = node
        self.primaries.add(node)
        self.nodes.add(node)


def named(host: object, port: object, asked: Node) -> Node:
    """A node as another one names it: without a host it is at the same one as that."""
    return Node(str(host) if host else asked.host, int(str(port)))
