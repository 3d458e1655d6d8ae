"""What a Celery worker does with a message of ours.

Owns: tasks, chains, leases, and what a worker tells of itself.  Refuses to know: how sagas are
defined and steered.

Its files, from the ground up::

    headers | heartbeat | limits | message_text | pace | presence | queue_length | quorum | renewal
        | retries | sweep_watch | urls | windows
    < bundles | queue_name | telling < routes < message_options | publishing < canvas | progress
    < intake | queues | supervision | tls
    < leases | preflight | state_url < runtime < ahead < claiming | passage < edge | report < tasks
    < adoption
"""

from __future__ import annotations

from celeriac.workers.adoption import Promised, Recruits
from celeriac.workers.canvas import ERRBACK
from celeriac.workers.headers import HEADER, delivery_of, parse_header
from celeriac.workers.heartbeat import OPTION, HeartbeatFileStep, age
from celeriac.workers.intake import STRATEGY
from celeriac.workers.leases import LeaseKeeper, forks
from celeriac.workers.message_options import SIGNED, task_id, written
from celeriac.workers.message_text import shown
from celeriac.workers.preflight import check_messages
from celeriac.workers.presence import SignOfLife, dies_as_one
from celeriac.workers.progress import Position
from celeriac.workers.queue_name import QUEUE, declared, own_queue
from celeriac.workers.queues import Depth, depths
from celeriac.workers.renewal import NativeRenewal, native
from celeriac.workers.report import CALL_SECONDS, Tick, Ticks, Worker, WorkerReports, ask_workers
from celeriac.workers.retries import classify_celery_error
from celeriac.workers.runtime import Runtime
from celeriac.workers.state_url import OF_TESTS, completed, redis_url
from celeriac.workers.supervision import Supervision, shared_progress
from celeriac.workers.sweep_watch import SweepWatch, sweep_is_down
from celeriac.workers.tasks import SagaTask, adopt
from celeriac.workers.telling import EVENT, JOINT
from celeriac.workers.urls import all_broker_urls, broker_url, masked, place, secrets_of

__all__ = [
    "CALL_SECONDS",
    "ERRBACK",
    "EVENT",
    "HEADER",
    "JOINT",
    "OF_TESTS",
    "OPTION",
    "QUEUE",
    "SIGNED",
    "STRATEGY",
    "Depth",
    "HeartbeatFileStep",
    "LeaseKeeper",
    "NativeRenewal",
    "Position",
    "Promised",
    "Recruits",
    "Runtime",
    "SagaTask",
    "SignOfLife",
    "Supervision",
    "SweepWatch",
    "Tick",
    "Ticks",
    "Worker",
    "WorkerReports",
    "adopt",
    "age",
    "all_broker_urls",
    "ask_workers",
    "broker_url",
    "check_messages",
    "classify_celery_error",
    "completed",
    "declared",
    "delivery_of",
    "depths",
    "dies_as_one",
    "forks",
    "masked",
    "native",
    "own_queue",
    "parse_header",
    "place",
    "redis_url",
    "secrets_of",
    "shared_progress",
    "shown",
    "sweep_is_down",
    "task_id",
    "written",
]
