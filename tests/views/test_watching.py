"""A run as a tree: what each step is at, or waits for."""

from __future__ import annotations

from celeriac.machine.awaited import Wait
from celeriac.machine.plans import Node, Plan, Undo
from celeriac.views.progress import Progress
from celeriac.views.watching import tree
from tests.machine.story import Story, budget, started, step


def lines(story: Story) -> list[str]:
    """The tree as it is now."""
    return tree(story.plan, story.run, story.now)


def test_a_run_on_its_way() -> None:
    """Done, at work, and still to come."""
    story = started("reserve", "charge", "ship", deadline=90_000).do("reserve").advance(2_000)
    story.claim("charge")
    story.advance(1_500)
    assert lines(story) == [
        "order-42: place_order running for 3.5 s; deadline in 1 min 26 s",
        "├─ reserve  completed",
        "├─ charge   running  attempt 1, for 1.5 s",
        "└─ ship     pending",
    ]


def test_what_a_step_waits_for() -> None:
    """The next attempt, or a worker that takes it."""
    story = started(step("reserve", retry=budget(3, 10_000)))
    story.advance(4_000)
    assert lines(story)[1] == "└─ reserve  scheduled  attempt 1, waits for a worker for 4.0 s"
    story.claim("reserve")
    story.fail("reserve")
    story.advance(4_000)
    assert lines(story)[1] == "└─ reserve  retrying  attempt 2 in 6.0 s"


def test_a_run_that_waits() -> None:
    """For how long, and how much of it is left."""
    wait = Node(name="approved", task="", wait=Wait(signal="approved", timeout=3_600_000))
    story = started("reserve", wait, signals={"approved": {}}).do("reserve").advance(60_000)
    assert lines(story) == [
        "order-42: place_order waiting for 1 min 00 s",
        "├─ reserve   completed",
        "└─ approved  waiting  for 1 min 00 s, 59 min 00 s left",
    ]
    story.pause()
    assert lines(story)[2] == "└─ approved  waiting  for 1 min 00 s"


def test_a_run_on_its_way_back() -> None:
    """Each compensation stands under its step; what has none is said to stay."""
    story = started("reserve", step("mail", undo=None), "charge").do("reserve", "mail", "charge")
    story.cancel()
    story.claim("charge", "undo")
    assert lines(story) == [
        "order-42: place_order compensating for 0.0 s",
        "├─ reserve  completed",
        "├─ mail     completed",
        "│  ↶ nothing: it has no compensation",
        "└─ charge   completed",
        "   ↶ undo_charge  running  attempt 1, for 0.0 s",
    ]


def test_the_grace_before_an_undo_is_told() -> None:
    """Nobody has to wonder why nothing happens."""
    story = started(step("reserve", retry=budget(1))).lose("reserve")
    assert "undone from in 5.0 s on" in lines(story)[0]
    assert lines(story)[1].endswith("unknown")


def test_a_held_run_says_so() -> None:
    """And what would come next."""
    story = started("reserve")
    story.pause()
    story.advance(7_200_000)
    assert lines(story) == [
        "order-42: place_order paused for 2 h 00 min; paused 2 h 00 min ago",
        "└─ reserve  held  before attempt 1",
    ]


def test_a_run_that_has_ended() -> None:
    """How, after how long, and what is owed."""
    story = started("reserve").do("reserve").advance(1_000)
    story.cancel()
    story.give_up("reserve", "undo")
    assert lines(story) == [
        "order-42: place_order failed after 1.0 s; owed: reserve",
        "└─ reserve  completed",
        "   ↶ undo_reserve  failed",
    ]


def test_a_deadline_that_has_passed() -> None:
    """Where it only alerts."""
    story = started("reserve", deadline=1_000, on_deadline="alert").advance(61_000)
    assert lines(story)[0].endswith("; 1 min 00 s overdue")


def test_what_undoes_several_steps_is_told_once() -> None:
    """Before the first of them, and where it stands as soon as its turn has come."""
    undo = Undo(task="shop.call_off", wants=())
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel", "car"))
    story = started(scope, step("hotel", undo=None), step("car", undo=None)).do("hotel")
    assert "├─ call_off  undoes hotel, car" in tree(story.plan, story.run, story.now)
    story.cancel()
    story.claim("call_off", "undo")
    lines = tree(story.plan, story.run, story.now)
    assert "├─ call_off  undoes hotel, car  ↶ running  attempt 1, for 0.0 s" in lines
    assert not [line for line in lines if "no compensation" in line]


def test_a_confirm_is_told_below_its_step() -> None:
    """As soon as its turn has come."""
    confirms = step("hold.confirm", undo=None, confirms="hold", after=("hold",))
    story = started("hold", confirms, step("last", after=("hold.confirm",)))
    assert not [line for line in tree(story.plan, story.run, story.now) if "confirm" in line]
    story.do("hold")
    story.claim("hold.confirm")
    lines = tree(story.plan, story.run, story.now)
    assert lines[1:3] == ["├─ hold  completed", "│  ✓ confirm  running  attempt 1, for 0.0 s"]


def test_a_run_that_visits_a_group_again() -> None:
    """Each visit has its steps; what a step left behind is skipped."""
    nodes = (
        step("ask", group="entry"),
        step("pay", group="entry", after=("ask",)),
        step("decide", group="manual"),
    )
    story = Story(Plan(saga="pay", nodes=nodes))
    story.start()
    for name, group in (("ask", "manual"), ("decide", "entry")):
        story.claim(name)
        story.complete(name, route=group)
    assert [line.split() for line in lines(story)[1:]] == [
        ["├─", "ask", "completed:", "manual"],
        ["├─", "pay", "skipped"],
        ["├─", "decide", "completed:", "entry"],
        [
            "├─",
            "ask~2",
            "scheduled",
            "attempt",
            "1,",
            "waits",
            "for",
            "a",
            "worker",
            "for",
            "0.0",
            "s",
        ],
        ["└─", "pay~2", "pending"],
    ]


def test_a_step_says_how_far_it_is() -> None:
    """Beside what it is at; what an undo says stands beside the undo."""
    story = started("print", "send")
    story.claim("print")
    said = {"print": Progress(done=3, total=10, text="labels\nprinted")}
    lines = tree(story.plan, story.run, story.now, said)
    assert [line for line in lines if "3 of 10" in line] == [lines[1]]
    assert lines[1].endswith(r"  3 of 10 labels\nprinted")
    story.complete("print")
    story.cancel()
    story.claim("print", "undo")
    lines = tree(story.plan, story.run, story.now, said)
    assert ["↶" in line for line in lines if "3 of 10" in line] == [True]


def test_a_progress_in_a_few_words() -> None:
    """As the step counts, and no more than it has said."""
    told = {
        "3 of 10 labels": (3, 10, "labels"),
        "0.5": (0.5, None, ""),
        "7 pages": (7, None, "pages"),
    }
    for words, (done, total, text) in told.items():
        assert str(Progress(done=done, total=total, text=text)) == words
