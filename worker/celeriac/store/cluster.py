"""State in a Redis or Valkey Cluster: each command goes to the node that has its slot.

Owns: finding that node, and finding it anew when a slot or a primary has moved; what becomes of
commands to several nodes when one of them is away.  Refuses to know: what is asked, and repeating
what may have been done (F6).

redis-py's own client for clusters sends again what may have been done, and fails all commands of a
batch for one node.  Here a command is sent again only where the cluster says that it was not done
(MOVED, ASK), and what a node does not answer is an error among the other answers: whoever asked
about several shards goes on with those that can be reached.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.store.addresses import Address, Kind, Node
from celeriac.store.connection import (
    OUT_OF_REACH,
    REPLY_TIMEOUT,
    Connection,
    new_pool,
    packed,
    read_answer,
)
from celeriac.store.slots import SlotMap, guides_of, named, slot_of, slot_of_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celeriac.store.connection import Command

_TURNS = 6  # in which a command follows its slot
_REST = 2.0  # seconds in which a node that did not answer in time is not asked again
_LOOK_AGAIN = 0.1  # seconds between two looks at who has which slot

Asked = tuple[int, bool]  # which command, and whether ASKING comes before it


class _Peer:
    """A node, the connections to it, and whether it is worth asking."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.quiet_until = 0.0  # monotonic; it did not answer in time

    @property
    def quiet(self) -> bool:
        """True if it did not answer a moment ago; one caller at a time finds out if it does now."""
        now = time.monotonic()
        if not self.quiet_until or now < self.quiet_until:
            return now < self.quiet_until
        self.quiet_until = now + REPLY_TIMEOUT  # for all others, while this one tries
        return False

    def failed(self, error: Exception) -> None:
        """Note that it did not answer; who refuses at once costs nobody any time."""
        slow = isinstance(error, redis.TimeoutError | TimeoutError)
        self.quiet_until = time.monotonic() + _REST if slow else 0.0

    def answered(self) -> None:
        """Note that it answers."""
        self.quiet_until = 0.0


