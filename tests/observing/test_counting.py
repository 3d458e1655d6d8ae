"""What is counted as what: stories told to the engine, and the figures they leave.

Owns: each counter and histogram, and that labels stay few.  Refuses to know: Prometheus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import Abort, StoreUnavailable
from celeriac.machine.commands import RetryOwed, Terminate, Waive
from celeriac.observing.metrics import BY_NAME, METRICS
from celeriac.observing.metrics.counting import Counting
from celeriac.observing.metrics.tally import Tally
from celeriac.observing.metrics.watched import watched
from celeriac.observing.observers import Observers
from celeriac.store.memory import MemoryStore
from tests.engine.driver import GRACE, LEASE, Shop, message
from tests.machine.story import budget, saga, step
from tests.store.runs import a_run, moving, starting

if TYPE_CHECKING:
    from celeriac.store import Store

ORDER = "place_order"


def counted(*nodes: Any, **values: Any) -> tuple[Shop, Tally]:
    """A shop, and what is counted in it."""
    at, tally = Shop(saga(*(nodes or ("reserve", "charge")), **values)), Tally()
    at.engine.observers.add(Counting(tally.note))
    return at, tally


def fail(error: Exception) -> Any:
    """A body that raises."""

    def body(**_: Any) -> None:
        raise error

    return body


def attempts(tally: Tally) -> dict[tuple[str, ...], float]:
    """The attempts counted, without the name of the saga."""
    return {key[1:]: n for key, n in tally.counters("celeriac_attempts_total").items()}


def above_zero(tally: Tally, name: str) -> dict[tuple[str, ...], float]:
    """The series of a counter that count something; some are there from the beginning."""
    return {key: n for key, n in tally.counters(name).items() if n}


def test_a_run_that_completes() -> None:
    """It is counted as started and ended, with its length, and with two attempts."""
    at, tally = counted()
    at.start()
    first = at.next_attempt()
    at.clock.now += 250
    at.complete(first)
    at.clock.now += 40
    at.work()
    assert tally.counters("celeriac_runs_started_total") == {(ORDER,): 1}
    assert tally.counters("celeriac_runs_ended_total") == {(ORDER, "completed"): 1}
    assert attempts(tally) == {
        ("reserve", "do", "completed"): 1,
        ("charge", "do", "completed"): 1,
    }
    assert tally.histograms("celeriac_run_seconds")[ORDER, "completed"].total == 0.29
    seconds = tally.histograms("celeriac_step_seconds")
    assert seconds[ORDER, "reserve"].total == 0.25
    assert seconds[ORDER, "charge"].total == 0
    assert tally.histograms("celeriac_step_wait_seconds")[ORDER, "charge"].total == 0.04


def test_failures_and_what_is_undone() -> None:
    """Failed, aborted, and compensated: each attempt and each compensation is counted once."""
    at, tally = counted()
    at.bodies["shop.charge"] = fail(ConnectionError())
    at.start("order-1")
    at.settle_down("order-1")
    at.bodies["shop.charge"] = fail(Abort("no", effect=False))
    at.start("order-2")
    at.settle_down("order-2")
    assert attempts(tally) == {
        ("reserve", "do", "completed"): 2,
        ("charge", "do", "failed"): 2,  # it may be tried twice
        ("charge", "do", "aborted"): 1,
        ("charge", "undo", "completed"): 1,
        ("reserve", "undo", "completed"): 2,
    }
    assert tally.counters("celeriac_compensations_total") == {
        (ORDER, "charge", "completed"): 1,
        (ORDER, "reserve", "completed"): 2,
    }
    assert tally.counters("celeriac_runs_ended_total") == {(ORDER, "compensated"): 2}


def test_what_is_owed_and_settled_by_people() -> None:
    """A compensation that gives up counts as failed, one that is waived as waived."""
    at, tally = counted(step("reserve"), step("charge"))
    at.bodies["shop.charge"] = fail(Abort("no", effect=False))
    at.bodies["shop.undo_reserve"] = fail(ConnectionError())
    at.start()
    at.settle_down()
    at.command(RetryOwed("reserve"))
    at.settle_down()
    at.command(Waive("reserve", "by hand"))
    assert tally.counters("celeriac_compensations_total") == {
        (ORDER, "reserve", "failed"): 2,
        (ORDER, "reserve", "waived"): 1,
    }
    assert tally.counters("celeriac_runs_ended_total") == {
        (ORDER, "failed"): 2,
        (ORDER, "compensated"): 1,
    }


def test_tries_that_are_undone() -> None:
    """A try counts once the run is to begin anew; the last one ends the run instead."""
    at, tally = counted(retries=2, retry_delay=0)
    at.bodies["shop.charge"] = fail(Abort("no", effect=False))
    at.start()
    at.settle_down()
    assert tally.counters("celeriac_tries_ended_total") == {(ORDER,): 2}
    assert tally.counters("celeriac_runs_ended_total") == {(ORDER, "compensated"): 1}
    assert tally.counters("celeriac_runs_started_total") == {(ORDER,): 1}


def test_a_run_that_is_terminated() -> None:
    """Abandoning a run ends it."""
    at, tally = counted()
    at.start()
    at.command(Terminate("no use"))
    assert tally.counters("celeriac_runs_ended_total") == {(ORDER, "terminated"): 1}
    assert (ORDER, "terminated") in tally.histograms("celeriac_run_seconds")


def test_a_worker_that_dies() -> None:
    """Its attempt is counted as unknown once, sent again, and its late success as used."""
    at, tally = counted(step("reserve", retry=budget(delay=60_000)))
    at.start()
    lost = at.next_attempt()
    at.die(lost)
    at.pass_time(2 * LEASE)
    assert attempts(tally) == {("reserve", "do", "unknown"): 1}
    assert tally.counters("celeriac_redispatch_total")[("lost",)] == 1
    at.complete(lost)
    assert attempts(tally) == {("reserve", "do", "unknown"): 1}
    assert above_zero(tally, "celeriac_late_reports_total") == {("used",): 1}
    assert tally.counters("celeriac_runs_ended_total") == {(ORDER, "completed"): 1}


def test_a_timeout_is_unknown() -> None:
    """An attempt that was cut off may have had its effect."""
    at, tally = counted()
    at.start()
    at.fail(at.next_attempt(), TimeoutError(), kind="timeout")
    assert attempts(tally) == {("reserve", "do", "unknown"): 1}


def test_a_late_effect_is_undone_again() -> None:
    """A success that is heard of after its compensation is told from one that is merely noted."""
    at, tally = counted(step("reserve", retry=budget(1)))
    at.start()
    lost = at.next_attempt()
    at.die(lost)
    at.pass_time(2 * LEASE)
    at.settle_down()
    at.complete(lost)
    at.settle_down()
    assert above_zero(tally, "celeriac_late_reports_total") == {("undone_again",): 1}
    assert tally.counters("celeriac_compensations_total") == {(ORDER, "reserve", "completed"): 2}


def test_a_late_failure_is_noted() -> None:
    """A failure that changes nothing is a late report that was noted."""
    at, tally = counted(step("reserve"))
    at.start()
    lost = at.next_attempt()
    at.die(lost)
    at.pass_time(2 * LEASE)
    at.settle_down()
    at.fail(lost, ConnectionError())
    assert above_zero(tally, "celeriac_late_reports_total") == {("noted",): 1}


def test_a_message_that_is_lost() -> None:
    """Sending it again is counted; a retry whose time has come is not."""
    at, tally = counted(step("reserve", retry=budget(delay=10_000)))
    at.post.lost = {1}
    at.bodies["shop.reserve"] = fail(ConnectionError())
    at.start()
    at.settle_down()
    assert tally.counters("celeriac_redispatch_total") == {("unclaimed",): 1}


def test_a_message_that_cannot_be_sent() -> None:
    """It is counted when the reason is noted, and not again while it is the same."""
    at, tally = counted(step("reserve"))
    at.post.chokes_on = "order-42"
    at.start()
    at.pass_time(60_000)
    at.post.chokes_on = ""
    at.settle_down()
    assert tally.counters("celeriac_blocked_total") == {("place_order", "reserve", "not_sent"): 1}


def test_messages_that_are_refused() -> None:
    """Each is counted by its reason, and as an attempt refused if a plan knows its step."""
    at, tally = counted()
    at.start()
    at.post.waiting *= 3
    at.work()
    assert tally.counters("celeriac_stale_deliveries_total") == {("superseded",): 2}
    assert attempts(tally)["reserve", "do", "refused"] == 2


def test_forged_messages_make_no_series() -> None:
    """Whatever names a message bears, no label comes from it."""
    at, tally = counted()
    at.start()
    known = at.plan.fingerprint
    for number in range(50):
        at.claim(message(f"step-{number}", plan=known))
        at.claim(message("reserve", attempt=number + 5, plan=known))
        at.claim(message("reserve", run_id=f"run-{number}", plan=known))
    assert set(tally.counters("celeriac_stale_deliveries_total")) == {("stale",), ("no_run",)}
    assert set(attempts(tally)) == {("reserve", "do", "refused")}


def test_labels_never_hold_a_run() -> None:
    """Over all that happens to a run, no label has its id, and every sample fits the table."""
    at, samples = Shop(saga("reserve", "charge")), list[tuple[str, tuple[str, ...], float]]()
    at.engine.observers.add(Counting(lambda *sample: samples.append(sample)))
    at.bodies["shop.charge"] = fail(ConnectionError())
    at.start("order-4711")
    at.pass_time(2 * GRACE)
    at.settle_down("order-4711")
    at.sweep()
    assert len(samples) > 10
    for name, labels, value in samples:
        assert len(labels) == len(BY_NAME[name].labels), name
        assert value >= 0
        assert not any("4711" in label for label in labels), name


def test_a_run_that_was_cancelled_when_done() -> None:
    """Undoing a completed run ends it twice: once completed, once compensated."""
    at, tally = counted()
    at.start()
    at.settle_down()
    at.cancel()
    at.settle_down()
    assert tally.counters("celeriac_runs_ended_total") == {
        (ORDER, "completed"): 1,
        (ORDER, "compensated"): 1,
    }


# --- the store ---------------------------------------------------------------------------------


class Broken(MemoryStore):
    """A store that cannot be reached."""

    def history(self, run_id: str, first: int = 0, limit: int | None = None) -> Any:
        """Fail."""
        del first, limit
        raise StoreUnavailable(f"no answer about {run_id}")


def test_the_store_is_timed() -> None:
    """Each question is timed by its name; conflicts and errors are counted."""
    tally = Tally()
    store: Store = watched(Broken(), Observers(Counting(tally.note)))
    run = a_run()
    assert store.commit(starting(run))
    assert not store.commit(starting(run))
    assert store.commit(moving(run))
    assert store.read(run.id).run is not None
    with pytest.raises(StoreUnavailable, match="no answer about order-42"):
        store.history(run.id)
    counts = {key: sum(h.counts) for key, h in tally.histograms("celeriac_store_seconds").items()}
    assert counts == {("commit",): 3, ("read",): 1, ("history",): 1}
    assert tally.counters("celeriac_commit_conflicts_total") == {(): 1}
    assert above_zero(tally, "celeriac_store_errors_total") == {("store_unavailable",): 1}
    assert store.shards == 8
    assert store.shard_of(run.id) == MemoryStore().shard_of(run.id)


# --- the tally ---------------------------------------------------------------------------------


def test_what_makes_no_sense_is_dropped() -> None:
    """No name, label or value that the table does not allow gets into a figure."""
    tally = Tally()
    for sample in [
        ("celeriac_nothing_total", (), 1.0),
        ("celeriac_runs_started_total", (), 1.0),
        ("celeriac_runs_started_total", ("a", "b"), 1.0),
        ("celeriac_runs_started_total", ("a",), -1.0),
        ("celeriac_runs_started_total", ("a",), float("nan")),
        ("celeriac_run_seconds", ("a", "completed"), float("inf")),
        ("celeriac_runs", ("a", "running"), 5.0),
    ]:
        tally.note(*sample)
    for metric in METRICS:
        assert all(value == 0 for value in tally.counters(metric.name).values())
        assert tally.histograms(metric.name) == {}


def test_a_value_falls_into_the_bucket_that_reaches_it() -> None:
    """A bucket holds values up to its bound; beyond the last there is one more."""
    tally = Tally()
    bounds = BY_NAME["celeriac_step_seconds"].buckets
    for value in (0.0, bounds[0], bounds[0] * 1.01, bounds[-1], bounds[-1] * 2):
        tally.note("celeriac_step_seconds", ("a", "b"), value)
    counts = tally.histograms("celeriac_step_seconds")["a", "b"].counts
    assert counts[:2] == [2, 1]
    assert counts[-2:] == [1, 1]
    assert sum(counts) == 5


def test_what_alerts_look_at_is_there_from_the_beginning() -> None:
    """An increase from nothing is none, so these counters begin with 0."""
    tally = Tally()
    late = tally.counters("celeriac_late_reports_total")
    assert late == {("used",): 0, ("noted",): 0, ("undone_again",): 0}
    assert tally.counters("celeriac_store_errors_total")["store_unavailable",] == 0
    assert tally.counters("celeriac_commit_conflicts_total") == {(): 0}
