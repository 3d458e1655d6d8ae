"""The faults themselves: what each does to the installation, and when it has happened for sure.

Owns: the table of what can be done, one function for each kind of the schedule, which strikes,
lasts, ends, and tells what it met; here those of processes and servers.  Refuses to know: when it
is called, and what follows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING, Any

import redis

from tests.chaos.messages import double_messages, lose_messages, shuffle_messages
from tests.chaos.missed import PATIENCE, Dice, Missed, wait
from tests.chaos.network import break_network, lose_replies
from tests.chaos.schedule import USERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.environment import Installation
    from tests.chaos.fleet import Place
    from tests.chaos.schedule import Planned

_AIM = 2.0  # seconds to wait for the moment at which it hurts most
_A_WHILE = 0.05  # seconds; most bodies are over by then


def strike(installation: Installation, planned: Planned) -> str:
    """Let a fault happen, from its beginning to its end; return what it met."""
    dice = Dice(planned.luck)
    return DO[planned.kind](installation, planned, dice)


# --- processes -----------------------------------------------------------------------------------


def _at_work(installation: Installation, place: Place) -> list[int]:
    """The children of a worker whose newest line in the ledger says that a body began."""
    children = place.children()
    query = (
        "SELECT pid, kind, max(rowid) FROM "
        "(SELECT rowid, pid, kind FROM log ORDER BY rowid DESC LIMIT 200) GROUP BY pid"
    )
    with contextlib.closing(sqlite3.connect(installation.kit.ledger.path, timeout=5)) as ledger:
        return [
            pid for pid, kind, _ in ledger.execute(query) if kind == "begin" and pid in children
        ]


def _ready(installation: Installation, name: str) -> Place:
    """The place of that name, once its process is up."""
    place = installation.fleet.places[name]
    if not wait(lambda: place.ready and place.status is None, PATIENCE):
        raise Missed(f"{name} was not up")
    return place


def _worker(installation: Installation, planned: Planned) -> tuple[Place, list[int]]:
    """A worker that is up, if possible at a moment at which children of it are at work."""
    place = _ready(installation, planned.where)
    busy = wait(lambda: _at_work(installation, place), _AIM)
    return place, busy


def _child(installation: Installation, planned: Planned, dice: Dice) -> tuple[Place, int, str]:
    place, busy = _worker(installation, planned)
    found = busy or place.children()
    if not found:
        raise Missed(f"{place.process} had no children")
    return place, dice.choice(found), "at work" if busy else "idle"


def kill_child(installation: Installation, planned: Planned, dice: Dice) -> str:
    """A pool child is gone, as after the kernel ran out of memory."""
    place, pid, how = _child(installation, planned, dice)
    try:
        os.kill(pid, SIGKILL)
    except ProcessLookupError as gone:
        raise Missed(f"{place.process} had lost it already") from gone
    return f"{place.process}, a child {how}"


def stop_child(installation: Installation, planned: Planned, dice: Dice) -> str:
    """A pool child hangs, while its parent answers for it."""
    place, pid, how = _child(installation, planned, dice)
    with installation.disturbed(planned.where), contextlib.suppress(ProcessLookupError):
        os.kill(pid, SIGSTOP)
        time.sleep(planned.length)
        os.kill(pid, SIGCONT)
    return f"{place.process}, a child {how}"


def kill_worker(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """A worker is gone with all its children, as after a power cut."""
    place, busy = _worker(installation, planned)
    name = place.process
    place.dismiss(SIGKILL)
    return f"{name}, {len(busy)} at work"


def end_worker(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """A worker is asked to end, as at a deploy."""
    place, busy = _worker(installation, planned)
    name = place.process
    with installation.disturbed(planned.where):
        place.dismiss(SIGTERM, everybody=False)
    return f"{name}, {len(busy)} at work"


def stop_worker(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """A worker hangs as a whole for longer than its leases, and then goes on: a zombie."""
    return _stopped(installation, planned, everybody=True)


def stop_parent(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """A worker's main process hangs: its children go on, and nobody renews their leases."""
    return _stopped(installation, planned, everybody=False)


def _stopped(installation: Installation, planned: Planned, *, everybody: bool) -> str:
    place, busy = _worker(installation, planned)
    name = place.process
    with installation.disturbed(planned.where):
        place.signal(SIGSTOP, everybody=everybody)
        time.sleep(planned.length)
        if place.process == name:
            place.signal(SIGCONT, everybody=everybody)
    return f"{name}, {len(busy)} at work"


