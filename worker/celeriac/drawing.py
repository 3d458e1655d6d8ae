"""Drawing a run or a saga: `draw(run.graph(), "svg")`.

Owns: the path by which users import these names.  Refuses to know: what they do (`views.drawing`).
"""

from __future__ import annotations

from celeriac.views import Drawing, draw

__all__ = ["Drawing", "draw"]
