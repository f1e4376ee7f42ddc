"""Orders for operators: Shopify's newest version of each, and our own, with what operators may do to them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from orders.actions.dues import kept_amount
from orders.admin.handover import HandsOver
from orders.admin.moves import OrderMoves
from orders.models import Commitment, Fulfillment, Order, OrderLine, OrderWatch, Refund, Shipment
from orders.queries import flags_of, only_overdue, timeline_of
from shopsync.admin.base import ReadOnlyInline, pre, table
from shopsync.money import format_amount

EVENTS_SHOWN = 50
_STOCK_COLOURS = {"reserved": "info", "committed": "success", "unallocated": "warning", "paid_unallocated": "danger",
                  "released": "info"}  # fmt: skip


class LineInline(ReadOnlyInline):
    """An order's lines, with what each still asks of the stock, and what is odd about it."""

    model = OrderLine
    fields = ("position", "title", "sku", "quantity", "current_quantity", "price_amount", "committed", "backordered",
              "flags")  # fmt: skip
    order_id = 0

    def get_formset(self, request: HttpRequest, obj: Model | None = None, **options: Any) -> Any:
        """Remember whose lines these are: an inline is made anew for each request."""
        self.order_id = obj.pk if obj is not None else 0
        return super().get_formset(request, obj, **options)

    @cached_property
    def _flags(self) -> dict[int, list[str]]:
        return flags_of(order_id=self.order_id)

    @display(description="flags")
    def flags(self, line: OrderLine) -> str:
        """Say what is odd about the line's stock."""
        return ", ".join(flag.replace("_", " ") for flag in self._flags.get(line.pk, []))

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
class OrderAdmin(HandsOver, OrderMoves):
    """Orders."""

    list_display = ("name", "source", "email", "total", "financial_status", "fulfillment_status", "stock", "held",
                    "placed_at", "cancelled_at")  # fmt: skip
    list_filter = (
        "source",
        "stock_state",
        ("held_at", admin.EmptyFieldListFilter),
        "financial_status",
        "fulfillment_status",
        ("cancelled_at", admin.EmptyFieldListFilter),
        OverdueFilter,
    )
    search_fields = ("=name", "=email", "=phone", "=shopify_id")
    search_help_text = "name (#1001), e-mail, phone or Shopify id, in full"
    inlines = (LineInline, RefundInline, FulfillmentInline, ShipmentInline)
    readonly_fields = ("total", "amounts", "timeline")
    fieldsets = (
        (None, {"fields": (("name", "source", "is_test"), ("financial_status", "fulfillment_status"),
                           ("stock_state", "reservation"), ("held_at", "hold_reason"), "amounts")}),
        ("Tags and notes", {"fields": (("staff_tags", "staff_note"), ("tags", "note"))}),
        ("Customer", {"fields": (("customer_first_name", "customer_last_name"), ("email", "phone"),
                                 ("country", "customer_locale"), "customer_shopify_id")}),
        ("When", {"fields": (("placed_at", "paid_at"), ("cancelled_at", "cancel_reason"), "closed_at")}),
        ("Timeline", {"fields": ("timeline",)}),
        ("Version", {"fields": ("shopify_id", "source_updated_at", "source_version", "created_at", "updated_at",
                                "tenant")}),
    )  # fmt: skip

    @display(description="total", ordering="total_amount")
    def total(self, order: Order) -> str:
        """Write the total with its currency."""
        return f"{format_amount(order.total_amount, order.currency)} {order.currency}"

    @display(description="stock", ordering="stock_state", label=_STOCK_COLOURS)
    def stock(self, order: Order) -> str | None:
        """Say where the units of an order of ours stand."""
        return order.stock_state or None

    @display(description="held", label={"held": "warning"})
    def held(self, order: Order) -> str | None:
        """Say whether it waits."""
        return "held" if order.held_at is not None else None

    @display(description="newest first")
    def timeline(self, order: Order) -> SafeString:
        """List what happened last to the order and to its reservation."""
        events = list(timeline_of(order=order)[: EVENTS_SHOWN + 1])
        rows = [
            (f"{event.created_at:%Y-%m-%d %H:%M:%S} UTC", event.name, event.actor, _in_words(event.data))
            for event in events[:EVENTS_SHOWN]
        ]
        shown = table(("when", "what", "who", "how"), rows)
        if len(events) <= EVENTS_SHOWN:
            return shown
        link = f"{reverse('admin:audit_auditevent_changelist')}?q=order:{order.pk}"
        return format_html('{}<a class="text-primary-600 dark:text-primary-500" href="{}">All of it</a>', shown, link)

    @display(description="amounts")
    def amounts(self, order: Order) -> str:
        """Write each amount with the decimals of its currency."""
        names = ("subtotal", "discount", "tax", "shipping", "total", "current_total")
        written = [(name, getattr(order, f"{name}_amount"), order.currency) for name in names]
        if kept := kept_amount(order):
            written.append(("kept of refunds", kept, order.currency))
        written.append(("customer paid in", order.presentment_total_amount, order.presentment_currency))
        lines = (f"{name.replace('_', ' ')}: {format_amount(amount, code)} {code}" for name, amount, code in written)
        return pre("\n".join(lines))


def _in_words(data: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in data.items())
