"""Schedules in the admin: superusers edit them, each edit is recorded, and nobody else sees them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from audit.models import AuditEvent
from config.infra import tenancy
from shopsync.actions.schedules import watch_schedules
from shopsync.models import ScheduleWatch
from tests.admin.pages import change_page, list_page

OURS = (PeriodicTask, IntervalSchedule, CrontabSchedule)


@pytest.fixture
def sweep(db):
    return PeriodicTask.objects.get(name="sweep")


def form(schedule, **changes):
    watch = schedule.watch
    values = {"task": schedule.task, "enabled": "on", "interval": schedule.interval_id, "expire_seconds": 5}
    values |= {"crontab": "", "description": "", "watch-TOTAL_FORMS": 1, "watch-INITIAL_FORMS": 1}
    values |= {"watch-0-id": watch.pk, "watch-0-schedule": schedule.pk, "watch-0-grace_seconds": watch.grace_seconds}
    return {name: value for name, value in (values | changes).items() if value is not None}


def test_a_superuser_sees_how_each_schedule_is_doing(superuser, sweep):
    page = superuser.get(list_page(PeriodicTask)).content.decode()
    assert "retention" in page
    assert "every 5 seconds" in page
    assert superuser.get(change_page(sweep)).status_code == 200


def test_a_superuser_edits_a_schedule_which_beat_hears_of_and_the_trail_too(superuser, sweep):
    slow = IntervalSchedule.objects.create(every=30, period="seconds")
    before = PeriodicTasks.last_change()
    answer = superuser.post(change_page(sweep), form(sweep, interval=slow.pk, **{"watch-0-grace_seconds": 90}))
    assert answer.status_code == 302, answer.context["errors"]
    sweep.refresh_from_db()
    assert (sweep.interval, sweep.name, sweep.watch.grace_seconds) == (slow, "sweep", 90)
    assert PeriodicTasks.last_change() > before
    with tenancy.all_tenants(reason="tests look at every row"):
        event = AuditEvent.objects.get(name="periodic_task.updated")
    assert (event.tenant_id, event.data["fields"]) == (None, ["interval"])


def test_switching_off_by_hand_stays(superuser, sweep):
    superuser.post(change_page(sweep), form(sweep, enabled=None))
    sweep.refresh_from_db()
    assert not sweep.enabled


def test_only_tasks_of_the_system_can_be_scheduled(superuser, sweep):
    answer = superuser.post(change_page(sweep), form(sweep, task="tests.count_orders"))
    assert answer.status_code == 200
    sweep.refresh_from_db()
    assert sweep.task == "shopsync.tasks.sweep_work"


def test_a_superuser_adds_a_schedule_which_is_watched_like_the_others(superuser, sweep):
    for model in OURS:
        assert superuser.get(list_page(model) + "add/").status_code == 200
    values = form(sweep, name="mine", interval=sweep.interval_id, task="shopsync.tasks.collect_digests")
    values |= {"watch-INITIAL_FORMS": 0, "watch-0-id": "", "watch-0-schedule": "", "watch-0-grace_seconds": 60}
    answer = superuser.post(list_page(PeriodicTask) + "add/", values)
    assert answer.status_code == 302, answer.context["errors"]
    watch_schedules(now=timezone.now())
    assert PeriodicTask.objects.get(name="mine").watch.grace_seconds == 60


def test_two_kinds_of_timing_are_refused(superuser, sweep):
    cron = CrontabSchedule.objects.create(minute="0")
    answer = superuser.post(change_page(sweep), form(sweep, crontab=cron.pk))
    assert answer.status_code == 200
    assert "Only one of" in answer.content.decode()


def test_nothing_is_deleted(superuser, sweep):
    assert superuser.get(change_page(sweep).replace("/change/", "/delete/")).status_code == 403


@pytest.mark.parametrize("person", ["owner", "operator", "stranger"])
def test_nobody_else_sees_them(request, person, sweep):
    client = request.getfixturevalue(person)
    for model in OURS:
        assert client.get(list_page(model)).status_code == 403
    assert client.get(change_page(sweep)).status_code == 403
    assert client.post(change_page(sweep), form(sweep, enabled=None)).status_code == 403
    assert "periodictask" not in client.get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            "crontabschedule",
            {"minute": "0", "hour": "0", "day_of_month": "31", "month_of_year": "2", "day_of_week": "*"},
        ),
        ("intervalschedule", {"every": "2147483647", "period": "days"}),
    ],
)
def test_a_time_that_never_comes_is_refused_for_it_would_end_beat(superuser, kind, values):
    page = f"/admin/django_celery_beat/{kind}/add/"
    answer = superuser.post(page, {**values, "timezone": "UTC"})
    assert answer.status_code == 200
    assert "never comes: choose another time" in answer.content.decode()


@pytest.mark.parametrize("minute", ["*/5,", "1-", "a"])
def test_a_cron_line_that_can_not_be_read_is_refused_in_words(superuser, minute):
    line = {"hour": "0", "day_of_month": "*", "month_of_year": "*", "day_of_week": "*", "timezone": "UTC"}
    answer = superuser.post("/admin/django_celery_beat/crontabschedule/add/", {**line, "minute": minute})
    assert (answer.status_code, CrontabSchedule.objects.filter(minute=minute).exists()) == (200, False)


def test_a_time_that_is_there_already_is_chosen_and_not_made_again(superuser, sweep):
    timing = sweep.interval
    answer = superuser.post(
        "/admin/django_celery_beat/intervalschedule/add/", {"every": timing.every, "period": timing.period}
    )
    assert "one like this already" in answer.content.decode()
    assert IntervalSchedule.objects.filter(every=timing.every, period=timing.period).count() == 1


@pytest.mark.parametrize("edited", ["the schedule", "its interval"])
def test_a_schedule_that_is_to_run_more_often_is_not_late_at_once(superuser, edited):
    now = timezone.now()
    seldom = IntervalSchedule.objects.create(every=1, period="days")
    schedule = PeriodicTask.objects.get(name="retention")
    PeriodicTask.objects.exclude(pk=schedule.pk).delete()
    PeriodicTask.objects.filter(pk=schedule.pk).update(interval=seldom, crontab=None)
    schedule.refresh_from_db()
    ran_at = now - timedelta(hours=9)
    ScheduleWatch.objects.update(watched_since=ran_at, last_finished_at=ran_at, last_outcome="ok", grace_seconds=60)
    assert watch_schedules(now=now) == []
    if edited == "the schedule":
        often = IntervalSchedule.objects.create(every=1, period="hours")
        superuser.post(change_page(schedule), form(schedule, interval=often.pk))
    else:
        superuser.post(change_page(seldom), {"every": 1, "period": "hours"})
    schedule.refresh_from_db()
    assert schedule.interval.period == "hours"
    assert watch_schedules(now=now) == []
    assert watch_schedules(now=now + timedelta(hours=1, seconds=61)) == ["retention"]
