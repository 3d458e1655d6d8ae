"""Groups, as the state machine goes from one visit to the next.

Owns: what a route leads to, and which step belongs to which visit.  Refuses to know: bodies and
payloads (`tests/testing/test_groups.py`), and how groups are planned (`tests/authoring`).
"""

from __future__ import annotations

import pytest

from celeriac.machine import Constant, FirstOf, FromMap, FromStep, Guard
from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Signal
from celeriac.machine.plans import Node, Plan
from celeriac.machine.timing import due
from celeriac.machine.visits import as_visited, laid_out, visits_of
from tests.machine.story import Story, mapped, refused, step


def two_groups(**values: object) -> Plan:
    """Two steps in the first group, one in the second."""
    nodes = (
        step("ask", group="entry"),
        step("pay", group="entry", after=("ask",)),
        step("decide", group="manual"),
    )
    return Plan(**{"saga": "pay", "nodes": nodes, **values})


def started(plan: Plan | None = None) -> Story:
    """A run that was accepted."""
    story = Story(plan or two_groups())
    story.start()
    return story


def leave(story: Story, step: str, group: str) -> None:
    """Let a step be done that goes on with another group."""
    story.claim(step)
    story.complete(step, route=group)


def names(story: Story) -> list[str]:
    """The steps of the run as it is now."""
    return [node.name for node in as_visited(story.plan, story.run).nodes]


def test_a_run_ends_at_the_end_of_a_group() -> None:
    """Nothing of the others is ever done, or waited for."""
    story = started().do("ask", "pay")
    assert story.status == "completed"
    assert names(story) == ["ask", "pay"]
    story.check_history()


def test_a_route_is_followed_once_its_step_has_settled() -> None:
    """What stands behind it is skipped; the first of the other group is sent."""
    story = started()
    story.claim("ask")
    assert story.run.routes == ()
    done = story.complete("ask", route="manual")
    assert [each.step for each in done.dispatches] == ["decide"]
    assert story["pay"].do.state == "skipped"
    assert not story.complete("ask", route="manual").events  # the reply was lost
    story.do("decide")
    assert story.status == "completed"
    story.check_history()


def test_a_retry_comes_before_a_route() -> None:
    """An attempt that failed leaves no group, whatever the one after it says."""
    story = started()
    story.claim("ask")
    story.fail("ask")
    with refused("unknown_step"):
        story.claim("decide")
    story.advance(60_000).wake()
    leave(story, "ask", "manual")
    assert story.run.routes == (("ask", "manual"),)


def test_a_group_that_is_visited_again_has_steps_of_its_own() -> None:
    """With numbers, attempts and a place of their own; the last are undone first."""
    story = started()
    leave(story, "ask", "manual")
    leave(story, "decide", "entry")
    with refused("completed"):
        story.claim("ask", attempt=1)
    story.do("ask~2", "pay~2")
    assert story.status == "completed"
    assert names(story) == ["ask", "pay", "decide", "ask~2", "pay~2"]
    story.cancel()
    for name in ("pay~2", "ask~2", "decide", "ask"):
        assert {each.step for each in due(story.run)} == {name}
        story.undo(name)
    assert story.status == "compensated"
    story.check_history()


def test_a_lost_success_leaves_the_group_all_the_same() -> None:
    """A late report with a route is used as long as nobody else was asked."""
    story = started()
    story.lose("ask")
    story.complete("ask", attempt=1, route="manual")
    story.do("decide")
    assert story.status == "completed"
    story.check_history()


def test_a_late_route_of_a_run_that_goes_back_is_only_noted() -> None:
    """The step is undone, and no group is visited."""
    story = started()
    story.lose("ask")
    story.cancel()
    story.complete("ask", attempt=1, route="manual")
    story.advance(60_000).wake()
    story.undo("ask")
    assert story.status == "compensated"
    assert "decide" not in names(story)


def test_no_command_names_a_visit_that_was_not_made() -> None:
    """Neither of a group that was not visited, nor of one visit more."""
    story = started()
    for name in ("decide", "ask~2", "ask~1", "ask~", "nothing~2"):
        with refused("unknown_step"):
            story.skip(name)
    leave(story, "ask", "entry")
    with refused("unknown_step"):
        story.skip("ask~3")
    with refused("unknown_step"):
        story.skip("ask~1")


def test_a_group_that_there_is_not_is_refused() -> None:
    """Whoever reports it has a plan of his own."""
    story = started()
    story.claim("ask")
    with refused("unknown_group"):
        story.complete("ask", route="nowhere")


def test_a_step_counts_in_each_visit() -> None:
    """One more than the run may start fails; all that was done is undone."""
    story = started(two_groups(max_steps=3))
    for name in ("ask", "ask~2", "ask~3"):
        leave(story, name, "entry")
    assert story.status == "compensating"
    assert story.run.failed_step == "ask~4"
    story.undo("ask~3", "ask~2", "ask")
    assert story.status == "compensated"
    story.check_history()


def test_without_a_limit_of_its_own_a_loop_ends_all_the_same() -> None:
    """The plan of the run grows with its visits, and what it may start does not."""
    plan = two_groups()
    routes = tuple((f"ask~{n}" if n > 1 else "ask", "entry") for n in range(1, 6))
    assert laid_out(plan, routes).most_steps == plan.most_steps == 1_024


