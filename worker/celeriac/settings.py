"""The settings, one described table; read at the edges only.

Owns: names, defaults, meaning and validation of `app.conf.saga_*`.  Refuses to know: who uses
them.  `docs/settings.md` is checked against this table.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "saga_"
_SHORTEST = 0.001  # seconds: the engine counts in whole milliseconds
_LONGEST = 100 * 365 * 86_400.0  # seconds: a time stamp and this still add up exactly


class Settings(BaseModel):
    """What can be set; durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    redis_url: str | None = Field(
        default=None,
        description=(
            "URL of the Redis or Valkey for run state: `redis://`, `rediss://`, `unix://`, "
            "`sentinel://a:26379;sentinel://b:26379/0?master_name=state` or "
            "`redis+cluster://a:7000,b:7001`.  The default is the broker, if that is one of these."
        ),
    )
    namespace: str = Field(
        default="celeriac",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description=(
            "First part of every key; applications with different namespaces can share a Redis."
        ),
    )
    shards: int = Field(
        default=8,
        ge=1,
        le=1024,
        description=(
            "Number of hash tags that runs are spread over; never change it for a namespace.  "
            "For a cluster of more than three primaries, begin with 64."
        ),
    )
    lease: float = Field(
        default=15.0,
        ge=_SHORTEST,
        le=_LONGEST,
        description="Seconds without a renewal after which an attempt counts as lost.",
    )
    grace: float | None = Field(
        default=None,
        ge=_SHORTEST,
        le=_LONGEST,
        description=(
            "Seconds before the sweep looks after a message that was not claimed, and seconds to "
            "wait before a step with an unknown outcome is undone; the default is a third of the "
            "lease."
        ),
    )
    sweep_interval: float = Field(
        default=1.0,
        ge=_SHORTEST,
        le=_LONGEST,
        description="Seconds between two sweeps that beat sends.",
    )
    sweep_batch: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Largest number of runs that a sweep takes from one shard at a time.",
    )
    retention: float = Field(
        default=7 * 86_400.0,
        ge=_SHORTEST,
        le=_LONGEST,
        description="Seconds that a run is kept after it has ended; a saga may set its own.",
    )
    run_ahead: int = Field(
        default=100,
        ge=0,
        le=1000,
        description=(
            "How many steps a worker may take up at once after the one that a message asked for, "
            "instead of sending a message for each; 0 is none.  After a second it sends one "
            "anyway, and after ten steps as soon as a fifth of a second has passed."
        ),
    )
    archive: str | Callable[..., Any] | None = Field(
        default=None,
        description=(
            "A callable that gets each run (an ArchivedRun) before it is removed, or where to find "
            "it (`package.module.name`); the run stays until the callable returns."
        ),
    )
    archive_payloads: bool = Field(
        default=False,
        description="Whether the archive also gets inputs, outputs and error texts.",
    )
    max_payload: int = Field(
        default=256 * 1024,
        ge=1,
        description="Largest size of one input or output, in bytes of JSON.",
    )
    max_map: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="How many elements a list may have that a saga maps; a longer one fails it.",
    )
    max_collected: int = Field(
        default=16 * 1024 * 1024,
        ge=1,
        description=(
            "Largest list of a map's results that a step, or the result of a run, is given, in "
            "bytes of JSON.  It is put together when it is read, and never stored."
        ),
    )
    actions: tuple[Literal["http", "poll", "shell"], ...] = Field(
        default=(),
        description=(
            "The built-in actions that definitions in files may use: `http`, `poll`, `shell`.  "
            "`http` and `poll` need `celeriac[actions]`."
        ),
    )
    http_allow: tuple[str, ...] = Field(
        default=(),
        description=(
            "Whom `http` and `poll` may ask: hosts (`api.example.com`, `*.example.com`) and "
            "networks (`10.1.0.0/16`); addresses that are not public need a network."
        ),
    )
    secrets: str | Callable[..., Any] | None = Field(
        default=None,
        description=(
            "A callable that takes the name of a secret and returns it, or where to find it "
            "(`package.module.name`): for `${secrets.NAME}` in actions."
        ),
    )
    heartbeat_file: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "File that a worker touches every 2 seconds while it is alive and connected to the "
            "broker, for probes; %n stands for the worker's name, %h for its host.  The worker's "
            "option --saga-heartbeat-file takes precedence."
        ),
    )

    log_json: bool = Field(
        default=False,
        description="Whether workers write their logs as JSON, one object per line.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description=(
            "TCP port on which each worker serves the metrics of all its processes; without it, "
            "nothing is counted.  Needs `celeriac[prometheus]`."
        ),
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description=(
            "Address on which metrics are served, without a login; in a container, `0.0.0.0`."
        ),
    )
    traces: bool = Field(
        default=False,
        description=(
            "Whether each start and each attempt makes a span.  Needs `celeriac[otel]` and an SDK, "
            "which the application sets up."
        ),
    )

    redact: tuple[str, ...] = Field(
        default=(),
        description=(
            "Names of payload fields that pages and HTTP API show as `•••`, at any depth, "
            "with their values wherever an error quotes them."
        ),
    )
    flower_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
        description=(
            "Address of Flower, such as `https://flower.example.org`: the page of a run leads from "
            "each attempt to its task there."
        ),
    )
    web_payloads: bool = Field(
        default=False,
        description=(
            "Whether viewers see inputs and outputs over HTTP, and everybody there who does the "
            "tracebacks of errors."
        ),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("True and False are not numbers")
        return value

    @model_validator(mode="after")
    def _lease_outlives_sweep(self) -> Settings:
        if self.lease < 2 * self.sweep_interval:
            raise ValueError(
                f"saga_lease ({self.lease} s) must be at least twice saga_sweep_interval "
                f"({self.sweep_interval} s), or attempts are lost before a sweep can look at them"
            )
        return self

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return int(self.lease * 1000)

    @property
    def grace_ms(self) -> int:
        """The grace in milliseconds."""
        return int((self.grace if self.grace is not None else self.lease / 3) * 1000)


def read_settings(conf: Mapping[str, Any]) -> Settings:
    """Return the settings found under `saga_` in *conf*; raise ConfigurationError otherwise."""
    found = _given(conf)
    try:
        return Settings(**found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # what does not go together says itself which settings it is about
            raise ConfigurationError(first["msg"].removeprefix("Value error, ")) from None
        name = str(first["loc"][0])
        raise ConfigurationError(_refusal(name, found[name], first["msg"])) from None


def _given(conf: Mapping[str, Any]) -> dict[str, Any]:
    """What *conf* says under `saga_` or `SAGA_`, by field; None counts as left out."""
    keys = [key for key in conf if isinstance(key, str)]
    # With `config_from_object(…, namespace="CELERY")` it is written CELERY_SAGA_LEASE.
    prefix = str(getattr(conf, "prefix", None) or "").lower()
    spelled: dict[str, str] = {}
    found: dict[str, Any] = {}
    for key in keys:
        name = key.lower().removeprefix(prefix)
        if name.startswith(f"celery_{PREFIX}"):
            raise ConfigurationError(
                f"{key} is not read: write {name.removeprefix('celery_')}, or give all settings "
                "that prefix, with config_from_object(…, namespace='CELERY')"
            )
        if not name.startswith(PREFIX):
            continue
        field = name.removeprefix(PREFIX)
        if field not in Settings.model_fields:
            raise ConfigurationError(_unknown(key, field))
        value = conf[key]
        if value is None:
            continue
        if field in found and found[field] != value:
            raise ConfigurationError(
                f"{spelled[field]} and {key} are the same setting with different values: remove one"
            )
        spelled[field], found[field] = key, value
    return found


def _unknown(key: str, field: str) -> str:
    near = difflib.get_close_matches(field, Settings.model_fields, n=1)
    known = ", ".join(PREFIX + each for each in Settings.model_fields)
    advice = f"did you mean {PREFIX}{near[0]}?" if near else f"the settings are {known}"
    return f"{key} is not a setting; {advice}"


def _refusal(name: str, value: Any, problem: str) -> str:
    """What is wrong with a setting, and what to write; no URL, as it may hold secrets."""
    problem = problem.removeprefix("Value error, ")
    given = "" if name == "redis_url" else f", not {value!r}"
    return f"{PREFIX}{name} must be {_expected(name)}{given} ({problem})"


def _expected(name: str) -> str:
    """What to write for the setting *name*."""
    field = Settings.model_fields[name]
    bounds = {
        key: bound
        for each in field.metadata
        for key in ("ge", "le")
        if (bound := getattr(each, key, None)) is not None
    }
    if field.annotation is bool:
        return f"True or False, for example {field.default!r}"
    if bounds.get("ge") == _SHORTEST:
        return "a number of seconds greater than 0, for example 30"
    if bounds:
        upper = f" to {bounds['le']}" if "le" in bounds else ""
        example = field.default if field.default is not None else 9_808
        return f"a whole number from {bounds['ge']}{upper}, for example {example}"
    return _WORDS.get(name, "text")


_WORDS = {
    "redis_url": "the URL of a Redis, for example 'redis://localhost:6379/0'",
    "namespace": "letters, digits, '_', '.' and '-', for example 'celeriac'",
    "archive": "a callable or where it is found, for example 'package.module.name'",
    "actions": "a tuple of 'http', 'poll' and 'shell', for example ('http',)",
    "http_allow": "a tuple of hosts and networks, for example ('api.example.com',)",
    "secrets": "a callable or where it is found, for example 'package.module.name'",
    "heartbeat_file": "the path of a file, for example '/tmp/celeriac-%n'",
    "redact": "a tuple of names, for example ('card', 'iban')",
    "metrics_host": "an address, for example '127.0.0.1'",
    "flower_url": "an address, for example 'https://flower.example.org'",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings the engine works under, in its units: milliseconds and bytes."""

    lease: int
    grace: int
    retention: int
    max_payload: int
    batch: int
    run_ahead: int = 0
    max_map: int = 10_000
    max_collected: int = 16 * 1024 * 1024  # bytes

    @classmethod
    def of(cls, settings: Settings) -> Terms:
        """The terms that *settings* set."""
        return cls(
            lease=settings.lease_ms,
            grace=settings.grace_ms,
            retention=int(settings.retention * 1000),
            max_payload=settings.max_payload,
            batch=settings.sweep_batch,
            run_ahead=settings.run_ahead,
            max_map=settings.max_map,
            max_collected=settings.max_collected,
        )
