"""Alerts for operators: the open ones first; take one on, or close it by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest
from unfold.decorators import action, display

from shopsync.actions.alerts import acknowledge_alerts, close_alerts
from shopsync.admin.base import TenantModelAdmin, actor_of
from shopsync.models import Alert


class StateFilter(admin.SimpleListFilter):
    """Is it still wrong, and does somebody look after it?"""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the states."""
        return [("open", "open"), ("unattended", "open, and nobody's yet"), ("closed", "closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        """Choose by state."""
        unattended = {"closed_at__isnull": True, "acknowledged_at__isnull": True}
        chosen = {"open": {"closed_at__isnull": True}, "unattended": unattended, "closed": {"closed_at__isnull": False}}
        return queryset.filter(**chosen.get(self.value() or "", {}))


@admin.register(Alert)
class AlertAdmin(TenantModelAdmin):
    """What needs a person. The system's own are in no tenant's scope: superusers see them with all tenants open."""

    list_display = ("id", "kind", "subject", "level", "state", "message", "count", "opened_at", "last_seen_at")
    list_display_links = ("id", "kind")
    list_filter = (StateFilter, "severity")
    search_fields = ("=kind", "=subject")
    search_help_text = "kind (stock.low) or subject (level:12), in full"
    ordering = (F("closed_at").desc(nulls_first=True), "-id")
    actions = ("acknowledge_selected", "close_selected")
    fields = ("kind", "subject", "severity", "message", "count", ("opened_at", "last_seen_at", "closed_at"),
              ("acknowledged_by", "acknowledged_at"), "digested_at", "tenant")  # fmt: skip

    @display(description="severity", ordering="severity", label={"critical": "danger", "warning": "warning"})
    def level(self, alert: Alert) -> str:
        """Say how bad it is."""
        return alert.severity

    @display(description="state", label={"open": "danger", "looked after": "info", "closed": "success"})
    def state(self, alert: Alert) -> str:
        """Say where it stands."""
        if not alert.is_open:
            return "closed"
        return "looked after" if alert.acknowledged_at else "open"

    @action(description="Look after the selected alerts", permissions=["act"])
    def acknowledge_selected(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        """Note the operator as who looks after them."""
        chosen = self._plain(queryset)
        done = acknowledge_alerts(rows=chosen, actor=actor_of(request))
        self._tell(request, f"Yours to look after: {done}.", left=chosen.count() - done)

    @action(description="Close the selected alerts", permissions=["act"])
    def close_selected(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        """Close them; what is still wrong will be raised again."""
        chosen = self._plain(queryset)
        done = close_alerts(rows=chosen, actor=actor_of(request))
        self._tell(request, f"Closed: {done}.", left=chosen.count() - done)

    def _plain(self, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        """Name the chosen rows by id: the list's filter may not hold for them any more once they have changed."""
        return Alert.objects.filter(pk__in=[alert.pk for alert in queryset])

    def _tell(self, request: HttpRequest, sentence: str, *, left: int) -> None:
        self.message_user(request, sentence, messages.SUCCESS)
        if left:
            self.message_user(request, f"Left as they are: {left}; closed, or somebody's already.", messages.WARNING)
