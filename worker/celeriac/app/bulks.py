"""One command for many runs that is kept: looked at first, confirmed, and given by the sweep.

Owns: which runs a look finds, what a run must still be when its turn comes, and going on after a
crash.  Refuses to know: who asks, how it is shown, and what a verb does to a run.

A look keeps the runs that it found.  Whoever confirms names the look and how many runs it had, so
nothing is done to a run that nobody saw.  From then on the sweep gives the command, some runs at a
time: whichever server asked for it may end.  A run that has become something else since the look
is left as it is.

The command names the look in its reason.  If a sweep dies after it acted on a run and before it
noted so, the next one finds that in the run's history.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Literal

from celeriac.app.bulk import kinds, matching, that_do_not_ask
from celeriac.app.handles import RunHandle
from celeriac.app.inputs import check_words
from celeriac.app.pages import states_of
from celeriac.errors import (
    BulkNotFound,
    ChangedSince,
    CommandRefused,
    InputInvalid,
    RunNotFound,
    StoreError,
    StoreUnavailable,
)
from celeriac.machine import commands
from celeriac.observing import log
from celeriac.store import BulkRecord, Member, Turn
from celeriac.views import BulkState, BulkTurn, bulk_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celeriac.app.pages import Page
    from celeriac.engine import Dispatcher, Engine
    from celeriac.views import RunState

BulkVerb = Literal["cancel", "terminate", "retry", "pause", "resume"]

BULK_VERBS: tuple[BulkVerb, ...] = ("retry", "pause", "resume", "cancel", "terminate")
MOST = 10_000  # runs of one command
_PACES = (0.1, 1000.0)  # runs a second
_KEPT = 7 * 24 * 3_600_000  # ms
_WORK = "bulk"
_TURN = 30_000  # ms that a sweep has for its part; then another may take it up
_SECONDS = 2.0  # that one sweep spends on it: its runs wait meanwhile
_AT_ONCE = 200  # runs of one sweep
_NEWEST = 200  # events in which it is looked for what a sweep before has done
_LOOKS = 5  # at a run that moves on between a look and the command
_LONGEST_REASON = 1_900  # characters: the name of the look comes behind it


# --- looking -----------------------------------------------------------------------------------


def look_at(
    engine: Engine,
    find: Callable[..., Page],
    verb: str,
    *,
    runs: Iterable[str] | None,
    filters: Mapping[str, Any],
    reason: str,
    rps: float,
    by: str,
) -> BulkCommand:
    """Keep which runs a command would be for; nothing is done to any of them."""
    given = _given_filters(filters)
    _check(verb, runs, given, reason, rps, by)
    found = _named(engine, runs) if runs is not None else matching(find, given, most=MOST)
    if len(found) > MOST:
        text = f"more than {MOST:,} runs match: narrow the filter, for instance by since and until"
        raise InputInvalid(text)
    kept = found
    if verb == "retry" and not given.get("asking"):
        kept = that_do_not_ask(found)
    bulks, now = engine.store.bulks, engine.store.read("").now
    statuses = given.get("status") or ()
    record = BulkRecord(
        id=f"bulk-{secrets.token_hex(6)}",
        verb=verb,
        about=_words(runs, given),
        statuses=(statuses,) if isinstance(statuses, str) else tuple(sorted(statuses)),
        awaiting=bool(given.get("awaiting")),
        reason=reason,
        rps=rps,
        matched=len(kept),
        left_alone=len(found) - len(kept),
        kinds=tuple(kinds(kept)),
        looked_at=now,
        looked_by=by,
    )
    bulks.remove(now - _KEPT)
    exact = given.get("idle") is not None  # whoever moves after all is not meant
    bulks.add(record, [Member(state.id, _look(state, exact=exact)) for state in kept])
    return BulkCommand(record.id, engine)


def _given_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters without those that were left out; one that names nothing is refused later."""
    nothing: tuple[Any, ...] = ((), [], {}, set())
    return {
        name: value
        for name, value in filters.items()
        if not (value is None or value is False or value in nothing)
    }


