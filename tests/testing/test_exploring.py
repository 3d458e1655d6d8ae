"""The crash explorer finds what everybody gets wrong once, and says so in a test to paste.

Owns: the four mistakes of the teaching example, the example that makes none, and the report's
honesty about what was not tried.  Refuses to know: how a schedule is carried out.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import InputInvalid
from celeriac.settings import Settings
from celeriac.testing import BrokenLaw, Lab, check_compensation, explore
from celeriac.testing.exploration_progress import estimate
from celeriac.testing.faults import course_of, paths_of, possible_faults
from tests.testing import example_mistakes, sagas, shop
from tests.testing.example_mistakes import MISTAKES, balance, buy, check, fresh

if TYPE_CHECKING:
    from celeriac import Step
    from celeriac.testing import LabRun

ORDER = example_mistakes.Order(id="42", amount=30)
A_LONG_TIME = 150.0  # seconds; nothing here needs it, on a machine that is not busy

FOUND: dict[str, str] = {
    "a step without idempotency": "paid 60 for an order that was undone",
    "an undo that is not idempotent": "paid -30 for an order that was undone",
    "an undo that fails when nothing was done": "the compensation of pay_or_not gave up",
    "an undo that runs before a late effect": "paid 30 for an order that was undone",
}
BROKEN: dict[Step[Any, Any, Any], str] = {
    example_mistakes.pay_each_time: "a step done twice under one key is done once",
    example_mistakes.pay_then_refund_twice: "an undo done twice is an undo done once",
    example_mistakes.pay_or_not: "an undo of nothing does nothing, and succeeds",
    example_mistakes.pay_by_post: "an effect that arrives after its undo does not stay",
}


# --- exploring ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_and_told_as_a_test(mistake: str) -> None:
    """The shortest schedule that fails is a story, and Python that fails for the same reason."""
    report = explore(MISTAKES[mistake], ORDER, check=check, fresh=fresh, seconds=A_LONG_TIME)
    assert not report.ok
    found = report.shortest
    assert found is not None
    assert FOUND[mistake] in found.problem
    assert found.problem in str(report)
    assert found.story in str(report)
    assert found.test in str(report)
    test = pasted(found.test)
    lab = Lab()
    with pytest.raises(AssertionError) as failed:
        test(lab)
    assert found.problem in str(failed.value) or lab.find("run-1").status == "failed"
    assert lab.story() == found.story


def test_the_mended_example_passes_ahead() -> None:
    """The same where workers run ahead: every path and fault, and the new commit among them."""
    settings = Settings(run_ahead=10)
    lab = Lab(settings)
    fresh()
    lab.start(buy, ORDER)
    assert len(lab.run().world.observed.mail) == 1
    budget = {"pairs": False, "seconds": A_LONG_TIME, "settings": settings}
    report = explore(buy, ORDER, check=check, fresh=fresh, **budget)  # type: ignore[arg-type]
    assert report.ok, report
    assert all(level.tried == level.possible for level in report.levels)
    assert report.missed == 0


def test_the_mended_example_passes() -> None:
    """Every path and every single fault is tried, and as many pairs as the budget allows."""
    report = explore(buy, ORDER, check=check, fresh=fresh, most=600, seconds=A_LONG_TIME)
    assert report.ok, report
    paths, single, double = report.levels
    assert (paths.tried, paths.left_out) == (paths.possible, "")
    assert (single.tried, single.left_out) == (single.possible, "")
    assert 0 < double.tried < double.possible
    assert f"not tried: {double.possible - double.tried:,} (most=600" in str(report)
    assert report.tried == 600
    assert report.missed == 0


def test_pairs_are_tried_to_the_end() -> None:
    """With the budget for it, two faults at a time are tried at every two points there are."""
    report = explore(shop.measure, 1, most=100_000, seconds=A_LONG_TIME)
    assert report.ok, report
    assert [(level.tried, level.left_out) for level in report.levels] == [
        (level.possible, "") for level in report.levels
    ]
    assert report.levels[2].possible > 20 * report.levels[1].possible
    assert report.missed == 0


def test_every_kind_of_fault_is_tried() -> None:
    """A course offers deaths, zombies, messages, late effects and cancels, whoever is at work."""
    lab = Lab()
    lab.fail("charge", after=True)
    lab.lose("charge")
    lab.start(buy, ORDER)
    lab.run()
    tried = {(each.verb, each.at) for each in possible_faults(course_of(lab.world), -1)}
    tried |= {(each.verb, each.at) for path in paths_of(buy.planned.plan) for each in path}
    wanted = {
        ("crash", "client before commit"),
        ("crash", "client before send"),
        ("crash", "charge before claim"),
        ("crash", "charge before body"),
        ("crash", "charge before report"),
        ("crash", "reserve before send"),
        ("crash", "undo charge before report"),
        ("crash", "sweep before commit"),
        ("crash", "sweep before send"),
        ("stop", "charge before body"),
        ("stop", "undo reserve before report"),
        ("stop", "sweep before commit"),
        ("late", "charge"),
        ("late", "undo charge"),
        ("lose", "charge"),
        ("lose", "undo charge"),
        ("double", "reserve"),
        ("delay", "undo reserve"),
        ("cancel", "charge before claim"),
        ("cancel", "charge before report"),
        ("cancel in the end", ""),
        ("fail", "reserve"),
        ("fail", "charge"),
    }
    assert wanted - tried == set()


def test_a_saga_without_a_check() -> None:
    """Whether runs come to rest, and nothing is owed, is seen without one."""
    report = explore(shop.place_order, shop.Order(id="1"), pairs=False, most=120)
    assert report.ok, report
    assert report.levels[-1].left_out == "most=120 schedules were tried"
    assert "with two faults  not tried" in str(report)


def test_a_step_that_an_operator_looks_after() -> None:
    """What is unknown of `effect="none"` rests in `failed` by design, and is no mistake."""
    ended: set[str] = set()
    report = explore(
        shop.announce,
        "everybody",
        check=lambda run: ended.add(run.status.value),
        fresh=shop.mailbox.clear,
        pairs=False,
        seconds=A_LONG_TIME,
    )
    assert report.ok, report
    assert ended == {"completed", "compensated", "failed"}


def test_a_saga_that_only_goes_forward_from_its_pivot() -> None:
    """A cancel that is refused is no fault, nor is a step that is tried for ever."""
    report = explore(
        sagas.past_pivot, "an order", pairs=False, seconds=A_LONG_TIME, fresh=sagas.fresh
    )
    assert report.ok, report
    assert explore(shop.for_ever, pairs=False, seconds=A_LONG_TIME).ok


def test_input_that_is_wrong() -> None:
    """What `start` refuses, `explore` refuses."""
    with pytest.raises(InputInvalid):
        explore(buy, "no order", check=check, fresh=fresh)


def test_a_check_that_raises_anything() -> None:
    """A check that itself stumbles says so; what cannot be named in the test is said too."""

    def stumbling(run: LabRun[Any]) -> None:
        raise KeyError(run.id)

    report = explore(buy, ORDER, check=stumbling, fresh=fresh)
    assert report.shortest is not None
    assert report.shortest.problem == "the check raised KeyError: 'run-1'"
    assert report.shortest.schedule == ()
    assert "# check: as given to explore" in report.shortest.test
    with pytest.raises(KeyError):
        pasted(report.shortest.test, check=stumbling)(Lab())


def test_a_plain_assert_is_told_by_its_line() -> None:
    """An assert without a message is told as it is written."""

    def plain(run: LabRun[Any]) -> None:
        assert run.status == "workload"

    report = explore(buy, ORDER, check=plain, fresh=fresh)
    assert report.shortest is not None
    assert 'run.status == "workload"' in report.shortest.problem or "workload" in str(report)


def test_the_time_that_is_given_is_kept() -> None:
    """A budget that is used up ends the exploration, and the report says what was left out."""
    report = explore(buy, ORDER, check=check, fresh=fresh, seconds=0.05)
    assert report.ok
    assert any(level.left_out == "the time was used up" for level in report.levels)
    assert "(the time was used up)" in str(report)


def pasted(text: str, **names: Any) -> Any:
    """The function in the text of a test."""
    space: dict[str, Any] = dict(names)
    exec(compile(text, "<pasted>", "exec"), space)  # noqa: S102 -- what explore has written
    return space["test_explored"]


# --- the laws of compensation ------------------------------------------------------------------


@pytest.mark.parametrize("step", BROKEN, ids=lambda step: step.name)
def test_a_broken_law_is_named(step: Step[Any, Any, Any]) -> None:
    """Each of the four breaks one law, which is named, with the story of how."""
    with pytest.raises(BrokenLaw) as broken:
        check_compensation(step, ORDER, state=balance, fresh=fresh)
    assert f"broken: {BROKEN[step]}" in str(broken.value)
    assert str(broken.value).count("broken: ") == 1
    assert step.name.rpartition(".")[2] + " · #1 claimed" in str(broken.value)


def test_a_step_that_keeps_all_laws() -> None:
    """Nothing is said of a step that is right."""
    check_compensation(example_mistakes.charge, ORDER, "held", state=balance, fresh=fresh)
    check_compensation(
        example_mistakes.reserve,
        order=ORDER,
        state=lambda: set(example_mistakes.stock.held),
        fresh=fresh,
    )


def test_laws_about_what_nobody_knows() -> None:
    """A step whose unknown outcomes an operator looks after is held to the other laws only."""
    check_compensation(shop.mail, "x", state=lambda: list(shop.mailbox), fresh=shop.mailbox.clear)


def test_an_undo_that_undoes_nothing() -> None:
    """A compensation that does not take back what was done breaks the first law of all."""

    def standing() -> int:
        return len(shop.log)

    with pytest.raises(BrokenLaw, match="an undo takes back what the step did"):
        check_compensation(shop.reserve, shop.Order(id="1"), state=standing, fresh=shop.log.clear)


def test_a_step_that_does_not_even_succeed() -> None:
    """A step that fails with these arguments cannot be held to anything."""
    with pytest.raises(BrokenLaw, match="does not succeed with these arguments"):
        check_compensation(example_mistakes.charge, ORDER, "held", state=balance, fresh=closed)


def test_what_cannot_be_checked() -> None:
    """A step without a compensation has no laws to keep."""
    with pytest.raises(InputInvalid, match="has a compensation"):
        check_compensation(shop.ship, state=balance, fresh=fresh)


def closed() -> None:
    """A world in which this was refunded already."""
    fresh()
    example_mistakes.bank.closed.add("law:charge")


# --- what it tells while it works ----------------------------------------------------------------


class Screen(io.StringIO):
    """A terminal, as far as a program can see."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits sees a bar for each level, with the number of schedules."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    report = explore(buy, ORDER, check=check, fresh=fresh, pairs=False)
    for level in report.levels:
        assert f"buy, {level.name} (at most " in screen.getvalue()
        assert f"{level.possible}/{level.possible}" in screen.getvalue()


def test_a_log_tells_how_long_it_will_take(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal nothing is drawn; the log has a line for each level."""
    caplog.set_level("INFO", "celeriac.testing.explore")
    report = explore(buy, ORDER, check=check, fresh=fresh, pairs=False)
    paths, faults = caplog.messages
    assert paths == f"buy, paths: {report.levels[0].possible:,} schedules, in at most 30 s"
    assert faults.startswith(f"buy, with one fault: {report.levels[1].possible:,} schedules, in ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("schedules", "rate", "told"),
    [
        (1_200, None, "1,200 schedules, in at most 30 s"),
        (1_200, 100.0, "1,200 schedules, in about 12 s"),
        (10, 100.0, "10 schedules, in about 1 s"),
        (12_000, 100.0, "12,000 schedules would take about 120 s; stops after 30 s"),
    ],
)
def test_the_estimate(schedules: int, rate: float | None, told: str) -> None:
    """What is said of the time follows from the speed so far and from the time that is left."""
    assert estimate(schedules, rate=rate, left=30.0) == told
