"""Runs brought to where a test wants them, without a worker: by the engine alone.

Owns: claiming an attempt and reporting how it ended.  Refuses to know: the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac import Failure
from celeriac.engine.answers import Deferred
from celeriac.engine.attempts import Delivery
from celeriac.machine import epoch_of
from celeriac.machine.commands import Expire, Fail
from tests.terminal import shop

if TYPE_CHECKING:
    from celeriac.engine.attempts import Attempt
    from celeriac.machine import Phase

SECRET = "card 4711"  # in every failure's message, as in life  # noqa: S105


def claim(run_id: str, step: str, phase: Phase = "do") -> Attempt:
    """Take the next attempt of a step, as a worker does that got its message."""
    engine = shop.sagas.runtime.engine
    run = engine.store.read(run_id).run
    assert run is not None
    number = run.step(step).direction(phase).attempt + 1
    return engine.claim(
        Delivery(run_id, epoch_of(run, step), step, phase, number, run.plan), "worker"
    )


def do(run_id: str, *steps: str, phase: Phase = "do") -> None:
    """Let steps succeed, one after the other."""
    engine = shop.sagas.runtime.engine
    for step in steps:
        engine.complete(claim(run_id, step, phase), '"done"')


def undo(run_id: str, *steps: str) -> None:
    """Let compensations succeed, one after the other."""
    do(run_id, *steps, phase="undo")


def fail(
    run_id: str,
    step: str,
    phase: Phase = "do",
    *,
    message: str = SECRET,
    effect: bool | None = None,
) -> None:
    """Let a step fail for good."""
    give_up(claim(run_id, step, phase), message=message, effect=effect)


def give_up(attempt: Attempt, *, message: str = SECRET, effect: bool | None = None) -> None:
    """Let an attempt that was taken fail for good."""
    name = attempt.delivery
    token = (name.step, name.phase, name.attempt, "worker", name.epoch)
    command = Fail(*token, "abort", "BankDown", "declined", effect)
    failure = Failure(
        type="BankDown", message=message, code="declined", traceback=f"bank.py, line 7\n{message}"
    )
    shop.sagas.runtime.engine.fail(attempt, command, failure)


def completed(run_id: str) -> str:
    """A run of `place_order` that completed."""
    shop.place_order.start(shop.Order(sku="pen"), id=run_id)
    do(run_id, "reserve", "charge")
    return run_id


def compensated(run_id: str) -> str:
    """A run whose card was declined, and which was undone."""
    shop.place_order.start(shop.Order(sku="pen"), id=run_id)
    do(run_id, "reserve")
    fail(run_id, "charge", effect=False)
    undo(run_id, "reserve")
    return run_id


def failed(run_id: str) -> str:
    """A run that owes the compensation of `charge`, while `reserve` is undone."""
    shop.place_order.start(shop.Order(sku="pen"), id=run_id)
    do(run_id, "reserve")
    fail(run_id, "charge")
    fail(run_id, "charge", "undo")
    undo(run_id, "reserve")
    return run_id


def asking(run_id: str) -> str:
    """A run that asks whether the mail of a dead worker was sent."""
    shop.mailing.start(id=run_id)
    attempt = claim(run_id, "mail")
    shop.sagas.runtime.engine.command(run_id, Expire("mail", "do", attempt.delivery.attempt))
    return run_id


def held(run_id: str) -> str:
    """A run that an operator has paused."""
    shop.ping.start(id=run_id).pause("the bank is down", by="ada")
    return run_id


def stuck(run_id: str) -> str:
    """A run that gave up after its pivot."""
    shop.publish.start(id=run_id)
    do(run_id, "commit")
    fail(run_id, "notify")
    return run_id


def ask_outside(run_id: str, step: str) -> str:
    """Let a step ask somebody outside; return the token that he has then."""
    engine, attempt = shop.sagas.runtime.engine, claim(run_id, step)
    token = engine.give_token(attempt)
    engine.complete(attempt, Deferred(3_600_000))
    return token
