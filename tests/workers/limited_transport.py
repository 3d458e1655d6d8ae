"""A transport with the limits of SQS, over files: `limited://`.

Owns: no delay beyond 15 minutes, and nobody can say how much waits in a queue.  Refuses to know:
where messages are kept (kombu's filesystem transport).
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES

LONGEST_DELAY = 900.0  # seconds
_files: Any = import_module("kombu.transport.filesystem")  # kombu has no types


class Channel(_files.Channel):  # type: ignore[misc]  # see above
    """Refuses what SQS refuses, and notes each delay that is asked for."""

    def _put(self, queue: str, payload: dict[str, Any], **options: Any) -> Any:
        eta = (payload.get("headers") or {}).get("eta")
        if eta:
            delay = (datetime.fromisoformat(eta) - datetime.now(UTC)).total_seconds()
            if delay > LONGEST_DELAY:
                raise ValueError(f"a delay of {delay:g} s: at most 900 are possible")
            with (Path(self.data_folder_out).parent / "delays").open("a") as notes:
                notes.write(f"{delay}\n")
        return super()._put(queue, payload, **options)

    def queue_declare(self, queue: str = "", passive: bool = False, **options: Any) -> Any:
        """Declare a queue, or be asked how long one is."""
        if passive:
            raise NotImplementedError(f"nobody can say how much waits in {queue}")
        return super().queue_declare(queue, passive, **options)


class Transport(_files.Transport):  # type: ignore[misc]  # see above
    """The transport."""

    Channel = Channel
    driver_type = "limited"


TRANSPORT_ALIASES["limited"] = f"{__name__}:Transport"
