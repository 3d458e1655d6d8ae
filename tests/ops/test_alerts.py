"""The alerts: they speak of metrics that exist, fire when they should, and keep quiet otherwise.

Owns: stories (ops/alerts_test.yml) and what real servers and a real endpoint lead to.  Refuses to
know: what is to be done about an alert (`test_runbook`).
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Flow, Sagas
from celeriac.app.instruments import serve_store
from celeriac.errors import StoreFull, StoreUnavailable
from celeriac.machine.runs import RunStatus
from celeriac.testing.servers import free_port
from tests.observing.processes import look
from tests.ops.metrics import unknown_in
from tests.ops.prometheus import Prometheus
from tests.ops.promql import NotPromQL, Number, Operation, Tree, parse
from tests.ops.rules import OPS, Story, answer, read_alerts, read_stories
from tests.redis_server import RedisServer
from tests.store.runs import a_run, ending, now, starting, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.ops.rules import Alert

ALERTS = read_alerts()
STORIES = read_stories()
WANTED = {  # by what operations have to be told of
    "sweep down": "CeleriacSweepDown",
    "overdue growing": "CeleriacOverdueGrowing",
    "runs in failed": "CeleriacRunsFailed",
    "a run beyond twice its deadline": "CeleriacRunOverdue",
    "compensation share": "CeleriacManyCompensations",
    "unknown outcomes": "CeleriacUnknownOutcomes",
    "a late success undone again": "CeleriacUndoneAgain",
    "re-dispatch storm": "CeleriacRedispatchStorm",
    "evictions": "CeleriacRedisEvicts",
    "memory": "CeleriacRedisMemory",
    "append-only file": "CeleriacRedisAof",
    "Redis restarted": "CeleriacRedisRestarted",
    "no workers": "CeleriacNoWorkers",
    "queue deep": "CeleriacQueueDeep",
    "a tick that nobody sees to": "CeleriacScheduleLate",
}

each_alert = pytest.mark.parametrize("alert", ALERTS.values(), ids=lambda alert: alert.name)
each_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)


# --- what is written ---------------------------------------------------------------------------


def test_there_is_an_alert_for_all_that_hurts() -> None:
    """Each thing that operations have to be told of has one."""
    assert set(WANTED.values()) <= set(ALERTS)


@each_alert
def test_an_alert_says_what_is_wrong_and_where_to_read_on(alert: Alert) -> None:
    """It has a severity, a summary, a description, and the runbook's heading of its name."""
    assert alert.labels["severity"] in ("page", "ticket")
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"ops/runbook.md#{alert.name.lower()}"
    assert alert.annotations["description"].endswith(".")
    assert not alert.annotations["summary"].endswith(".")


@each_alert
def test_an_alert_speaks_of_metrics_that_exist(alert: Alert) -> None:
    """Every name and every label is one of the table."""
    assert unknown_in(alert.tree) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "max(celeriac_overdoe) > 1",
        'celeriac_runs{state="failed"} > 0',
        "sum by (queue) (celeriac_overdue)",
        "celeriac_overdue > on (saga) celeriac_obligations",
        "rate(celeriac_step_seconds[5m])",
        "sum by (le) (celeriac_overdue)",
    ],
)
def test_what_does_not_exist_is_found(wrong: str) -> None:
    """The check is able to fail: for a name, a label, a grouping, a histogram's bare name."""
    assert unknown_in(parse(wrong))


@pytest.mark.parametrize("wrong", ["max(", "a b", "1 +", "sum by saga (a)", "a{b}", "%", ""])
def test_what_is_no_promql_is_refused(wrong: str) -> None:
    """Nothing passes because it was not understood."""
    with pytest.raises(NotPromQL):
        parse(wrong)


# --- stories -----------------------------------------------------------------------------------


@each_story
def test_a_story(story: Story) -> None:
    """The alert fires when it is told to, with its labels, and not before or after."""
    assert [answer(ALERTS, story, each) for each in story.questions] == [
        each.answer for each in story.questions
    ]


