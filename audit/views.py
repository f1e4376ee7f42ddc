"""The API's trail; who may ask, pages and refusals come from settings.REST_FRAMEWORK."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import CharFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from rest_framework.viewsets import ReadOnlyModelViewSet

from audit.models import AuditEvent
from audit.serializers import AuditEventRow


class AuditEventFilters(FilterSet):
    """Filters of the trail."""

    name = CharFilter()
    subject = CharFilter()
    actor = CharFilter()
    created_after = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")


class AuditEvents(ReadOnlyModelViewSet[AuditEvent]):
    """What happened, newest first."""

    queryset = AuditEvent.objects.none()
    serializer_class = AuditEventRow
    filterset_class = AuditEventFilters

    def get_queryset(self) -> QuerySet[AuditEvent]:
        """Read the tenant's events."""
        return AuditEvent.objects.all()
