"""Where chaos happens: one Redis, two, or a broker and a cluster; the ways to them; the fleet.

Owns: setting it all up by a seed, healing it, and waiting until everybody works again.  Refuses
to know: which faults strike (`faults`), and what is made of it in the end (`figures`).

Every user of a Redis (each worker, the clients, the beats) comes to it through a proxy of its own,
so that a fault of the network is one of a single user.  The harness itself goes straight, and so
does everybody to the nodes of a cluster, which tell their own addresses.
"""

from __future__ import annotations

import os
import random
from contextlib import ExitStack, contextmanager
from signal import SIGCONT
from threading import Lock
from typing import TYPE_CHECKING

import redis
from kombu.exceptions import KombuError

from celeriac.testing.servers import find_redis_binary
from tests.chaos import clock, planted
from tests.chaos.fleet import PROBE, Fleet, Place
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import BEATS, CLIENTS, SERVERS, USERS, WORKERS
from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.workers.kit import build

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from tests.chaos.schedule import Planned

CHILDREN = 3  # of each worker
#: What is taken up by one worker alone, and has to wait while that is away.
OWN_QUEUES = {"w1": "slow", "w2": "elsewhere"}
RATE, MOST = 4.0, 24  # of each client: starts in a second, and runs under way
_CONNECT_AGAIN = 8.0  # seconds Celery may take to connect again after a short outage


