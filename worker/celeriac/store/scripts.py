"""Running Lua scripts: by digest, loaded when the server does not know them.

Owns: the scripts' texts, their digests, NOSCRIPT, and the variant that may use memory beyond
`maxmemory`.  Refuses to know: what the scripts do.

On Redis 7 a script that starts with `#!lua flags=allow-oom` runs although memory is full (F8):
that lets runs in flight drain.  Redis 6.2 cannot read that line; there the plain text is used.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

from celeriac.points import reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store.commit import Call
    from celeriac.store.connection import Command, Connection

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
    """The scripts of one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._flags = True  # whether the server understands them; found out when loading

    def run(self, script: Script, call: Call, *, beyond_full: bool = True) -> Any:
        """Run *script* and return its answer; *beyond_full*: also at `maxmemory`."""
        return self.run_all(script, (call,), beyond_full=beyond_full)[0]

    def run_all(
        self, script: Script, calls: Sequence[Call], *, beyond_full: bool = True
    ) -> list[Any]:
        """Run *script* once per call, in one round trip, and return the answers."""
        if not calls:
            return []
        answers = self._try(script, calls, beyond_full)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            reached("store.forgotten", script)
            self._load(script, beyond_full)
            answers = self._again(script, calls, answers, beyond_full)
        return self._connection.check(answers)

    def _try(self, script: Script, calls: Sequence[Call], beyond_full: bool) -> list[Any]:
        flagged = beyond_full and self._flags
        digest = script.beyond_full_digest if flagged else script.plain_digest
        return self._connection.try_all(_evalsha(digest, call) for call in calls)

    def _again(
        self, script: Script, calls: Sequence[Call], answers: Sequence[Any], beyond_full: bool
    ) -> list[Any]:
        """Repeat the calls that found no script: nothing of them was done."""
        missed = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        again = self._try(script, [calls[n] for n in missed], beyond_full)
        found = list(answers)
        for n, answer in zip(missed, again, strict=True):
            found[n] = answer
        return found

    def _load(self, script: Script, beyond_full: bool) -> None:
        if beyond_full and self._flags:
            [answer] = self._connection.try_all([("SCRIPT", "LOAD", script.beyond_full)])
            self._flags = not _cannot_read_flags(answer)
            if self._flags:
                self._connection.check([answer])
                return
        self._connection.ask("SCRIPT", "LOAD", script.plain)


def _cannot_read_flags(answer: object) -> bool:
    """True if Redis could not compile the first line: 6.2, or flags it does not know."""
    text = str(answer).lower()
    return isinstance(answer, ResponseError) and ("compil" in text or "shebang" in text)


def _evalsha(digest: str, call: Call) -> Command:
    return ("EVALSHA", digest, len(call.keys), *call.keys, *call.args)
