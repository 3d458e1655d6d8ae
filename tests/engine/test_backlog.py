"""Messages that wait are told from messages that are lost: a backlog must not cause a storm.

Owns: when the sweep sends again, and how often.  Refuses to know: how a broker counts.
"""

from __future__ import annotations

from celeriac.machine.runs import RunStatus
from tests.engine.driver import GRACE, Shop
from tests.machine.story import saga

SWEEP = 1_000
MINUTE = 60_000


def busy(runs: int = 50) -> Shop:
    """A shop with many runs in its queue and no worker to take them."""
    at = Shop(saga("reserve", "charge"))
    for number in range(runs):
        at.start(f"order-{number}")
    return at


def test_a_backlog_is_not_sent_again() -> None:
    """While messages wait and none that is newer has arrived, they are in the queue (L5)."""
    at = busy()
    at.pass_time(10 * MINUTE)
    assert len(at.post.sent) == 50
    at.settle_down_all()
    assert len(at.post.sent) == 100
    assert at.tasks.count("reserve") == at.tasks.count("charge") == 50


def test_a_backlog_is_looked_at_more_and_more_rarely() -> None:
    """The sweep does not ask for each run every second: the longer it waits, the rarer."""
    at = busy(runs=1)
    at.pass_time(GRACE)
    looks: list[int] = []
    for _ in range(3):
        at.store.calls.clear()
        at.pass_time(2 * MINUTE)
        looks.append(at.store.calls.count("postpone"))
    assert looks[0] > looks[1] >= looks[2] >= 1


def test_an_empty_queue_means_lost() -> None:
    """Nothing waits and nothing has arrived: all of them are sent again, once each (L2)."""
    at = busy()
    at.post.waiting.clear()
    at.pass_time(GRACE + SWEEP)
    assert len(at.post.sent) == 100
    at.pass_time(GRACE)
    assert len(at.post.sent) == 100, "they wait now"
    at.settle_down_all()


def test_a_newer_message_that_arrived_means_lost() -> None:
    """A queue is first in, first out: what was sent long before one that arrived is not in it."""
    at = Shop(saga("reserve", "charge"))
    at.start("order-0")
    lost = at.post.waiting.pop()
    others = [n for n in range(1, 50) if _shard(at, n) == _shard(at, 0)]
    at.start(f"order-{others[0]}")
    at.pass_time(2 * GRACE)
    assert at.post.sent.count(lost) == 1, "it may wait like the other one"

    for number in others[1:]:
        at.start(f"order-{number}")
    for _ in range(2):
        assert at.claim() is not None
    at.pass_time(MINUTE)
    assert lost in at.post.waiting
    assert len(at.post.sent) == len(others) + 2, "only that one was sent again, and once"


def test_a_message_sent_again_is_given_more_time() -> None:
    """A step whose message never comes is sent ever more rarely."""
    at = busy(runs=1)
    at.post.losing = True
    at.post.waiting.clear()
    at.pass_time(5 * MINUTE)
    assert 6 <= len(at.post.sent) <= 10


def test_a_broker_that_cannot_say_is_believed_for_a_while() -> None:
    """Where nobody can count what waits, only ten graces tell that a message is lost; each once."""
    at = busy(runs=1)
    at.post.waiting.clear()
    at.post.silent = True
    at.pass_time(9 * GRACE)
    assert len(at.post.sent) == 1
    at.pass_time(3 * GRACE)
    assert len(at.post.sent) == 2
    at.pass_time(9 * GRACE)
    assert len(at.post.sent) == 2
    assert at.settle_down("order-0").status is RunStatus.COMPLETED


def test_a_deadline_is_met_in_a_backlog() -> None:
    """However rarely a run is looked at for its message, its deadline is not missed."""
    at = Shop(saga("reserve", "charge", deadline=10 * MINUTE))
    at.start()
    at.pass_time(10 * MINUTE - SWEEP)
    assert at.run().status is RunStatus.RUNNING
    at.pass_time(2 * SWEEP)
    assert at.run().status is RunStatus.COMPENSATED


def test_a_step_of_many_hours_is_looked_at_once_an_hour() -> None:
    """A run that waits for a worker at work, and for nothing with a date, costs next to nothing."""
    at = busy(runs=1)
    attempt = at.claim()
    assert attempt is not None
    at.clock.now += 60 * MINUTE
    at.show_life()
    at.store.calls.clear()
    at.pass_time(10 * MINUTE)
    assert at.store.calls.count("read") == 1


def _shard(at: Shop, number: int) -> int:
    return at.store.shard_of(f"order-{number}")


def test_a_broker_that_is_away_is_not_sent_to() -> None:
    """However long it is away, the run goes on within a grace after it is back (L1)."""
    at = Shop(saga("reserve", "charge"))
    at.post.away = True
    at.start()
    at.pass_time(30 * MINUTE)
    assert len(at.post.sent) == 1, "the message of the start was lost, and no other was tried"
    at.post.away = False
    at.pass_time(GRACE + SWEEP)
    assert at.work() == 2
    assert at.run().status is RunStatus.COMPLETED
