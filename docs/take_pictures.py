"""`make pictures`: what the dashboard looks like, taken from the demo with Chromium.

Owns: which pages are shown in which size, and how heavy a picture may be.  Refuses to know: what
stands on them, and how a browser is driven (`tests.web.browser`).
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.web.browser import FOUND, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent / "pictures"
MOST_BYTES = 150_000
#: Name, page and height; the runs are those of `workflows.demo`, which end alike every time.
PICTURES = (
    ("overview", "/", 860),
    ("run", "/runs/trip-1?step=reserve_car", 1000),
    ("approval", "/approvals/trip-2/decided", 570),
)
_WIDTH = 1200
# Nobody is killed: who was in the middle of what would differ from one time to the next.
_DEMO = (sys.executable, "-m", "workflows.demo", "--stay", "--no-kill")


def main() -> int:
    """Take the pictures; return the exit status."""
    if FOUND is None:
        print(
            "make pictures needs Chromium, and none is on the PATH:\n"
            "on Debian and Ubuntu `apt-get install chromium` brings one",
            file=sys.stderr,
        )
        return 1
    FOLDER.mkdir(exist_ok=True)
    with _demo() as address, tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            heavy = [name for name in _take(browser, address) if name]
        finally:
            browser.close()
    if heavy:
        print(f"over {MOST_BYTES:,} bytes: {', '.join(heavy)}", file=sys.stderr)
    return 1 if heavy else 0


def _take(browser: Browser, address: str) -> Iterator[str]:
    """Take each picture; yield the names of those that are too heavy."""
    for name, page, height in PICTURES:
        browser.size(_WIDTH, height)
        browser.open(address + page)
        path = FOLDER / f"{name}.png"
        browser.picture(path)
        size = path.stat().st_size
        print(f"{path.relative_to(Path.cwd())}: {size:,} bytes")
        if size > MOST_BYTES:
            yield name


@contextmanager
def _demo() -> Iterator[str]:
    """A demo that has run and stays up; where its dashboard is."""
    demo = subprocess.Popen(_DEMO, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    told = ""
    try:
        for line in demo.stdout:
            print(line, end="")
            told += line
            if "Ctrl-C ends it" in line:
                break
        found = re.search(r"^Dashboard (http://\S+)$", told, re.MULTILINE)
        if found is None or demo.poll() is not None:
            raise SystemExit("there is no dashboard to take pictures of: see above")
        yield found[1]
    finally:
        demo.send_signal(signal.SIGINT)
        print(demo.stdout.read(), end="")
        demo.wait()


if __name__ == "__main__":
    sys.exit(main())
