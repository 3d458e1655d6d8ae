"""The crash explorer: a saga through everything that can happen, one thing at a time, and two.

Owns: which schedules are tried, in which order and within which budget, and what counts as wrong in
the end.  Refuses to know: how things go wrong (`lab`), and what the saga is for: that is `check`.
"""

from __future__ import annotations

import time
import traceback
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any

from celeriac.errors import SagaError
from celeriac.machine import in_any_visit
from celeriac.testing.audit import audit
from celeriac.testing.exploration_progress import shown
from celeriac.testing.faults import Course, PossibleFault, course_of, paths_of, possible_faults
from celeriac.testing.generated_test import Case, Wrong, write_test
from celeriac.testing.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.failure import Failure
    from celeriac.sagas import Saga
    from celeriac.settings import Settings
    from celeriac.testing.lab_sagas import LabRun

    Check = Callable[[LabRun[Any]], object]

Schedule = tuple[PossibleFault, ...]
_LEVELS = ("paths", "with one fault", "with two faults")


@dataclass(frozen=True, slots=True)
class Finding:
    """A schedule under which something is wrong in the end."""

    problem: str
    schedule: Schedule
    story: str
    test: str  # Python, to be pasted into a test file

    @property
    def size(self) -> tuple[int, int]:
        """How much has to go wrong, and how long the story is."""
        return len(self.schedule), self.story.count("\n")


@dataclass(slots=True)
class Level:
    """What was tried of the schedules with so many faults."""

    name: str
    tried: int = 0
    possible: int = 0
    left_out: str = ""  # why the rest was not tried


