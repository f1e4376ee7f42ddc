"""The API's messages."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra.work import Status
from messaging.models import Message
from messaging.models.contacts import Channel
from messaging.serializers.messages import MessageDetail, MessageRow
from shopsync.serializers import WholeNumberFilter


class MessageFilters(FilterSet):
    """Filters of messages."""

    status = ChoiceFilter(choices=Status.choices)
    outcome = ChoiceFilter(choices=Message.Outcome.choices)
    channel = ChoiceFilter(choices=Channel.choices)
    contact_id = WholeNumberFilter()
    address = CharFilter()
    created_after = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")


class Messages(ReadOnlyModelViewSet[Message]):
    """Messages and where each stands; in the detail with its delivery reports."""

    queryset = Message.objects.none()
    filterset_class = MessageFilters

    def get_queryset(self) -> QuerySet[Message]:
        """Read the tenant's messages."""
        return Message.objects.prefetch_related("reports") if self.detail else Message.objects.all()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show reports in the detail only."""
        return MessageDetail if self.action == "retrieve" else MessageRow
