"""The app that is watched by real workers: `celery -A tests.observing.app …`.

Owns: the saga `order` (reserve, charge), whose steps do what their input says, and what a test
wants to see of a worker written into files: signals, and spans.  Refuses to know: what is tested.
"""

from __future__ import annotations

import json
import logging
import os
import signal as signals_of_processes
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import Celery, signals
from pydantic import BaseModel

from celeriac import Abort, Flow, Retry, Saga, Sagas, StepContext
from celeriac.observing.signals import saga_completed, saga_failed, saga_started, saga_step_failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

CARD = "4929-1234-5678"
QUICK = Retry(max_attempts=4, initial_delay=0.1, jitter=False)
shop_log = logging.getLogger("shop")


class Order(BaseModel):
    """The input: `does` says what the attempts of `charge` do, `ok` after the last."""

    card: str = CARD
    does: list[str] = []


class Kit(NamedTuple):
    """An app and its saga."""

    app: Celery
    sagas: Sagas
    order: Saga[Order, str]


def build(url: str, folder: Path, conf: dict[str, Any]) -> Kit:
    """Make the app; what it leaves for the test is in *folder*."""
    app = Celery("watched", broker=url, set_as_current=False)
    app.conf.update(
        saga_lease=2.0,
        saga_sweep_interval=0.2,
        saga_grace=0.7,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        **conf,
    )
    sagas = Sagas(app)

    @sagas.step(retry=QUICK)
    def reserve(order: Order) -> str:
        shop_log.info("reserving for\na card of %d digits", len(order.card))
        return f"hold for {order.card}"

    @reserve.compensation(retry=QUICK)
    def release(order: Order) -> None:
        shop_log.info("releasing, card of %d digits", len(order.card))

    @sagas.step(retry=QUICK)
    def charge(ctx: StepContext, order: Order, hold: str) -> str:
        word = order.does[ctx.attempt - 1] if ctx.attempt <= len(order.does) else "ok"
        shop_log.info("charging after %d letters: %s", len(hold), word)
        if word == "kill":
            os.kill(os.getpid(), signals_of_processes.SIGKILL)
        if word == "raise":
            raise ConnectionError(f"no answer for {order.card}")
        if word == "abort":
            raise Abort(f"{order.card} declined", code="declined", effect=False)
        return f"paid with {order.card}"

    def steps(flow: Flow, order: Order) -> str:
        return flow.step(charge, order, flow.step(reserve, order))

    made = Kit(app, sagas, sagas.saga(name="order")(steps))
    app.finalize()
    if (folder / "signals").exists():
        _note_signals(folder)
    if conf.get("saga_traces"):
        signals.worker_process_init.connect(lambda **_: collect_spans(folder), weak=False)
    return made


def _note_signals(folder: Path) -> None:
    def note(signal: Any, sender: str, run_id: str, **details: Any) -> None:
        with (folder / "signals").open("a") as out:
            out.write(f"{signal.name} {sender} {run_id} {details.get('step', '')}\n")
        raise ZeroDivisionError("receivers cannot break a run")

    for each in (saga_started, saga_step_failed, saga_completed, saga_failed):
        each.connect(note, weak=False, dispatch_uid=f"{each.name}-{folder}")


def collect_spans(folder: Path) -> None:
    """Let this process write its spans into a file, one JSON object in a line."""
    from opentelemetry import trace  # noqa: PLC0415 -- only where spans are asked for
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        SimpleSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Lines(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            with (folder / f"spans-{os.getpid()}").open("a") as out:
                for span in spans:
                    out.write(span.to_json(indent=None) + "\n")
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Lines()))
    trace.set_tracer_provider(provider)


if "KIT_BROKER" in os.environ:
    kit = build(
        os.environ["KIT_BROKER"],
        Path(os.environ["KIT_FOLDER"]),
        json.loads(os.environ["KIT_CONF"]),
    )
    app = kit.app
