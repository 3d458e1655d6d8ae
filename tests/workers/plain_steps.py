"""A task of an ordinary project, and a saga that has it, or none: `-I tests.workers.plain_steps`.

Owns: a worker that knows the task and not the saga.  Refuses to know: what becomes of a run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celeriac import Flow, Saga  # noqa: TC001 -- read when the saga is planned

if TYPE_CHECKING:
    from tests.workers.kit import Kit


def extend(kit: Kit, *, with_saga: bool) -> Saga[int, Any] | None:
    """Add the task, and the saga if it is to be there."""

    @kit.app.task(name="plain.double", shared=False)  # type: ignore[untyped-decorator]
    def double(n: int) -> int:
        return 2 * n

    def doubling(flow: Flow, n: int) -> Any:
        return flow.step(double, n)

    return kit.sagas.saga(doubling) if with_saga else None


if "KIT_SAGAS" in os.environ:
    from tests.workers.worker_app import kit as _kit

    extend(_kit, with_saga=os.environ["KIT_SAGAS"] == "yes")
