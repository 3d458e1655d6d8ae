"""Groups in the lab and under the explorer: real bodies leave them, and each visit counts.

Owns: what Route leads to, and what else there is in groups that are visited again.  Refuses to
know: what the state machine decides (`tests/machine/test_groups.py`), and how groups are planned
(`tests/authoring/test_groups.py`).  The file is long because every other construct may stand in a
group.
"""

# ruff: noqa: ARG001 -- steps take what orders them, and undos what belongs to their steps

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import (
    Abort,
    CommandRefused,
    Done,
    Flow,
    NotYet,
    Retry,
    Route,
    RunCompensated,
    Sagas,
    Signal,
    StepContext,
)
from celeriac.testing import explore
from tests.testing.ledger import Ledger

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("groups", set_as_current=False)
sagas = Sagas(app)
ledger = Ledger()
undone: list[tuple[str, str | None]] = []
told: list[Any] = []
approved = Signal("approved", bool)

ONCE = Retry(max_attempts=1)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Make the ledger new."""
    ledger.__init__()  # type: ignore[misc]  # the steps know this one
    undone.clear()
    told.clear()


def forget() -> None:
    """What the explorer calls between two runs."""
    ledger.__init__()  # type: ignore[misc]


@sagas.step
def ask(ctx: StepContext, way: str) -> str:
    """Do something, and go where the way leads to: `mb` is to the manual group, then back."""
    ledger.do(ctx.idempotency_key)
    place = int(ctx.step.partition("~")[2] or 1) - 1
    where = {"m": "manual", "b": "entry", "?": "nowhere", "s": "entry"}.get(way[place : place + 1])
    if where:
        raise Route(where)
    return f"{ctx.step} asked"


@ask.compensation
def unask(ctx: StepContext, way: str, result: str | None) -> None:
    """Undo one visit of it."""
    undone.append((ctx.idempotency_key, result))
    ledger.undo(ctx.idempotency_key)


@sagas.step
def note(ctx: StepContext, text: str) -> str:
    """Note what was asked."""
    ledger.do(ctx.idempotency_key)
    return f"noted: {text}"


@note.compensation
def unnote(ctx: StepContext, text: str, result: str | None) -> None:
    """Undo it, with what it was given then."""
    undone.append((f"{ctx.idempotency_key} {text}", result))
    ledger.undo(ctx.idempotency_key)


@sagas.step(retry=ONCE)
def decide(ctx: StepContext, again: bool, known: str | None) -> str:
    """Go back to where it began as often as it is asked to."""
    told.append((ctx.step, known))
    ledger.do(ctx.idempotency_key)
    if again and "~" not in ctx.step:
        raise Route("entry")
    return f"{ctx.step} decided"


@decide.compensation
def undecide(ctx: StepContext, known: str | None) -> None:
    """Undo it, with what was known when it decided."""
    undone.append((ctx.idempotency_key, known))
    ledger.undo(ctx.idempotency_key)


@sagas.step
def fail(text: str | None) -> str:
    """Fail for good."""
    raise Abort(f"no {text}", effect=False)


Results = dict[str, str | None]


@sagas.saga
def paying(flow: Flow, way: str, again: bool) -> Results:
    """Two groups; whoever asks may leave the first one, and whoever decides the second."""
    with flow.group("entry"):
        asked = flow.step(ask, way)
        noted = flow.step(note, asked)
    with flow.group("manual"):
        decided = flow.step(decide, again, noted)
    return {"asked": asked, "noted": noted, "decided": decided}


def steps_of(run: LabRun[Any]) -> list[tuple[str, str]]:
    """The steps that are shown, with where they stand."""
    return [(step.name, step.status.value) for step in run.state().steps]


def test_a_run_ends_at_the_end_of_a_group(lab: Lab) -> None:
    """Steps of a group that it did not visit are none of its steps, and have no value."""
    run = lab.start(paying, "-", False)
    assert run.result(timeout=60) == {
        "asked": "ask asked",
        "noted": "noted: ask asked",
        "decided": None,
    }
    assert steps_of(run) == [("ask", "completed"), ("note", "completed")]


def test_a_route_skips_the_rest_and_goes_on_elsewhere(lab: Lab) -> None:
    """Whoever left the group is done, without a result."""
    run = lab.start(paying, "m", False)
    assert run.result(timeout=60) == {"asked": None, "noted": None, "decided": "decide decided"}
    assert steps_of(run) == [("ask", "completed"), ("note", "skipped"), ("decide", "completed")]
    assert run.state().step("note").because == "ask went on with group manual"
    assert told == [("decide", None)]


@sagas.saga
def either_way(flow: Flow, way: str) -> str:
    """The result is that of the group in which the run has ended, or of its list."""
    with flow.group("entry"):
        asked = flow.step(ask, way)
    with flow.group("manual"):
        decided = flow.step(decide, False, None)
    return flow.either(asked, decided)


@pytest.mark.parametrize(("way", "result"), [("-", "ask asked"), ("m", "decide decided")])
def test_who_left_a_group_has_no_value(lab: Lab, way: str, result: str) -> None:
    """So another one's counts, where either would do: the result is none without a reason."""
    assert lab.start(either_way, way).result(timeout=60) == result


