"""The Redis server of the tests: `celeriac.testing`'s, made to lose nothing and to end quickly.

Owns: what only our own tests want of a server.  Refuses to know: how it is found and started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.testing.servers import LocalRedis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class RedisServer(LocalRedis):
    """A server in *folder*; *options* are lines of its configuration.

    ::

        with RedisServer(tmp_path) as server:
            server.client().ping()
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Mapping[str, str | int] | None = None,
        binary: Path | None = None,
    ) -> None:
        # Under everysec a server that is killed while its disk is slow may lose two seconds
        # (docs/durability.md); the tests that kill one are about something else.
        kept: dict[str, str | int] = {"appendfsync": "always"}
        super().__init__(folder, binary=binary, options={**kept, **(options or {})})

    def __exit__(self, *_: object) -> None:
        self.kill()
