"""What is known of each schedule's runs: the stamps that its dead-man's switch looks at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celery.schedules import ParseException
from django.db import models
from django.db.models import Q
from django_celery_beat.models import PeriodicTask

DEFAULT_GRACE_SECONDS = 300


class NeverRuns(ValueError):  # noqa: N818
    """A schedule whose time never comes: a day that no month has, an interval beyond the calendar."""


def run_after(moment: datetime, schedule: PeriodicTask) -> datetime | None:
    """Say when a schedule runs next after a moment; None for a kind without a period.

    Raises: NeverRuns.
    """
    try:
        if schedule.interval is not None:
            period: timedelta = schedule.interval.schedule.run_every
            return moment + period
        if schedule.crontab is not None:
            # Celery reads the fields of the moment as it is given, so it must be on the line's own clock.
            line = schedule.crontab.schedule
            start, wait, _ = line.remaining_delta(moment.astimezone(line.tz))
            due_at: datetime = start + wait
            return due_at.astimezone(UTC)
    except ParseException as error:
        raise NeverRuns(f"{schedule.scheduler} can't be read: {error}") from error
    except (RuntimeError, OverflowError, ValueError) as error:
        raise NeverRuns(f"{schedule.scheduler} never comes: choose another time.") from error
    return None


class ScheduleWatch(models.Model):
    """The runs of one schedule. The system's, not a tenant's; each run stamps the row with two small UPDATEs."""

    class Outcome(models.TextChoices):
        OK = "ok"
        FAILED = "failed"

    schedule = models.OneToOneField(PeriodicTask, on_delete=models.CASCADE, related_name="watch")
    grace_seconds = models.PositiveIntegerField(
        default=DEFAULT_GRACE_SECONDS, help_text="how late a run may be before an alert is raised"
    )
    declared_when = models.CharField(max_length=100, blank=True, default="", help_text="the schedule as declared")
    was_withdrawn = models.BooleanField(default=False, help_text="switched off because it is no longer declared")
    watched_since = models.DateTimeField(null=True, blank=True, help_text="since when it was seen switched on")
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_finished_at = models.DateTimeField(null=True, blank=True)
    last_outcome = models.CharField(max_length=8, choices=Outcome, blank=True, default="")
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ("id",)
        verbose_name_plural = "schedule watches"
        constraints = (
            models.CheckConstraint(
                name="schedulewatch_outcome_is_known_once_finished",
                condition=Q(last_outcome="", last_finished_at__isnull=True)
                | Q(last_outcome__in=("ok", "failed"), last_finished_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"watch of {self.schedule_id}"

    def next_due_at(self) -> datetime | None:
        """Say when the next run is due; None while it is off, not watched yet, or of a kind without a period."""
        seen = [moment for moment in (self.last_finished_at, self.watched_since) if moment is not None]
        if self.watched_since is None or not self.schedule.enabled:
            return None
        try:
            return run_after(max(seen), self.schedule)
        except NeverRuns:
            return max(seen)  # so it is missed from now on, and somebody is told

    def is_missed(self, now: datetime) -> bool:
        """Should it have run by now, its grace included?"""
        due_at = self.next_due_at()
        return due_at is not None and now > due_at + timedelta(seconds=self.grace_seconds)

    def state(self, now: datetime) -> str:
        """Say in one word how it is: off, withdrawn (no longer declared), waiting (nobody watches yet), ok, missed or
        failed."""
        if not self.schedule.enabled:
            return "withdrawn" if self.was_withdrawn else "off"
        if self.watched_since is None:
            return "waiting"
        if self.is_missed(now):
            return "missed"
        return "failed" if self.last_outcome == self.Outcome.FAILED else "ok"
