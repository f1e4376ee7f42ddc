"""The API's orders."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from django_filters import BooleanFilter, CharFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from orders.models import Order, OrderLine
from orders.serializers import OrderDetail, OrderRow
from shopsync.identity import normalise_email
from shopsync.serializers import WholeNumberFilter


class OrderFilters(FilterSet):
    """Filters of orders."""

    shopify_id = WholeNumberFilter()
    customer_shopify_id = WholeNumberFilter()
    name = CharFilter()
    email = CharFilter(method="of_email")
    phone = CharFilter(help_text="E.164, e.g. +15145550123")
    financial_status = CharFilter()
    fulfillment_status = CharFilter()
    is_cancelled = BooleanFilter(field_name="cancelled_at", lookup_expr="isnull", exclude=True)
    placed_after = IsoDateTimeFilter(field_name="placed_at", lookup_expr="gte")
    placed_before = IsoDateTimeFilter(field_name="placed_at", lookup_expr="lt")

    def of_email(self, rows: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Compare addresses in the form they are stored in."""
        return rows.filter(email=normalise_email(value) or value)


class Orders(ReadOnlyModelViewSet[Order]):
    """Orders; in the detail with their lines, refunds and parcels."""

    queryset = Order.objects.none()
    filterset_class = OrderFilters

    def get_queryset(self) -> QuerySet[Order]:
        """Read the tenant's orders."""
        if not self.detail:
            return Order.objects.all()
        lines = OrderLine.objects.select_related("commitment").order_by("position", "id")
        return Order.objects.prefetch_related(Prefetch("lines", lines), "refunds", "fulfillments", "shipments")

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show lines in the detail only."""
        return OrderDetail if self.action == "retrieve" else OrderRow
