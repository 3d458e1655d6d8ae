"""How an attempt failed, as it is recorded, and the text of an exception that is not trusted.

Owns: the form, and making text of whatever was raised.  Refuses to know: who records a failure
(`engine.bodies`), and which error carries it.

An exception is code of somebody else's: its `str()` may raise, and its text may hold what UTF-8
cannot carry.  None of that may decide how an attempt ended, so nothing in here raises.
"""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from types import TracebackType


class Failure(BaseModel, frozen=True, extra="forbid"):
    """How an attempt failed.  Kept with the run's payloads: a message may hold what it likes."""

    type: str = Field(description="class of the exception")
    message: str = Field(default="", description="its text")
    code: str | None = Field(default=None, description="the code given to Abort, or of a SagaError")
    effect: bool | None = Field(default=None, description="False: proven to have had none")
    traceback: str | None = Field(default=None, description="the last frames, bounded")


def safe_text(value: object) -> str:
    """Return `str(value)`, with escapes for what UTF-8 cannot carry; never raises."""
    try:
        # Unbound: what `__str__` returned may be of a class with methods of its own.
        return str.encode(str(value), "utf-8", "backslashreplace").decode()
    except BaseException as broken:  # noqa: BLE001 -- whatever it is, it only cost us a text
        return f"<no text: str() of {class_name(value)} raised {class_name(broken)}>"


def class_name(value: object) -> str:
    """Return the name of the class of *value*, whatever its metaclass makes of it."""
    # A metaclass may hide `__name__`; that of `type` cannot be overridden.
    name: str = vars(type)["__name__"].__get__(type(value))
    return str.encode(name, "utf-8", "backslashreplace").decode()


def ends_who_tells(error: BaseException) -> bool:
    """Return whether whoever prints or pickles *error* is ended by code of its class.

    What is an Exception is caught by all that do so; SystemExit and the like are not.
    """
    for put in (repr, str, pickle.dumps):
        try:
            put(error)
        except Exception:  # noqa: BLE001, S112 -- as whoever tells it does
            continue
        except BaseException:  # noqa: BLE001 -- that is the question
            return True
    return False


def safe_traceback(error: BaseException, frames: TracebackType | None) -> str:
    """Return what Python prints of *error* below *frames*; at least its name and text."""
    try:
        return safe_text("".join(traceback.format_exception(type(error), error, frames)))
    except BaseException:  # noqa: BLE001 -- notes, causes and source lines are not ours either
        return f"{class_name(error)}: {safe_text(error)}\n"
