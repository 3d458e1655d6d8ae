"""A small server of a pipeline: builds, a schema, regions; it honours keys.

Owns: what its paths do, and the definition that names them.  Refuses to know: who asks.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

from tests.house.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.actions.server import Asked, Server


class Pipeline:
    """What the server stands for: builds, a schema, regions."""

    def __init__(self, server: Server) -> None:
        self.server, self.builds, self.schema = server, 0, "v1"
        self.regions = {"eu": "v1", "us": "v1"}
        self.releases: list[tuple[str, str]] = []
        self.keys: dict[str, Any] = {}
        self.fails: str | None = None
        self.holds: str | None = None  # the region whose answer waits until it is let go
        self.let_go = threading.Event()
        server.on = {
            "/builds": self.once(lambda _: (201, {"id": self._built(), "previous": "v1"})),
            "/builds/1": self._build,
            "/migrations": self.once(self._migrate),
            "/migrations/m1/down": self.once(lambda _: self._schema("v1")),
            "/regions/eu": self.once(lambda asked: self._release("eu", asked)),
            "/regions/us": self.once(lambda asked: self._release("us", asked)),
            "/announcements": self.once(lambda _: (200, {})),
        }

    def once(self, answer: Any) -> Any:
        """Honour the key: the same one gets the same answer."""

        def told(asked: Asked) -> Any:
            key = asked.headers["idempotency-key"]
            if key not in self.keys:
                self.keys[key] = answer(asked)
            return self.keys[key]

        return told

    def _built(self) -> int:
        self.builds += 1
        return self.builds

    def _build(self, asked: Asked) -> Any:
        if asked.method == "DELETE":
            self.builds -= 1
            return 200, {}
        times = sum(each.path == "/builds/1" for each in self.server.asked)
        return 200, {"status": "passed" if times > 2 else "running"}

    def _schema(self, to: str) -> Any:
        self.schema = to
        return 200, {"id": "m1"}

    def _migrate(self, asked: Asked) -> Any:
        return self._schema(json.loads(asked.body)["to"])

    def _release(self, region: str, asked: Asked) -> Any:
        ref = json.loads(asked.body)["ref"]
        if self.fails == region and ref != "v1":
            return 400, {"you": dict(asked.headers)}
        self.regions[region] = ref
        self.releases.append((region, ref))
        if self.holds == region:
            self.let_go.wait(30)
        return 200, {}

    def file(self, folder: Path, more: str = "") -> Path:
        """`workflows/deploy.yaml` with this server in it, which is quick, and with *more* steps."""
        text = (ROOT / "workflows/deploy.yaml").read_text()
        text = re.sub(r"https://ci\.example\.com", self.server.url, text)
        text = text.replace("every: 15s", "every: 100ms")
        made = folder / "deploy.yaml"
        made.write_text(text.replace("\nresult:", f"{more}\nresult:"))
        return made
