"""What a worker is told where a busy machine must not count: `celery -A … worker -I …`.

Owns: which attempts are short, and letting messages bring others for as long as a test may take.
Refuses to know: what is tested.
"""

from __future__ import annotations

from typing import Any

from celeriac.workers import ahead as running_ahead

ahead: Any = running_ahead  # what is changed here is nobody's to see
#: The task of the kit that never counts as short.
LONG = "hop"


def _is_short(paces: object, task: str) -> bool:
    del paces
    return not task.endswith(LONG)


ahead.is_short = _is_short
ahead._LONGEST_BUNDLE = 60.0
