"""What `sweep`, `purge`, `repair`, `metrics`, `ui` and `doctor` do for an installation as a whole.

Owns: sweeping and serving until a signal ends it, and which of the results is an error.  Refuses
to know: how it is typed (`maintenance_commands`) and how it is printed (`printing`).
"""

from __future__ import annotations

import difflib
from queue import Empty
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from kombu.exceptions import OperationalError

from celeriac.app import serve_store
from celeriac.doctor import CHECKS, examine, users
from celeriac.errors import StoreUnavailable
from celeriac.terminal.exit_codes import Exit, complain
from celeriac.terminal.interrupts import interrupts
from celeriac.terminal.invocation import Invocation
from celeriac.terminal.prompts import ask, progress
from celeriac.terminal.times import age

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.sagas import Sagas

_BROKER_SECONDS = 2.0  # for one look whether the broker is there


class Purged(NamedTuple):
    """How far a purge is."""

    matched: int  # at most
    done: int


class Maintain(Invocation):
    """Verbs for the installation as a whole."""

    def purge(self, older_than: str, *, dry_run: bool, yes: bool, rps: float, **rest: Any) -> None:
        """Remove runs that ended so long ago, the archive first, and say how many they were."""
        purge = self._sagas().purge(age("--older-than", older_than), **rest)
        if dry_run:
            self._print.to_purge(run.id for runs in purge.found() for run in runs)
            return
        found = purge.kinds()
        total = sum(count for _, _, count in found)
        if total and not yes:
            ask("purge", found)
        try:
            with progress("purge", total) as told, interrupts() as asked:
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
        with interrupts() as asked:
            asked.get()
        endpoint.stop()

    def ui(self, *, host: str, port: int, root_path: str, **login: Any) -> None:
        """Serve dashboard and HTTP API, until SIGINT or SIGTERM."""
        from celeriac.terminal.serving import serve_ui  # noqa: PLC0415 -- an extra, often not there

        serve_ui(self._sagas(), host, port, root_path, **login)

    def doctor(self, *, only: Sequence[str], skip: Sequence[str], verbose: bool, acl: bool) -> None:
        """Examine everything and print what was found; end with 1 if there are errors."""
        if acl:
            for user in users(self._sagas().runtime):
                click.echo(f"# {user.about}", err=True)  # an ACL file takes no comments
                click.echo(user.line)
            return
        _known("--only", only)
        _known("--skip", skip)
        report = examine(self._sagas().runtime, only, skip)
        self._print.report(report, verbose=verbose)
        if report.cut_off:
            raise click.exceptions.Exit(Exit.UNREACHABLE)
        if report.failed:
            raise click.exceptions.Exit(Exit.ERROR)


def _known(option: str, ids: Sequence[str]) -> None:
    """Refuse what is not a check of the doctor."""
    for unknown in (id_ for id_ in ids if id_ not in CHECKS):
        near = difflib.get_close_matches(unknown, CHECKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(CHECKS)}"
        raise click.BadParameter(f"no check {unknown!r}: {hint}", param_hint=option)


def _sweep(sagas: Sagas) -> int:
    """Sweep once; raise kombu's OperationalError if nothing could be sent."""
    with sagas.app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS)
    return sagas.sweep()


def _sweeps(sagas: Sagas, every: float) -> Iterator[int]:
    """Sweep again and again until a signal ends it; yield how many runs each sweep looked at."""
    away = False
    with interrupts() as asked:
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
