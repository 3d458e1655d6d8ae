"""What a message says of itself to people, where Flower and logs show a task's arguments.

Owns: these two texts, which hold no payload.  Refuses to know: what else a message is made of
(`canvas`), and how Flower makes a page of it (`celeriac.flower`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.observing import title

if TYPE_CHECKING:
    from celeriac.machine import Dispatch, Phase, Run


def texts_of(run: Run, dispatch: Dispatch) -> dict[str, str]:
    """The texts of the message of an attempt."""
    step, phase, attempt = dispatch.step, dispatch.phase, dispatch.attempt
    return {
        "argsrepr": title(run.id, step, phase, attempt, run.tries),
        "kwargsrepr": shown_of(run.saga, run.id, step, phase, attempt, run.tries),
    }


def shown_of(saga: str, run: str, step: str, phase: Phase, attempt: int, nth: int) -> str:
    """What is shown of an attempt in the *nth* try of its run."""
    way = "forward" if phase == "do" else "compensation"
    tried = {"try": nth} if nth > 1 else {}
    return shown(saga=saga, run=run, step=step, phase=way, attempt=attempt, **tried)


def shown(*, saga: str, run: str, step: str, phase: str, attempt: int, **tried: int) -> str:
    """What a message says of itself where Flower looks for keyword arguments.

    As a dictionary, since Flower can search in that: `kwargs:run=order-42`.  *tried* is `try`, of
    a run that began anew.
    """
    if tried.keys() - {"try"}:
        raise TypeError(f"nothing of a message is called {', '.join(tried)}")
    told = {"saga": saga, "run": run, "step": step, "phase": phase, "attempt": attempt}
    return repr({**told, **tried})
