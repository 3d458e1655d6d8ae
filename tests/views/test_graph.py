"""A saga or a run as a picture: what is drawn how, and that names cannot draw."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from celeriac.machine.plans import Node, Plan, Undo
from celeriac.machine.steps import PhaseStatus
from celeriac.views.drawing import draw
from celeriac.views.graph import graph_of
from tests.machine.story import Story, saga, started, step


def half_undone() -> Story:
    """A cancelled run whose second step is undone, and whose third never started."""
    story = started("reserve", "charge", "ship").do("reserve", "charge")
    story.cancel()
    return story.undo("charge")


def test_a_run_is_drawn_in_two_lanes() -> None:
    """Forward above, undo below; what was begun is solid, what is only planned is dashed."""
    story = half_undone()
    assert draw(graph_of(story.plan, story.run), "ascii").splitlines() == [
        "order-42: place_order (version 1), compensating",
        "",
        "+--------------+     +-------------+     +- - - - - -+",
        "| reserve      | --> | charge      | ..> : ship      :",
        "+--------------+     +-------------+     +- - - - - -+",
        "  completed            completed           skipped",
        "+- - - - - - - +     +-------------+     +- - - - - -+",
        ": undo_reserve : <.. | undo_charge | <.. : undo_ship :",
        "+- - - - - - - +     +-------------+     +- - - - - -+",
        "  compensating         compensated",
    ]


def test_a_saga_is_drawn_without_a_run() -> None:
    """What it does is solid, what it would undo is dashed; a pivot is marked."""
    plan = saga("reserve", step("charge", pivot=True, undo=None))
    assert draw(graph_of(plan), "ascii").splitlines()[2:] == [
        "+--------------+     +----------------+",
        "| reserve      | --> | charge (pivot) |",
        "+--------------+     +----------------+",
        "+- - - - - - - +",
        ": undo_reserve :",
        "+- - - - - - - +",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 200])
def test_a_picture_is_no_wider_than_the_terminal(width: int) -> None:
    """It goes on below, with the arrow that leads there; each step is drawn once."""
    plan = saga(*(f"s{n}" for n in range(9)))
    lines = draw(graph_of(plan), "ascii", width).splitlines()
    assert max(map(len, lines[1:])) <= width
    for number in range(9):
        assert sum(f"| s{number} " in line for line in lines) == 1
    bands = [line for line in lines if "| s" in line]
    assert all(line.startswith(" --> ") for line in bands[1:])
    assert (len(bands) > 1) == (width < 120)


def test_what_runs_side_by_side_is_drawn_one_below_the_other() -> None:
    """What arrows between neighbours cannot show is said in words."""
    plan = saga(
        step("a"), step("b", after=("a",)), step("c", after=("a",)), step("d", after=("b", "c"))
    )
    graph = graph_of(plan)
    assert [(cell.column, cell.row) for cell in graph.cells] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert draw(graph, "ascii").splitlines()[-2:] == ["c waits for a", "d waits for b, c"]


@pytest.mark.parametrize("where", PhaseStatus)
def test_a_step_is_drawn_wherever_it_stands(where: PhaseStatus) -> None:
    """Whatever the machine has for it: none of them may keep people from the picture of a run."""
    story = started("reserve", "charge")
    stands = story.run.step("reserve")
    stands = replace(stands, do=replace(stands.do, state=where, attempt=1))
    run = replace(story.run, steps=story.run.steps.put({"reserve": stands}))
    text = draw(graph_of(story.plan, run), "ascii")
    shown = "completed" if where is PhaseStatus.WAIVED else run.step("reserve").status.value
    assert shown in text or where is PhaseStatus.IDLE


def test_attempts_are_counted_in_the_picture() -> None:
    """From the second on."""
    story = started("reserve").lose("reserve")
    story.claim("reserve")
    assert "running #2" in draw(graph_of(story.plan, story.run), "ascii")


def test_mermaid_draws_solid_and_dashed() -> None:
    """Arrows and boxes as their own language spells them."""
    story = half_undone()
    text = draw(graph_of(story.plan, story.run), "mermaid")
    assert "flowchart LR" in text
    assert 'do0["reserve<br/>completed"]:::good' in text
    assert 'do2["ship<br/>skipped"]:::plannedplain' in text
    assert "    do0 --> do1" in text
    assert "    do1 -.-> do2" in text
    assert "    undo1 -.-> undo0" in text
    used = {line.rpartition(":::")[2] for line in text.splitlines() if ":::" in line}
    assert all(f"classDef {style} " in text for style in used)


def test_an_undo_passes_over_what_has_none() -> None:
    """The arrow leads to the nearest step before it that can be undone."""
    text = draw(graph_of(saga("a", step("b", undo=None), "c")), "mermaid")
    assert "    undo2 -.-> undo0" in text


def test_svg_is_well_formed() -> None:
    """One box for each lane of a step, dashed where it is only planned."""
    story = half_undone()
    root = ET.fromstring(draw(graph_of(story.plan, story.run), "svg"))  # noqa: S314 -- our own
    boxes = [each for each in root.iter() if each.tag.endswith("rect") and each.get("rx")]
    assert len(boxes) == 6
    assert sum(each.get("stroke-dasharray") is not None for each in boxes) == 3


EVIL = "\"]:::x; <script>alert(1)</script> {{7*7}}\x1b[31m\n--> & 'quoted'"


def test_a_name_cannot_draw() -> None:
    """Whatever it holds comes out as text, in every language."""
    graph = graph_of(saga(step(EVIL, task="shop.evil")))
    ascii_ = draw(graph, "ascii")
    assert "\x1b" not in ascii_
    mermaid = draw(graph, "mermaid")
    assert "<script>" not in mermaid
    assert sum(line.strip().startswith("do0[") for line in mermaid.splitlines()) == 1
    assert '"]:::x' not in mermaid
    root = ET.fromstring(draw(graph, "svg"))  # noqa: S314 -- our own
    assert not [each for each in root.iter() if each.tag.endswith("script")]


def scoped() -> Story:
    """Pay, then a hotel and a car that are undone as one, then a confirmation; half undone."""
    undo = Undo(task="shop.call_off", wants=())
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel", "car"))
    nodes = step("hotel", undo=None, after=("pay",)), step("car", undo=None, after=("hotel",))
    story = started("pay", scope, *nodes, step("confirm"))
    story.do("pay", "hotel", "car").give_up("confirm", effect=False)
    story.claim("call_off", "undo")
    return story


def test_a_scope_is_a_frame_with_one_undo() -> None:
    """Below the first of its steps; arrows lead past the others."""
    story = scoped()
    graph = graph_of(story.plan, story.run)
    assert [cell.name for cell in graph.cells] == ["pay", "hotel", "car", "confirm"]
    text = draw(graph, "mermaid")
    assert 'undo1("call_off<br/>compensating"):::busy' in text
    assert '    subgraph frame0["undone by call_off"]\n        do1 & do2\n    end' in text
    assert "    undo3 -.-> undo1" in text
    assert "    undo1 -.-> undo0" in text
    assert "undone by call_off: hotel, car" in draw(graph, "ascii")
    root = ET.fromstring(draw(graph, "svg"))  # noqa: S314 -- our own
    assert "undone by call_off" in [each.text for each in root.iter()]


def test_two_phases_are_a_frame() -> None:
    """Around what is prepared and what confirms it."""
    confirms = step("hold.confirm", undo=None, confirms="hold", after=("hold",))
    story = started("hold", confirms).do("hold")
    text = draw(graph_of(story.plan, story.run), "mermaid")
    assert 'do1["hold.confirm<br/>confirming"]' in text
    assert '    subgraph frame0["two phases"]\n        do0 & do1\n    end' in text
    assert "two phases: hold, hold.confirm" in draw(graph_of(story.plan, story.run), "ascii")


def in_groups() -> Plan:
    """Two groups, the first with two phases inside; what it begins with may leave it."""
    nodes = (
        step("ask", group="entry", routes=("manual",)),
        step("hold", group="entry", after=("ask",)),
        Node(name="take", task="t", group="entry", after=("hold",), confirms="hold"),
        step("decide", group="manual"),
    )
    return Plan(saga="pay", nodes=nodes)


def test_groups_of_a_saga_are_frames_one_below_the_other() -> None:
    """With what may go on with another, since no arrow leads there."""
    lines = draw(graph_of(in_groups()), "ascii").splitlines()
    assert "| ask                   | --> | hold      | --> | take |" in lines
    assert any("may go on with manual" in line for line in lines)
    assert lines[-3:] == [
        "two phases: hold, take",
        "group entry: ask, hold, take",
        "group manual: decide",
    ]
    rows = {cell.name: cell.row for cell in graph_of(in_groups()).cells}
    assert rows == {"ask": 0, "hold": 0, "take": 0, "decide": 1}


def test_visits_of_a_run_are_frames_one_behind_the_other() -> None:
    """Groups that it has not visited are not drawn; what was left is dashed."""
    story = Story(in_groups())
    story.start()
    story.claim("ask")
    story.complete("ask", route="manual")
    story.claim("decide")
    story.complete("decide", route="entry")
    graph = graph_of(story.plan, story.run)
    assert [frame.label for frame in graph.frames if frame.around] == [
        "group entry",
        "group manual",
        "group entry, visit 2",
    ]
    assert {cell.name: cell.when for cell in graph.cells}["hold"] == ()
    assert graph.by_name["ask"].do.note == "completed: manual"
    mermaid = draw(graph, "mermaid").splitlines()
    inside = mermaid.index('    subgraph frame1["group entry"]')
    assert mermaid[inside + 1 : inside + 5] == [
        '        subgraph frame0["two phases"]',
        "            do1 & do2",
        "        end",
        "        do0",
    ]
    root = ET.fromstring(draw(graph, "svg"))  # noqa: S314 -- our own
    told = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "group entry, visit 2" in told
