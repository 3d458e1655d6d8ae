"""What the verbs of the command line do, with the app they are asked of.

Owns: finding the app's sagas, calling the client, seeing what a command changed, waiting for the
end of a run, and sweeping again and again.  Refuses to know: how it is typed (`cli`) and how it
is printed (`printing`).
"""

from __future__ import annotations

import difflib
import signal
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import click
from kombu.exceptions import OperationalError

from celeriac.errors import DefinitionError, ResultTimeout, RunNotFound, StoreUnavailable
from celeriac.exits import NotFound, complain, exit_of_outcome
from celeriac.policy import duration_ms
from celeriac.wording import deed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celery import Celery

    from celeriac.client import RunHandle
    from celeriac.models import RunState
    from celeriac.printing import Printer
    from celeriac.sagas import IfExists, Saga, Sagas

_BROKER_SECONDS = 2.0  # for one look whether the broker is there


class Terminal:
    """One call of the command line: an app, and a printer of what comes out."""

    def __init__(self, app: Celery, printer: Printer) -> None:
        self._app, self._print = app, printer

    # --- verbs ---------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        text: str | None,
        *,
        run_id: str | None,
        tags: Mapping[str, str],
        if_exists: IfExists,
        **waiting: Any,
    ) -> None:
        """Start a run of the saga *name* with the input that JSON *text* holds, if any."""
        saga = _find(self._sagas(), name)
        if text is None:
            run = saga.start(id=run_id, tags=tags, if_exists=if_exists)
        else:
            run = saga.start_json(text, id=run_id, tags=tags, if_exists=if_exists)
        self._print.deed(run.id, "accepted")
        self._see_off(run, None, **waiting)

    def list(self, *, since: str | None, until: str | None, **filters: Any) -> None:
        """Print a page of runs."""
        filters["since"] = _moment("--since", since)
        filters["until"] = _moment("--until", until)
        page = self._sagas().runs(**filters)
        self._print.page(_states(page.runs), page.cursor)

    def show(self, run_id: str, *, traceback: bool) -> None:
        """Print one run."""
        self._print.run(self._sagas().run(run_id).state(), traceback=traceback)

    def history(self, run_id: str) -> None:
        """Print what happened to a run."""
        self._print.history(run_id, self._sagas().run(run_id).history())

    def steer(
        self, run_id: str, command: Callable[[RunHandle[Any]], object], by: str, **waiting: Any
    ) -> None:
        """Do *command* to a run, in the name of *by*, and say what it changed."""
        run = self._sagas().run(run_id)
        before = len(run.history())
        command(run)
        # Others may have acted meanwhile; what is ours bears our name.
        ours = [event for event in run.history()[before:] if event.data.get("by") == by]
        self._print.deed(run_id, deed(ours))
        self._see_off(run, changed=bool(ours), **waiting)

    def sweep(self, every: float | None) -> None:
        """Sweep once, or every so many seconds until SIGINT or SIGTERM."""
        sagas = self._sagas()
        if every is None:
            self._print.swept(_sweep(sagas))
            return
        click.echo(f"Sweeping every {every:g} s; Ctrl-C ends it.", err=True)
        self._print.swept(sum(_sweeps(sagas, every)))

    # --- parts ---------------------------------------------------------------------------------

    def _sagas(self) -> Sagas:
        """The app's Sagas, once all its modules are imported."""
        self._app.loader.import_default_modules()
        found: Sagas | None = getattr(self._app, "celeriac", None)
        if found is None:
            raise click.ClickException(
                f"the app {self._app.main or 'default'!r} has no sagas: name yours with "
                "`celery -A module saga …`, and write `sagas = Sagas(app)` in that module"
            )
        return found

    def _see_off(
        self, run: RunHandle[Any], changed: bool | None, *, wait: bool, timeout: float | None
    ) -> None:
        """Print where a run stands, after waiting for its end if that is wanted."""
        given_up: ResultTimeout | None = None
        status = None
        try:
            status = run.wait(timeout).status if wait else None
        except ResultTimeout as error:
            given_up = error
        self._print.outcome(run.state(), changed=changed)
        if given_up:
            raise given_up
        if status and exit_of_outcome(status):
            raise click.exceptions.Exit(exit_of_outcome(status))


def _find(sagas: Sagas, name: str) -> Saga[Any, Any]:
    known = sagas.defined
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise NotFound(f"no saga {name!r}{hint}: this app has {', '.join(sorted(known)) or 'none'}")


def _states(runs: Sequence[RunHandle[Any]]) -> list[RunState]:
    """The states of *runs*, without those that were removed meanwhile."""
    found = []
    for run in runs:
        try:
            found.append(run.state())
        except RunNotFound:
            continue
    return found


def _moment(option: str, text: str | None) -> datetime | None:
    """The time that *text* means: so long ago, or an ISO time."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(milliseconds=duration_ms(text))
    except (DefinitionError, OverflowError):
        pass  # then it must be a time
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"give how long ago (30m, 2h, 7d) or an ISO time (2025-12-31T18:00, UTC unless it says "
            f"otherwise), not {text!r}",
            param_hint=option,
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# --- sweeping ----------------------------------------------------------------------------------


def _sweep(sagas: Sagas) -> int:
    """Sweep once; raise kombu's OperationalError if nothing could be sent."""
    with sagas.app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS)
    return sagas.sweep()


def _sweeps(sagas: Sagas, every: float) -> Iterator[int]:
    """Sweep again and again until a signal ends it; yield how many runs each sweep looked at."""
    away = False
    with _signals() as asked:
        while True:
            try:
                yield _sweep(sagas)
                away = False
            except (StoreUnavailable, OperationalError) as error:
                if not away:  # once for each outage; when it is over, sweeping goes on
                    complain(error)
                away = True
            try:
                asked.get(timeout=every)
            except Empty:
                continue
            return


@contextmanager
def _signals() -> Iterator[SimpleQueue[int]]:
    """SIGINT and SIGTERM as items of a queue, so that what has begun is finished first.

    The second of a kind ends the process at once.
    """
    asked: SimpleQueue[int] = SimpleQueue()  # its `put` may be called from a signal's handler

    def ask(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        asked.put(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
