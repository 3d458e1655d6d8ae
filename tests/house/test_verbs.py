"""One verb, one spelling: in Python, on the terminal, over HTTP and as an event.

Owns: comparing the four.  Refuses to know: what a verb does.
"""

from __future__ import annotations

import inspect
import re

import click
from celery import Celery

from celeriac import BulkCommand, EventKind, RunHandle, Sagas
from celeriac.app import BULK_VERBS
from celeriac.terminal import bulk_commands, control_commands
from celeriac.terminal.cli import saga
from celeriac.web import create_app
from celeriac.web.acting_routes import VERBS
from celeriac.web.forms import BulkStart, RunFilter
from tests.house.sources import ROOT

# What starts a run is a method of the saga, no verb of a run.
START = {"start"}
# A signal is for no state of the run: whoever sends it has seen none.
SIGNAL = {"signal"}
# A fork changes nothing in the run that it is made of.
FORK = {"fork"}
# A cancel is told by what it begins, a fork in the run that it makes, a rewind irregularly.
TOLD = {"cancel": "compensation_started", "fork": "inherited", "rewind": "rewound"}

# Lists whose method is called otherwise; questions are asked of a page of runs.
LISTS = {"sagas": "defined", "approvals": "runs", "breakers": "gates", "bulk": "bulks"}
# The doctor examines an installation, also one in which nothing can be asked: `doctor.examine`.
APART = {"doctor"}


def client(handle: type = RunHandle) -> dict[str, inspect.Signature]:
    """The methods of a handle that steer: each says who asks."""
    methods = inspect.getmembers(handle, inspect.isfunction)
    signatures = {name: inspect.signature(each) for name, each in methods if name[0] != "_"}
    return {name: each for name, each in signatures.items() if "by" in each.parameters}


def routes(prefix: str = "/api/runs/{run_id}/") -> set[str]:
    """The verbs that have a route."""
    sagas = Sagas(Celery("verbs", broker="memory://", set_as_current=False))
    paths = create_app(sagas).openapi()["paths"]
    posts = [path for path, each in paths.items() if "post" in each]
    return {path.removeprefix(prefix) for path in posts if path.startswith(prefix)}


def test_every_verb_is_everywhere() -> None:
    """Client methods, commands of the terminal and routes are the same words."""
    commands = {command.name for command in control_commands.COMMANDS} - START
    assert client()
    assert set(client()) == commands == routes() == set(VERBS) | SIGNAL | FORK


def test_every_verb_for_many_runs_is_everywhere() -> None:
    """Looked at, listed and shown in one way each; then the same words and parameters."""
    commands = {each.name: each for each in bulk_commands.bulk.commands.values()}
    assert set(commands) - {"list", "show", "look"} == set(client(BulkCommand))
    assert set(client(BulkCommand)) == routes("/api/bulk/{bulk_id}/")
    assert set(BULK_VERBS) <= routes("/api/bulk/")
    (verb,) = [each for each in commands["look"].params if each.name == "verb"]
    assert isinstance(verb.type, click.Choice)
    assert tuple(verb.type.choices) == BULK_VERBS
    for name, signature in client(BulkCommand).items():
        taken = {each.name for each in commands[name].params} - {"bulk_id", "form"}
        assert taken == set(signature.parameters) - {"self"}, name
    assert set(BulkStart.model_fields) == set(client(BulkCommand)["start"].parameters) - {
        "self",
        "by",
    }


def test_a_filter_is_the_same_everywhere() -> None:
    """Of `runs`, of a command for many, over HTTP and on the terminal."""
    page = {"limit", "cursor"}
    filters = set(inspect.signature(Sagas.runs).parameters) - {"self"} - page
    asked = {"verb", "runs", "reason", "rps", "by"}
    assert set(inspect.signature(Sagas.bulk).parameters) - {"self"} - asked == filters
    assert {*RunFilter.model_fields, "tags"} - {"tag"} == filters
    options = {each.name for each in saga.commands["list"].params}
    assert options - page - {"form"} == filters


def test_a_route_takes_what_the_method_takes() -> None:
    """Parameters have one name, too."""
    for verb, signature in client().items():
        if verb in SIGNAL | FORK:
            continue
        assert set(VERBS[verb].model_fields) == set(signature.parameters) - {"self", "by"}, verb


def test_what_is_looked_at_over_http_can_be_looked_at_in_python() -> None:
    """Each list of the API is a method of `Sagas` of the same name."""
    paths = create_app(Sagas(Celery("lists", broker="memory://", set_as_current=False))).openapi()
    found = {
        name
        for path, each in paths["paths"].items()
        if "get" in each and "/" not in (name := path.removeprefix("/api/"))
    }
    assert "runs" in found
    assert {name for name in found - set(LISTS) - APART if not hasattr(Sagas, name)} == set()
    assert {name for name, method in LISTS.items() if not hasattr(Sagas, method)} == set()


def test_a_verb_is_told_in_the_past_tense() -> None:
    """The event of a verb is found by whoever knows the verb."""
    kinds = set(EventKind)
    for verb in client():
        past = verb[:-1] + "ied" if verb[-1] == "y" else verb.rstrip("e") + "ed"
        doubled = verb + verb[-1] + "ed"
        assert {TOLD.get(verb), past, doubled} & kinds, verb


def test_the_readme_names_every_command() -> None:
    """Whoever reads nothing else knows what there is to do on the terminal."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| to | verbs |") :].partition("\n\n")[0]
    assert set(saga.commands) <= set(re.findall(r"`([a-z-]+)`", table))
