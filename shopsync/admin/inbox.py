"""The inbox for operators: what came in, where it stands, what it carried; replay one, some, or all that match."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from shopsync.actions.inbox import Replayed, replay_deliveries
from shopsync.admin.base import STATUS_COLOURS, TenantModelAdmin, actor_of, pre
from shopsync.models import RefusedDelivery, Tenant, WebhookEvent
from shopsync.serializers import readable_payload
from shopsync.sites import scope_of

_AGES = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}


class TopicFilter(admin.SimpleListFilter):
    """The topics that have a handler, and whatever else was asked for."""

    title = "topic"
    parameter_name = "topic"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """List them from the wiring, without a scan of the inbox."""
        return [(topic, topic) for handlers in settings.WEBHOOK_HANDLERS.values() for topic in sorted(handlers)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> QuerySet[WebhookEvent]:
        """Choose by topic."""
        return queryset.filter(topic=self.value()) if self.value() else queryset


class SourceFilter(admin.SimpleListFilter):
    """Who sent it."""

    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """List them from the wiring."""
        return [(source, source) for source in settings.WEBHOOK_HANDLERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> QuerySet[WebhookEvent]:
        """Choose by source."""
        return queryset.filter(source=self.value()) if self.value() else queryset


class AgeFilter(admin.SimpleListFilter):
    """How long ago it came in."""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer a few ages."""
        return [(key, f"older than {key}") for key in _AGES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> QuerySet[WebhookEvent]:
        """Choose by age."""
        age = _AGES.get(self.value() or "")
        return queryset.filter(created_at__lt=timezone.now() - age) if age else queryset


class TroubleFilter(admin.SimpleListFilter):
    """What was not as smooth as it should be."""

    title = "attempts and duplicates"
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both kinds."""
        return [("retried", "tried more than once"), ("repeated", "delivered more than once")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> QuerySet[WebhookEvent]:
        """Choose by attempts or duplicates."""
        chosen = {"retried": {"attempts__gt": 1}, "repeated": {"duplicates__gt": 0}}.get(self.value() or "", {})
        return queryset.filter(**chosen)


@admin.register(WebhookEvent)
class WebhookEventAdmin(TenantModelAdmin):
    """Stored deliveries."""

    list_display = ("id", "topic", "source", "state", "attempts", "duplicates", "created_at", "trouble")
    list_display_links = ("id", "topic")
    list_filter = ("status", SourceFilter, TopicFilter, AgeFilter, TroubleFilter)
    search_fields = ("=webhook_id", "=event_id", "=lane")
    search_help_text = "webhook id, event id or lane (order:123), in full"
    list_before_template = "shopsync/admin/replay_matching.html"
    actions = ("replay_selected",)
    actions_detail = ("replay_one",)
    readonly_fields = ("payload",)
    fieldsets = (
        (None, {"fields": (("source", "topic", "status"), ("attempts", "duplicates", "blocker"), "last_error")}),
        ("Payload", {"fields": ("payload", "body_bytes", "digest")}),
        (
            "Delivery",
            {"fields": ("webhook_id", "event_id", "sub_topic", "subscription_name", "api_version", "is_test", "lane",
                        "triggered_at", "created_at", "due_at", "started_at", "finished_at", "last_duplicate_at",
                        "connection", "tenant")},
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEvent]:
        """Leave payloads where they are; the detail fetches its own."""
        rows: QuerySet[WebhookEvent] = super().get_queryset(request)
        return rows.defer("body")

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def state(self, row: WebhookEvent) -> str:
        """Say where it stands."""
        return row.status

    @display(description="error")
    def trouble(self, row: WebhookEvent) -> str:
        """Show the beginning of the error, or what a ready row waits for."""
        return (row.last_error or row.blocker)[:80]

    @display(description="payload")
    def payload(self, row: WebhookEvent) -> SafeString | str:
        """Show the body, JSON in lines of its own."""
        if row.is_foreign:
            return "the same body was stored for another tenant, so it is shown to nobody here"
        value = readable_payload(row.body)
        if value is None:
            return "forgotten by retention"
        return pre(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Give the list the filter that "replay all that match" repeats."""
        extra = {"may_act": self.has_act_permission(request), "query": request.GET.urlencode()}
        found: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **extra})
        return found

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        """Add "replay all that match"."""
        return (("replay-matching/", "shopsync_webhookevent_replay_matching", self.replay_matching),)

    @action(description="Replay the selected deliveries", permissions=["act"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> None:
        """Make the selected deliveries ready again."""
        self._tell(request, replay_deliveries(rows=queryset, actor=actor_of(request)))

    @action(description="Replay", url_path="replay", permissions=["act"], icon="replay")
    def replay_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then make one delivery ready again."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        back = reverse("admin:shopsync_webhookevent_change", args=[row.pk])
        if request.method == "POST":
            chosen = WebhookEvent.objects.filter(pk=row.pk)
            self._tell(request, replay_deliveries(rows=chosen, actor=actor_of(request)))
            return HttpResponseRedirect(back)
        sentence = f"{row.topic} will be worked on again. Handlers are idempotent: what is done already stays as it is."
        return self.confirm(request, "Replay this delivery?", sentences=[sentence], button="Replay", back=back)

    def replay_matching(self, request: HttpRequest, model_admin: object = None) -> HttpResponse:
        """Ask with the number of them, then make ready whatever the list's filter matches."""
        if not self.has_act_permission(request):
            self.message_user(request, "Replaying is for operators and owners.", messages.ERROR)
            return HttpResponseRedirect(reverse("admin:shopsync_webhookevent_changelist"))
        back = f"{reverse('admin:shopsync_webhookevent_changelist')}?{request.GET.urlencode()}"
        rows = self.get_changelist_instance(request).queryset
        if request.method == "POST":
            self._tell(request, replay_deliveries(rows=rows, actor=actor_of(request)))
            return HttpResponseRedirect(back)
        sentences = [f"{rows.count()} deliveries match the filter; each will be worked on again."]
        return self.confirm(request, "Replay all that match?", sentences=sentences, button="Replay all", back=back)

    def _tell(self, request: HttpRequest, outcome: Replayed) -> None:
        self.message_user(request, f"Ready again: {outcome.replayed}.", messages.SUCCESS)
        if outcome.not_replayed:
            why = "still on their way, without payload, or stored again under another id"
            self.message_user(request, f"Left as they are: {outcome.not_replayed}; {why}.", messages.WARNING)


@admin.register(RefusedDelivery)
class RefusedDeliveryAdmin(TenantModelAdmin):
    """What was turned away at the door, counted."""

    list_display = ("day_date", "source", "reason", "shop_domain", "count", "last_topic", "last_detail", "last_at")
    list_filter = ("reason", "source")
    search_fields = ("=shop_domain",)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers see them with any scope: most are of no tenant."""
        return bool(request.user.is_superuser) or super().has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefusedDelivery]:
        """Show a tenant's people what named their own shop."""
        rows: QuerySet[RefusedDelivery] = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        own = Tenant.objects.filter(pk=scope_of(request).tenant_id or 0).values("shop_domain")
        return rows.filter(shop_domain__in=own)
