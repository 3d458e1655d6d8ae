"""A barrier is the participant with tombstones that the exhaustive search calls safe.

Owns: the same requests to a barrier and to `Participant.TOMBSTONE`, and the same answers.  Refuses
to know: how a barrier does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac import Abort
from tests.machine.participants import Account, Participant

if TYPE_CHECKING:
    from tests.barrier.participants import BarrierParticipant

KEYS = ("order-42:reserve", "order-42:Reserve", "ördér~2:charge ")
REQUESTS = st.lists(
    st.tuples(st.sampled_from(["do", "undo", "undo again"]), st.sampled_from(KEYS)), max_size=14
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)

each = settings(
    max_examples=60,
    deadline=None,
    # A database that is not empty is the point: each example has keys of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def lives() -> list[int]:
    """Counts the examples, so that each has keys of its own."""
    return [0]


@given(requests=REQUESTS)
@each
def test_it_answers_as_a_participant_with_tombstones(
    participant: BarrierParticipant, lives: list[int], requests: list[tuple[str, str]]
) -> None:
    """After any requests in any order, answers and books are those of the model."""
    lives[0] += 1
    accounts = dict.fromkeys(KEYS, Account())
    for number, (what, name) in enumerate(requests):
        key, before = f"{lives[0]}:{name}", accounts[name]
        if what == "do":
            accounts[name], granted = Participant.TOMBSTONE.do(before)
            assert _granted(participant, key, number) == granted
        else:
            accounts[name] = Participant.TOMBSTONE.undo(before, int(what == "undo again"))
            undone = before.standing > accounts[name].standing
            assert participant.undo(key, int(what == "undo again")) == undone
        made, gone = participant.books(key)
        assert (made, made - gone) == (accounts[name].made, accounts[name].standing)


def _granted(participant: BarrierParticipant, key: str, number: int) -> bool:
    try:
        participant.do(key, number)
    except Abort as refused:
        return (refused.code, refused.effect) != ("undone", False)
    return True


@given(first=JSON, second=JSON)
@each
def test_the_result_is_remembered(
    participant: BarrierParticipant, lives: list[int], first: Any, second: Any
) -> None:
    """Whatever an effect returned first is returned again, whatever it would return now."""
    lives[0] += 1
    key = f"result {lives[0]}"
    assert participant.do(key, first) == first
    assert participant.do(key, second) == first
    assert participant.books(key) == (1, 0)