def test_a_signal_may_be_for_a_visit_to_come() -> None:
    """As long as the run goes on, any group may be visited."""
    wait = Node(name="approved", task="", wait=Wait(signal="approved"), group="manual")
    nodes = (step("ask", group="entry"), wait)
    story = started(Plan(saga="pay", nodes=nodes, signals={"approved": {}}))
    story.give(Signal("approved", "early"))
    leave(story, "ask", "manual")
    assert story.status == "completed"
    story.check_history()


def test_maps_have_elements_for_each_visit() -> None:
    """Their names have the number of the visit before that of the element."""
    node = mapped("ship", group="entry")
    nodes = (node, step("tell", group="entry", after=("ship",)))
    story = started(Plan(saga="pay", nodes=nodes))
    story.expand("ship", 1)
    story.do("ship[0]")
    leave(story, "tell", "entry")
    story.expand("ship~2", 2)
    story.do("ship~2[0]", "ship~2[1]", "tell~2")
    assert story.status == "completed"
    story.cancel()
    story.undo("tell~2", "ship~2[1]", "ship~2[0]", "tell", "ship[0]")
    assert story.status == "compensated"
    story.check_history()


def test_past_a_pivot_of_any_visit_the_run_only_goes_forward() -> None:
    """Also if the first visit was left before it."""
    nodes = (
        step("ask", group="entry"),
        step("pay", group="entry", after=("ask",), pivot=True),
        step("tell", group="entry", after=("pay",)),
    )
    story = started(Plan(saga="pay", nodes=nodes))
    leave(story, "ask", "entry")
    story.do("ask~2")
    story.claim("pay~2")
    story.complete("pay~2")
    with refused("past_pivot"):
        story.cancel()


def test_a_new_try_has_visited_nothing() -> None:
    """It begins with the first group, under keys of its own."""
    plan = two_groups(retries=1, retry_delay=0)
    story = started(plan)
    leave(story, "ask", "manual")
    story.claim("decide")
    story.fail("decide", kind="abort", effect=False)
    story.undo("ask")
    assert (story.status, story.run.tries, story.run.routes) == ("running", 2, ())
    story.do("ask", "pay")
    assert story.status == "completed"
    story.check_history()


# --- the plan of a run -------------------------------------------------------------------------


def test_a_visit_comes_behind_the_one_before() -> None:
    """Its first steps wait for the last ones of that, and what was left is guarded out."""
    plan = laid_out(two_groups(), (("ask", "manual"), ("decide", "entry")))
    assert [(node.name, node.after) for node in plan.nodes] == [
        ("ask", ()),
        ("pay", ("ask",)),
        ("decide", ("pay",)),
        ("ask~2", ("decide",)),
        ("pay~2", ("ask~2",)),
    ]
    assert plan.by_name["pay"].guards == (Guard(step="ask", among=()),)
    assert plan.by_name["pay~2"].guards == ()
    told = [(group, number) for group, number, _ in visits_of(plan)]
    assert told == [("entry", 1), ("manual", 1), ("entry", 2)]


def test_the_plan_of_a_run_is_still_that_plan() -> None:
    """It has its fingerprint, and is made anew from the whole."""
    whole = two_groups()
    plan = laid_out(whole, (("ask", "manual"),))
    assert plan.fingerprint == whole.fingerprint
    assert laid_out(plan, ()) == laid_out(whole, ())
    assert laid_out(whole, (("ask", "manual"),)) is plan


@pytest.mark.parametrize(
    ("routes", "known"),
    [
        ((), [None]),
        ((("ask", "manual"),), [None, "pay"]),
        ((("pay", "manual"), ("decide", "entry"), ("pay~2", "manual")), [None, "pay", "pay~2"]),
    ],
)
def test_a_value_of_another_group_is_that_of_the_visit_before(
    routes: tuple[tuple[str, str], ...], known: list[str | None]
) -> None:
    """Or None, if that was not visited; what came later changes nothing."""
    used = step("decide", group="manual", args={"known": FromStep(step="pay", path=("id",))})
    nodes = (*two_groups().nodes[:2], used)
    plan = laid_out(Plan(saga="pay", nodes=nodes), routes)
    found = [node.args["known"] for node in plan.nodes if node.group == "manual"]
    wanted = [FirstOf(first=(FromStep(step=name, path=("id",)),)) for name in known[1:] if name]
    assert found == wanted


def test_the_result_is_that_of_the_latest_visits() -> None:
    """With None for what was not visited; a list of a map keeps its elements."""
    each = FromStep(step="ship[]", path=())
    result = FirstOf(first=(FromStep(step="decide"), FromMap(map="ship", each=each)))
    nodes = (step("ask", group="entry"), mapped("ship", group="entry"))
    whole = Plan(saga="pay", nodes=(*nodes, step("decide", group="manual")), result=result)
    plan = laid_out(whole, (("ask", "entry"),))
    (found,) = plan.result.first[0].first  # type: ignore[union-attr]
    assert found == FromMap(map="ship~2", each=FromStep(step="ship~2[]"))
    alone = whole.model_copy(update={"result": FromStep(step="decide")})
    fresh = Plan(**{name: getattr(alone, name) for name in Plan.model_fields})
    assert laid_out(fresh, ()).result == Constant(value=None)


def test_a_loop_of_a_thousand_visits_is_laid_out() -> None:
    """As far as the limit of steps lets a run go."""
    routes = tuple((f"ask~{n}" if n > 1 else "ask", "entry") for n in range(1, 1_000))
    plan = laid_out(two_groups(), routes)
    assert plan.nodes[-1].name == "pay~1000"
