"""Who may pass a gate: places that are given back, that end by time, and those of a breaker.

Owns: the rules by their numbers.  Refuses to know: runs and stores.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from celeriac.errors import StoreError
from celeriac.gating import (
    Inside,
    Record,
    call_order,
    dump,
    judge,
    load,
    look_at,
    order_in_line,
    place_ends,
    report,
    set_by_operator,
    turns,
)
from celeriac.machine import Rule

LIMIT = Record(version=1, rule=Rule(kind="limit", most=2))
RATE = Record(version=1, rule=Rule(kind="rate", most=3, per=1_000))
BREAKER = Record(version=1, rule=Rule(kind="breaker", most=3, per=60_000, open_for=30_000))


def inside(*ends: int, now: int = 1_000, waiting: int = 0) -> Inside:
    """A gate with places that end then."""
    return Inside(now, ends, len(ends), waiting)


def test_a_limit_has_so_many_places() -> None:
    """And those who wait before are let through first."""
    assert judge("card", LIMIT, inside(), 0).passes
    assert judge("card", LIMIT, inside(5_000), 0).passes
    full = judge("card", LIMIT, inside(5_000, 6_000), 0)
    assert (full.passes, full.why) == (False, "limit card: no more than 2 at a time")
    assert not judge("card", LIMIT, inside(5_000), 1).passes
    assert turns(LIMIT, inside(5_000, waiting=3), 2_000, 10) == [1_000]
    assert turns(LIMIT, inside(waiting=1), 2_000, 10) == [1_000]
    assert turns(LIMIT, inside(5_000, 6_000, waiting=3), 2_000, 10) == []


def test_a_rate_says_when_it_is_somebodys_turn() -> None:
    """When the place ends that he can take, behind all that wait before."""
    assert judge("mail", RATE, inside(1_200, 1_300), 0).passes
    full = inside(1_200, 1_300, 1_400)
    assert judge("mail", RATE, full, 0).turn == 1_200
    assert judge("mail", RATE, full, 2).turn == 1_400
    assert judge("mail", RATE, full, 4).turn == 2_300
    assert judge("mail", RATE, inside(900, 1_300, 1_400), 0).passes
    assert place_ends(RATE, 1_000, 15_000) == 2_000
    waiting = full._replace(waiting=9)
    assert turns(RATE, waiting, 1_350, 10) == [1_200, 1_300]


@given(some.lists(some.integers(0, 5_000), max_size=60))
def test_no_more_pass_in_any_span_than_a_rate_allows(arrivals: list[int]) -> None:
    """However they come: no double burst where two windows meet."""
    ends: list[int] = []
    passed: list[int] = []
    for now in sorted(arrivals):
        ends = [end for end in ends if end > now]
        if judge("mail", RATE, Inside(now, ends, len(ends), 0), 0).passes:
            ends.append(place_ends(RATE, now, 0) or 0)
            passed.append(now)
    assert all(
        sum(1 for at in passed if start <= at < start + RATE.rule.per) <= RATE.rule.most
        for start in passed
    )


def test_a_breaker_opens_lets_one_try_and_closes() -> None:
    """So many failures in a span open it; an answer to the one that tries closes it."""
    found = BREAKER
    for at in (1_000, 2_000):
        found = report(found, "failure", at, tried=False)
    assert found.state(2_000) == "closed"
    assert report(found, "failure", 70_000, tried=False).state(70_000) == "closed"
    found = report(found, "failure", 3_000, tried=False)
    assert found.state(3_000) == "open"
    assert not judge("bank", found, inside(now=32_999), 0).passes
    assert judge("bank", found, inside(now=32_999), 0).turn == 33_000
    assert found.state(33_000) == "half_open"
    assert judge("bank", found, inside(now=33_000), 0).passes
    busy = judge("bank", found, inside(48_000, now=33_000), 0)
    assert (busy.passes, busy.why) == (False, "breaker bank is half open: one attempt tries it")
    assert report(found, "failure", 34_000, tried=True).until == 64_000
    assert report(found, "none", 34_000, tried=True) == found
    assert report(found, "answer", 34_000, tried=False) == found
    assert report(found, "answer", 34_000, tried=True).state(34_000) == "closed"


def test_an_operators_breaker_stays_as_it_was_set() -> None:
    """Open until one closes it; what is reported meanwhile changes nothing."""
    found = set_by_operator(BREAKER, "eve", 1_000, to_open=True)
    assert found.state(10**13) == "open"
    verdict = judge("bank", found, inside(), 0)
    assert (verdict.passes, verdict.why, verdict.turn) == (
        False,
        "breaker bank is open (by eve)",
        None,
    )
    assert report(found, "answer", 2_000, tried=True) == found
    assert set_by_operator(found, "eve", 3_000, to_open=False).state(3_000) == "closed"


@pytest.mark.parametrize("record", [LIMIT, RATE, BREAKER])
def test_what_nobody_is_in_or_waits_for_is_forgotten(record: Record) -> None:
    """Otherwise somebody looks at it again."""
    assert look_at(record, inside(), 15_000, 2_000) is None
    for found in (inside(5_000), inside(waiting=1), inside(5_000, 6_000, 7_000, waiting=3)):
        assert look_at(record, found, 15_000, 2_000) is not None


def test_a_breaker_that_is_open_is_not_forgotten() -> None:
    """Nor one that has seen failures, before they are of no account."""
    once = report(BREAKER, "failure", 1_000, tried=False)
    assert look_at(once, inside(), 15_000, 2_000) == 61_000
    opened = set_by_operator(BREAKER, "eve", 1_000, to_open=True)
    assert look_at(opened, inside(), 15_000, 2_000) is not None
    assert look_at(opened, inside(now=10**12), 15_000, 2_000) is not None


def test_a_breaker_that_nobody_comes_to_is_forgotten() -> None:
    """A day after it would have let one try: there may be one for each value that ever failed."""
    opened = BREAKER.model_copy(update={"opened": 1_000, "until": 31_000})
    day = 24 * 3_600_000
    assert look_at(opened, inside(now=40_000), 15_000, 2_000) == 31_000 + day
    assert look_at(opened, inside(now=31_000 + day), 15_000, 2_000) is None
    assert look_at(opened, inside(now=31_000 + day, waiting=1), 15_000, 2_000) is not None


def test_an_undo_waits_before_all_forward_work() -> None:
    """Among its like it is a matter of time."""
    assert order_in_line("undo", 9_000) < order_in_line("do", 1)
    assert order_in_line("undo", 9_000) < order_in_line("undo", 9_001)
    assert call_order(order_in_line("undo", 9_000)) == ("undo", 9_000)
    assert call_order(order_in_line("do", 9_000)) == ("do", 9_000)


def test_a_record_is_written_and_read() -> None:
    """What cannot be read is an error that says what to do."""
    found = report(BREAKER, "failure", 1_000, tried=False)
    assert load("bank", dump(found)) == found
    assert dump(found).startswith("1 ")
    with pytest.raises(StoreError, match="upgrade this process"):
        load("bank", '1 {"version":1}')
