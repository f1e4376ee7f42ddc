"""Schedules for superusers: when each runs, how its runs go. Beat takes an edit over within seconds."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from unfold.admin import ModelAdmin, StackedInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from audit.actions import record
from config.infra import tenancy
from config.infra.tasks import SystemTask
from shopsync.actions.schedules import watch_anew
from shopsync.admin.base import actor_of
from shopsync.models import ScheduleWatch
from shopsync.models.schedules import NeverRuns, run_after

for _model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(_model)  # their own pages know neither our look nor our roles; the rest has no use here


class _SuperusersOnly:
    """Schedules are the system's: no tenant's people see them. Nothing is deleted, it is switched off."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superusers."""
        return bool(request.user.is_superuser and request.user.is_active)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers."""
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers."""
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers."""
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Nobody: a schedule's runs would go with it."""
        return False


class _Recorded(_SuperusersOnly, ModelAdmin):
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and record that it was changed, and by whom: an event of the system's."""
        super().save_model(request, obj, form, change)
        noun = str(self.opts.verbose_name).replace(" ", "_").lower()
        values: dict[str, Any] = {"fields": sorted(form.changed_data)}
        with tenancy.no_scope():
            name = f"{noun}.{'updated' if change else 'created'}"
            record(name=name, subject=f"{noun}:{obj.pk}", actor=actor_of(request), data=values)


def _system_tasks() -> list[tuple[str, str]]:
    """List what may be scheduled: tasks of the system's, which take no arguments."""
    current_app.loader.import_default_modules()
    names = sorted(name for name, task in current_app.tasks.items() if isinstance(task, SystemTask))
    return [(name, name) for name in names]


class _TimingForm(forms.ModelForm):  # type: ignore[type-arg]
    """An interval or a cron line: one that never comes would end beat, and with it every schedule."""

    def clean(self) -> dict[str, Any]:
        """Refuse what never comes, and what is there already."""
        given: dict[str, Any] = super().clean() or {}
        if not self.errors:
            if self._meta.model.objects.filter(**given).exclude(pk=self.instance.pk).exists():
                raise forms.ValidationError("There is one like this already: choose that.")
            timing = self._meta.model(**given)
            kind = "interval" if isinstance(timing, IntervalSchedule) else "crontab"
            try:
                run_after(timezone.now(), PeriodicTask(**{kind: timing}))
            except NeverRuns as error:
                raise forms.ValidationError(str(error)) from error
        return given


class _ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    task = forms.ChoiceField(choices=_system_tasks, widget=UnfoldAdminSelectWidget)

    class Meta:
        model = PeriodicTask
        fields = ("name", "task", "enabled", "interval", "crontab", "expire_seconds", "description")


class WatchInline(_SuperusersOnly, StackedInline):
    """How its runs went, and how late one may be."""

    model = ScheduleWatch
    fields = ("grace_seconds", ("last_started_at", "last_finished_at"), "last_outcome", "last_error", "watched_since")
    readonly_fields = ("last_started_at", "last_finished_at", "last_outcome", "last_error", "watched_since")
    max_num = 1
    can_delete = False


@admin.register(PeriodicTask)
class ScheduleAdmin(_Recorded):
    """When each task runs. Alerts `schedule.missed` and `schedule.failed` speak of these."""

    form = _ScheduleForm
    list_display = ("name", "when", "enabled", "state", "last_run", "next_due", "outcome")
    list_filter = ("enabled",)
    search_fields = ("name", "task")
    list_select_related = ("interval", "crontab", "watch")
    ordering = ("name",)
    inlines = (WatchInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A name is what stamps and alerts go by, so it stays."""
        return () if obj is None else ("name",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and forget that the software had switched it off: from now on it is as the operator says."""
        super().save_model(request, obj, form, change)
        ScheduleWatch.objects.filter(schedule=obj).update(was_withdrawn=False)
        if {"interval", "crontab"} & set(form.changed_data):
            watch_anew(ScheduleWatch.objects.filter(schedule=obj))
        PeriodicTasks.update_changed()

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        """Fetch the stamps along."""
        rows: QuerySet[PeriodicTask] = super().get_queryset(request)
        return rows.select_related("interval", "crontab", "watch")

    @display(description="when")
    def when(self, schedule: PeriodicTask) -> str:
        """Say when it runs."""
        return str(schedule.scheduler or "never")

    @display(
        description="state",
        label={
            "ok": "success",
            "missed": "danger",
            "failed": "danger",
            "waiting": "warning",
            "off": "info",
            "withdrawn": "info",
        },
    )
    def state(self, schedule: PeriodicTask) -> str:
        """Say how it is doing."""
        watch = _watch(schedule)
        if watch is None:
            return "waiting" if schedule.enabled else "off"
        return watch.state(timezone.now())

    @display(description="last run")
    def last_run(self, schedule: PeriodicTask) -> Any:
        """Say when a run last ended."""
        watch = _watch(schedule)
        return watch and watch.last_finished_at

    @display(description="next due")
    def next_due(self, schedule: PeriodicTask) -> Any:
        """Say when the next one should end, its grace not counted."""
        watch = _watch(schedule)
        return watch and watch.next_due_at()

    @display(description="outcome")
    def outcome(self, schedule: PeriodicTask) -> str:
        """Say how the last run ended."""
        watch = _watch(schedule)
        return f"{watch.last_outcome} {watch.last_error[:80]}".strip() if watch else ""


def _watch(schedule: PeriodicTask) -> ScheduleWatch | None:
    found: ScheduleWatch | None = getattr(schedule, "watch", None)
    return found


class _TimingAdmin(_Recorded):
    form = _TimingForm

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save; what goes by it is looked at anew."""
        super().save_model(request, obj, form, change)
        watch_anew(ScheduleWatch.objects.filter(schedule__in=obj.periodictask_set.all()))


@admin.register(IntervalSchedule)
class IntervalAdmin(_TimingAdmin):
    """Intervals to choose from."""

    list_display = ("__str__", "every", "period")


@admin.register(CrontabSchedule)
class CrontabAdmin(_TimingAdmin):
    """Cron lines to choose from."""

    list_display = ("__str__", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
    fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
