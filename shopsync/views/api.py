"""The API's list of stored deliveries."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra.work import Status
from shopsync.models import WebhookEvent
from shopsync.serializers import WebhookEventDetail, WebhookEventRow


class WebhookEventFilters(FilterSet):
    """Filters of the inbox."""

    status = ChoiceFilter(choices=Status.choices)
    source = CharFilter()
    topic = CharFilter()
    webhook_id = CharFilter()
    event_id = CharFilter()
    received_after = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    received_before = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")


class WebhookEvents(ReadOnlyModelViewSet[WebhookEvent]):
    """Deliveries that were stored: where each stands, and in the detail what it carried."""

    queryset = WebhookEvent.objects.none()
    filterset_class = WebhookEventFilters

    def get_queryset(self) -> QuerySet[WebhookEvent]:
        """Read the tenant's deliveries; the list leaves the payloads where they are."""
        return WebhookEvent.objects.all() if self.detail else WebhookEvent.objects.defer("body")

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show the payload in the detail only."""
        return WebhookEventDetail if self.action == "retrieve" else WebhookEventRow
