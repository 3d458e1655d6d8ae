"""What the package's page shows: the README, with links that lead somewhere from there too.

Owns: making the links of the README absolute while a package is built.  Refuses to know: what the
README says, and where the project lives; that is `Source` among the URLs in pyproject.toml.

In the repository the links stay relative, so that they follow whatever branch is looked at.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# [text](target) and ![text](target), where the target is a path: no scheme, no place in the page.
_RELATIVE = re.compile(r"(!?\[[^]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, source: str) -> str:
    """Return Markdown whose links to files of the repository at *source* are absolute."""

    def link(found: re.Match[str]) -> str:
        kind = "raw" if found[1].startswith("!") else "blob"
        return f"{found[1]}({source}/{kind}/main/{found[2]})"

    return _RELATIVE.sub(link, text)


class ReadmeLinks(MetadataHookInterface):
    """Hatchling's hook: fills in the readme, which pyproject.toml leaves to it."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Give the readme as the package's page shows it."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Source"]),
        }
