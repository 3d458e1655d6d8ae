"""What an application may set: what would strand every run is refused, and the rest does no harm.

Owns: settings of Celery's that no message of ours survives, and what is said of all tasks but is
not meant for ours.  Refuses to know: the settings of Celeriac's own (`test_settings`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from celery.signals import beat_init
from kombu import serialization
from kombu.exceptions import SerializerNotInstalled

from celeriac import ConfigurationError, Flow, Saga, Sagas
from celeriac.app.tick_logs import SWEEP
from celeriac.workers import ERRBACK, QUEUE
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.workers.world import World

# kombu has no types.
register: Any = serialization.register
unregister: Any = serialization.unregister
register_json: Any = serialization.register_json

JSON = "application/json"
ROOT = Path(__file__).parents[2]
OWN = (SWEEP, ERRBACK)


def label(parcel: str) -> None:
    """Print nothing."""


def open_shop(**conf: Any) -> Saga[Any, Any]:
    """A saga of an app with this configuration."""
    app = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.update(conf)
    sagas = Sagas(app)
    step = sagas.step(name="shop.label")(label)

    def labels(flow: Flow, parcel: str) -> None:
        flow.step(step, parcel)

    return sagas.saga(labels)


# --- what strands every run ----------------------------------------------------------------------


def test_messages_without_headers() -> None:
    """Nothing is written for a run whose messages nobody could tell from any other's."""
    with pytest.raises(ConfigurationError, match=r"task_protocol: .*app\.conf\.task_protocol = 2"):
        open_shop(task_protocol=1).start("one")


def _another_form() -> None:
    register("json", str, str, content_type="application/x-mine")


def _lossy() -> None:
    register("json", lambda _: "{}", lambda _: {}, content_type=JSON)


def _failing() -> None:
    def fail(_: Any) -> str:
        raise TypeError("not this")

    register("json", fail, fail, content_type=JSON)


def _gone() -> None:
    unregister("json")


@pytest.fixture
def json_again() -> Iterator[None]:
    """JSON as kombu has it, when the test is over."""
    yield
    with suppress(SerializerNotInstalled):
        unregister("json")
    register_json()


@pytest.mark.usefixtures("json_again")
@pytest.mark.parametrize("spoil", [_another_form, _lossy, _failing, _gone])
def test_another_json(spoil: Callable[[], None]) -> None:
    """A serializer that took the place of JSON is told, with a way out."""
    spoil()
    with pytest.raises(ConfigurationError, match=r"task_serializer: .*'json'.*register"):
        open_shop().start("one")


@pytest.mark.usefixtures("json_again")
def test_a_quicker_json_is_json() -> None:
    """One that writes the same may take its place."""
    register("json", partial(json.dumps, separators=(",", ":")), json.loads, content_type=JSON)
    app = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)
    Sagas(app).runtime.check()


def run_celery(tmp_path: Path, program: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Celery's for an app that *program* makes."""
    (tmp_path / "shop.py").write_text(program)
    path = os.pathsep.join([str(tmp_path), str(ROOT / "worker")])
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "shop", *args],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SHOP = """
from celery import Celery
from celeriac import Sagas
app = Celery("shop", broker={broker!r})
app.conf.update({conf!r})
sagas = Sagas(app)
"""


def test_a_worker_ends_without_its_archive(tmp_path: Path) -> None:
    """An archive that is not there would be noticed when the first run is to be removed."""
    program = SHOP.format(broker="redis://127.0.0.1:1/0", conf={"saga_archive": "shop.no_such"})
    ended = run_celery(tmp_path, program, "worker", "--pool", "solo")
    assert ended.returncode != 0
    assert "saga_archive: 'shop.no_such' cannot be imported" in ended.stderr + ended.stdout


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_workers_and_beats_do_not_start_in_vain(tmp_path: Path, command: str) -> None:
    """Whose messages would all be lost says which setting is in the way, and ends."""
    program = SHOP.format(broker="redis://127.0.0.1:1/0", conf={"task_protocol": 1})
    ended = run_celery(tmp_path, program, command)
    assert ended.returncode != 0
    assert "task_protocol: with 1 messages have no headers" in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("broker", "conf", "told"),
    [
        ("amqp://127.0.0.1:1//", {}, "run state needs a Redis, and the broker is not one"),
        ("memory://", {"saga_redis_url": "http://h"}, "begins with http"),
        ("memory://", {"saga_redis_url": "redis://127.0.0.1:1/0"}, "cannot be reached"),
    ],
)
def test_a_worker_ends_without_run_state(
    tmp_path: Path, broker: str, conf: dict[str, Any], told: str
) -> None:
    """It takes no message for which it can do nothing, and renews no lease of."""
    program = SHOP.format(broker=broker, conf=conf)
    program += "from celeriac.app import wiring\nwiring._STATE_SECONDS = 0.3\n"
    ended = run_celery(tmp_path, program, "worker", "--pool", "solo")
    assert ended.returncode != 0
    assert told in ended.stderr + ended.stdout


def test_a_worker_without_a_redis_works_for_others(caplog: pytest.LogCaptureFixture) -> None:
    """An application's own tests may have a broker in memory: its other tasks need no more."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    Sagas(app)

    @app.task(name="shop.add", shared=False)  # type: ignore[untyped-decorator]
    def add(left: int, right: int) -> int:
        return left + right

    app.conf.update(result_backend="cache+memory://", worker_hijack_root_logger=False)
    with start_worker(app, perform_ping_check=False, pool="solo"):
        assert add.delay(1, 2).get(timeout=10) == 3
    assert "this worker can do nothing for runs: saga_redis_url: " in caplog.text


# --- the sweep is sent ---------------------------------------------------------------------------


class Classy(Task):  # type: ignore[misc]  # Celery has no types
    """A task as a class: registering it finalizes the app."""

    name = "shop.classy"

    def run(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_app_that_was_finalized_before(when: str) -> None:
    """The sweep is in the schedule, in whichever order an application is put together."""
    app = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)
    if when == "before":
        app.register_task(Classy())
        assert app.finalized
    Sagas(app)
    if when == "after":
        app.register_task(Classy())
    app.finalize()
    assert app.conf.beat_schedule[SWEEP]["options"]["queue"] == QUEUE


def beat_of(world: World) -> Any:
    """A beat's service that was not started."""
    file = str(world.folder / "schedule")
    return world.kit.app.Beat(schedule=file).Service(app=world.kit.app, schedule_filename=file)


