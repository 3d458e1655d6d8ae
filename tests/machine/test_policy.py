"""Durations, delays, and which errors are worth another attempt.

Owns: the arithmetic of `policy`.  Refuses to know: runs, and clocks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import Abort, DefinitionError
from celeriac.machine import RetryRule
from celeriac.machine.policy import (
    Retry,
    attempts_left,
    delay_ms,
    duration_ms,
    qualified,
    retryable,
)

rules = st.builds(
    RetryRule,
    backoff=st.sampled_from(["none", "linear", "exponential"]),
    initial_delay=st.integers(0, 10_000_000),
    max_delay=st.integers(0, 100_000_000),
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (30, 30_000),
        (0.25, 250),
        ("30s", 30_000),
        ("250ms", 250),
        ("10m", 600_000),
        ("1.5h", 5_400_000),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        ("1h30m", 5_400_000),
        (" 1h 30m ", 5_400_000),
        (timedelta(minutes=2, milliseconds=5), 120_005),
        (0.000_1, 1),
    ],
)
def test_a_duration_may_be_written_in_many_ways(written: Any, meant: int) -> None:
    """Seconds, a timedelta and text all become whole milliseconds, never none at all."""
    assert duration_ms(written) == meant


@pytest.mark.parametrize("given_value", ["", "30", "s", "ten s", "5x", "1m!", "1m,2s", None, True])
def test_what_is_no_duration_is_refused_with_examples(given_value: Any) -> None:
    """Something else than a duration is answered with what a duration looks like."""
    with pytest.raises(DefinitionError, match="'30s', '10m', '2d'"):
        duration_ms(given_value)


@pytest.mark.parametrize("given_value", [0, -1, "0s", float("nan"), float("inf"), timedelta(-1)])
def test_a_duration_lies_between_nothing_and_for_ever(given_value: Any) -> None:
    """Nothing, less than nothing and for ever are refused."""
    with pytest.raises(DefinitionError, match="positive and finite"):
        duration_ms(given_value)


@pytest.mark.parametrize("given_value", [10**30, 1e300, timedelta.max, "1000000w"])
def test_a_duration_ends_in_a_time_that_can_be_told(given_value: Any) -> None:
    """A run that waited until then could not be shown, and an attempt was never settled."""
    with pytest.raises(DefinitionError, match="at most 365000 days"):
        duration_ms(given_value)
    assert duration_ms("365000d")


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        ("none", [1_000, 1_000, 1_000, 1_000]),
        ("linear", [1_000, 2_000, 3_000, 4_000]),
        ("exponential", [1_000, 2_000, 4_000, 5_000]),
    ],
)
def test_delays_grow_as_the_backoff_says(backoff: Any, delays: list[int]) -> None:
    """Each kind of backoff has its series, cut off at the longest delay."""
    rule = Retry(backoff=backoff, initial_delay=1, max_delay=5, jitter=False).rule()
    assert [delay_ms(rule, made, "run/step") for made in (1, 2, 3, 4)] == delays


@given(rules, st.integers(1, 10_000), st.text())
def test_jitter_takes_up_to_half_and_never_adds(rule: RetryRule, made: int, seed: str) -> None:
    """A jittered delay lies between half of the plain one and the plain one."""
    plain = delay_ms(rule.model_copy(update={"jitter": False}), made, seed)
    assert plain / 2 <= delay_ms(rule, made, seed) <= plain <= rule.max_delay


def test_jitter_is_the_same_for_the_same_run_and_differs_between_runs() -> None:
    """Replaying gives the same delay; what failed together does not come back together."""
    rule = Retry(initial_delay=10).rule()
    seeds = [f"run-{number}/charge" for number in range(50)]
    drawn = [delay_ms(rule, 1, seed) for seed in seeds]
    assert drawn == [delay_ms(rule, 1, seed) for seed in seeds]
    assert len(set(drawn)) > 40


def test_no_delay_is_a_delay() -> None:
    """A delay of nothing tries again at once."""
    assert delay_ms(Retry(initial_delay=0).rule(), 3, "seed") == 0


@pytest.mark.parametrize(
    ("limit", "made", "left"), [(1, 1, False), (3, 2, True), (3, 3, False), (None, 10**9, True)]
)
def test_attempts_are_counted_from_the_first(limit: int | None, made: int, left: bool) -> None:
    """`max_attempts` counts the first attempt, and None is for ever."""
    assert attempts_left(Retry(max_attempts=limit).rule(), made) is left


class Declined(Exception):
    """An error of a bank."""


class HardDeclined(Declined):
    """A special case of it."""


@pytest.mark.parametrize(
    ("retry", "error", "worth"),
    [
        (Retry(), ValueError(), True),
        (Retry(), KeyboardInterrupt(), False),
        (Retry(retry_on=(OSError,)), ConnectionResetError(), True),
        (Retry(retry_on=(OSError,)), ValueError(), False),
        (Retry(give_up_on=(Declined,)), HardDeclined(), False),
        (Retry(give_up_on=(HardDeclined,)), Declined(), True),
        (Retry(retry_on=(Declined,), give_up_on=(HardDeclined,)), HardDeclined(), False),
    ],
)
def test_errors_are_judged_by_their_class_and_its_parents(
    retry: Retry, error: BaseException, worth: bool
) -> None:
    """A class stands for its subclasses, and giving up is stronger than trying again."""
    assert retryable(retry.rule(), error) is worth


def test_a_rule_survives_being_stored() -> None:
    """The stored rule holds names and numbers only, and says the same when it is read again."""
    rule = Retry(max_attempts=5, initial_delay="2s", give_up_on=(Abort, Declined)).rule()
    again = RetryRule.model_validate_json(rule.model_dump_json())
    assert again == rule
    assert again.give_up_on == ("celeriac.errors.Abort", qualified(Declined))
    assert again.initial_delay == 2_000


def test_the_defaults_of_a_policy_and_of_its_stored_form_are_the_same() -> None:
    """A plan without a word about retry means what `Retry()` means."""
    assert Retry().rule() == RetryRule()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_attempts": 0}, "max_attempts counts the first attempt"),
        ({"max_attempts": 2.5}, "max_attempts counts the first attempt"),
        ({"max_attempts": True}, "max_attempts counts the first attempt"),
        ({"backoff": "quadratic"}, "'none', 'linear' or 'exponential'"),
        ({"initial_delay": "soon"}, "'soon' is not a duration"),
        ({"max_delay": -1}, "positive"),
        ({"retry_on": (ValueError, "OSError")}, "retry_on takes classes of exceptions"),
        ({"give_up_on": (int,)}, "give_up_on takes classes of exceptions"),
    ],
)
def test_a_bad_policy_is_refused_where_it_is_written(options: Any, message: str) -> None:
    """A policy that makes no sense fails at import, and says which part of it."""
    with pytest.raises(DefinitionError, match=message):
        Retry(**options)
