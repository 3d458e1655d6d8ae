"""One storm over several runs, and what must hold of it in the end.

Owns: what people do meanwhile (start again, cancel, retry what is owed), and the checks: I1 to I9
of history and ledger, L1 of the time after the storm.  Refuses to know: how trouble is made.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from celeriac import CommandRefused, RunNotFound, RunStatus, StoreUnavailable
from celeriac.machine import PhaseStatus, as_visited
from celeriac.settings import Settings
from celeriac.testing import Lab, Odds
from celeriac.testing.audit import audit
from tests.testing.sagas import KINDS, fresh, ledger

if TYPE_CHECKING:
    from celeriac import Event, Saga
    from celeriac.machine import Plan
    from celeriac.testing import LabRun, Storm

LASTS = 120_000  # ms
RUNS = 4
# A body, a stopped process and a backoff may each last so long into the fair workload (ms).
LEASE, GRACE, SWEEP, BACKOFF, LONGEST_PATIENCE = 15_000, 5_000, 1_000, 5_000, 60_000
STILL = LEASE + GRACE + 2 * SWEEP + LONGEST_PATIENCE + BACKOFF


ROUGH = Odds()
#: Requests arrive late all the time, and what they are for is given up.
TARDY = Odds(late=0.3, abort=0.12)
#: Nobody dies: whoever was given up reports in the end, so that generations alone must do.
GENTLE = Odds(kill=0, late=0, stop=0.12, abort=0.12)


class RandomWorkload:
    """A storm, from its seed; a gentle one is over participants that keep no tombstones."""

    def __init__(self, seed: int, odds: Odds = ROUGH) -> None:
        self.seed, self.odds, self.seen = seed, odds, Counter[str]()
        fresh(tombstones=odds is not GENTLE)
        # In every third storm, workers run ahead.
        self.lab = Lab(Settings(run_ahead=5 if seed % 3 == 2 else 0))
        self.runs: dict[str, Saga[str, Any]] = {}

    def live(self) -> RandomWorkload:
        """Let the storm rage and pass; raise AssertionError for all that is wrong then."""
        storm = self._begin()
        self.lab.run()
        self._settle_owed()
        try:
            for run_id, saga in self.runs.items():
                self._check(run_id, saga)
        except (AssertionError, RunNotFound) as error:
            kind = "gentle" if self.odds is GENTLE else "rough"
            raise AssertionError(
                f"seed {self.seed} ({kind}): {error}\n{self.lab.story()}"
            ) from error
        self._count(storm)
        return self

    # --- what people do ------------------------------------------------------------------------

    def _begin(self) -> Storm:
        first = KINDS[self.seed % len(KINDS)]
        self.runs["run-0"] = first
        self.lab.start(first, "order 0", id="run-0")
        storm = self.lab.storm(self.seed, lasts=LASTS / 1000, odds=self.odds)
        for number in range(1, RUNS):
            saga = storm.dice.choice(KINDS)
            self.runs[f"run-{number}"] = saga
            self._start(saga, number)
            self.lab.advance(storm.dice.choice((0.001, 0.01, 1, 10)))
        for _ in range(storm.dice.randrange(4)):
            self._meddle(storm)
            self.lab.advance(storm.dice.choice((0.001, 0.01, 1, 10)))
        self.lab.advance(LASTS / 1000)
        for number, saga in enumerate(self.runs.values()):
            self._start(saga, number)  # whoever got no answer asks again, with the same id
        return storm

    def _start(self, saga: Saga[str, Any], number: int) -> None:
        known = len(self.lab.world.store.runs())
        with suppress(StoreUnavailable):
            self.lab.start(saga, f"order {number}", id=f"run-{number}")
        self.seen["started twice"] += known == len(self.lab.world.store.runs())

    def _meddle(self, storm: Storm) -> None:
        run_id = storm.dice.choice(sorted(self.runs))
        verb = storm.dice.choice(("cancel", "cancel", "pause"))
        self._ask(run_id, verb)
        if verb == "pause":
            self.lab.advance("5s")
            self._ask(run_id, "resume")

    def _ask(self, run_id: str, verb: str) -> None:
        with suppress(RunNotFound, CommandRefused, StoreUnavailable):
            self.seen[verb] += getattr(self.lab.find(run_id), verb)(reason="the workload")

    def _settle_owed(self) -> None:
        """An operator retries what is owed and resumes what is held; one may lead to the other."""
        # Children too: one may come to owe something when its parent is at rest.
        known = [run.id for run in self.lab.world.store.runs()]
        for run_id in [*known, *known]:
            run = self.lab.find(run_id)
            if run.status == "failed":
                self.seen["owed"] += 1
                run.retry(reason="all is well")
            if run.status == "paused":
                run.resume(reason="all is well")
            self.lab.run()

    # --- what must hold ------------------------------------------------------------------------

    def _check(self, run_id: str, saga: Saga[str, Any]) -> None:
        run, plan = self.lab.find(run_id), saga.planned.plan
        assert run.status in ("completed", "compensated"), f"{run!r} has not ended well"
        events = run.history()
        broken = audit(plan, events)
        assert not broken, f"{run!r}: {broken}"
        names = self._with_effect(run_id, plan)
        keys = {key for key in ledger.live if key.startswith(f"{run_id}:")}
        if run.status is RunStatus.COMPLETED:
            assert keys == {f"{run_id}:{name}" for name in names}, "I1: what stands"
            undone = [key for verb, key in ledger.log if verb == "undo" and key in keys]
            assert not undone, "I1: undone, and completed"
        else:
            assert not keys, "I1: what stands after all is undone"
        assert max(Counter(ledger.made).values(), default=1) == 1, "I2: two effects of one key"
        self._check_reports(run_id, events)
        self._check_pace(events)
        self._check_children(run)

    def _check_children(self, run: LabRun[Any]) -> None:
        """I22: each child has ended as its parent has, and that knows of it."""
        store = self.lab.world.store
        for step in run.state().steps:
            child = store.look(step.child).run if step.child else None
            if child is not None:
                broken = audit(store.plan(child.id, child.plan), store.history(child.id))
                assert not broken, f"{child.id}: {broken}"
                assert child.status == run.status, f"I22: {child.id} is {child.status}"
                assert not child.untold, f"{child.id} has not told its parent"

    def _with_effect(self, run_id: str, plan: Plan) -> set[str]:
        """The steps that were done, each element of a map by itself; an answer is no effect."""
        found = self.lab.world.store.look(run_id).run
        assert found is not None
        plan = as_visited(plan, found)
        done = {name for name, step in found.steps.items() if step.do.state is PhaseStatus.DONE}
        aside = (
            name for name in done if (node := plan.node(name)).choice or node.map or node.child
        )
        return done - set(aside)

    def _check_reports(self, run_id: str, events: list[Event]) -> None:
        """I4: whatever was reported and taken is in the history, however late it came."""
        kinds = ("completed", "failed", "late", "skipped")
        noted = {(e.step, e.phase, e.attempt) for e in events if e.kind.value in kinds}
        for e in events:
            if e.kind.value == "postponed":  # one event for several in a row
                first = e.attempt - e.data.get("count", 1) + 1
                noted |= {(e.step, e.phase, number) for number in range(first, e.attempt + 1)}
        taken = {d[2:5] for d in self.lab.world.observed.reported if d.run_id == run_id}
        assert taken <= noted, f"I4: reported, and not in the history: {taken - noted}"

    def _check_pace(self, events: list[Event]) -> None:
        """L1: no run stands still for long once the storm is over."""
        calm = self.lab.world.began + LASTS + 3 * LEASE
        times = [event.at for event in events if event.at >= calm]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gaps, default=0) <= STILL, "L1: stood still for too long"

    def _count(self, storm: Storm) -> None:
        self.seen.update(storm.happened)
        self.seen.update(f"refused: {reason}" for reason in self.lab.world.observed.refused)
        for _, event in self.lab.world.observed.events:
            self.seen[event.kind.value] += 1
            if event.data.get("late") or event.data.get("outcome") == "completed":
                self.seen["late success"] += event.kind.value in ("late", "completed")
        self.seen["forbidden"] += sum(verb == "forbidden" for verb, _ in ledger.log)
        self.seen["double sweep"] += self.lab.world.observed.double_sweeps
        self.seen["in one storm"] = 1
