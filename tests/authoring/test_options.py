"""Misspelt options are refused with a suggestion, where they are written.

Owns: the names of options, and values of the wrong kind.  Refuses to know: what options do.
"""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Task
from kombu.entity import Exchange, Queue

from celeriac import ConfigurationError, DefinitionError, Flow, Retry, Sagas
from celeriac.authoring.options import STEP, check_task_options

MAIL = Queue("mail", Exchange("post"))  # type: ignore[no-untyped-call]  # kombu has no types


def made() -> Sagas:
    """The sagas of a new app."""
    return Sagas(Celery("shop", broker="redis://localhost:1/0", set_as_current=False))


def work() -> None:
    """Do something."""


def undo() -> None:
    """Do the contrary."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"efect": "none"}, "unknown option 'efect': did you mean effect?"),
        ({"retries": 9}, r"unknown option 'retries': did you mean retry=Retry\(max_attempts=5\)"),
        ({"time_out": "5s"}, "did you mean timeout"),
        (
            {"xyzzy": 1},
            "unknown option 'xyzzy': there are name, timeout, .* options of a Celery task",
        ),
        ({"que": "mail"}, "did you mean queue"),
        ({"ratelimit": "1/s"}, "did you mean rate_limit"),
        ({"countdown": 5}, "unknown option 'countdown'"),
        ({"delay": 5}, "unknown option 'delay'"),
        ({"max_retries": 3}, r"max_retries is for tasks .* retry=Retry\("),
        ({"autoretry_for": (OSError,)}, r"autoretry_for is for tasks .* retry=Retry\("),
        ({"retry_backoff": True}, r"retry=Retry\("),
        ({"default_retry_delay": 3}, r"retry=Retry\("),
        ({"retry": 3}, r"retry must be a Retry, not 3: write retry=Retry\(max_attempts=3\)"),
        ({"ahead": 0}, "ahead must be True or False, not 0"),
        ({"name": 5}, "name is printable text, not 5"),
        ({"name": "pay\n"}, r"name is printable text, not 'pay\\n'"),
        ({"retry": 0}, r"not 0: write retry=Retry\(max_attempts=1\)"),
        ({"retry": False}, r"not False: write retry=Retry\(max_attempts=1\)"),
        ({"retry": True}, r"not True: write retry=Retry\(max_attempts=5\)"),
        ({"timeout": "abc"}, "timeout: 'abc' .*30s"),
        ({"expires": "soon"}, "expires: 'soon' .*30s"),
        ({"give_up_after": "soon"}, "give_up_after: 'soon' .*30s"),
    ],
    ids=repr,
)
def test_what_is_not_an_option_is_refused(options: dict[str, Any], message: str) -> None:
    """Nothing that was written about a step or a compensation is swallowed."""
    sagas = made()
    with pytest.raises(DefinitionError, match=message):
        sagas.step(**options)(work)
    assert not sagas.app.tasks.keys() & {f"{__name__}.work"}
    if "efect" in options:  # near nothing that a compensation has
        message = "unknown option 'efect': there are name, timeout, retry"
    if "expires" in options:
        message = "is an option of the step, and not of its compensation"
    with pytest.raises(DefinitionError, match=message):
        sagas.step(work).compensation(**options)(undo)


def test_yes_and_no_are_no_text() -> None:
    """The text "no" would count as yes."""
    with pytest.raises(DefinitionError, match="pivot must be True or False, not 'no'"):
        made().step(pivot="no")(work)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(DefinitionError, match="jitter must be True or False, not 'no'"):
        Retry(jitter="no")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("name", ["a\nb", "\ud800"])
def test_a_saga_has_a_name_that_can_be_printed(name: Any) -> None:
    """And looked for on the command line."""
    with pytest.raises(DefinitionError, match="name is printable text, not "):
        made().saga(name=name)(work)


@pytest.mark.parametrize("name", ["effect", "on_unknown", "pivot"])
def test_an_option_of_the_step_is_not_one_of_its_compensation(name: str) -> None:
    """The message says where it belongs."""
    step: Any = made().step(work)
    with pytest.raises(DefinitionError, match=f"{name} is an option of the step"):
        step.compensation(**{name: "none"})(undo)


def test_celerys_options_go_to_the_task() -> None:
    """Limits, hooks, and what a base class of one's own declares."""

    class Base(Task):  # type: ignore[misc]
        """A task with attributes of its own."""

        tenant = "none"
        colour: str

    heard: list[Any] = []
    options: dict[str, Any] = {
        "rate_limit": "1/s",
        "soft_time_limit": 3,
        "acks_late": True,
        "time_limit": 9,
        "on_success": lambda *_: heard.append(1),
    }
    sagas = made()
    step = sagas.step(retry=Retry(max_attempts=2), **options)(work)
    assert (step.task.rate_limit, step.task.soft_time_limit, step.task.acks_late) == (
        "1/s",
        3,
        True,
    )
    with pytest.raises(DefinitionError, match="unknown option 'tenant'"):
        sagas.step(tenant="a")(undo)
    based = made().step(base=Base, tenant="a", colour="red")(work)
    assert (based.task.tenant, based.task.colour) == ("a", "red")


