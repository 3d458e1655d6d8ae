"""Whatever stands inside of whatever: each construct of a saga in each other one that may hold it.

Owns: small sagas as somebody writes them who has read `docs/flows.md`, and what holds for all of
them: they end as they say, all is undone when they fail or are cancelled, and a rewind leads to the
same end.  Refuses to know: what is particular to one construct, which has a file of its own, and
what may not stand in what (`tests/authoring/test_nesting.py`).  The file is long because it is a
list of sagas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from celery import Celery

from celeriac import (
    Abort,
    CommandRefused,
    Flow,
    NotYet,
    Route,
    Sagas,
    Signal,
    Skip,
    StepContext,
)
from celeriac.testing import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import Saga
    from celeriac.testing import LabRun

app = Celery("combinations", set_as_current=False)
sagas = Sagas(app)
live: dict[str, str] = {}  # what has its effect now: the step, by its key
approved = Signal("approved", str)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Begin anew."""
    live.clear()


def take(ctx: StepContext, text: str) -> str:
    """Have an effect."""
    live[ctx.idempotency_key] = ctx.step
    return text


def give_back(ctx: StepContext) -> None:
    """Undo it, or several at once."""
    for each in ctx.each() if ctx.undoes else (ctx,):
        live.pop(each.idempotency_key, None)


@sagas.step
def one(ctx: StepContext, x: str) -> str:
    """A step."""
    return take(ctx, f"one({x})")


one.compensation(name="combinations.undo_one")(give_back)


@sagas.step
def two(ctx: StepContext, x: str) -> str:
    """Another step."""
    return take(ctx, f"two({x})")


two.compensation(name="combinations.undo_two")(give_back)


@sagas.step
def many(ctx: StepContext, x: str) -> list[str]:
    """What is mapped."""
    take(ctx, x)
    return [f"{x}{number}" for number in range(3)]


many.compensation(name="combinations.undo_many")(give_back)


@sagas.step
def poll(ctx: StepContext, x: str) -> str:
    """Have to be asked three times, and to be undone as well."""
    if ctx.attempt % 3:
        raise NotYet("10s")
    return take(ctx, f"poll({x})")


@poll.compensation
def unpoll(ctx: StepContext) -> None:
    """Undo it, when asked for the third time."""
    if ctx.attempt % 3:
        raise NotYet("10s")
    give_back(ctx)


@sagas.step
def hold(ctx: StepContext, x: str, how: str) -> str | None:
    """Prepare, or do not join."""
    if "alone" in how:
        raise Skip("nothing to hold")
    return take(ctx, f"hold({x})")


hold.compensation(name="combinations.release")(give_back)


@hold.confirm
def sell(x: str) -> None:
    """Confirm."""


@sagas.step
def leave(ctx: StepContext, x: str, how: str) -> str:
    """Go on with the second group, or with the first one again."""
    take(ctx, x)
    if "second" in how or ("again" in how and "~" not in ctx.step):
        raise Route("second" if "second" in how else "first")
    return f"stayed with {x}"


leave.compensation(name="combinations.unleave")(give_back)


@sagas.step
def end(ctx: StepContext, found: Any, how: str) -> str:
    """Tell all that was found, or fail."""
    if "fail" in how:
        raise Abort("as it was told", effect=False)
    return take(ctx, str(found))


end.compensation(name="combinations.undo_end")(give_back)


def finish(flow: Flow, found: Any, how: str) -> str:
    """A fragment, which is the end of most."""
    told: str = flow.step(end, found, how)
    return told


@sagas.step
def call_off(ctx: StepContext, x: str) -> None:  # noqa: ARG001 -- asked for
    """Undo several."""
    give_back(ctx)


def yes(how: str) -> bool:
    """A predicate."""
    return "yes" in how


def size(how: str) -> Literal["small", "large"]:
    """A router."""
    return "small" if "yes" in how else "large"


@sagas.saga
def part(flow: Flow, x: str) -> str:
    """A child."""
    with flow.parallel():
        first = flow.step(one, x)
        flow.step(two, x)
    return flow.step(one, first)


def piece(flow: Flow, x: str) -> str:
    """A fragment with steps that use one another, branches and a condition."""
    with flow.parallel():
        first = flow.step(one, x)
        with flow.sequence():
            second = flow.step(two, flow.step(two, x))
    with flow.when(yes, x):
        third = flow.step(one, second)
    return flow.step(two, flow.either(third, first))


