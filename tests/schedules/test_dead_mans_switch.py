"""With real processes: beat stops, the alert appears; beat starts, it closes. Edits reach beat while it runs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from config.infra import tenancy
from shopsync.models import Alert, ScheduleWatch

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def watch(name="sweep"):
    return ScheduleWatch.objects.get(schedule__name=name)


def alerts():
    with tenancy.all_tenants(reason="tests look at every row"):
        return [(alert.subject, alert.is_open) for alert in Alert.objects.filter(kind="schedule.missed").order_by("id")]


def has_run(name="sweep"):
    return lambda: watch(name).last_finished_at is not None


def test_a_stopped_beat_is_told_by_an_alert_and_by_health_until_it_runs_again(stack):
    stack.wait_for(has_run(), "the sweep's first stamp")
    stack.wait_for(lambda: watch().watched_since is not None, "a worker to watch", 40)
    stack.local.stop_one("beat")
    stack.wait_idle()
    long_ago = timezone.now() - timedelta(hours=1)
    ScheduleWatch.objects.filter(schedule__name="sweep").update(watched_since=long_ago, last_finished_at=long_ago)
    stack.wait_for(lambda: ("schedule:sweep", True) in alerts(), "the alert", 40)
    health = stack.get("/health")
    assert (health["status"], health["schedules"]["sweep"]["state"]) == ("degraded", "missed")
    stack.local.start("beat")
    stack.wait_for(lambda: ("schedule:sweep", False) in alerts(), "the alert to close", 60)
    assert stack.get("/health")["schedules"]["sweep"]["state"] == "ok"


def test_an_edit_reaches_a_running_beat(stack):
    stack.wait_for(has_run(), "the sweep's first stamp")
    assert watch("retention").last_finished_at is None  # in ten minutes
    often, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
    retention = PeriodicTask.objects.get(name="retention")
    retention.interval = often
    retention.save()
    stack.wait_for(has_run("retention"), "the edited schedule to run")
    retention.refresh_from_db()
    retention.enabled = False
    retention.save()

    def is_quiet():
        """Nothing began for longer than the interval and beat's own polling together."""
        return timezone.now() - watch("retention").last_started_at > timedelta(seconds=8)

    stack.wait_for(is_quiet, "the schedule to stop")
