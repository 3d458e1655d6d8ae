"""What the context of a step does when its body calls it: heartbeats, progress, tags, the token.

Owns: what these cost and raise.  Refuses to know: how a body is called (`bodies`), and what a
command leads to.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac.authoring import ANYTHING
from celeriac.engine.answers import later_misplaced
from celeriac.errors import (
    CommandRefused,
    InputInvalid,
    LeaseLost,
    OutputInvalid,
    RunNotFound,
    Stopping,
    StoreError,
)
from celeriac.machine import checked_tags
from celeriac.observing import clean, log
from celeriac.store import payloads
from celeriac.views import as_told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from celeriac.engine.attempts import Attempt
    from celeriac.engine.engine import Engine


def heartbeat(engine: Engine, attempt: Attempt, name: str, details: Any) -> None:
    """Ask whether an attempt still counts, and keep *details* for the next; it is called *name*."""
    text = None
    if details is not None:
        text = ANYTHING.dump(details, f"what a heartbeat of {name} says", OutputInvalid)
        text = payloads.checked(f"a heartbeat of {name}", text, engine.terms.max_payload)
    with _counting():
        engine.heartbeat(attempt, text)


def tag(engine: Engine, attempt: Attempt, name: str, tags: Mapping[str, str]) -> None:
    """Give the run of an attempt tags; it is called *name*."""
    try:
        given = checked_tags(tags)
    except InputInvalid as error:
        raise OutputInvalid(f"{name}: {error}") from None
    with _counting():
        engine.tag(attempt, given)


def unheard(_words: str) -> None:
    """Do nothing: nobody but the run keeps how far an attempt is."""


class Progress:
    """Keeps how far an attempt says it is: the newest value, at most a few times a second.

    What comes too soon after the one before is written a little later, by a thread of its own, so
    that also the last value is seen.  While the store is away nothing is, and nobody waits for it.
    """

    def __init__(
        self,
        engine: Engine,
        attempt: Attempt,
        name: str,
        tell: Callable[[str], None] = unheard,
    ) -> None:
        """*tell* is called with each value that was kept, in words; it must take no time."""
        self._engine, self._attempt, self._name, self._tell = engine, attempt, name, tell
        self._lock = threading.Lock()
        self._newest = ""  # what is yet to be written
        self._free_at = float("-inf")  # when the next may be written, by the engine's clock
        self._later: threading.Timer | None = None
        self._refused: CommandRefused | None = None

    def __call__(self, done: float, total: float | None, text: str) -> None:
        """Keep a value, now or soon; raise OutputInvalid, LeaseLost or Stopping."""
        told = _progress_text(self._name, self._attempt.delivery.attempt, done, total, text)
        with self._lock, _counting():
            if self._refused is not None:  # as the thread was told
                raise self._refused
            self._newest = told
            wait = self._free_at - self._engine.clock()
            if wait <= 0:
                self._write()
            elif self._later is None:
                self._later = threading.Timer(wait, self._write_later)
                self._later.daemon = True
                self._later.start()

    def _write(self) -> None:
        told, self._newest = self._newest, ""
        if not told:
            return
        self._free_at = self._engine.clock() + self._engine.progress_pace
        try:
            self._engine.note_progress(self._attempt, told)
        except StoreError as error:  # no step fails because nobody could look at it
            log.debug("%s: its progress could not be kept: %s", self._name, error)
        else:
            self._tell(clean(str(as_told(json.loads(told), self._attempt.delivery.attempt))))

    def _write_later(self) -> None:
        with self._lock:
            self._later = None
            try:
                self._write()
            except CommandRefused as refused:  # it may have ended meanwhile: nobody is told then
                self._refused = refused
            except RunNotFound as gone:
                log.debug("%s: its run is gone: %s", self._name, gone)


_LONGEST_TEXT = 200  # characters of what a progress says


def _progress_text(name: str, attempt: int, done: Any, total: Any, text: Any) -> str:
    """A progress as it is kept; raise OutputInvalid for what is none."""
    for number in (done, total):
        fits = isinstance(number, int | float) and not isinstance(number, bool)
        if not (fits and 0 <= number <= _MOST) and not (number is None and number is not done):
            raise OutputInvalid(
                f"a progress of {name} is two numbers, of which the second may be left out, not "
                f"{number!r}: ctx.progress(3, 10, 'labels printed')"
            )
    if not isinstance(text, str):
        raise OutputInvalid(f"what a progress of {name} says is text, not {text!r}")
    told = text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
    told = told.encode(errors="replace").decode()  # half of a character cannot be shown
    return json.dumps([attempt, done, total, told])


_MOST = 10**15  # of what a progress counts: every program can read it, and no text is long


class Token:
    """Gives out the token of an attempt: the same, however often it is asked for."""

    def __init__(self, engine: Engine, attempt: Attempt, name: str) -> None:
        self._engine, self._attempt, self._name = engine, attempt, name
        self._token = ""

    def __call__(self) -> str:
        """Return the token; the first time, keep its digest with the run."""
        attempt = self._attempt
        problem = later_misplaced(attempt.node, attempt.delivery.phase)
        if problem:
            raise CommandRefused("wrong_direction", f"{self._name} has no token: {problem}")
        if not self._token:
            with _counting():
                self._token = self._engine.give_token(attempt)
        return self._token


@contextmanager
def _counting() -> Iterator[None]:
    """Tell a body, as an error that ends it, that its attempt no longer counts."""
    try:
        yield
    except CommandRefused as refused:
        if refused.reason == "too_many_tags":
            raise
        if refused.reason == "stopping":
            raise Stopping(str(refused)) from None
        raise LeaseLost(refused.reason, str(refused)) from None
