"""`make demo`: two hundred orders through the reference saga, and a process killed on the way.

Owns: the course of the demo: ask about a trip, place the orders, kill a worker process in the
middle, wait until every order is at rest, reconcile, tell; and with `--stay`, keep everything up.
Refuses to know: how sagas work: it uses what any application would use.

Its exit status is 0 only if the books are right.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.drawing import draw
from celeriac.errors import SagaError
from celeriac.machine.runs import RunStatus
from workflows import worker_kill
from workflows.environment import DemoProcesses, Trouble, processes
from workflows.progress_display import Progress, Screen, open_screen
from workflows.reconcile import Books, Ended, demands, money, reconcile, totals
from workflows.services import bank, ledger, stock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workflows.order import Order
    from workflows.worker_kill import Accident

ORDERS = Path(__file__).parent / "data" / "orders.jsonl"

PACE = 0.1  # seconds between two orders
IN_FLIGHT = 24  # orders at a time; more would only wait, and eat their own deadline
LOOK = 0.25  # seconds between two looks at how many runs are where
PATIENCE = 50.0  # seconds after which the demo stops waiting, and says what is missing
TICK = 0.01
MOST_SHOWN = 25  # discrepancies
WIDTH = 80  # characters of a line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    options = _parser().parse_args(arguments)
    for asked_to_end in _ENDINGS:
        signal.signal(asked_to_end, _leave)
    folder = Path(tempfile.mkdtemp(prefix="celeriac-demo-"))
    keep = True
    try:
        right = run(folder, options.orders, kill=options.kill, stay=options.stay)
        keep = options.keep or not right
    except (Trouble, SagaError, OSError, ValueError) as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    except SystemExit:
        keep = options.keep
        print("Interrupted; whatever was started has been ended.", file=sys.stderr)
        raise
    finally:
        _leave_folder(folder, keep=keep)
    return 0 if right else 1


def run(folder: Path, orders: Path, *, kill: bool, stay: bool = False) -> bool:
    """Run the *orders* with all files in *folder*; return whether all is right in the end.

    With *stay* everything is kept up after that, until somebody asks it to end.
    """
    screen = open_screen()
    with processes(folder, screen) as place:
        # Imported this late because it reads its environment when it is imported, as apps do.
        from workflows.order import Order, place_order, sagas  # noqa: PLC0415

        lines = orders.read_text(encoding="utf-8").splitlines()
        wanted = [Order.model_validate_json(line) for line in lines if line.strip()]
        question = _ask(place, screen)
        day = Day(wanted, place_order, sagas, place, screen, kill=kill)
        try:
            day.live()
        finally:
            screen.rest()
        right = _report(day, _all_ended(sagas), screen)
        right = _travel(screen) and right
        if stay:
            _stay(place, screen)
            return right
        return _answer(question, screen) and right


_TRAVEL = ("book", "cancel_booking")


# --- the day -----------------------------------------------------------------------------------


class Day:
    """All orders are placed, one after the other, and watched until every run is at rest."""

    def __init__(
        self,
        orders: Sequence[Order],
        place_order: Any,
        sagas: Any,
        place: DemoProcesses,
        screen: Screen,
        *,
        kill: bool,
    ) -> None:
        self.orders, self.kill = orders, kill
        self.accident: Accident | None = None
        self.seconds = 0.0
        self._place_order, self._sagas, self._processes, self._screen = (
            place_order,
            sagas,
            place,
            screen,
        )
        self._waiting = deque(orders)
        self._counts: Mapping[str, int] = {}
        self._next_order = self._next_look = 0.0

    def live(self) -> None:
        """Let it happen; gives up after `PATIENCE` seconds."""
        began = time.monotonic()
        while not self._over() and self.seconds < PATIENCE:
            self.seconds = time.monotonic() - began
            self._place()
            self._strike()
            self._look()
            time.sleep(TICK)
        self._look(now=True)

    def _over(self) -> bool:
        """Whether all is at rest: the runs, and whoever may still be in a call for one of them."""
        at_rest = not self._waiting and self._ended >= len(self.orders)
        return at_rest and not worker_kill.busy(self._processes.worker.pid)

    @property
    def _placed(self) -> int:
        return len(self.orders) - len(self._waiting)

    @property
    def _ended(self) -> int:
        return sum(n for status, n in self._counts.items() if RunStatus(status).at_rest)

    def _place(self) -> None:
        in_flight = self._placed - self._ended
        if self._waiting and in_flight < IN_FLIGHT and self.seconds >= self._next_order:
            order = self._waiting.popleft()
            self._place_order.start(order, id=order.id)
            # At a steady pace, but what was late is not made up for in a rush.
            self._next_order = max(self._next_order + PACE, self.seconds)

    def _strike(self) -> None:
        if self.kill and self.accident is None and 3 * self._ended >= len(self.orders):
            self.accident = worker_kill.strike(self._processes.worker.pid)
            if self.accident is not None:
                text = f"{self.seconds:5.1f} s  SIGKILL: {self.accident}"
                self._screen.say(text, "red")

    def _look(self, *, now: bool = False) -> None:
        if not now and self.seconds < self._next_look:
            return
        self._processes.check()
        counts: Counter[str] = Counter()
        for (saga, status), runs in self._sagas.counts().items():
            if saga == self._place_order.name:
                counts[str(status)] += runs
        self._counts = counts
        self._screen.show(Progress(self.seconds, self._placed, len(self.orders), counts))
        self._next_look = self.seconds + LOOK


def _all_ended(sagas: Any) -> dict[str, Ended]:
    """How all orders ended, page by page: also those that nobody placed."""
    found, cursor = {}, None
    while True:
        page = sagas.runs(saga="place_order", limit=200, cursor=cursor)
        for run in page:
            state = run.state()
            late = state.why == "deadline"
            found[run.id] = Ended(str(state.status), frozenset(state.owed), late)
        cursor = page.cursor
        if cursor is None:
            return found


# --- the books ---------------------------------------------------------------------------------


def _report(day: Day, ended: Mapping[str, Ended], screen: Screen) -> bool:
    """Tell how the day went and what the books say; return whether all is right."""
    ordered = [row for row in ledger.rows() if row.kind not in _TRAVEL]  # orders book no trips
    books = Books(ordered, stock.catalogue(), stock.on_hand(), bank.taken())
    screen.say(f"\n{len(ended)} orders in {day.seconds:.1f} s; what they demanded, how they ended:")
    for line in (*_by_cause(day.orders, ended, books.stocked), *_killed(day, ended), *_sums(books)):
        screen.say(line)
    for order, step in sorted((order, step) for order, e in ended.items() for step in e.owed):
        screen.say(f"Owed      {order}: its {step} stands and has to be undone by hand", "yellow")
    wrong = [f"{d.subject}: {d.text} ({d.kind})" for d in reconcile(day.orders, ended, books)]
    wrong += _wrong_kill(day)
    for text in wrong[:MOST_SHOWN]:
        screen.say(f"WRONG     {text}", "red")
    if len(wrong) > MOST_SHOWN:
        screen.say(f"WRONG     … and {len(wrong) - MOST_SHOWN} more", "red")
    if not wrong:
        screen.say(
            "Right     every order ended as it demands, the books agree to the cent", "green"
        )
    return not wrong


def _by_cause(
    orders: Sequence[Order], ended: Mapping[str, Ended], stocked: Mapping[str, int]
) -> Iterator[str]:
    rows: Counter[tuple[str, str]] = Counter()
    for order, wanted in demands(orders, ended, stocked).items():
        status = ended[order].status if order in ended else "missing"
        rows[wanted.cause, status] += 1
    for (cause, status), count in rows.most_common():
        yield f"  {count:4}  {cause:20}{status}"


def _killed(day: Day, ended: Mapping[str, Ended]) -> Iterator[str]:
    if day.accident is not None:
        after, order = day.accident.taken_up_after(), day.accident.order
        took = "never" if after is None else f"{after:.1f} s later"
        then = ended[order].status if order in ended else "missing"
        yield f"Killed    {day.accident}"
        yield f"          its work was taken up {took}; the order is {then}"


def _wrong_kill(day: Day) -> Iterator[str]:
    if day.kill and day.accident is None:
        yield "accident: no process was found in the middle of a call, so none was killed"
    if day.accident is not None and day.accident.taken_up_after() is None:
        yield f"accident: nobody took up the work of {day.accident}"


def _sums(books: Books) -> Iterator[str]:
    sums = totals(books.rows)
    kept, gone = sums.charged - sums.refunded, sums.held - sums.released
    before, left = sum(books.stocked.values()), sum(books.on_hand.values())
    yield f"Effects   {sums.done} done, {sums.undone} undone, {ledger.tombstones()} forbidden"
    yield f"Stock     {before:,} articles before, {gone:,} sold, {left:,} left"
    yield (
        f"Money     {money(sums.charged)} charged, {money(sums.refunded)} refunded, "
        f"{money(kept)} kept"
    )


# --- trips -------------------------------------------------------------------------------------


def _ask(place: DemoProcesses, screen: Screen) -> Any:
    """Start a trip that somebody has to agree to; return its run, which waits from now on."""
    from workflows.business_trip import book_business_trip  # noqa: PLC0415 -- as above
    from workflows.trip import Trip  # noqa: PLC0415

    run = book_business_trip.start(Trip(id="trip-2", town="Jena", nights=12), id="trip-2")
    screen.say("Question  trip-2 waits for somebody to say whether it may be booked")
    if place.dashboard is not None:
        screen.say(f"          {place.dashboard.url}/approvals/trip-2/decided")
    screen.say("")
    return run


def _answer(question: Any, screen: Screen) -> bool:
    """Say yes to what nobody has answered; return whether the trip came to an end."""
    from workflows.business_trip import Decision, decided  # noqa: PLC0415 -- as above

    if question.questions():
        question.signal(decided, Decision(decision="approve", by="the demo"))
        screen.say("Question  nobody answered, so the demo did: trip-2 may be booked")
    status = question.wait(PATIENCE).status
    screen.say(f"          trip-2 is {status}")
    return status in (RunStatus.COMPLETED, RunStatus.COMPENSATED)


def _stay(place: DemoProcesses, screen: Screen) -> None:
    """Keep everything up until somebody asks it to end, which is what this is ended by."""
    where = "everything" if place.dashboard is None else place.dashboard.url
    screen.say(f"\nStaying   {where} stays up to look around; Ctrl-C ends it", "green")
    try:
        while True:
            place.check()
            time.sleep(LOOK)
    except SystemExit:
        screen.say("Ending    whatever was started")


def _travel(screen: Screen) -> bool:
    """Book a trip, whose steps stand side by side and depend on answers; return whether it was."""
    from workflows.trip import Trip, book_trip  # noqa: PLC0415 -- as above

    run = book_trip.start(Trip(id="trip-1", town="Oslo", nights=7), id="trip-1")
    status = run.wait(PATIENCE).status
    screen.say(f"\nBeside the orders, a trip ({status}): side by side, a choice, a condition")
    screen.say(draw(run.graph(), "ascii", WIDTH))
    screen.say("See       workflows/trip.py\n")
    return status is RunStatus.COMPLETED


# --- the edges ---------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="celeriac demo",
        description="Run orders through the reference saga, and kill a worker process on the way.",
        epilog="A Redis named by CELERIAC_REDIS_URL is used if it answers; else one is brought.",
    )
    parser.add_argument("--orders", type=Path, default=ORDERS, help="a file of orders, one a line")
    parser.add_argument(
        "--stay", action="store_true", help="keep everything up to look around, until Ctrl-C"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and books")
    parser.add_argument("--no-kill", dest="kill", action="store_false", help="kill nobody")
    return parser


_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _leave(signal_number: int, frame: object) -> None:  # noqa: ARG001 -- what a handler is given
    """Turn a request to end into an exit that ends the children, too; once is enough."""
    for asked_to_end in _ENDINGS:
        signal.signal(asked_to_end, signal.SIG_IGN)
    raise SystemExit(128 + signal_number)


def _leave_folder(folder: Path, *, keep: bool) -> None:
    if keep:
        print(f"Logs, books and the Redis's data are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
