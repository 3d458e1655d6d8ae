"""The app of the tests with real workers, made anew for each broker.

Owns: the saga `trip` (book, pay, send), whose steps do what their input's script says, and faults
of the broker: messages dropped, doubled or reordered when they are published.  Refuses to know:
who starts the processes.  The file is long because each saga is here with its steps.

A script maps a step (`pay`, or `pay.undo`) to what its attempts do, one word each, `ok` after the
last: `raise` and `raise-after` (the effect), `abort`, `abort-clean` (no effect), `kill` and
`kill-after`, `gate` and `gate-after` (waits until the test opens it), `spin` (never ends), `slow`,
`tell` (how far it is, and a tag, then as `gate`), `report` (the same without a gate), `hog`
(computes for longer than a lease), `large` and `wrong` (outputs that cannot be recorded), and for
`weigh` also `nan` and `object`.
Further ways to end: `exit`, what `_ODD` names, and in a pool of greenlets `gevent` or `eventlet`
(a time-out of that library strikes) and `killed` (as a greenlet is).

The file is long because it is one app: every saga of these tests, and what their steps may do.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from datetime import datetime  # noqa: TC003 -- read by planning
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import Celery

from celeriac import Abort, Done, Flow, NotYet, Saga, Sagas, Signal, Skip, StepContext
from tests.workers import gated_steps, outside_steps, scoped_steps
from tests.workers.ledger import Ledger
from tests.workers.trip_values import QUICK, Ticket, Trip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["QUICK", "Kit", "Ticket", "Trip", "build"]

LEASE, SWEEP, GRACE = 2.0, 0.2, 0.7
#: How long recovery may take after the last fault (L1), with room for a busy machine.
RECOVERY = LEASE + 2 * SWEEP + GRACE + 8.0


def is_long(trip: Trip) -> bool:
    """Whether a trip is a long one, as its script says."""
    return "long" in trip.script.get("is_long", [])


approved = Signal("approved", Ticket)


class Kit(NamedTuple):
    """An app and what was defined in it."""

    app: Celery
    sagas: Sagas
    trip: Saga[Trip, Ticket]
    patient: Saga[Trip, Ticket]  # the same with a deadline of 1.5 s
    lenient: Saga[Trip, Ticket]  # the same with a deadline of 4 s
    hasty: Saga[Trip, Ticket]  # the same with a step that may take 1 s
    march: Saga[Trip, Ticket]  # ten steps: hop, hop-2, … hop-10
    weighing: Saga[Trip, Any]  # book, then weigh, whose output may be anything
    mailing: Saga[Trip, Ticket]  # book, mail (which honours no key), pay
    tour: Saga[Trip, Ticket]  # first, then left beside (right, further), then last
    transfer: Saga[Trip, Ticket]  # first; debit and credit in two phases; last
    rounds: Saga[Trip, Ticket | None]  # first, then; decide; each may go on with the other group
    bundle: Saga[Trip, Ticket]  # first, then left beside right, undone as one by call_off; last
    asking: Saga[Trip, Ticket]  # first; long way or short way, as `is_long` answers; last
    replying: Saga[Trip, Ticket]  # first, reply (which answers as its script says), last
    asleep: Saga[Trip, Ticket]  # book, sleep for 2 s, send
    approving: Saga[Trip, Ticket]  # book, wait for `approved` for 20 s, send what was sent
    hurried: Saga[Trip, Ticket]  # the same, and waits for 1 s
    timely: Saga[Trip, Ticket]  # book; send, within 2 s, from a queue of its own
    dated: Saga[Any, Ticket]  # book, sleep until a moment that is given, send within a minute
    outside: Saga[Trip, Ticket]  # book, ask somebody outside, send
    stamped: Saga[Trip, Ticket]  # first; left, middle, right, two at a time; last at a rate
    guarded: Saga[Trip, Ticket]  # first; inquire, behind a breaker
    lapsed: Saga[Trip, Ticket]  # first; never, which nobody takes up within a second
    fleet: Saga[list[Trip], Ticket]  # hop for each of several trips, three at a time, then gather
    family: Saga[Trip, Ticket]  # first, a run of `trip`, last
    convoy: Saga[list[Trip], Ticket]  # a run of one booking for each of several trips, then gather
    ledger: Ledger
    folder: Path


class Script:
    """What makes the steps do what their input says."""

    def __init__(self, sagas: Sagas, ledger: Ledger, folder: Path) -> None:
        self.sagas, self._ledger, self._folder = sagas, ledger, folder

    def act(self, ctx: StepContext, trip: Trip, name: str) -> Ticket:
        """Do what the script says of this attempt."""
        self._ledger.begin(f"{ctx.run_id}:{name}", ctx.attempt)
        words = trip.script.get(name, [])
        word = words[ctx.attempt - 1] if ctx.attempt <= len(words) else "ok"
        if word in ("tell", "report"):
            for number in range(101):
                ctx.progress(number, 100, "labels printed")
            ctx.tag(region="eu")
            word = "gate" if word == "tell" else "ok"
        _before(word, self._folder, f"{ctx.run_id}.{name}")
        write = self._ledger.undo if name.endswith(".undo") else self._ledger.do
        write(ctx.idempotency_key, ctx.attempt)
        _after(word, self._folder, f"{ctx.run_id}.{name}")
        return Ticket(number="x" * 20_000 if word == "large" else f"{name}-{ctx.run_id}")


def _trip_steps(script: Script) -> dict[str, Any]:
    """The steps that most tests are about."""
    sagas, act = script.sagas, script.act

    @sagas.step(retry=QUICK)
    def book(ctx: StepContext, trip: Trip) -> Ticket:
        return act(ctx, trip, "book")

    @book.compensation(retry=QUICK)
    def unbook(ctx: StepContext, trip: Trip, result: Ticket | None) -> None:  # noqa: ARG001 -- asked for
        act(ctx, trip, "book.undo")

    @sagas.step(retry=QUICK)
    def pay(ctx: StepContext, trip: Trip, booked: Ticket) -> Ticket:  # noqa: ARG001 -- asked for
        ticket = act(ctx, trip, "pay")
        wrong = trip.script.get("pay", [])[ctx.attempt - 1 : ctx.attempt] == ["wrong"]
        return {"no": "ticket"} if wrong else ticket  # type: ignore[return-value]  # on purpose

    @pay.compensation(retry=QUICK)
    def refund(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "pay.undo")

    @sagas.step(retry=QUICK)
    def send(ctx: StepContext, trip: Trip, paid: Ticket) -> Ticket:  # noqa: ARG001 -- asked for
        return act(ctx, trip, "send")

    @send.compensation(retry=QUICK)
    def recall(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "send.undo")

    @sagas.step(retry=QUICK)
    def idle(ctx: StepContext, trip: Trip) -> Ticket | None:
        if trip.script.get("idle"):
            raise Skip("nothing to do")
        return act(ctx, trip, ctx.step)

    @idle.compensation(retry=QUICK)
    def unidle(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, f"{ctx.step}.undo")

    return {"book": book, "pay": pay, "send": send, "idle": idle}


def _replying_steps(script: Script) -> dict[str, Any]:
    """The step that answers in place of a result."""
    sagas, act = script.sagas, script.act

    @sagas.step(retry=QUICK)
    def reply(ctx: StepContext, trip: Trip) -> Ticket:
        later = trip.script.get("later", [])
        if ctx.attempt <= len(later):
            raise NotYet(later[ctx.attempt - 1], effect=False)
        done = act(ctx, trip, "reply")
        if "done" in trip.script.get("answer", []):
            raise Done(done)
        if "decline" in trip.script.get("answer", []):
            raise Abort("declined", answer={"code": "05"})
        if "busy" in trip.script.get("answer", []) and "~" not in ctx.idempotency_key:
            raise Abort("busy")  # in the first try
        return done

    @reply.compensation(retry=QUICK)
    def unreply(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "reply.undo")

    return {"reply": reply}


def _other_steps(script: Script) -> dict[str, Any]:
    """Steps with a time limit, without a key, with any output; and one for long sagas."""
    sagas, act = script.sagas, script.act

    @sagas.step(retry=QUICK, timeout=1.0)
    def rush(ctx: StepContext, trip: Trip) -> Ticket:
        return act(ctx, trip, "rush")

    @rush.compensation(retry=QUICK)
    def unrush(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "rush.undo")

    @sagas.step(retry=QUICK)
    def hop(ctx: StepContext, trip: Trip) -> Ticket:
        return act(ctx, trip, ctx.step)

    @hop.compensation(retry=QUICK)
    def unhop(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, f"{ctx.step}.undo")

    @sagas.step(retry=QUICK, effect="none")
    def mail(ctx: StepContext, trip: Trip) -> Ticket:
        return act(ctx, trip, "mail")

    @mail.compensation(retry=QUICK)
    def unmail(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "mail.undo")

    @sagas.step(retry=QUICK)
    def weigh(ctx: StepContext, trip: Trip) -> Any:
        act(ctx, trip, "weigh")
        word = trip.script.get("weigh", ["ok"])[0]
        return {"nan": [1.5, float("nan")], "object": object()}.get(word, 1.5)

    @weigh.compensation(retry=QUICK)
    def unweigh(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "weigh.undo")

    @sagas.step(retry=QUICK)
    def gather(ctx: StepContext, tickets: list[Ticket]) -> Ticket:
        act(ctx, Trip(), ctx.step)
        return Ticket(number=",".join(ticket.number for ticket in tickets))

    return {"rush": rush, "hop": hop, "mail": mail, "weigh": weigh, "gather": gather}


def _define(sagas: Sagas, of: dict[str, Any]) -> dict[str, Any]:
    """The sagas, by the names that they have in the kit; *of* are the steps."""

    def steps(flow: Flow, trip: Trip) -> Ticket:
        paid = flow.step(of["pay"], trip, flow.step(of["book"], trip))
        sent: Ticket = flow.step(of["send"], trip, paid)
        return sent

    def rushed(flow: Flow, trip: Trip) -> Ticket:
        flow.step(of["book"], trip)
        found: Ticket = flow.step(of["rush"], trip)
        return found

    def hops(flow: Flow, trip: Trip) -> Ticket:
        found: list[Ticket] = [flow.step(of["hop"], trip) for _ in range(10)]
        return found[-1]

    def forked(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(of["hop"], trip)
        with flow.parallel():
            flow.options(name="left", queue="elsewhere", priority=3).step(of["hop"], trip)
            with flow.sequence():
                flow.options(name="right").step(of["hop"], trip)
                flow.options(name="further").step(of["hop"], trip)
        found: Ticket = flow.options(name="last").step(of["hop"], trip)
        return found

    def asked(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(of["hop"], trip)
        with flow.when(is_long, trip):
            flow.options(name="long").step(of["hop"], trip)
            flow.options(name="longer").step(of["hop"], trip)
        with flow.otherwise():
            flow.options(name="short").step(of["idle"], trip)
        found: Ticket = flow.options(name="last").step(of["hop"], trip)
        return found

    def weighed(flow: Flow, trip: Trip) -> Any:
        flow.step(of["book"], trip)
        return flow.step(of["weigh"], trip)

    def mailed(flow: Flow, trip: Trip) -> Ticket:
        flow.step(of["book"], trip)
        paid: Ticket = flow.step(of["pay"], trip, flow.step(of["mail"], trip))
        return paid

    return {
        **_define_families(sagas, of, sagas.saga(name="trip")(steps)),
        "fleet": sagas.saga(name="fleet")(_fleet(of)),
        "patient": sagas.saga(name="patient", deadline=1.5)(steps),
        "lenient": sagas.saga(name="lenient", deadline=4)(steps),
        "hasty": sagas.saga(name="hasty")(rushed),
        "march": sagas.saga(name="march")(hops),
        "weighing": sagas.saga(name="weighing")(weighed),
        "mailing": sagas.saga(name="mailing")(mailed),
        "tour": sagas.saga(name="tour")(forked),
        "asking": sagas.saga(name="asking")(asked),
        "replying": _replying(sagas, of),
        **_define_waits(sagas, of),
    }


def _define_families(
    sagas: Sagas, of: dict[str, Any], trip: Saga[Trip, Ticket]
) -> dict[str, Saga[Any, Any]]:
    """The sagas whose steps are runs."""

    def hopped(flow: Flow, trip: Trip) -> Ticket:
        return flow.step(of["book"], trip)  # type: ignore[no-any-return]

    leg = sagas.saga(name="leg")(hopped)

    def parented(flow: Flow, given: Trip) -> Ticket:
        flow.options(name="first").step(of["hop"], given)
        sent = flow.child(trip, given)
        flow.options(name="last").step(of["hop"], given)
        return sent

    def each(flow: Flow, given: Trip) -> Ticket:
        return flow.child(leg, given)

    def many(flow: Flow, trips: list[Trip]) -> Ticket:
        gathered: Ticket = flow.step(of["gather"], flow.map(each, trips, concurrency=20))
        return gathered

    return {
        "trip": trip,
        "family": sagas.saga(name="family")(parented),
        "convoy": sagas.saga(name="convoy")(many),
    }


def _define_waits(sagas: Sagas, of: dict[str, Any]) -> dict[str, Saga[Trip, Any]]:
    """The sagas that wait."""

    def slept(flow: Flow, trip: Trip) -> Ticket:
        booked = flow.step(of["book"], trip)
        flow.sleep(2)
        sent: Ticket = flow.step(of["send"], trip, booked)
        return sent

    def waited(seconds: float) -> Callable[[Flow, Trip], Ticket]:
        def saga(flow: Flow, trip: Trip) -> Ticket:
            flow.step(of["book"], trip)
            ticket = flow.wait(approved, timeout=seconds)
            flow.step(of["send"], trip, ticket)
            return ticket

        return saga

    def timed(flow: Flow, trip: Trip) -> Ticket:
        booked = flow.step(of["book"], trip)
        sent: Ticket = flow.options(queue="slow", expires=2).step(of["send"], trip, booked)
        return sent

    def dated(flow: Flow, trip: Trip, until: datetime) -> Ticket:
        booked = flow.step(of["book"], trip)
        flow.sleep_until(until)
        sent: Ticket = flow.options(expires="1m").step(of["send"], trip, booked)
        return sent

    return {
        "timely": sagas.saga(name="timely")(timed),
        "dated": sagas.saga(name="dated")(dated),
        "asleep": sagas.saga(name="asleep")(slept),
        "approving": sagas.saga(name="approving")(waited(20)),
        "hurried": sagas.saga(name="hurried")(waited(1)),
    }


def _replying(sagas: Sagas, of: dict[str, Any]) -> Saga[Trip, Any]:
    """The saga whose second step answers."""

    def replied(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(of["hop"], trip)
        flow.step(of["reply"], trip)
        found: Ticket = flow.options(name="last").step(of["hop"], trip)
        return found

    return sagas.saga(name="replying", retries=1, retry_delay=0.5)(replied)


def _fleet(of: dict[str, Any]) -> Any:
    def each(flow: Flow, trips: list[Trip]) -> Ticket:
        found: Ticket = flow.step(of["gather"], flow.map(of["hop"], trips, concurrency=3))
        return found

    return each


def build(
    url: str,
    folder: Path,
    without: tuple[str, ...] = (),
    state_url: str | None = None,
    conf: Mapping[str, Any] | None = None,
) -> Kit:
    """Make the app; *without* leaves out the tasks of these names.

    *state_url* is a Redis for the runs, where it is not the broker's; *conf* are further settings.
    """
    if url.startswith("limited:"):
        import_module("tests.workers.limited_transport")  # makes it known to kombu
    ledger, limit = Ledger(folder / "ledger.db"), os.environ.get("KIT_RATE_LIMIT")
    transport = json.loads(os.environ.get("KIT_TRANSPORT", "{}"))
    app = Celery("kit", broker=url, set_as_current=False)
    app.conf.update(
        saga_redis_url=state_url,
        task_annotations={"*": {"rate_limit": limit}} if limit else None,
        saga_lease=float(os.environ.get("KIT_LEASE", LEASE)),
        saga_sweep_interval=SWEEP,
        saga_grace=GRACE,
        saga_max_payload=10_000,
        saga_run_ahead=int(os.environ.get("KIT_AHEAD", "0")),
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        task_send_sent_event=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, **transport},
    )
    app.conf.update(conf or {})
    sagas = Sagas(app)
    script = Script(sagas, ledger, folder)
    steps = {**_trip_steps(script), **_replying_steps(script), **_other_steps(script)}
    found = _define(sagas, steps)
    found["bundle"] = scoped_steps.define(sagas, steps["hop"], script.act)
    found["transfer"] = scoped_steps.define_transfer(sagas, steps["hop"], script.act)
    found["rounds"] = scoped_steps.define_rounds(sagas, steps["hop"], script.act)
    found |= gated_steps.define(sagas, steps["hop"], script.act, ledger)
    found["outside"] = outside_steps.define(sagas, steps, script.act, folder)
    made = Kit(app, sagas, ledger=ledger, folder=folder, **found)
    app.finalize()
    for name in without:
        app.tasks.unregister(f"tests.workers.kit.{name}")
    _install_faults(app, folder)
    return made


class Unspeakable(Abort):
    """An error that cannot be put into words."""

    def __str__(self) -> str:
        raise asyncio.CancelledError


class Own(BaseException):
    """What a library raises that wants no handler of a step's to see it."""


