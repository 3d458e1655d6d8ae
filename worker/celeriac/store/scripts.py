"""Running Lua scripts: by digest, loaded when the server does not know them.

Owns: the scripts' texts, their digests, NOSCRIPT, and the variant that may use memory beyond
`maxmemory`.  Refuses to know: what the scripts do.

On Redis 7 a script that starts with `#!lua flags=allow-oom` runs although memory is full (F8):
that lets runs in flight drain.  Redis 6.2 cannot read that line; there the plain text is used.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from celeriac.points import reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store.commit import Call
    from celeriac.store.connection import Command, Connection

# A server may turn out not to read flags; a slot may move, or a replica take over, in between.
_LOADS = 3
_BEYOND_FULL = "#!lua flags=allow-oom\n"


class Script:
    """A script beside this file, in both variants."""

    def __init__(self, name: str) -> None:
        self.plain = files("celeriac.store").joinpath(name).read_text(encoding="utf-8")
        self.beyond_full = _BEYOND_FULL + self.plain
        self.plain_digest = self._digest(self.plain)
        self.beyond_full_digest = self._digest(self.beyond_full)

    @staticmethod
    def _digest(text: str) -> str:
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


COMMIT = Script("commit.lua")
WAKE = Script("wake.lua")
PULSE = Script("pulse.lua")
PAGE = Script("page.lua")
SWEPT = Script("swept.lua")
PRESENT = Script("present.lua")
TURN = Script("turn.lua")
FORGET = Script("forget.lua")


class Scripts:
    """The scripts of a server, or of all nodes of a cluster."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._flags = True  # whether the server understands them; found out when loading

    def run(self, script: Script, call: Call, *, beyond_full: bool = True) -> Any:
        """Run *script* and return its answer; *beyond_full*: also at `maxmemory`."""
        digest = self._digest(script, beyond_full)
        answer = self._connection.try_all((_evalsha(digest, call),))[0]
        if isinstance(answer, NoScriptError):  # nothing was done
            return self.run_all(script, (call,), beyond_full=beyond_full)[0]
        return self._connection.check([answer])[0]

    def run_all(
        self, script: Script, calls: Sequence[Call], *, beyond_full: bool = True
    ) -> list[Any]:
        """Run *script* once per call, in one round trip, and return the answers."""
        return self._connection.check(self.try_all(script, calls, beyond_full=beyond_full))

    def try_all(
        self, script: Script, calls: Sequence[Call], *, beyond_full: bool = True
    ) -> list[Any]:
        """Do the same; errors of single calls are among the answers."""
        answers = self._try(script, calls, beyond_full) if calls else []
        for _ in range(_LOADS):
            # Nothing of these was done.
            missed = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if not missed:
                break
            reached("store.forgotten", script)
            again = self._load_and_try(script, [calls[n] for n in missed], beyond_full)
            for n, answer in zip(missed, again, strict=True):
                answers[n] = answer
        return answers

    def _try(self, script: Script, calls: Sequence[Call], beyond_full: bool) -> list[Any]:
        digest = self._digest(script, beyond_full)
        return self._connection.try_all(_evalsha(digest, call) for call in calls)

    def _load_and_try(self, script: Script, calls: Sequence[Call], beyond_full: bool) -> list[Any]:
        """Load *script* where each call goes to, and run it there, all in one round trip."""
        flags = beyond_full and self._flags  # none of several nodes may be able to read them
        text, digest = self._of(script, beyond_full)
        loading = set(self._connection.one_of_each([call.keys[0] for call in calls]))
        commands: list[Command] = []
        for n, call in enumerate(calls):
            if n in loading:
                commands.append(("SCRIPT", "LOAD", text))
            commands.append(_evalsha(digest, call))
        answers = self._connection.try_all(commands)
        for command, answer in zip(commands, answers, strict=True):
            if command[0] == "SCRIPT" and isinstance(answer, ResponseError):
                if not (flags and _cannot_read_flags(answer)):
                    self._connection.check([answer])
                self._flags = False
        return [
            answer
            for command, answer in zip(commands, answers, strict=True)
            if command[0] != "SCRIPT"
        ]

    def _digest(self, script: Script, beyond_full: bool) -> str:
        whole = beyond_full and self._flags
        return script.beyond_full_digest if whole else script.plain_digest

    def _of(self, script: Script, beyond_full: bool) -> _Variant:
        if beyond_full and self._flags:
            return _Variant(script.beyond_full, script.beyond_full_digest)
        return _Variant(script.plain, script.plain_digest)


class _Variant(NamedTuple):
    """A script as a server gets it."""

    text: str
    digest: str


def _cannot_read_flags(answer: object) -> bool:
    """True if Redis could not compile the first line: 6.2, or flags it does not know."""
    text = str(answer).lower()
    return isinstance(answer, ResponseError) and ("compil" in text or "shebang" in text)


def _evalsha(digest: str, call: Call) -> Command:
    return ("EVALSHA", digest, len(call.keys), *call.keys, *call.args)
