"""Names that authors give: to steps, to signals, and in front of other names.

Owns: what such a name may be.  Refuses to know: what it names, and which names are taken.
"""

from __future__ import annotations

import re
from typing import Any

from celeriac.errors import DefinitionError


def checked_name(name: Any) -> str:
    """Return the name of a step, or what stands before one; raise DefinitionError otherwise."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\s.:~\[\]/\\]+", name):
        raise DefinitionError(
            f"a name is text without spaces and without any of . : ~ [ ] / \\, not {name!r}"
        )
    return name
