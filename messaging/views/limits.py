"""The API's view of what the installation holds a tenant's sending to: prices, limits, queues. Read only."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra import tenancy
from messaging.actions.limits import batch_size, levels_of, per_second
from messaging.actions.prices import Tariff, tariff_of
from messaging.models import SendQueue
from messaging.models.contacts import Channel
from messaging.queries.flows import queues_waiting
from messaging.senders import SERVICES
from messaging.serializers.limits import LimitsRow, QueueDetail, QueueRow, TariffRow
from shopsync.auth import HasTenant
from shopsync.models import Connection
from shopsync.serializers import StrictQuery


class Prices(StrictQuery, APIView):
    """What messages cost the tenant."""

    permission_classes = (HasTenant,)

    @extend_schema(responses=TariffRow(many=True), summary="Prices in force")
    def get(self, request: Request) -> Response:
        """Read each channel's prices by country, of the countries that the tenant writes to."""
        told = [_tariff(channel, tariff_of(channel)) for channel in Channel.values]
        return Response(TariffRow(told, many=True).data)


def _tariff(channel: str, tariff: Tariff) -> dict[str, Any]:
    named = sorted(tariff.prices.items())
    shown = [(country, amount) for country, amount in named if country]
    if tariff.countries:
        shown = [(country, amount) for country, amount in shown if country in tariff.countries]
    return {
        "channel": channel,
        "is_charged": bool(tariff.prices),
        "elsewhere": tariff.prices.get("", None if tariff.prices else 0),
        "countries": sorted(tariff.countries),
        "prices": [{"country": country, "amount": amount} for country, amount in shown],
    }


class Limits(StrictQuery, APIView):
    """How fast the tenant sends at most."""

    permission_classes = (HasTenant,)

    @extend_schema(responses=LimitsRow, summary="Limits in force")
    def get(self, request: Request) -> Response:
        """Read the limits that the tenant's requests to providers count on; an edit of them is here within a second."""
        rows = Connection.objects.filter(service__in=SERVICES.values(), is_active=True).order_by("pk")
        told = {
            "requests_per_second": per_second(tenancy.current_tenant_id()),
            "batch_size": batch_size(),
            "connections": [_limits(row) for row in rows],
        }
        return Response(LimitsRow(told).data)


def _limits(row: Connection) -> dict[str, Any]:
    levels = [(level.key.partition(":"), level.limit) for level in levels_of(row)]
    limits = [{"level": key[0], "subject": key[2], "requests_per_second": limit} for key, limit in levels]
    lowest = min(limit for _, limit in levels)
    return {"connection_id": row.pk, "service": row.service, "requests_per_second": lowest, "limits": limits}


class QueueFilters(FilterSet):
    """Filters of queues."""

    channel = ChoiceFilter(choices=Channel.choices)


class SendQueues(StrictQuery, ReadOnlyModelViewSet[SendQueue]):
    """What is sent through each connection, and what it waits for; in the detail part by part."""

    queryset = SendQueue.objects.none()
    filterset_class = QueueFilters

    def get_queryset(self) -> QuerySet[SendQueue]:
        """Read the tenant's queues."""
        return queues_waiting(now=timezone.now())

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show flows in the detail only."""
        return QueueDetail if self.detail else QueueRow