@each_alert
def test_an_alert_fires_in_one_story_and_is_quiet_in_another(alert: Alert) -> None:
    """None is told of once only, in a way it could not fail."""
    asked = [each for story in STORIES for each in story.questions if alert.name in str(each.tree)]
    assert any(each.answer for each in asked)
    assert any(not each.answer for each in asked)


@each_alert
def test_stories_notice_a_broken_alert(alert: Alert) -> None:
    """With a limit that nothing reaches, or none at all, a story of it goes wrong."""
    told = [story for story in STORIES if any(alert.name in str(q.tree) for q in story.questions)]
    for limit in (1e18, -1e18):
        broken = dataclasses.replace(alert, tree=with_limit(alert.tree, limit))
        assert any(
            answer({alert.name: broken}, story, each) != each.answer
            for story in told
            for each in story.questions
        ), f"a limit of {limit:g} changes nothing"


def with_limit(tree: Tree, limit: float) -> Tree:
    """An expression with its first comparison against another number."""
    changed = _compared(tree, limit)
    assert changed != tree
    return changed


def _compared(tree: Tree, limit: float) -> Tree:
    if not isinstance(tree, Operation):
        return tree
    if tree.sign in ("<", "==", ">"):
        sign = "<" if tree.sign == "==" else tree.sign
        return Operation(sign, tree.left, Number(limit))
    return dataclasses.replace(tree, left=_compared(tree.left, limit))


def test_promtool_agrees() -> None:
    """Prometheus's own tool accepts the rules, and comes to the same ends in all stories."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("there is no promtool on this machine")
    for words in (
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ):
        done = subprocess.run(
            [tool, *words], cwd=OPS, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


# --- a real endpoint ---------------------------------------------------------------------------


class Watch:
    """A Redis, an application, its endpoint, and a Prometheus that scrapes it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.sagas = Sagas(Celery("shop", broker=server.url, set_as_current=False))

        @self.sagas.step
        def pay() -> None:
            return None

        @self.sagas.saga(name="order", deadline="10m")
        def order(flow: Flow) -> None:
            flow.step(pay)

        self.order = order
        self.prometheus = Prometheus()
        self.endpoint = serve_store(self.sagas.runtime, "127.0.0.1", free_port())
        self.store = self.sagas.runtime.engine.store

    def scrape(self) -> None:
        """Look at the endpoint, now."""
        self.prometheus.scrape(int(time.time() * 1000), look(self.endpoint.port))

    def holds(self, name: str, later: int = 0) -> bool:
        """True if the expression of an alert holds, so many seconds after the newest scrape."""
        at = max(self.prometheus.scrapes) + later * 1000
        return bool(self.prometheus.value(ALERTS[name].tree, at))

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Scrape until something is so: gauges are as new as a second ago."""
        give_up = time.monotonic() + 20
        self.scrape()
        while not true():
            assert time.monotonic() < give_up, what
            time.sleep(0.1)  # a condition is awaited
            self.scrape()

    def changes(self, name: str, *, to: bool) -> None:
        """Wait until an alert's expression holds, or does not."""
        self.until(lambda: self.holds(name) == to, f"{name} {'holds' if to else 'is quiet'}")

    def close(self) -> None:
        """End it."""
        self.endpoint.stop()
        self.sagas.runtime.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """A Redis that is well, and somebody who watches it."""
    with RedisServer(tmp_path / "redis", options={"maxmemory": "64mb"}) as server:
        watch = Watch(server)
        yield watch
        watch.close()


def test_sweep_down_for_real(watch: Watch) -> None:
    """It fires where no sweep ever was, is quiet after one, and fires when that is too long ago."""
    watch.scrape()
    assert watch.holds("CeleriacSweepDown")
    watch.sagas.sweep()
    watch.changes("CeleriacSweepDown", to=False)
    assert not watch.holds("CeleriacSweepDown", later=50)
    assert watch.holds("CeleriacSweepDown", later=65)


def test_no_workers_for_real(watch: Watch) -> None:
    """It fires until a worker gives a sign of life, and again two minutes after the last."""
    watch.scrape()
    assert watch.holds("CeleriacNoWorkers")
    watch.store.pulse(10_000)
    watch.changes("CeleriacNoWorkers", to=False)
    assert not watch.holds("CeleriacNoWorkers", later=110)
    assert watch.holds("CeleriacNoWorkers", later=125)


