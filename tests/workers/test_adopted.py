"""Existing Celery tasks as steps: they keep what they were, and gain what a saga promises.

Owns: tasks that were not written for sagas.  Refuses to know: how they are adopted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.observing.sentences import details
from tests.workers import adopted
from tests.workers.histories import bodies, effects, events, step_of
from tests.workers.kit import Trip
from tests.workers.monitors import Events

if TYPE_CHECKING:
    from tests.workers.adopted import Adopted
    from tests.workers.world import World

QUEUES = ("-I", "tests.workers.extra_tasks", "-Q", "celery,mail")
RESULTS = "celery-task-meta-*"


@pytest.fixture
def tasks(world: World) -> Adopted:
    """The adopted tasks, with a worker that knows them, and beat."""
    found = adopted.extend(world.kit)
    world.worker(args=QUEUES)
    world.beat()
    return found


def test_adopted_tasks_run_as_steps(world: World, tasks: Adopted) -> None:
    """Existing tasks run under their own names, in their own queues, with plain JSON arguments."""
    with Events(world.kit.app) as seen:
        run = tasks.errand.start(Trip(), id="errand")
        assert run.result(timeout=20) == "hello [1, 1]"
        world.until(lambda: "succeeded" in seen.of_task("errand:mail:1"), "the last task has ended")
    world.check(run)
    assert [step.task for step in run.state().steps] == [
        f"tests.workers.adopted.{name}" for name in ("fetch", "parse", "mail")
    ]
    assert bodies(world, run) == {"fetch": 1, "parse": 1, "counted": 1, "mail": 1}
    sent = {e["uuid"]: e["queue"] for e in seen.of_run("errand") if e["type"] == "task-sent"}
    queues = {"errand:fetch:1": "celery", "errand:parse:1": "celery", "errand:mail:1": "mail"}
    assert sent == queues
    told = world.kit.app.control.inspect(timeout=10, limit=1).registered("rate_limit")
    assert "tests.workers.adopted.mail [rate_limit=5/s]" in told["w1@test"]


def test_their_own_retries_are_kept(world: World, tasks: Adopted) -> None:
    """`self.retry` and `autoretry_for` try again as often, and as soon, as the task says."""
    script = {"fetch": ["slow", "slow"], "parse": ["slow", "slow"]}
    run = tasks.errand.start(Trip(script=script), id="slow")
    assert run.result(timeout=20) == "hello [3, 3]"
    world.check(run)
    assert bodies(world, run) == {"fetch": 3, "parse": 3, "counted": 3, "mail": 1}
    for event in events(run, "failed"):
        assert event.data["error"] == "ConnectionError"
        assert event.data["retry"] - event.at == 100
    assert effects(world, run).count("again fetch") == 2


def test_a_retry_goes_elsewhere_also_after_a_long_wait(world: World, tasks: Adopted) -> None:
    """To the queue that was asked for, and so does the one after it; what is left out is told."""
    run = tasks.errand.start(Trip(script={"fetch": ["elsewhere", "slow"]}), id="far")
    worker = world.processes.started[0]
    worker.await_text("asks for a retry with headers, which is left out")
    assert run.result(timeout=20) == "hello [3, 1]"
    assert bodies(world, run)["by mail 3"] == 1
    first = events(run, "failed")[0]
    assert details(first).endswith("; retry in 2.5 s, priority 3, queue mail")
    world.check(run)


@pytest.mark.parametrize("step", ["fetch", "parse"])
def test_retries_that_are_used_up(world: World, tasks: Adopted, step: str) -> None:
    """A task whose retries are used up fails its run with its own error, and is undone."""
    run = tasks.errand.start(Trip(script={step: ["slow"] * 9}), id="hopeless")
    state = world.rest(run)
    assert (state.status, state.failed_step) == ("compensated", step)
    assert state.failure is not None
    assert (state.failure.type, state.failure.message) == ("ConnectionError", "slow")
    began = bodies(world, run)
    assert (began[step], began[f"{step}.undo"]) == (3, 1)
    assert step_of(run, "mail").attempts == 0


def test_existing_tasks_as_compensations(world: World, tasks: Adopted) -> None:
    """The undo of an adopted task is asked by name for arguments and result, in reverse order."""
    run = tasks.errand.start(Trip(), id="back")
    assert run.result(timeout=20) == "hello [1, 1]"
    run.cancel("sent back")
    world.until(lambda: run.status == "compensated", "it is undone")
    world.check(run)
    names = ("fetch", "parse", "mail")
    forth, back = [f"do {name}" for name in names], [f"undo {name}" for name in reversed(names)]
    assert effects(world, run) == [*forth, *back]
    began = bodies(world, run)
    assert (began["got-1"], began["parsed-1"]) == (1, 1)


def test_a_process_that_dies_in_an_adopted_task(world: World, tasks: Adopted) -> None:
    """After a loss, a task that acknowledges late is tried again; any other is undone."""
    late = tasks.errand.start(Trip(script={"mail": ["kill"]}), id="late")
    early = tasks.errand.start(Trip(script={"parse": ["kill"]}), id="early")
    assert late.result(timeout=40) == "hello [1, 1]"
    assert bodies(world, late)["mail"] == 2
    assert world.rest(early).status == "compensated"
    assert bodies(world, early)["parse"] == 1
    assert effects(world, early) == ["do fetch", "undone parse", "undo fetch"]


def test_direct_calls_stay_what_they_were(world: World, tasks: Adopted) -> None:
    """Outside of a saga an adopted task checks, retries, routes and answers as it always did."""
    plain: dict[str, Any] = {"script": {}}
    assert tasks.fetch.delay(plain).get(timeout=20) == {"tries": 1}
    slow = {"script": {"fetch": ["slow"], "parse": ["slow", "slow"]}}
    assert tasks.fetch.delay(slow).get(timeout=20) == {"tries": 2}
    assert tasks.parse.delay(slow, {"tries": 1}).get(timeout=20) == [1, 3]
    assert tasks.mail.apply_async((plain, [7]), {"greeting": "bye"}).get(timeout=20) == "bye [7]"
    with pytest.raises(ConnectionError, match="hopeless"):
        tasks.fetch.delay({"script": {"fetch": ["hopeless"] * 9}}).get(timeout=20)
    with pytest.raises(TypeError, match="trip"):
        tasks.fetch.delay()
    assert tasks.parse(plain, {"tries": 5}) == [5, 1]
    assert len(world.ledger.rows("direct:counted", "begin")) == 4


def test_no_result_of_a_saga_is_stored(world: World, tasks: Adopted) -> None:
    """With a result backend, a direct call leaves its result there, and a saga leaves nothing."""
    runs = [
        tasks.errand.start(Trip(), id="fine"),
        tasks.errand.start(Trip(script={"fetch": ["slow"]}), id="flaky"),
        tasks.errand.start(Trip(script={"parse": ["slow"] * 9}), id="failed"),
        tasks.errand.start(Trip(script={"parse": ["kill"]}), id="dead"),
    ]
    for run in runs:
        world.rest(run)
    direct = tasks.fetch.delay({"script": {}})
    assert direct.get(timeout=20) == {"tries": 1}
    with world.redis.client() as redis:
        assert list(redis.scan_iter(RESULTS)) == [f"celery-task-meta-{direct.id}"]


def test_a_rate_limit_holds_and_harms_nobody(world: World, tasks: Adopted) -> None:
    """Steps held back by a rate limit are neither lost nor done twice."""
    runs = [tasks.errand.start(Trip(), id=f"errand-{number}") for number in range(12)]
    for run in runs:
        assert world.rest(run).status == "completed"
        assert bodies(world, run) == {"fetch": 1, "parse": 1, "counted": 1, "mail": 1}
    at = sorted(row.at for row in world.ledger.rows("%:mail", "begin"))
    assert at[-1] - at[0] >= (len(at) - 1) / 5 - 0.5  # 5/s, with what a token bucket allows
    sent = world.published(":mail:1")
    assert len(sent) <= 2 * len(runs)
