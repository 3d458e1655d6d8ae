"""Mistakes that somebody could make in the store, as small patches: each must be caught.

Owns: the patches, by name, and how to live with one inside this process.  Refuses to know: what
catches them; `test_variants` plays them against the model and the torn scripts, and whoever copies
the package may patch the files themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

import celeriac.store.redis as redis_store
import celeriac.store.removal as store_removal
from celeriac.store import scripts
from tests.house.sources import PACKAGE
from tests.model.faulty_connection import Dressed

if TYPE_CHECKING:
    from types import ModuleType

    import pytest

    from celeriac.store.scripts import Script


class Variant(NamedTuple):
    """One mistake: *old*, which occurs once in *file*, becomes *new*."""

    name: str
    file: str  # under the package
    old: str
    new: str

    def patched(self) -> str:
        """The whole file with the mistake in it."""
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.name}: {self.file} is not what it was"
        return text.replace(self.old, self.new)

    @property
    def script(self) -> Script | None:
        """The script it is in, if it is in one."""
        return _SCRIPTS.get(self.file.removeprefix("store/"))

    def live_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the stores of this process make the mistake until the test ends."""
        if self.script is not None:
            for field, value in vars(Dressed(self.patched())).items():
                monkeypatch.setattr(self.script, field, value)
            return
        module = importlib.import_module(f"celeriac.{self.file[:-3].replace('/', '.')}")
        for user in (redis_store, store_removal):
            self._let_use(user, module, monkeypatch)

    def _let_use(
        self, user: ModuleType, module: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = dict(vars(module))
        exec(compile(self.patched(), self.file, "exec"), names)  # noqa: S102 -- our own file
        for name in ("spell_change", "spell_removal"):
            if hasattr(user, name):
                monkeypatch.setattr(user, name, names[name])


_SCRIPTS = {"commit.lua": scripts.COMMIT, "wake.lua": scripts.WAKE}
_COMMIT, _WAKE, _SPELLING = "store/commit.lua", "store/wake.lua", "store/commit.py"
_PUBLISH = "  redis.call('PUBLISH', ARGV[2], '')\n"
_LOOP = """
at = 6 + #KEYS
while at <= #ARGV do
  local key, last = KEYS[tonumber(ARGV[at + 1])], at + 2 + tonumber(ARGV[at + 2])
  -- A list that is shorter than it was said to be has lost what was to be overwritten.
  if ARGV[at] ~= 'LSET' or redis.call('LLEN', key) >= -tonumber(ARGV[at + 3]) then
    redis.call(ARGV[at], key, unpack(ARGV, at + 3, last))
  end
  at = last + 1
end
"""

#: What a walk beside the pure state machine must find.
SEEN_BY_THE_MODEL = (
    Variant(
        "the version is not compared",
        _COMMIT,
        "if head:sub(1, #ARGV[1]) ~= ARGV[1] or (ARGV[1] == '' and head ~= '') then",
        "if ARGV[1] == '' and head ~= '' then",
    ),
    Variant(
        "a conflict is taken for a success",
        _COMMIT,
        "(ARGV[1] == '' and head ~= '') then\n  return 0",
        "(ARGV[1] == '' and head ~= '') then\n  return 1",
    ),
    Variant(
        "a start replaces the run that exists",
        _COMMIT,
        " or (ARGV[1] == '' and head ~= '') then",
        " then",
    ),
    Variant(
        "the lease is not compared",
        _COMMIT,
        "if not score or tonumber(score) ~= tonumber(ARGV[5]) then",
        "if not score then",
    ),
    Variant(
        "it writes before its last guard",
        _COMMIT,
        "if not score or tonumber(score) ~= tonumber(ARGV[5]) then",
        "redis.call('ZREM', KEYS[tonumber(ARGV[3])], ARGV[4])\n"
        "  if not score or tonumber(score) ~= tonumber(ARGV[5]) then",
    ),
    Variant(
        "half of a commit is written",
        _COMMIT,
        "redis.call(ARGV[at], key, unpack(ARGV, at + 3, last))",
        "if at < #ARGV / 2 then redis.call(ARGV[at], key, unpack(ARGV, at + 3, last)) end",
    ),
    Variant(
        "a moved entry is moved again",
        _WAKE,
        "(ARGV[i + 1] == '' or tonumber(score) == tonumber(ARGV[i + 1]))",
        "true",
    ),
    Variant(
        "a lease that was given back is renewed",
        _WAKE,
        "local found = score and (ARGV[i + 1] == ''",
        "local found = (ARGV[i + 1] == ''",
    ),
    Variant(
        "a run at rest stays in the wake index",
        _SPELLING,
        "        gone.append(change.run.id)\n",
        "        pass\n",
    ),
    Variant(
        "leases are never given back",
        _SPELLING,
        "gone = [lease_member(lease) for lease in change.released]",
        "gone: list[str] = []",
    ),
    Variant(
        "a run stays listed where it was",
        _SPELLING,
        "            if (key, entry) not in new:\n",
        "            if (key, entry) in new:\n",
    ),
    Variant(
        "a run that goes on is still to be removed",
        _SPELLING,
        "    elif before and before.status.at_rest:\n",
        "    elif before is None:\n",
    ),
    Variant(
        "payloads of an earlier life are kept",
        _SPELLING,
        "    if change.fresh:\n",
        "    if change.fresh and change.fields is None:\n",
    ),
    Variant(
        "only the last of several events is kept",
        _SPELLING,
        "dump_events(change.events, run.started_at)",
        "dump_events(change.events[-1:], run.started_at)",
    ),
    Variant(
        "an arrival is noted though a newer one was",
        _SPELLING,
        'writes.add("ZADD", keys.seen, "GT", sent, queue)',
        'writes.add("ZADD", keys.seen, sent, queue)',
    ),
)

#: What a walk cannot see, since the engine is right: hurting the scripts does.
SEEN_BY_HURTING = (
    Variant(
        "types are not guarded",
        _COMMIT,
        "if found ~= 'none' and wanted ~= '' and found ~= wanted then",
        "if false then",
    ),
    Variant(
        "what the ACL forbids is found out by trying",
        _COMMIT,
        "if redis.acl_check_cmd and not redis.acl_check_cmd(command, key) then",
        "if false then",
    ),
    Variant(
        "it publishes at the end",
        _COMMIT,
        f"if ARGV[2] ~= '' then\n{_PUBLISH}end\n{_LOOP}return 1",
        f"{_LOOP}if ARGV[2] ~= '' then\n{_PUBLISH}end\nreturn 1",
    ),
    Variant(
        "a score is believed to be one",
        _COMMIT,
        "if not ARGV[i]:find('^%-?%d+$') then",
        "if false then",
    ),
    Variant(
        "entries are moved one by one as they are read",
        _WAKE,
        "    writes[#writes + 1] = {to, ARGV[i]}\n",
        "    redis.call('ZADD', KEYS[1], to, ARGV[i])\n",
    ),
)
VARIANTS = SEEN_BY_THE_MODEL + SEEN_BY_HURTING