_ODD: dict[str, BaseException] = {
    "cancelled": asyncio.CancelledError(),
    "generator": GeneratorExit(),
    "interrupt": KeyboardInterrupt(),
    "own": Own("mine"),
    "surrogate": Abort("no file caf\udce9", code="caf\udce9"),
    "unspeakable": Unspeakable("x"),
}


def _strike(library: str, folder: Path) -> None:
    with import_module(library).Timeout(0.05):
        _wait_for_gate(folder, "never")


def _kill(_: Path) -> None:
    raise import_module("greenlet").GreenletExit


def _compute(_: Path) -> None:
    until = time.monotonic() + 2.5 * LEASE
    while time.monotonic() < until:
        pass  # never yields: no greenlet runs beside it


# Imported by whoever asks for it: a worker of another pool is to have none of it.
_GREEN: dict[str, Callable[[Path], None]] = {
    "hog": _compute,
    "gevent": partial(_strike, "gevent"),
    "eventlet": partial(_strike, "eventlet"),
    "killed": _kill,
}


def _before(word: str, folder: Path, name: str) -> None:
    if word == "raise":
        raise ConnectionError("the participant is away")
    if word == "exit":
        sys.exit("the step leaves")
    if word in _ODD:
        raise _ODD[word]
    if word in _GREEN:
        _GREEN[word](folder)
    if word in ("abort", "abort-clean"):
        effect = False if word == "abort-clean" else None
        raise Abort("refused", code="refused", effect=effect)
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "gate":
        _wait_for_gate(folder, name)
    if word == "slow":
        time.sleep(0.5)  # a participant that takes its time
    if word == "spin":
        _wait_for_gate(folder, "never")


