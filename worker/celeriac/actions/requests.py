"""What an action is asked for, and what it gives.

Owns: the fields of `http`, `poll` and `shell` in a file, with their limits, and those of their
results.  Refuses to know: how it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from celeriac.errors import DefinitionError
from celeriac.machine import duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 3_600.0  # seconds
_MOST = 10 * 1024 * 1024  # bytes

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
#: Methods that only look: they may be sent again.
SAFE: tuple[Method, ...] = ("GET", "HEAD")


_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # what the name of a header is made of
_Header = Annotated[str, Field(pattern=f"^{_NAME}$")]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpRequest(_Asked):
    """One HTTP request."""

    url: str
    method: Method = "GET"
    headers: dict[_Header, str] = Field(default_factory=dict)
    params: dict[str, str] = Field(default_factory=dict)
    json_: Any = Field(default=None, alias="json")
    text: str | None = None
    key_header: Annotated[str, Field(pattern=f"^({_NAME})?$")] = "Idempotency-Key"
    seconds: float = Field(default=30.0, gt=0, le=_LONGEST)
    max_bytes: int = Field(default=128 * 1024, ge=1, le=_MOST)


class PollRequest(HttpRequest):
    """A request that is repeated until a field of its answer is so."""

    field: str = Field(min_length=1)
    until: list[Any] = Field(min_length=1)
    fail: list[Any] = Field(default_factory=list)
    every: str = "10s"

    @field_validator("every")
    @classmethod
    def _check_every(cls, every: str) -> str:
        try:
            duration_ms(every)
        except DefinitionError as error:
            raise ValueError(error.problem) from None
        return every


class ShellRequest(_Asked):
    """A command: the program and its arguments, each as it is."""

    command: list[str] = Field(min_length=1)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    stdin: str = ""
    seconds: float = Field(default=60.0, gt=0, le=_LONGEST)
    max_bytes: int = Field(default=32 * 1024, ge=1, le=_MOST)


class HttpResult(BaseModel):
    """An answer: its body is what its JSON says, if it is that, or else text."""

    status: int
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None


class ShellResult(BaseModel):
    """What a command printed; `truncated` if that was more than is kept."""

    code: int
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False


def _no_secret(name: str) -> str:
    raise LookupError(f"there is no provider of secrets, so there is no {name}")


@dataclass(frozen=True)
class Allowance:
    """What actions may do in an app."""

    hosts: tuple[str, ...] = ()  # that may be asked, and networks of addresses
    secret: Callable[[str], str] = _no_secret
