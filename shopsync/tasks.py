"""Celery's doors to the inbox, to digests, to the upkeep of every queue, and to the watch over the schedules."""

from __future__ import annotations

import threading
from typing import Any

from celery import shared_task, signals
from django.db import connection
from django.utils import timezone

from config.infra import work
from config.infra.heartbeat import repeat
from config.infra.tasks import SystemTask
from shopsync.actions import breakers, digests, inbox, schedules
from shopsync.models import Digest, WebhookEvent


@shared_task(base=SystemTask)
def drain_webhooks() -> int:
    """Work on stored deliveries until none is due."""
    return work.drain(WebhookEvent, lambda rows: work.run_each(rows, inbox.handle))


@shared_task(base=SystemTask)
def sweep_work() -> None:
    """Expire leases of every queue and ring where work is due: the repair for every lost bell and lost process."""
    for model in work.queues():
        work.sweep(model)


@shared_task(base=SystemTask)
def forget_old_payloads() -> int:
    """Forget payloads past their retention."""
    return inbox.forget_payloads(now=timezone.now())


@shared_task(base=SystemTask)
def record_breaker_openings() -> int:
    """Write what opened into the trail."""
    return breakers.record_openings()


@shared_task(base=SystemTask)
def collect_digests() -> int:
    """Write the e-mail digests that are due."""
    return digests.collect_digests(now=timezone.now())


@shared_task(base=SystemTask)
def drain_digests() -> int:
    """Send digests until none is due."""
    return work.drain(Digest, digests.send_digests)


# The dead-man's switch: each run that beat asked for leaves its stamps, and a worker's main process, which needs no
# beat, looks whether any is missing. A stamp that can't be written is logged by Celery, and the task runs all the same.

WATCH_SECONDS = 15.0


def schedule_of(task: Any) -> str:
    """Name the schedule that asked for this run (a header of beat's); empty for what something else asked for."""
    return str(getattr(task.request, "periodic_task_name", None) or "")


@signals.task_prerun.connect
def note_start(task: Any = None, **_: Any) -> None:
    """Stamp the beginning of a scheduled run."""
    if name := schedule_of(task):
        schedules.stamp_started(name=name)


@signals.task_postrun.connect
def note_end(task: Any = None, state: str = "", retval: Any = None, **_: Any) -> None:
    """Stamp the end of a scheduled run, good or bad."""
    if name := schedule_of(task):
        schedules.stamp_finished(name=name, error="" if state == "SUCCESS" else f"{state}: {retval!r}")


@signals.worker_ready.connect
def start_watching(**_: Any) -> None:
    """Let the worker's main process look after the schedules until it ends."""
    threading.Thread(target=repeat, args=(WATCH_SECONDS, watch), daemon=True, name="schedule-watch").start()


def watch() -> None:
    """Look once; the connection is not kept, since the process forks children beside this thread."""
    try:
        schedules.watch_schedules(now=timezone.now())
    finally:
        connection.close()
