"""What several tests of this folder use.

Owns: an app that nobody else has.  Refuses to know: what is observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Sagas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.workers.runtime import Runtime


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """The runtime of an app whose Redis is not there."""
    app = Celery("observed", broker="redis://127.0.0.1:1/0", set_as_current=False)
    runtime = Sagas(app).runtime
    yield runtime
    runtime.close()