def test_every_attribute_of_a_celery_task_may_be_set() -> None:
    """The list is that of the Celery which is installed, its methods and retry options aside."""
    plain = {
        name
        for name, value in vars(Task).items()
        if not name.startswith("_") and not callable(value) and not isinstance(value, property)
    }
    elsewhere = {"app", "name", "max_retries", "default_retry_delay", "request_stack"}
    methods = {name for name in plain if isinstance(vars(Task)[name], classmethod)}
    hooks = {"after_return", "before_start", "on_failure", "on_replace", "on_retry", "on_success"}
    unknown = []
    for name in sorted((plain - elsewhere - methods) | hooks):
        try:
            check_task_options({name: None}, STEP, "step")
        except DefinitionError:
            unknown.append(name)
    assert unknown == []


@pytest.mark.parametrize(
    ("option", "message"),
    [("dead_line", "did you mean deadline"), ("colour", "there are name, version, deadline")],
)
def test_what_is_not_an_option_of_a_saga_is_refused(option: str, message: str) -> None:
    """By a sentence that names the saga, and not by a TypeError."""
    sagas: Any = made()
    step = sagas.step(work)

    def ship(flow: Flow) -> None:
        flow.step(step)

    with pytest.raises(DefinitionError, match=f"saga 'ship': .*{option}.*{message}"):
        sagas.saga(**{option: "5s"})(ship)


def test_sagas_are_made_of_an_app() -> None:
    """A URL is what one tries first; it may hold a password and is not repeated."""
    url: Any = "redis://:secret@localhost/0"
    with pytest.raises(ConfigurationError, match=r"takes a Celery app, not str: .*Celery\(") as bad:
        Sagas(url)
    assert "secret" not in str(bad.value)


def test_expires_is_how_long_a_step_may_wait_for_a_worker() -> None:
    """Of the step, or in one saga; no message expires, and elements have it each for itself."""
    sagas = made()
    step = sagas.step(expires="1m")(work)

    def order(flow: Flow, several: list[int]) -> None:
        flow.step(step)
        flow.options(expires=5, name="soon").step(step)
        flow.options(expires="1h").map(sagas.step(name="each")(weigh), several)

    plan = sagas.saga(order).planned.plan
    assert [plan.by_name[name].expires for name in ("work", "soon", "each")] == [
        60_000,
        5_000,
        None,
    ]
    assert plan.by_pattern["each[]"].expires == 3_600_000
    assert step.task.expires is None

    def child(flow: Flow, several: list[int]) -> None:
        flow.options(expires="1h").child(sagas.defined["order"], several)

    with pytest.raises(DefinitionError, match="say expires of the steps of its saga"):
        sagas.saga(child)


def weigh(number: int) -> int:
    """Take an element."""
    return number


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"rate_limit": "nonsense"}, 'rate_limit is how many a second, or text such as "10/m"'),
    ({"rate_limit": "10/d"}, "not '10/d'"),
    ({"rate_limit": "nan/s"}, "not 'nan/s'"),
    ({"time_limit": "10"}, "time_limit is a number of seconds, not '10'"),
    ({"soft_time_limit": -1}, "soft_time_limit is a number of seconds, not -1"),
    ({"priority": 256}, "priority is a whole number from 0 to 255, not 256"),
    ({"priority": "high"}, "not 'high'"),
    ({"queue": 5}, "queue is a name, not 5"),
    ({"exchange": b"mail"}, "exchange is a name, not b'mail'"),
    ({"routing_key": ("a",)}, "routing_key is text, not "),
    ({"acks_late": "no"}, "acks_late is True or False, not 'no'"),
    ({"throws": ("KeyError",)}, "throws is a class of errors, or a tuple of them"),
]


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
@pytest.mark.parametrize(("options", "message"), MISFITS, ids=repr)
def test_a_value_that_celery_could_not_use_is_refused(
    options: dict[str, Any], message: str
) -> None:
    """Where the step or the saga is defined, and not by a traceback in a worker."""
    sagas = made()
    with pytest.raises(DefinitionError, match=message):
        sagas.step(**options)(work)

    def order(flow: Flow) -> None:
        flow.step(task)

    task = sagas.app.task(shared=False, name="w", **options)(work)
    saga = sagas.saga(order)  # so far, the task is only promised
    with pytest.raises(DefinitionError, match=message):
        saga.start()
    with pytest.raises(DefinitionError, match=message):
        sagas.saga(name="again")(order)  # now there is one
    with pytest.raises(ConfigurationError, match=f"the task w cannot be a step here: .*{message}"):
        sagas.runtime.become_worker()


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"rate_limit": 5, "priority": 0, "expires": 60, "acks_late": 1, "throws": KeyError},
        {"rate_limit": "0.5/s", "queue": MAIL, "exchange": MAIL.exchange, "time_limit": 0},
        {"rate_limit": "", "soft_time_limit": 1.5, "throws": [KeyError], "priority": None},
    ],
    ids=repr,
)
def test_what_celery_takes_is_taken(options: dict[str, Any]) -> None:
    """Numbers, text and kombu's own objects."""
    sagas = made()
    sagas.step(**options)(work)
    sagas.runtime.become_worker()


def test_a_task_without_end_to_its_retries() -> None:
    """And one without any: `max_retries` may be what Celery compares numbers with."""
    sagas = made()
    tasks = [
        sagas.app.task(shared=False, name=f"w{limit}", max_retries=limit)(work)
        for limit in (None, -1, 2)
    ]

    @sagas.saga
    def order(flow: Flow) -> None:
        for task in tasks:
            flow.step(task)

    limits = [node.retry.max_attempts for node in order.planned.plan.nodes]
    assert limits == [None, 1, 3]