def test_a_group_that_is_visited_again_has_other_steps(lab: Lab) -> None:
    """Each visit has keys of its own, and values are those of the latest one."""
    run = lab.start(paying, "m", True, id="p")
    assert run.result(timeout=60) == {
        "asked": "ask~2 asked",
        "noted": "noted: ask~2 asked",
        "decided": None,
    }
    assert ledger.made == ["p:ask", "p:decide", "p:ask~2", "p:note~2"]
    assert [name for name, _ in steps_of(run)] == ["ask", "note", "decide", "ask~2", "note~2"]


def test_a_group_may_go_on_with_itself(lab: Lab) -> None:
    """As often as it says so."""
    run = lab.start(paying, "sss-", False)
    assert run.result(timeout=60)["asked"] == "ask~4 asked"
    assert len(ledger.made) == 5


def test_all_visits_are_undone_the_last_first(lab: Lab) -> None:
    """Each with its own key, and with what it was given when it was done."""
    run = lab.start(paying, "-b", True, id="p")
    lab.run()
    assert run.cancel("no more")
    lab.run()
    assert run.status == "compensated"
    assert undone == [("p:note ask asked", "noted: ask asked"), ("p:ask", "ask asked")]

    undone.clear()
    run = lab.start(paying, "m-", True, id="q")
    lab.run()
    plan = run.undo_plan()
    assert [step.step for step in plan.steps] == ["note~2", "ask~2", "decide", "ask"]
    run.cancel("no more")
    lab.run()
    assert [key for key, _ in undone] == ["q:note~2 ask~2 asked", "q:ask~2", "q:decide", "q:ask"]
    assert ledger.live == set()


@sagas.step
def read(ctx: StepContext, text: str) -> str:
    """Say something else at each visit."""
    return "second" if "~" in ctx.step else text


@sagas.step
def go_manual(noted: str) -> None:
    """Leave the group at its end."""
    raise Route("manual")


@sagas.saga
def looking_back(flow: Flow, text: str) -> str | None:
    """Two groups, each visited twice; the second uses what the first has noted."""
    with flow.group("entry"):
        noted = flow.step(note, flow.step(read, text))
        flow.step(go_manual, noted)
    with flow.group("manual"):
        flow.step(decide, True, noted)
    return noted


def test_an_undo_is_given_what_was_known_when_the_step_was_done(lab: Lab) -> None:
    """A later visit of another group does not change what an earlier one was given."""
    run = lab.start(looking_back, "first")
    lab.run()
    assert run.status == "completed"
    run.cancel("no more")
    lab.run()
    known = [(key.partition(":")[2], text) for key, text in undone if "decide" in key]
    assert known == [("decide~2", "noted: second"), ("decide", "noted: first")]


