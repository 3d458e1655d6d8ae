"""Maps in the lab and under the explorer: elements in order, stopped, undone, and counted once.

Owns: what a saga that maps does as a whole.  Refuses to know: how instances are told in a head
(`tests/machine/test_maps.py`), and real workers.
"""

from __future__ import annotations

import pytest
from celery import Celery

from celeriac import (
    Abort,
    DefinitionError,
    Flow,
    InputInvalid,
    NotYet,
    RunCompensated,
    Saga,
    Sagas,
    Skip,
    StepContext,
)
from celeriac.settings import Settings
from celeriac.testing import Lab, LabRun, explore
from tests.testing.ledger import Ledger

app = Celery("maps", set_as_current=False)
sagas = Sagas(app)
ledger = Ledger()
at_work: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Begin anew."""
    begin()


def begin() -> None:
    """Make the ledger new."""
    ledger.__init__()  # type: ignore[misc]  # the steps know this one
    at_work.clear()


@sagas.step
def ship(ctx: StepContext, parcel: int, carrier: str) -> str | None:
    """Ship a parcel; 13 brings bad luck, and 0 is none."""
    if parcel == 13:
        raise Abort("nobody ships that", effect=False)
    if parcel == 0:
        raise Skip("an empty parcel")
    ledger.do(ctx.idempotency_key)
    return f"{carrier}-{parcel}"


@ship.compensation
def call_back(ctx: StepContext, parcel: int, result: str | None) -> None:
    """Call a parcel back."""
    assert result in (None, f"dhl-{parcel}")
    at_work.append(ctx.step)
    ledger.undo(ctx.idempotency_key)


@sagas.step
def collect(labels: list[str | None]) -> int:
    """Read the whole list."""
    return len(labels)


@sagas.step
def report(labels: list[str | None], count: int) -> str:
    """Tell what was shipped."""
    return f"{count}: {labels}"


@sagas.saga
def delivery(flow: Flow, parcels: list[int]) -> str:
    """Ship all, then tell."""
    labels = flow.map(ship, parcels, "dhl", concurrency=2)
    count = flow.step(collect, labels)
    return flow.step(report, labels, count)


@sagas.step
def label(parcel: int) -> str:
    """Print a label."""
    return f"l{parcel}"


@sagas.step
def is_heavy(parcel: int) -> bool:
    """Tell heavy parcels."""
    return parcel > 10


@sagas.step
def crane(ctx: StepContext, parcel: int) -> str:
    """Lift it."""
    if parcel == 99:
        raise Abort("too heavy", effect=False)
    ledger.do(ctx.idempotency_key)
    return f"c{parcel}"


@crane.compensation
def lower(ctx: StepContext) -> None:
    """Put it down."""
    ledger.undo(ctx.idempotency_key)


def pack(flow: Flow, parcel: int) -> str | None:
    """Several steps for each parcel."""
    printed = flow.step(label, parcel)
    with flow.when(is_heavy, parcel):
        lifted = flow.step(crane, parcel)
    del printed
    return flow.either(lifted, None)


@sagas.saga
def packing(flow: Flow, parcels: list[int]) -> list[str | None]:
    """Pack all."""
    return flow.map(pack, parcels, concurrency=2)


def test_results_are_in_the_order_of_the_elements(lab: Lab) -> None:
    """Whoever ended first, result i belongs to element i; a Skip leaves None at its place."""
    parcels = [5, 6, 0, *range(20, 29)]  # more than ten: 10 comes before 2 in text
    run = lab.start(delivery, parcels, id="d-1")
    lab.run()
    labels = [f"dhl-{parcel}" if parcel else None for parcel in parcels]
    assert run.result() == f"12: {labels}"
    assert ledger.live == {f"d-1:ship[{n}]" for n in range(12) if n != 2}, "a key for each"


def test_whoever_ends_first_has_its_own_place(lab: Lab) -> None:
    """Elements take from a second to a minute, and end in another order than they began."""
    parcels = [*range(1, 9)]
    for number, seconds in enumerate((50, 5, 40, 1, 60, 20, 3, 10)):
        lab.slow(f"ship[{number}]", seconds)
    run = lab.start(delivery, parcels, id="d-1")
    lab.run()
    assert run.result() == f"8: {[f'dhl-{parcel}' for parcel in parcels]}"
    assert run.done != sorted(run.done), "or the test would show nothing"


def test_an_empty_list_gives_an_empty_list(lab: Lab) -> None:
    """And what follows it starts."""
    run = lab.start(delivery, [], id="d-1")
    lab.run()
    assert run.result() == "0: []"


def test_a_failed_element_stops_the_map_and_undoes_all(lab: Lab) -> None:
    """Nothing new is begun, and what was shipped is called back."""
    run = lab.start(delivery, [1, 2, 3, 4, 13, *range(20, 60)], id="d-1")
    lab.run()
    with pytest.raises(RunCompensated, match="nobody ships that"):
        run.result()
    assert not ledger.live
    assert len(at_work) < 10


def test_cancelling_a_completed_map_undoes_each_element_once(lab: Lab) -> None:
    """Also where they rest, told as ranges."""
    run = lab.start(delivery, list(range(20, 60)), id="d-1")
    lab.run()
    assert run.status == "completed"
    run.cancel("no")
    lab.run()
    assert run.status == "compensated"
    assert not ledger.live
    assert sorted(at_work) == sorted(f"ship[{n}]" for n in range(40))


def test_fragments_are_mapped(lab: Lab) -> None:
    """Each element has steps of its own, conditions too."""
    run = lab.start(packing, [1, 20, 3, 40], id="p-1")
    lab.run()
    assert run.result() == [None, "c20", None, "c40"]
    undone = lab.start(packing, [20, 30, 99, 40], id="p-2")
    lab.run()
    assert undone.status == "compensated"
    assert not [key for key in ledger.live if "p-2" in key]


def check(run: LabRun[str]) -> None:
    """Everything or nothing."""
    if run.status == "compensated":
        assert not ledger.live


def test_no_crash_forgets_an_element() -> None:
    """Whatever is lost or killed, the list is whole, or all is undone."""
    report_ = explore(delivery, [1, 2, 3], check=check, fresh=begin, pairs=False)
    assert not report_.findings, report_.findings[0]


def lists_of_lists(flow: Flow, parcels: list[list[int]]) -> None:
    """Map what maps."""

    def each(flow: Flow, some: list[int]) -> list[str | None]:
        return flow.map(ship, some, "dhl")

    flow.map(each, parcels)


def test_a_map_holds_no_map() -> None:
    """It is said what to write instead (decision 0042)."""
    with pytest.raises(DefinitionError, match=r"each, which is mapped itself: make one list"):
        sagas.saga(lists_of_lists)


def test_what_is_said_of_a_map_is_said_of_each_element(lab: Lab) -> None:
    """Also how long all attempts at one may take; of several steps nothing can be said at once."""
    asked: list[str] = []

    @sagas.step
    def track(ctx: StepContext, parcel: int) -> int:
        asked.append(ctx.step)
        if parcel == 2:
            raise NotYet(after="10m")
        return parcel

    @sagas.saga(name="tracking")
    def tracking(flow: Flow, parcels: list[int]) -> list[int]:
        return flow.options(give_up_after="1h").map(track, parcels)

    run = lab.start(tracking, [1, 2])
    lab.advance("2h")
    assert run.status == "compensated"
    assert 4 <= asked.count("track[1]") <= 7

    def steps(flow: Flow, parcel: int) -> int:
        return flow.step(track, parcel)

    def several(flow: Flow, parcels: list[int]) -> list[int]:
        return flow.options(give_up_after="1h").map(steps, parcels)

    with pytest.raises(DefinitionError, match=r"give_up_after is said of a step: write flow\.opt"):
        sagas.saga(several)


# --- limits, adopted tasks ---------------------------------------------------------------------


@app.task(name="maps.double")  # type: ignore[untyped-decorator]  # Celery has no types
def double(number: int, *, times: int = 2) -> int:
    """A task that was there before there were sagas."""
    ledger.log.append(("double", str(number)))
    return number * times


@app.task(name="maps.total")  # type: ignore[untyped-decorator]  # Celery has no types
def total(numbers: list[int]) -> int:
    """Another one, which reads the list of results."""
    return sum(numbers)


@sagas.saga
def doubled(flow: Flow, numbers: list[int]) -> int:
    """Map a task that is adopted, over what another map gave."""
    twice = flow.map(double, numbers, concurrency=3)
    summed: int = flow.step(total, flow.map(double, twice, times=3))
    return summed


@pytest.mark.parametrize("count", [0, 1, 13])
def test_adopted_tasks_are_mapped(lab: Lab, count: int) -> None:
    """With arguments by name, and one map after the other."""
    run = lab.start(doubled, list(range(count)), id="a-1")
    lab.run()
    assert run.result() == 6 * sum(range(count))


@pytest.mark.parametrize(("count", "ends"), [(5, "completed"), (6, "compensated")])
def test_a_list_over_the_limit_fails_the_map(count: int, ends: str) -> None:
    """Before any element is begun; the message says what to do."""
    lab = Lab(Settings(max_map=5))
    run = lab.start(delivery, list(range(20, 20 + count)), id="d-1")
    lab.run()
    assert run.status == ends
    if ends == "compensated":
        with pytest.raises(RunCompensated, match=r"6 elements, over the limit of 5.*saga_max_map"):
            run.result()
        assert not ledger.log


def test_a_list_of_results_that_is_too_long_names_map_and_reader() -> None:
    """Elements are stored one by one; what they make together has a limit of its own."""
    lab = Lab(Settings(max_collected=100))
    run = lab.start(delivery, list(range(20, 60)), id="d-1")
    lab.run()
    assert run.status == "compensated"
    with pytest.raises(RunCompensated, match=r"map ship.*saga_max_collected") as caught:
        run.result()
    assert "collect" in str(caught.value)
    assert not ledger.live


# --- operators ---------------------------------------------------------------------------------


@sagas.step
def sort(parcels: list[int]) -> list[int]:
    """What is before a map, so that it is not begun at once."""
    return sorted(parcels)


@sagas.saga
def sorted_delivery(flow: Flow, parcels: list[int]) -> list[str | None]:
    """A step for each."""
    return flow.map(ship, flow.step(sort, parcels), "dhl")


@sagas.saga
def sorted_packing(flow: Flow, parcels: list[int]) -> list[str | None]:
    """Several steps for each."""
    return flow.map(pack, flow.step(sort, parcels))


@pytest.mark.parametrize(("saga", "name"), [(sorted_delivery, "ship"), (sorted_packing, "pack")])
def test_an_operator_gives_the_results_of_a_map_that_was_not_begun(
    lab: Lab, saga: Saga[list[int], list[str | None]], name: str
) -> None:
    """A list, of what its elements give; anything else is refused before it is written."""
    run = lab.start(saga, [1, 2], id="d-1")
    run.pause("the carrier is on strike")
    for wrong in (None, "dhl-1", *([[5]] if name == "ship" else [])):
        with pytest.raises(InputInvalid):
            run.skip(name, wrong, "by hand")
    assert run.skip(name, ["ups-1", None, "ups-3"], "by hand")
    run.resume("")
    lab.run()
    assert run.result() == ["ups-1", None, "ups-3"]
    assert not ledger.live


def test_operators_act_on_elements(lab: Lab) -> None:
    """Held, skipped before its turn with a result, and undone again where its undo is owed."""
    run = lab.start(delivery, [1, 2, 3, 4], id="d-1")
    run.pause("look")
    run.skip("ship[3]", "dhl-by-hand", reason="by hand")
    run.resume()
    lab.run()
    assert run.result() == "4: ['dhl-1', 'dhl-2', 'dhl-3', 'dhl-by-hand']"
    assert len(ledger.live) == 3
    run.cancel("no")
    lab.run()
    assert run.status == "compensated"
    assert sorted(at_work) == ["ship[0]", "ship[1]", "ship[2]"], "what was skipped is not undone"
