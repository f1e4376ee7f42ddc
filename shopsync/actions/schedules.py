"""Schedules: make the declared ones rows, stamp their runs, and raise an alert for one that does not run.

The switch has two ends that do not depend on beat: a worker's main process looks every few seconds and raises the
alert, and /health works the same out by itself at each request, for the case that the workers are gone too
(docs/decisions/0011-schedules.md).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from config.infra import tenancy
from config.infra.schedules import Schedule
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Alert, ScheduleWatch
from shopsync.models.schedules import DEFAULT_GRACE_SECONDS

logger = logging.getLogger(__name__)

MISSED, FAILED = "schedule.missed", "schedule.failed"


@transaction.atomic
def apply_schedules(*, declared: Sequence[Schedule]) -> None:
    """Make a row of each declared schedule; what an operator changed (when, or switched off) stays theirs.

    A new declaration of when is taken over where nobody changed the old one. A schedule that is no longer declared is
    switched off and says so; should it come back, it is switched on again, unless an operator had it off.
    """
    known = {row.schedule.name: row for row in ScheduleWatch.objects.select_related(
        "schedule__interval", "schedule__crontab")}  # fmt: skip
    for wanted in declared:
        if wanted.name in known:
            _renew(known[wanted.name], wanted)
        else:
            _create(wanted)
    names = {wanted.name for wanted in declared}
    for name, watch in known.items():
        if watch.declared_when and name not in names:
            _withdraw(watch)


def _timing(wanted: Schedule) -> dict[str, IntervalSchedule | CrontabSchedule | None]:
    if wanted.every_seconds is not None:
        every: dict[str, Any] = {"every": wanted.every_seconds, "period": "seconds"}
        interval = IntervalSchedule.objects.filter(**every).order_by("pk").first()
        return {"interval": interval or IntervalSchedule.objects.create(**every), "crontab": None}
    minute, hour, day, month, weekday = (wanted.cron or "").split()
    fields = {"minute": minute, "hour": hour, "day_of_month": day, "month_of_year": month, "day_of_week": weekday}
    crontab = CrontabSchedule.objects.filter(**fields, timezone="UTC").order_by("pk").first()
    return {"interval": None, "crontab": crontab or CrontabSchedule.objects.create(**fields, timezone="UTC")}


def _create(wanted: Schedule) -> None:
    fields = {"task": wanted.task, "expire_seconds": wanted.expire_seconds, **_timing(wanted)}
    task, _ = PeriodicTask.objects.get_or_create(name=wanted.name, defaults=fields)
    values = {"declared_when": wanted.when, "grace_seconds": wanted.grace_seconds}
    ScheduleWatch.objects.update_or_create(schedule=task, defaults=values)


def _renew(watch: ScheduleWatch, wanted: Schedule) -> None:
    task = watch.schedule
    changes: dict[str, object] = {}
    if task.task != wanted.task:
        changes["task"] = wanted.task
    if watch.declared_when != wanted.when and _when(task) == watch.declared_when:
        changes |= {**_timing(wanted), "expire_seconds": wanted.expire_seconds}
    if watch.was_withdrawn:
        logger.warning("schedule %s is declared again: switched on", wanted.name)
        changes["enabled"] = True
    if changes:
        PeriodicTask.objects.filter(pk=task.pk).update(**changes)
        PeriodicTasks.update_changed()
        watch_anew(ScheduleWatch.objects.filter(pk=watch.pk))
    if watch.declared_when != wanted.when or watch.was_withdrawn:
        ScheduleWatch.objects.filter(pk=watch.pk).update(declared_when=wanted.when, was_withdrawn=False)


def watch_anew(watches: QuerySet[ScheduleWatch]) -> None:
    """Count the patience of schedules whose time was changed from when they are next looked at.

    By the new time they may have been due long before anybody knew of it.
    """
    watches.update(watched_since=None)


def _when(task: PeriodicTask) -> str:
    """Write down when a row runs, in the words of `Schedule.when`."""
    if task.interval is not None:
        return f"every {int(task.interval.schedule.run_every.total_seconds())} s"
    if task.crontab is not None:
        cron = task.crontab
        return f"cron {cron.minute} {cron.hour} {cron.day_of_month} {cron.month_of_year} {cron.day_of_week}"
    return ""


def _withdraw(watch: ScheduleWatch) -> None:
    if not watch.schedule.enabled:
        return
    logger.warning("schedule %s is no longer declared: switched off", watch.schedule.name)
    PeriodicTask.objects.filter(pk=watch.schedule_id).update(enabled=False, last_run_at=None)
    ScheduleWatch.objects.filter(pk=watch.pk).update(was_withdrawn=True)
    PeriodicTasks.update_changed()


_STARTED = """
INSERT INTO shopsync_schedulewatch (schedule_id, grace_seconds, declared_when, was_withdrawn, last_started_at,
                                    last_outcome, last_error)