def kill_process(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """A beat or a client is gone."""
    place = _ready(installation, planned.where)
    name = place.process
    place.dismiss(SIGKILL)
    return name


def stop_beat(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """A beat hangs."""
    place = _ready(installation, planned.where)
    name = place.process
    place.signal(SIGSTOP)
    time.sleep(planned.length)
    if place.process == name:
        place.signal(SIGCONT)
    return name


# --- servers -------------------------------------------------------------------------------------


def kill_redis(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """Redis is gone, and comes back with what its AOF holds."""
    server = installation.struck(planned)
    with installation.disturbed(*USERS), installation.locks[planned.where]:
        server.kill()
        time.sleep(planned.length)
        server.start()
    return planned.where


def stop_redis(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """Redis hangs: connections are there, and nobody answers."""
    server = installation.struck(planned)
    with installation.disturbed(*USERS), installation.locks[planned.where]:
        os.kill(server.pid, SIGSTOP)
        time.sleep(planned.length)
        os.kill(server.pid, SIGCONT)
    return planned.where


def _with_redis(
    installation: Installation, planned: Planned, act: Callable[[redis.Redis], int], pause: float
) -> int:
    """Do something to a Redis over and over; return what it added up to."""
    total, over = 0, time.monotonic() + planned.length
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < over or (not total and time.monotonic() < give_up):
        # Another fault may be at work on it.
        with (
            contextlib.suppress(redis.RedisError, OSError),
            installation.struck(planned).client(socket_timeout=2) as client,
        ):
            total += act(client)
        time.sleep(pause)
    if not total:
        raise Missed(f"the Redis of {planned.where} could not be reached")
    return total


def fill_redis(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """Redis holds twice as much as it may."""
    with (
        installation.disturbed(*USERS),
        installation.locks[planned.where],
        installation.struck(planned).client(socket_timeout=5) as client,
    ):
        told: Any = client.info("memory")
        client.config_set("maxmemory", told["used_memory"] // 2)
        time.sleep(planned.length)
        client.config_set("maxmemory", 0)
    return planned.where


def flush_scripts(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """Redis forgets its scripts."""

    def flush(client: redis.Redis) -> int:
        before = _missed_scripts(client)
        client.script_flush()
        time.sleep(0.02)
        installation.noscript += max(0, _missed_scripts(client) - before)
        return 1

    return f"{_with_redis(installation, planned, flush, 0.01)} times"


def _missed_scripts(client: redis.Redis) -> int:
    told: Any = client.info("errorstats")
    return int(told.get("errorstat_NOSCRIPT", {}).get("count", 0))


def kill_connections(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """Redis ends all connections, those that wait for news too."""

    def kill(client: redis.Redis) -> int:
        kinds = ("normal", "pubsub")
        return sum(int(client.client_kill_filter(_type=kind, skipme=True)) for kind in kinds)

    return f"{_with_redis(installation, planned, kill, 0.3)} connections"


def set_clock(installation: Installation, planned: Planned, dice: Dice) -> str:
    """A clock jumps, ahead or back, and jumps again when it is put right."""
    clock = installation.clocks["state" if planned.kind == "set-state-clock" else planned.where]
    ahead = round(dice.choice((-1, 1)) * dice.uniform(0.5, 3.0), 2)
    clock.set(ahead)
    time.sleep(planned.length)
    clock.set(0.0)
    return f"{ahead:+.2f} s"


DO: dict[str, Callable[[Installation, Planned, Dice], str]] = {
    "kill-child": kill_child,
    "kill-worker": kill_worker,
    "end-worker": end_worker,
    "stop-worker": stop_worker,
    "stop-child": stop_child,
    "stop-parent": stop_parent,
    "kill-beat": kill_process,
    "stop-beat": stop_beat,
    "kill-client": kill_process,
    "kill-redis": kill_redis,
    "stop-redis": stop_redis,
    "fill-redis": fill_redis,
    "flush-scripts": flush_scripts,
    "kill-connections": kill_connections,
    "cut": break_network,
    "reset": break_network,
    "lose-replies": lose_replies,
    "hold": break_network,
    "swallow": break_network,
    "slow": break_network,
    "refuse": break_network,
    "lose-messages": lose_messages,
    "double-messages": double_messages,
    "shuffle-messages": shuffle_messages,
    "set-state-clock": set_clock,
    "set-worker-clock": set_clock,
}
