"""Filling a Redis with very many runs: at rest, asleep, and live.

Owns: how many of each there are, of which sagas, and when they were started.  Refuses to know: what
is in a run (`synthetic_runs`), and what is measured beside them.
"""

from __future__ import annotations

import random
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.synthetic_runs import NAP, RunTemplate, SyntheticRun, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAGAS = ("place_order", "refund", "restock", "onboard", "payout", "subscribe")
OUTCOMES = {"completed": 950, "compensated": 48, "failed": 2}  # of a thousand
TENANTS = 1000
SPAN = 6 * 86_400_000  # ms over which the runs were started
_CHUNK = 2000  # runs sent in one go
assert NAP > SPAN + 86_400_000, "none of those that sleep comes due in between"


def fill(url: str, client: Any, runs: int, sleeping: int, live: int) -> None:
    """Write so many runs at rest, of the last days, so many that sleep, and so many live ones."""
    templates = {
        (saga, outcome): RunTemplate(url, client, plan_of(saga, outcome), outcome)
        for saga in SAGAS
        for outcome in (*OUTCOMES, "sleeping", "running")
    }
    total = runs + sleeping + live
    client.flushall()
    now = int(time.time() * 1000)
    by_chance = random.Random(4711)  # noqa: S311 -- the same runs each time
    with _unanswered(client) as send:
        for template in templates.values():
            send(template.shared(now))
        for first in range(0, total, _CHUNK):
            numbers = range(first, min(first + _CHUNK, total))
            text = [_copied(templates, n, (runs, runs + sleeping), now, by_chance) for n in numbers]
            send("".join(text))
    assert client.dbsize() > 2 * total, "something was not written"


def _copied(
    templates: dict[tuple[str, str], RunTemplate],
    number: int,
    ends: tuple[int, int],
    now: int,
    by_chance: random.Random,
) -> str:
    [outcome] = by_chance.choices(list(OUTCOMES), list(OUTCOMES.values()))
    ago = by_chance.randrange(60_000, SPAN)
    if number >= ends[1]:
        outcome, ago = "running", by_chance.randrange(60_000, 3_600_000)
    elif number >= ends[0]:
        outcome = "sleeping"
    template = templates[by_chance.choice(SAGAS), outcome]
    return template.filled(SyntheticRun(number, now - ago, by_chance.randrange(TENANTS)))


@contextmanager
def _unanswered(client: Any) -> Iterator[Callable[[str], None]]:
    """A line to Redis on which it answers nothing: the quickest way in."""
    place = client.connection_pool.connection_kwargs
    with socket.create_connection((place["host"], place["port"])) as line:
        line.sendall(b"CLIENT REPLY OFF\r\n")
        yield lambda text: line.sendall(text.encode())
        line.sendall(b"CLIENT REPLY ON\r\n")
        assert line.recv(5) == b"+OK\r\n", "Redis did not take what it was sent"
