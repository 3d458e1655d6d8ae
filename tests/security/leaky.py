"""An application whose every step handles a secret, and fails with it in every way there is.

Owns: the sagas, and the secret.  Refuses to know: who looks for it, and where.

The input says how the second step behaves: `fine`, or one of `WAYS`.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import Celery
from pydantic import BaseModel, Field

from celeriac import Abort, Failure, Flow, Retry, Saga, Sagas, StepContext

if TYPE_CHECKING:
    from pathlib import Path

#: Nothing else in the world is called like this.
CANARY = "canary4929x1234x5678"
RAISING = ("message", "cause", "group", "odd", "exit", "quoted", "invalid", "abort", "aborted")
RETURNING = ("wrong", "object", "large", "nan", "beat", "repr")
DYING = ("soft", "hard", "kill", "quit")
LATE = ("late",)
UNDOING = ("undo",)


class Secret(BaseModel):
    """An input that nobody may see."""

    card: str = CANARY
    how: str = "fine"
    numbers: dict[str, str] = {CANARY: CANARY}


class Kept(BaseModel):
    """An output that nobody may see."""

    card: str = Field(max_length=1_000)


class Odd(Exception):
    """An error that cannot be pickled, and shows itself."""

    def __init__(self, secret: str) -> None:
        super().__init__(secret, lambda: secret)
        self.secret = secret

    def __repr__(self) -> str:
        return f"Odd({self.secret})"


class Shown:
    """No JSON, and it shows itself."""

    def __repr__(self) -> str:
        return CANARY


class Leaky(NamedTuple):
    """The application."""

    app: Celery
    sagas: Sagas
    leak: Saga[Secret, Kept]
    adopted: Saga[Secret, Any]


def _app(url: str, metrics_port: int | None, *, log_json: bool) -> Celery:
    """The Celery app, with a result backend that nothing may be found in."""
    app = Celery("leaky", broker=url, backend=url, set_as_current=False)
    app.conf.update(
        saga_lease=2.0,
        saga_sweep_interval=0.2,
        saga_grace=0.7,
        saga_max_payload=10_000,
        saga_metrics_port=metrics_port,
        saga_log_json=log_json,
        worker_send_task_events=True,
        task_send_sent_event=True,
        result_extended=True,
        task_track_started=True,
        task_store_errors_even_if_ignored=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )
    return app


def build(
    url: str, folder: Path, metrics_port: int | None = None, *, log_json: bool = False
) -> Leaky:
    """Make the application."""
    app = _app(url, metrics_port, log_json=log_json)
    sagas = Sagas(app)
    quick = Retry(max_attempts=2, initial_delay=0.1, jitter=False)

    @sagas.step(retry=quick)
    def keep(ctx: StepContext, secret: Secret) -> Kept:  # noqa: ARG001 -- as steps are
        return Kept(card=secret.card)

    @keep.compensation(retry=quick)
    def unkeep(
        ctx: StepContext, secret: Secret, result: Kept | None, error: Failure | None
    ) -> None:
        told = f"{ctx.attempt} {secret.card} {result and result.card} {error and error.message}"
        if secret.how == "undo":
            raise ValueError(told)

    @sagas.step(retry=quick, timeout=1.0)
    def spill(ctx: StepContext, secret: Secret, kept: Kept) -> Kept:
        local = {secret.card: kept.card}
        found: Kept = spilt(ctx, secret.how, local[CANARY], folder)
        return found

    @spill.compensation(retry=quick)
    def unspill(secret: Secret, kept: Kept, result: Kept | None) -> None:
        assert (secret.card, kept.card) == (CANARY, CANARY)
        assert result is None or CANARY in result.card

    @app.task(  # type: ignore[untyped-decorator]
        name="leaky.plain",
        shared=False,
        autoretry_for=(KeyError,),
        retry_kwargs={"max_retries": 1, "countdown": 0.1},
    )
    def plain(secret: dict[str, Any]) -> Any:
        return spilt(StepContext.for_test(), secret["how"], secret["card"], folder)

    def leak(flow: Flow, secret: Secret) -> Kept:
        return flow.step(spill, secret, flow.step(keep, secret))

    def adopted(flow: Flow, secret: Secret) -> Any:
        flow.step(keep, secret)
        # A step whose saga names its queue has a message, whoever else runs ahead.
        return flow.options(queue="celery").step(plain, secret)

    made = Leaky(app, sagas, sagas.saga(leak), sagas.saga(adopted))
    app.finalize()
    return made


def spilt(ctx: StepContext, how: str, card: str, folder: Path) -> Any:
    """Return the secret, or fail with it."""
    if how in RAISING or how == "undo":
        _raise(how, card)
    if how in (*DYING, *LATE):
        _die(ctx, how, card, folder)
    if how == "beat":
        ctx.heartbeat({"card": card})
        raise ConnectionError(card)
    found = {"wrong": {"no": card}, "object": Shown(), "large": card * 1_000, "repr": [Shown()]}
    found |= {"nan": {"card": card, "rate": float("nan")}}
    return found.get(how, Kept(card=card))


def _raise(how: str, card: str) -> None:
    if how == "message":
        raise KeyError(card, {"card": card})
    if how == "cause":
        raise OSError(5, card, card) from LookupError(card)
    if how == "group":
        raise ExceptionGroup(card, [ValueError(card), Odd(card)])
    if how == "odd":
        raise Odd(card)
    if how == "exit":
        raise SystemExit(card)
    if how == "quoted":
        Kept.model_validate({"card": [card]})
    if how == "invalid":
        Secret.model_validate_json(f'{{"card": {card}}}')
    if how == "abort":
        raise Abort(card, code="declined", effect=False)
    raise Abort(f"{card} {how}")


def _die(ctx: StepContext, how: str, card: str, folder: Path) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "quit":
        os._exit(3)
    gate = folder / f"{ctx.run_id}.open"
    if how == "late":
        (folder / f"{ctx.run_id}.reached").touch()
        if ctx.attempt > 1:
            return
    give_up = time.monotonic() + 30
    while not gate.exists() and time.monotonic() < give_up:
        try:
            time.sleep(0.01)  # a condition is awaited: the gate, or a time limit
        except Exception as error:
            if how == "soft":
                raise RuntimeError(card) from error
