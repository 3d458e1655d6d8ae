"""Scripts are loaded where they are run, also by servers that cannot read their first line.

Owns: what is sent, and again, to servers that answer as Redis 6.2 does.  Refuses to know: what a
script does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

from celeriac.store.commit import Call
from celeriac.store.scripts import WAKE, Scripts

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOO_OLD = "Error compiling script (new function): user_script:1: unexpected symbol near '#'"


class _OldNodes:
    """A cluster of Redis 6.2: each node has scripts of its own, and none can read flags."""

    def __init__(self) -> None:
        self.loaded: set[tuple[str, str]] = set()

    def one_of_each(self, keys: list[str]) -> list[int]:
        """One key of each node: here each has a node to itself."""
        return list(range(len(keys)))

    def try_all(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Answer commands; a script is loaded just before it is run for the first time."""
        asked = list(commands)
        return [self._answer(each, asked[n + 1 :]) for n, each in enumerate(asked)]

    def _answer(self, command: tuple[Any, ...], later: list[tuple[Any, ...]]) -> Any:
        if command[0] == "SCRIPT" and command[2].startswith("#!"):
            return ResponseError(_TOO_OLD)
        if command[0] == "SCRIPT":
            _, digest, _, key, *_ = later[0]
            self.loaded.add((key, digest))
            return digest
        place = (command[3], command[1])
        return command[3] if place in self.loaded else NoScriptError("no")

    def check(self, answers: list[Any]) -> list[Any]:
        """Raise the first error among answers."""
        for each in answers:
            if isinstance(each, Exception):
                raise each
        return answers


def test_several_nodes_that_cannot_read_flags() -> None:
    """One finds it out for all; the plain text is run everywhere."""
    nodes: Any = _OldNodes()
    scripts = Scripts(nodes)
    calls = [Call((f"celeriac:{{{number}}}:wake",), ()) for number in range(3)]
    assert scripts.run_all(WAKE, calls) == [call.keys[0] for call in calls]
    assert {digest for _, digest in nodes.loaded} == {WAKE.plain_digest}