def _after(word: str, folder: Path, name: str) -> None:
    if word == "raise-after":
        raise ConnectionError("the answer got lost")
    if word == "kill-after":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "gate-after":
        _wait_for_gate(folder, name)


def _wait_for_gate(folder: Path, name: str) -> None:
    (folder / f"{name}.reached").touch()
    give_up = time.monotonic() + 60
    while not (folder / f"{name}.open").exists() and time.monotonic() < give_up:
        time.sleep(0.01)  # a condition is awaited: the gate


def _install_faults(app: Celery, folder: Path) -> None:
    """Let files in *folder* say what happens to messages: `drop`, `double`, `reorder`, `refuse`.

    A file that holds text is about the messages that have a line of it in their task's name or id.
    What is sent (+) and what is dropped (-) is kept in `published`, in the order of sending.
    """
    publish = app.amqp.send_task_message
    held: list[tuple[Any, ...]] = []

    def send(producer: Any, name: str, message: Any, **options: Any) -> None:
        called = f"{name} {message.headers['id']}"
        if _faulty(folder / "refuse", called):
            raise TypeError("a publisher of yesterday")
        copies = 0 if _faulty(folder / "drop", called) else 1
        copies += copies and _faulty(folder / "double", called)
        with (folder / "published").open("a") as log:
            log.write(f"+ {called}\n" * copies or f"- {called}\n")
        for _ in range(copies):
            publish(producer, name, message, **options)

    def reordered(producer: Any, name: str, message: Any, **options: Any) -> None:
        if not (folder / "reorder").exists():
            send(producer, name, message, **options)
            return
        # The newest first, the one before it last: whatever comes next overtakes this message.
        waiting = held[:]
        held[:] = [] if waiting else [(name, message, options)]
        if waiting:
            send(producer, name, message, **options)
            for each, what, how in waiting:
                send(producer, each, what, **how)

    app.amqp.__dict__["send_task_message"] = reordered


def _faulty(fault: Path, called: str) -> bool:
    try:
        return any(line in called for line in fault.read_text().splitlines() or [""])
    except FileNotFoundError:
        return False
