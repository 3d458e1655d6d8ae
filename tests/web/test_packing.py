"""What is compressed on its way: pages, and only for those who cannot learn anything by it.

Owns: for whom.  Refuses to know: what stands on a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.mark.parametrize(
    ("site", "packed"),
    [
        ("same-origin", True),
        ("none", True),
        ("cross-site", False),
        ("same-site", False),
        ("", False),
    ],
)
def test_a_page_is_compressed_for_our_own_pages_alone(
    client: TestClient, site: str, packed: bool
) -> None:
    """Whoever makes a browser ask from elsewhere would learn from its size what is in it."""
    shop.failed("o-1")
    headers = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": site}
    found = client.get("/runs", headers=headers)
    assert ("Content-Encoding" in found.headers) is packed
    assert (int(found.headers["Content-Length"]) < len(found.text.encode()) // 2) is packed
    assert "o-1" in found.text
    assert found.headers["Vary"] == "Accept-Encoding, Sec-Fetch-Site"
    plain = client.get("/runs", headers={**headers, "Accept-Encoding": "br"})
    assert "Content-Encoding" not in plain.headers
