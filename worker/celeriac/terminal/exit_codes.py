"""How a verb of the command line ends: its exit code, and what it says on stderr.

Owns: the one table of exit codes, and errors as a line instead of a traceback.  Refuses to know:
what the verbs do and what they print.
"""

from __future__ import annotations

import errno
import logging
import traceback
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import click
from kombu.exceptions import OperationalError

from celeriac.errors import (
    BulkNotFound,
    CommandRefused,
    DefinitionConflict,
    DefinitionNotFound,
    FileInvalid,
    GateNotFound,
    InputInvalid,
    PayloadTooLarge,
    RunConflict,
    RunExists,
    RunNotFound,
    SagaError,
    ScheduleNotFound,
    StoreUnavailable,
    TokenRefused,
    TokenUnknown,
)
from celeriac.machine import RunStatus
from celeriac.observing import clean, log

if TYPE_CHECKING:
    from collections.abc import Iterator


class Exit(IntEnum):
    """What an exit code means; a script may rely on it."""

    OK = 0
    ERROR = 1
    USAGE = 2  # click's own code for a command line that makes no sense
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    COMPENSATED = 10  # this and the following: how the run ended that was waited for
    FAILED = 11
    TERMINATED = 13


_OF_ERRORS: dict[type[Exception], Exit] = {
    InputInvalid: Exit.USAGE,
    FileInvalid: Exit.USAGE,
    DefinitionNotFound: Exit.NOT_FOUND,
    DefinitionConflict: Exit.CONFLICT,
    PayloadTooLarge: Exit.USAGE,
    RunNotFound: Exit.NOT_FOUND,
    ScheduleNotFound: Exit.NOT_FOUND,
    GateNotFound: Exit.NOT_FOUND,
    BulkNotFound: Exit.NOT_FOUND,
    RunExists: Exit.CONFLICT,
    RunConflict: Exit.CONFLICT,
    CommandRefused: Exit.CONFLICT,
    TokenUnknown: Exit.NOT_FOUND,
    TokenRefused: Exit.CONFLICT,
    StoreUnavailable: Exit.UNREACHABLE,
    OperationalError: Exit.UNREACHABLE,  # what kombu raises when the broker is away
}
_OF_OUTCOMES = {
    RunStatus.COMPLETED: Exit.OK,
    RunStatus.COMPENSATED: Exit.COMPENSATED,
    RunStatus.FAILED: Exit.FAILED,
    RunStatus.TERMINATED: Exit.TERMINATED,
}


def exit_of_error(error: Exception) -> Exit:
    """The exit code of a verb that *error* ended."""
    return next((code for kind, code in _OF_ERRORS.items() if isinstance(error, kind)), Exit.ERROR)


def exit_of_outcome(status: RunStatus) -> Exit:
    """The exit code of a verb that waited for a run which came to rest in *status*."""
    return _OF_OUTCOMES[status]


class NotFound(click.ClickException):
    """What was asked for by name is not there."""

    exit_code = Exit.NOT_FOUND


@contextmanager
def error_boundary(*, debug: bool, events: bool) -> Iterator[None]:
    """Turn an error into a line on stderr and an exit code; show the traceback with *debug*.

    *events* are log lines of what happens to runs: news from a sweep, but not from a verb that
    says itself what it did.
    """
    with _logged(events=events):
        try:
            yield
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise  # click's own, and it knows what to do with them
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has read enough, and click knows that too
            complain(error, debug=debug)
            raise click.exceptions.Exit(exit_of_error(error)) from error


def complain(error: Exception, *, debug: bool = False) -> None:
    """Say on stderr, in one line, what went wrong."""
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo(f"Error: {clean(_sentence(error))}", err=True)


def _sentence(error: Exception) -> str:
    if isinstance(error, SagaError):
        return str(error)
    if isinstance(error, OperationalError):
        return f"the broker cannot be reached: see that it is up, and broker_url is right ({error})"
    return f"{type(error).__name__}: {error} (saga --debug … shows where it comes from)"


@contextmanager
def _logged(*, events: bool) -> Iterator[None]:
    """Show warnings on stderr, unless the application has set up logging itself."""
    if log.hasHandlers():
        yield
        return
    handler = _Stderr(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    if not events:
        # A line that tells an event of a run says which (`observing.observers`).
        handler.addFilter(lambda record: not hasattr(record, "event"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Stderr(logging.Handler):
    """Log lines as lines of a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, and the traceback that belongs to it."""
        try:
            click.echo(self.format(record), err=True)
        except Exception:  # noqa: BLE001 -- a log line must not end the program
            self.handleError(record)