def _check(
    verb: str,
    runs: Iterable[str] | None,
    given: Mapping[str, Any],
    reason: str,
    rps: float,
    by: str,
) -> None:
    if verb not in BULK_VERBS:
        raise InputInvalid(f"verb must be one of {', '.join(BULK_VERBS)}, not {verb!r}")
    if (runs is not None) is bool(given):
        raise InputInvalid(
            "give either runs or a filter: status, saga, tags, awaiting, past_deadline, idle, "
            "since, until, owed, asking, failed_step or code"
        )
    if not isinstance(rps, int | float) or not _PACES[0] <= rps <= _PACES[1]:
        raise InputInvalid(f"rps must be {_PACES[0]:g} to {_PACES[1]:g} runs a second, not {rps!r}")
    check_words(commands.Cancel(reason, by))
    if len(reason) > _LONGEST_REASON:
        raise InputInvalid(f"reason: text of at most {_LONGEST_REASON} characters")
    if verb == "terminate" and not reason.strip():
        raise InputInvalid("reason: terminate needs one, it stays in the history of each run")


def _named(engine: Engine, runs: Iterable[str]) -> list[RunState]:
    ids = dict.fromkeys(runs, ())
    if not all(isinstance(each, str) for each in ids):
        raise InputInvalid("runs: give ids of runs, each a text")
    found = engine.retry_while_unavailable(lambda: engine.store.read_all(ids))
    there = [found[each].run for each in ids if each in found]
    return list(states_of(engine, [run for run in there if run], failures=False))


def _words(runs: Iterable[str] | None, given: Mapping[str, Any]) -> str:
    """Which runs were looked for."""
    if runs is not None:
        return "runs that were picked"
    either = ["owed or asking"] if given.get("owed") and given.get("asking") else []
    named = {n: v for n, v in given.items() if not (either and n in ("owed", "asking"))}
    told = [f"{name.replace('_', ' ')} {_said(value)}".strip() for name, value in named.items()]
    return ", ".join(told + either)


def _said(value: Any) -> str:
    if value is True:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " and ".join(f"{name}={each}" for name, each in value.items())
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return (
        " or ".join(sorted(value))
        if isinstance(value, list | tuple | set | frozenset)
        else str(value)
    )


def _look(state: RunState, *, exact: bool = False) -> str:
    """How a run stands, as far as it matters to whoever confirms.

    A run on its way moves on all the time; what counts is that it is on its way forward.  If it
    was looked for since it does not move, each event counts (*exact*).
    """
    status = state.status
    course = status.value if status.at_rest or status == "compensating" else "forward"
    began = int(state.started_at.timestamp() * 1000)
    at = [state.run_version] if exact else []
    told = [began, course, sorted(state.owed), state.asking, *at]
    return json.dumps(told, separators=(",", ":"))


class BulkCommand:
    """A command for many runs: look at it, start it, stop it.  Every call asks the store."""

    def __init__(self, bulk_id: str, engine: Engine) -> None:
        self.id, self._engine = bulk_id, engine

    def __repr__(self) -> str:
        return f"<{self.id}>"

    def state(self) -> BulkState:
        """Return where it stands.  Raises BulkNotFound."""
        return bulk_state(self._read())

    def runs(self, first: int = 0, limit: int = 50) -> list[BulkTurn]:
        """Return a page of its runs, in the order of their turns, and what became of each."""
        record, bulks = self._read(), self._engine.store.bulks
        turns = bulks.turns(record.id, first, limit)
        told = [BulkTurn(run_id=each.run_id, outcome=each.outcome, why=each.why) for each in turns]
        members = bulks.members(record.id, first, limit)
        return told + [BulkTurn(run_id=each.run_id, outcome=None) for each in members[len(told) :]]

    def start(self, expected: int, *, by: str = "") -> bool:
        """Let the sweep give the command to the runs that were found; True if it was not yet so.

        *expected* is how many runs the caller has seen (`matched`).  Raises CommandRefused if it is
        for another number, was stopped, or is done.
        """

        def begun(record: BulkRecord, now: int) -> BulkRecord:
            if expected != record.matched:
                text = f"{record.id} is for {record.matched} runs, not {expected}: look again"
                raise CommandRefused("other_count", text)
            if record.state == "going":
                return record
            if record.state != "looked":
                text = f"{record.id} is over ({record.state}): look again to find what is left"
                raise CommandRefused("over", text)
            ended = {} if record.matched else {"state": "done", "ended_at": now}
            began: dict[str, Any] = {"state": "going", "begun_at": now, "turned_at": now, **ended}
            return record.altered(**began, begun_by=by)

        return self._alter(begun)

    def stop(self, *, by: str = "") -> bool:
        """Let runs that had no turn yet be as they are; True if it was going on."""

        def stopped(record: BulkRecord, now: int) -> BulkRecord:
            if record.state in ("stopped", "done"):
                return record
            return record.altered(state="stopped", ended_at=now, stopped_by=by)

        return self._alter(stopped)

    def _alter(self, rule: Callable[[BulkRecord, int], BulkRecord]) -> bool:
        while True:
            record = self._read()
            altered = rule(record, self._engine.store.read("").now)
            if altered is record:
                return False
            if self._engine.store.bulks.commit(record, altered):
                return True

    def _read(self) -> BulkRecord:
        bulks = self._engine.store.bulks
        found = self._engine.retry_while_unavailable(lambda: bulks.read(self.id))
        if found is None:
            raise BulkNotFound(self.id)
        return found


