"""What a beat logs of the sweep while its broker is away: a line, not a traceback a tick."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.beat import Scheduler

from celeriac.app.tick_logs import SWEEP, OutageFilter, quieten
from celeriac.testing.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the filter."""
    return Clock()


@pytest.fixture
def outages(clock: Clock) -> Iterator[OutageFilter]:
    """The filter, where a beat has it."""
    found = OutageFilter(clock)
    logger = logging.getLogger("celery.beat")
    logger.addFilter(found)
    yield found
    logger.removeFilter(found)


def beat(name: str) -> Scheduler:
    """A beat whose broker is away, and which has one task to send."""
    app = Celery("away", broker=f"redis://127.0.0.1:{free_port()}/0")
    app.conf.task_publish_retry = False
    app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0}
    app.conf.beat_schedule = {name: {"task": name, "schedule": 1.0}}
    scheduler = Scheduler(app=app)
    scheduler.setup_schedule()
    return scheduler


def test_an_outage_is_a_line_a_minute(
    outages: OutageFilter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Without stack and traceback; a tick that was sent ends it, and it may begin anew."""
    scheduler = beat(SWEEP)
    entry = scheduler.schedule[SWEEP]
    for clock.now in (0.0, 1.0, 59.0):
        scheduler.apply_entry(entry)
    (record,) = caplog.records
    assert record.getMessage().startswith("the sweep cannot be sent, since the broker cannot be")
    assert "Traceback" not in caplog.text
    clock.now = 60.0
    scheduler.apply_entry(entry)
    assert len(caplog.records) == 2
    outages.sent(sender=SWEEP)
    scheduler.apply_entry(entry)
    assert len(caplog.records) == 3


@pytest.mark.usefixtures("outages")
def test_what_else_fails_is_told_in_full(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tasks of the application, and a tick for which it is not the broker that is to blame."""
    scheduler = beat("shop.report")
    for _ in range(2):
        scheduler.apply_entry(scheduler.schedule["shop.report"])
    assert caplog.text.count("Message Error") == 2
    scheduler = beat(SWEEP)

    def refuse(*_: object, **__: object) -> None:
        raise TypeError("a router of theirs")

    monkeypatch.setattr(scheduler, "send_task", refuse)
    scheduler.apply_entry(scheduler.schedule[SWEEP])
    assert caplog.text.count("Message Error") == 3
    assert "TypeError: a router of theirs" in caplog.text


def test_ticks_that_came_too_late_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """After a stop of minutes a worker discards a tick for each second; what is wrong is told."""
    quieten()
    requests = logging.getLogger("celery.worker.request")
    with caplog.at_level(logging.INFO, "celery.worker.request"):
        requests.info("Discarding revoked task: %s[%s]", SWEEP, "id")
        requests.info("Discarding revoked task: %s[%s]", "shop.charge", "id")
        requests.error("Hard time limit (%ss) exceeded for %s[%s]", 5, SWEEP, "id")
    assert [record.args for record in caplog.records] == [("shop.charge", "id"), (5, SWEEP, "id")]
