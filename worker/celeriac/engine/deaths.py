"""Which workers are dead: noticed by what death alone leaves behind, long before a lease runs out.

Owns: telling a dead worker from one that is stopped or cut off, and how long a death is remembered.
Refuses to know: what follows for its attempts (`sweep`), and how workers are heard of.

A worker that is taken for dead while it lives does no harm to any effect: it reports late, as after
a lease.  But a step that honours no key asks somebody a question then, so nothing here guesses:
whoever cannot be told from a worker that is stopped keeps its lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.engine.processes import Process, is_gone
from celeriac.errors import StoreError, StoreUnavailable
from celeriac.observing import log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.store import Connected, Presence, Presences, Worker

#: ms between two signs of life of a worker.
RENEWAL = 1_000
#: ms after which somebody who says nothing is looked at.
SILENCE = 1_500
#: ms in which a worker that lives, and could speak, would have spoken over a new connection.
CHANCE = 3_000
#: ms in which each sweep sees to a death once more: what the worker sent last may come after it,
#: and what it had in its hands shows when later messages have arrived.
AFTERMATH = 3_000
#: ms for which a death is remembered: as long as anybody is patient with a message.
MEMORY = 60_000


class Deaths(NamedTuple):
    """What a sweep has found out."""

    now: int = 0  # ms, the store's clock
    fresh: tuple[Presence, ...] = ()  # whose attempts are to be given up
    newest: int = 0  # ms; what was sent before may have been in the hands of a dead worker


def find_deaths(presences: Presences, gone: Callable[[Process], bool] = is_gone) -> Deaths:
    """Look at all who were silent for a while; note what was found, but for deaths.

    *gone* says whether a process is known to have ended.  Raises StoreUnavailable.
    """
    try:
        return _found(presences, gone)
    except StoreUnavailable:
        raise
    except StoreError as error:
        log.debug("nobody can say which workers live: %s", error)
        return Deaths()


def note_deaths(presences: Presences, deaths: Deaths) -> None:
    """Remember who was found dead, once what they held was given up."""
    for dead in deaths.fresh:
        if not dead.died:
            log.warning("a worker has died: process %d", dead.worker.pid)
            presences.note(dead, dead._replace(died=deaths.now))


def has_ended(worker: Worker, gone: Callable[[Process], bool] = is_gone) -> bool:
    """True if the process of a worker is known to have ended: it ran where we do."""
    return gone(Process(worker.place, worker.pid, worker.born))


def _found(presences: Presences, gone: Callable[[Process], bool]) -> Deaths:
    now, known = presences.known()
    ended = {each.worker.id for each in known if has_ended(each.worker, gone)}
    suspects = [
        each
        for each in known
        if not each.died and (each.worker.id in ended or now - each.seen > SILENCE)
    ]
    dead = [each for each in known if each.died]
    if suspects:
        connected = presences.connected([each.link for each in suspects])
        for each in suspects:
            if each.server == connected.server and each.link in connected.links:
                _note_silence(presences, each, now)
            elif each.worker.id in ended or is_dead(each, known, connected, now):
                dead.append(each)
    for each in known:
        if _is_history(each, now):
            presences.note(each, None)
    fresh = tuple(each for each in dead if now - (each.died or now) <= AFTERMATH)
    return Deaths(now, fresh, max((_last_words(each, now) for each in dead), default=0))


def is_dead(presence: Presence, known: Sequence[Presence], connected: Connected, now: int) -> bool:
    """True if only death explains that a worker is silent, and its connection gone.

    The server is the one that it spoke to: one that was started anew has lost all connections.  The
    worker was never silent while it was connected, as those are that stop, or lose their network.
    Somebody else was heard all the while over one connection, so that there was a way to speak, and
    time enough to find it again.  A silence as long as a lease is the lease's business.
    """
    witness = any(
        each.server == connected.server
        and each.link != presence.link
        and now - each.seen <= SILENCE
        and now - each.since >= CHANCE
        for each in known
    )
    return (
        presence.server == connected.server
        and not presence.silent
        and CHANCE <= now - presence.seen <= presence.worker.lease
        and witness
    )


def _note_silence(presences: Presences, presence: Presence, now: int) -> None:
    if not presence.silent and now - presence.seen > SILENCE:
        presences.note(presence, presence._replace(silent=True))


def _is_history(presence: Presence, now: int) -> bool:
    if presence.died:
        return now - presence.died > MEMORY
    return now - presence.seen > 2 * presence.worker.lease + MEMORY


def _last_words(presence: Presence, now: int) -> int:
    """The latest at which a worker that died may have taken a message, or owed one."""
    # A busy one that lived may have been silent for longer than it should.
    return min(presence.died or now, presence.seen + CHANCE)
