"""The doctor: is this installation one in which the promises hold?  And if not, what to do.

Owns: the table of all checks, and an examination: facts are gathered, each check looks at them.
Refuses to know: who asks, and how findings are printed.

`facts` alone asks servers and workers, each within a time limit; a check is a small function of
facts, so it cannot hang, and a fact that nobody may see is a finding and no crash.

Its files, from the ground up::

    acl | findings | formatting | store_contents < server < facts
    < broker | clusters | configured | durability < workers < sweep | gates
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from celeriac.doctor import broker, clusters, configured, durability, gates, sweep, workers
from celeriac.doctor.acl import User, users
from celeriac.doctor.facts import NOBODY, gather
from celeriac.doctor.findings import Check, Finding, Severity, all_checks, finding_document
from celeriac.observing import clean, log
from celeriac.workers import masked, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from celeriac.doctor.facts import Facts
    from celeriac.doctor.findings import Area
    from celeriac.workers import Runtime

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Report",
    "Severity",
    "User",
    "examine",
    "finding_document",
    "judge",
    "start_checkup",
    "users",
]

#: Every check by its id: first what would be in the way of all others.
CHECKS: dict[str, Check[Facts]] = all_checks(
    *(durability.TABLE, clusters.TABLE, configured.TABLE, broker.BROKER),
    *(workers.WORKERS, sweep.SWEEP, gates.GATES),
)
_ORDER = list(Severity)
_SERVERS = ("redis", "broker")
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_AT_START: frozenset[Area] = frozenset({"app", "redis"})


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination came to, the worst first."""

    findings: Sequence[Finding]

    def count(self, severity: Severity) -> int:
        """How many findings are as bad as that."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def failed(self) -> bool:
        """True if there is an error."""
        return self.count(Severity.ERROR) > 0

    @property
    def cut_off(self) -> bool:
        """True if the state Redis or the broker was needed and could not be reached."""
        return any(
            each.told_by in _SERVERS or (each.check in _SERVERS and each.severity is Severity.ERROR)
            for each in self.findings
        )

    def shown(self, *, verbose: bool = False) -> list[Finding]:
        """What people need to see: not what is well, and no reason twice; all if *verbose*."""
        telling = {each.check for each in self.findings} | {NOBODY}
        return [
            each
            for each in self.findings
            if verbose or (each.severity is not Severity.OK and each.told_by not in telling)
        ]

    @property
    def summary(self) -> str:
        """How many there are of each kind, in a line."""
        return ", ".join(_counted(self.count(each), each) for each in _ORDER if self.count(each))


def _counted(number: int, severity: Severity) -> str:
    plural = severity in (Severity.ERROR, Severity.WARNING) and number != 1
    return f"{number} {severity}{'s' if plural else ''}"


def examine(runtime: Runtime, only: Collection[str] = (), skip: Collection[str] = ()) -> Report:
    """Look at everything, or at the checks *only*, and never at those to *skip*.

    Asks the state Redis, the broker and the workers, changes nothing, and takes a few seconds
    whoever does not answer.  Raises ConfigurationError where there is no Redis to ask.
    """
    wanted = {id_: row for id_, row in CHECKS.items() if (not only or id_ in only)}
    return _examine(runtime, [row for id_, row in wanted.items() if id_ not in skip])


def _examine(runtime: Runtime, checks: Sequence[Check[Facts]]) -> Report:
    # What workers say is compared with what the state Redis knows.
    areas: set[Area] = {row.area for row in checks}
    if areas & {"broker", "workers"}:
        areas |= {"broker", "redis"}
    elif areas:
        areas.add("redis")
    return judge(gather(runtime, frozenset(areas)), checks)


def judge(facts: Facts, checks: Sequence[Check[Facts]] = tuple(CHECKS.values())) -> Report:
    """Let *checks* look at *facts*."""
    hidden = secrets_of(facts.conf)
    findings = [finding for check in checks for finding in _found(check, facts)]
    told = [_told(finding, lambda text: clean(masked(text, hidden))) for finding in findings]
    return Report(sorted(told, key=lambda finding: _ORDER.index(finding.severity)))


def _found(check: Check[Facts], facts: Facts) -> list[Finding]:
    """What a check finds; of a cluster, at each node of it."""
    if check.area != "redis" or not facts.nodes:
        return check.findings(facts)
    by_node = {
        name: check.findings(replace(facts, server=server)) for name, server in facts.nodes.items()
    }
    first = next(iter(by_node.values()))
    if all(found == first for found in by_node.values()):
        return first  # it is not about a node
    return [
        replace(each, text=f"{name}: {each.text}")
        for name, found in by_node.items()
        for each in found
        if each.severity is not Severity.OK
    ]


def _told(finding: Finding, safe: Callable[[str], str]) -> Finding:
    return Finding(
        finding.check, finding.severity, safe(finding.text), safe(finding.advice), finding.told_by
    )


# --- when a worker starts ------------------------------------------------------------------------


def start_checkup(runtime: Runtime) -> threading.Thread:
    """Log once what is wrong with configuration and state Redis, from a thread of its own.

    A worker starts no later for it, and whatever is found or goes wrong here stops none.
    """
    thread = threading.Thread(target=_checkup, args=(runtime,), name="celeriac-doctor", daemon=True)
    thread.start()
    return thread


def _checkup(runtime: Runtime) -> None:
    try:
        report = _examine(runtime, [row for row in CHECKS.values() if row.area in _AT_START])
    except Exception as error:  # noqa: BLE001 -- no opinion of ours may end a worker
        log.warning("the doctor could not look: %s", type(error).__name__)
        return
    for finding in report.findings:
        if finding.severity in _LEVELS:
            tell: Any = getattr(log, _LEVELS[finding.severity])
            tell("doctor: %s: %s. %s", finding.check, finding.text, finding.advice)
    log.info("the doctor has looked: %s (celery -A … saga doctor looks further)", report.summary)
