"""A long line before one gate: what it costs while nobody passes, and how soon all have passed.

Owns: runs that wait at a limit whose places are taken, and short runs at a steady pace beside
them.  Refuses to know: who may pass, and what a place costs the engine alone (`lines`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.app import HELD, PLACES, entering, redis, sagas, staying
from bench.latency import percentiles
from bench.memory import await_rest
from bench.site import PATIENCE
from bench.waking import live_runs_beside
from celeriac.machine import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.site import Site
    from celeriac import RunHandle

_SLOWEST = 20  # runs that come to the gate in a second
_WATCHED = 5.0  # seconds of nobody coming or going, without a line and beside one


def long_line(site: Site, count: int) -> dict[str, Any]:
    """Let *count* runs come to a gate where nobody passes; then let them pass."""
    _take_all_places()
    quiet = _watched(site)
    with live_runs_beside() as alone:
        time.sleep(_WATCHED)
    site.expect(count)
    began = time.perf_counter()
    runs = [entering.start() for _ in range(count)]
    _await_waiting(count)
    joined = time.perf_counter() - began
    stands = _watched(site)
    with live_runs_beside() as standing:
        time.sleep(_WATCHED)
    begin, before = time.perf_counter(), site.cpu()
    with live_runs_beside() as passing:
        _give_places_back()
        seconds = site.await_end(count) - begin
        cpu = sum(site.cpu().since(before))
    await_rest()
    return {
        "count": count,
        "places": PLACES,
        "joined": joined,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "quiet": quiet,
        "standing": stands,
        "live": {
            "alone": percentiles(alone),
            "standing": percentiles(standing),
            "passing": percentiles(passing),
        },
        "out_of_turn": _out_of_turn(runs),
    }


def _take_all_places() -> None:
    """Nobody is at work in them: their attempts wait for results from outside."""
    redis().delete(HELD)
    for _ in range(PLACES):
        staying.start()
    give_up = time.monotonic() + PATIENCE
    while redis().llen(HELD) < PLACES:
        if time.monotonic() > give_up:
            raise SystemExit("the places of the gate were not taken")
        time.sleep(0.02)


def _give_places_back() -> None:
    for token in redis().lrange(HELD, 0, -1):
        sagas.complete(str(token), "")


def _await_waiting(count: int) -> None:
    patience = PATIENCE + count / _SLOWEST
    give_up = time.monotonic() + patience
    while (waiting := _waiting()) < count:
        if time.monotonic() > give_up:
            raise SystemExit(f"of {count} runs, {waiting} stood in line after {patience:.0f} s")
        time.sleep(0.1)


def _waiting() -> int:
    return sum(each.waiting for each in sagas.gates())


def _watched(site: Site) -> dict[str, float]:
    """CPU seconds of all processes, and commands of Redis, in a second."""
    with site.redis.client() as client:
        before, commands = site.cpu(), client.info("stats")["total_commands_processed"]
        time.sleep(_WATCHED)
        cpu = sum(site.cpu().since(before))
        commands = client.info("stats")["total_commands_processed"] - commands
    return {"cpu": cpu / _WATCHED, "commands": commands / _WATCHED}


def _out_of_turn(runs: Sequence[RunHandle[Any]]) -> int:
    """By how many places somebody was served too early or too late, at most."""
    came, passed = [], []
    for run in runs:
        for event in run.history():
            if event.kind is EventKind.QUEUED:
                came.append((int(event.data["since"]), run.id))
            elif event.kind is EventKind.CLAIMED:
                passed.append((event.at, run.id))
    place = {run_id: n for n, (_, run_id) in enumerate(sorted(came))}
    return max(abs(n - place[run_id]) for n, (_, run_id) in enumerate(sorted(passed)))