class Installation:
    """Everything that runs; a context, in which it does."""

    def __init__(self, folder: Path, seed: int, bug: str = "", *, cluster: bool = False) -> None:
        """*bug* is one of `planted.BUGS`, for the workers; *cluster*: the state is in one."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        drawn = random.Random(f"{seed}/servers").random() < 0.5  # noqa: S311 -- drawn again
        self.cluster = Cluster(folder / "state", replicas=False) if cluster else None
        self.split = cluster or drawn
        library = None if cluster else clock.build(folder)
        self.clocks = (
            {name: clock.Clock(library, name) for name in ("state", "w2")} if library else {}
        )
        self.noscript = 0  # times that Redis was asked for a script it had been made to forget
        self.servers = self._servers()
        self.locks = {name: Lock() for name in SERVERS}
        if not self.split:
            self.locks["state"] = self.locks["broker"]
        self.way_locks = {user: Lock() for user in USERS}  # one fault of the network at a time
        self._closing = ExitStack()
        self._env = {planted.VARIABLE: bug}

    def _servers(self) -> dict[str, list[RedisServer]]:
        if self.cluster:
            return {"broker": [RedisServer(self.folder / "broker")], "state": self.cluster.nodes}
        binary = self.clocks["state"].wrap(find_redis_binary()) if self.clocks else None
        state = RedisServer(self.folder / "state", binary=binary)
        broker = RedisServer(self.folder / "broker") if self.split else state
        return {"broker": [broker], "state": [state]}

    @property
    def broker(self) -> RedisServer:
        """The Redis that has the queues."""
        return self.servers["broker"][0]

    def struck(self, planned: Planned) -> RedisServer:
        """The Redis that a fault strikes: of a cluster, any of its nodes."""
        servers = self.servers[planned.where]
        return servers[planned.luck % len(servers)]

    def _all_servers(self) -> set[RedisServer]:
        return {server for servers in self.servers.values() for server in servers}

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            if self.cluster:
                opened.enter_context(self.cluster)
                opened.enter_context(self.broker)
            else:
                for server in self._all_servers():
                    opened.enter_context(server)
            self.proxies = {
                (user, name): opened.enter_context(Proxy(self.servers[name][0].port))
                for user in USERS
                for name in (SERVERS if self.split and not self.cluster else SERVERS[:1])
            }
            self.kit = build(self.broker.url, self.folder, (), self._state_url())
            opened.callback(self.kit.sagas.runtime.close)
            self.fleet = Fleet([*self._places()], self._probe, self.folder)
            opened.callback(self.fleet.stop)
            opened.callback(self.resume)
            self.fleet.start()
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _state_url(self) -> str | None:
        if self.cluster:
            return self.cluster.url
        return self.servers["state"][0].url if self.split else None

    # --- who runs ------------------------------------------------------------------------------

    def _places(self) -> Iterator[Place]:
        for name in WORKERS:
            queues = f"celery,{OWN_QUEUES[name]},probe-{name}"
            options = f"-c {CHILDREN} -n {{}}@chaos -Q {queues} -I tests.chaos.worker"
            quiet = "--without-mingle --without-gossip -l INFO"
            yield self._place(name, name, f"{_CELERY} worker {options} {quiet}", b" ready.")
        for name in BEATS:
            schedule = ("-s", str(self.folder / "{}.schedule"))
            yield self._place(name, "beats", f"{_CELERY} beat -l INFO", b"beat: Starting", schedule)
        for name in CLIENTS:
            yield self._place(name, "clients", f"tests.chaos.client {name} {RATE} {MOST}", b"")

    def _place(
        self, name: str, user: str, command: str, ready: bytes, more: Sequence[str] = ()
    ) -> Place:
        # One worker runs ahead and the other does not, as in the middle of a deploy.
        ahead = "10" if name == WORKERS[0] else "0"
        env = {**self._env, **self._addresses(user), "KIT_AHEAD": ahead}
        if name in self.clocks:
            env |= self.clocks[name].env
        return Place(self.folder, name, [*command.split(), *more], env, ready)

    def _addresses(self, user: str) -> dict[str, str]:
        ports = {name: proxy.port for (who, name), proxy in self.proxies.items() if who == user}
        urls = {name: f"redis://127.0.0.1:{port}/0" for name, port in ports.items()}
        return {
            "KIT_FOLDER": str(self.folder),
            "KIT_BROKER": urls["broker"],
            "KIT_STATE": self.cluster.url if self.cluster else urls.get("state", ""),
        }

    def _probe(self, place: Place) -> None:
        """Send a worker a probe, unless the one before it still waits."""
        queue = f"probe-{place.name}"
        try:
            with self.broker.client(socket_timeout=2) as client:
                if client.llen(queue):
                    return
            # All of it may fail: then there is no probe, and the next one is tried in a second.
            self.kit.app.send_task(PROBE, (place.process,), queue=queue, retry=False)
        except (redis.RedisError, KombuError) as error:
            raise OSError(str(error)) from error

    # --- while faults strike -------------------------------------------------------------------

    def places_of(self, user: str) -> list[Place]:
        """The places that use the proxies of *user*."""
        names = {"clients": CLIENTS, "beats": BEATS}.get(user, (user,))
        return [self.fleet.places[name] for name in names if name in self.fleet.places]

    @contextmanager
    def disturbed(self, *users: str) -> Iterator[None]:
        """While this lasts, and a little after it, nobody expects these users to work."""
        places = [place for user in users for place in self.places_of(user)]
        for place in places:
            place.disturb()
        try:
            yield
        finally:
            for place in places:
                place.pardon(_CONNECT_AGAIN)

    # --- afterwards ----------------------------------------------------------------------------

    def heal(self) -> None:
        """End every fault: what is stopped goes on, what is down is up, clocks are right."""
        self.resume()
        for server in self._all_servers():
            server.start()
        for proxy in self.proxies.values():
            proxy.heal()
        for each in self.clocks.values():
            each.set(0.0)

    def resume(self) -> None:
        """Let everything go on that is stopped."""
        for place in list(self.fleet.places.values()):
            place.signal(SIGCONT)
        for server in self._all_servers():
            if server.alive:
                os.kill(server.pid, SIGCONT)

    def well(self, since: float) -> bool:
        """True once a probe came through each worker after *since* (monotonic), beats too."""
        return all(self.fleet.probed(place) > since for place in self.fleet.workers()) and all(
            self.fleet.places[name].ready for name in BEATS
        )


_CELERY = "celery -A tests.workers.worker_app"
