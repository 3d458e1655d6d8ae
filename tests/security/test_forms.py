"""Only JSON is taken for a saga's message, and of that only what a task's message looks like.

Owns: messages in other forms and of other shapes, from somebody who can write to the broker.
Refuses to know: messages that are well formed and lie (`test_forgery`).
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.app.tick_logs import SWEEP
from celeriac.workers.canvas import ERRBACK
from celeriac.workers.queue_name import QUEUE
from tests.security.forger import PICKLE, STEP, YAML, Bomb, Forger
from tests.security.pickling import PLAIN, make_it_pickle
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.processes import Process
    from tests.workers.world import World

# Celery warns those who run it as root and accept pickle, and then does not start.
ROOT_TOO = {"C_FORCE_ROOT": "1"}
REFUSED = "Received invalid task message"
NESTED = b"[" * 100_000


def refused(worker: Process) -> int:
    """How many messages a worker has refused to take in."""
    return worker.log.read_text(errors="replace").count(REFUSED)


def held(world: World) -> RunHandle[Any]:
    """A run whose first step waits for the test, so that its second is not due."""
    run = world.kit.trip.start(Trip(script={"book": ["gate"]}), id="held")
    world.reached(run, "book")
    return run


def pickling_worker(world: World) -> Process:
    """A worker of the application that pickles; of two apps, the last is taken."""
    app = ["-A", "tests.security.pickling_worker"]
    words = [*app, "worker", "-c", "2", "-n", "w1@test", "-l", "INFO"]
    return world.celery("w1", *words, says=" ready.", **ROOT_TOO)


def finish(world: World, run: RunHandle[Any]) -> None:
    """The run goes on as if nothing had been, and so does another."""
    world.open(run, "book")
    assert world.rest(run).status == "completed"
    assert world.rest(world.kit.trip.start(Trip(), id="after")).status == "completed"


@pytest.mark.parametrize("pickles", [False, True], ids=["json only", "accepts pickle"])
def test_nothing_is_unpickled(world: World, pickles: bool) -> None:
    """A saga's message in pickle or YAML is refused unread, also where the application pickles."""
    if pickles:
        make_it_pickle(world.kit.app)
    worker = pickling_worker(world) if pickles else world.worker()
    world.beat()
    forger, mark, control = Forger(world), world.folder / "exploded", world.folder / "control"
    run = held(world)
    bomb = pickle.dumps([[Bomb(mark)], {"run": Bomb(mark)}, {}])
    yaml = f'!!python/object/apply:pathlib.Path.touch ["{mark}"]'.encode()
    targets = ((STEP, "celery"), (ERRBACK, QUEUE), (SWEEP, QUEUE))
    for task, queue in targets:
        for body, kind in ((bomb, PICKLE), (yaml, YAML), (bomb, "application/x-unheard-of")):
            forger.post(task, body, kind=kind, queue=queue, saga=forger.header(run))
    world.until(lambda: refused(worker) >= forger.sent, "all were refused")
    assert not mark.exists()
    if pickles:
        # The bomb is real, and this worker does unpickle: what is not a saga's message.
        forger.post(PLAIN, pickle.dumps([[Bomb(control)], {}, {}]), kind=PICKLE)
        world.until(control.exists, "the application's own pickle is evaluated")
    finish(world, run)
    assert not mark.exists()


BODIES: tuple[Any, ...] = (
    *(5, None, "text", [], {}, [5, 5, 5], [[], {}], [[], {}, {}, {}], [{}, [], {}]),
    *([[], [], {}], [[], {}, []], [None, None, None], {"args": 5, "kwargs": 5, "task": 5}),
    *(b"", b"no json", b"\xff\xfe", NESTED),
)
HEADERS: tuple[dict[str, Any], ...] = (
    *({"id": 5}, {"id": None}, {"timelimit": 5}, {"timelimit": [1]}, {"timelimit": ["a", {}]}),
    *({"eta": 5}, {"eta": "soon"}, {"expires": []}, {"expires": "never"}, {"retries": "often"}),
    *({"argsrepr": {"a": 1}}, {"kwargsrepr": 5}, {"shadow": []}, {"group": {}}, {"root_id": 7}),
)


def test_a_malformed_message_harms_no_worker(world: World) -> None:
    """What is no message of a task is dropped; the worker and its children go on."""
    worker = world.worker()
    world.beat()
    forger, run = Forger(world), held(world)
    children = worker.children()
    for body in BODIES:
        forger.post(body=body, saga=forger.header(run))
    for headers in HEADERS:
        forger.post(saga=forger.header(run), **headers)

    def handled() -> bool:
        text = worker.log.read_text(errors="replace")
        return text.count(REFUSED) + text.count("Can't decode message body") >= forger.sent

    world.until(handled, "all were dropped")
    finish(world, run)
    assert worker.children() == children
    assert not worker.says("Unrecoverable error")
    assert not worker.says("Restarting")
