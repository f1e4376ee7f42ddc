"""Probes: /live (the process answers), /ready (send it requests), /health (how it is doing)."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Min, Q
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from redis.exceptions import RedisError

from config.infra import tenancy
from config.infra.breaker import list_breakers
from config.infra.heartbeat import heartbeats
from config.infra.work import Status, WorkRow, queues
from shopsync.models import Alert
from shopsync.queries import ScheduleState, schedule_states

_migrated = False


def live(request: HttpRequest) -> JsonResponse:
    """Say that the process answers; it asks nobody else."""
    return JsonResponse({"status": "alive"})


def ready(request: HttpRequest) -> JsonResponse:
    """Say whether to send requests here: green without Redis (intake still works), red without PostgreSQL or
    migrations."""
    try:
        problem = "" if _is_migrated() else "migrations are missing: run manage.py migrate"
    except DatabaseError:
        problem = "PostgreSQL can't be reached"
    if problem:
        return JsonResponse({"status": "not ready", "reason": problem}, status=503)
    return JsonResponse({"status": "ready"})


def _is_migrated() -> bool:
    """Ask once per process for missing migrations, and every time whether the database answers."""
    global _migrated
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


def health(request: HttpRequest) -> JsonResponse:
    """Tell how the installation is doing: the oldest ready row per queue, what is buried or unknown, workers, Redis,
    how many breakers of each service are not closed (whose they are is for the admin), and when each schedule last ran.

    status: `ok`; `degraded` while Redis or every worker is away, work is overdue by more than a minute, messages are
    stuck without a reason, or a schedule has not run when it should have; `down` (503) without PostgreSQL.
    """
    try:
        queue_states = {model.queue.name: _queue_state(model) for model in queues()}
        schedules = schedule_states(now=timezone.now())
    except DatabaseError:
        return JsonResponse({"status": "down", "database": "unreachable"}, status=503)
    beats = _heartbeats()
    overdue = any((state["oldest_ready_seconds"] or 0) > 60 for state in queue_states.values())
    is_stuck = _is_stuck()
    is_missed = any(schedule.state == "missed" for schedule in schedules)
    is_degraded = beats is None or not _alive(beats) or overdue or is_missed or is_stuck
    return JsonResponse(
        {
            "status": "degraded" if is_degraded else "ok",
            "database": "ok",
            "redis": "unreachable: work is found by the sweep once it is back" if beats is None else "ok",
            "queues": queue_states,
            "workers": _worker_list(beats or {}),
            "breakers": _breaker_state(),
            "schedules": {schedule.name: _schedule(schedule) for schedule in schedules},
        }
    )


def _schedule(schedule: ScheduleState) -> dict[str, Any]:
    return {
        "state": schedule.state,
        "last_finished_at": schedule.last_finished_at,
        "next_due_at": schedule.next_due_at,
        "last_outcome": schedule.last_outcome,
    }


def workers(request: HttpRequest) -> JsonResponse:
    """Tell when each worker was last heard of; 503 when none was within 30 s."""
    beats = _heartbeats()
    if beats is None:
        return JsonResponse(
            {"status": "unknown", "reason": "Redis, which keeps heartbeats, can't be reached"}, status=503
        )
    status = 200 if _alive(beats) else 503
    return JsonResponse(
        {"status": "ok" if status == 200 else "no worker", "workers": _worker_list(beats)}, status=status
    )


def _queue_state(model: type[WorkRow]) -> dict[str, Any]:
    now = timezone.now()
    with tenancy.all_tenants(reason="health counts the work of every tenant"):
        rows = model._default_manager
        due = rows.filter(status=Status.READY, due_at__lte=now)
        oldest = None if model.queue.may_wait else due.aggregate(oldest=Min("due_at"))["oldest"]
        counts = rows.filter(status__in=(Status.BURIED, Status.UNKNOWN, Status.QUARANTINED)).aggregate(
            buried=Count("id", filter=Q(status=Status.BURIED)),
            unknown=Count("id", filter=Q(status=Status.UNKNOWN)),
            quarantined=Count("id", filter=Q(status=Status.QUARANTINED)),
        )
    age = (now - oldest).total_seconds() if oldest else None
    return {"oldest_ready_seconds": round(max(age, 0.0), 3) if age is not None else None, **counts}


def _is_stuck() -> bool:
    """Did the watchdog of sending find anything that is stuck without saying why?"""
    with tenancy.all_tenants(reason="health counts the work of every tenant"):
        return Alert.objects.filter(kind="messages.stuck", closed_at__isnull=True).exists()


def _breaker_state() -> dict[str, Any]:
    listing = list_breakers()
    known = "all processes" if listing.is_shared else "this process alone, until Redis is back"
    return {"open": listing.count_open(), "known_to": known}


def _heartbeats() -> dict[str, float] | None:
    try:
        return heartbeats()
    except (RedisError, OSError):
        return None


def _alive(beats: dict[str, float]) -> bool:
    return any(age < 30 for age in beats.values())


def _worker_list(beats: dict[str, float]) -> list[dict[str, Any]]:
    return [{"name": name, "last_heartbeat_seconds": round(age, 1)} for name, age in sorted(beats.items())]
