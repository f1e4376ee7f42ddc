"""The declared table becomes rows; what an operator changed in them stays."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from config.infra.schedules import Schedule
from shopsync.actions.schedules import apply_schedules
from shopsync.models import ScheduleWatch

pytestmark = pytest.mark.django_db
SWEEP = "shopsync.tasks.sweep_work"
HOURLY = Schedule("hourly", SWEEP, every_seconds=3600, grace_seconds=60)
NIGHTLY = Schedule("nightly", SWEEP, cron="30 2 * * 1", grace_seconds=60)


def find(name):
    return PeriodicTask.objects.select_related("watch", "interval", "crontab").get(name=name)


def test_migrating_leaves_a_row_for_each_declared_schedule():
    rows = {row.name: (row.task, row.watch.grace_seconds, row.enabled) for row in PeriodicTask.objects.all()}
    assert rows == {one.name: (one.task, one.grace_seconds, True) for one in settings.SCHEDULES}
    assert find("sweep").interval.schedule.run_every.total_seconds() == 5


def test_applying_again_changes_nothing_and_wakes_no_beat():
    apply_schedules(declared=(HOURLY, NIGHTLY))
    rows, changed = list(PeriodicTask.objects.order_by("id").values()), PeriodicTasks.last_change()
    apply_schedules(declared=(HOURLY, NIGHTLY))
    assert list(PeriodicTask.objects.order_by("id").values()) == rows
    assert PeriodicTasks.last_change() == changed


def test_two_rows_of_one_interval_stop_no_declaration():
    for _ in range(2):
        IntervalSchedule.objects.create(every=3600, period="seconds")
    apply_schedules(declared=(HOURLY,))
    assert find("hourly").interval == IntervalSchedule.objects.filter(every=3600).order_by("pk").first()


def test_a_cron_line_is_taken_field_by_field():
    apply_schedules(declared=(*settings.SCHEDULES, NIGHTLY))
    cron = find("nightly").crontab
    assert (cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week) == (
        "30",
        "2",
        "*",
        "*",
        "1",
    )
    assert str(cron.timezone) == "UTC"


def test_what_an_operator_changed_stays_theirs():
    apply_schedules(declared=(*settings.SCHEDULES, HOURLY))
    slow, _ = IntervalSchedule.objects.get_or_create(every=2, period="hours")
    PeriodicTask.objects.filter(name="hourly").update(interval=slow, enabled=False)
    apply_schedules(declared=(*settings.SCHEDULES, Schedule("hourly", SWEEP, every_seconds=60, grace_seconds=60)))
    assert (find("hourly").interval, find("hourly").enabled) == (slow, False)


def test_a_new_default_is_taken_over_where_nobody_changed_the_old_one():
    apply_schedules(declared=(*settings.SCHEDULES, HOURLY))
    renewed = Schedule("hourly", "shopsync.tasks.forget_old_payloads", cron="0 * * * *", grace_seconds=60)
    apply_schedules(declared=(*settings.SCHEDULES, renewed))
    row = find("hourly")
    assert (row.interval, row.crontab.minute, row.task) == (None, "0", "shopsync.tasks.forget_old_payloads")


def test_a_withdrawn_schedule_is_switched_off_says_so_and_comes_back_when_declared_again():
    apply_schedules(declared=(*settings.SCHEDULES, HOURLY))
    apply_schedules(declared=settings.SCHEDULES)
    assert (find("hourly").enabled, find("hourly").watch.was_withdrawn) == (False, True)
    assert find("hourly").watch.state(timezone.now()) == "withdrawn"
    apply_schedules(declared=(*settings.SCHEDULES, HOURLY))
    assert (find("hourly").enabled, find("hourly").watch.was_withdrawn) == (True, False)


def test_one_that_an_operator_switched_off_stays_off_when_it_goes_and_comes():
    apply_schedules(declared=(*settings.SCHEDULES, HOURLY))
    PeriodicTask.objects.filter(name="hourly").update(enabled=False)
    apply_schedules(declared=settings.SCHEDULES)
    apply_schedules(declared=(*settings.SCHEDULES, HOURLY))
    assert find("hourly").enabled is False


def test_an_operators_own_schedule_is_left_alone():
    interval = find("sweep").interval
    PeriodicTask.objects.create(name="mine", task=SWEEP, interval=interval)
    apply_schedules(declared=settings.SCHEDULES)
    assert find("mine").enabled


@pytest.mark.django_db(transaction=True)
def test_a_migrated_database_that_lost_its_rows_gets_them_back_by_the_next_migrate():
    PeriodicTask.objects.all().delete()
    assert not ScheduleWatch.objects.exists()
    call_command("migrate", verbosity=0)
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == {one.name for one in settings.SCHEDULES}


@pytest.mark.parametrize(
    "declared",
    [
        (Schedule("a", "shopsync.tasks.nothing", every_seconds=5, grace_seconds=5),),
        (Schedule("a", "shopsync.actions.inbox.forget_payloads", every_seconds=5, grace_seconds=5),),
        (HOURLY, HOURLY),
    ],
)
def test_the_start_refuses_a_table_that_can_not_work(settings, declared):
    settings.SCHEDULES = declared
    assert [problem.id for problem in run_checks()] == ["shopsync.E003"]


@pytest.mark.parametrize("when", [{}, {"every_seconds": 5, "cron": "* * * * *"}, {"cron": "* * *"}])
def test_a_schedule_says_once_when_it_runs(when):
    with pytest.raises(ValueError, match="schedule a"):
        Schedule("a", SWEEP, grace_seconds=5, **when)


def test_the_start_refuses_ops_emails_that_are_none(settings):
    settings.OPS_EMAILS = ["oncall@example.com", "Somebody <x@example.com>"]
    assert [problem.id for problem in run_checks()] == ["shopsync.E004"]
