"""Stamps of runs, and what the watcher makes of them: late is missed, off is quiet, a failure is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import DatabaseError
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from audit.models import AuditEvent
from config.infra import heartbeat, tenancy
from shopsync.actions.schedules import stamp_finished, stamp_started, watch_schedules
from shopsync.models import Alert, ScheduleWatch
from shopsync.queries import schedule_states
from shopsync.tasks import note_end, note_start

pytestmark = pytest.mark.django_db
NAMES = ["retention", "sweep"]


@pytest.fixture(autouse=True)
def _two_schedules(db):
    """Whatever else is declared is not what these tests are about."""
    PeriodicTask.objects.exclude(name__in=NAMES).delete()


def alerts(**which):
    with tenancy.all_tenants(reason="tests look at every row"):
        return list(Alert.objects.filter(tenant=None, **which).order_by("id"))


def states(now):
    return {state.name: state.state for state in schedule_states(now=now)}


@pytest.fixture
def now():
    """A moment at which every schedule has just been seen and has just run."""
    moment = timezone.now()
    ScheduleWatch.objects.update(watched_since=moment, last_finished_at=moment, last_outcome="ok")
    return moment


def test_nobody_is_missed_before_somebody_watches():
    ScheduleWatch.objects.update(watched_since=None)
    later = timezone.now() + timedelta(days=1)
    assert states(later) == {"retention": "waiting", "sweep": "waiting"}
    assert watch_schedules(now=later) == []
    assert states(later) == {"retention": "ok", "sweep": "ok"}


def test_a_run_that_does_not_come_is_missed_after_period_and_grace_and_told_once(now):
    assert watch_schedules(now=now + timedelta(seconds=64)) == []
    assert watch_schedules(now=now + timedelta(seconds=66)) == ["sweep"]
    assert watch_schedules(now=now + timedelta(seconds=99)) == ["sweep"]
    (alert,) = alerts()
    assert (alert.kind, alert.subject, alert.severity, alert.count) == (
        "schedule.missed",
        "schedule:sweep",
        "critical",
        1,
    )
    assert "Is beat up" in alert.message


def test_it_closes_when_the_schedule_runs_again(now):
    late = now + timedelta(seconds=66)
    watch_schedules(now=late)
    ScheduleWatch.objects.update(last_finished_at=late)
    assert watch_schedules(now=late) == []
    assert [alert.is_open for alert in alerts()] == [False]


def test_one_closed_by_hand_is_raised_again_while_it_is_still_wrong(now):
    late = now + timedelta(seconds=66)
    watch_schedules(now=late)
    with tenancy.all_tenants(reason="tests look at every row"):
        Alert.objects.update(closed_at=timezone.now())
    watch_schedules(now=late)
    assert [alert.is_open for alert in alerts()] == [False, True]


def test_a_schedule_that_is_off_is_not_missed_and_counts_anew_when_it_is_on(now):
    late = now + timedelta(hours=5)
    PeriodicTask.objects.filter(name="sweep").update(enabled=False)
    assert watch_schedules(now=late) == ["retention"]
    assert states(late)["sweep"] == "off"
    PeriodicTask.objects.filter(name="sweep").update(enabled=True)
    assert watch_schedules(now=late) == ["retention"]
    assert watch_schedules(now=late + timedelta(seconds=66)) == NAMES


def test_a_cron_line_is_due_at_its_next_moment(now):
    cron = CrontabSchedule.objects.create(minute="0", hour="2", timezone="UTC")
    PeriodicTask.objects.filter(name="retention").update(interval=None, crontab=cron)
    two = now.replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=1)
    ScheduleWatch.objects.update(watched_since=two, last_finished_at=two + timedelta(seconds=3), grace_seconds=600)
    ScheduleWatch.objects.filter(schedule__name="sweep").update(watched_since=two)
    (state,) = [state for state in schedule_states(now=two) if state.name == "retention"]
    assert state.next_due_at == two + timedelta(days=1)
    assert states(two + timedelta(days=1, seconds=599))["retention"] == "ok"
    assert states(two + timedelta(days=1, seconds=601))["retention"] == "missed"


@pytest.mark.parametrize(
    ("ran_at", "due_at"),
    [("2026-11-20T00:00:03Z", "2026-11-21T00:00:00Z"), ("2026-11-19T23:58:00Z", "2026-11-20T00:00:00Z"),
     ("2026-03-28T00:00:03Z", "2026-03-29T00:00:00Z"), ("2026-03-29T00:00:03Z", "2026-03-29T23:00:00Z")],
)  # fmt: skip
def test_a_cron_line_goes_by_its_own_clock(ran_at, due_at):
    cron = CrontabSchedule.objects.create(minute="0", hour="2", timezone="Europe/Athens")
    PeriodicTask.objects.filter(name="retention").update(interval=None, crontab=cron)
    ScheduleWatch.objects.update(watched_since=ran_at, last_finished_at=ran_at, last_outcome="ok")
    watch = ScheduleWatch.objects.get(schedule__name="retention")
    assert watch.next_due_at() == datetime.fromisoformat(due_at)


def test_a_schedule_made_by_hand_is_watched_too():
    interval = PeriodicTask.objects.get(name="sweep").interval
    PeriodicTask.objects.create(name="mine", task="shopsync.tasks.sweep_work", interval=interval)
    watch_schedules(now=timezone.now())
    assert states(timezone.now())["mine"] == "ok"


def run(name, state="SUCCESS", retval=None):
    task = SimpleNamespace(request=SimpleNamespace(periodic_task_name=name))
    note_start(task=task)
    note_end(task=task, state=state, retval=retval)


def test_a_run_leaves_its_stamps(django_assert_num_queries):
    before = timezone.now() - timedelta(seconds=1)
    with django_assert_num_queries(4):  # begin, end; the end's savepoint twice
        run("sweep")
    watch = ScheduleWatch.objects.get(schedule__name="sweep")
    assert before < watch.last_started_at <= watch.last_finished_at
    assert (watch.last_outcome, watch.last_error) == ("ok", "")


def test_what_no_schedule_asked_for_leaves_none(django_assert_num_queries):
    with django_assert_num_queries(0):
        run(None)


def test_a_failure_is_told_once_and_the_next_good_run_closes_it():
    run("sweep", "FAILURE", ValueError("broken"))
    run("sweep", "FAILURE", ValueError("broken"))
    (alert,) = alerts(kind="schedule.failed")
    assert (alert.count, "broken" in alert.message) == (2, True)
    assert states(timezone.now())["sweep"] in {"failed", "waiting"}
    run("sweep")
    assert [alert.is_open for alert in alerts(kind="schedule.failed")] == [False]
    with tenancy.all_tenants(reason="tests look at every row"):
        names = AuditEvent.objects.filter(name__startswith="alert.").order_by("id").values_list("name", "tenant_id")
    assert list(names) == [("alert.raised", None), ("alert.closed", None)]


def test_a_failure_of_what_was_switched_off_since_is_nobodys_concern(now):
    stamp_finished(name="sweep", error="no such table")
    watch_schedules(now=now)
    assert [(alert.kind, alert.is_open) for alert in alerts()] == [("schedule.failed", True)]
    PeriodicTask.objects.filter(name="sweep").update(enabled=False)
    watch_schedules(now=now)
    assert [alert.is_open for alert in alerts()] == [False]


def test_a_schedule_made_by_hand_gets_its_row_by_its_first_run():
    interval = PeriodicTask.objects.get(name="sweep").interval
    PeriodicTask.objects.create(name="mine", task="shopsync.tasks.sweep_work", interval=interval)
    stamp_started(name="mine")
    stamp_finished(name="mine", error="")
    assert ScheduleWatch.objects.get(schedule__name="mine").last_outcome == "ok"
    stamp_started(name="gone")
    stamp_finished(name="gone", error="")  # deleted under way: nothing to stamp, nothing to fail


def test_the_loop_survives_a_database_that_is_away(monkeypatch):
    looks = []

    def look():
        looks.append(1)
        if len(looks) < 3:
            raise DatabaseError("away")
        heartbeat.stopping.set()

    monkeypatch.setattr(heartbeat, "stopping", type(heartbeat.stopping)())
    heartbeat.repeat(0.01, look)
    assert len(looks) == 3


def test_health_tells_of_a_missed_schedule(client, now):
    answer = client.get("/health").json()
    assert answer["schedules"]["sweep"]["state"] == "ok"
    ScheduleWatch.objects.update(watched_since=now - timedelta(hours=3), last_finished_at=now - timedelta(hours=2))
    answer = client.get("/health").json()
    assert answer["status"] == "degraded"
    assert [answer["schedules"][name]["state"] for name in NAMES] == ["missed", "missed"]
