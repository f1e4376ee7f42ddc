"""Orders for operators: Shopify's newest version of each, so read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display

from orders.models import Commitment, Fulfillment, Order, OrderLine, OrderWatch, Refund, Shipment
from orders.queries import only_overdue
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin, pre
from shopsync.money import format_amount


class LineInline(ReadOnlyInline):
    """An order's lines, with what each still asks of the stock."""

    model = OrderLine
    fields = ("position", "title", "sku", "quantity", "current_quantity", "price_amount", "committed", "backordered")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderLine]:
        """Fetch commitments along."""
        rows: QuerySet[OrderLine] = super().get_queryset(request)
        return rows.select_related("commitment")

    @display(description="committed")
    def committed(self, line: OrderLine) -> int:
        """Say what the line still asks for."""
        commitment: Commitment | None = getattr(line, "commitment", None)
        return commitment.quantity if commitment else 0

    @display(description="backordered")
    def backordered(self, line: OrderLine) -> int:
        """Say how much of it was not there."""
        commitment: Commitment | None = getattr(line, "commitment", None)
        return commitment.backordered if commitment else 0


class RefundInline(ReadOnlyInline):
    """Money given back."""

    model = Refund
    fields = ("shopify_id", "amount", "currency", "refunded_at", "note")


class FulfillmentInline(ReadOnlyInline):
    """Parcels."""

    model = Fulfillment
    fields = ("shopify_id", "status", "shipment_status", "tracking_company", "tracking_number")


class ShipmentInline(ReadOnlyInline):
    """Parcels of ours."""

    model = Shipment
    fields = ("id", "status", "company", "tracking_number", "tracking_status")
    show_change_link = True


class OverdueFilter(admin.SimpleListFilter):
    """Does it wait longer than the tenant's watch allows?"""

    title = "overdue"
    parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the kinds."""
        return [("unpaid", "not paid in time"), ("unfulfilled", "not sent in time")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Choose what the alert counts."""
        value = self.value()
        return only_overdue(queryset, kind=value, now=timezone.now()) if value in OrderWatch.Kind.values else queryset


@admin.register(Order)
class OrderAdmin(TenantModelAdmin):
    """Orders."""

    list_display = ("name", "email", "total", "financial_status", "fulfillment_status", "placed_at", "cancelled_at")
    list_filter = (
        "financial_status",
        "fulfillment_status",
        ("cancelled_at", admin.EmptyFieldListFilter),
        OverdueFilter,
    )
    search_fields = ("=name", "=email", "=phone", "=shopify_id")
    search_help_text = "name (#1001), e-mail, phone or Shopify id, in full"
    inlines = (LineInline, RefundInline, FulfillmentInline, ShipmentInline)
    readonly_fields = ("total", "amounts")
    fieldsets = (
        (None, {"fields": (("name", "financial_status", "fulfillment_status"), "amounts", "tags", "note", "is_test")}),
        ("Customer", {"fields": (("customer_first_name", "customer_last_name"), ("email", "phone"),
                                 ("country", "customer_locale"), "customer_shopify_id")}),
        ("When", {"fields": (("placed_at", "paid_at"), ("cancelled_at", "cancel_reason"), "closed_at")}),
        ("Version", {"fields": ("shopify_id", "source_updated_at", "source_version", "created_at", "updated_at",
                                "tenant")}),
    )  # fmt: skip

    @display(description="total", ordering="total_amount")
    def total(self, order: Order) -> str:
        """Write the total with its currency."""
        return f"{format_amount(order.total_amount, order.currency)} {order.currency}"

    @display(description="amounts")
    def amounts(self, order: Order) -> str:
        """Write each amount with the decimals of its currency."""
        names = ("subtotal", "discount", "tax", "shipping", "total", "current_total")
        written = [(name, getattr(order, f"{name}_amount"), order.currency) for name in names]
        written.append(("customer paid in", order.presentment_total_amount, order.presentment_currency))
        lines = (f"{name.replace('_', ' ')}: {format_amount(amount, code)} {code}" for name, amount, code in written)
        return pre("\n".join(lines))
