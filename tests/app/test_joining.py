"""The same id asked for again: equal inputs join, whatever their JSON looks like.

Owns: which inputs count as equal, also over deploys and for digests of older versions.  Refuses to
know: what a run does.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from celeriac.app.joining import accept
from celeriac.authoring import Flow, Planned, define_step, plan_saga
from celeriac.engine import Engine
from celeriac.errors import RunConflict, RunExists
from celeriac.machine import Start
from celeriac.settings import Settings, Terms
from celeriac.store import payloads
from celeriac.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable


class Order(BaseModel):
    """An input as it was before the deploy."""

    id: str


class Annotated(BaseModel):
    """The same after the deploy, which added a field that has a default."""

    id: str
    note: str | None = None


def _keep() -> None:
    """Do nothing."""


KEEP = define_step(_keep, name="shop.keep", register=lambda *_: SimpleNamespace(name="shop.keep"))


def planned(annotation: Any, *, name: str = "order", **defaults: Any) -> Planned:
    """A saga with an input of a type; *defaults* are further inputs."""

    def place(flow: Flow, order: Any) -> None:  # noqa: ARG001 -- planned
        flow.step(KEEP)

    def place_more(flow: Flow, order: Any, fast: bool = False) -> None:  # noqa: ARG001 -- planned
        flow.step(KEEP)

    function: Callable[..., Any] = place_more if defaults else place
    function.__annotations__ = {**function.__annotations__, "order": annotation}
    return plan_saga(function, name=name)


class Starter:
    """Where runs are started."""

    def __init__(self) -> None:
        self.engine = Engine(MemoryStore(), Terms.of(Settings()))
        self._calls = 0

    def start(
        self, saga: Planned, text: str, *, digest: str = "", if_exists: Any = "join", **more: str
    ) -> bool:
        """Start a run with an input as JSON text; False if it joined the one that exists."""
        self._calls += 1
        texts = {"order": text, **more}
        digest = digest or payloads.digest(saga.plan.saga, texts)
        start = Start("order-1", digest, f"call-{self._calls}", 0, (), if_exists)
        return bool(accept(self.engine, saga, start, texts).transition.events)


@pytest.mark.parametrize(
    ("annotation", "text", "same"),
    [
        (set[str], '["a","b"]', '["b","a"]'),
        (dict[str, set[int]], '{"x":[1,2],"y":[]}', '{"y":[],"x":[2,1]}'),
        (Decimal, '"1.0"', '"1.00"'),
        (datetime, '"2024-05-01T12:00:00+02:00"', '"2024-05-01T10:00:00Z"'),
        (Annotated, '{"id":"a"}', '{"id":"a","note":null}'),
        (float, "1", "1.0"),
    ],
)
def test_equal_inputs_join(annotation: Any, text: str, same: str) -> None:
    """Two texts of equal values are one input, whichever process wrote them."""
    starter, saga = Starter(), planned(annotation)
    assert starter.start(saga, text)
    assert not starter.start(saga, same)
    with pytest.raises(RunExists):
        starter.start(saga, same, if_exists="fail")


@pytest.mark.parametrize(
    ("annotation", "text", "other"),
    [
        (set[str], '["a","b"]', '["a"]'),
        (Decimal, '"1.0"', '"1.01"'),
        (Annotated, '{"id":"a"}', '{"id":"a","note":""}'),
        (Any, "1", "true"),
        (Any, "[1,2]", "[2,1]"),
        (list[str], '["a","b"]', '["b","a"]'),
    ],
)
def test_other_inputs_conflict(annotation: Any, text: str, other: str) -> None:
    """Whatever the digests: another value is a conflict."""
    starter, saga = Starter(), planned(annotation)
    assert starter.start(saga, text)
    with pytest.raises(RunConflict, match="exists with another input"):
        starter.start(saga, other)


def test_a_deploy_that_adds_an_optional_field_keeps_ids_joined() -> None:
    """The client of the new version asks again for what the old one has started, and back."""
    starter = Starter()
    assert starter.start(planned(Order), '{"id":"a"}')
    assert not starter.start(planned(Annotated), '{"id":"a","note":null}')
    assert not starter.start(planned(Order), '{"id":"a"}')
    with pytest.raises(RunConflict):
        starter.start(planned(Annotated), '{"id":"a","note":"gift"}')


def test_a_deploy_that_adds_an_optional_input_keeps_ids_joined() -> None:
    """An input that has its default counts as if it had been given."""
    starter = Starter()
    assert starter.start(planned(Order), '{"id":"a"}')
    more = planned(Order, fast=False)
    assert not starter.start(more, '{"id":"a"}', fast="false")
    with pytest.raises(RunConflict):
        starter.start(more, '{"id":"a"}', fast="true")


def test_a_deploy_that_takes_an_input_away_makes_another_input() -> None:
    """What the run was given and the new version does not know cannot be compared."""
    starter = Starter()
    assert starter.start(planned(Order, fast=False), '{"id":"a"}', fast="false")
    with pytest.raises(RunConflict):
        starter.start(planned(Order), '{"id":"a"}')


def test_digests_of_older_versions_still_match() -> None:
    """Whatever an older version made of an input: the input itself decides."""
    starter, saga = Starter(), planned(Order)
    assert starter.start(saga, '{"id":"a"}', digest="of long ago")
    assert not starter.start(saga, '{"id":"a"}')
    with pytest.raises(RunConflict):
        starter.start(saga, '{"id":"b"}')
    assert payloads.digest("order", {"order": '{"id":"a"}'}) == "dff92e96928051da"


def test_an_input_that_cannot_be_read_any_more_conflicts() -> None:
    """A type that has changed since makes another input of it."""
    starter = Starter()
    assert starter.start(planned(str), json.dumps("seven"))
    with pytest.raises(RunConflict):
        starter.start(planned(int), "7")


def test_another_saga_is_another_input() -> None:
    """The same input for another saga under the same id is a conflict."""
    starter = Starter()
    assert starter.start(planned(str), '"a"')
    with pytest.raises(RunConflict):
        starter.start(planned(str, name="return"), '"a"')
