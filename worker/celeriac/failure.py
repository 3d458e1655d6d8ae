"""How an attempt failed, as it is recorded.

Owns: the form.  Refuses to know: who makes one (`engine.bodies`), and which error carries it.
"""

from __future__ import annotations

from pydantic import BaseModel, Field


class Failure(BaseModel, frozen=True, extra="forbid"):
    """How an attempt failed.  Kept with the run's payloads: a message may hold what it likes."""

    type: str = Field(description="class of the exception")
    message: str = Field(default="", description="its text")
    code: str | None = Field(default=None, description="the code given to Abort, or of a SagaError")
    effect: bool | None = Field(default=None, description="False: proven to have had none")
    traceback: str | None = Field(default=None, description="the last frames, bounded")
