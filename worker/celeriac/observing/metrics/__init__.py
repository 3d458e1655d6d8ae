"""What is counted: the one table of metrics.

Owns: names, kinds, labels, buckets and meaning of all metrics; `docs/observability.md` is made of
it.  Refuses to know: when something counts (`counting`), how figures are kept (`tally`) and how
they get to Prometheus (`exporter`).

Labels come from plans, from the words of this code, and from nowhere else: what somebody writes
into a message makes no new series, and no run has one of its own.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

#: Seconds, from a round trip to a step that takes an hour.
STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
#: Seconds, from a saga of quick steps to one that waits for people.
RUN_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400, 604_800)
#: Seconds of something that talks to Redis.
STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metric(NamedTuple):
    """A row of the table."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str  # one sentence
    buckets: tuple[float, ...] = ()  # of a histogram; seconds
    # A gauge is read when somebody looks: in the store's indexes, Redis's INFO, or app and broker.
    source: Literal["process", "store", "redis", "app"] = "process"
    series: tuple[tuple[str, ...], ...] = ()  # there from the beginning, so that the first counts


METRICS = (
    # --- runs
    Metric(
        "celeriac_runs_started_total",
        "counter",
        ("saga",),
        "Runs accepted, counted where `start` was called.",
    ),
    Metric(
        "celeriac_runs_ended_total",
        "counter",
        ("saga", "outcome"),
        "Runs that came to rest: completed, compensated, failed or terminated.",
    ),
    Metric(
        "celeriac_tries_ended_total",
        "counter",
        ("saga",),
        "Tries that were undone because a step failed, and after which the run begins anew.",
    ),
    Metric(
        "celeriac_runs",
        "gauge",
        ("saga", "status"),
        "Runs in the store.",
        source="store",
    ),
    Metric(
        "celeriac_oldest_active_run_seconds",
        "gauge",
        ("saga",),
        "Age of the oldest run that is not at rest; 0 if there is none.",
        source="store",
    ),
    Metric(
        "celeriac_run_seconds",
        "histogram",
        ("saga", "outcome"),
        "Time from the start of a run to its end.",
        RUN_BUCKETS,
    ),
    # --- attempts
    Metric(
        "celeriac_step_seconds",
        "histogram",
        ("saga", "step"),
        "Time from the claim of a step's attempt to its report.",
        STEP_BUCKETS,
    ),
    Metric(
        "celeriac_step_wait_seconds",
        "histogram",
        ("saga", "step"),
        "Time from when a step's attempt was due until a worker claimed it.",
        STEP_BUCKETS,
    ),
    Metric(
        "celeriac_attempts_total",
        "counter",
        ("saga", "step", "phase", "outcome"),
        "Attempts by how they ended: completed, failed, aborted (given up at once), unknown (lost "
        "or timed out) or refused (a message asked for one that was not to be had).",
    ),
    Metric(
        "celeriac_compensations_total",
        "counter",
        ("saga", "step", "outcome"),
        "Compensations by how they ended: completed, failed (it is owed now) or waived.",
    ),
    Metric(
        "celeriac_obligations",
        "gauge",
        ("saga",),
        "Steps that runs in `failed` owe: an undo that failed, or a step past the pivot.",
        source="store",
    ),
    # --- recovery
    Metric(
        "celeriac_late_reports_total",
        "counter",
        ("result",),
        "Reports of attempts that had been given up: used, noted, or undone_again (the effect came "
        "to light after its compensation, which runs once more).",
        series=(("used",), ("noted",), ("undone_again",)),
    ),
    Metric(
        "celeriac_stale_deliveries_total",
        "counter",
        ("reason",),
        "Messages that were refused, by the reason: doubled, too late, too early or forged.",
    ),
    Metric(
        "celeriac_redispatch_total",
        "counter",
        ("reason",),
        "Attempts sent again: unclaimed (the message was lost) or lost (its worker died).",
    ),
    Metric(
        "celeriac_blocked_total",
        "counter",
        ("saga", "step", "reason"),
        "Steps that began to wait for something to be mended: not_sent (sending their message "
        "fails) or unknown_task (a worker did not know the task).",
    ),
    # --- sweep
    Metric(
        "celeriac_sweep_seconds",
        "histogram",
        (),
        "Time that a sweep over all shards took.",
        STORE_BUCKETS,
    ),
    Metric(
        "celeriac_sweep_lag_seconds",
        "gauge",
        (),
        "How long the entry longest due has waited for a sweep; 0 if nothing is due.",
        source="store",
    ),
    Metric(
        "celeriac_sweep_last_success_timestamp_seconds",
        "gauge",
        (),
        "When the newest sweep ended that got through every shard, by the clock of Redis.",
        source="store",
    ),
    Metric(
        "celeriac_overdue",
        "gauge",
        (),
        "Entries of the wake index whose time has come: what the next sweep will look at.",
        source="store",
    ),
    # --- schedules
    Metric(
        "celeriac_schedule_ticks_total",
        "counter",
        ("schedule", "outcome"),
        "Ticks of schedules by what became of them: started, triggered (by hand), or why none was "
        "run: overlap, queue_full, overtaken, paused, late, refused.",
    ),
    Metric(
        "celeriac_schedule_late_seconds",
        "gauge",
        ("schedule",),
        "For how long a tick of a schedule has been due that nobody has seen to; 0 if none is.",
        source="app",
    ),
    # --- gates
    Metric(
        "celeriac_queued_total",
        "counter",
        ("saga", "step"),
        "Times that a gate did not let a step through, so that it began to wait in line.",
    ),
    Metric(
        "celeriac_gate_granted_total",
        "counter",
        ("gate",),
        "Places that were granted: attempts, or runs, that passed a limit, a rate or a breaker.",
    ),
    Metric(
        "celeriac_breaker_transitions_total",
        "counter",
        ("gate", "state"),
        "Times that a breaker came to be closed, open, or half open (one attempt tries it); each "
        "value that is counted apart by itself.",
    ),
    Metric(
        "celeriac_breaker_state",
        "gauge",
        ("gate",),
        "How a breaker stands: 0 closed, 1 half open, 2 open; one of which nothing is known is "
        "closed, and left out.",
        source="store",
    ),
    Metric(
        "celeriac_gate_inside",
        "gauge",
        ("gate",),
        "Attempts, or runs, that have a place in a limit, a rate or a breaker that is half open.",
        source="store",
    ),
    Metric(
        "celeriac_gate_waiting",
        "gauge",
        ("gate",),
        "Steps that wait in line before a limit, a rate or a breaker.",
        source="store",
    ),
    # --- workers
    Metric(
        "celeriac_worker_seen_timestamp_seconds",
        "gauge",
        (),
        "When any worker last gave a sign of life, by the clock of Redis.",
        source="store",
    ),
    Metric(
        "celeriac_queue_messages",
        "gauge",
        ("queue",),
        "Messages that wait in a queue that sagas use.",
        source="app",
    ),
    Metric(
        "celeriac_deadline_seconds",
        "gauge",
        ("saga",),
        "The deadline of a saga's runs, counted from their start; sagas without one are left out.",
        source="app",
    ),
    # --- store
    Metric(
        "celeriac_store_seconds",
        "histogram",
        ("op",),
        "Time that the store took to answer, by what it was asked for.",
        STORE_BUCKETS,
    ),
    Metric(
        "celeriac_commit_conflicts_total",
        "counter",
        (),
        "Commits that found that somebody else was faster, and were decided anew.",
    ),
    Metric(
        "celeriac_store_errors_total",
        "counter",
        ("kind",),
        "Errors of the store by their code, such as store_unavailable or store_full.",
        series=(("store_unavailable",), ("store_full",)),
    ),
    # --- Redis
    Metric(
        "celeriac_redis_memory_bytes",
        "gauge",
        (),
        "Memory that Redis uses.",
        source="redis",
    ),
    Metric(
        "celeriac_redis_memory_limit_bytes",
        "gauge",
        (),
        "Memory that Redis may use (`maxmemory`); 0 if there is no limit.",
        source="redis",
    ),
    Metric(
        "celeriac_redis_evicted_keys",
        "gauge",
        (),
        "Keys that Redis has evicted since it was started.",
        source="redis",
    ),
    Metric(
        "celeriac_redis_aof_ok",
        "gauge",
        (),
        "1 if Redis writes an append-only file, and could the last time it tried; else 0.",
        source="redis",
    ),
    Metric(
        "celeriac_redis_uptime_seconds",
        "gauge",
        (),
        "Time since Redis was started.",
        source="redis",
    ),
    Metric(
        "celeriac_redis_clients",
        "gauge",
        (),
        "Clients that are connected to Redis.",
        source="redis",
    ),
    Metric(
        "celeriac_redis_slow_commands",
        "gauge",
        (),
        "Commands since its start that Redis found slow (its slow log).",
        source="redis",
    ),
    Metric(
        "celeriac_redis_aof_delayed_fsyncs",
        "gauge",
        (),
        "Times since its start that Redis had to wait for its disk, with `appendfsync everysec`.",
        source="redis",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