def test_failed_runs_for_real(watch: Watch) -> None:
    """It fires with the saga's name as soon as a run of it has failed."""
    good = write(watch.store, starting(a_run("good", saga="order")))
    write(watch.store, ending(good))
    run = write(watch.store, starting(a_run("bad", saga="order")))
    watch.scrape()
    assert not watch.holds("CeleriacRunsFailed")
    write(watch.store, ending(run, RunStatus.FAILED))
    watch.changes("CeleriacRunsFailed", to=True)
    alert, at = ALERTS["CeleriacRunsFailed"], max(watch.prometheus.scrapes)
    [labels] = alert.firing(watch.prometheus, at)
    assert dict(labels) == {"saga": "order", "severity": "page"}


def test_an_old_run_for_real(watch: Watch) -> None:
    """It fires for a run that is twice as old as its saga's deadline, and not for a younger one."""
    at = now(watch.store)
    far = at + 10**9
    write(watch.store, starting(a_run("young", saga="order", started_at=at - 900_000), wake_at=far))
    watch.scrape()
    assert not watch.holds("CeleriacRunOverdue")
    old = starting(a_run("old", saga="order", started_at=at - 1_300_000), wake_at=far)
    write(watch.store, old)
    watch.changes("CeleriacRunOverdue", to=True)


def test_redis_for_real(watch: Watch) -> None:
    """A file that is off, memory that fills, keys that go and a restart: each alert for its own."""
    names = ("CeleriacRedisAof", "CeleriacRedisMemory", "CeleriacRedisEvicts")
    watch.scrape()
    assert [name for name in names if watch.holds(name)] == []
    assert watch.holds("CeleriacRedisRestarted"), "this server was started just now"
    with watch.server.client() as client:
        client.config_set("appendonly", "no")
        watch.changes("CeleriacRedisAof", to=True)
        client.config_set("appendonly", "yes")
        watch.changes("CeleriacRedisAof", to=False)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.1))
        watch.changes("CeleriacRedisMemory", to=True)
        client.config_set("maxmemory", 0)
        watch.changes("CeleriacRedisMemory", to=False)
        assert not watch.holds("CeleriacRedisEvicts")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
        for number in range(100):
            client.set(f"cache:{number}", "x" * 10_000)
        watch.changes("CeleriacRedisEvicts", to=True)


def test_redis_that_was_up_for_long(watch: Watch) -> None:
    """A server that has been up for long fires no alert of a restart."""
    watch.scrape()
    at, scrape = max(watch.prometheus.scrapes), dict(look(watch.endpoint.port))
    name = next(name for name in scrape if name[0] == "celeriac_redis_uptime_seconds")
    watch.prometheus.scrape(at + 1, scrape | {name: 86_400.0})
    assert not watch.holds("CeleriacRedisRestarted")


def test_a_deep_queue_for_real(watch: Watch) -> None:
    """It fires for the queue in which messages wait."""
    watch.scrape()
    assert not watch.holds("CeleriacQueueDeep")
    with watch.server.client() as client:
        client.lpush("celery", *["message"] * 1001)
    watch.changes("CeleriacQueueDeep", to=True)


def test_a_store_that_is_full_for_real(watch: Watch) -> None:
    """The first start that is refused fires it."""
    watch.scrape()
    with watch.server.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(StoreFull):
        watch.order.start(id="order-1")
    watch.changes("CeleriacStoreFull", to=True)
    assert not watch.holds("CeleriacStoreUnavailable")


def test_a_store_that_is_away_for_real(watch: Watch) -> None:
    """It fires once many questions were in vain; gauges are gone, and so sweep down fires too."""
    watch.sagas.sweep()
    watch.changes("CeleriacSweepDown", to=False)
    watch.server.kill()
    for _ in range(12):
        with pytest.raises(StoreUnavailable):
            watch.store.last_sweep()
    watch.changes("CeleriacStoreUnavailable", to=True)
    watch.changes("CeleriacSweepDown", to=True)