class ClusterConnection(Connection):
    """A cluster, by some of its nodes."""

    apart = may_move = True

    def _new_pool(self, address: Address) -> Any:
        self._peers: dict[Node, _Peer] = {}
        self._map: SlotMap | None = None
        self._lock = threading.Lock()  # of peers
        self._looking = threading.Lock()  # for who has which slot
        self._look_at: float | None = 0.0  # monotonic: not before; None: the map is thought right
        return new_pool(address.options)  # to see that there can be one; each node has its own

    # --- asking --------------------------------------------------------------------------------

    def try_all(self, commands: Iterable[Command]) -> list[Any]:
        """Send commands, each to its node, in one round trip to all of these.

        What a node could not be asked is StoreUnavailable among the answers; it is raised if none
        could be asked.
        """
        words = list(commands)
        with self.errors():
            answers = self._followed(words)
            lost = [each for each in answers if isinstance(each, OUT_OF_REACH)]
            if words and len(lost) == len(words):
                raise lost[0]
        return [self._meaning(each) if isinstance(each, OUT_OF_REACH) else each for each in answers]

    def _followed(self, words: Sequence[Command]) -> list[Any]:
        """Ask, and follow each slot to where it has moved."""
        answers: list[Any] = [None] * len(words)
        guides = guides_of(words)
        whither: dict[int, tuple[Node, bool]] = {}
        for at, guide in enumerate(guides):
            try:
                slot = None if guide is None else slot_of_command(words[guide])
                whither[at] = (self._node_of(slot), False)
            except redis.ConnectionError as error:
                answers[at] = error
        for _ in range(_TURNS):
            groups: dict[Node, list[Asked]] = {}
            for at, (node, asking) in sorted(whither.items()):
                groups.setdefault(node, []).append((at, asking))
            self._exchange(groups, words, answers)
            whither = self._redirected(whither, guides, answers)
            if not whither:
                break
        for at in whither:  # nodes that send it to each other: nobody has done it
            answers[at] = TryAgainError("its nodes do not agree yet on who has it")
        return answers

    def _redirected(
        self,
        sent: dict[int, tuple[Node, bool]],
        guides: Sequence[int | None],
        answers: Sequence[Any],
    ) -> dict[int, tuple[Node, bool]]:
        """Return which commands to send again, and where: those that were not done.

        Whatever goes with one of them, as TIME or SCRIPT LOAD does, goes there as well.
        """
        found: dict[int, tuple[Node, bool]] = {}
        for at, (node, _) in sent.items():
            answer = answers[at]
            if isinstance(answer, AskError):  # MovedError is one, too
                there = named(answer.host, answer.port, node)
                moved = isinstance(answer, MovedError)
                if moved:
                    self._moved(answer.slot_id, there)
                found[at] = (there, not moved)
            elif isinstance(answer, ClusterDownError):
                self._doubt()
        for at, guide in enumerate(guides):
            if guide != at and guide in found:
                found[at] = (found[guide][0], False)
        return found

    # --- nodes ---------------------------------------------------------------------------------

    def _node_of(self, slot: int | None) -> Node:
        """Return the node that has a slot, or for None any that is well."""
        found = self._current()
        node = found.node_of(slot) if slot is not None else self._any(found.primaries)
        if node is None:
            self._doubt()
            raise redis.ConnectionError("no node of it has the slot that was asked for")
        return node

    def _any(self, nodes: Iterable[Node]) -> Node:
        return self._in_some_order(nodes)[0]

    def _in_some_order(self, nodes: Iterable[Node]) -> list[Node]:
        """Return nodes in an order that is another each time, those in trouble last."""
        found = random.sample(sorted(nodes), len(set(nodes)))
        return sorted(found, key=lambda node: self._peer(node).quiet_until > time.monotonic())

    def _peer(self, node: Node) -> _Peer:
        with self._lock:
            if node not in self._peers:
                address = Address(Kind.SERVER, (node,), self.address.options)
                self._peers[node] = _Peer(Connection(address))
            return self._peers[node]

    def _exchange(
        self, groups: dict[Node, list[Asked]], words: Sequence[Command], answers: list[Any]
    ) -> None:
        """Send to each node what is for it, and put what it answers where it belongs.

        All is sent before anything is waited for; who was in trouble comes last.
        """
        lines: list[tuple[_Peer, Any, list[Asked]]] = []
        try:
            for node, asked in sorted(groups.items()):
                link = self._send(node, asked, words, answers)
                if link is not None:
                    lines.append((self._peer(node), link, asked))
            while lines:
                peer, link, asked = lines[0]
                well = self._hear(peer, link, asked, answers)
                lines.pop(0)
                peer.connection.pool.give_back(link, broken=not well)
        finally:
            for peer, link, _ in lines:  # somebody was interrupted
                peer.connection.pool.give_back(link, broken=True)

    def _send(
        self, node: Node, asked: list[Asked], words: Sequence[Command], answers: list[Any]
    ) -> Any | None:
        """Return the link over which something was sent; None if that could not be."""
        peer = self._peer(node)
        if peer.quiet:
            self._lost(asked, answers, _silent(node))
            return None
        spelt: list[Command] = []
        for at, asking in asked:
            spelt += (("ASKING",), words[at]) if asking else (words[at],)
        pool, link = peer.connection.pool, None
        try:
            link = pool.take()
            link.send_packed_command((packed(spelt),))
        except BaseException as error:
            if link is not None:
                pool.give_back(link, broken=True)
            if not isinstance(error, OUT_OF_REACH):
                raise
            peer.failed(error)
            self._lost(asked, answers, error)
            return None
        return link

    def _hear(self, peer: _Peer, link: Any, asked: list[Asked], answers: list[Any]) -> bool:
        """Read what a node answers; what it does not answer is an error for each command."""
        left = list(asked)
        try:
            for at, asking in asked:
                if asking:
                    read_answer(link)
                answers[at] = read_answer(link)
                left.pop(0)
        except OUT_OF_REACH as error:
            peer.failed(error)
            self._lost(left, answers, error)
            return False
        peer.answered()
        return True

    def _lost(self, asked: Iterable[Asked], answers: list[Any], error: Exception) -> None:
        """Note why a node has not answered, and look soon whether it is still the one to ask."""
        self._doubt()
        for at, _ in asked:
            answers[at] = error

    # --- who has which slot --------------------------------------------------------------------

    def _doubt(self) -> None:
        """Look soon who has which slot: somebody was not where he should be."""
        if self._look_at is None:
            self._look_at = time.monotonic() + _LOOK_AGAIN

    def _moved(self, slot: int, node: Node) -> None:
        if self._map is not None:
            self._map.move(slot, node)
        self._doubt()  # it is seldom just one

    def _current(self) -> SlotMap:
        """Return who has which slot, as far as it is known; looks first if there is doubt."""
        due = self._look_at is not None and time.monotonic() >= self._look_at
        # Whoever comes second goes on with what is known, if anything is.
        if self._map is None or (due and self._looking.acquire(blocking=False)):
            if self._map is None:
                self._looking.acquire()
            try:
                if self._map is None or self._look_at is not None:
                    self._look()
            finally:
                self._looking.release()
        assert self._map is not None
        return self._map

    def _look(self) -> None:
        """Ask one node after the other, until one tells who has which slot."""
        known = self._map.nodes if self._map is not None else set()
        why: Exception = redis.ConnectionError("it has no node that says who has which slot")
        self._look_at = time.monotonic() + _LOOK_AGAIN
        for node in self._in_some_order({*known, *self.address.nodes}):
            answers: list[Any] = [None]
            self._exchange({node: [(0, False)]}, [("CLUSTER", "SLOTS")], answers)
            if isinstance(answers[0], Exception):
                why = answers[0]
            elif answers[0]:
                self._map, self._look_at = SlotMap(answers[0], node), None
                self._forget_others(self._map.nodes)
                return
        if self._map is None:
            raise why

    def _forget_others(self, nodes: set[Node]) -> None:
        """Give back connections to nodes that have left the cluster."""
        with self._lock:
            gone = [node for node in self._peers if node not in {*nodes, *self.address.nodes}]
            left = [self._peers.pop(node) for node in gone]
        for peer in left:
            peer.connection.close()

    # --- the rest ------------------------------------------------------------------------------

    def one_of_each(self, keys: Sequence[str]) -> list[int]:
        """Return which of *keys* are the first for their node."""
        first: dict[Node, int] = {}
        with self.errors():
            for at, key in enumerate(keys):
                first.setdefault(self._node_of(slot_of(key)), at)
        return list(first.values())

    def members(self) -> dict[str, Connection]:
        """Return a connection to each primary, by its name; they are closed with this one."""
        with self.errors():
            nodes = sorted(self._current().primaries)
        return {str(node): self._peer(node).connection for node in nodes}

    def new_link(self, key: str = "") -> Any:
        """Return a connection to where *key* is, or else to any node.

        Each of them hears what is published at any other.
        """
        with self.errors():
            node = self._node_of(slot_of(key) if key else None)
            peer = self._peer(node)
            if peer.quiet:
                raise _silent(node)
        try:
            link = peer.connection.new_link(key)
        except StoreError as error:
            self._note_trouble(node, error)
            raise
        peer.answered()
        return link

    def leads_on(self, link: Any, key: str = "") -> bool:
        """True while the node that *link* leads to belongs to the cluster, or has *key*."""
        with self.errors():
            found, node = self._current(), Node(link.host, link.port)
        return found.node_of(slot_of(key)) == node if key else node in found.nodes

    def ask_over(self, link: Any, commands: Iterable[Command]) -> list[Any]:
        """Send commands over a connection of the caller's own, and return their answers.

        Raises StoreUnavailable too if *link* leads no longer to where the slot is.
        """
        try:
            return super().ask_over(link, commands)
        except StoreError as error:
            if isinstance(error.__cause__, MovedError):
                moved = error.__cause__
                self._moved(moved.slot_id, Node(str(moved.host or link.host), int(moved.port)))
                raise StoreUnavailable(f"{self._where()} has moved a slot elsewhere") from error
            self._note_trouble(Node(link.host, link.port), error)
            raise

    def _note_trouble(self, node: Node, error: StoreError) -> None:
        if isinstance(error.__cause__, OUT_OF_REACH):
            self._peer(node).failed(error.__cause__)
            self._doubt()

    def close(self) -> None:
        """Give back all connections."""
        with self._lock:
            peers, self._peers = self._peers, {}
        for peer in peers.values():
            peer.connection.close()


def _silent(node: Node) -> redis.TimeoutError:
    return redis.TimeoutError(f"{node} did not answer a moment ago")
