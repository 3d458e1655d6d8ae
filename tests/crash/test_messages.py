"""Messages that are popped and lost, prefetched by a worker that dies, or come back much later.

Owns: what happens to a message between the broker and the claim, and a compensation whose message
is lost.  Refuses to know: processes that die later (`test_matrix`).
"""

from __future__ import annotations

import json
from signal import SIGSTOP
from typing import TYPE_CHECKING, Any

from tests.crash.crash_saga import SENT
from tests.crash.environment import Crashed, CrashWorld, now
from tests.proof import sometimes
from tests.workers.histories import bodies, claims

if TYPE_CHECKING:
    from celeriac import RunHandle

_QUEUE = "celery"
_ONCE = {"book": 1, "pay": 1, "send": 1}


def _nobody_is_up(crash_world: CrashWorld) -> None:
    for worker in crash_world.workers:
        worker.kill()
    with crash_world.redis.client() as client:
        # Until Redis has seen the end of a connection, it hands the next message to it.
        crash_world.world.until(
            lambda: not client.info("clients")["blocked_clients"], "nobody waits for a message"
        )


def test_a_message_popped_and_lost(crash_world: CrashWorld) -> None:
    """The sweep sends a message again that was popped and lost; the old copy is refused."""
    _nobody_is_up(crash_world)
    run = crash_world.start("popped")
    with crash_world.redis.client() as client:
        popped = _popped(crash_world, client, run)
        failpoint = crash_world.failpoint("sweep.looking", "popped:", "pass")
        crash_world.mend()
        crash_world.judge([Crashed(run, failpoint, "completed", now())])
        assert claims(run, "book") == [1]
        assert {e.data["why"] for e in crash_world.events(run, "dispatched", "book")} == {
            "unclaimed"
        }
        # Now the old copy is delivered after all, twice.
        back = [
            crash_world.failpoint("step.arrived", "popped:1:book:do:1:", "pass") for _ in range(2)
        ]
        client.lpush(_QUEUE, popped, popped)
    crash_world.hit(*back)
    sometimes.seen(sometimes.STALE_DELIVERY, len(back))
    _settled(crash_world, run)


def _popped(crash_world: CrashWorld, client: Any, run: RunHandle[Any]) -> str:
    """Take the message of a run from the broker, as a worker does whose connection then breaks."""

    def waiting() -> list[str]:
        found: list[str] = client.lrange(_QUEUE, 0, -1)
        return [m for m in found if json.loads(m)["headers"]["id"] == f"{run.id}:book:1"]

    [message] = crash_world.world.until(waiting, "it is in the queue")
    assert client.lrem(_QUEUE, 1, message) == 1
    return message


def _settled(crash_world: CrashWorld, run: RunHandle[Any]) -> None:
    """Nothing follows a message that came too late: the run stays as it was, and so do bodies."""
    later = crash_world.start(f"after-{run.id}")
    crash_world.world.until(lambda: later.status == "completed", "what came after it is done")
    assert bodies(crash_world.world, run) == _ONCE
    assert crash_world.violations([run.id, later.id]) == []


def test_messages_prefetched_by_a_worker_that_dies(crash_world: CrashWorld) -> None:
    """What a dead worker had in its hands is sent again, and refused when it is restored."""
    keep = crash_world.workers.pop()
    for worker in crash_world.workers:
        worker.kill()
    crash_world.workers = [keep]
    crash_world.beat.signal(SIGSTOP)  # a tick of its would be taken instead
    # Both children are busy: of what comes next, the worker takes some and cannot begin it.
    held = [crash_world.failpoint(SENT, f"busy-{n}:1:book:do:1:", "hold") for n in range(2)]
    busy = [crash_world.start(f"busy-{n}") for n in range(2)]
    crash_world.hit(*held)
    waiting = [crash_world.start(f"waiting-{n}") for n in range(4)]
    with crash_world.redis.client() as client:
        taken = crash_world.world.until(lambda: _in_hand(client), "the worker has prefetched")
        keep.kill()
        failpoint = crash_world.failpoint("sweep.looking", "waiting-", "pass")
        crash_world.mend()
        since = now()
        crash_world.judge(Crashed(run, failpoint, "completed", since) for run in (*busy, *waiting))
        for run in waiting:
            assert claims(run, "book") == [1]
        # The visibility timeout passes: the broker delivers what the dead worker held once more.
        back = crash_world.failpoint("step.arrived", ":book:do:1:", "pass", again=True)
        client.lpush(_QUEUE, *taken)
    crash_world.world.until(lambda: len(back.hits) >= len(taken), "all were delivered once more")
    back.take_away()
    for run in waiting:
        _settled(crash_world, run)


def _in_hand(client: Any) -> list[str]:
    """The step messages that workers have taken and not acknowledged."""
    entries = [json.loads(text) for text in client.hvals("unacked")]
    messages = [json.dumps(message) for message, _, queue in entries if queue == _QUEUE]
    return [each for each in messages if "waiting-" in each]


def test_a_compensation_that_waits_in_vain(crash_world: CrashWorld) -> None:
    """A compensation whose message is lost is in the wake index, and the sweep sends it."""
    run_id = "in-vain"
    with crash_world.world.fault("drop", only=f"{run_id}:pay:undo:1"):
        run = crash_world.start(run_id, "send")
        crash_world.world.until(
            lambda: crash_world.world.published(f"{run_id}:pay:undo:1", "-"), "it is lost"
        )
        failpoint = crash_world.failpoint("sweep.looking", f"{run_id}:", "kill")
    crash_world.hit(failpoint)
    crash_world.judge([Crashed(run, failpoint, "compensated", now())])
    assert claims(run, "pay", "undo") == [1]
    assert len(crash_world.events(run, "dispatched", "pay")) == 1