def newest_bulks(engine: Engine, limit: int) -> list[BulkState]:
    """Return the commands for many runs that were looked at last, the newest first."""
    return [bulk_state(each) for each in engine.store.bulks.newest(limit)]


# --- giving ------------------------------------------------------------------------------------


def see_to_bulks(engine: Engine, dispatcher: Dispatcher, interval: float) -> None:
    """Give their commands to the next runs: a sweep's part.

    *interval* is the time between two sweeps, in seconds; nothing is made up for where none came.
    """
    store = engine.store
    going = store.bulks.going()
    if not going or not store.try_lock(_WORK, _TURN):
        return
    try:
        until = time.monotonic() + _SECONDS
        for bulk_id in going:
            record = store.bulks.read(bulk_id)
            if record is not None and record.state == "going":
                _go_on(engine, dispatcher, record, until, 2 * interval)
    finally:
        store.unlock(_WORK)


def _go_on(
    engine: Engine, dispatcher: Dispatcher, record: BulkRecord, until: float, longest: float
) -> None:
    store = engine.store
    now = store.read("").now
    behind = (now - (record.turned_at or now)) / 1000
    count = int(record.rps * min(behind, longest)) or int(record.rps * behind >= 1)
    count = min(count, _AT_ONCE)
    turns: list[Turn] = []
    for member in store.bulks.members(record.id, record.turns, count) if count else ():
        if turns and time.monotonic() > until:
            break
        turns.append(_give(RunHandle(member.run_id, engine, dispatcher), member, record))
    if not turns:
        return
    counts = dict.fromkeys(("changed", "unchanged", "refused", "gone"), 0)
    for turn in turns:
        counts[turn.outcome] += 1
    while True:
        told = {name: getattr(record, name) + count for name, count in counts.items()}
        over = record.turns + len(turns) >= record.matched
        ended: dict[str, Any] = {"state": "done", "ended_at": now} if over else {}
        if store.bulks.commit(record, record.altered(turned_at=now, **told, **ended), turns):
            return
        seen = store.bulks.read(record.id)
        # Somebody has stopped it meanwhile, and what was done is told all the same; or another
        # sweep has taken it up, and has told it.
        if seen is None or seen.turns != record.turns:
            return
        record = seen


def _give(run: RunHandle[Any], member: Member, record: BulkRecord) -> Turn:
    """Give the command to a run, and return what it did."""
    try:
        outcome, why = _given(run, member, record)
        if outcome != "changed" and any(record.id in str(e.data) for e in run.history(-_NEWEST)):
            outcome, why = "changed", ""  # by a sweep that died before it could say so
    except RunNotFound:
        return Turn(member.run_id, "gone")
    except StoreUnavailable:
        raise
    except StoreError as error:
        return Turn(member.run_id, "refused", str(error))
    except Exception as error:  # noqa: BLE001 -- one must not keep it from the others for ever
        log.exception("%s: %s %s", record.id, record.verb, member.run_id)
        return Turn(member.run_id, "refused", f"{type(error).__name__}: see the worker's log")
    return Turn(member.run_id, outcome, why)


def _given(
    run: RunHandle[Any], member: Member, record: BulkRecord
) -> tuple[Literal["changed", "unchanged", "refused"], str]:
    reason = f"{record.reason} ({record.id})".strip()
    for _ in range(_LOOKS):
        state = run.state()
        if not _is_as_seen(run, state, member, record):
            return "refused", f"it has changed since the look: it is {state.status.value} now"
        try:
            command = getattr(run, record.verb)
            changed = command(reason=reason, by=record.begun_by, if_version=state.run_version)
        except ChangedSince:
            continue
        except CommandRefused as refused:
            return "refused", str(refused)
        return ("changed" if changed else "unchanged"), ""
    return "refused", "it moves on faster than it can be looked at: try it by itself"


def _is_as_seen(run: RunHandle[Any], state: RunState, member: Member, record: BulkRecord) -> bool:
    if member.look not in (_look(state), _look(state, exact=True)) or (
        record.statuses and state.status not in record.statuses
    ):
        return False
    return not record.awaiting or run.look()[1].awaits