SELECT id, %s, '', false, clock_timestamp(), '', '' FROM django_celery_beat_periodictask WHERE name = %s
ON CONFLICT (schedule_id) DO UPDATE SET last_started_at = clock_timestamp()"""

_FINISHED = """
WITH before AS (SELECT w.id, w.last_outcome FROM shopsync_schedulewatch w
                JOIN django_celery_beat_periodictask t ON t.id = w.schedule_id WHERE t.name = %s)
UPDATE shopsync_schedulewatch w SET last_finished_at = clock_timestamp(), last_outcome = %s, last_error = %s
FROM before WHERE w.id = before.id RETURNING before.last_outcome"""


def stamp_started(*, name: str) -> None:
    """Note that a schedule's task begins; a schedule made by hand gets its row by its first run."""
    with connection.cursor() as cursor:
        cursor.execute(_STARTED, [DEFAULT_GRACE_SECONDS, name])


@transaction.atomic
def stamp_finished(*, name: str, error: str) -> None:
    """Note that a schedule's task has ended, and how; an empty error is a good end.

    A failure raises the system's alert `schedule.failed`, and the next good end closes it.
    """
    outcome = ScheduleWatch.Outcome.FAILED if error else ScheduleWatch.Outcome.OK
    with connection.cursor() as cursor:
        cursor.execute(_FINISHED, [name, outcome, error[:300].replace("\x00", "")])
        found = cursor.fetchone()
    with tenancy.no_scope():
        if found and error:
            raise_alert(kind=FAILED, subject=_subject(name), message=f"{name} failed: {error[:300]}")
        elif found and found[0] == ScheduleWatch.Outcome.FAILED:
            close_alert(kind=FAILED, subject=_subject(name))


def _subject(name: str) -> str:
    return f"schedule:{name}"[:120]


@transaction.atomic
def watch_schedules(*, now: datetime) -> list[str]:
    """Raise the system's alert `schedule.missed` for each schedule that should have run, close it for one that ran.

    What failed and is switched off since is nobody's concern any more: its `schedule.failed` is closed. Of several
    workers one looks at a time. Returns the names of those that are missed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('watch_schedules', 0))")
        if not cursor.fetchone()[0]:
            return []
    _begin_watching(now)
    rows = ScheduleWatch.objects.select_related("schedule__interval", "schedule__crontab")
    watches = list(rows.order_by("schedule__name"))
    switched_on = {_subject(watch.schedule.name) for watch in watches if watch.schedule.enabled}
    missed = {_subject(watch.schedule.name): watch for watch in watches if watch.is_missed(now)}
    with tenancy.no_scope():
        told = _open_alerts(MISSED)
        for subject in sorted(missed.keys() - told):
            raise_alert(kind=MISSED, subject=subject, message=_sentence(missed[subject]), severity="critical")
        for subject in sorted(told - missed.keys()):
            close_alert(kind=MISSED, subject=subject)
        for subject in sorted(_open_alerts(FAILED) - switched_on):
            close_alert(kind=FAILED, subject=subject)
    return [watch.schedule.name for watch in missed.values()]


def _begin_watching(now: datetime) -> None:
    """Count a schedule's patience from when it was first seen switched on, not from a run long before."""
    unseen = PeriodicTask.objects.filter(watch__isnull=True, enabled=True)
    ScheduleWatch.objects.bulk_create([ScheduleWatch(schedule=task) for task in unseen], ignore_conflicts=True)
    ScheduleWatch.objects.filter(schedule__enabled=True, watched_since=None).update(watched_since=now)
    ScheduleWatch.objects.filter(schedule__enabled=False).exclude(watched_since=None).update(watched_since=None)


def _open_alerts(kind: str) -> set[str]:
    with tenancy.all_tenants(reason="the system's own alerts about schedules"):
        found = Alert.objects.filter(tenant__isnull=True, kind=kind, closed_at__isnull=True)
        return set(found.values_list("subject", flat=True))


def _sentence(watch: ScheduleWatch) -> str:
    last = watch.last_finished_at
    when = f"last finished at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "never finished a run"
    due = watch.next_due_at()
    assert due is not None  # it would not be missed
    return f"{watch.schedule.name} {when}; it was due at {due:%Y-%m-%d %H:%M:%S} UTC. Is beat up, and a worker?"
