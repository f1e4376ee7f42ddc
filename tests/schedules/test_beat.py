"""The clock goes on with the schedules that it knows while the database is away, and reads them anew after."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app
from django.db import OperationalError
from django_celery_beat.schedulers import DatabaseScheduler

from config.infra.beat import Scheduler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look at the schedules write nothing: it would close this process's connection first."""
    monkeypatch.setattr(DatabaseScheduler, "sync", lambda self: None)


def away(self: Any) -> Any:
    raise OperationalError("the server closed the connection unexpectedly")


def test_known_schedules_go_on_without_a_database_and_are_read_again(monkeypatch):
    scheduler = Scheduler(app=current_app._get_current_object(), lazy=True)
    known = scheduler.schedule
    assert known
    reads = []
    real = DatabaseScheduler.all_as_schedule
    monkeypatch.setattr(scheduler, "schedule_changed", lambda: len(reads) == 0)
    monkeypatch.setattr(DatabaseScheduler, "all_as_schedule", away)
    assert scheduler.schedule == known
    reads.append("the change was seen")
    monkeypatch.setattr(DatabaseScheduler, "all_as_schedule", lambda self: reads.append("read") or real(self))
    assert set(scheduler.schedule) == set(known)
    assert reads == ["the change was seen", "read"]


def test_a_clock_that_never_knew_a_schedule_ends_without_a_database(monkeypatch):
    monkeypatch.setattr(DatabaseScheduler, "all_as_schedule", away)
    scheduler = Scheduler(app=current_app._get_current_object(), lazy=True)
    with pytest.raises(OperationalError):
        _ = scheduler.schedule
