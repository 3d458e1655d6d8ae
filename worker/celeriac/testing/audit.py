"""What must hold of any history, told a second time, and not with the words of the state machine.

Owns: I1, I3, I5 to I8, I25 to I27 and L3 of docs/invariants.md, as rules about events alone.
Refuses to know: directions, tables of moves, and commands: it must not share a mistake with them.
The file is long because each kind of event has its few lines.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from celeriac.machine import EXPIRED, PHASES, EventKind, laid_out, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac.machine import Event, Node, Phase, Plan


def audit(plan: Plan, events: Iterable[Event]) -> list[str]:
    """Return what a history breaks, each with its invariant; empty is as it must be."""
    book, epoch, earlier = _Book(plan), 1, dict[int, _Book]()
    for event in events:
        if event.kind is EventKind.STARTED:
            epoch = event.data.get("epoch", 1)
        elif event.kind is EventKind.BEGAN_ANEW:
            earlier[epoch], epoch = book, epoch + 1
            book = book.next(event)
        elif event.kind is EventKind.REWOUND:
            earlier[epoch], epoch = book, epoch + 1
            book = book.rewound(event)
        about = earlier.get(event.data.get("try", 0), book)
        about.read(event)
    return book.found


class _Book:
    """What is known of a run so far, from its events alone."""

    def __init__(self, plan: Plan) -> None:
        self.whole, self.found, self.tries = plan, list[str](), 1
        self.heard: set[str] = set()  # signals that were accepted, over all lives of the id
        self._begin()

    def _begin(self) -> None:
        self.at_work: dict[tuple[str, Phase], int] = {}  # attempts that were claimed, not ended
        self.asked: set[tuple[str, Phase]] = set()  # those of them that wait for somebody outside
        self.claims: Counter[tuple[str, Phase]] = Counter()  # since the budget began
        self.done: set[str] = set()
        self.skipped: set[str] = set()  # by an operator, or by the step itself
        self.chosen: dict[str, str] = {}  # what was answered, by step
        self.untaken: dict[str, str] = {}  # signals that no wait has taken yet: name, by key
        self.maybe: set[str] = set()  # an attempt may have had its effect
        self.settled: set[str] = set()  # undone, waived, or given up
        self.owed: set[str] = set()  # given up, until an operator has seen to it
        self.order: list[str] = []  # steps in the order of their first claim; a map is one of them
        self.counted: dict[str, int] = {}  # how many elements a map has
        self.turned = False
        self.stands: set[str] = set()  # what is not undone, while it goes back to a step
        self.over = ""  # the step that has ended the run
        self.routes: tuple[tuple[str, str], ...] = ()  # who left a group, and for which
        self.plan = laid_out(self.whole, ())

    def next(self, event: Event) -> _Book:
        """The book of the try that begins: signals that nobody took are those of the run."""
        if self.at_work or not self.turned or self._to_undo():
            self._breaks("I25", event, "begins anew before all is undone")
        book = _Book(self.whole)
        book.found, book.heard, book.untaken = self.found, self.heard, self.untaken
        book.tries = self.tries + 1
        if book.tries > 1 + self.plan.retries:
            self._breaks("I25", event, f"is one try more than {1 + self.plan.retries}")
        return book

    def rewound(self, event: Event) -> _Book:
        """The book of what follows: what stands is known in it, and all else is forgotten."""
        if self.at_work or not self.turned or self._to_undo() or self.owed:
            self._breaks("I26", event, "goes forward again before all is undone")
        stands = self.stands
        if touched := {_unit(name) for name in self.settled} & stands:
            self._breaks("I26", event, f"keeps {', '.join(sorted(touched))}, which was undone")
        book = _Book(self.whole)
        book.found, book.heard, book.untaken = self.found, self.heard, self.untaken
        book.tries = self.tries
        book.routes = tuple(each for each in self.routes if each[0] in stands)
        book.plan = laid_out(self.whole, book.routes)
        for mine, kept in ((self.done, book.done), (self.skipped, book.skipped)):
            kept.update(each for each in mine if _unit(each) in stands)
        book.maybe = {each for each in self.maybe if _unit(each) in stands}
        book.chosen = {each: what for each, what in self.chosen.items() if _unit(each) in stands}
        book.order = [each for each in self.order if each in stands]
        book.counted = {each: many for each, many in self.counted.items() if each in stands}
        return book

    def read(self, event: Event) -> None:
        """Take the next event in."""
        reader = _READ.get(event.kind)
        if reader is not None:
            reader(self, event)

    def _breaks(self, invariant: str, event: Event, what: str) -> None:
        self.found.append(f"{invariant}: {event.phase} {event.step} #{event.attempt} {what}")

    # --- attempts ------------------------------------------------------------------------------

    def claimed(self, event: Event) -> None:
        """Somebody took an attempt."""
        direction = (event.step, event.phase)
        if direction in self.at_work:
            self._breaks("I3", event, f"is claimed beside #{self.at_work[direction]}")
        node = self.plan.node(event.step)
        if event.phase == "do":
            self._may_do(event, node)
        else:
            self._may_undo(event)
        self.at_work[direction] = event.attempt
        self._side_by_side(event)
        self.claims[direction] += 1
        most = node.policy(event.phase).max_attempts
        only_forward = event.phase == "do" and self._past_pivot()
        if most is not None and self.claims[direction] > most and not only_forward:
            self._breaks("L3", event, f"is one more than the {most} it may have")

    def _side_by_side(self, event: Event) -> None:
        """No more elements of a map are at work than it says."""
        whole = _unit(event.step)
        if whole not in self.counted:
            return
        numbers = {step.partition("]")[0] for step, _ in self.at_work if _unit(step) == whole}
        made = self.plan.by_name[whole].map
        if made and len(numbers) > made.concurrency:
            self._breaks("I18", event, f"is one element more than the {made.concurrency} at a time")

    def counts(self, event: Event) -> None:
        """It is known how many elements a map has."""
        node = self.plan.by_name[event.step]
        if event.step in self.counted:
            self._breaks("I18", event, "is counted a second time")
        self._in_turn(event, node)
        self.counted[event.step] = event.data["count"]

    def _may_do(self, event: Event, node: Node) -> None:
        whole = _unit(event.step)
        if whole != event.step:
            number = int(event.step[len(whole) + 1 :].partition("]")[0])
            if number >= self.counted.get(whole, 0):
                self._breaks("I18", event, f"is no element of {whole}")
        self._in_turn(event, node)
        self._visits(event)
        if whole not in self.order:
            self.order.append(whole)

    def _visits(self, event: Event) -> None:
        """A step belongs to the newest visit of a group, and has its number."""
        groups = [*self.whole.groups[:1], *(group for _, group in self.routes)]
        name, _, number = _unit(event.step).partition("~")
        here = groups and self.whole.by_name[name].group == groups[-1]
        if groups and not (here and int(number or 1) == groups.count(groups[-1])):
            self._breaks("I27", event, f"is no step of visit {len(groups)}, of {groups[-1]}")

    def _leaves(self, event: Event) -> None:
        """A step goes on with another group."""
        group = event.data.get("route")
        if group is None or self.turned:
            return
        if group not in self.whole.groups:
            self._breaks("I27", event, f"goes on with {group}, which there is not")
            return
        self.routes = (*self.routes, (event.step, group))
        self.chosen[event.step] = group
        self.plan = laid_out(self.whole, self.routes)

    def _in_turn(self, event: Event, node: Node) -> None:
        if self.turned:
            self._breaks("I8", event, "goes forward in a run that has turned round")
        if self.over and not node.confirms:
            self._breaks("I8", event, "goes forward in a run that a step has ended")
        if node.confirms and not self._joined(node.confirms):
            self._breaks("I16", event, f"although {node.confirms} has not joined")
        for guard in node.guards:
            if not guard.holds(self.chosen.get(guard.step, "")):
                self._breaks("I16", event, f"although {guard.step} has chosen otherwise")
        missing = {name for name in node.after if not self._passed(name)}
        if missing and not self.over:
            self._breaks("I8", event, f"comes before {', '.join(sorted(missing))} completed")

    def _past_pivot(self) -> bool:
        """True if the pivot has passed, or all is prepared that is confirmed together."""
        return any(map(self._has_passed, self.plan.turning_points))

    def _has_passed(self, pivot: Node) -> bool:
        if not pivot.confirms:
            return pivot.name in self.done | self.skipped
        if not self._joined(pivot.confirms):
            return False
        return bool(self.over) or (all(map(self._passed, pivot.after)) and self._guards_hold(pivot))

    def _joined(self, name: str) -> bool:
        """True if a step of two phases is to be confirmed."""
        return name in self.done and name != self.over

    def _passed(self, name: str) -> bool:
        """True if nobody need wait for a step any more."""
        if name in self.counted:
            nodes = self.plan.by_name[name].map
            assert nodes is not None
            names = [node.name for node in nodes.nodes]
            elements = range(self.counted[name])
            return all(self._passed(numbered(each, n)) for n in elements for each in names)
        return name in self.done or name in self.skipped or not self._is_chosen(name)

    def _is_chosen(self, name: str) -> bool:
        """False if the choice that a step depends on was made, and is another, or is none."""
        node = self.plan.node(name)
        joined = node.confirms is None or self._joined(node.confirms)
        return (joined or not self._passed(node.confirms or "")) and self._guards_hold(node)

    def _guards_hold(self, node: Node) -> bool:
        return all(
            guard.holds(self.chosen[guard.step])
            if guard.step in self.chosen
            else not self._passed(guard.step)
            for guard in node.guards
        )

    def _may_undo(self, event: Event) -> None:
        if not self.turned:
            self._breaks("I5", event, "undoes in a run that has not turned round")
        forward = [step for step, phase in self.at_work if phase == "do"]
        if forward:
            self._breaks("I7", event, f"undoes while {', '.join(forward)} may be at work")
        before = self._before(event.step) if event.attempt == 1 else []
        if _unit(event.step) in self.stands:
            self._breaks("I26", event, "is undone, and comes before what the run goes back to")
        if before:
            self._breaks("I8", event, f"undoes before {', '.join(before)} is undone")

    def _before(self, step: str) -> list[str]:
        """The steps that must have been undone before *step* is, and were not."""
        step, places = _unit(step), self._places()
        if self.plan.compensation_order == "parallel" or step not in places:
            return []
        others = {_unit(name) for name in self._to_undo()} - {step}
        if self.plan.compensation_order == "graph":
            return sorted(self._behind(step) & others)
        forward = self.plan.compensation_order == "forward"
        return [name for name in others if (places[name] < places[step]) is forward]

    def _places(self) -> dict[str, int]:
        """Where what is undone stands in the order of start; a scope where its first step does."""
        found: dict[str, int] = {}
        for place, name in enumerate(self.order):
            found.setdefault(self.plan.scope_of.get(name, name), place)
        return found

    def _behind(self, step: str) -> set[str]:
        """What is undone of what waited for this one, directly or not."""
        inside = set(self.plan.by_name[step].covers) or {step}
        found = set(inside)
        for node in self.plan.steps:  # in a plan, what a step waits for comes before it
            if found & set(node.after):
                found.add(node.name)
        return {self.plan.scope_of.get(name, name) for name in found - inside}

    def _to_undo(self) -> set[str]:
        acted = {name for name in self.done | self.maybe if _unit(name) not in self.stands}
        wanted = {self.plan.undoer_of(name) for name in acted}
        return {name for name in wanted if name} - self.settled

    def completed(self, event: Event) -> None:
        """An attempt succeeded, perhaps late."""
        self._ended(event)
        if event.data.get("ends") and not (self.turned or self.over):
            self.over = event.step
        (self.done if event.phase == "do" else self.settled).add(event.step)
        self.owed -= {event.step} if event.phase == "undo" else set()
        self._leaves(event)
        self.chosen.update({event.step: event.data["choice"]} if "choice" in event.data else {})

    def failed(self, event: Event) -> None:
        """An attempt failed, or nobody knows what became of it."""
        if self.plan.node(event.step).reads_first:
            return  # what it begins with could not be read, which takes no attempt
        if event.data.get("code") == EXPIRED and not event.attempt:
            if self.claims[event.step, event.phase] or event.data.get("effect") is not False:
                self._breaks("I28", event, "expires although somebody has taken it up")
            return
        self._ended(event)
        if event.phase == "do" and event.data.get("effect") is not False:
            self.maybe.add(event.step)
        if event.phase == "undo" and "retry" not in event.data:
            self.settled.add(event.step)  # owed, which is an end too
            self.owed.add(event.step)

    def postponed(self, event: Event) -> None:
        """The step cannot say yet: several in a row may have one event, that of the newest."""
        direction = (event.step, event.phase)
        if self.at_work.pop(direction, event.attempt + 1) > event.attempt:
            self._breaks("I3", event, "is postponed without having been at work")
        self.claims[direction] -= 1
        if event.phase == "do" and event.data.get("effect") is not False:
            self.maybe.add(event.step)

    def deferred(self, event: Event) -> None:
        """The result of an attempt comes from outside: nobody is at it, and it has not ended."""
        self.said_early(event)
        self.asked.add((event.step, event.phase))

    def said_early(self, event: Event) -> None:
        """Somebody outside has said how an attempt ends, while it is at work."""
        if self.at_work.get((event.step, event.phase)) != event.attempt:
            self._breaks("I21", event, f"is {event.kind} without having been at work")

    def _asks_no_more(self, direction: tuple[str, Phase]) -> None:
        """Nobody waits for a result from outside any more; what was asked for may come about."""
        if direction in self.asked:
            self.asked.discard(direction)
            self.at_work.pop(direction, None)
            self.maybe.add(direction[0])

    def signalled(self, event: Event) -> None:
        """A signal was accepted."""
        key = event.data["key"]
        if key in self.heard:
            self._breaks("I20", event, "counts the same signal twice")
        self.heard.add(key)
        self.untaken[key] = event.data["signal"]

    def _waited(self, event: Event, signal: str | None) -> None:
        """A wait has ended, by a signal or by a time."""
        if event.step in self.done | self.skipped:
            self._breaks("I20", event, "ends a second time")
        key = event.data.get("key")
        if key is not None and self.untaken.pop(key, None) != signal:
            self._breaks("I20", event, "takes a signal that is not there for it")

    def _ended(self, event: Event) -> None:
        wait = self.plan.node(event.step).wait
        if wait is not None:
            self._waited(event, wait.signal)
            return
        direction = (event.step, event.phase)
        if self.at_work.get(direction) == event.attempt:
            del self.at_work[direction]
            self.asked.discard(direction)
        elif not event.data.get("late"):
            self._breaks("I3", event, "ends without having been at work")

    # --- the run -------------------------------------------------------------------------------

    def turned_round(self, event: Event) -> None:
        """The run goes back from now on."""
        culprit = event.data.get("culprit")
        if event.data.get("why") == "failed" and culprit in self.done:
            self._breaks("I5", event, f"turns round for {culprit}, which completed")
        if self._past_pivot():
            self._breaks("I8", event, "goes back past the pivot")
        self.turned = True
        to = event.data.get("to")
        self.stands = self._waited_for(to) if to else set()
        for direction in list(self.asked):
            self._asks_no_more(direction)

    def _waited_for(self, step: str) -> set[str]:
        """The steps that one waits for, directly or not."""
        found = set(self.plan.by_name[step].after)
        for node in reversed(self.plan.steps):  # what a step waits for comes before it
            found.update(node.after if node.name in found else ())
        return found

    def anew(self, event: Event) -> None:
        """A step has a new budget, and has to be undone (again)."""
        self.settled.discard(event.step)
        self.owed.discard(event.step)
        for phase in PHASES:
            self.claims[event.step, phase] = 0

    def reopened(self, event: Event) -> None:
        """Its effect came back; an undo that is owed stays that."""
        if event.step not in self.owed:
            self.anew(event)

    def settles(self, event: Event) -> None:
        """An operator has seen to it."""
        self.owed.discard(event.step)
        (self.settled if event.phase == "undo" else self.skipped).add(event.step)

    def passed_over(self, event: Event) -> None:
        """An operator, or the step itself, says that there is nothing to do."""
        if event.attempt:
            self._ended(event)
        self._asks_no_more((event.step, event.phase))
        self.skipped.add(event.step)
        self._leaves(event)
        self.chosen.update({event.step: event.data["choice"]} if "choice" in event.data else {})

    def finished(self, event: Event) -> None:
        """The run has come to rest."""
        outcome = event.data["outcome"]
        missing = {node.name for node in self.plan.steps if not self._passed(node.name)}
        if outcome == "completed" and missing and not self.over:
            self._breaks("I1", event, f"completed without {', '.join(sorted(missing))}")
        if outcome == "compensated" and self._to_undo():
            names = ", ".join(sorted(self._to_undo()))
            self._breaks("I6", event, f"compensated, and {names} may have had an effect")

    def started(self, _event: Event) -> None:
        """The id begins, or begins anew."""
        self.tries = 1
        self._begin()


def _unit(step: str) -> str:
    """What stands for a step in an order: the map, for a step of one of its elements."""
    return step.partition("[")[0]


_READ: dict[EventKind, Callable[[_Book, Event], None]] = {
    EventKind.STARTED: _Book.started,
    EventKind.EXPANDED: _Book.counts,
    EventKind.CLAIMED: _Book.claimed,
    EventKind.COMPLETED: _Book.completed,
    EventKind.FAILED: _Book.failed,
    EventKind.LOST: _Book.failed,
    EventKind.POSTPONED: _Book.postponed,
    EventKind.DEFERRED: _Book.deferred,
    EventKind.KEPT: _Book.said_early,
    EventKind.COMPENSATION_STARTED: _Book.turned_round,
    EventKind.REOPENED: _Book.reopened,
    EventKind.SIGNALLED: _Book.signalled,
    EventKind.RETRIED: _Book.anew,
    EventKind.WAIVED: _Book.settles,
    EventKind.SKIPPED: _Book.passed_over,
    EventKind.INHERITED: _Book.passed_over,
    EventKind.FINISHED: _Book.finished,
}