def test_an_unknown_group_fails_the_run(lab: Lab) -> None:
    """The failure says which groups there are; what may have been done is undone."""
    run = lab.start(paying, "?", False)
    with pytest.raises(
        RunCompensated, match="there is no group 'nowhere' to go on with; there are entry"
    ) as found:
        run.result(timeout=60)
    assert found.value.failure is not None
    assert found.value.failure.code == "unknown_group"
    assert len(undone) == 1


@sagas.step(routes=("manual",))
def asks_for_manual(where: str) -> str:
    """Say where it goes, and go elsewhere."""
    raise Route(where)


@sagas.saga
def declared(flow: Flow, where: str) -> None:
    """A step that says where it goes."""
    with flow.group("entry"):
        flow.step(asks_for_manual, where)
    with flow.group("manual"):
        flow.step(read, "x")


def test_a_step_goes_only_where_it_says_that_it_may(lab: Lab) -> None:
    """What was checked when the saga was defined holds while it runs."""
    assert lab.start(declared, "manual").result(timeout=60) is None
    with pytest.raises(RunCompensated, match="says that it goes on with 'manual'"):
        lab.start(declared, "entry").result(timeout=60)


@sagas.saga(max_steps=4)
def for_ever(flow: Flow, way: str) -> None:
    """A group that is visited again and again."""
    with flow.group("entry"):
        flow.step(ask, way)


def test_too_many_visits_fail_the_run(lab: Lab) -> None:
    """A step of each visit counts; all of them are undone, and the failure says what to raise."""
    run = lab.start(for_ever, "ssssssss", id="p")
    with pytest.raises(RunCompensated, match="may start 4 steps and no more: raise max_steps"):
        run.result(timeout=60)
    assert [key for key, _ in undone] == ["p:ask~4", "p:ask~3", "p:ask~2", "p:ask"]
    assert ledger.live == set()


# --- who may not ------------------------------------------------------------------------------


@sagas.saga
def without_groups(flow: Flow, way: str) -> str:
    """No groups at all."""
    return flow.step(ask, way)


@sagas.saga
def beside(flow: Flow, way: str) -> None:
    """A branch."""
    with flow.group("entry"), flow.parallel():
        flow.step(ask, way)
        flow.step(read, way)


@sagas.saga
def mapped(flow: Flow, ways: list[str]) -> None:
    """An element of a map."""
    with flow.group("entry"):
        flow.map(ask, ways)


@sagas.step
def hold(way: str) -> str:
    """Prepare, or leave."""
    if way == "m":
        raise Route("manual")
    return way


@hold.compensation
def release(way: str) -> None:
    """Cancel."""
    told.append("cancelled")


@hold.confirm
def take(result: str) -> None:
    """Confirm."""
    told.append("confirmed")


@sagas.saga
def preparing(flow: Flow, way: str, then: str) -> None:
    """A block of two phases in a group, and a step that may leave before all is prepared."""
    with flow.group("entry"):
        with flow.two_phase():
            flow.step(hold, way)
            flow.step(ask, then)
        flow.step(decide, False, None)
    with flow.group("manual"):
        flow.step(read, "x")


@pytest.mark.parametrize(
    ("saga", "inputs", "problem"),
    [
        (without_groups, ("m",), "its saga has no groups"),
        (beside, ("s",), "other steps may be at work beside it"),
        (mapped, (["s"],), "other steps may be at work beside it"),
        (preparing, ("m", "-"), "neither confirmed nor cancelled"),
        (preparing, ("-", "m"), "neither confirmed nor cancelled"),
    ],
)
def test_not_every_step_may_leave(
    lab: Lab, saga: Any, inputs: tuple[Any, ...], problem: str
) -> None:
    """It fails the step, with a code of its own; what it may have done is undone."""
    run = lab.start(saga, *inputs)
    with pytest.raises(RunCompensated, match=problem) as found:
        run.result(timeout=60)
    assert found.value.failure is not None
    assert found.value.failure.code == "misplaced_answer"
    assert "confirmed" not in told


