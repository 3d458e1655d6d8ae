"""Before and during a command for many runs: the question, and how far it is.

Owns: asking people on a terminal, and showing progress on stderr.  Refuses to know: what is done
to the runs.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from celeriac.observing import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Progress(Protocol):
    """How far something is."""

    @property
    def matched(self) -> int:
        """How many runs it is about."""

    @property
    def done(self) -> int:
        """How many of them had their turn."""


_LINES = 10  # where nobody watches: so many lines of progress, however many runs


def ask(verb: str, kinds: Sequence[tuple[str, str, int]]) -> None:
    """Say which runs it is about and go on if somebody says yes; else nothing has been changed.

    *kinds* are saga, status and count.  Where nobody can be asked it takes `--yes`.
    """
    total = sum(count for _, _, count in kinds)
    for saga, status, count in kinds:
        click.echo(f"{count:>8}  {clean(saga)} {status}", err=True)
    runs = f"{total} run{'' if total == 1 else 's'}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"this is about {runs}, and nobody can confirm it: add --yes")
    click.confirm(f"{verb} {runs}?", abort=True, err=True)


@contextmanager
def progress(verb: str, total: int) -> Iterator[Callable[[Progress], None]]:
    """Show on stderr how far it is: a bar on a terminal, else now and then a line."""
    if sys.stderr.isatty():
        with click.progressbar(length=total, label=verb, file=sys.stderr) as bar:
            yield lambda tally: bar.update(tally.done - bar.pos)
    else:
        yield _Lines(verb, total)


class _Lines:
    """Progress as lines: one for each tenth, and one when it is done; of few runs, only that."""

    def __init__(self, verb: str, total: int) -> None:
        self._verb, self._total, self._told = verb, total, 0
        self._every = total / _LINES if total > _LINES else total

    def __call__(self, tally: Progress) -> None:
        if tally.done - self._told >= self._every or tally.done == self._total != self._told:
            self._told = tally.done
            click.echo(f"{self._verb}: {tally.done} of {tally.matched}", err=True)