@dataclass(slots=True, repr=False)
class Report:
    """What an exploration found, and what it covered; true to what was left out."""

    saga: str
    levels: list[Level] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    missed: int = 0  # schedules whose fault was not reached: the steps behaved differently
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True if nothing was found wrong; look at the report for what was not tried."""
        return not self.findings

    @property
    def shortest(self) -> Finding | None:
        """The finding with the fewest faults, and of those the one with the shortest story."""
        return min(self.findings, key=lambda finding: finding.size, default=None)

    @property
    def tried(self) -> int:
        """How many schedules were tried."""
        return sum(level.tried for level in self.levels)

    def __repr__(self) -> str:
        found = f"{len(self.findings)} wrong" if self.findings else "all right"
        return f"<Report of {self.saga}: {self.tried} schedules, {found}; print it for the story>"

    def __str__(self) -> str:
        verdict = f"{len(self.findings)} are wrong in the end" if self.findings else "all are right"
        told = [f"{self.saga}: {self.tried} schedules in {self.seconds:.1f} s, {verdict}"]
        told += [_row(level) for level in self.levels]
        told += [f"  {name:16} not tried" for name in _LEVELS[len(self.levels) :]]
        if self.missed:
            told.append(
                f"  {self.missed} did not come to their fault: do the steps behave the same each "
                "time?"
            )
        found = self.shortest
        if found is not None:
            told += ["", f"The shortest: {found.problem}", "", found.story]
            told += ["", "As a test, to paste:", "", found.test]
        return "\n".join(told)


def explore(
    saga: Saga[Any, Any],
    *inputs: Any,
    check: Check | None = None,
    fresh: Callable[[], object] | None = None,
    pairs: bool = True,
    most: int = 20_000,
    seconds: float = 30.0,
    settings: Settings | None = None,
    meanwhile: Callable[[LabRun[Any]], object] | None = None,
) -> Report:
    """Run *saga* through every crash, lost, doubled and late message, zombie and late effect.

    First every path (all is well, each step fails in each way, all is cancelled in the end), then
    each with one fault at every point, a cancel among them, then, if all was right so far and
    *pairs* is true, with two.  *check* gets the run at rest and looks at the world: it raises, as
    an assert does, if that is not as it should be.  *fresh* is called before each schedule, and
    makes the world new.  *most* schedules are tried, for so many *seconds* of real time; the
    report tells what was not.  On a terminal a bar shows how far it is; elsewhere the logger
    `celeriac.testing.explore` says (INFO) how many schedules there are and how long they will take.

    *meanwhile* is called with a run that waits, and sends it what it waits for; without, and where
    nothing comes of that, time passes until the wait is over.

    Wrong are also: a run that does not come to rest, and one whose compensation gives up.
    """
    exploration = _Exploration(saga, inputs, check, fresh, settings, meanwhile or _nothing)
    return exploration.explore(pairs, most, seconds)


def _nothing(_run: LabRun[Any]) -> None:
    """Send nothing to a run that waits."""


class _Exploration:
    def __init__(
        self,
        saga: Saga[Any, Any],
        inputs: Sequence[Any],
        check: Check | None,
        fresh: Callable[[], object] | None,
        settings: Settings | None,
        meanwhile: Callable[[LabRun[Any]], object],
    ) -> None:
        self._meanwhile = meanwhile
        self._waits = any(node.wait for node in saga.planned.plan.nodes)
        self._saga, self._inputs, self._check, self._fresh = saga, inputs, check, fresh
        self._settings = settings
        self._report = Report(saga.name)
        self._most, self._until, self._played = 0, 0.0, 0
        self._began = 0.0

    def explore(self, pairs: bool, most: int, seconds: float) -> Report:
        self._began = time.monotonic()
        self._most, self._until = most, self._began + seconds
        schedules: Sequence[Schedule] = paths_of(self._saga.planned.plan)
        for name in _LEVELS if pairs else _LEVELS[:2]:
            level = Level(name, possible=len(schedules))
            self._report.levels.append(level)
            courses = self._try(level, schedules)
            if level.left_out or self._report.findings:
                break
            schedules = _More(courses)
        self._report.seconds = time.monotonic() - self._began
        return self._report

    def _try(self, level: Level, schedules: Sequence[Schedule]) -> list[tuple[Schedule, Course]]:
        """Try all schedules of one level; return their courses, for the next one to begin from."""
        found = []
        # In no order, so that a budget that is used up has seen something of everything.
        order = Random(0).sample(range(len(schedules)), len(schedules))  # noqa: S311 -- no secret
        spent = time.monotonic() - self._began
        rate = self._played / spent if self._played and spent else None
        what = f"{self._report.saga}, {level.name}"
        for number in shown(order, what, rate=rate, left=max(self._until - time.monotonic(), 0)):
            schedule = schedules[number]
            level.left_out = self._used_up()
            if level.left_out:
                break
            level.tried += 1
            course = self._play(schedule)
            if course is not None and level.name != _LEVELS[-1]:
                found.append((schedule, course))
        return found

    def _used_up(self) -> str:
        if self._played >= self._most:
            return f"most={self._most} schedules were tried"
        return "the time was used up" if time.monotonic() >= self._until else ""

    # --- one schedule --------------------------------------------------------------------------

    def _play(self, schedule: Schedule) -> Course | None:
        """Try one schedule; return its course, or None if there is no point in going on from it."""
        self._played += 1
        # Without a new world for each, the keys of this run must be its own.
        run_id = "run-1" if self._fresh else f"run-{self._played}"
        if self._fresh:
            self._fresh()
        lab = Lab(self._settings)
        armed = [(each, each.arm(lab, run_id)) for each in schedule]
        meanwhile = self._meanwhile if self._waits else None
        case = Case(
            self._saga,
            self._inputs,
            schedule,
            self._check,
            self._fresh,
            run_id,
            meanwhile=meanwhile,
        )
        wrong, starts = self._live(lab, case)
        if wrong is not None:
            test = write_test(replace(case, starts=starts), wrong)
            self._report.findings.append(Finding(wrong.what, schedule, lab.story(), test))
            return None
        # What a path forces may be forestalled by a fault; a fault has its place, and got there.
        if any(each.place >= 0 and fault and not fault.happened for each, fault in armed):
            self._report.missed += 1
            return None
        return course_of(lab.world)

    def _live(self, lab: Lab, case: Case) -> tuple[Wrong | None, int]:
        """Let the run live; return what is wrong in the end, and how often it was started."""
        starts = 1
        try:
            run = lab.start(self._saga, *self._inputs, id=case.run_id)
            while lab.world.store.look(case.run_id).run is None:
                starts += 1
                run = lab.start(self._saga, *self._inputs, id=case.run_id)
            lab.run(partial(self._meanwhile, run))
            for fault in case.schedule:
                fault.afterwards(lab, run)
        except SagaError:
            raise  # the input is wrong, or the app: no schedule can help
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is what was found
            return Wrong(f"{type(error).__name__}: {_first_line(error)}"), starts
        return self._wrong(run), starts

    def _wrong(self, run: LabRun[Any]) -> Wrong | None:
        """Return what is wrong with a run at rest."""
        state = run.state()
        broken = audit(self._saga.planned.plan, run.history())
        if broken:
            what = f"Celeriac itself broke a promise: {'; '.join(broken)}"
            return Wrong(what, "assert audit({saga}.planned.plan, run.history()) == []")
        if not state.status.at_rest:
            return Wrong(f"it does not come to rest: {run!r}", "assert run.status.at_rest")
        for step in state.steps:
            failure = step.undo_failure
            if failure and step.name in state.owed and not self._by_design(step.name, failure):
                what = f"{failure.type}: {failure.message}"
                return Wrong(
                    f"the compensation of {step.name} gave up ({what})",
                    'assert run.status != "failed"',
                )
        return self._checked(run)

    def _by_design(self, step: str, failure: Failure) -> bool:
        """True if an operator is to look at what became of the undo, as the step says."""
        node = self._saga.planned.plan.node(in_any_visit(step))
        return node.on_unknown == "operator" and failure.code in ("lost", "timeout")

    def _checked(self, run: LabRun[Any]) -> Wrong | None:
        if self._check is None:
            return None
        try:
            self._check(run)
        except Exception as error:  # noqa: BLE001 -- a check says so by raising, whatever it raises
            return Wrong(_complaint(error), "{check}(run)")
        return None


class _More(Sequence[Schedule]):
    """Every schedule with one fault more, each after those it has; made when asked for."""

    def __init__(self, courses: Sequence[tuple[Schedule, Course]]) -> None:
        self._courses = courses
        self._ends = list(accumulate(len(self._offered(number)) for number in range(len(courses))))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: Any) -> Any:
        place = bisect_right(self._ends, number)
        begin = self._ends[place - 1] if place else 0
        return (*self._courses[place][0], self._offered(place)[number - begin])

    def _offered(self, number: int) -> list[PossibleFault]:
        schedule, course = self._courses[number]
        return list(possible_faults(course, max((each.place for each in schedule), default=-1)))


def _row(level: Level) -> str:
    rest = f"; not tried: {level.possible - level.tried:,} ({level.left_out})"
    return f"  {level.name:16} {level.tried:7,} of {level.possible:7,}" + (
        rest if level.left_out else ""
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _complaint(error: Exception) -> str:
    """What a check complains about: its message, or the line that says it."""
    message = _first_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    line = (frames[-1].line or "") if frames else ""
    if isinstance(error, AssertionError):
        return message or line
    return f"the check raised {type(error).__name__}: {message}"