# --- everything else in a group ----------------------------------------------------------------


@sagas.step
def again(ctx: StepContext, what: str | None) -> str:
    """Visit the group once more."""
    told.append(what)
    if "~" not in ctx.step:
        raise Route("entry")
    return ctx.step


@sagas.saga
def asking_twice(flow: Flow, text: str) -> bool:
    """A wait that is visited twice."""
    with flow.group("entry"):
        answer = flow.wait(approved)
        flow.step(again, text)
    return answer


def test_each_visit_of_a_wait_takes_a_signal_of_its_own(lab: Lab) -> None:
    """One that is for a wait that has ended is refused; one that comes early is kept."""
    run = lab.start(asking_twice, "x")
    lab.run()
    (asked,) = run.questions()
    assert run.signal("approved", False, step=asked.step) == "taken"
    lab.run()
    (next_,) = run.questions()
    assert (asked.step, next_.step) == ("approved", "approved~2")
    with pytest.raises(CommandRefused, match="'approved' is not waiting"):
        run.signal("approved", True, step="approved")
    run.signal("approved", True)
    assert run.result(timeout=60) is True


def test_a_signal_may_come_before_the_visit_that_takes_it(lab: Lab) -> None:
    """As long as the run goes on, its group may be visited."""
    run = lab.start(asking_twice, "x")
    lab.run()
    assert [run.signal("approved", True), run.signal("approved", False)] == ["taken", "kept"]
    assert run.result(timeout=60) is False


@sagas.saga
def mapping(flow: Flow, texts: list[str]) -> list[str]:
    """A map that is visited twice, and counts as one step each time."""
    with flow.group("entry"):
        noted = flow.map(note, texts)
        flow.step(again, None)
    return noted


def test_a_map_in_a_group_has_elements_for_each_visit(lab: Lab) -> None:
    """With keys of their own; its list is that of the latest visit."""
    run = lab.start(mapping, ["a", "b"], id="m")
    assert run.result(timeout=60) == ["noted: a", "noted: b"]
    visits = ["m:note[0]", "m:note[1]", "m:note~2[0]", "m:note~2[1]"]
    assert sorted(ledger.made) == visits
    run.cancel("no more")
    lab.run()
    assert run.status == "compensated"
    assert ledger.live == set()


def is_new(text: str) -> bool:
    """A predicate."""
    return text == "new"


@sagas.saga
def choosing(flow: Flow, text: str) -> str | None:
    """A condition, branches and a scope inside of a group that is visited twice."""
    with flow.group("entry"):
        with flow.when(is_new, text):
            one = flow.step(note, text)
        with flow.otherwise():
            two = flow.step(read, text)
        either = flow.either(one, two)
        with flow.parallel():
            flow.options(name="left").step(note, either)
            flow.options(name="right").step(note, either)
        flow.step(again, either)
    return either


@pytest.mark.parametrize(
    ("text", "values"),
    [("new", ["noted: new", "noted: new"]), ("old", ["old", "second"])],
)
def test_conditions_and_branches_stand_in_a_group(lab: Lab, text: str, values: list[str]) -> None:
    """Each visit chooses for itself."""
    run = lab.start(choosing, text)
    assert run.result(timeout=60) == values[-1]
    assert told == values


@sagas.step
def undo_both(ctx: StepContext, text: str) -> None:
    """Undo several as one."""
    undone.append((ctx.idempotency_key, ",".join(sorted(ctx.undoes))))


@sagas.saga
def covering(flow: Flow, text: str) -> None:
    """Steps that are undone as one, in a group that is visited twice."""
    with flow.group("entry"):
        with flow.undone_by(undo_both, text):
            flow.options(name="one").step(read, text)
            flow.options(name="two").step(read, text)
        flow.step(again, None)


