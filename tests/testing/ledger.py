"""A participant in memory: effects by key, and everything that was asked for.

Owns: what stands, what was forbidden, and the log of it.  Refuses to know: sagas.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Effects by key, each done once; with tombstones, never any more after it was undone."""

    tombstones: bool = True
    live: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)  # tombstones
    made: list[str] = field(default_factory=list)  # keys, as often as they took effect
    log: list[tuple[str, str]] = field(default_factory=list)  # (do, again, forbidden, undo), key

    def do(self, key: str) -> None:
        """Take effect, once for each key, and never after it was undone."""
        if key in self.closed:
            self.log.append(("forbidden", key))
        elif key in self.made:
            self.log.append(("again", key))
        else:
            self.live.add(key)
            self.made.append(key)
            self.log.append(("do", key))

    def undo(self, key: str) -> None:
        """Take the effect back; with tombstones, one that never was is forbidden from now on."""
        self.log.append(("undo", key))
        self.live.discard(key)
        if self.tombstones:
            self.closed.add(key)
