"""Ids of runs: which are accepted, and that no two runs share a key.

Owns: what an id may be, over all runs that an id may have.  Refuses to know: starts.
"""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celeriac import Flow, InputInvalid, RunNotFound, Sagas, StepContext
from celeriac.app.inputs import check_words, checked_id, checked_statuses
from celeriac.machine import checked_tags
from celeriac.machine.commands import Cancel, RetryOwed
from celeriac.testing import Lab
from tests.machine.story import Story, saga


@pytest.mark.parametrize(
    "run_id",
    [
        "order-42",
        "order 42",
        "ördér:42;a",
        "~",
        "order~",
        "order~2b",
        "~2~",
        "01994e6c-5c1a-7d3e-9b2f-0a1b2c3d4e5f",
    ],
)
def test_an_id_is_any_printable_text(run_id: str) -> None:
    """Whatever an application calls its orders is an id."""
    assert checked_id(run_id) == run_id


@pytest.mark.parametrize(
    "run_id", ["", "a\nb", "a/b", "/", "..", "x" * 201, "order~2", "order~03", "~1", 42, None]
)
def test_what_is_no_id(run_id: object) -> None:
    """What cannot be shown, or could be taken for another run's second life, is refused."""
    with pytest.raises(InputInvalid, match="id: "):
        checked_id(run_id)


def test_what_no_run_can_be_called_is_not_looked_up() -> None:
    """Undecodable bytes of a command line are no run, and None is no text."""
    sagas = Sagas(Celery("shop", broker="redis://nowhere:1/0", set_as_current=False))
    with pytest.raises(RunNotFound):
        sagas.run("order-\udcff")
    with pytest.raises(InputInvalid, match="id: give the id of a run as text, not None"):
        sagas.run(None)  # type: ignore[arg-type]  # on purpose


def test_tags_are_a_mapping() -> None:
    """A list of names is no label."""
    with pytest.raises(InputInvalid, match="tags: give a mapping, such as"):
        checked_tags(["region"])  # type: ignore[arg-type]  # on purpose


def test_no_other_run_has_the_keys_of_a_second_life() -> None:
    """A run that is started anew has keys that no id can have: its effects are its own (I2)."""
    story = Story(saga("reserve"), "order-42")
    story.start()
    story.do("reserve")
    for nonce in ("call-2", "call-3"):
        story.start(if_exists="restart", nonce=nonce)
        with pytest.raises(InputInvalid, match="taken for one"):
            checked_id(story.run.key)
        story.do("reserve")


@pytest.mark.parametrize("name", ["pay:card", "billing.pay:card", "pay:card:", "pay::card"])
def test_no_two_runs_share_a_key_where_task_names_have_colons(name: str) -> None:
    """A step is called by what follows the last dot or colon of its task, so that keys differ."""
    sagas = Sagas(Celery("shop", broker="redis://nowhere:1/0", set_as_current=False))
    keys = []

    @sagas.step(name=name)
    def pay_card(ctx: StepContext) -> None:
        keys.append(ctx.idempotency_key)

    @sagas.step(name="shop.card")
    def card(ctx: StepContext) -> None:
        keys.append(ctx.idempotency_key)

    @sagas.saga
    def one(flow: Flow) -> None:
        flow.step(pay_card)

    @sagas.saga
    def two(flow: Flow) -> None:
        flow.step(card)

    lab = Lab()
    lab.start(one, id="order-1")
    lab.start(two, id="order-1:pay")
    lab.start(two, id="order-1:pay:")
    lab.run()
    assert sorted(keys) == ["order-1:card", "order-1:pay::card", "order-1:pay:card"]


@pytest.mark.parametrize("words", [5, "\ud800", "x" * 2_001, None, b"a"])
def test_a_reason_is_text_that_can_be_shown(words: Any) -> None:
    """It stays in the run's history, which people read."""
    for command in (Cancel(reason=words), Cancel(by=words)):
        with pytest.raises(InputInvalid, match="text of at most 2000 characters, not "):
            check_words(command)
    with pytest.raises(InputInvalid, match="step: give the name of a step as text, not 5"):
        check_words(RetryOwed(step=5))  # type: ignore[arg-type]  # on purpose
    check_words(Cancel("the bank\nis down", "ada"))
    with pytest.raises(InputInvalid, match="status is a name or several, not 5"):
        checked_statuses(5)  # type: ignore[arg-type]  # on purpose
