"""Traces: a span for each attempt, in the trace in which the run was started.

Owns: `opentelemetry` (the extra `[otel]`: its API only), the names and attributes of spans, and
how a trace goes along with a run.  Refuses to know: SDK and exporters, which the application sets
up, and payloads: of an error there is the class only.

The span of `start` is a child of what the application was at; its context is kept with the run as
a field (`trace`), never sent, and all attempts are its children, whenever and wherever they run.
A granted attempt leaves the context of its span beside it (`span:do:charge`), in the commit of the
claim: so a second attempt is linked to the first, and a compensation to the attempt it undoes, also
where that one died and was never heard of again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import ConfigurationError
from celeriac.machine import EventKind, PhaseStatus
from celeriac.observing.observers import Claiming, Committed, Settled, Starting, Working

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from celeriac.machine import Event, Phase, Run
    from celeriac.observing.observers import Notice

#: The field that holds the context of the span in which a run was started.
TRACE = "trace"
#: Spans that are kept for attempts whose end was never heard; they are never exported.
_KEPT = 1_000
_PARENT, _STATE = "traceparent", "tracestate"  # as W3C Trace Context calls them


def span_field(step: str, phase: Phase) -> str:
    """The field of the span of the newest attempt of a step, or of its compensation."""
    return f"span:{phase}:{step}"


def wants(step: str, phase: Phase) -> tuple[str, ...]:
    """The fields that tracing reads along."""
    if not step:
        return (TRACE,)
    spans = [span_field(step, "do")] + ([span_field(step, "undo")] if phase == "undo" else [])
    return (TRACE, *spans)


class _Key(NamedTuple):
    run_id: str
    holder: str


class Tracing:
    """The observer that makes spans."""

    def __init__(self, provider: Any = None) -> None:
        """*provider* makes tracers; left out, it is OpenTelemetry's global one."""
        try:
            from opentelemetry import trace  # noqa: PLC0415 -- an extra
            from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                "saga_traces needs the API of OpenTelemetry: pip install 'celeriac[otel]'"
            ) from None
        self._otel = trace
        # Of all propagators this one: baggage may hold what must not be kept with a run.
        self._format = tracecontext.TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("celeriac", tracer_provider=provider)
        self._spans: OrderedDict[_Key, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, notice: Notice) -> AbstractContextManager[None] | None:
        """Begin, enter, mark and end spans."""
        if isinstance(notice, Starting):
            return self._starting(notice)
        if isinstance(notice, Working):
            return self._working(notice)
        if isinstance(notice, Claiming):
            self._claiming(notice)
        elif isinstance(notice, Committed):
            self._committed(notice)
        elif isinstance(notice, Settled):
            self._end(_Key(notice.run_id, notice.holder))
        return None

    # --- a run ---------------------------------------------------------------------------------

    @contextmanager
    def _starting(self, notice: Starting) -> Iterator[None]:
        span = self._tracer.start_span(
            f"start {notice.saga}",
            kind=self._otel.SpanKind.PRODUCER,
            attributes={"celeriac.run": notice.run_id, "celeriac.saga": notice.saga},
        )
        context = self._dumped(span)
        if context:
            notice.marks[TRACE] = context
        with self._current(span):
            try:
                yield
            finally:
                span.end()

    # --- an attempt ----------------------------------------------------------------------------

    def _claiming(self, notice: Claiming) -> None:
        """Begin the span of an attempt; a claim that is decided anew keeps the one it has."""
        key = _Key(notice.before.id, notice.holder)
        with self._lock:
            span = self._spans.get(key)
        if span is None:
            span = self._begin(notice)
            with self._lock:
                self._spans[key] = span
                while len(self._spans) > _KEPT:
                    self._spans.popitem(last=False)
        context = self._dumped(span)
        if context:
            notice.marks[span_field(notice.step, notice.phase)] = context

    def _begin(self, notice: Claiming) -> Any:
        run, step = notice.before, notice.before.step(notice.step)
        attributes: dict[str, Any] = _about(run, notice.step, notice.phase, notice.attempt)
        if notice.phase == "undo":
            attributes["celeriac.generation"] = step.generation
            attributes["celeriac.why"] = run.why
        if step.may_have_effect:  # an attempt before this one may have had its effect
            attributes["celeriac.unknown"] = True
        return self._tracer.start_span(
            _name(run, notice.step, notice.phase),
            context=self._loaded(notice.read.get(TRACE)),
            kind=self._otel.SpanKind.CONSUMER,
            attributes=attributes,
            links=list(self._links(notice)),
        )

    def _links(self, notice: Claiming) -> Iterator[Any]:
        """What this attempt repeats, and what it undoes."""
        step = notice.before.step(notice.step)
        if notice.phase == "undo":
            outcome = (
                "unknown"
                if step.do.state is not PhaseStatus.DONE and step.may_have_effect
                else "done"
            )
            about = {"celeriac.link": "undoes", "celeriac.outcome": outcome}
            yield from self._link(notice.read.get(span_field(notice.step, "do")), about)
        if notice.attempt > 1:
            again = notice.read.get(span_field(notice.step, notice.phase))
            yield from self._link(again, {"celeriac.link": "tries_again"})

    def _link(self, text: str | None, attributes: Mapping[str, str]) -> Iterator[Any]:
        span = self._otel.get_current_span(self._loaded(text)).get_span_context()
        if text and span.is_valid:
            yield self._otel.Link(span, attributes)

    @contextmanager
    def _working(self, notice: Working) -> Iterator[None]:
        """Make the span the current one: what the body calls makes children of it."""
        with self._lock:
            span = self._spans.get(_Key(notice.run_id, notice.holder))
        if span is None:
            yield
            return
        with self._current(span):
            yield

    def _end(self, key: _Key) -> None:
        with self._lock:
            span = self._spans.pop(key, None)
        if span is not None:
            span.end()

    # --- what happened -------------------------------------------------------------------------

    def _committed(self, notice: Committed) -> None:
        holder = getattr(notice.command, "holder", "")
        with self._lock:
            span = self._spans.get(_Key(notice.run.id, holder))
        for event in notice.events:
            if event.kind is EventKind.LOST:
                self._lost(notice, event)
            elif span is not None and event.kind in _ENDS and event.attempt:
                self._mark(span, event)

    def _mark(self, span: Any, event: Event) -> None:
        """Say on the span of an attempt how it ended."""
        unknown = event.data.get("why") == "timeout"
        outcome = event.data.get("outcome", event.kind.value)
        span.set_attribute("celeriac.outcome", "unknown" if unknown else outcome)
        if event.data.get("late") or event.kind is EventKind.LATE:
            span.set_attribute("celeriac.late", True)
        if outcome == "failed":
            span.set_attribute("error.type", event.data.get("error", "unknown"))
            span.set_attribute("celeriac.tried_again", "retry" in event.data)
            span.set_status(self._otel.StatusCode.ERROR)

    def _lost(self, notice: Committed, event: Event) -> None:
        """The worker of an attempt cannot tell of it any more: whoever found out does."""
        direction = (notice.before or notice.run).step(event.step).direction(event.phase)
        attributes = _about(notice.run, event.step, event.phase, event.attempt)
        span = self._tracer.start_span(
            f"{_name(notice.run, event.step, event.phase)} lost",
            context=self._loaded(notice.read.get(TRACE)),
            attributes={
                **attributes,
                "celeriac.outcome": "unknown",
                "celeriac.tried_again": "retry" in event.data,
                "error.type": "AttemptLost",
            },
            start_time=direction.at * 1_000_000,
        )
        span.set_status(self._otel.StatusCode.ERROR)
        span.end(end_time=event.at * 1_000_000)

    # --- contexts ------------------------------------------------------------------------------

    def _current(self, span: Any) -> AbstractContextManager[Any]:
        """Enter a span; what is raised inside may hold a payload, so it is not recorded."""
        entered: AbstractContextManager[Any] = self._otel.use_span(
            span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )
        return entered

    def _dumped(self, span: Any) -> str:
        """The context of a span as text; empty if nobody collects spans."""
        carrier: dict[str, str] = {}
        self._format.inject(carrier, self._otel.set_span_in_context(span))
        return f"{carrier.get(_PARENT, '')} {carrier.get(_STATE, '')}".strip()

    def _loaded(self, text: str | None) -> Any:
        parent, _, state = (text or "").partition(" ")
        carrier = {_PARENT: parent, _STATE: state} if state else {_PARENT: parent}
        return self._format.extract(carrier if parent else {}, context=self._nothing())

    @staticmethod
    def _nothing() -> Any:
        from opentelemetry.context import Context  # noqa: PLC0415 -- an extra

        return Context()  # not the current one: a worker may be at something else


_ENDS = (EventKind.COMPLETED, EventKind.FAILED, EventKind.LATE)


def _name(run: Run, step: str, phase: Phase) -> str:
    return f"{run.saga} undo {step}" if phase == "undo" else f"{run.saga} {step}"


def _about(run: Run, step: str, phase: Phase, attempt: int) -> dict[str, Any]:
    return {
        "celeriac.run": run.id,
        "celeriac.saga": run.saga,
        "celeriac.step": step,
        "celeriac.phase": phase,
        "celeriac.attempt": attempt,
    }