def test_what_is_undone_as_one_is_so_in_each_visit(lab: Lab) -> None:
    """Once for each, with the keys of the steps of that visit."""
    run = lab.start(covering, "x", id="c")
    lab.run()
    run.cancel("no more")
    lab.run()
    assert undone == [("c:undo_both~2", "one~2,two~2"), ("c:undo_both", "one,two")]


@sagas.step(retry=ONCE)
def then_go(ctx: StepContext, text: str) -> str:
    """Go on with the other group once."""
    if text == "fail":
        raise ValueError(text)
    if "~" not in ctx.step:
        raise Route("entry")
    return text


@sagas.saga
def confirming(flow: Flow, text: str) -> None:
    """A block of two phases that is visited twice."""
    with flow.group("entry"):
        with flow.two_phase():
            flow.options(name="from").step(hold, "a")
            flow.options(name="to").step(hold, "b")
        flow.step(then_go, text)


def test_two_phases_may_be_visited_again(lab: Lab) -> None:
    """All of each visit is confirmed, and once one was, the run only goes forward."""
    run = lab.start(confirming, "x")
    assert run.result(timeout=60) is None
    assert told == ["confirmed"] * 4
    with pytest.raises(CommandRefused, match="only goes forward"):
        run.cancel("too late")


@sagas.step(retry=ONCE)
def once(ctx: StepContext, asked: str) -> None:
    """Fail in the first try."""
    if "~" not in ctx.idempotency_key.partition(":")[0]:
        raise ValueError(asked)


@sagas.saga(retries=1, retry_delay=0.1)
def begins_anew(flow: Flow, way: str) -> str | None:
    """A saga with groups that fails at first."""
    with flow.group("entry"):
        asked = flow.step(ask, way)
        flow.step(once, asked)
    return asked


def test_a_new_try_begins_with_the_first_group(lab: Lab) -> None:
    """It has visited nothing yet; the visits of the try before are undone."""
    run = lab.start(begins_anew, "s-", id="t")
    assert run.result(timeout=600) == "ask~2 asked"
    assert run.state().tries == 2
    assert [key for key, _ in undone] == ["t:ask~2", "t:ask"]
    assert sorted(ledger.live) == ["t~2:ask", "t~2:ask~2"]


def test_a_fork_takes_over_the_visits_before_its_step(lab: Lab) -> None:
    """It goes the same way up to there, and does the rest under keys of its own."""
    run = lab.start(paying, "m-", True, id="p")
    lab.run()
    made = len(ledger.made)
    fork = run.fork(at="note~2", id="f", reason="once more")
    lab.run()
    assert fork.result(timeout=60) == run.result(timeout=60)
    assert ledger.made[made:] == ["f:note~2"]
    fork.cancel("no more")
    lab.run()
    assert [key for key, _ in undone] == ["f:note~2 ask~2 asked"]


def test_a_rewind_takes_back_the_visits_after_its_step(lab: Lab) -> None:
    """The routes before it stand; those after it are found anew, under keys of their own."""
    run = lab.start(paying, "m-", True, id="p")
    lab.run()
    assert run.rewind(to="decide", reason="once more")
    lab.run()
    assert run.status == "completed"
    assert undone[0] == ("p:note~2 ask~2 asked", "noted: ask~2 asked")
    assert [key for key, _ in undone[1:]] == ["p:ask~2", "p:decide"]
    assert sorted(ledger.live) == ["p:ask", "p~2:ask~2", "p~2:decide", "p~2:note~2"]
    assert run.rewind(to="note~2", reason="and again")
    lab.run()
    assert sorted(ledger.live) == ["p:ask", "p~2:ask~2", "p~2:decide", "p~3:note~2"]
    run.cancel("no more")
    lab.run()
    assert ledger.live == set()


@sagas.step(on_unknown="operator", effect="none", retry=ONCE)
def shaky(ctx: StepContext, text: str) -> str:
    """Be lost, at the second visit."""
    return text


