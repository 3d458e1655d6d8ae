"""Commands that are meant for a run as somebody saw it.

Owns: `if_version` of every verb, and `joined`.  Refuses to know: what the verbs do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import ChangedSince, CommandRefused, Flow, RunHandle, Sagas
from tests.in_memory import keep_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable

sagas = Sagas(Celery("versions", broker="memory://", set_as_current=False))


@sagas.step
def tick() -> None:
    """Nothing."""


@sagas.saga
def ping(flow: Flow) -> None:
    """One step."""
    flow.step(tick)


VERBS: dict[str, Callable[[RunHandle[None], int], bool]] = {
    "cancel": lambda run, seen: run.cancel(if_version=seen),
    "terminate": lambda run, seen: run.terminate("why", if_version=seen),
    "retry": lambda run, seen: run.retry(if_version=seen),
    "waive": lambda run, seen: run.waive("tick", "why", if_version=seen),
    "pause": lambda run, seen: run.pause(if_version=seen),
    "resume": lambda run, seen: run.resume(if_version=seen),
    "skip": lambda run, seen: run.skip("tick", None, "why", if_version=seen),
}


@pytest.fixture
def run() -> RunHandle[None]:
    """A run that was just started."""
    keep_in_memory(sagas)
    return ping.start(id="run-1")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_for_an_older_state_changes_nothing(verb: str, run: RunHandle[None]) -> None:
    """Who looked before the run moved on is told so, with both versions."""
    seen = run.state().run_version
    run.pause(by="ada")
    before = run.history()
    with pytest.raises(ChangedSince, match="has changed since you looked") as refused:
        VERBS[verb](run, seen)
    assert (refused.value.expected, refused.value.version) == (seen, run.state().run_version)
    assert refused.value.reason == refused.value.code == "changed_since"
    assert run.history() == before


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"retry", "waive"}))
def test_a_verb_for_the_present_state_is_done(verb: str, run: RunHandle[None]) -> None:
    """The version of the newest state is the one that a command is for."""
    changed = VERBS[verb](run, run.state().run_version)
    assert changed is (verb != "resume")  # nobody holds it


def test_a_refusal_of_another_kind_stays_what_it_is(run: RunHandle[None]) -> None:
    """A version that fits does not make an impossible command possible."""
    with pytest.raises(CommandRefused) as refused:
        run.waive("tick", "why", if_version=run.state().run_version)
    assert refused.value.reason == "not_owed"


def test_a_start_says_whether_it_joined() -> None:
    """The first start made the run, the second found it."""
    keep_in_memory(sagas)
    assert [ping.start(id="run-1").joined for _ in range(2)] == [False, True]
    assert ping.start(id="run-2").joined is False
