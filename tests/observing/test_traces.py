"""Spans: one for each attempt, in the trace of its start, with what it undoes as a link.

Owns: what an SDK collects while stories are told to the engine.  Refuses to know: exporters.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from celeriac.errors import Abort, ConfigurationError
from celeriac.machine.commands import Block
from celeriac.observing.observers import Working
from celeriac.observing.traces import TRACE, Tracing, span_field, wants
from tests.engine.driver import LEASE, Shop
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.engine.attempts import Attempt
    from celeriac.workers.runtime import Runtime

CARD = "4929-1234-5678"


class Traced:
    """A shop whose engine makes spans, and the spans that ended."""

    def __init__(self, *nodes: Any) -> None:
        self.out = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.out))
        self.at = Shop(saga(*(nodes or ("reserve", "charge"))))
        self.at.engine.observers.add(Tracing(self.provider), wants)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that ended, in that order."""
        return list(self.out.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == f"place_order {name}"]

    def one(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        [span] = self.named(name)
        return span

    @property
    def start(self) -> ReadableSpan:
        """The span of the only start."""
        [span] = [span for span in self.spans if span.name == "start place_order"]
        return span


@pytest.fixture
def traced() -> Iterator[Traced]:
    """Two steps, traced."""
    made = Traced()
    yield made
    made.provider.shutdown()


def ids(span: ReadableSpan) -> tuple[int, int]:
    """The trace and the span that a span is."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def parent(span: ReadableSpan) -> tuple[int, int]:
    """The trace and the span that a span belongs to."""
    assert span.parent is not None
    return span.parent.trace_id, span.parent.span_id


def about(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span, without our prefix."""
    return {
        name.removeprefix("celeriac."): value for name, value in (span.attributes or {}).items()
    }


def links(span: ReadableSpan) -> list[tuple[tuple[int, int], dict[str, Any]]]:
    """What a span is linked to."""
    return [
        ((link.context.trace_id, link.context.span_id), dict(link.attributes or {}))
        for link in span.links
    ]


def fail(error: Exception) -> Any:
    """A body that raises."""

    def body(**_: Any) -> None:
        raise error

    return body


def test_a_span_for_each_attempt(traced: Traced) -> None:
    """Start and attempts are one trace; attempts are the children of the start."""
    traced.at.start()
    traced.at.work()
    assert [span.name for span in traced.spans] == [
        "start place_order",
        "place_order reserve",
        "place_order charge",
    ]
    for span in traced.spans[1:]:
        assert parent(span) == ids(traced.start)
        assert span.kind is SpanKind.CONSUMER
    assert traced.start.kind is SpanKind.PRODUCER
    assert about(traced.one("charge")) == {
        "run": "order-42",
        "saga": "place_order",
        "step": "charge",
        "phase": "do",
        "attempt": 1,
        "outcome": "completed",
    }


def test_the_start_belongs_to_what_the_application_is_at(traced: Traced) -> None:
    """A request that starts a run is the parent of its start, and baggage does not come along."""
    tracer = traced.provider.get_tracer("web")
    token = attach(baggage.set_baggage("card", CARD))
    try:
        with tracer.start_as_current_span("POST /orders") as request:
            traced.at.start()
    finally:
        detach(token)
    traced.at.work()
    assert parent(traced.start)[1] == request.get_span_context().span_id
    assert ids(traced.one("charge"))[0] == request.get_span_context().trace_id
    assert CARD not in str(traced.at.store._records["order-42"].fields)


def test_the_trace_goes_along_with_the_run(traced: Traced) -> None:
    """Its context is kept with the run, not in its head: another process goes on with it."""
    traced.at.start()
    fields = traced.at.store._records["order-42"].fields
    assert fields[TRACE].startswith("00-")
    assert fields[TRACE] not in traced.at.store._records["order-42"].head
    other = Traced()
    other.at.store, other.at.engine.store = traced.at.store, traced.at.store
    other.at.post, other.at.clock = traced.at.post, traced.at.clock
    other.at.work()
    assert parent(other.one("reserve")) == ids(traced.start)


def test_a_worker_at_something_else_does_not_mix_traces(traced: Traced) -> None:
    """An attempt belongs to its run, whatever span is current where its message arrives."""
    traced.at.start()
    with traced.provider.get_tracer("worker").start_as_current_span("celery's own"):
        traced.at.work()
    assert parent(traced.one("charge")) == ids(traced.start)


def test_a_failed_attempt_tells_its_kind_only(traced: Traced) -> None:
    """The span is an error of that class; its text may be a payload and is nowhere."""
    traced.at.bodies["shop.charge"] = fail(ConnectionError(f"declined {CARD}"))
    traced.at.start(card=CARD)
    traced.at.settle_down()
    first, last = traced.named("charge")
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description is None
    assert (about(first)["error.type"], about(first)["outcome"]) == ("ConnectionError", "failed")
    assert (about(first)["tried_again"], about(last)["tried_again"]) == (True, False)
    assert first.events == ()
    assert CARD not in "".join(span.to_json() for span in traced.spans)


def test_a_second_attempt_is_linked_to_the_first(traced: Traced) -> None:
    """It says what it tries again."""
    traced.at.bodies["shop.charge"] = fail(ConnectionError())
    traced.at.start()
    traced.at.settle_down()
    first, second = traced.named("charge")
    assert links(first) == []
    assert links(second) == [(ids(first), {"celeriac.link": "tries_again"})]
    assert about(second)["attempt"] == 2


def test_a_compensation_is_linked_to_what_it_undoes(traced: Traced) -> None:
    """Each compensation is in the trace of its run, and linked to the attempt it undoes."""
    traced.at.bodies["shop.charge"] = fail(Abort("no"))
    traced.at.start()
    traced.at.settle_down()
    for name, outcome in (("reserve", "done"), ("charge", "unknown")):
        undo = traced.one(f"undo {name}")
        assert parent(undo) == ids(traced.start)
        link = {"celeriac.link": "undoes", "celeriac.outcome": outcome}
        assert links(undo) == [(ids(traced.one(name)), link)]
        assert (about(undo)["phase"], about(undo)["why"]) == ("undo", "failed")
    assert about(traced.one("undo charge"))["unknown"] is True


def test_an_attempt_that_was_lost() -> None:
    """Whoever finds out makes its span; what comes after is linked to the one that began it."""
    traced = Traced(step("reserve", retry=budget(1)))
    traced.at.start()
    lost = traced.at.next_attempt()
    claimed = traced.at.clock.now
    traced.at.die(lost)
    traced.at.pass_time(2 * LEASE)
    traced.at.settle_down()
    found = traced.one("reserve lost")
    assert parent(found) == ids(traced.start)
    assert about(found)["outcome"] == "unknown"
    assert found.status.status_code is StatusCode.ERROR
    assert found.start_time == claimed * 1_000_000
    assert found.end_time is not None
    assert found.end_time > found.start_time + LEASE * 1_000_000 - 1
    [(begun, why)] = links(traced.one("undo reserve"))
    assert begun[0] == ids(traced.start)[0]
    assert why["celeriac.outcome"] == "unknown"
    assert traced.named("reserve") == [], "it was never heard of again"

    traced.at.complete(lost)  # a zombie: its span is the one that the undo is linked to
    late = traced.one("reserve")
    assert ids(late) == begun
    assert about(late)["late"] is True
    assert about(late)["outcome"] == "completed"


def test_a_timeout_is_marked(traced: Traced) -> None:
    """An attempt that was cut off has an unknown outcome."""
    traced.at.start()
    traced.at.fail(traced.at.next_attempt(), TimeoutError(), kind="timeout")
    assert about(traced.one("reserve"))["outcome"] == "unknown"
    assert traced.one("reserve").status.status_code is StatusCode.ERROR


def test_what_a_body_calls_is_a_child_of_its_attempt(traced: Traced) -> None:
    """While the body is at work its span is the current one, and not before or after."""
    traced.at.start()
    attempt = traced.at.next_attempt()
    with traced.at.engine.observers.during(_working(attempt)):
        inner = trace.get_current_span().get_span_context()
    assert not trace.get_current_span().get_span_context().is_valid
    traced.at.complete(attempt)
    assert inner.span_id == ids(traced.one("reserve"))[1]


def test_an_error_inside_is_not_recorded(traced: Traced) -> None:
    """What the body raises goes through untouched, and its text does not get into the span."""
    traced.at.start()
    attempt = traced.at.next_attempt()
    with (
        pytest.raises(ConnectionError),
        traced.at.engine.observers.during(_working(attempt)),
    ):
        raise ConnectionError(CARD)
    traced.at.complete(attempt)
    assert traced.one("reserve").status.status_code is StatusCode.UNSET
    assert CARD not in traced.one("reserve").to_json()


def test_attempts_side_by_side_have_their_own_spans(traced: Traced) -> None:
    """Two attempts at work in one process do not end each other's span."""
    traced.at.start("order-1")
    traced.at.start("order-2")
    first, second = traced.at.next_attempt(), traced.at.next_attempt()
    traced.at.complete(second)
    assert [about(span)["run"] for span in traced.named("reserve")] == ["order-2"]
    traced.at.complete(first)
    assert [about(span)["run"] for span in traced.named("reserve")] == ["order-2", "order-1"]


def test_a_claim_that_is_decided_anew_is_one_span(traced: Traced) -> None:
    """Somebody came between: still one attempt, one span."""
    traced.at.start()
    engine = traced.at.another_engine()
    asked = list[str]()

    def between() -> None:
        asked.append("between")
        engine.command("order-42", Block("reserve", "a worker does not know it"))

    traced.at.store.between = between
    attempt = traced.at.next_attempt()
    assert asked
    traced.at.complete(attempt)
    span = traced.one("reserve")
    kept = traced.at.store._records["order-42"].fields[span_field("reserve", "do")]
    assert f"{ids(span)[1]:016x}" in kept


def test_a_refused_message_makes_no_span(traced: Traced) -> None:
    """A doubled message leaves no trace."""
    traced.at.start()
    traced.at.post.waiting *= 3
    traced.at.work()
    assert len(traced.spans) == 3


def test_without_an_sdk_nothing_is_kept() -> None:
    """Where nobody collects spans, runs carry none."""
    at = Shop(saga("reserve"))
    at.engine.observers.add(Tracing(trace.NoOpTracerProvider()), wants)
    at.start()
    at.settle_down()
    assert set(at.store._records["order-42"].fields) == {"out:reserve"}


def test_spans_that_never_end_are_forgotten(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose attempts are never settled does not keep their spans for ever."""
    monkeypatch.setattr("celeriac.observing.traces._KEPT", 3)
    for number in range(8):
        traced.at.start(f"order-{number}")
    attempts = [traced.at.next_attempt() for _ in range(8)]
    for attempt in attempts:
        traced.at.complete(attempt)
    assert len(traced.named("reserve")) == 3


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for without the API, it names the extra."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'celeriac\[otel\]'"):
        Tracing()


def test_an_app_goes_on_without_the_extra(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that was told to trace and cannot says so once, and works."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    runtime.app.conf.saga_traces = True
    assert runtime.engine.observers.wants("charge") == ()
    runtime.close()
    assert runtime.engine is not None
    assert caplog.text.count("celeriac[otel]") == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_spans_are_made_where_they_are_asked_for(runtime: Runtime, wanted: bool) -> None:
    """The setting decides, also where the API is installed for something else."""
    runtime.app.conf.saga_traces = wanted
    assert bool(runtime.engine.observers.wants("charge")) is wanted


def _working(attempt: Attempt) -> Working:
    d = attempt.delivery
    return Working(d.run_id, attempt.run.saga, d.step, d.phase, d.attempt, attempt.holder)