@sagas.saga
def asking_people(flow: Flow, text: str) -> str:
    """A step of a second visit that somebody has to see to."""
    with flow.group("entry"):
        said = flow.step(shaky, text)
        flow.step(again, said)
    return said


@pytest.mark.parametrize("verb", ["retry", "skip"])
def test_an_operator_names_the_visit(lab: Lab, verb: str) -> None:
    """`shaky~2` is a step like any other; one of a visit that was not made is unknown."""
    lab.crash("shaky~2 before report")
    run = lab.start(asking_people, "x")
    lab.run()
    assert run.status == "failed"
    assert run.state().owed == ("shaky~2",)
    with pytest.raises(CommandRefused, match="no step 'shaky~3'"):
        run.skip("shaky~3", reason="x", result="y")
    if verb == "skip":
        run.skip("shaky~2", reason="done by hand", result="by hand")
    else:
        run.retry("shaky~2", reason="try")
    assert run.result(timeout=60) == ("by hand" if verb == "skip" else "x")


@sagas.step
def poll(ctx: StepContext, way: str) -> str:
    """Not yet, at first."""
    told.append(ctx.step)
    if told.count(ctx.step) < 3:
        raise NotYet(after="1s", effect=False)
    if "~" not in ctx.step:
        raise Route("entry")
    return "there"


@sagas.step
def end(result: str) -> str:
    """End the run from a group."""
    raise Done(f"done: {result}")


@sagas.saga
def polling(flow: Flow, way: str) -> str:
    """Other answers in a group."""
    with flow.group("entry"):
        there = flow.step(poll, way)
        flow.step(end, there)
        flow.step(fail, there)
    return there


def test_other_answers_count_in_a_group(lab: Lab) -> None:
    """A step that cannot say yet is asked again in its visit; Done ends the run from any group."""
    run = lab.start(polling, "x")
    assert run.result(timeout=60) == "done: there"
    assert told == ["poll"] * 3 + ["poll~2"] * 3


@sagas.saga
def within(flow: Flow, text: str) -> str:
    """A child."""
    return flow.step(note, text)


@sagas.saga
def with_children(flow: Flow, text: str) -> str:
    """A child in a group that is visited twice."""
    with flow.group("entry"):
        made = flow.options(name="part").child(within, text)
        flow.step(again, made)
    return made


def test_each_visit_has_a_child_of_its_own(lab: Lab) -> None:
    """No id of a child ends like the second try of another run."""
    run = lab.start(with_children, "x", id="p")
    assert run.result(timeout=60) == "noted: x"
    assert [step.child for step in run.state().steps if step.child] == ["p.part", "p.part@2"]
    assert ledger.made == ["p.part:note", "p.part@2:note"]
    run.cancel("no more")
    lab.run()
    assert run.status == "compensated"
    assert ledger.live == set()


# --- under the explorer ------------------------------------------------------------------------


@sagas.saga
def explored(flow: Flow, way: str, again: bool) -> str | None:
    """What the explorer is shown: two groups, one of them visited twice."""
    with flow.group("entry"):
        asked = flow.step(ask, way)
        noted = flow.step(note, asked)
    with flow.group("manual"):
        flow.step(decide, again, noted)
    return noted


@pytest.mark.parametrize("way", ["m-", "m"])
def test_whatever_goes_wrong_all_visits_stand_or_none(way: str) -> None:
    """Every path, every fault at every point, and pairs as the budget allows (I27)."""
    made = {"ask", "decide", "ask~2", "note~2"} if way == "m-" else {"ask", "decide"}

    def check(run: LabRun[Any]) -> None:
        live = {key.partition(":")[2] for key in ledger.live}
        assert live == (made if run.status == "completed" else set())
        assert len(set(ledger.made)) == len(ledger.made)

    report = explore(explored, way, way == "m-", check=check, fresh=forget, most=250, seconds=60)
    assert report.ok, report
    assert report.levels[1].tried > 100