def whole(flow: Flow, x: str) -> str:
    """A fragment that is a run."""
    return flow.child(part, x)


# --- what may stand in what --------------------------------------------------------------------

SAGAS: dict[str, Saga[Any, str]] = {}


def saga(**options: Any) -> Callable[[Callable[[Flow, str], Any]], None]:
    """Define a saga that is tried in all ways."""

    def define(build: Callable[[Flow, str], Any]) -> None:
        SAGAS[build.__name__] = sagas.saga(**options)(build)

    return define


@saga()
def maps_beside_steps(flow: Flow, how: str) -> str:
    """Maps as branches."""
    items = flow.step(many, how)
    with flow.parallel():
        ones = flow.map(one, items, concurrency=2)
        twos = flow.map(two, items)
        beside = flow.step(one, how)
    return finish(flow, {"ones": ones, "twos": twos, "beside": beside}, how)


@saga()
def blocks_in_elements(flow: Flow, how: str) -> str:
    """Each element has branches and a condition."""
    return finish(flow, flow.map(piece, flow.step(many, how), concurrency=2), how)


@saga()
def runs_as_elements(flow: Flow, how: str) -> str:
    """Each element has a run, which is what is done instead of a map in a map."""
    return finish(flow, flow.map(whole, flow.step(many, how), concurrency=2), how)


@saga()
def children_beside_each_other(flow: Flow, how: str) -> str:
    """Children as branches, and one in a condition."""
    with flow.parallel():
        left = flow.child(part, how)
        right = flow.options(name="right").child(part, how)
    with flow.when(yes, how):
        third = flow.options(name="third").child(part, right)
    return finish(flow, [left, flow.either(third, "none")], how)


@saga()
def waits_beside_steps(flow: Flow, how: str) -> str:
    """Branches that wait."""
    with flow.parallel():
        said = flow.wait(approved)
        made = flow.step(one, how)
        with flow.sequence():
            flow.sleep("1h")
            later = flow.step(two, how)
    return finish(flow, [said, made, later], how)


@saga()
def polls_beside_polls(flow: Flow, how: str) -> str:
    """Each is asked by itself."""
    with flow.parallel():
        left = flow.step(poll, how)
        right = flow.options(name="right").step(poll, how)
        beside = flow.step(one, how)
    return finish(flow, [left, right, beside], how)


@saga(compensation_order="graph")
def polls_in_elements(flow: Flow, how: str) -> str:
    """So is each element."""
    return finish(flow, flow.map(poll, flow.step(many, how), concurrency=2), how)


@saga(compensation_order="parallel")
def blocks_in_blocks(flow: Flow, how: str) -> str:
    """Four deep."""
    with flow.parallel():
        with flow.sequence():
            with flow.when(yes, how):
                with flow.parallel():
                    left = flow.step(one, how)
                    right = flow.step(two, how)
                with flow.when(yes, left), flow.graph():
                    deep = flow.step(one, flow.step(two, right))
            with flow.otherwise():
                shallow = flow.step(one, how)
        beside = flow.step(two, how)
    return finish(flow, [flow.either(deep, shallow, None), beside], how)


@saga()
def maps_in_cases(flow: Flow, how: str) -> str:
    """One list or another, or none."""
    items = flow.step(many, how)
    route = flow.choose(size, how)
    with route.case("small"):
        ones = flow.map(one, items)
    with route.default():
        flow.step(two, how)
    again = flow.map(two, flow.either(ones, []))
    return finish(flow, again, how)


@saga()
def maps_in_a_graph(flow: Flow, how: str) -> str:
    """A graph with a condition and a map."""
    with flow.graph():
        first = flow.step(one, how)
        with flow.when(yes, how):
            second = flow.step(two, first)
        third = flow.step(one, flow.either(second, first))
        mapped = flow.map(two, flow.step(many, how))
        return finish(flow, [third, mapped], how)


@saga()
def scopes_beside_each_other(flow: Flow, how: str) -> str:
    """One undo for branches, a condition among them, before a map."""
    with flow.undone_by(call_off, how), flow.parallel():
        left = flow.step(one, how)
        with flow.when(yes, how):
            right = flow.step(two, how)
    mapped = flow.map(one, flow.step(many, how))
    return finish(flow, [left, flow.either(right, None), mapped], how)


