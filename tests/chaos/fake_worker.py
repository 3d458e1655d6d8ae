"""A stand-in for a worker: `python -m tests.chaos.fake_worker WORD`.

Owns: being ready, and then waiting, crashing as Celery does, leaving, or not hearing that it is to
leave.  Refuses to know: everything else.
"""

from __future__ import annotations

import signal
import sys
import time


def main(word: str) -> int:
    """Say that we are ready, and do what the word says."""
    if word == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _say("I am ready.")
    if word == "leave":
        return 3
    if word == "crash":
        _say("[CRITICAL] Unrecoverable error: AttributeError('hostname')")
    time.sleep(60)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
