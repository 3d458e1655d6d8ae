"""The runbook: a heading for each alert, commands that exist, and links that lead somewhere.

Owns: that whoever is woken up finds what to do, and can type it as it stands.  Refuses to know:
whether the advice is any good.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click
import pytest
from celery.bin.celery import celery as celery_command
from celery.worker.control import Panel

from celeriac.doctor import CHECKS
from celeriac.machine.policy import duration_ms
from celeriac.machine.runs import RunStatus
from celeriac.terminal import options
from celeriac.terminal.cli import saga
from tests.ops.rules import OPS, read_alerts
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = (OPS / "runbook.md").read_text()
ALERTS = read_alerts()
SITUATIONS = (
    "Redis restarted, failed over or full",
    "Sweep down",
    "Failed runs",
    "Poison steps",
    "Mass timeouts",
    "A participant is down",
    "Deploy and drain",
    "Roll back",
    "Restore from backup",
    "Purge and archive",
)
# Where runs are steered, and what must be said when they are.
STEERING = {"cancel", "terminate", "retry", "waive", "pause", "resume", "skip", "purge"}


def parts() -> dict[str, str]:
    """The text below each heading of the second level."""
    pieces = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def anchor(heading: str) -> str:
    """A heading's anchor, as it is made on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def commands() -> list[str]:
    """Every command of the runbook: of its console blocks, and in its sentences."""
    blocks = re.findall(r"^\$ (.+?)(?:\s{2,}#.*)?$", TEXT, re.MULTILINE)
    inline = re.findall(r"`((?:celery|redis-cli|redis-check-aof) [^`]+)`", TEXT)
    return sorted({*blocks, *(" ".join(each.split()) for each in inline)})


def words(command: str) -> list[str]:
    """A command as a shell would part it."""
    return shlex.split(command, comments=True)


def of(program: str) -> list[str]:
    """The commands that begin so."""
    return [each for each in commands() if each.startswith(program)]


SAGA = of("celery -A app saga")
CELERY = [each for each in of("celery -A app") if each not in SAGA]
REDIS = of("redis-cli")

each_alert = pytest.mark.parametrize("name", ALERTS)
each_saga = pytest.mark.parametrize("command", SAGA)


# --- headings ----------------------------------------------------------------------------------


@each_alert
def test_an_alert_has_its_heading(name: str) -> None:
    """It says what it means, how to see it, what to do, and when it is over."""
    for word in ("Means.", "See.", "Do.", "Over"):
        assert f"**{word}" in parts()[name], word
    assert ALERTS[name].annotations["runbook_url"].endswith(f"#{anchor(name)}")


def test_headings_are_alerts_and_situations() -> None:
    """There is no heading for an alert that is gone, and each situation has one."""
    assert list(parts()) == [*parts()][: len(ALERTS)] + list(SITUATIONS)
    assert set(list(parts())[: len(ALERTS)]) == set(ALERTS)


@pytest.mark.parametrize("heading", SITUATIONS)
def test_a_situation_says_what_not_to_do_and_when_it_is_over(heading: str) -> None:
    """At three in the morning, that is what one wants to know."""
    assert "**Never**" in parts()[heading]
    assert "**Over**" in parts()[heading]


def test_links_lead_somewhere() -> None:
    """Each anchor is a heading, each file is there."""
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    wrong = [
        link
        for link in links
        if (link[1:] not in anchors if link.startswith("#") else not (OPS / link).exists())
    ]
    assert wrong == []


def test_links_of_a_word_are_not_torn() -> None:
    """A command that is broken over two lines cannot be copied."""
    assert re.findall(r"`(?:celery|redis-cli) [^`]*\n[^`]*`", TEXT) == []


# --- commands ----------------------------------------------------------------------------------


def test_there_are_commands() -> None:
    """They are found, and none is of a program that nobody knows."""
    assert len(SAGA) > 40
    assert CELERY
    assert REDIS
    others = set(commands()) - {*SAGA, *CELERY, *REDIS}
    assert {each.split()[0] for each in others} <= {"celery", "redis-check-aof"}
    assert {each for each in others if each.startswith("celery")} <= {"celery purge"}  # a warning


def parsed(command: str) -> click.Context:
    """A command of ours as click reads it; raises a UsageError."""
    _, _, _, _, *rest = words(command)
    group = saga.make_context("saga", rest)
    name, verb, args = saga.resolve_command(group, [*group._protected_args, *group.args])
    assert verb is not None
    context = verb.make_context(name, list(args), parent=group)
    given = context.params
    if (
        "yes" in given and "run_id" in given
    ):  # what the verb itself looks at before it does anything
        filters = {each: given[each] for each in options._FILTERS}
        options._check(given["run_id"], filters, given)
    if name in ("waive", "skip"):
        options.the_step(given["step"], given["step_option"], required=True)
    return context


@each_saga
def test_a_command_of_ours_exists(command: str) -> None:
    """Its verb, its arguments and its options are those of this version."""
    parsed(command)


@each_saga
def test_a_command_says_what_can_be_said(command: str) -> None:
    """A status, a check and a time in it are some that there are, and steering has a reason."""
    context = parsed(command)
    given: dict[str, Any] = dict(context.params)
    target = given.get("target")
    for_filter = words(command)
    statuses = {after for word, after in _pairs(for_filter) if word == "--status"}
    assert statuses <= {status.value for status in RunStatus} | {"paused", "waiting"}
    checks = {after for word, after in _pairs(for_filter) if word == "--only"}
    assert checks <= set(CHECKS)
    for word, after in _pairs(for_filter):
        if word in ("--since", "--until", "--older-than"):
            assert duration_ms(after), after
    if context.info_name in STEERING and "--dry-run" not in for_filter:
        assert given.get("reason") or "--reason" in for_filter, target


def _pairs(given: list[str]) -> Iterator[tuple[str, str]]:
    return pairwise(given)


@pytest.mark.parametrize(
    "wrong",
    [
        "celery -A app saga lst",
        "celery -A app saga pause --status running --rsp 5",
        "celery -A app saga pause",
        "celery -A app saga waive ID STEP",
        "celery -A app saga waive ID --reason why",
        "celery -A app saga show ID STEP",
    ],
)
def test_what_does_not_exist_is_found(wrong: str) -> None:
    """The check is able to fail: for a verb, an option, a filter, a reason and an argument."""
    with pytest.raises(click.UsageError):
        parsed(wrong)


@pytest.mark.parametrize("command", CELERY)
def test_a_command_of_celery_exists(command: str) -> None:
    """The same for Celery's own."""
    _, _, _, name, *rest = words(command)
    verb = celery_command.commands[name]
    context = click.Context(verb, info_name=name)
    given, left, _ = verb.make_parser(context).parse_args(list(rest))
    if name == "inspect":
        assert given["command"] in Panel.meta
    else:
        assert left == []


def test_commands_of_redis_exist(tmp_path: Path) -> None:
    """Each is given to a real server, which takes it."""
    options = {"maxmemory": "64mb"}
    with RedisServer(tmp_path / "redis", options=options) as server, server.client() as client:
        for command in REDIS:
            answer = client.execute_command(*words(command)[1:])
            assert answer not in (None, "", []) or "SLOWLOG" in command, command
