"""The words of the doctor: checks, and what they find.

Owns: how a check is declared, the one table of them, how bad a finding is, and what stands for a
fact that nobody could see.  Refuses to know: where facts come from and what is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F = TypeVar("F")
#: What a check looks at: this app's configuration, the state Redis, the broker, the workers.
Area = Literal["app", "redis", "broker", "workers"]


class Severity(StrEnum):
    """How bad a finding is, the worst first."""

    ERROR = "error"  # a promise does not hold, or runs stand still
    WARNING = "warning"  # it holds until something else goes wrong
    INFO = "info"  # good to know
    UNCHECKED = "unchecked"  # nobody could look
    OK = "ok"


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


class Unseen(Exception):
    """A fact that could not be seen, and why.  Kept in the fact's place, raised when it is used.

    `told_by` is the check that tells of it already: the others need not repeat it.
    """

    def __init__(self, why: str, told_by: str | None = None) -> None:
        super().__init__(why)
        self.why, self.told_by = why, told_by


T = TypeVar("T")


def seen(fact: T | Unseen) -> T:
    """Return *fact*, or raise the Unseen that stands for it."""
    if isinstance(fact, Unseen):
        raise fact
    return fact


class Remark(NamedTuple):
    """What a check yields where it finds another severity or advice than its usual."""

    severity: Severity
    text: str
    advice: str = ""  # '' is the check's own


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    check: str
    severity: Severity
    text: str  # what was found, or what is well
    advice: str = ""  # what to do
    told_by: str | None = None  # unchecked: another finding says why


def finding_document(finding: Finding) -> dict[str, Any]:
    """A finding as programs get it."""
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "found": finding.text,
        "advice": finding.advice or None,
    }


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """A row of the table: one question, and what to do if the answer is bad."""

    id: str
    about: str  # what is so when all is well, as a sentence
    severity: Severity  # of what it finds, unless it says otherwise
    advice: str  # what to do
    by_hand: str  # where to look when it cannot be checked
    area: Area
    look: Callable[[F], Iterator[str | Remark]]

    def findings(self, facts: F) -> list[Finding]:
        """What it finds in *facts*: at least one, which says that all is well if nothing else."""
        found = []
        try:
            for remark in self.look(facts):
                found.append(self._finding(remark))  # noqa: PERF401 -- what came first is kept
        except Unseen as unseen:
            found.append(self._unchecked(unseen))
        except Exception as error:  # noqa: BLE001 -- no answer of a server may end an examination
            found.append(self._unchecked(Unseen(f"{type(error).__name__}: {error}")))
        return found or [Finding(self.id, Severity.OK, self.about)]

    def _unchecked(self, unseen: Unseen) -> Finding:
        text, advice = f"could not be checked: {unseen.why}", f"Look by hand: {self.by_hand}."
        return Finding(self.id, Severity.UNCHECKED, text, advice, unseen.told_by)

    def _finding(self, remark: str | Remark) -> Finding:
        if isinstance(remark, str):
            return Finding(self.id, self.severity, remark, self.advice)
        return Finding(self.id, remark.severity, remark.text, remark.advice or self.advice)


class Table(Generic[F]):
    """Checks by id, in the order in which they are declared."""

    def __init__(self, area: Area) -> None:
        self.rows: dict[str, Check[F]] = {}
        self._area: Area = area

    def check(
        self,
        id: str,  # noqa: A002 -- the word of the table
        *,
        about: str,
        severity: Severity,
        advice: str,
        by_hand: str,
    ) -> Callable[[Callable[[F], Iterator[str | Remark]]], Check[F]]:
        """Declare the function below to be a check: it yields what is wrong, if anything is."""

        def declare(look: Callable[[F], Iterator[str | Remark]]) -> Check[F]:
            row = Check(id, about, severity, advice, by_hand, self._area, look)
            self.rows[id] = row
            return row

        return declare


def all_checks(*tables: Table[Any]) -> dict[str, Any]:
    """The checks of several tables by id, in order; an id stands for one check."""
    rows = [row for table in tables for row in table.rows.items()]
    assert len(dict(rows)) == len(rows)
    return dict(rows)