def test_an_interval_that_was_set_later(world: World) -> None:
    """Configuration may come after the app was finalized, and its schedule made."""
    service = beat_of(world)
    assert service.scheduler.schedule[SWEEP].schedule.seconds != 0.75
    world.kit.app.conf.saga_sweep_interval = 0.75
    beat_init.send(sender=service)
    assert service.scheduler.schedule[SWEEP].schedule.seconds == 0.75
    service.scheduler.close()


def test_a_schedule_that_was_set_later(world: World) -> None:
    """A beat sends the ticks also where the application has replaced the whole schedule."""
    world.kit.app.conf.beat_schedule = {}
    service = beat_of(world)
    assert SWEEP not in service.scheduler.schedule
    beat_init.send(sender=service)
    entry = service.scheduler.schedule[SWEEP]
    service.scheduler.apply_async(entry, advance=False)
    with world.redis.client() as redis:
        assert redis.llen(QUEUE) == 1
    service.scheduler.close()


def test_the_queue_of_the_sweep_need_not_be_declared(world: World, tmp_path: Path) -> None:
    """With task_create_missing_queues off, ticks are sent and taken all the same."""
    program = f"""
from celery import Celery
from kombu import Queue
from celeriac import Flow, Sagas
app = Celery("shop", broker={world.redis.url!r})
app.conf.update(
    task_create_missing_queues=False, task_queues=[Queue("celery")], saga_sweep_interval=0.2
)
sagas = Sagas(app)
@sagas.step(name="shop.label")
def label(parcel: str) -> None:
    raise ValueError("never")
@sagas.saga
def labels(flow: Flow, parcel: str) -> None:
    flow.step(label, parcel)
"""
    (tmp_path / "shop.py").write_text(program)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "worker")])}
    beat = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop", "beat", "-s", str(tmp_path / "s")],
        cwd=tmp_path,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with world.redis.client() as redis:
            world.until(lambda: redis.llen(QUEUE), "a tick was sent", 30)
    finally:
        beat.kill()
        beat.wait(10)


# --- what is said of all tasks -------------------------------------------------------------------


def _fail(*_: Any) -> None:
    raise AssertionError("not meant for us")


def test_what_annotations_say_is_for_others() -> None:
    """No limit, class, hook or default that was meant for other tasks reaches our own."""
    said = {
        "rate_limit": "1/h",
        "time_limit": 1,
        "soft_time_limit": 1,
        "max_retries": 0,
        "acks_late": True,
        "ignore_result": False,
        "expires": 1,
        "serializer": "pickle",
        "on_failure": _fail,
        "before_start": _fail,
        "@__call__": lambda _: _fail,
    }
    saga = open_shop(
        task_annotations={"*": said},
        task_default_rate_limit="1/h",
        task_time_limit=1,
        task_soft_time_limit=1,
        task_acks_late=True,
        task_track_started=True,
        task_reject_on_worker_lost=True,
    )
    app = saga._sagas.app
    for name in OWN:
        task = app.tasks[name]
        assert not task.rate_limit
        assert task.time_limit > task.soft_time_limit > 60
        assert (task.acks_late, task.ignore_result, task.track_started) == (False, True, False)
        assert (task.reject_on_worker_lost, task.expires) == (False, None)
        assert task.on_failure.__func__ is Task.on_failure
        assert task.before_start.__func__ is Task.before_start
    step = app.tasks["shop.label"]
    assert (step.rate_limit, step.time_limit, step.acks_late) == ("1/h", 1, True)
    assert step.on_failure is _fail or step.on_failure.__func__ is _fail


def test_no_router_of_the_application_is_asked_about_ours() -> None:
    """One that knows its own tasks only, and raises for others, would stop all sweeps."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_routes = ({"*": _fail}, _fail)
    Sagas(app)
    app.finalize()
    for name in OWN:
        args = ("order-1",) if name == ERRBACK else ()
        app.tasks[name].apply_async(args, queue="celeriac")
        app.signature(name, args, queue="celeriac").apply_async()
    with app.connection_for_read() as connection, connection.channel() as channel:
        assert channel.queue_declare("celeriac", passive=True).message_count == 2 * len(OWN)


def test_a_task_class_of_the_application_is_for_others() -> None:
    """What an application puts around all of its tasks is not around ours."""

    class Loud(Task):  # type: ignore[misc]  # Celery has no types
        abstract = True

        def __call__(self, *_: Any, **__: Any) -> None:
            _fail()

    app = Celery("shop", broker="redis://", task_cls=Loud, set_as_current=False)
    Sagas(app)
    assert not any(isinstance(app.tasks[name], Loud) for name in OWN)


def test_a_rate_limit_for_all_tasks_does_not_throttle_the_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost message is found as soon as without it."""
    monkeypatch.setenv("KIT_RATE_LIMIT", "1/m")
    world.worker()
    world.beat()
    with world.fault("drop", only=":book:1"):
        run = world.kit.trip.start(Trip(), id="lost")
    world.until(lambda: world.published("lost:book:1.2"), "it was sent again", 20)
    assert run.status == "running"
