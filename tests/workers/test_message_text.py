"""What a message says of itself to people, and what Flower makes of it.

Owns: the two texts, also of a run that began anew, and how far an attempt says that it
is.  Refuses to know: Flower (`test_flower`).
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine import Delivery
from celeriac.flower import format_task
from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.workers.message_text import shown, texts_of
from celeriac.workers.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine import Phase


def texts(tries: int, phase: Phase = "do") -> dict[str, str]:
    """The texts of the first attempt of a step, in a try of its run."""
    run = Run("order-42", "place_order", "f", RunStatus.RUNNING, tries, 1_000, tries=tries)
    return texts_of(run, Dispatch("charge", phase, 1, 0))


def test_the_first_try_is_not_counted() -> None:
    """Most runs have one."""
    assert texts(1, "undo") == {
        "argsrepr": "order-42 · charge · undo #1",
        "kwargsrepr": shown(
            saga="place_order", run="order-42", step="charge", phase="compensation", attempt=1
        ),
    }


def test_a_later_try_is_told() -> None:
    """Both texts say which, or the attempts of two tries would look alike."""
    found = texts(2)
    assert found["argsrepr"] == "order-42 · try 2 · charge · #1"
    assert "'try': 2" in found["kwargsrepr"]


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("phase", ["do", "undo"])
def test_flower_shows_what_the_message_says(tries: int, phase: Phase) -> None:
    """Its text is made of what it can search in."""
    found = texts(tries, phase)
    task = SimpleNamespace(name="shop.charge", args="()", kwargs=found["kwargsrepr"])
    assert format_task(task).args == found["argsrepr"]


@pytest.mark.parametrize(
    ("told", "state", "more"),
    [
        ("{} · 3 of 10 labels printed", "PROGRESS", " · 3 of 10 labels printed"),
        ("{} · 3 of 10 labels printed", "SUCCESS", ""),
        ("{} · 3 of 10 labels printed", "STARTED", ""),
        ("order-42 · charge · #2 · 3 of 10", "PROGRESS", ""),
        ("{}0 · 3 of 10", "PROGRESS", ""),
        (None, "PROGRESS", ""),
        (("order-42",), "PROGRESS", ""),
    ],
)
def test_flower_shows_how_far_an_attempt_is(told: Any, state: str, more: str) -> None:
    """While it is at work; whatever came over the broker, its page is shown."""
    found = texts(1)
    args = told.format(found["argsrepr"]) if isinstance(told, str) else told
    task = SimpleNamespace(name="shop.charge", kwargs=found["kwargsrepr"], state=state, args=args)
    assert format_task(task).args == found["argsrepr"] + more


class Stuck:
    """A task whose broker answers when it is let go."""

    send_events = True

    def __init__(self) -> None:
        self.asked, self.go, self.over = (threading.Event() for _ in range(3))
        self.sent: list[Any] = []
        self.app, self.events = self, self
        self.saga_runtime = SimpleNamespace(progress=SimpleNamespace(events_wanted=True))

    @contextmanager
    def default_dispatcher(self, hostname: str) -> Iterator[Stuck]:
        """Keep whoever sends until it is let go."""
        assert hostname == "w1@here"
        self.asked.set()
        assert self.go.wait(10)
        yield self

    def send(self, kind: str, **fields: Any) -> None:
        """Note what was sent; the first time, the broker is away."""
        self.sent.append((kind, fields["uuid"], fields["args"]))
        if len(self.sent) == 1:
            raise ConnectionError
        self.over.set()


PRINTING: Any = SimpleNamespace(
    delivery=Delivery("order-42", 0, "print", "do", 1, ""), run=SimpleNamespace(tries=1)
)


def test_a_body_does_not_wait_for_the_broker() -> None:
    """What comes meanwhile is left out, but for the newest."""
    task = Stuck()
    tell = Teller(task, "order-42:print:1", {"hostname": "w1@here"}, PRINTING)
    tell("1 of 3")
    assert task.asked.wait(10)
    tell("2 of 3")
    tell("3 of 3")
    task.go.set()
    assert task.over.wait(10)
    about = ("task-progress", "order-42:print:1")
    first, last = (f"order-42 · print · #1 · {n} of 3" for n in (1, 3))
    assert task.sent == [(*about, first), (*about, last)]


def test_nothing_is_told_if_nobody_listens() -> None:
    """Or if the task is to tell nothing, as Celery has it."""
    quiet, silent = Stuck(), Stuck()
    quiet.saga_runtime.progress.events_wanted = False
    silent.send_events = False
    for task in (quiet, silent):
        task.go.set()
        Teller(task, "order-42:print:1", {"hostname": "w1@here"}, PRINTING)("1 of 3")
        assert not task.asked.is_set()


def test_a_forged_text_is_left_as_it_came() -> None:
    """Whoever can write to the broker can send what looks like one of ours."""
    forged = texts(2)["kwargsrepr"].replace("'try'", "'card'")
    task = SimpleNamespace(name="shop.charge", args="()", kwargs=forged)
    assert format_task(task).args == "()"
