"""The settings, one described table; read at the edges only.

Owns: names, defaults, meaning and validation of `app.conf.saga_*`.  Refuses to know: who uses
them.  `docs/settings.md` is checked against this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "saga_"


class Settings(BaseModel):
    """What can be set; durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: str | None = Field(
        default=None,
        description=(
            "URL of the Redis that holds run state; left out, it is the broker's, if that is Redis."
        ),
    )
    namespace: str = Field(
        default="celeriac",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description=(
            "First part of every key; two applications with different namespaces share a Redis."
        ),
    )
    shards: int = Field(
        default=8,
        ge=1,
        le=1024,
        description=(
            "Number of hash tags the runs are spread over; fixed for the life of a namespace."
        ),
    )
    lease: float = Field(
        default=15.0,
        gt=0,
        description="Seconds without a sign of life after which an attempt counts as lost.",
    )
    grace: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Seconds a message may be on its way before the sweep looks after it, and seconds to "
            "wait before undoing a step whose outcome is unknown; left out, a third of the lease."
        ),
    )
    sweep_interval: float = Field(
        default=1.0, gt=0, description="Seconds between two sweeps by beat."
    )
    sweep_batch: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Most runs that a sweep takes from one shard in one go.",
    )
    retention: float = Field(
        default=7 * 86_400.0,
        gt=0,
        description="Seconds a run is kept after it has ended, unless its saga says otherwise.",
    )
    archive: str | Callable[..., Any] | None = Field(
        default=None,
        description=(
            "What gets each run before it is removed: anything that takes an ArchivedRun, or where "
            "it is found (`package.module.name`); the run stays until it returns."
        ),
    )
    archive_payloads: bool = Field(
        default=False,
        description="Whether the archive gets inputs, outputs and error texts too.",
    )
    max_payload: int = Field(
        default=256 * 1024,
        ge=1,
        description="Most bytes of one input or output, written as JSON.",
    )
    heartbeat_file: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "File that a worker touches every 2 seconds while it is alive and in touch with the "
            "broker, for probes; %n in it is the worker's name, %h its host.  A worker's option "
            "--saga-heartbeat-file wins."
        ),
    )

    log_json: bool = Field(
        default=False,
        description="Whether workers write their logs as JSON, one object in a line.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description=(
            "TCP port at which each worker serves the metrics of all its processes; left out, "
            "nothing is counted.  Needs `celeriac[prometheus]`."
        ),
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description=(
            "Address at which metrics are served, to whoever asks; in a container, `0.0.0.0`."
        ),
    )
    traces: bool = Field(
        default=False,
        description=(
            "Whether each start and each attempt makes a span.  Needs `celeriac[otel]`, and an SDK "
            "that the application sets up."
        ),
    )

    @model_validator(mode="after")
    def _lease_outlives_sweep(self) -> Settings:
        if self.lease < 2 * self.sweep_interval:
            raise ValueError(
                f"saga_lease ({self.lease} s) must be at least twice saga_sweep_interval "
                f"({self.sweep_interval} s), or attempts are lost before anybody could look"
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
    found = {
        name: conf[PREFIX + name]
        for name in Settings.model_fields
        if conf.get(PREFIX + name) is not None
    }
    try:
        return Settings(**found)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]) if first["loc"] else "settings"
        raise ConfigurationError(f"{name}: {first['msg']}") from None


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings the engine works under, in its units: milliseconds and bytes."""

    lease: int
    grace: int
    retention: int
    max_payload: int
    batch: int

    @classmethod
    def of(cls, settings: Settings) -> Terms:
        """The terms that *settings* set."""
        return cls(
            lease=settings.lease_ms,
            grace=settings.grace_ms,
            retention=int(settings.retention * 1000),
            max_payload=settings.max_payload,
            batch=settings.sweep_batch,
        )
