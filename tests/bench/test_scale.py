"""What the figures of docs/scale.md are made of: what is counted, and that it grows as it should.

Owns: small fleets and few runs.  Refuses to know: time.
"""

from __future__ import annotations

import pytest

from bench import lines
from bench.costs import measured
from bench.virtual_workers import Figures, simulate


@pytest.fixture(scope="module")
def fleets() -> tuple[Figures, Figures]:
    """A fleet, and one of four times as many workers."""
    return simulate(20), simulate(80)


def test_leases_are_all_that_is_asked_for_while_workers_live(
    fleets: tuple[Figures, Figures],
) -> None:
    """A worker at work is a renewal each third of a lease; nothing of a run is read or written."""
    for fleet in fleets:
        assert fleet.holding["renew"] == 4 * fleet.workers
        assert fleet.holding["read"] == fleet.holding["commit"] == 0


def test_each_death_costs_the_same(fleets: tuple[Figures, Figures]) -> None:
    """One look and one commit give an attempt up and send the next, in a fleet of any size."""
    for fleet in fleets:
        assert (fleet.dying["read"], fleet.dying["commit"]) == (fleet.workers // 2,) * 2


def test_each_lost_message_costs_the_same(fleets: tuple[Figures, Figures]) -> None:
    """Two looks and a commit send it again; a look and two commits are the attempt itself."""
    for fleet in fleets:
        assert (fleet.losing["read"], fleet.losing["commit"]) == (3 * fleet.workers,) * 2


def test_shards_are_looked_at_once_a_sweep(fleets: tuple[Figures, Figures]) -> None:
    """The number of looks is that of sweeps and shards, and not of workers."""
    few, many = fleets
    assert few.holding["due"] == many.holding["due"] > 0


def test_a_run_is_counted_at_the_server() -> None:
    """Ahead, a step saves a round trip and its commands; a renewal is a fraction of a trip."""
    found = measured(runs=20)
    sent, ahead = found["a run, each step by a message"], found["a run, steps ahead"]
    assert (sent.trips, ahead.trips) == (10, 6)
    assert ahead.commands < sent.commands
    assert all(each.received > 0 and each.sent > 0 for each in found.values())
    assert found["a renewal of a lease"].trips < 1


@pytest.fixture(scope="module")
def crowds() -> tuple[lines.Figures, lines.Figures]:
    """Runs in line before a gate, and ten times as many."""
    return lines.measured(20), lines.measured(200)


def test_each_in_line_costs_the_same(crowds: tuple[lines.Figures, lines.Figures]) -> None:
    """To come to a gate, and to pass it, is as many round trips however many wait there."""
    few, many = crowds
    assert (few.joining.trips, few.passing.trips) == (7, 11)
    assert (many.joining.trips, many.passing.trips) == (7, 11)
    assert many.passing.commands < 1.05 * few.passing.commands


def test_a_line_costs_nothing_while_nobody_passes(
    crowds: tuple[lines.Figures, lines.Figures],
) -> None:
    """A sweep asks for as much beside those who wait as beside nobody: none is looked at."""
    for crowd in crowds:
        assert (crowd.standing.trips, crowd.standing.commands) == (
            crowd.nobody.trips,
            crowd.nobody.commands,
        )


def test_a_line_is_served_in_its_order(crowds: tuple[lines.Figures, lines.Figures]) -> None:
    """Nobody passes before somebody who came earlier."""
    assert [crowd.overtaken for crowd in crowds] == [0, 0]
