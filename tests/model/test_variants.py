"""The model and the torn scripts can fail: each mistake in the store is found by one of them.

Owns: plays with seeds, which end with the first difference.  Refuses to know: the mistakes
(`variants`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import SagaError
from tests.model import test_torn_scripts as hurting
from tests.model.faulty_connection import FAULTS
from tests.model.pure_and_stored import ModelAndStore
from tests.model.variants import SEEN_BY_HURTING, SEEN_BY_THE_MODEL, VARIANTS, Variant
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.machine.walk import Chooser

PLAYS, STEPS = 60, 40
PLAYS_THAT_END_WELL = 12
_MILD = [fault for fault in FAULTS if not fault.startswith("killed")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all plays."""
    with RedisServer(tmp_path_factory.mktemp("variants")) as found:
        yield found


def play_all(server: RedisServer, plays: int = PLAYS) -> None:
    """Play with one seed after the other."""
    for seed in range(plays):
        play(server, seed)


def play(server: RedisServer, seed: int) -> None:
    """Play with faults until something differs: then it raises AssertionError."""
    choose = random.Random(seed).choice  # noqa: S311 -- to be repeated, not to be secret
    both = ModelAndStore(server, choose)
    try:
        for _ in range(STEPS):
            _move(both, choose)
            both.check()
        both.come_to_an_end()
    finally:
        both.close()


def _move(both: ModelAndStore, choose: Chooser) -> None:
    if choose([False, False, True]):
        choose(both.stores).line.fault = (choose(_MILD), choose([1, 2, 3, 4]))
    kind = choose(["step"] * 6 + ["race", "race", "operate", "renew", "sweep", "vain"])
    if kind == "step":
        both.step(choose)
    elif kind == "race":
        both.race(choose)
    elif kind == "operate":
        both.operate(choose)
    elif kind == "renew":
        both.renew(choose)
    elif kind == "sweep":
        both.sweep(choose, twice=choose([True, False]))
    else:
        both.expire_in_vain(choose)


def test_plays_without_a_mistake_end_well(server: RedisServer) -> None:
    """As it is, the store does what the state machine says in every play."""
    play_all(server, PLAYS_THAT_END_WELL)


@pytest.mark.parametrize("variant", SEEN_BY_THE_MODEL, ids=lambda variant: variant.name)
def test_a_play_finds_the_mistake(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    """With the mistake some play ends with a difference."""
    variant.live_with(monkeypatch)
    with pytest.raises((AssertionError, SagaError)):
        play_all(server)


@pytest.mark.parametrize("variant", SEEN_BY_HURTING, ids=lambda variant: variant.name)
def test_hurting_finds_the_mistake(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    """With the mistake some script is torn when it is hurt."""
    if server.version < (7, 0) and "ACL" in variant.name:
        pytest.skip("Redis 6.2 cannot tell in advance")
    variant.live_with(monkeypatch)
    with pytest.raises(AssertionError):
        hurt(server, variant)


def hurt(server: RedisServer, variant: Variant) -> None:
    """Hurt the calls of the script that has the mistake."""
    for name, case in hurting.CASES.items():
        if case.script is variant.script:
            hurting.test_a_foreign_key_anywhere(server, name)
            hurting.test_a_forbidden_command(server, name)
            hurting.test_a_forbidden_channel(server, name)
            hurting.test_garbage_anywhere(server, name)


def test_mistakes_have_names_of_their_own() -> None:
    """Whoever prints what caught which mistake can tell them apart."""
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
