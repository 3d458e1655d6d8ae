"""Somebody who can write to the broker, and nothing else.

Owns: putting messages of any form into a queue, and bombs that show that they were evaluated.
Refuses to know: what should become of them.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.workers.headers import HEADER

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

STEP = "tests.workers.kit.pay"
JSON = "application/json"
PICKLE = "application/x-python-serialize"
YAML = "application/x-yaml"
EMPTY = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


class Forger:
    """Puts messages into the queues of a world."""

    def __init__(self, world: World) -> None:
        self.world, self.sent = world, 0

    def header(self, run: RunHandle[Any], **changed: Any) -> list[Any]:
        """The saga header of the first attempt of `pay`, with something changed."""
        found = self.world.kit.sagas.runtime.engine.store.read(run.id).run
        assert found is not None
        true = {"id": run.id, "epoch": 1, "step": "pay", "phase": "do", "attempt": 1}
        return list({**true, "plan": found.plan, **changed}.values())

    def post(
        self,
        task: str = STEP,
        body: Any = EMPTY,
        *,
        saga: Any = None,
        kind: str = JSON,
        queue: str = "celery",
        **headers: Any,
    ) -> str:
        """Send a message; a body that is not bytes is written as JSON.  Returns its id."""
        self.sent += 1
        task_id = f"forged-{self.sent}-{uuid.uuid4().hex[:6]}"
        given = {"lang": "py", "task": task, "id": task_id, "retries": 0, **headers}
        if saga is not None:
            given[HEADER] = saga
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.world.kit.app.producer_or_acquire() as producer:
            producer.publish(
                data,
                routing_key=queue,
                exchange="",
                content_type=kind,
                content_encoding="binary" if isinstance(body, bytes) else "utf-8",
                headers=given,
                correlation_id=task_id,
            )
        return task_id