@saga()
def all_in_groups(flow: Flow, how: str) -> str:
    """Groups with maps, children, waits, scopes and branches."""
    with flow.group("first"):
        items = flow.step(many, how)
        with flow.undone_by(call_off, how), flow.parallel():
            flow.step(one, how)
            flow.step(two, how)
        mapped = flow.map(piece, items)
        flow.child(part, how)
        flow.wait(approved)
        stayed = flow.step(leave, how, how)
    with flow.group("second"):
        with flow.parallel():
            again = flow.options(name="again").child(part, how)
            flow.wait(approved)
        fresh_ones = flow.map(piece, flow.either(items, ["x"]), concurrency=2)
        ended = finish(flow, [mapped, again, fresh_ones], how)
    return flow.either(stayed, ended)


@saga()
def two_phases_of_all_kinds(flow: Flow, how: str) -> str:
    """Prepared side by side, if at all, after a wait; nobody may join."""
    with flow.two_phase():
        with flow.parallel():
            first = flow.step(hold, how, how)
            flow.options(name="other").step(hold, how, how)
        flow.wait(approved)
        with flow.when(yes, how):
            flow.options(name="third").step(hold, how, how)
    mapped = flow.map(one, flow.step(many, how))
    return finish(flow, [first, mapped], how)


@saga()
def two_phases_in_a_group(flow: Flow, how: str) -> str:
    """Decided in one visit."""
    with flow.group("first"):
        stayed = flow.step(leave, how, how)
    with flow.group("second"):
        with flow.two_phase():
            held = flow.step(hold, how, how)
            flow.step(two, how)
        ended = finish(flow, held, how)
    return flow.either(stayed, ended)


WAYS = ("yes", "no", "yes alone", "second yes", "second alone no", "again")
IN_GROUPS = [name for name in SAGAS if "group" in name]


def begun(name: str, how: str) -> tuple[Lab, LabRun[str]]:
    """A run that has come to rest, whatever it had to wait for."""
    lab = Lab()
    run = lab.start(SAGAS[name], how, id="r")
    lab.run(lambda: run.signal("approved", "by eve"))
    return lab, run


def forward_only(name: str, how: str) -> bool:
    """True if something was confirmed on the way."""
    there = "second" in how or name == "two_phases_of_all_kinds"
    return "two_phases" in name and there and "alone" not in how


def ways(name: str) -> list[str]:
    """What a saga is tried with."""
    return [how for how in WAYS if name in IN_GROUPS or not how.startswith(("second", "again"))]


each_way = pytest.mark.parametrize(("name", "how"), [(n, how) for n in SAGAS for how in ways(n)])


@each_way
def test_it_ends_and_a_cancel_undoes_all_of_it(name: str, how: str) -> None:
    """With a result that fits, and with nothing left behind."""
    lab, run = begun(name, how)
    assert run.status == "completed", run.story
    assert isinstance(run.result(), str)
    assert live
    if forward_only(name, how):
        with pytest.raises(CommandRefused, match="only goes forward"):
            run.cancel()
        return
    run.cancel()
    lab.run()
    assert (run.status, live) == ("compensated", {}), run.story


@pytest.mark.parametrize("name", SAGAS)
@pytest.mark.parametrize("how", ["second yes fail", "second alone fail"])
def test_what_fails_at_the_end_is_undone(name: str, how: str) -> None:
    """Unless it was confirmed: then the last step is owed."""
    _, run = begun(name, how)
    if forward_only(name, how):
        assert (run.status, run.state().owed) == ("failed", ("end",))
    else:
        assert (run.status, live) == ("compensated", {}), run.story


@pytest.mark.parametrize("name", [name for name in SAGAS if "two_phases" not in name])
def test_a_rewind_leads_to_the_same_end(name: str) -> None:
    """To whichever step that it may go back to; to others it is refused, with one to name."""
    how = "second yes" if name in IN_GROUPS else "yes"
    _, first = begun(name, how)
    result, there = first.result(), sorted(live.values())
    tried = inside = 0
    shown = [each.name for each in first.state().steps]
    steps = shown[:: 1 + len(shown) // 8]
    for step in steps:
        live.clear()
        lab, run = begun(name, how)
        try:
            run.rewind(to=step, reason="once more")
        except CommandRefused as refused:
            inside += refused.reason == "inside"
            continue
        tried += 1
        lab.run(lambda run=run: run.signal("approved", "by eve"))  # type: ignore[misc]
        assert (run.status, sorted(live.values())) == ("completed", there), run.story
        assert run.result() == result
    assert tried >= 2
    assert tried + inside == len(steps)
