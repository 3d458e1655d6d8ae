"""What must hold of gates, over all runs: never too many inside, and nothing left behind.

Owns: the law I23, by what bodies have noted, by who has passed a rate, and by what is kept of
gates.  Refuses to know: how a single claim passes (`ordering`), and who notes what passes a rate:
it is nowhere on record.

Who is inside is worked out from the order of the ledger, which no clock can upset.  A body whose
attempt was given up does not count: its worker may still be at it, and has no place any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from celeriac.gating import load
from celeriac.machine import gate_named
from celeriac.machine.events import EventKind
from tests.proof.findings import Finding
from tests.proof.records import EFFECTS, run_of, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from celeriac.machine import Phase, Rule
    from celeriac.store import Store
    from tests.proof.records import Frame, Record
    from tests.workers.ledger import Row

_E = EventKind
_BURST = 50  # changes of one gate in a millisecond, at most
#: A run, or an attempt of one: its id, its step and direction, and its number.
_Attempt = tuple[str, str, "Phase", int]


class Passed(NamedTuple):
    """Who has passed a rate."""

    gate: str
    most: int
    per: int  # ms
    at: int  # ms, by the clock of the Redis
    version: int  # of the gate, which is the newest time that it has seen, or somewhat more


class _Stay(NamedTuple):
    """Who has noted something inside of a gate, from the first row until the last."""

    gate: str
    who: str
    first: int
    last: int


def crowds(records: Mapping[str, Record], rows: Sequence[Row]) -> Iterator[Finding]:
    """The limits that let too many in, by the rows of those who were."""
    rules: dict[str, Rule] = {}
    stays: dict[tuple[str, str], list[int]] = defaultdict(list)  # rows of a holder at a gate
    gates = {at: found for record in records.values() for at, found in _held(record, rules)}
    for number, row in enumerate(rows):
        about = _about(row)
        for gate, who in gates.get(about, ()) if about else ():
            stays[gate, who].append(number)
    spans = [_Stay(gate, who, min(at), max(at)) for (gate, who), at in stays.items()]
    for gate, most in sorted(_most_inside(spans).items()):
        rule = rules[gate_named(gate)]
        if most > rule.most:
            yield Finding("I23", f"{most} were inside of {gate!r}, which allows {rule.most}")


def _held(
    record: Record, rules: dict[str, Rule]
) -> Iterator[tuple[_Attempt, Sequence[tuple[str, str]]]]:
    """The attempts of a run that were never given up, with the limits each was inside of."""
    given_up = {
        (frame.event.step, frame.event.phase, frame.event.attempt)
        for frame in record.frames
        if frame.event.kind is _E.LOST or frame.event.data.get("late")
    }
    rested = 0
    for frame in record.frames:
        event, plan = frame.event, record.plan_of(frame)
        rested += event.kind is _E.FINISHED  # then it enters its own gates again
        token = (event.step, event.phase, event.attempt)
        if event.kind is not _E.CLAIMED or token in given_up:
            continue
        found = [*plan.gates, *(gate for node in plan.all_nodes for gate in node.gates)]
        rules |= {gate.name: gate.rule for gate in found}
        own = [(gate, ":".join(map(str, (record.run.id, *token)))) for gate in _passed(frame)]
        own += [(gate, f"{record.run.id} {rested}") for gate in frame.after.entered[1:]]
        yield (
            (record.run.id, *token),
            [each for each in own if rules[gate_named(each[0])].kind == "limit"],
        )


def _passed(frame: Frame) -> Sequence[str]:
    return frame.became.step(frame.event.step).gates


def _about(row: Row) -> _Attempt | None:
    """The attempt that wrote a row, as long as it was inside."""
    if row.kind not in ("begin", "end", *EFFECTS):
        return None
    name, phase = step_of(row)
    return run_of(row).partition("~")[0], name, phase, row.attempt


def _most_inside(stays: Iterable[_Stay]) -> Counter[str]:
    moves = [(stay.first, 1, stay) for stay in stays] + [(stay.last, -1, stay) for stay in stays]
    inside: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for _, move, stay in sorted(moves, key=lambda each: (each[0], -each[1])):
        inside[stay.gate] += move
        most[stay.gate] = max(most[stay.gate], inside[stay.gate])
    return most


def hurries(passed: Iterable[Passed]) -> Iterator[Finding]:
    """The rates that more have passed in some span of time than may.

    *passed* is in the order in which it was noted.  Nobody is judged by who passed before the clock
    of the Redis was set back: some of that is forgotten then, since it seemed to be over.
    """
    spans: dict[str, list[list[Passed]]] = defaultdict(lambda: [[]])  # of each gate, between such
    for each in passed:
        if each.version - each.at > _BURST:
            continue  # the clock was set back, and has not come as far again
        newest = max((one.at for one in spans[each.gate][-1]), default=each.at)
        if each.at < newest - _BURST:
            spans[each.gate].append([])
        spans[each.gate][-1].append(each)
    for gate, several in sorted(spans.items()):
        yield from islice(_too_fast(gate, several), 1)


def _too_fast(gate: str, spans: Iterable[list[Passed]]) -> Iterator[Finding]:
    for span in spans:
        span.sort(key=lambda each: each.at)
        for first, last in zip(span, span[span[0].most if span else 0 :], strict=False):
            if last.at - first.at < first.per:
                what = f"{first.most + 1} passed {gate!r} in {last.at - first.at} ms, and "
                yield Finding("I23", f"{what}{first.most} may in {first.per} ms")


def left_behind(store: Store) -> Iterator[Finding]:
    """What gates keep of those who are gone: a place, or a turn in line."""
    for gate in store.gates.known():
        found = store.gates.read(gate)
        if not found.record:
            continue
        taken = 0 if load(gate, found.record).rule.kind == "rate" else found.taken
        if taken or found.waiting:
            what = f"all are at rest, and {taken} are inside of {gate!r}, {found.waiting} wait"
            yield Finding("I23", what)
