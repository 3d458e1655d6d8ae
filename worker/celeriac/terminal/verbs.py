"""What the verbs of the command line do, with the app they are asked of.

Owns: finding the app's sagas, calling the client, seeing what a command changed, waiting for the
end of a run, and sweeping again and again.  Refuses to know: how it is typed (`cli`) and how it
is printed (`printing`).
"""

from __future__ import annotations

import difflib
import json
import signal
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from kombu.exceptions import OperationalError

from celeriac.app import give, kinds, matching, serve_store
from celeriac.doctor import CHECKS, examine
from celeriac.errors import DefinitionError, ResultTimeout, RunNotFound, StoreUnavailable
from celeriac.machine import duration_ms
from celeriac.terminal.exit_codes import Exit, NotFound, complain, exit_of_outcome
from celeriac.terminal.prompts import ask, progress
from celeriac.views import BulkOutcome, deed, graph_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celery import Celery

    from celeriac.app import RunHandle
    from celeriac.machine import Plan, Run
    from celeriac.sagas import IfExists, Saga, Sagas
    from celeriac.terminal.options import Target
    from celeriac.terminal.printing import Printer
    from celeriac.views import Drawing

_BROKER_SECONDS = 2.0  # for one look whether the broker is there


class Purged(NamedTuple):
    """How far a purge is."""

    matched: int  # at most
    done: int


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
        bounds = _bounded({"since": since, "until": until})
        page = self._sagas().runs(**filters, **bounds)
        self._print.page(page.states(failures=self._print.tells_failures), page.cursor)

    def show(self, run_id: str, *, traceback: bool) -> None:
        """Print one run."""
        self._print.run(self._sagas().run(run_id).state(), traceback=traceback)

    def history(self, run_id: str) -> None:
        """Print what happened to a run."""
        self._print.history(run_id, self._sagas().run(run_id).history())

    def watch(self, run_id: str, every: float) -> None:
        """Show a run until it has ended; end with the code of its outcome."""
        run = self._sagas().run(run_id)
        with _signals() as asked:
            status = self._print.watch(_looks(run, every, asked), run.history)
        if status is None:
            raise click.Abort
        if exit_of_outcome(status):
            raise click.exceptions.Exit(exit_of_outcome(status))

    def graph(self, name: str, drawing: Drawing) -> None:
        """Draw the run of this id, else the saga of this name."""
        sagas = self._sagas()
        try:
            found = sagas.run(name).graph()
        except RunNotFound:
            if name not in sagas.defined:
                raise
            found = graph_of(sagas.defined[name].planned.plan)
        self._print.graph(found, drawing)

    def undo_plan(self, run_id: str) -> None:
        """Print what would be undone of a run."""
        self._print.undo_plan(self._sagas().run(run_id).undo_plan())

    def export(self, run_id: str, *, payloads: bool) -> None:
        """Print all that is known of a run."""
        self._print.document(self._sagas().run(run_id).export(payloads=payloads))

    def steer(
        self,
        verb: str,
        command: Callable[[RunHandle[Any]], bool],
        by: str,
        *,
        target: Target,
        **waiting: Any,
    ) -> None:
        """Do *command* to one run or to all that a filter finds, and say what it changed."""
        if target.run_id is None:
            self._steer_many(verb, command, target)
        else:
            self._steer_one(target.run_id, command, by, **waiting)

    def _steer_one(
        self, run_id: str, command: Callable[[RunHandle[Any]], bool], by: str, **waiting: Any
    ) -> None:
        run = self._sagas().run(run_id)
        before = len(run.history())
        command(run)
        # Others may have acted meanwhile; what is ours bears our name.
        ours = [event for event in run.history()[before:] if event.data.get("by") == by]
        self._print.deed(run_id, deed(ours))
        self._see_off(run, changed=bool(ours), **waiting)

    def _steer_many(
        self, verb: str, command: Callable[[RunHandle[Any]], bool], target: Target
    ) -> None:
        sagas = self._sagas()
        found = matching(sagas.runs, _bounded(target.filters))
        if not found:
            click.echo("No run matches.", err=True)
        elif not target.yes:
            ask(verb, kinds(found))
        tally = BulkOutcome(len(found))
        with progress(verb, len(found)) as told, _signals() as asked:
            for tally in give([sagas.run(run.id) for run in found], command, target.rps):
                told(tally)
                if not asked.empty():
                    break
        self._print.tally(verb, tally)
        if tally.refused or tally.left:
            raise click.exceptions.Exit(Exit.CONFLICT if tally.refused else Exit.ERROR)

    def read_json(self, option: str, text: str) -> Any:
        """The value of an option that holds JSON."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"it is no JSON: {error}", param_hint=option) from None

    def stats(self) -> None:
        """Print how the runs stand as a whole."""
        self._print.stats(self._sagas().stats())

    def purge(self, older_than: str, *, dry_run: bool, yes: bool, rps: float, **rest: Any) -> None:
        """Remove runs that ended so long ago, the archive first, and say how many they were."""
        purge = self._sagas().purge(_age("--older-than", older_than), **rest)
        if dry_run:
            self._print.to_purge(run.id for runs in purge.found() for run in runs)
            return
        found = purge.kinds()
        total = sum(count for _, _, count in found)
        if total and not yes:
            ask("purge", found)
        try:
            with progress("purge", total) as told, _signals() as asked:
                for removed in purge.run(rps):
                    told(Purged(total, removed))
                    if not asked.empty():
                        raise click.exceptions.Exit(Exit.ERROR)  # not all of it was done
        finally:
            self._print.purged(purge.removed)

    def repair(self, *, dry_run: bool) -> None:
        """Mend what does not fit, or only look; leave with 1 if something is left."""
        done = self._sagas().repair(dry_run=dry_run)
        self._print.repaired(done)
        if done.left:
            raise click.exceptions.Exit(Exit.ERROR)

    def sweep(self, every: float | None) -> None:
        """Sweep once, or every so many seconds until SIGINT or SIGTERM."""
        sagas = self._sagas()
        if every is None:
            self._print.swept(_sweep(sagas))
            return
        click.echo(f"Sweeping every {every:g} s; Ctrl-C ends it.", err=True)
        self._print.swept(sum(_sweeps(sagas, every)))

    def metrics(self, host: str, port: int) -> None:
        """Serve what the store says of all runs, until SIGINT or SIGTERM."""
        endpoint = serve_store(self._sagas().runtime, host, port)
        click.echo(
            f"Metrics are at http://{host}:{endpoint.port}/metrics; Ctrl-C ends it.", err=True
        )
        with _signals() as asked:
            asked.get()
        endpoint.stop()

    def doctor(self, *, only: Sequence[str], skip: Sequence[str], verbose: bool) -> None:
        """Examine everything and print what was found; end with 1 if there are errors."""
        _known("--only", only)
        _known("--skip", skip)
        report = examine(self._sagas().runtime, only, skip)
        self._print.report(report, verbose=verbose)
        if report.cut_off:
            raise click.exceptions.Exit(Exit.UNREACHABLE)
        if report.failed:
            raise click.exceptions.Exit(Exit.ERROR)

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


def _known(option: str, ids: Sequence[str]) -> None:
    """Refuse what is no check of the doctor."""
    for unknown in (id_ for id_ in ids if id_ not in CHECKS):
        near = difflib.get_close_matches(unknown, CHECKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(CHECKS)}"
        raise click.BadParameter(f"no check {unknown!r}: {hint}", param_hint=option)


def _bounded(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters with times for what was typed as times."""
    times = {name: _moment(f"--{name}", filters[name]) for name in ("since", "until")}
    return {**filters, **times}


def _age(option: str, text: str) -> timedelta:
    """How long ago *text* says."""
    try:
        return timedelta(milliseconds=duration_ms(text))
    except (DefinitionError, OverflowError):
        raise click.BadParameter(
            f"give how long ago (12h, 30d), not {text!r}", param_hint=option
        ) from None


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


def _looks(
    run: RunHandle[Any], every: float, asked: SimpleQueue[int]
) -> Iterator[tuple[Plan, Run, int]]:
    """Look at a run again and again, until it is at rest or a signal ends it."""
    while True:
        look = run.look()
        yield look
        if look[1].status.at_rest:
            return
        with suppress(Empty):
            asked.get(timeout=every)
            return


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
